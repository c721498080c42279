//! Where a lock is on a bus.

use std::fmt;
use std::num::NonZeroU8;

/// Address of a board on its bus, as set by its switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardAddress(NonZeroU8);

impl BoardAddress {
    /// Boards that installers address; what is above is used for broadcasts by some clones.
    pub const MAX: u8 = 250;

    /// `None` for 0 and above [`Self::MAX`].
    pub fn new(address: u8) -> Option<Self> {
        NonZeroU8::new(address).filter(|address| address.get() <= Self::MAX).map(Self)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for BoardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lock of a board, counted from 1. Lock 0 cannot be made: boards take it for "open all".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockNumber(NonZeroU8);

impl LockNumber {
    /// Locks of the largest known board.
    pub const MAX: u8 = 50;

    /// `None` for 0 and above [`Self::MAX`].
    pub fn new(lock: u8) -> Option<Self> {
        NonZeroU8::new(lock).filter(|lock| lock.get() <= Self::MAX).map(Self)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// Counted from 0, for bits and lists.
    pub fn index(self) -> u8 {
        self.0.get() - 1
    }

    /// Locks 1 to `channels`.
    pub fn up_to(channels: u8) -> impl Iterator<Item = Self> {
        (1..=channels).filter_map(Self::new)
    }
}

impl fmt::Display for LockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One lock of one board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockPlace {
    pub board: BoardAddress,
    pub lock: LockNumber,
}

impl fmt::Display for LockPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "board {} lock {}", self.board, self.lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_zero_cannot_be_made() {
        assert_eq!(LockNumber::new(0), None);
        assert_eq!(LockNumber::new(51), None);
        assert_eq!(LockNumber::new(1).map(LockNumber::index), Some(0));
    }

    #[test]
    fn broadcast_addresses_cannot_be_made() {
        assert_eq!(BoardAddress::new(0), None);
        assert_eq!(BoardAddress::new(255), None);
        assert_eq!(BoardAddress::new(250).map(BoardAddress::get), Some(250));
    }
}
