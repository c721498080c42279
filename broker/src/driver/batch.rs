//! What is decided together and committed together.

use fleet_core::Effect;
use schemas::step::{Step, Write};

use crate::gate::{Ack, ConnId};

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
    /// The connection that the input came over: the one to close, whoever has taken its place meanwhile.
    pub(super) conn: Option<ConnId>,
    pub(super) effects: Vec<Effect>,
    /// Dropped with the batch when the commit fails: then the gate closes the connection without a PUBACK.
    pub(super) owed: Option<Ack>,
}

impl Batch {
    pub(super) fn add(&mut self, step: Step<Effect>, conn: Option<ConnId>, owed: Option<Ack>) {
        self.writes.extend(step.writes);
        self.decided.push(Decided { conn, effects: step.effects, owed });
    }
}
