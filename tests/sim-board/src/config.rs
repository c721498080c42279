//! What a simulated bus is made of, and the ways in which it misbehaves.

use std::path::PathBuf;
use std::time::Duration;

/// A whole bus. The defaults are those of a well-behaved installation.
#[derive(Debug, Clone)]
pub struct SimConfig {
    pub boards: Vec<BoardConfig>,
    /// Replies take as long as their bytes do at this speed; requests too.
    pub baud: u32,
    /// From the start of a pulse until its door has sprung open.
    pub spring: Duration,
    /// A person who closes every door this long after it opened.
    pub person: Option<Duration>,
    /// The RS-485 adapter hears itself: every request comes back before the reply.
    pub echo: bool,
    /// A stable name for the port: a symbolic link, made here and replaced if it exists.
    pub link: Option<PathBuf>,
}

impl SimConfig {
    /// A bus of `boards` at 9600 baud.
    pub fn new(boards: impl IntoIterator<Item = BoardConfig>) -> Self {
        Self {
            boards: boards.into_iter().collect(),
            baud: 9600,
            spring: Duration::from_millis(50),
            person: None,
            echo: false,
            link: None,
        }
    }
}

/// One board.
#[derive(Debug, Clone)]
pub struct BoardConfig {
    pub address: u8,
    pub channels: u8,
    pub wiring: Wiring,
    pub order: StatusOrder,
    /// Status bytes of a full reply; `None` is what real boards do: three, or as many as the channels need.
    pub status_bytes: Option<u8>,
    /// Frames sent unasked when a door moves.
    pub push: Push,
    pub faults: BoardFaults,
}

impl BoardConfig {
    /// A board as most are delivered.
    pub fn new(address: u8, channels: u8) -> Self {
        Self {
            address,
            channels,
            wiring: Wiring::ShortWhenLocked,
            order: StatusOrder::FirstLocksLast,
            status_bytes: None,
            push: Push::Off,
            faults: BoardFaults::default(),
        }
    }

    pub(crate) fn status_len(&self) -> usize {
        let needed = self.channels.div_ceil(8);
        usize::from(self.status_bytes.unwrap_or(needed.max(3)))
    }
}

/// What the feedback contact of a lock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    ShortWhenLocked,
    ShortWhenOpen,
}

/// Where locks 1 to 8 are in a status reply; vendors differ and no checksum tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusOrder {
    FirstLocksLast,
    FirstLocksFirst,
}

/// Frames that some boards send unasked when a door moves, by their first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    Off,
    Code81,
    Code82,
}

/// How a board misbehaves; changed at any time with [`crate::SimBus::set_faults`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoardFaults {
    /// Hears and acts, but never answers.
    pub mute: bool,
    /// Without power: neither acts nor answers.
    pub dead: bool,
    /// Answers this much later than it should.
    pub late: Duration,
    /// Sent before every reply.
    pub garbage: Vec<u8>,
    /// So many bytes are missing at the end of every reply.
    pub drop_tail: usize,
    /// Every reply comes in two parts with this pause after its second byte.
    pub split: Option<Duration>,
}

/// How one lock misbehaves; changed at any time with [`crate::SimBus::set_lock_fault`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LockFault {
    #[default]
    None,
    /// The pulse does not open the door, and the board says so.
    Stuck,
    /// The pulse does not open the door; the board claims that it did.
    StuckButReportsOpened,
    /// The pulse opens the door; the board claims that it did not.
    OpensButReportsFailure,
    /// Wired to the lock of another channel of the same board.
    WiredTo(u8),
}
