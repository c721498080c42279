//! Lock-control boards: who owns the bus, what the boards say, and when a door may get its pulse.
//!
//! One [`Profile`] describes one bus, [`spawn`] starts the one task that owns its port. Pulses go in through
//! [`BusHandle`], everything that was seen comes out as one stream of [`BusReport`]s, in the order of seeing. A door is
//! open when its sensor says so: a board's acknowledgement never counts.

mod bus;
mod clock;
mod contacts;
mod doors;
mod family;
mod place;
mod port;
mod profile;
mod profile_text;
mod report;
mod schedule;
#[cfg(test)]
mod tests;
mod xor;

pub use bus::{BusHandle, PulseId, PulseRequest, Target, spawn};
pub use clock::{BootClock, boot_clock};
pub use contacts::{Contact, Contacts};
pub use family::{Answer, LockFamily, Reading};
pub use place::{BoardAddress, LockNumber, LockPlace};
pub use profile::{Profile, ProfileProblem, ProfileProblems};
pub use profile_text::{
    BoardText, ByteOrder, Family, InputText, MappingText, OccupiedWhen, Polarity, ProfileText, Transport,
};
pub use report::{
    BoardHealth, BoardReport, BusReport, ContactReport, DoorReport, DoorSeen, NotSent, PortReport, PortState,
    PulseOutcome, PulseReport,
};
pub use xor::{Xor, XorPulse};
