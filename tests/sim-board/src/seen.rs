//! What can be seen of a simulated bus.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::board::Door;

/// A power pulse on a lock, as the board gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    pub at: Instant,
    pub board: u8,
    pub lock: u8,
    pub length: Duration,
    pub kind: PulseKind,
}

/// Which request caused a pulse. A driver that may open one door only must cause nothing but `One`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulseKind {
    One,
    All,
    Mask,
    Hold,
}

/// Bytes seen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireBytes {
    pub at: Instant,
    pub direction: Direction,
    pub bytes: Vec<u8>,
}

/// Who sent bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToBoards,
    FromBoards,
}

/// What was seen at one moment; doors are keyed (board, lock).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    pub pulses: Vec<Pulse>,
    pub doors: BTreeMap<(u8, u8), Door>,
    /// Whole requests understood so far, by board.
    pub requests: BTreeMap<u8, u64>,
}

/// A condition did not come true in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not seen within {limit:?}; last seen: {last:?}")]
pub struct TimedOut {
    pub limit: Duration,
    pub last: Box<Snapshot>,
}
