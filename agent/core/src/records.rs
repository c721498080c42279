//! Rows of the cabinet's store. Their keys in CBOR stay as they are for ever; new fields are added as `opt`.

use schemas::cbor::Blob;
use schemas::ids::{Name, OrderId};
use schemas::messages::{
    Actor, ActorApp, ActorCommand, ActorCourier, ActorCredential, ActorStaff, Attributes, BundleRight, Category,
    CommandId, Compartment, CredentialId, CredentialKind, DepositKind, Epoch, FleetMillis, Instance, OrderKey, PartOf,
    Prompt, Roots, Salt, Size, TakeBack,
};
use schemas::{cbor_code, cbor_map, cbor_union};

/// Format of all rows; a store with another one is refused.
pub(crate) const FORMAT: u64 = 1;

pub(crate) const FORMAT_KEY: &str = "format";
pub(crate) const IDENTITY_KEY: &str = "identity";
pub(crate) const OUTBOX_KEY: &str = "outbox";
pub(crate) const KEYSET_KEY: &str = "keyset";
pub(crate) const BOOK_KEY: &str = "book";
pub(crate) const TIME_KEY: &str = "time";
pub(crate) const LOCKOUT_KEY: &str = "lockout";
pub(crate) const PULSE_KEY: &str = "pulse";
/// The cabinet is to be wiped.
pub(crate) const WIPE_KEY: &str = "wipe";
/// It was: the receipt is among the events of this store.
pub(crate) const WIPED_KEY: &str = "wiped";

macro_rules! rows {
    ($( $(#[$meta:meta])* $name:ident { $($body:tt)* } )*) => {
        $( cbor_map! { $(#[$meta])* #[derive(Debug, Clone, PartialEq, Eq)] pub(crate) struct $name { $($body)* } } )*
    };
}

rows! {
    /// Made with the store.
    IdentityRow {
        1 => instance: Instance,
        2 => epoch: Epoch,
        3 => salt: Salt,
        4 => pepper_version: u32,
        /// Protected with the device key.
        5 => pepper: Blob,
    }
    /// `newest` and `oldest` event on disk, and how far the fleet has them. `oldest` is `newest + 1` for none.
    /// `start`: the first event of the first run of which the fleet may not have heard.
    OutboxRow { 1 => newest: u64, 2 => oldest: u64, 3 => acked: u64, 4 opt => start: Option<u64> }
    /// `roots`: those in force are no longer the pinned ones.
    KeysetRow { 1 => version: u64, 2 => envelope: Blob, 3 opt => roots: Option<RootsRow> }
    /// `pinned`: of the settings. `under`: one of these has signed the keyset. `held`: in force since.
    RootsRow { 1 => pinned: Roots, 2 => under: Roots, 3 => held: Roots }
    /// `glass`: the break-glass code in force. `broken`: former ones that were used.
    BookRow {
        1 => version: u64,
        2 => code_digits: u8,
        3 opt => glass: Option<GlassRow>,
        4 opt => broken: Option<Vec<GlassRow>>,
        5 opt => code_letters: Option<u8>,
    }
    /// `at_rest`: HMAC of its verifier under the device key. `begun`: how often somebody came in by it.
    GlassRow { 1 => id: CredentialId, 2 => at_rest: Blob, 3 => begun: u32 }
    /// `known`: the newest signed time, for a later run on the same machine start. `heard`: until when the fleet was heard
    /// of, as far as the disk knows.
    TimeRow { 1 => floor: FleetMillis, 2 opt => known: Option<KnownTime>, 100 opt => heard: Option<FleetMillis> }
    KnownTime {
        /// While this is the machine's start, the boot clock has gone on since.
        1 => machine: Blob,
        2 => fleet: FleetMillis,
        /// Boot clock when it came.
        3 => boot_millis: u64,
        /// Milliseconds that it was under way at most.
        4 => uncertainty: u64,
    }
    /// One wrong code: boot clock of the run that counts it, and fleet time if it was known.
    WrongCode { 1 => boot_millis: u64, 2 opt => fleet_millis: Option<FleetMillis> }
    LockoutRow {
        /// Wrong codes since typing was last locked.
        1 => wrong: u32,
        2 => locked: bool,
        3 => today: Vec<WrongCode>,
    }
    AcceptedCommand { 1 => id: CommandId }
    /// An order that staff began here.
    WalkInRow {
        1 => staff: Name,
        /// Protected with the device key. Left out once the fleet has made a code for the order.
        2 opt => phone: Option<Blob>,
        /// The fleet has put it into the book.
        3 => known: bool,
        /// Who began it in the place of staff.
        70 opt => courier: Option<Name>,
    }
    OrderRow {
        1 => size: Size,
        2 => category: Category,
        3 => wants: Attributes,
        4 opt => reserved: Option<Compartment>,
        /// It was collected or taken back here; it is not loaded again.
        5 => over: bool,
        /// Staff found its compartment empty: nothing opens for it until it is loaded again.
        6 opt => missing: Option<bool>,
        7 opt => take_back: Option<TakeBack>,
        20 opt => walk_in: Option<WalkInRow>,
        /// Who puts it in, if it is not staff.
        23 opt => deposit: Option<DepositKind>,
        28 opt => part: Option<PartOf>,
        /// Wrong answers to what is asked for behind its code.
        50 opt => wrong_answers: Option<WrongAnswersRow>,
        /// It may lie with others that have the same word.
        80 opt => shares: Option<OrderId>,
    }
    /// `at_rest`: of the answer that was asked for. To another one nobody has given a wrong answer yet.
    WrongAnswersRow { 1 => at_rest: Blob, 2 => count: u32 }
    CredentialRow {
        1 => kind: CredentialKind,
        /// HMAC of the verifier under the device key.
        2 => at_rest: Blob,
        /// What it still opens.
        3 => orders: Vec<OrderKey>,
        4 => generation: u32,
        5 opt => expires: Option<FleetMillis>,
        6 => needs_time: bool,
        7 => life: Life,
        /// Version of the book in which it was put or revoked: the oldest revoked ones are forgotten first.
        8 => book: u64,
        /// Of a bundle: what holds for each of its orders.
        11 opt => rights: Option<Vec<BundleRight>>,
        /// The order that it has opened last.
        20 opt => opened: Option<OrderKey>,
        /// True: it puts its one order in, and never opens what is inside.
        22 opt => deposit: Option<bool>,
        /// Those of its orders that it opens only when staff release them.
        24 opt => guarded: Option<Vec<OrderKey>>,
        /// What opens its one order in the place of staff, or ahead of them.
        50 opt => factor: Option<FactorRow>,
    }
    /// `at_rest`: HMAC of the answer's verifier under the device key. `release`: staff have to release the order as well.
    FactorRow { 1 => prompt: Prompt, 2 => at_rest: Blob, 3 => release: bool }
    /// HMACs under the device key, of the PIN's verifier and the badge's.
    StaffRow { 1 => at_rest: Blob, 2 opt => until: Option<FleetMillis>, 3 opt => badge: Option<Blob> }

    /// As [`StaffRow`], of somebody who puts in and does nothing else.
    CourierRow { 1 => id: CredentialId, 2 => at_rest: Blob, 3 opt => until: Option<FleetMillis>, 4 opt => badge: Option<Blob> }

    CommandUse { 1 => id: CommandId, 2 => requester: String }
    /// `app`: it is in no book, but was asked for by the token of the screen. `released`: by whom, where the credential alone does
    /// not open it.
    CollectUse {
        1 => credential: CredentialId, 2 => order: OrderKey, 22 opt => app: Option<CommandRight>, 24 opt => released: Option<Name>
    }
    /// A command that asks for more than its door. `told`: the fleet was told the outcome.
    CommandRight { 1 => id: CommandId, 2 => requester: String, 3 => told: bool }
    /// `by`: of somebody who is not here.
    LoadUse { 1 => staff: Name, 2 => order: OrderKey, 60 opt => by: Option<CommandRight> }
    RetrieveUse { 1 => staff: Name, 2 => order: OrderKey, 60 opt => by: Option<CommandRight> }
    LookUse { 1 => staff: Name }
    SwapUse { 1 => staff: Name, 2 => order: OrderKey }
    /// `courier`: it is no deposit code but a courier, whose id `credential` is.
    DepositUse { 1 => credential: CredentialId, 2 => order: OrderKey, 70 opt => courier: Option<Name> }
    /// A use of an authority: journalled before its pulse, removed with its outcome.
    UseRow {
        /// Number of the newest pulse that it asked for.
        1 => pulse: u64,
        2 => purpose: Purpose,
        /// Which press of "try again" this is, from 1.
        3 => attempt: u32,
        /// Boot clock after which nothing is pulsed for it.
        4 => not_after: u64,
    }

    Free {}
    /// Staff took the compartment for an order. `opened`: its door was unlocked, so something may be inside.
    Loading { 1 => order: OrderKey, 2 => staff: Name, 3 => opened: bool }
    Stored { 1 => order: OrderKey }
    /// The recipient's door was opened. `seen`: by the sensor, not only pulsed. `stays`: the holder of a bundle leaves it inside.
    Collecting { 1 => order: OrderKey, 2 => credential: CredentialId, 3 => seen: bool, 11 opt => stays: Option<bool> }
    /// Collected without confirmation; free when its door is seen closed.
    Leaving { 1 => order: OrderKey }
    /// Staff take the order back.
    /// `left`: its recipient had opened the door and not closed it. `undo`: it was loaded by mistake a moment ago, and is to
    /// be loaded again.
    Retrieving {
        1 => order: OrderKey,
        2 => staff: Name,
        3 => opened: bool,
        4 opt => left: Option<bool>,
        5 opt => undo: Option<bool>,
    }
    /// Staff exchange the order with that of another compartment. `opened`: its door was unlocked, so either of the two may be
    /// inside, or none.
    Swapping { 1 => order: OrderKey, 2 => with: Compartment, 3 => staff: Name, 4 => opened: bool }
    /// Somebody puts the order in by a deposit code, or a courier does. `opened`: its door was unlocked, so something may be
    /// inside.
    Depositing {
        1 => order: OrderKey,
        2 => credential: CredentialId,
        3 => opened: bool,
        70 opt => courier: Option<Name>,
    }

    BayRow {
        1 => content: Content,
        /// What the sensor last said for certain: true for open. Kept through silence and restarts.
        2 opt => open: Option<bool>,
        3 opt => fault: Option<Fault>,
        4 => audit: bool,
        /// Who has opened the door to look inside, until it is known what they found.
        5 opt => looker: Option<Name>,
        6 opt => needs_cleaning: Option<bool>,
        7 opt => withdrawn: Option<bool>,
        /// Orders that are stored there besides the one that `content` is about.
        80 opt => beside: Option<Vec<OrderKey>>,
        /// Of so many of them `looker` has said that they are there.
        81 opt => found: Option<u32>,
    }
}

cbor_code! {
    pub(crate) enum Life { 0 => Live = "live", 1 => Used = "used", 2 => Revoked = "revoked" }
}

cbor_code! {
    pub(crate) enum Fault {
        /// Pulsed three times and never seen open.
        0 => Stuck = "stuck",
        /// Another door opened instead, or this one did instead of another.
        1 => WrongDoor = "wrong_door",
        /// The cabinet's store was put back: somebody else's order may be here by now.
        2 => PutBack = "put_back",
    }
}

cbor_union! {
    /// Whose right it is, and what happens when the door opens.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Purpose {
        1 => Command(CommandUse),
        2 => Collect(CollectUse),
        3 => Load(LoadUse),
        4 => Retrieve(RetrieveUse),
        5 => Look(LookUse),
        6 => Swap(SwapUse),
        22 => Deposit(DepositUse),
    }
}

cbor_union! {
    /// What the cabinet knows to be in a compartment.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Content {
        1 => Free(Free),
        2 => Loading(Loading),
        3 => Stored(Stored),
        4 => Collecting(Collecting),
        5 => Leaving(Leaving),
        6 => Retrieving(Retrieving),
        7 => Swapping(Swapping),
        22 => Depositing(Depositing),
    }
}

impl CredentialRow {
    pub(crate) fn is_guarded(&self, order: &OrderKey) -> bool {
        self.guarded.as_ref().is_some_and(|guarded| guarded.contains(order))
    }

    pub(crate) fn is_deposit(&self) -> bool {
        self.deposit == Some(true)
    }
}

impl OrderRow {
    /// Begun here, and not in the fleet's book yet.
    pub(crate) fn is_own(&self) -> bool {
        self.walk_in.as_ref().is_some_and(|own| !own.known)
    }

    pub(crate) fn forget_phone(&mut self) {
        if let Some(own) = &mut self.walk_in {
            own.phone = None;
        }
    }
}

impl Purpose {
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Command(by) => ActorCommand { id: by.id, requester: by.requester.clone() }.into(),
            Self::Collect(CollectUse { app: Some(app), .. }) => {
                ActorApp { id: app.id, requester: app.requester.clone() }.into()
            }
            Self::Load(LoadUse { by: Some(by), .. }) | Self::Retrieve(RetrieveUse { by: Some(by), .. }) => {
                ActorCommand { id: by.id, requester: by.requester.clone() }.into()
            }
            Self::Collect(by) => ActorCredential { id: by.credential }.into(),
            Self::Load(by) => ActorStaff { name: by.staff.clone() }.into(),
            Self::Retrieve(by) => ActorStaff { name: by.staff.clone() }.into(),
            Self::Look(by) => ActorStaff { name: by.staff.clone() }.into(),
            Self::Swap(by) => ActorStaff { name: by.staff.clone() }.into(),
            Self::Deposit(DepositUse { courier: Some(name), .. }) => ActorCourier { name: name.clone() }.into(),
            Self::Deposit(by) => ActorCredential { id: by.credential }.into(),
        }
    }

    /// The command that it is for, if that asks for more than the door.
    pub(crate) fn right(&self) -> Option<&CommandRight> {
        match self {
            Self::Collect(by) => by.app.as_ref(),
            Self::Load(by) => by.by.as_ref(),
            Self::Retrieve(by) => by.by.as_ref(),
            Self::Command(_) | Self::Look(_) | Self::Swap(_) | Self::Deposit(_) => None,
        }
    }

    pub(crate) fn right_mut(&mut self) -> Option<&mut CommandRight> {
        match self {
            Self::Collect(by) => by.app.as_mut(),
            Self::Load(by) => by.by.as_mut(),
            Self::Retrieve(by) => by.by.as_mut(),
            Self::Command(_) | Self::Look(_) | Self::Swap(_) | Self::Deposit(_) => None,
        }
    }

    /// One pulse and no second press: whoever asked is not at the door.
    pub(crate) fn is_of_somebody_away(&self) -> bool {
        match self {
            Self::Command(_) => true,
            Self::Load(by) => by.by.is_some(),
            Self::Retrieve(by) => by.by.is_some(),
            Self::Collect(_) | Self::Look(_) | Self::Swap(_) | Self::Deposit(_) => false,
        }
    }

    pub(crate) fn order(&self) -> Option<&OrderKey> {
        match self {
            Self::Command(_) | Self::Look(_) => None,
            Self::Collect(by) => Some(&by.order),
            Self::Load(by) => Some(&by.order),
            Self::Retrieve(by) => Some(&by.order),
            Self::Swap(by) => Some(&by.order),
            Self::Deposit(by) => Some(&by.order),
        }
    }
}

impl Content {
    /// Nobody is in the middle of something that the open door would be taken for.
    pub(crate) fn may_be_looked_into(&self) -> bool {
        match self {
            Self::Free(_) | Self::Stored(_) | Self::Leaving(_) => true,
            Self::Loading(content) => content.opened,
            Self::Retrieving(content) => content.opened,
            Self::Depositing(content) => content.opened,
            Self::Collecting(_) | Self::Swapping(_) => false,
        }
    }

    pub(crate) fn order(&self) -> Option<&OrderKey> {
        match self {
            Self::Free(_) => None,
            Self::Loading(content) => Some(&content.order),
            Self::Stored(content) => Some(&content.order),
            Self::Collecting(content) => Some(&content.order),
            Self::Leaving(content) => Some(&content.order),
            Self::Retrieving(content) => Some(&content.order),
            Self::Swapping(content) => Some(&content.order),
            Self::Depositing(content) => Some(&content.order),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::cbor::{decode, encode};

    use super::*;

    #[test]
    fn rows_have_pinned_bytes() {
        let order: OrderKey = "shop/A1".parse().unwrap();
        let bay = BayRow {
            content: Stored { order: order.clone() }.into(),
            open: Some(false),
            fault: None,
            audit: false,
            looker: None,
            needs_cleaning: None,
            withdrawn: None,
            beside: None,
            found: None,
        };
        let bytes = [&[0xa3, 0x01, 0x82, 0x03, 0xa1, 0x01, 0x67][..], b"shop/A1", &[0x02, 0xf4, 0x04, 0xf4]].concat();
        assert_eq!(encode(&bay), bytes);
        assert_eq!(decode::<BayRow>(&bytes), Ok(bay));

        let keyset = KeysetRow { version: 5, envelope: Blob(vec![0x84]), roots: None };
        assert_eq!(encode(&keyset), [0xa2, 0x01, 0x05, 0x02, 0x41, 0x84]);
        assert_eq!(decode::<KeysetRow>(&encode(&keyset)), Ok(keyset));

        let purpose = CollectUse { credential: CredentialId([2; 8]), order, app: None, released: None }.into();
        let row = UseRow { pulse: 1, purpose, attempt: 1, not_after: 30_000 };
        let head = [0xa4, 0x01, 0x01, 0x02, 0x82, 0x02, 0xa2, 0x01, 0x48, 2, 2, 2, 2, 2, 2, 2, 2, 0x02, 0x67];
        let bytes = [&head[..], b"shop/A1", &[0x03, 0x01, 0x04, 0x19, 0x75, 0x30]].concat();
        assert_eq!(encode(&row), bytes);
        assert_eq!(decode::<UseRow>(&bytes), Ok(row));
    }
}
