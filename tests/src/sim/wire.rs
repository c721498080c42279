//! The network: connections that delay, double and lose, each direction in order while it lives.

use super::ledger::Cab;

/// One connection of a cabinet.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) cab: Cab,
    /// Nothing arrives in a direction that is cut, also no acknowledgement of what came in the other one.
    pub(super) up: bool,
    pub(super) down: bool,
    /// It is over: whoever has not noticed yet will.
    over: bool,
    /// When the last message of each direction arrives: none overtakes another.
    up_at: u64,
    down_at: u64,
}

impl Wire {
    pub(super) fn new(cab: Cab) -> Self {
        Self { cab, up: true, down: true, over: false, up_at: 0, down_at: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn end(&mut self) {
        (self.up, self.down, self.over) = (false, false, true);
    }

    /// When a message to the fleet arrives that takes `delay`.
    pub(super) fn up(&mut self, now: u64, delay: u64) -> u64 {
        self.up_at = self.up_at.max(now + delay);
        self.up_at
    }

    pub(super) fn down(&mut self, now: u64, delay: u64) -> u64 {
        self.down_at = self.down_at.max(now + delay);
        self.down_at
    }
}
