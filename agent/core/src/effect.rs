//! Orders of the core to the shell, carried out only after the rows of the same step are on disk.

use schemas::crypto::answers::Answer;
use schemas::crypto::codes::{Pepper, Secret};
use schemas::ids::Name;
use schemas::messages::{Challenge, Compartment, Epoch, Finding, OrderKey, Prompt, Receipt, Salt};

use crate::SessionId;

#[derive(Debug, Clone)]
pub enum Effect {
    /// Send the PUBACK of this `Input::Down`.
    AckDown {
        token: u64,
    },
    /// An encoded `Hello`. It can come again on the same connection, when a keyset changes the key of the pepper.
    SendHello(Vec<u8>),
    /// An encoded `Challenge`.
    SendChallenge(Vec<u8>),
    /// An encoded `Telemetry`.
    SendTelemetry(Vec<u8>),
    /// Publish the rows `from..=to` of table [`EVENTS`](crate::EVENTS) (key: [`event_key`](crate::event_key)), each as
    /// the record of an `Uplink` with this challenge and epoch.
    SendEvents {
        from: u64,
        to: u64,
        challenge: Challenge,
        epoch: Epoch,
    },
    /// Compute the verifier on the bounded pool and answer with `Input::Derived`.
    Derive {
        entry: u64,
        secret: Secret,
        salt: Salt,
        pepper: Pepper,
    },
    /// The same of an answer to the second factor of an order.
    DeriveAnswer {
        entry: u64,
        answer: Answer,
        order: OrderKey,
        salt: Salt,
        pepper: Pepper,
    },
    /// Pulse the lock once, never after `not_after` (boot milliseconds), and answer with `Input::PulseResult`.
    Pulse {
        pulse: u64,
        compartment: Compartment,
        not_after: u64,
    },
    EntryResult {
        entry: u64,
        result: EntryResult,
    },
    Screen(ScreenNote),
    /// Erase store and device key, sign the receipt, and open an empty store with it (`Config::receipt`). Comes with every
    /// step until that is done.
    Erase(Box<Receipt>),
    /// The fleet has the receipt: destroy the identity too, and end. Comes with every step until that is done.
    Discard,
}

/// What whoever typed or scanned is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryResult {
    /// These doors are being opened.
    Opening {
        compartments: Vec<Compartment>,
    },
    /// A deposit code: this door is being opened, or stands open still.
    Depositing {
        session: SessionId,
        compartment: Compartment,
    },
    Refused(EntryRefusal),
    /// Typing is locked; QR codes work on.
    Locked {
        until_boot_millis: u64,
    },
    StaffSession {
        session: SessionId,
        name: Name,
    },
    /// `compartment`: where the courier is in the middle of something.
    CourierSession {
        session: SessionId,
        name: Name,
        compartment: Option<Compartment>,
    },
    /// Too many wrong codes today: typed codes alone do not open.
    SecondPartNeeded,
    /// The right credential, and staff have to release the order (`Input::Release`) before its door opens.
    ReleaseNeeded,
    /// The right credential, and this has to be answered (`Input::Answered`) before its door opens.
    AnswerNeeded {
        prompt: Prompt,
    },
}

/// Why an entry opens nothing. Everything but `Wrong` and `Busy` is said only about a credential that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryRefusal {
    /// No such code; nothing more for someone who guesses.
    Wrong,
    /// Another entry is being checked, or the door is just being opened.
    Busy,
    Used,
    Expired,
    Revoked,
    /// The cabinet does not know the time, and this order needs it.
    TimeUnknown,
    /// The order is not in this cabinet (yet).
    NotHere,
    /// The lock of this compartment opened another door: staff must help.
    OutOfService,
    /// Staff found its compartment empty.
    Missing,
    /// Nothing that the order to be put in would fit into is free.
    NoRoom,
    /// It is not what was given with the order; it may be tried again.
    WrongAnswer,
    /// It was wrong too often: only staff let its holder in.
    AnswersUsedUp,
    /// Nobody is asked for anything, not any more: the code comes first.
    CodeFirst,
    /// Staff are taking its order out.
    TakenOut,
}

/// Why something that is asked for an order on its way in is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DepositRefusal {
    /// It is over: enter the code again.
    NoSession,
    /// The door is just being opened, or may be tried again.
    Busy,
    /// Close the door first.
    DoorOpen,
    /// Something may be inside: have the door opened again first.
    DoorClosed,
    /// Nothing free, closed and in service that fits.
    NoFittingCompartment,
    /// Enough compartments were opened for it.
    TooOften,
    /// Of a courier. No order of this label is to be put in here by one: what else there is is nobody's business.
    NotExpected,
    /// Something of theirs is on its way in: that comes first.
    Unfinished,
    /// Nothing that fits is free.
    NoRoom,
    /// What is left of the disk is for pickups.
    DiskFull,
    /// It cannot seal a phone number yet: it was never connected.
    NeverOnline,
    /// More orders than a book holds.
    TooMany,
}

/// Why staff cannot do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StaffRefusal {
    NoSession,
    UnknownOrder,
    UnknownCompartment,
    /// It is in a compartment already.
    AlreadyHere,
    /// It was collected or retrieved.
    Over,
    /// Nobody has shown its credential within the last two minutes, or it opens no longer.
    NobodyAsks,
    /// It was not stored in this session: it can be taken back, not undone.
    NotJustStored,
    /// Nothing free, closed and in service that fits.
    NoFittingCompartment,
    /// Its door is just being opened.
    Busy,
    /// Close the door first.
    DoorOpen,
    /// Look into it first.
    InDoubt,
    /// Several orders are in that compartment.
    Shared,
    /// The sensor says otherwise.
    SensorDisagrees,
    /// What is left of the disk is for pickups.
    DiskFull,
    /// It cannot seal a phone number yet: it was never connected.
    NeverOnline,
    /// More orders than a book holds.
    TooMany,
}

/// News for the screen; what it shows in between comes from `view`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScreenNote {
    Opened {
        compartment: Compartment,
    },
    Closed {
        compartment: Compartment,
    },
    /// The lock was pulsed and the door is still closed: push it and try again (`Input::TryAgain`).
    PushDoor {
        compartment: Compartment,
        attempt: u32,
    },
    /// The lock could not be reached, so it was not pulsed: try again in a moment (`Input::TryAgain`).
    LockSilent {
        compartment: Compartment,
    },
    /// The right credential was shown, and staff have to release what is behind these doors.
    AskRelease {
        compartments: Vec<Compartment>,
    },
    /// Staff have, and the door is being opened.
    Released {
        session: SessionId,
        order: OrderKey,
        compartment: Compartment,
    },
    /// Show the hotline and this reference.
    CallStaff {
        compartment: Compartment,
        order: Option<OrderKey>,
    },
    /// Somebody who had the right to it said that the order is not there: staff are to be asked.
    Reported {
        order: OrderKey,
        compartment: Option<Compartment>,
    },
    /// The door has been open for a minute.
    Beep {
        compartment: Compartment,
    },
    Loading {
        session: SessionId,
        order: OrderKey,
        compartment: Compartment,
    },
    /// What is stored already where `order` is, or is about to be.
    Beside {
        order: OrderKey,
        compartment: Compartment,
        others: Vec<OrderKey>,
    },
    Retrieving {
        session: SessionId,
        order: OrderKey,
        compartment: Compartment,
    },
    /// A door is being opened so that staff can look inside.
    Looking {
        session: SessionId,
        compartment: Compartment,
        order: Option<OrderKey>,
    },
    StaffRefused {
        session: SessionId,
        reason: StaffRefusal,
    },
    /// A door is being opened for whoever puts an order in: another one, or the same once more.
    Depositing {
        session: SessionId,
        compartment: Compartment,
    },
    /// Did they put it in? `empty`: a sensor says that nothing is inside.
    AskDeposited {
        session: SessionId,
        compartment: Compartment,
        empty: bool,
    },
    /// It is stored, or the compartment is free again.
    DepositOver {
        session: SessionId,
        compartment: Compartment,
        stored: bool,
    },
    DepositRefused {
        session: SessionId,
        reason: DepositRefusal,
    },
    /// Is it inside? `empty`: a sensor says that nothing is.
    AskLoaded {
        order: OrderKey,
        compartment: Compartment,
        empty: bool,
    },
    /// All doors are being opened, one after another, but for those that stand open or are out of order.
    OpeningAll {
        session: SessionId,
        compartments: Vec<Compartment>,
        passed_over: Vec<Compartment>,
    },
    /// Both doors are being opened, so that staff can exchange what is inside.
    Swapping {
        session: SessionId,
        compartments: [Compartment; 2],
    },
    /// Both doors are closed: have the two orders been exchanged?
    AskSwapped {
        compartments: [Compartment; 2],
    },
    SwapOver {
        compartments: [Compartment; 2],
        swapped: bool,
    },
    /// Staff have looked: is something inside? `order`: what the book says is.
    AskFound {
        compartment: Compartment,
        order: Option<OrderKey>,
    },
    Audited {
        compartment: Compartment,
        found: Finding,
    },
    /// What staff have scanned lies here now, and no more in `from`.
    Found {
        order: OrderKey,
        compartment: Compartment,
        from: Option<Compartment>,
    },
    Stored {
        order: OrderKey,
        compartment: Compartment,
    },
    LoadAborted {
        order: OrderKey,
        compartment: Compartment,
    },
    SessionEnded {
        session: SessionId,
    },
}
