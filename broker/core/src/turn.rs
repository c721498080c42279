//! One call of `handle`: the step that grows, and the schedules that any aggregate may add to.

use std::collections::BTreeMap;

use schemas::api::{AlarmSeen, Rfc3339};
use schemas::cbor;
use schemas::messages::FleetMillis;
use schemas::step::{Step, Table, Write};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::config::CodeForm;
use crate::deadlines::{Deadline, Deadlines};
use crate::effect::Effect;
use crate::input::Moment;
use crate::intents::{Intent, Intents};
use crate::jobs::{Job, Jobs};
use crate::tables::{CabinetRef, INTENTS, StreamRef};

/// What is still to be done, by any aggregate.
#[derive(Default)]
pub(crate) struct Agenda {
    pub(crate) deadlines: Deadlines,
    pub(crate) intents: Intents,
    pub(crate) jobs: Jobs,
}

pub(crate) struct Turn<'a> {
    pub(crate) now: FleetMillis,
    pub(crate) agenda: &'a mut Agenda,
    /// Of what new codes are made.
    pub(crate) code_form: CodeForm,
    entropy: [u8; 32],
    drawn: u64,
    step: Step<Effect>,
    grown: BTreeMap<StreamRef, u64>,
    /// Alarms about cabinets, in their order.
    pub(crate) alarmed: Vec<(CabinetRef, AlarmSeen)>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(agenda: &'a mut Agenda, moment: &Moment) -> Self {
        let Moment { now, entropy } = *moment;
        let (step, code_form) = (Step::default(), CodeForm::default());
        Self { now, agenda, code_form, entropy, drawn: 0, step, grown: BTreeMap::new(), alarmed: Vec::new() }
    }

    pub(crate) fn put<T: Serialize>(&mut self, table: Table, key: impl Into<Vec<u8>>, record: &T) {
        self.step.writes.push(Write::put(table, key, cbor::encode(record)));
    }

    pub(crate) fn remove(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.step.writes.push(Write::remove(table, key));
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.step.effects.push(effect);
    }

    pub(crate) fn alarm(&mut self, text: String) {
        self.effect(Effect::Alarm { text });
    }

    /// About one cabinet: its newest one is shown to whoever looks after the fleet.
    pub(crate) fn alarm_of(&mut self, at: &CabinetRef, text: String) {
        self.alarmed.push((at.clone(), AlarmSeen { at: Rfc3339(self.now), text: text.clone() }));
        self.alarm(text);
    }

    pub(crate) fn refuse(&mut self, reason: impl Into<String>) {
        self.effect(Effect::Refuse { reason: reason.into() });
    }

    /// Random bytes, different at each call. At most 32.
    pub(crate) fn draw<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 32, "one hash has 32 bytes") };
        self.drawn += 1;
        let hash: [u8; 32] = Sha256::new()
            .chain_update(b"locker-fleet/1 draw")
            .chain_update(self.entropy)
            .chain_update(self.drawn.to_be_bytes())
            .finalize()
            .into();
        std::array::from_fn(|at| hash[at])
    }

    /// Writes an intent; its receiver takes it later in this turn, or after a crash when the core is opened again.
    pub(crate) fn send(&mut self, intent: Intent) {
        let n = self.agenda.intents.push(intent.clone());
        self.put(INTENTS, intent.key(n), &intent);
    }

    pub(crate) fn due(&mut self, deadline: Deadline, at: FleetMillis) {
        self.agenda.deadlines.set(deadline, at);
    }

    pub(crate) fn not_due(&mut self, deadline: &Deadline) {
        self.agenda.deadlines.clear(deadline);
    }

    pub(crate) fn want(&mut self, job: Job) {
        self.agenda.jobs.want(job);
    }

    /// Tells the shell at the end of the turn, once, how far a stream has grown.
    pub(crate) fn grew(&mut self, stream: StreamRef, newest: u64) {
        self.grown.insert(stream, newest);
    }

    pub(crate) fn finish(mut self) -> Step<Effect> {
        for (StreamRef { tenant, integration, stream }, newest) in std::mem::take(&mut self.grown) {
            self.effect(Effect::RowsGrew { tenant, integration, stream, newest });
        }
        self.step
    }
}
