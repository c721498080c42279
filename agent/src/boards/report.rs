//! What the bus tells the cabinet.

use schemas::messages::{Compartment, Occupancy};

use super::bus::{PulseId, Target};
use super::contacts::Contact;
use super::place::{BoardAddress, LockPlace};

/// Everything that the bus did or saw, in the order in which it happened. Times are of the boot clock, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusReport {
    Pulse(PulseReport),
    Door(DoorReport),
    Contact(ContactReport),
    Board(BoardReport),
    Port(PortReport),
}

/// What became of a requested pulse. Exactly one follows each accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PulseReport {
    pub id: PulseId,
    pub target: Target,
    pub outcome: PulseOutcome,
    pub at: u64,
}

/// Two outcomes are known here; the third, a confirmed opening, is a [`DoorReport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulseOutcome {
    /// Certainly no byte left: the door did not move, a retry is safe.
    NotSent(NotSent),
    /// Bytes left, at least one: what the board did is unknown until the sensor tells. Never repeated by itself.
    Sent,
}

/// Why a pulse was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    #[error("the command was too old when its turn came")]
    Expired,
    #[error("the boards' port is not open")]
    PortClosed,
    #[error("the boards' port did not take the request")]
    WriteFailed,
    #[error("the profile maps no lock to this target")]
    UnknownTarget,
    #[error("too many pulses are waiting")]
    QueueFull,
    #[error("the bus has stopped")]
    BusStopped,
}

/// A compartment looks different now, and two polls in a row agreed on it.
///
/// The change lies after `after` (the last poll that saw something else, if there was one) and not after `at` (the first
/// poll that saw it). `Unknown` is reported at once when the board falls silent or the port is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorReport {
    pub compartment: Compartment,
    pub door: DoorSeen,
    pub occupancy: Occupancy,
    pub at: u64,
    pub after: Option<u64>,
}

/// A door as its latch feedback shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorSeen {
    Open,
    Closed,
    Unknown,
}

/// A channel that the profile gives no meaning looks different now. Commissioning learns from these, and a board that was
/// replaced by one with another byte order betrays itself here. Times as in [`DoorReport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactReport {
    pub place: LockPlace,
    pub contact: Contact,
    pub at: u64,
    pub after: Option<u64>,
}

/// A board began or ceased to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardReport {
    pub board: BoardAddress,
    pub health: BoardHealth,
    pub at: u64,
}

/// Does the board answer its polls?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardHealth {
    Answering,
    /// Since its last answer, or since the port was opened if it never gave one.
    Silent {
        since: u64,
    },
}

/// The port was opened or lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortReport {
    pub state: PortState,
    pub at: u64,
}

/// The serial port of the bus. While it is lost the bus tries again by itself, at least every 5 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortState {
    Open,
    Lost { reason: String },
}
