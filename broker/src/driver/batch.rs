//! What is decided together and committed together.

use fleet_core::Effect;
use schemas::step::{Step, Write};

use crate::gate::Ack;

/// Steps whose writes share one transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) writes: Vec<Write>,
    pub(super) decided: Vec<Decided>,
    /// Streams may have room for more rows after this batch.
    pub(super) pump: bool,
}

/// Effects of one input, and what is owed for it once they are allowed to happen.
pub(super) struct Decided {
    pub(super) effects: Vec<Effect>,
    /// Dropped with the batch when the commit fails: then the gate closes the connection without a PUBACK.
    pub(super) owed: Option<Ack>,
}

impl Batch {
    pub(super) fn add(&mut self, step: Step<Effect>, owed: Option<Ack>) {
        self.writes.extend(step.writes);
        self.decided.push(Decided { effects: step.effects, owed });
    }
}
