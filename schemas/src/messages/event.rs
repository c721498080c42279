//! Facts from a cabinet: numbered, in order, each on disk before it is sent and before it is acknowledged.

use crate::cbor::Blob;
use crate::ids::Name;
use crate::{cbor_code, cbor_map, cbor_union};

use super::{
    Attributes, Category, Challenge, CommandId, Compartment, CredentialId, Epoch, FleetMillis, KeyId, Occupancy,
    OrderKey, Size, Stamp,
};

cbor_map! {
    /// Payload of the cabinet's `up/event` topic. The record stays as it was written when the fact happened; the
    /// challenge is of the moment of sending. (epoch, n) can be read even where the record cannot be understood.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Uplink {
        1 => challenge: Challenge,
        2 => epoch: Epoch,
        3 => n: u64,
        /// An [`Event`].
        4 => record: Blob,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Event {
        1 => at: Stamp,
        2 => fact: Fact,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ActorCommand { 1 => id: CommandId, 2 => requester: String }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ActorCredential { 1 => id: CredentialId }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ActorStaff { 1 => name: Name }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ActorNobody {}
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ActorCourier { 1 => name: Name }
}

cbor_map! {
    /// `id`: of the command that carried the token of the screen.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ActorApp { 1 => id: CommandId, 2 => requester: String }
}

cbor_union! {
    /// By whose right a door was asked to open.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Actor {
        1 => Command(ActorCommand),
        2 => Credential(ActorCredential),
        3 => Staff(ActorStaff),
        4 => Nobody(ActorNobody),
        20 => App(ActorApp),
        70 => Courier(ActorCourier),
    }
}

cbor_code! {
    pub enum UnlockOutcome {
        /// The sensor saw the door open.
        0 => Opened = "opened",
        /// Pulsed; the sensor says that the door is closed.
        1 => NotOpened = "not_opened",
        /// Certainly not pulsed.
        2 => NotSent = "not_sent",
        /// Pulsed, or perhaps pulsed before a crash, and no sensor can tell.
        3 => OutcomeUnknown = "outcome_unknown",
    }
}

cbor_code! {
    /// Why a cabinet refused something.
    pub enum RefusalReason {
        0 => Malformed = "malformed",
        1 => BadSignature = "bad_signature",
        2 => UnknownKey = "unknown_key",
        3 => Expired = "expired",
        4 => UnknownChallenge = "unknown_challenge",
        5 => Replayed = "replayed",
        6 => WrongContent = "wrong_content",
        7 => UnknownCompartment = "unknown_compartment",
        8 => OutOfService = "out_of_service",
        9 => Busy = "busy",
        10 => OldVersion = "old_version",
        11 => WrongBase = "wrong_base",
        12 => Used = "used",
        13 => Revoked = "revoked",
        14 => TimeUnknown = "time_unknown",
        15 => StorageFailed = "storage_failed",
        16 => AlreadyOpen = "already_open",
        /// The delegation is for another cabinet or another person.
        17 => OutOfScope = "out_of_scope",
        /// Somebody wants to put an order in, and nothing that fits is free.
        30 => NoFittingCompartment = "no_fitting_compartment",
        /// This cabinet opens nothing by its screen's token.
        40 => NotEnabled = "not_enabled",
        /// It is not on the screen, not any more, or was used.
        41 => NoSuchToken = "no_such_token",
        /// Too many wrong ones: nothing is opened by a token for a time.
        42 => TooOften = "too_often",
        /// The code was right, and what was asked for behind it was not.
        50 => WrongAnswer = "wrong_answer",
        /// The cabinet's book does not have the order, or it is in no compartment.
        60 => NotHere = "not_here",
        /// The order to load is in a compartment, or on its way into one.
        61 => AlreadyInside = "already_inside",
        /// The order to take out is to be collected.
        62 => NotToBeRetrieved = "not_to_be_retrieved",
        /// Nobody waits for a word about the order.
        63 => NotAsked = "not_asked",
        /// What is inside can be said of a closed door only.
        64 => DoorOpen = "door_open",
    }
}

cbor_code! {
    /// What somebody who looked into a compartment found.
    pub enum Finding {
        /// What the book says: its order, or nothing.
        0 => AsBooked = "as_booked",
        /// Something, where the book says nothing.
        1 => Occupied = "occupied",
        /// Nothing, where the book says that an order is.
        2 => Missing = "missing",
    }
}

cbor_code! {
    /// What somebody who is not at the cabinet has done with an order.
    pub enum Errand {
        /// It is being loaded.
        0 => Load = "load",
        /// It is being taken out.
        1 => Retrieve = "retrieve",
        /// They say that it is inside.
        2 => Inside = "inside",
        /// They say that it is not.
        3 => NotInside = "not_inside",
    }
}

/// In the place of a member of staff: whoever gave the command of the newest [`Errand`] of the same order. Nobody on the staff may
/// have this name.
pub const BY_COMMAND_NAME: &str = "by-command";

/// In the place of a member of staff: the courier that the same fact names. Nobody on the staff may have this name.
pub const BY_COURIER_NAME: &str = "by-courier";

cbor_code! {
    pub enum StoredBy { 0 => Sensor = "sensor", 1 => Staff = "staff" }
}

cbor_code! {
    pub enum HeldStage {
        /// Open for 5 minutes: staff should look.
        0 => Staff = "staff",
        /// Open for 15 minutes: a technician should look.
        1 => Technician = "technician",
    }
}

macro_rules! facts {
    ($( $(#[$meta:meta])* $name:ident { $($body:tt)* } )*) => {
        $( cbor_map! { $(#[$meta])* #[derive(Debug, Clone, PartialEq, Eq)] pub struct $name { $($body)* } } )*
    };
}

facts! {
    /// The agent started: a new boot id, events of the last run may lack an outcome.
    /// `down_since`: the machine was started anew, and until then, at least, the former run was alive. Left out where the machine
    /// went on, and by agents that do not tell.
    Started { 1 => agent: String, 2 opt => down_since: Option<FleetMillis> }
    DoorOpened { 1 => compartment: Compartment, 2 => by: Actor }
    DoorClosed { 1 => compartment: Compartment, 2 => occupancy: Occupancy }
    /// Closed to open without a pulse of ours.
    DoorForced { 1 => compartment: Compartment }
    DoorHeldOpen { 1 => compartment: Compartment, 2 => stage: HeldStage }
    /// Pulsed and not seen open: the person was told to push and try again, or to ask for help.
    DoorFault { 1 => compartment: Compartment, 2 => by: Actor, 3 => attempts: u32 }
    /// `by`: for whom the door was pulsed that did not open.
    WrongDoor { 1 => pulsed: Compartment, 2 => opened: Compartment, 3 opt => by: Option<Actor> }
    /// Staff took a compartment for an order; its door was unlocked.
    Loading { 1 => order: OrderKey, 2 => compartment: Compartment, 3 => staff: Name }
    /// As [`Loading`], where other orders are stored already, and stay.
    LoadingBeside { 1 => order: OrderKey, 2 => compartment: Compartment, 3 => staff: Name, 4 => others: Vec<OrderKey> }
    /// The order is in the compartment and its door is closed.
    Stored { 1 => order: OrderKey, 2 => compartment: Compartment, 3 => by: StoredBy, 4 => staff: Name }
    /// Loading ended without the order in the compartment; it is free again.
    LoadAborted { 1 => order: OrderKey, 2 => compartment: Compartment }
    /// The recipient's door opened and closed again.
    Collected {
        1 => order: OrderKey,
        2 => compartment: Compartment,
        3 => credential: CredentialId,
        /// False: still occupied by the sensor, or never closed for 15 minutes (`collected_unconfirmed`).
        4 => confirmed: bool,
    }
    /// Staff took the order back.
    Retrieved { 1 => order: OrderKey, 2 => compartment: Compartment, 3 => staff: Name }
    /// Exactly one for each command that was accepted.
    UnlockDone { 1 => id: CommandId, 2 => compartment: Compartment, 3 => outcome: UnlockOutcome }
    CommandRefused { 1 opt => id: Option<CommandId>, 2 => reason: RefusalReason }
    /// A known credential that is over, or not valid now. Wrong codes are counted, not reported one by one.
    CredentialRefused { 1 => id: CredentialId, 2 => reason: RefusalReason }
    /// Five wrong codes. Until when, by the boot clock of the stamp; how many wrong ones today.
    TypingLocked { 1 => until_boot_millis: u64, 2 => wrong_today: u32 }
    StaffLoggedIn { 1 => staff: Name }
    /// Too many commands with a token that was not on the screen. Until when none is taken, by the boot clock of the stamp.
    AppClosed { 1 => until_boot_millis: u64, 2 => wrong: u32 }
    /// Somebody came in by the break-glass code. `begun`: how often by this one; more than once only where a power cut ended
    /// the time before.
    BreakGlassUsed { 1 => id: CredentialId, 2 => begun: u32 }
    BookApplied { 1 => version: u64 }
    BookRefused { 1 opt => version: Option<u64>, 2 => reason: RefusalReason }
    KeysetApplied { 1 => version: u64, 2 => root: KeyId }
    BoardHealth { 1 => board: u32, 2 => answering: bool }
    /// `version` is left out where no root vouches for it.
    KeysetRefused { 1 opt => version: Option<u64>, 2 => reason: RefusalReason }
    /// The book and the sensor disagree; never freed by itself.
    AuditRequired { 1 => compartment: Compartment, 2 opt => order: Option<OrderKey> }
    /// Staff looked into a compartment. Where `Missing`, it is free from then on, and nothing opens for that order until it
    /// is loaded again; where `Occupied`, it takes nothing until staff have looked again.
    Audited {
        1 => compartment: Compartment,
        2 => staff: Name,
        3 => found: Finding,
        /// What the book says is, or was, inside.
        4 opt => order: Option<OrderKey>,
    }
    /// Staff say that a compartment needs cleaning, and takes no order until then, or that it is clean.
    Cleaning { 1 => compartment: Compartment, 2 => staff: Name, 3 => needed: bool }
    /// Staff say that a compartment takes no new orders, or does again. What is inside can be collected.
    Service { 1 => compartment: Compartment, 2 => staff: Name, 3 => in_service: bool }
    /// Somebody works at the doors with a mechanical key for so many minutes: what opens meanwhile was opened by them. 0: they
    /// have ended it before.
    Maintenance { 1 => staff: Name, 2 => minutes: u32 }
    /// Staff have all doors opened, one after another. Those that stand open already or are out of order are passed over.
    EmergencyOpened { 1 => staff: Name, 2 => passed_over: Vec<Compartment> }
    /// Staff have exchanged two stored orders: where each is now.
    Swapped {
        1 => one: OrderKey,
        2 => one_in: Compartment,
        3 => other: OrderKey,
        4 => other_in: Compartment,
        5 => staff: Name,
    }
    /// Staff have found an order where the book did not have it, behind a door that they had opened or of which something was
    /// known to be wrong: it lies there now, and no more where the book had it.
    Found {
        1 => order: OrderKey,
        2 => compartment: Compartment,
        3 opt => from: Option<Compartment>,
        4 => staff: Name,
    }
    /// Somebody took a compartment for an order by its deposit code, or a courier for a parcel; its door was unlocked. Given up:
    /// [`LoadAborted`].
    Depositing {
        1 => order: OrderKey,
        2 => compartment: Compartment,
        /// Of a courier: the id of [`PutCourier`](super::PutCourier).
        3 => credential: CredentialId,
        70 opt => courier: Option<Name>,
    }
    /// They have put it in, and the door is closed. A deposit code is used up.
    Deposited {
        1 => order: OrderKey,
        2 => compartment: Compartment,
        3 => credential: CredentialId,
        /// By the sensor; false: by the word of whoever put it in, because none can tell.
        4 => seen: bool,
        70 opt => courier: Option<Name>,
    }
    /// The holder of a bundle has opened the door and left the order inside.
    NotTaken { 1 => order: OrderKey, 2 => compartment: Compartment, 3 => credential: CredentialId }
    /// Staff began an order that no backend has announced. Comes ahead of its loading, and again where the number has to be
    /// sealed to another key.
    WalkIn {
        /// Its integration is [`WALK_IN`](super::WALK_IN).
        1 => order: OrderKey,
        2 => size: Size,
        3 => category: Category,
        4 => wants: Attributes,
        /// The recipient's phone number, sealed to the key of the pepper (crypto::seal).
        5 => phone: Blob,
        /// [`BY_COURIER_NAME`] where a courier did.
        6 => staff: Name,
        70 opt => courier: Option<Name>,
    }
    /// Staff gave up a walk-in that is in no compartment, or the courier who began it took the parcel back.
    WalkInDropped { 1 => order: OrderKey, 2 => staff: Name, 70 opt => courier: Option<Name> }
    /// A courier has shown a PIN or a badge.
    CourierCame { 1 => courier: Name }
    /// A courier has brought something, and nothing that fits is free.
    CourierTurnedAway {
        1 => courier: Name,
        /// Left out where it would have got one by a phone number.
        2 opt => order: Option<OrderKey>,
        3 => size: Size,
    }
    /// Whoever has the order's credential says at the screen that it is not there: just after its door was opened, or because
    /// somebody else has used the credential. Nothing opens by it.
    Reported {
        1 => order: OrderKey,
        /// The door that was opened for them, left out where none was.
        2 opt => compartment: Option<Compartment>,
        3 => credential: CredentialId,
    }
    /// Staff let whoever has shown the credential of this order open its door, once. It is being opened.
    Released { 1 => order: OrderKey, 2 => compartment: Compartment, 3 => credential: CredentialId, 4 => staff: Name }
    /// A person's command about an order was taken. What comes of it follows as it does with staff at the screen, in the name of
    /// [`BY_COMMAND_NAME`]; for a door that is opened also one [`UnlockDone`].
    ErrandTaken {
        1 => id: CommandId,
        2 => requester: String,
        3 => order: OrderKey,
        4 => compartment: Compartment,
        5 => errand: Errand,
    }
    /// What the cabinet held is gone. The last event of its life.
    Wiped {
        /// A COSE_Sign1 of the cabinet's own key: a [`Receipt`](super::Receipt).
        1 => receipt: Blob,
    }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Fact {
        1 => Started(Started),
        2 => DoorOpened(DoorOpened),
        3 => DoorClosed(DoorClosed),
        4 => DoorForced(DoorForced),
        5 => DoorHeldOpen(DoorHeldOpen),
        6 => DoorFault(DoorFault),
        7 => WrongDoor(WrongDoor),
        8 => Loading(Loading),
        9 => Stored(Stored),
        10 => LoadAborted(LoadAborted),
        11 => Collected(Collected),
        12 => Retrieved(Retrieved),
        13 => UnlockDone(UnlockDone),
        14 => CommandRefused(CommandRefused),
        15 => CredentialRefused(CredentialRefused),
        16 => TypingLocked(TypingLocked),
        17 => StaffLoggedIn(StaffLoggedIn),
        18 => BookApplied(BookApplied),
        19 => BookRefused(BookRefused),
        20 => KeysetApplied(KeysetApplied),
        21 => BoardHealth(BoardHealth),
        22 => AuditRequired(AuditRequired),
        23 => KeysetRefused(KeysetRefused),
        24 => Wiped(Wiped),
        25 => BreakGlassUsed(BreakGlassUsed),
        26 => Audited(Audited),
        27 => Cleaning(Cleaning),
        28 => EmergencyOpened(EmergencyOpened),
        29 => Swapped(Swapped),
        34 => Depositing(Depositing),
        35 => Deposited(Deposited),
        37 => NotTaken(NotTaken),
        30 => WalkIn(WalkIn),
        31 => WalkInDropped(WalkInDropped),
        32 => Reported(Reported),
        40 => AppClosed(AppClosed),
        33 => Released(Released),
        36 => CourierCame(CourierCame),
        70 => CourierTurnedAway(CourierTurnedAway),
        60 => ErrandTaken(ErrandTaken),
        80 => LoadingBeside(LoadingBeside),
        90 => Found(Found),
        91 => Service(Service),
        92 => Maintenance(Maintenance),
    }
}
