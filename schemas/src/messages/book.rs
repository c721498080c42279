//! The book: orders, credentials, staff and rules that a cabinet needs to work without a network.
//!
//! A book is a signed chain of changes. A change set applies to exactly its `base` version, or to none (`base` 0: it
//! replaces everything); versions only grow. It holds verifiers, never codes.

use crate::ids::{Name, OrderId};
use crate::{cbor_code, cbor_map, cbor_union};

use super::{
    Attributes, Category, Challenge, Compartment, CredentialId, DepositKind, Epoch, FleetMillis, OpenOrder, OrderKey,
    Prompt, Size, Verifier,
};

cbor_code! {
    pub enum CredentialKind {
        /// Typed digits: stretched with Argon2id.
        0 => Digits = "digits",
        /// At least 80 random bits, scanned or typed in full: not stretched, not counted.
        1 => Qr = "qr",
        /// Typed letters of an alphabet that makes no words (crypto::codes): stretched and counted as digits are.
        2 => Letters = "letters",
    }
}

impl CredentialKind {
    /// It can be guessed at the screen: it is stretched, and the lockout counts it.
    pub fn is_typed(self) -> bool {
        match self {
            Self::Digits | Self::Letters => true,
            Self::Qr => false,
        }
    }
}

cbor_code! {
    /// Why staff are to take an order out.
    pub enum TakeBack {
        /// Its backend wants it back.
        0 => Recalled = "recalled",
        /// Nobody has come for it. Whoever comes before staff do still gets it, as far as the code is good.
        1 => Overdue = "overdue",
        /// It may be spoilt, or is not to be handed out for another reason.
        2 => Quarantined = "quarantined",
        /// A customer has left it for the business.
        3 => DroppedOff = "dropped_off",
    }
}

cbor_map! {
    /// An order that this cabinet is to hold, or holds. The compartment is a wish of the fleet: the cabinet decides.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PutOrder {
        1 => order: OrderKey,
        2 => size: Size,
        3 => category: Category,
        4 => wants: Attributes,
        5 opt => reserved: Option<Compartment>,
        6 opt => take_back: Option<TakeBack>,
        /// Who puts it in. Left out: staff.
        9 opt => deposit: Option<DepositKind>,
        /// It is one of several that staff and recipient know as one order.
        28 opt => part: Option<PartOf>,
        /// It may lie in one compartment with others of its integration that have the same word here.
        80 opt => shares: Option<OrderId>,
    }
}

/// Most orders in one compartment.
pub const SHARED_MAX: usize = 8;

/// Most compartments of one order.
pub const PARTS_MAX: usize = 8;

cbor_map! {
    /// Which part of which order. To a cabinet each part is an order of its own.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PartOf {
        /// The order as its label names it.
        1 => whole: OrderKey,
        /// From 1.
        2 => number: u32,
        3 => of: u32,
    }
}

cbor_map! {
    /// The order is no longer to be loaded here, or is over. Does not free a compartment that holds it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DropOrder { 1 => order: OrderKey }
}

/// Most orders of one credential.
pub const BUNDLE_ORDERS_MAX: usize = 64;

cbor_map! {
    /// Until when a credential of several orders opens one of them, and whether it does so without the time.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct BundleRight {
        1 => order: OrderKey,
        2 opt => expires: Option<FleetMillis>,
        3 => needs_time: bool,
    }
}

cbor_map! {
    /// A right to open what holds these orders.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PutCredential {
        1 => id: CredentialId,
        2 => kind: CredentialKind,
        3 => verifier: Verifier,
        4 => orders: Vec<OrderKey>,
        /// Grows with each re-issue; the cabinet keeps only the newest of an order.
        5 => generation: u32,
        /// Fleet time after which it is refused. Left out: until the order is over.
        6 opt => expires: Option<FleetMillis>,
        /// Refused while the cabinet does not know the time (food, pharmacy).
        7 => needs_time: bool,
        /// Pepper version that the verifier was made with.
        8 => pepper: u32,
        /// With a bundle: a right for each of its orders, instead of `expires` and `needs_time`, which say what holds for all
        /// of them. What its holder leaves inside stays there for the next time.
        11 opt => rights: Option<Vec<BundleRight>>,
    }
}

cbor_map! {
    /// A credential that does not open some of its orders alone: staff who stand there have to release each of these.
    ///
    /// A change of its own, and no credential with a mark: an agent that passes over a mark would open them.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PutGuarded {
        1 => credential: PutCredential,
        /// Those of its orders that staff release.
        2 => guarded: Vec<OrderKey>,
        /// Of a credential of one order, which is guarded: what is asked for behind it. Who passes over it asks staff.
        50 opt => factor: Option<Factor>,
    }
}

cbor_map! {
    /// The second factor of an order: what opens it behind its credential, other than staff.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Factor {
        1 => prompt: Prompt,
        /// Of the answer to this order (crypto::answers), made with the pepper of the credential.
        2 => verifier: Verifier,
        /// Staff have to release it as well, behind the right answer.
        3 => release: bool,
    }
}

cbor_map! {
    /// A right to put this order into a compartment that is free. It is over once the order is stored, and opens nothing
    /// with an order in it. [`DropCredential`] withdraws it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PutDeposit {
        1 => id: CredentialId,
        2 => kind: CredentialKind,
        3 => verifier: Verifier,
        4 => order: OrderKey,
        /// Grows with each later one of the order; counted apart from its pickup codes.
        5 => generation: u32,
        /// Fleet time after which it is refused.
        6 opt => expires: Option<FleetMillis>,
        /// Pepper version that the verifier was made with.
        7 => pepper: u32,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DropCredential { 1 => id: CredentialId }
}

cbor_map! {
    /// A member of staff and the verifier of the PIN (typed digits).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PutStaff {
        1 => name: Name,
        2 => verifier: Verifier,
        3 => pepper: u32,
        /// Fleet time after which PIN and badge are refused.
        4 opt => until: Option<FleetMillis>,
        /// Verifier of the badge, a scanned token.
        5 opt => badge: Option<Verifier>,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DropStaff { 1 => name: Name }
}

cbor_map! {
    /// A courier who comes again and again, and the verifier of the PIN (typed digits). Puts in, and nothing else.
    ///
    /// A change of its own, and no member of staff with a mark: an agent that passes over a mark would let a courier work as
    /// staff. Sent only to agents that say that they know it (`couriers` in [`Hello`](super::Hello)).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PutCourier {
        /// Under which the cabinet tells what the courier has done. No two couriers of a cabinet have the same.
        1 => id: CredentialId,
        2 => name: Name,
        3 => verifier: Verifier,
        4 => pepper: u32,
        /// Fleet time after which PIN and badge are refused.
        5 opt => until: Option<FleetMillis>,
        /// Verifier of the badge, a scanned token.
        6 opt => badge: Option<Verifier>,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DropCourier { 1 => name: Name }
}

/// The name under which whoever came in by a break-glass code works at a cabinet; nobody of the staff may have it.
pub const BREAK_GLASS_NAME: &str = "break-glass";

cbor_map! {
    /// The cabinet's break-glass code: lets staff in once, whoever they are. An agent that does not know it passes over it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct BreakGlass {
        1 => id: CredentialId,
        2 => verifier: Verifier,
        3 => pepper: u32,
    }
}

cbor_map! {
    /// What the screen must know. Lockout is not a rule of the book: it is fixed in the cabinet's core.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Rules {
        /// Digits of a pickup code, from the guess budget.
        1 => code_digits: u8,
        /// The one in force; without it there is none.
        2 opt => break_glass: Option<BreakGlass>,
        /// Letters of a pickup code, where new ones are of letters. Left out: they are of digits.
        3 opt => code_letters: Option<u8>,
    }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum BookChange {
        1 => PutOrder(PutOrder),
        2 => DropOrder(DropOrder),
        3 => PutCredential(PutCredential),
        4 => DropCredential(DropCredential),
        5 => PutStaff(PutStaff),
        6 => DropStaff(DropStaff),
        7 => Rules(Rules),
        22 => PutDeposit(PutDeposit),
        23 => PutGuarded(PutGuarded),
        70 => PutCourier(PutCourier),
        71 => DropCourier(DropCourier),
    }
}

cbor_map! {
    /// One change set.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Book {
        1 => version: u64,
        /// The version that it changes, 0 to replace the whole book.
        2 => base: u64,
        3 => issued: FleetMillis,
        4 => changes: Vec<BookChange>,
    }
}

cbor_map! {
    /// How far the fleet has a cabinet's events.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct EventMark {
        1 => epoch: Epoch,
        2 => high_water: u64,
    }
}

cbor_map! {
    /// The fleet's time, fresh because it names a challenge.
    ///
    /// `mark` says what `welcome` says too, but signed: a cabinet whose own events end before it knows that its store was
    /// put back, and nobody who only owns the connection can make it believe so.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FleetTime {
        1 => challenge: Challenge,
        2 => now: FleetMillis,
        3 opt => mark: Option<EventMark>,
    }
}

cbor_union! {
    /// Payload of a COSE_Sign1 with purpose `codes`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum CodesMessage {
        1 => Book(Book),
        2 => Time(FleetTime),
        20 => Open(OpenOrder),
    }
}
