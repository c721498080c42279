//! What a cabinet and the fleet say to each other in CBOR. `schemas/cabinet.cddl` is the same as a grammar.

mod app;
mod book;
mod command;
mod delegation;
mod domain;
mod down;
mod event;
mod hello;
mod keyset;
mod receipt;
mod telemetry;

pub use app::{NotAToken, OpenOrder, PresenceToken};
pub use book::{
    BREAK_GLASS_NAME, BUNDLE_ORDERS_MAX, Book, BookChange, BreakGlass, BundleRight, CodesMessage, CredentialKind,
    DropCourier, DropCredential, DropOrder, DropStaff, EventMark, Factor, FleetTime, PARTS_MAX, PartOf, PutCourier,
    PutCredential, PutDeposit, PutGuarded, PutOrder, PutStaff, Rules, SHARED_MAX, TakeBack,
};
pub use command::{
    Action, COMMAND_AGE_MAX_MILLIS, Command, ConfigAction, ConfigCommand, ConfirmOrder, Expect, LoadOrder,
    RetrieveOrder, Unlock, Wipe,
};
pub use delegation::{
    DELEGATED_CABINETS_MAX, DelegatedCabinets, DelegatedTenant, Delegation, DelegationError, DelegationScope,
};
pub use domain::{
    Attributes, BootId, Category, Challenge, CommandId, Compartment, CredentialId, DepositKind, Epoch, FleetMillis,
    Instance, Nonce, Occupancy, OrderKey, Prompt, Salt, Size, Stamp, Verifier, WALK_IN,
};
pub use down::{Ask, CodesEnvelope, ConfigEnvelope, Down, KeysetUpdate, PersonalCommand, Signed, Welcome};
pub use event::{
    Actor, ActorApp, ActorCommand, ActorCourier, ActorCredential, ActorNobody, ActorStaff, AppClosed, AuditRequired,
    Audited, BY_COMMAND_NAME, BY_COURIER_NAME, BoardHealth, BookApplied, BookRefused, BreakGlassUsed, Cleaning,
    Collected, CommandRefused, CourierCame, CourierTurnedAway, CredentialRefused, Deposited, Depositing, DoorClosed,
    DoorFault, DoorForced, DoorHeldOpen, DoorOpened, EmergencyOpened, Errand, ErrandTaken, Event, Fact, Finding, Found,
    HeldStage, KeysetApplied, KeysetRefused, LoadAborted, Loading, LoadingBeside, Maintenance, NotTaken, RefusalReason,
    Released, Reported, Retrieved, Service, StaffLoggedIn, Started, Stored, StoredBy, Swapped, TypingLocked,
    UnlockDone, UnlockOutcome, Uplink, WalkIn, WalkInDropped, Wiped, WrongDoor,
};
pub use hello::{CompartmentInfo, Hello, PepperOffer};
pub use keyset::{KEYS_MAX, Key, KeyId, KeyPurpose, Keyset, KeysetError, Roots};
pub use receipt::Receipt;
pub use telemetry::{CompartmentState, DoorState, Telemetry};

/// Largest message between a cabinet and the fleet, in bytes, both ways.
pub const MESSAGE_MAX: usize = 48 * 1024;

/// Version of this protocol: the major number is in the topics (`v1`), the minor one is in [`Hello`].
pub const PROTOCOL_MINOR: u16 = 0;
