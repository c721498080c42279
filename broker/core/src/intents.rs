//! Messages from one aggregate to another.
//!
//! No transaction has to span two aggregates. An aggregate that wants something of another one writes an intent
//! among its own rows; the other one removes it among *its* rows, together with what it changed. A step of
//! [`FleetCore::handle`](crate::FleetCore::handle) holds the whole chain, cut into segments by these removals: after
//! a crash at any cut the intents that are left are delivered when the core is opened, each exactly once. The
//! aggregates are a cabinet, and an order together with the streams of its integration.

use std::collections::VecDeque;

use schemas::api::{NotificationKind, RejectReason};
use schemas::cbor::Blob;
use schemas::ids::{CabinetId, Identity, Name, OrderId, TenantId};
use schemas::messages::{
    Attributes, Category, CommandId, Compartment, CredentialKind, DepositKind, FleetMillis, Instance, OrderKey, PartOf,
    PresenceToken, Prompt, Size, TakeBack,
};
use schemas::step::numbered_key;
use schemas::{cbor_code, cbor_map, cbor_union};

use crate::rows::NotificationRow;
use crate::tables::{CabinetRef, OrderRef};

cbor_map! {
    /// Take the order into the book, and keep a compartment for it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Reserve {
        1 => order: OrderKey,
        2 => size: Size,
        3 => category: Category,
        4 => wants: Attributes,
        /// How long it is safe there, in milliseconds, if its backend has said so.
        5 opt => hold: Option<u64>,
        /// Staff have to release it when somebody comes with its code.
        21 opt => staff_release: Option<bool>,
        /// Who puts it in, if it is not staff.
        23 opt => deposit: Option<DepositKind>,
        28 opt => part: Option<PartOf>,
        50 opt => factor: Option<SetFactor>,
        /// It may lie with others of its integration that have the same word.
        80 opt => shares: Option<OrderId>,
    }
}
cbor_map! {
    /// What the recipient of an order is asked for behind its code, from now on.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct SetFactor {
        1 => order: OrderKey,
        2 => prompt: Prompt,
        /// The answer as the signer keeps it. Left out: it does not yet, and no code is good before.
        3 opt => sealed: Option<Blob>,
    }
}
cbor_map! {
    /// Make the code for whoever brings the order, unless there is one.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Invite { 1 => order: OrderKey, 2 => expires: FleetMillis }
}
cbor_map! {
    /// Make the credentials of a stored order, or let those that it has end at another moment.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Issue {
        1 => order: OrderKey,
        2 opt => expires: Option<FleetMillis>,
        3 => needs_time: bool,
        /// It is collected with others: not by a code of its own, but by this one.
        4 opt => bundle: Option<BundleSecrets>,
    }
}
cbor_map! {
    /// The credential of a bundle, sealed for the signer.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct BundleSecrets {
        1 => bundle: OrderKey,
        2 => code: Blob,
        3 => qr: Blob,
        /// True: `code` is of letters.
        4 opt => letters: Option<bool>,
    }
}

impl BundleSecrets {
    /// Of what its code is made.
    pub(crate) fn kind(&self) -> CredentialKind {
        if self.letters == Some(true) { CredentialKind::Letters } else { CredentialKind::Digits }
    }
}

cbor_map! {
    /// Show the code that was announced once more, for a message of this kind.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Show { 1 => order: OrderKey, 2 => kind: NotificationKind, 3 => id: String }
}
cbor_map! {
    /// Make another code. The old one stays until the cabinet holds the new one.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Reissue { 1 => order: OrderKey }
}
cbor_map! {
    /// The order is over: forget it and its credentials.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Release { 1 => order: OrderKey }
}
cbor_map! {
    /// Withdraw the credentials of an order that stays inside until staff take it back.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Revoke { 1 => order: OrderKey }
}
cbor_map! {
    /// Staff are to take the order out.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Unwant { 1 => order: OrderKey, 2 => why: TakeBack }
}
cbor_map! {
    /// The fleet does not know that this order should be there: a person has to look.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Doubt { 1 => order: OrderKey, 2 => compartment: Compartment }
}
cbor_map! {
    /// Tell the order if it is inside although it is in no book: the fleet may have forgotten it once.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Find { 1 => order: OrderKey }
}
cbor_map! {
    /// A member of staff with a PIN and perhaps a badge. `serial` grows with each change.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Employ {
        1 => name: Name,
        2 => serial: u32,
        3 => sealed: Blob,
        4 opt => until: Option<FleetMillis>,
        5 opt => badge: Option<Blob>,
    }
}

cbor_map! {
    /// Somebody is no member of staff any more.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Dismiss { 1 => name: Name }
}

cbor_map! {
    /// As [`Employ`], a courier. Never taken for it, not by an older version either.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Engage { 1 => who: Employ }
}

cbor_map! {
    /// Somebody is no courier any more, or not here.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Disengage { 1 => name: Name }
}

cbor_map! {
    /// The booked order has another content: another size, perhaps, and so another compartment.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Alter {
        1 => order: OrderKey,
        2 => size: Size,
        3 => category: Category,
        4 => wants: Attributes,
        5 opt => hold: Option<u64>,
    }
}

cbor_map! {
    /// A person has ended the order. What is believed to be inside has to be looked at.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Close { 1 => order: OrderKey }
}

cbor_map! {
    /// Open the order's door for whoever stands at the screen. Never kept for later: a cabinet that is away refuses it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct OpenByApp {
        1 => order: OrderKey,
        2 => command: CommandId,
        3 => token: PresenceToken,
        4 => by: Identity,
    }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum CabinetIntent {
        1 => Reserve(Reserve),
        2 => Issue(Issue),
        3 => Release(Release),
        4 => Revoke(Revoke),
        5 => Doubt(Doubt),
        6 => Employ(Employ),
        7 => Find(Find),
        8 => Dismiss(Dismiss),
        9 => Show(Show),
        10 => Reissue(Reissue),
        11 => Unwant(Unwant),
        20 => Alter(Alter),
        21 => Close(Close),
        26 => Invite(Invite),
        30 => OpenByApp(OpenByApp),
        50 => SetFactor(SetFactor),
        70 => Engage(Engage),
        71 => Disengage(Disengage),
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Reserved { 1 => compartment: Compartment }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct NoRoom {}
}
cbor_map! {
    /// The reservation went to another order, or its compartment is gone; the order waits for the next free one.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Displaced {}
}
cbor_code! {
    pub(crate) enum OrderFact {
        0 => Loading = "loading",
        1 => Stored = "stored",
        2 => LoadAborted = "load_aborted",
        3 => Opened = "opened",
        4 => Collected = "collected",
        5 => CollectedUnconfirmed = "collected_unconfirmed",
        6 => Retrieved = "retrieved",
        7 => Missing = "missing",
        8 => Moved = "moved",
        /// The holder of its bundle has opened the door and left it inside.
        30 => NotTaken = "not_taken",
    }
}
cbor_map! {
    /// What a cabinet told about the order.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Told {
        1 => fact: OrderFact,
        2 => compartment: Compartment,
        3 => at: FleetMillis,
        4 => time_unverified: bool,
        /// The compartment is cooled: food keeps longer there.
        5 => refrigerated: bool,
        /// Who puts it in, if it is a courier.
        70 opt => courier: Option<Name>,
    }
}
cbor_map! {
    /// The cabinet holds the verifiers: the code may be announced.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Issued {
        1 => compartment: Compartment,
        2 => place: String,
        3 => code: Blob,
        4 => qr: Blob,
    }
}
cbor_map! {
    /// The code that was announced, for the message that was asked for.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Shown {
        1 => kind: NotificationKind,
        2 => id: String,
        3 => compartment: Compartment,
        4 => place: String,
        5 => code: Blob,
        6 => qr: Blob,
    }
}

cbor_map! {
    /// The cabinet holds the code for whoever brings the order: it may be announced.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Invited {
        1 => place: String,
        2 => code: Blob,
        3 => qr: Blob,
        4 opt => until: Option<FleetMillis>,
    }
}
cbor_map! {
    /// Somebody came with the order, and nothing that fits was free.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Full {}
}

cbor_map! {
    /// Since then the cabinet may not be able to open the order's door.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Stalled { 1 => at: FleetMillis }
}
cbor_map! {
    /// It can again.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Resumed { 1 => at: FleetMillis }
}

cbor_map! {
    /// The cabinet holds the credential of its bundle for it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Gathered { 1 => place: String }
}
cbor_map! {
    /// Staff began an order at the cabinet.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct WalkedIn {
        1 => size: Size,
        2 => category: Category,
        3 => wants: Attributes,
        /// The phone number, as the cabinet of this instance has sealed it.
        4 => sealed: Blob,
        5 => instance: Instance,
        6 => at: FleetMillis,
        7 => time_unverified: bool,
    }
}
cbor_map! {
    /// Staff gave up a walk-in that is in no compartment.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Dropped { 1 => at: FleetMillis, 2 => time_unverified: bool }
}

cbor_map! {
    /// The order is booked with its other content. Without a compartment it waits, as it did before.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Altered { 1 opt => compartment: Option<Compartment> }
}
cbor_map! {
    /// There is no room for the other content: everything is as it was.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Unaltered {}
}
cbor_map! {
    /// Whoever has its credential says that it is not there.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Reported {
        1 opt => compartment: Option<Compartment>,
        2 => at: FleetMillis,
        3 => time_unverified: bool,
    }
}

cbor_map! {
    /// The opening that this command was for has not happened, or nobody has heard of it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct NotOpened { 1 => command: CommandId, 2 => reason: RejectReason }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum OrderIntent {
        1 => Reserved(Reserved),
        2 => NoRoom(NoRoom),
        3 => Displaced(Displaced),
        4 => Told(Told),
        5 => Issued(Issued),
        6 => Shown(Shown),
        7 => Stalled(Stalled),
        8 => Resumed(Resumed),
        20 => Altered(Altered),
        21 => Unaltered(Unaltered),
        30 => Gathered(Gathered),
        23 => WalkedIn(WalkedIn),
        24 => Dropped(Dropped),
        26 => Invited(Invited),
        27 => Full(Full),
        25 => Reported(Reported),
        31 => NotOpened(NotOpened),
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct ToCabinet { 1 => tenant: TenantId, 2 => cabinet: CabinetId, 3 => body: CabinetIntent }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct ToOrder {
        1 => tenant: TenantId,
        2 => order: OrderKey,
        /// The cabinet that says it.
        3 => cabinet: CabinetId,
        4 => body: OrderIntent,
    }
}

cbor_map! {
    /// A message for another integration's stream than that of the order.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Deliver {
        1 => tenant: TenantId,
        2 => integration: Name,
        3 => row: NotificationRow,
        /// The bundle. Left out by versions that did not send messages to people.
        100 opt => of: Option<OrderKey>,
    }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Intent {
        1 => ToCabinet(ToCabinet),
        2 => ToOrder(ToOrder),
        30 => Deliver(Deliver),
    }
}

impl Intent {
    pub(crate) fn to_cabinet(at: &CabinetRef, body: impl Into<CabinetIntent>) -> Self {
        Self::ToCabinet(ToCabinet { tenant: at.tenant.clone(), cabinet: at.cabinet.clone(), body: body.into() })
    }

    pub(crate) fn to_order(from: &CabinetRef, order: &OrderKey, body: impl Into<OrderIntent>) -> Self {
        Self::ToOrder(ToOrder {
            tenant: from.tenant.clone(),
            order: order.clone(),
            cabinet: from.cabinet.clone(),
            body: body.into(),
        })
    }

    pub(crate) fn deliver(tenant: &TenantId, integration: Name, row: NotificationRow, of: OrderKey) -> Self {
        Self::Deliver(Deliver { tenant: tenant.clone(), integration, row, of: Some(of) })
    }

    /// Key in table `intents`: by receiver, so that a sharded store can keep it beside the receiver's rows.
    pub(crate) fn key(&self, n: u64) -> Vec<u8> {
        match self {
            Self::ToCabinet(to) => {
                let at = CabinetRef::new(to.tenant.clone(), to.cabinet.clone());
                numbered_key(&format!("cabinet/{}", at.key()), n)
            }
            Self::ToOrder(to) => {
                let order = OrderRef { tenant: to.tenant.clone(), order: to.order.clone() };
                numbered_key(&format!("order/{}", order.key()), n)
            }
            Self::Deliver(to) => numbered_key(&format!("integration/{}/{}", to.tenant, to.integration), n),
        }
    }
}

/// Intents that are not taken yet, in the order of their making.
#[derive(Default)]
pub(crate) struct Intents {
    last: u64,
    queue: VecDeque<(u64, Intent)>,
}

impl Intents {
    /// Takes over what the store held. `rows` may be in any order.
    pub(crate) fn restored(mut rows: Vec<(u64, Intent)>) -> Self {
        rows.sort_by_key(|(n, _)| *n);
        Self { last: rows.last().map_or(0, |(n, _)| *n), queue: rows.into() }
    }

    /// Queues an intent; returns its number.
    pub(crate) fn push(&mut self, intent: Intent) -> u64 {
        self.last += 1;
        self.queue.push_back((self.last, intent));
        self.last
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Intent)> {
        self.queue.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
