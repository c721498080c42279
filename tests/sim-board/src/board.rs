//! One simulated board: its doors, its contacts and what it answers.

use std::collections::BTreeMap;

use crate::config::{BoardConfig, LockFault, Push, StatusOrder, Wiring};
use crate::frames::{contact_byte, sealed};

/// A door as a person sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    Closed,
}

/// The bus has no such board, or the board no such lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no lock {lock} on board {board}")]
pub struct NoSuchLock {
    pub board: u8,
    pub lock: u8,
}

pub(crate) struct Board {
    pub(crate) config: BoardConfig,
    locks: BTreeMap<u8, Lock>,
}

pub(crate) struct Lock {
    pub(crate) door: Door,
    pub(crate) fault: LockFault,
    /// The channel is wired to something else than a lock, for example an occupancy sensor: is it short?
    input: Option<bool>,
}

impl Board {
    pub(crate) fn new(config: BoardConfig) -> Self {
        let lock = || Lock { door: Door::Closed, fault: LockFault::None, input: None };
        let locks = (1..=config.channels).map(|number| (number, lock())).collect();
        Self { config, locks }
    }

    pub(crate) fn lock(&self, lock: u8) -> Result<&Lock, NoSuchLock> {
        self.locks.get(&lock).ok_or(NoSuchLock { board: self.config.address, lock })
    }

    pub(crate) fn lock_mut(&mut self, lock: u8) -> Result<&mut Lock, NoSuchLock> {
        let board = self.config.address;
        self.locks.get_mut(&lock).ok_or(NoSuchLock { board, lock })
    }

    pub(crate) fn doors(&self) -> impl Iterator<Item = (u8, Door)> {
        self.locks.iter().map(|(number, lock)| (*number, lock.door))
    }

    pub(crate) fn set_input(&mut self, channel: u8, short: bool) -> Result<(), NoSuchLock> {
        self.lock_mut(channel)?.input = Some(short);
        Ok(())
    }

    /// The lock whose door the pulse on `lock` moves, if it moves one.
    pub(crate) fn moved_by_pulse_on(&self, lock: u8) -> Option<u8> {
        let found = self.locks.get(&lock)?;
        let moved = match found.fault {
            LockFault::None | LockFault::OpensButReportsFailure => lock,
            LockFault::Stuck | LockFault::StuckButReportsOpened => return None,
            LockFault::WiredTo(other) => other,
        };
        let wired_to_a_lock = self.locks.get(&moved).is_some_and(|lock| lock.input.is_none());
        wired_to_a_lock.then_some(moved)
    }

    /// Bytes of an open mask.
    pub(crate) fn mask_len(&self) -> usize {
        self.config.status_len()
    }

    pub(crate) fn open_reply(&self, lock: u8) -> Option<Vec<u8>> {
        let opened = match self.locks.get(&lock)?.fault {
            LockFault::None | LockFault::StuckButReportsOpened => true,
            LockFault::Stuck | LockFault::OpensButReportsFailure => false,
            // The board watches the contact of its own channel, where nothing moves.
            LockFault::WiredTo(other) => other == lock,
        };
        let door = if opened { Door::Open } else { Door::Closed };
        Some(self.frame(0x8A, lock, self.contact_of(door)))
    }

    pub(crate) fn query_one_reply(&self, lock: u8) -> Option<Vec<u8>> {
        Some(self.frame(0x80, lock, self.contact(self.locks.get(&lock)?)))
    }

    pub(crate) fn query_all_reply(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; self.config.status_len()];
        for (number, lock) in &self.locks {
            let index = usize::from(number - 1);
            if let Some(byte) = bytes.get_mut(index / 8) {
                *byte |= u8::from(self.contact(lock)) << (index % 8);
            }
        }
        if self.config.order == StatusOrder::FirstLocksLast {
            bytes.reverse();
        }
        let mut frame = vec![0x80, self.config.address];
        frame.extend(bytes);
        frame.push(0x33);
        sealed(frame)
    }

    /// The locks that the bits of an open mask name.
    pub(crate) fn locks_of_mask(&self, mask: &[u8]) -> Vec<u8> {
        let mut mask = mask.to_vec();
        if self.config.order == StatusOrder::FirstLocksLast {
            mask.reverse();
        }
        let named = |lock: &u8| {
            let index = usize::from(lock - 1);
            mask.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
        };
        self.locks.keys().copied().filter(named).collect()
    }

    pub(crate) fn push_frame(&self, lock: u8) -> Option<Vec<u8>> {
        let code = match self.config.push {
            Push::Off => return None,
            Push::Code81 => 0x81,
            Push::Code82 => 0x82,
        };
        Some(self.frame(code, lock, self.contact(self.locks.get(&lock)?)))
    }

    fn frame(&self, code: u8, lock: u8, short: bool) -> Vec<u8> {
        sealed(vec![code, self.config.address, lock, contact_byte(short)])
    }

    fn contact(&self, lock: &Lock) -> bool {
        lock.input.unwrap_or_else(|| self.contact_of(lock.door))
    }

    fn contact_of(&self, door: Door) -> bool {
        match self.config.wiring {
            Wiring::ShortWhenLocked => door == Door::Closed,
            Wiring::ShortWhenOpen => door == Door::Open,
        }
    }
}
