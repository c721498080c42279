//! Rows of a cabinet.

use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{Name, OrderId, SiteId};
use schemas::messages::{
    Attributes, BookChange, BootId, Category, CommandId, Compartment, CompartmentInfo, CredentialId, CredentialKind,
    DepositKind, DropCredential, Epoch, EventMark, FleetMillis, Instance, OrderKey, PartOf, PepperOffer, PutCredential,
    PutGuarded, PutOrder, Size, TakeBack, Verifier,
};

use crate::cabinet::bundles::Bundled;
use crate::cabinet::factor::{BookedFactor, with_factor};
use crate::intents::OrderFact;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Registration {
        1 => site: SiteId,
        2 => place: String,
        3 => instance: Instance,
    }
}

cbor_map! {
    /// What the last hello said about the cabinet itself.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct Said {
        1 => agent: String,
        2 => keyset: u64,
        3 opt => pepper: Option<PepperOffer>,
        4 => compartments: Vec<CompartmentInfo>,
        /// Couriers may be in its book. False: not any more. Left out: never.
        70 opt => couriers: Option<bool>,
        /// True: it puts orders that share beside one another.
        80 opt => shares: Option<bool>,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct Progress {
        /// Whose numbers `high_water` counts. Left out before the first hello.
        1 opt => epoch: Option<Epoch>,
        2 => high_water: u64,
        3 opt => last_seen: Option<FleetMillis>,
        /// Version of the book that the fleet wants there.
        4 => wanted: u64,
        /// Version of the book that is in force there, as far as the cabinet told.
        5 => held: u64,
        /// Digits of a code that the book's rules name, 0 for none yet.
        6 => digits: u8,
        /// True: what is in the compartments may differ from what the fleet knows, because its own store, the cabinet's
        /// store or events between them were lost. Until the cabinet has said what it holds.
        7 opt => unreconciled: Option<bool>,
        /// Marks of former epochs, the newest last: an old disk that comes back is not believed a second time.
        8 opt => former: Option<Vec<EventMark>>,
        /// Number of the newest record of an unlock.
        9 opt => records: Option<u64>,
        /// Boards that do not answer.
        10 opt => outage: Option<Outage>,
        /// Codes there may have any generation up to this one, of a time that the fleet has forgotten.
        11 opt => forgotten: Option<u32>,
        /// Letters of a code that the book's rules name. Left out: codes are of digits.
        33 opt => letters: Option<u8>,
        /// True: the fleet was restored, and the cabinet has said nothing since.
        82 opt => restored: Option<bool>,
        /// Of codes up to this generation the fleet knows what its backup knew: they may have been replaced since.
        83 opt => backed_up: Option<u32>,
    }
}

impl Progress {
    /// The generation of a code behind those up to `last`, which the cabinet takes for the newer one even if it holds some that
    /// the fleet has forgotten. None: it is the first.
    pub(crate) fn above(&self, last: Option<u32>) -> Option<u32> {
        last.max(self.forgotten).map(|last| last.saturating_add(1))
    }
}

cbor_map! {
    /// A time in which the cabinet could not open every door.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Outage {
        1 => since: FleetMillis,
        2 => boards: Vec<u32>,
        /// It had no power, and was started at this time of its own clock. When that was, a later word of the same run tells.
        84 opt => started: Option<StartedAt>,
    }
}

cbor_map! {
    /// A moment by the boot clock of a cabinet.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct StartedAt {
        1 => boot: BootId,
        2 => boot_millis: u64,
    }
}

cbor_map! {
    /// What is in a compartment by the cabinet's word.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct Inside {
        1 opt => order: Option<OrderKey>,
        2 => audit_required: bool,
        /// False while staff are still loading the order.
        3 => stored: bool,
        /// True: it takes no order until staff say that it is clean.
        4 opt => needs_cleaning: Option<bool>,
        /// True: the order is being loaded by command.
        60 opt => by_command: Option<bool>,
        /// What is stored there besides `order`.
        80 opt => beside: Option<Vec<OrderKey>>,
        /// True: the cabinet takes it for occupied, and the fleet does not know by what.
        81 opt => claimed: Option<bool>,
        /// True: staff have taken it out of service.
        85 opt => withdrawn: Option<bool>,
    }
}

impl Inside {
    pub(super) fn is_usable(&self) -> bool {
        self.order.is_none() && !self.needs_look() && self.takes_loads()
    }

    /// It is clean, and staff have not taken it out of service.
    pub(super) fn takes_loads(&self) -> bool {
        self.needs_cleaning != Some(true) && self.withdrawn != Some(true)
    }

    pub(super) fn needs_look(&self) -> bool {
        self.audit_required || self.is_claimed()
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.claimed == Some(true)
    }

    /// Nothing that the fleet knows of.
    pub(super) fn claimed(claimed: Option<bool>) -> Self {
        Self { claimed, ..Self::default() }
    }

    /// What an order that is inside would hear of it.
    pub(super) fn fact(&self, order: &OrderKey) -> OrderFact {
        if self.has_stored(order) { OrderFact::Stored } else { OrderFact::Loading }
    }
}

cbor_map! {
    /// A compartment that is kept for an order until staff load it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Reservation {
        1 => compartment: Compartment,
        2 => since: FleetMillis,
    }
}

cbor_map! {
    /// A secret of an order, made by the signer, and what this cabinet compares it with.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Credential {
        1 => id: CredentialId,
        2 => kind: CredentialKind,
        3 opt => sealed: Option<Blob>,
        4 opt => verifier: Option<Verifier>,
        /// Pepper version of the verifier.
        5 => pepper: u32,
    }
}

cbor_map! {
    /// The right to collect an order.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Grant {
        1 => credentials: Vec<Credential>,
        2 opt => expires: Option<FleetMillis>,
        3 => needs_time: bool,
        /// Version of the book that first holds all credentials, 0 while they are being made.
        4 => version: u64,
        5 => announced: bool,
        6 => compartment: Compartment,
        /// Grows with each new code of the order. Left out: 1.
        7 opt => generation: Option<u32>,
    }
}

impl Grant {
    pub(crate) fn generation(&self) -> u32 {
        self.generation.unwrap_or(1)
    }

    /// Its credentials as changes of the book: all of them, or none while one has no verifier, or the second factor has none.
    pub(crate) fn changes(&self, booked: &Booked) -> Vec<BookChange> {
        let change = |credential: &Credential| {
            let put = PutCredential {
                id: credential.id,
                kind: credential.kind,
                verifier: credential.verifier?,
                orders: vec![booked.order.clone()],
                generation: self.generation(),
                expires: self.expires,
                needs_time: self.needs_time,
                pepper: credential.pepper,
                rights: None,
            };
            let change = guarded(put, booked.guarded().cloned().into_iter().collect());
            with_factor(change, booked)
        };
        self.credentials.iter().map(change).collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    pub(crate) fn has(&self, id: CredentialId) -> bool {
        self.credentials.iter().any(|credential| credential.id == id)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.credentials.iter().all(|credential| credential.verifier.is_some())
    }

    /// Digits and token as they are sealed, once both are made.
    pub(crate) fn sealed(&self) -> Option<[Blob; 2]> {
        let [digits, token] = self.credentials.as_slice() else { return None };
        Some([digits.sealed.clone()?, token.sealed.clone()?])
    }
}

cbor_map! {
    /// How somebody who is no staff puts an order in.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct ForDeposit {
        1 => kind: DepositKind,
        /// The right to do so, once a compartment was kept and until the order is stored.
        2 opt => invitation: Option<Grant>,
        /// Generation of the newest one that is over.
        3 opt => last: Option<u32>,
        /// Credentials of those that are over: what they opened late is no collection.
        4 opt => over: Option<Vec<CredentialId>>,
    }
}

cbor_map! {
    /// An order in the cabinet's book.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Booked {
        1 => order: OrderKey,
        2 => size: Size,
        3 => category: Category,
        4 => wants: Attributes,
        5 => since: FleetMillis,
        6 opt => reserved: Option<Reservation>,
        /// Where it is, by the cabinet's word.
        7 opt => loaded: Option<Compartment>,
        8 opt => grant: Option<Grant>,
        /// Credentials that were withdrawn while the order is inside: a cabinet keeps them through a whole book unless it
        /// says so.
        9 opt => withdrawn: Option<Vec<CredentialId>>,
        /// Another code that takes the place of `grant` once the cabinet holds it.
        10 opt => next: Option<Grant>,
        /// True: staff found its compartment empty.
        11 opt => missing: Option<bool>,
        /// Generation of the newest code that was announced and withdrawn.
        12 opt => told: Option<u32>,
        /// How long its reservation is safe from other orders, in milliseconds. Left out: as the settings say.
        13 opt => hold: Option<u64>,
        /// Staff are to take it out.
        14 opt => take_back: Option<TakeBack>,
        /// It is one of several that staff know as one order.
        28 opt => part: Option<PartOf>,
        /// True: staff have to release it when somebody comes with its code.
        33 opt => staff_release: Option<bool>,
        /// Left out: staff load it.
        36 opt => deposit: Option<ForDeposit>,
        /// The newest command that opened its door by the token of the screen.
        38 opt => opened_by: Option<CommandId>,
        /// It is collected with others, by a credential of their own.
        40 opt => bundled: Option<Box<Bundled>>,
        /// What its recipient is asked for behind the code. Boxed: few orders have it.
        50 opt => factor: Option<Box<BookedFactor>>,
        /// It may lie with others of its integration that have the same word.
        80 opt => shares: Option<OrderId>,
    }
}

/// A credential as a change of the book, with those of its orders that it does not open alone.
pub(crate) fn guarded(credential: PutCredential, guarded: Vec<OrderKey>) -> BookChange {
    if guarded.is_empty() { credential.into() } else { PutGuarded { credential, guarded, factor: None }.into() }
}

impl Booked {
    /// Itself, if its code alone does not open it.
    pub(crate) fn guarded(&self) -> Option<&OrderKey> {
        (self.staff_release == Some(true) || self.factor.is_some()).then_some(&self.order)
    }

    pub(crate) fn change(&self) -> BookChange {
        PutOrder {
            order: self.order.clone(),
            size: self.size,
            category: self.category,
            wants: self.wants,
            reserved: self.reserved.as_ref().map(|reservation| reservation.compartment),
            take_back: self.take_back,
            deposit: self.deposit.as_ref().map(|deposit| deposit.kind),
            part: self.part.clone(),
            shares: self.shares.clone(),
        }
        .into()
    }

    /// Whether it is to get the next compartment that fits.
    pub(crate) fn waits(&self) -> bool {
        self.reserved.is_none() && self.loaded.is_none() && self.missing != Some(true)
    }

    pub(crate) fn withdrawals(&self) -> impl Iterator<Item = BookChange> {
        self.withdrawn.iter().flatten().map(|id| DropCredential { id: *id }.into())
    }

    /// The codes that are in force or being made, the older one first.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grant.iter().chain(&self.next)
    }

    /// These, and the code of whoever is to put it in.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &Grant> {
        self.grants().chain(self.invitation())
    }

    pub(crate) fn codes_mut(&mut self) -> impl Iterator<Item = &mut Grant> {
        let invitation = self.deposit.as_mut().and_then(|deposit| deposit.invitation.as_mut());
        self.grant.iter_mut().chain(&mut self.next).chain(invitation)
    }

    pub(crate) fn has(&self, id: CredentialId) -> bool {
        self.codes().any(|grant| grant.has(id))
    }

    pub(crate) fn grants_mut(&mut self) -> impl Iterator<Item = &mut Grant> {
        self.grant.iter_mut().chain(&mut self.next)
    }

    /// Their credentials as changes of the book, but for those that are being made.
    pub(crate) fn credential_changes(&self) -> Vec<BookChange> {
        let invitation = self.invitation().into_iter().flat_map(|grant| grant.invitation_changes(&self.order));
        self.grants().flat_map(|grant| grant.changes(self)).chain(invitation).collect()
    }

    /// Withdraws all codes; a whole book says so as long as the order is inside.
    pub(crate) fn withdraw(&mut self) -> bool {
        let grants = [self.grant.take(), self.next.take()];
        let ids: Vec<_> = grants.iter().flatten().flat_map(|grant| &grant.credentials).map(|one| one.id).collect();
        let told = grants.iter().flatten().filter(|grant| grant.announced).map(Grant::generation).max();
        self.told = told.max(self.told);
        let any = !ids.is_empty();
        if any {
            self.withdrawn.get_or_insert_default().extend(ids);
        }
        self.withdraw_invitation() || any
    }

    /// The cabinet holds the other code, and with it has thrown the old one away.
    pub(crate) fn promote(&mut self) {
        let Some(next) = self.next.take() else { return };
        if let Some(old) = self.grant.replace(next) {
            self.withdrawn.get_or_insert_default().extend(old.credentials.iter().map(|one| one.id));
        }
    }
}

cbor_map! {
    /// A member of staff, or a courier, at this cabinet.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct StaffAt {
        1 => name: Name,
        /// Which PIN of this person; grows.
        2 => serial: u32,
        3 => sealed: Blob,
        /// Under which the signer derives it; no credential of the book.
        4 => id: CredentialId,
        5 opt => verifier: Option<Verifier>,
        6 => pepper: u32,
        7 opt => until: Option<FleetMillis>,
        8 opt => badge: Option<Badge>,
        /// Revoked; the row is forgotten once the cabinet holds this version of the book.
        9 opt => gone: Option<u64>,
    }
}

cbor_map! {
    /// A badge at this cabinet.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Badge {
        1 => sealed: Blob,
        2 => id: CredentialId,
        3 opt => verifier: Option<Verifier>,
    }
}

impl StaffAt {
    /// What the signer has still to derive for this cabinet: ids, kinds and sealed secrets.
    pub(crate) fn underived(&self) -> impl Iterator<Item = (CredentialId, CredentialKind, &Blob)> {
        let pin = self.verifier.is_none().then_some((self.id, CredentialKind::Digits, &self.sealed));
        let badge = self.badge.as_ref().filter(|badge| badge.verifier.is_none());
        let all = pin.into_iter().chain(badge.map(|badge| (badge.id, CredentialKind::Qr, &badge.sealed)));
        all.filter(|_| self.gone.is_none())
    }
}

cbor_map! {
    /// Changes from version `version - 1` to `version`, or from nothing (`base` 0). Never changed once written: the
    /// cabinet may hold them already.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct ChangeSet {
        1 => version: u64,
        2 => base: u64,
        3 => changes: Vec<BookChange>,
    }
}

cbor_map! {
    /// A signed unlock without a known outcome: who asked for it, and why.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct CommandRow {
        1 => id: CommandId,
        2 => compartment: Compartment,
        3 => requester: String,
        4 => reason: String,
        5 => issued: FleetMillis,
        /// Number of its record. Left out by the versions that kept none.
        6 opt => record: Option<u64>,
        /// What the fleet believed to be inside.
        7 opt => order: Option<OrderKey>,
        /// By the token of the screen. True: its order is still to be told what became of it.
        20 opt => app: Option<bool>,
        /// True: it is about the order, and the cabinet may have chosen another compartment.
        60 opt => errand: Option<bool>,
    }
}

impl CommandRow {
    pub(super) fn is_by_app(&self) -> bool {
        self.app.is_some()
    }
}

cbor_map! {
    /// An event as it came. `quarantined`: this version could not understand it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct EventRow {
        1 => arrived: FleetMillis,
        2 => quarantined: bool,
        /// Empty for events that are lost.
        3 => record: Blob,
        /// Events from the row's number to this one are lost; the fleet goes on behind them.
        4 opt => lost_to: Option<u64>,
    }
}
