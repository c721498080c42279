//! What the feedback contacts of one board showed in one poll.

use super::place::LockNumber;

/// A feedback contact. Which of the two means "locked" is a matter of the profile's polarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    Short,
    Open,
    Unknown,
}

/// Contacts of a board's channels from 1 upwards, as many as the board told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contacts {
    short: u64,
    channels: u8,
}

impl Contacts {
    /// Bit 0 of `short` is lock 1; `channels` is at most 64, what is above counts as untold.
    pub fn new(short: u64, channels: u8) -> Self {
        Self { short, channels: channels.min(64) }
    }

    /// The contact of one lock, unknown where the board told nothing.
    pub fn of(&self, lock: LockNumber) -> Contact {
        if lock.index() >= self.channels {
            Contact::Unknown
        } else if self.short >> lock.index() & 1 == 1 {
            Contact::Short
        } else {
            Contact::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_beyond_the_told_ones_is_unknown() {
        let contacts = Contacts::new(0b01, 2);
        let seen: Vec<Contact> = LockNumber::up_to(3).map(|lock| contacts.of(lock)).collect();
        assert_eq!(seen, [Contact::Short, Contact::Open, Contact::Unknown]);
    }
}
