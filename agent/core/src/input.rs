//! Facts that the shell reports to the core.

use std::fmt;
use std::str::FromStr;

use schemas::NotHex;
use schemas::crypto::answers::Answer;
use schemas::crypto::codes::Secret;
use schemas::messages::{Compartment, Occupancy, OrderKey, Verifier};

use crate::{MaintenanceMinutes, NewParcel, NewWalkIn, ParcelLabel};

/// What a door's contact says, the same in two polls of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorSeen {
    Open,
    Closed,
    /// No sensor, or the board does not answer.
    Unknown,
}

/// A staff session at the screen: 128 random bits, because whoever holds it may load. Debug hides it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u128);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// The form in which the screen holds it: 32 hexadecimal digits.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = NotHex;
    fn from_str(text: &str) -> Result<Self, NotHex> {
        let not_hex = NotHex { bytes: 16 };
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(not_hex);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| not_hex)
    }
}

/// What whoever puts an order in presses on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepositWish {
    /// A larger compartment, please.
    TooSmall,
    /// Something is in there already: another one, please.
    NotEmpty,
    /// Open the same door once more.
    Again,
    /// Answers `ScreenNote::AskDeposited`: it is inside.
    Inside,
    /// Nothing is inside, and nothing comes.
    GiveUp,
}

/// Everything that can happen to a cabinet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The time that `poll_timeout` named has come. Harmless at any other time.
    Tick,
    /// A keyset envelope from the settings, given at start; the same rules as for one from the fleet.
    Keyset(Vec<u8>),
    /// The connection is up and `down` is subscribed.
    Connected,
    Disconnected,
    /// A packet of the `down` topic. `token` is the shell's, for the PUBACK.
    Down {
        token: u64,
        payload: Vec<u8>,
    },
    /// PUBACKs came for all events up to here.
    EventsAcked {
        up_to: u64,
    },
    HelloAcked,
    /// A customer typed or scanned something. `entry` is the shell's, for the answer.
    Entered {
        entry: u64,
        secret: Secret,
    },
    /// A member of staff typed a PIN.
    StaffEntered {
        entry: u64,
        secret: Secret,
    },
    /// A courier typed a PIN.
    CourierEntered {
        entry: u64,
        secret: Secret,
    },
    /// Whoever got `EntryResult::AnswerNeeded` has answered.
    Answered {
        entry: u64,
        answer: Answer,
    },
    /// Answer to `Effect::Derive` and `Effect::DeriveAnswer`.
    Derived {
        entry: u64,
        verifier: Verifier,
    },
    /// Ends a session of staff, or of a courier.
    StaffLogout {
        session: SessionId,
    },
    /// Staff want to load this order; `larger`: into a larger compartment than the one that it would get, or has.
    Load {
        session: SessionId,
        order: OrderKey,
        larger: bool,
    },
    /// Staff begin an order that no backend has announced, and load it.
    WalkIn {
        session: SessionId,
        order: NewWalkIn,
    },
    /// Staff give up a walk-in that is in no compartment.
    DropWalkIn {
        session: SessionId,
        order: OrderKey,
    },
    /// Staff want to take this order back.
    Retrieve {
        session: SessionId,
        order: OrderKey,
    },
    /// Staff let whoever has shown the credential of this order open its door.
    Release {
        session: SessionId,
        order: OrderKey,
    },
    /// Staff loaded this order by mistake, in this session, and take it out again.
    Undo {
        session: SessionId,
        order: OrderKey,
    },
    /// Staff want to exchange the orders of two compartments.
    Swap {
        session: SessionId,
        one: Compartment,
        other: Compartment,
    },
    /// Staff answer `ScreenNote::AskSwapped` about the pair of which this is one.
    ConfirmSwap {
        session: SessionId,
        compartment: Compartment,
        swapped: bool,
    },
    /// Staff want to look into this compartment.
    Look {
        session: SessionId,
        compartment: Compartment,
    },
    /// Staff have looked into this compartment and scanned what they found there.
    Found {
        session: SessionId,
        compartment: Compartment,
        order: OrderKey,
    },
    /// Staff want all doors open, because of an emergency. The screen has asked whether they mean it.
    OpenAll {
        session: SessionId,
    },
    /// Staff say that a compartment needs cleaning, or is clean.
    Cleaning {
        session: SessionId,
        compartment: Compartment,
        needed: bool,
    },
    /// Staff take a compartment out of service, or back.
    Service {
        session: SessionId,
        compartment: Compartment,
        in_service: bool,
    },
    /// Staff work at the doors with a mechanical key from now on.
    Maintenance {
        session: SessionId,
        minutes: MaintenanceMinutes,
    },
    /// Staff answer `ScreenNote::AskLoaded` or `ScreenNote::AskFound`: is something in the compartment? Also ends an audit
    /// where they have looked without our lock.
    ConfirmLoaded {
        session: SessionId,
        compartment: Compartment,
        inside: bool,
    },
    /// Whoever opened this door by the credential of a bundle leaves what is inside.
    NotTaken {
        compartment: Compartment,
    },
    /// Of a session that `EntryResult::Depositing` or `EntryResult::CourierSession` began.
    Deposit {
        session: SessionId,
        wish: DepositWish,
    },
    /// A courier has something with this label, of a session that `EntryResult::CourierSession` began.
    Bring {
        session: SessionId,
        label: ParcelLabel,
    },
    /// A courier has something for whoever has a phone number.
    BringTo {
        session: SessionId,
        parcel: NewParcel,
    },
    /// A customer says that the order is not there: behind the door that was opened for them, or because their code was used.
    Report {
        compartment: Option<Compartment>,
    },
    /// The person pressed "try again" after `ScreenNote::PushDoor`.
    TryAgain {
        compartment: Compartment,
    },
    /// The bus saw this, in two polls.
    Door {
        compartment: Compartment,
        door: DoorSeen,
        occupancy: Occupancy,
    },
    /// What became of `Effect::Pulse`. `sent: false`: certainly no byte of it left.
    PulseResult {
        pulse: u64,
        sent: bool,
    },
    Board {
        board: u32,
        answering: bool,
    },
    /// The disk is full and the store lives on its reserve, or no longer.
    Disk {
        low: bool,
    },
}
