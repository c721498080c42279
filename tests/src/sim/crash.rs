//! Where a process ends within a step, and what makes two such points distinct.
//!
//! A crash point is: the process, the kind of its input (of all inputs of a batch), the place between the step's writes
//! and its last effect, the tables that the step puts rows into or removes rows from, the facts among its events, the
//! effects, and the state of whatever the step concerns. For a cabinet that is of each compartment that it writes or
//! pulses: content, door, goods, who stands there, a pulse under way; and the connection. For the fleet it is of each
//! order that it writes: the state before and behind it; and which cabinets are connected. Two crashes that agree in all
//! of this count once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::{Discriminant, discriminant};

use cabinet_core::{EVENTS, Effect};
use fleet_core::ORDERS;
use schemas::api::OrderState;
use schemas::cbor;
use schemas::cbor_map;
use schemas::messages::{Compartment, Event};
use schemas::step::Write;

use super::fleet::Decided;
use super::ledger::{Cab, Content};
use super::names;
use super::world::World;

cbor_map! {
    /// What this simulation reads of a row of the fleet's orders.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct OrderRow { 8 => state: OrderState }
}

/// The place within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    BeforeCommit,
    CommitKept,
    CommitLost,
    DiskFull,
    /// Before the effect with this number.
    BeforeEffect(usize),
    BeforeAcknowledgement,
    AfterEffects,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::BeforeCommit => "before commit",
            Self::CommitKept => "in commit, kept",
            Self::CommitLost => "in commit, lost",
            Self::DiskFull => "disk full",
            Self::BeforeEffect(0) => "before effects",
            Self::BeforeEffect(_) => "between effects",
            Self::BeforeAcknowledgement => "before acknowledgement",
            Self::AfterEffects => "after effects",
        }
    }
}

/// What a step writes, by table.
fn tables(writes: &[Write]) -> BTreeSet<(&'static str, bool)> {
    writes.iter().map(|write| (write.table.0, write.value.is_some())).collect()
}

fn kinds<E>(effects: &[E]) -> Vec<Discriminant<E>> {
    let mut kinds: Vec<_> = effects.iter().map(discriminant).collect();
    kinds.dedup();
    kinds
}

impl World {
    /// A step of a cabinet, and what it concerns, before it is committed.
    pub(super) fn cabinet_shape(&self, cab: Cab, kind: &'static str, writes: &[Write], effects: &[Effect]) -> u64 {
        let facts: Vec<&str> = writes
            .iter()
            .filter(|write| write.table == EVENTS)
            .filter_map(|write| cbor::decode::<Event>(write.value.as_ref()?).ok())
            .map(|event| names::of_fact(&event.fact))
            .collect();
        let pulsed = effects.iter().filter_map(|effect| match effect {
            Effect::Pulse { compartment, .. } => Some(*compartment),
            _ => None,
        });
        let written = writes.iter().filter(|write| ["bays", "uses"].contains(&write.table.0));
        let written =
            written.filter_map(|write| Compartment::new(u16::from_be_bytes(write.key.as_slice().try_into().ok()?)));
        let concerned: BTreeSet<Compartment> = written.chain(pulsed).collect();
        let state: Vec<_> = concerned.iter().map(|at| self.state_of(cab, *at)).collect();
        let mut hasher = DefaultHasher::new();
        (kind, tables(writes), facts, kinds(effects), state, self.cabs[cab].conn.is_some()).hash(&mut hasher);
        hasher.finish()
    }

    fn state_of(&self, cab: Cab, at: Compartment) -> impl Hash {
        let content = self.ledger.contents.get(&(cab, at)).map(|held| matches!(held, Content::Stored(_)));
        let pulsed = self.cabs[cab].bus.pulses(at);
        let door = self.cabs[cab].doors.get(&at);
        let attendant = door.and_then(|door| door.attendant.as_ref()).map(discriminant);
        (content, pulsed, door.map(|door| (door.open, !door.goods.is_empty())), attendant)
    }

    /// A batch of the fleet, and what it concerns, before it is committed.
    pub(super) fn fleet_shape(&self, batch: &[Decided]) -> u64 {
        let writes: Vec<Write> = batch.iter().flat_map(|decided| decided.writes.iter().cloned()).collect();
        let effects: Vec<_> = batch.iter().map(|decided| kinds(&decided.effects)).collect();
        let mut orders = BTreeMap::new();
        for write in writes.iter().filter(|write| write.table == ORDERS) {
            let after = write.value.as_ref().and_then(|row| cbor::decode::<OrderRow>(row).ok()).map(|row| row.state);
            let key = String::from_utf8_lossy(&write.key);
            let key = key.split_once('/').and_then(|(_, order)| order.parse().ok());
            let before =
                key.as_ref().and_then(|order| self.ledger.orders.get(order)).and_then(|truth| truth.told.state);
            orders.insert(key, (before.map(OrderState::as_str), after.map(OrderState::as_str)));
        }
        let states: Vec<_> = orders.into_values().collect();
        let mut inputs: Vec<_> = batch.iter().map(|decided| decided.kind).collect();
        inputs.dedup();
        let mut hasher = DefaultHasher::new();
        let connected = self.fleet.connected();
        (inputs, tables(&writes), effects, states, connected).hash(&mut hasher);
        hasher.finish()
    }

    /// Somebody's process ends at this place of a step of this shape.
    pub(super) fn process_ends(&mut self, site: &'static str, place: Place, shape: u64) {
        self.faults += 1;
        self.coverage.count("crash positions", format!("{site} {}", place.name()));
        let mut hasher = DefaultHasher::new();
        (site, place, shape).hash(&mut hasher);
        self.coverage.crash_point(hasher.finish());
    }
}
