//! One call of the core: its time, its random values and what it has decided so far.

use schemas::cbor;
use schemas::step::{Step, Table, Write};
use serde::Serialize;

use crate::draws::Draws;
use crate::{Effect, Moment, ScreenNote};

pub(crate) struct Turn {
    /// Boot milliseconds.
    pub(crate) now: u64,
    pub(crate) draws: Draws,
    step: Step<Effect>,
}

impl Turn {
    pub(crate) fn new(moment: &Moment) -> Self {
        Self { now: moment.boot_millis, draws: Draws::new(moment.entropy), step: Step::default() }
    }

    pub(crate) fn put<T: Serialize>(&mut self, table: Table, key: impl Into<Vec<u8>>, row: &T) {
        self.step.writes.push(Write::put(table, key, cbor::encode(row)));
    }

    pub(crate) fn remove(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.step.writes.push(Write::remove(table, key));
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.step.effects.push(effect);
    }

    pub(crate) fn note(&mut self, note: ScreenNote) {
        self.effect(Effect::Screen(note));
    }

    pub(crate) fn finish(self) -> Step<Effect> {
        self.step
    }
}
