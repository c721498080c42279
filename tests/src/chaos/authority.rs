//! Every pulse of a lock is laid to somebody's right, and no right to more pulses than it gives.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::RequestErrorCode;
use schemas::ids::CabinetId;
use schemas::messages::{Compartment, Fact, OrderKey, UnlockOutcome};

use super::checker::{Evidence, Verdict};
use super::history::{At, Entry, Happening, Heard, Shown, Try, Victim};

/// How long a right that somebody took up at the screen may wait: deriving a code, and then the bus.
const SCREEN_MILLIS: u64 = 45_000;
/// An unlock whose requester has heard nothing: waiting for a challenge, then the age of one, then the bus.
const UNLOCK_MILLIS: u64 = 75_000;
/// Bytes that a killed agent has written already still reach the board.
const IN_THE_WIRE: u64 = 400;
/// Pulses of one use at most: the first, and "try again" twice.
const PULSES_A_USE: usize = 3;

/// A pulse that a board gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PulseSeen {
    pub(super) at: At,
    pub(super) cabinet: CabinetId,
    pub(super) compartment: Compartment,
}

/// Somebody's right to have a door opened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    cabinet: CabinetId,
    /// Staff name an order, and the cabinet chooses: any that it has chosen for this order.
    compartments: BTreeSet<Compartment>,
    from: At,
    until: At,
    pulses: usize,
    what: String,
}

impl Authority {
    fn covers(&self, pulse: &PulseSeen) -> bool {
        self.cabinet == pulse.cabinet
            && self.compartments.contains(&pulse.compartment)
            && (self.from..=self.until).contains(&pulse.at)
    }
}

/// A code that was typed, a wish of staff or an accepted unlock stands behind each pulse, and a right that the agent's
/// death has ended stands behind none.
pub(super) fn no_pulse_without_authority(evidence: &Evidence) -> Verdict {
    let rights = authorities(evidence);
    let pulses: Vec<&PulseSeen> = evidence.pulses.iter().filter(|pulse| pulse.at >= evidence.since).collect();
    let mut taken: Vec<Vec<usize>> = vec![Vec::new(); rights.len()];
    for (index, pulse) in pulses.iter().enumerate() {
        let mut tried = BTreeSet::new();
        if !place(index, &pulses, &rights, &mut taken, &mut tried) {
            let near: Vec<_> = rights
                .iter()
                .zip(&taken)
                .filter(|(right, _)| right.cabinet == pulse.cabinet && right.compartments.contains(&pulse.compartment))
                .map(|(right, taken)| {
                    format!("{} {}..{} {}/{}", right.what, right.from, right.until, taken.len(), right.pulses)
                })
                .collect();
            return Err(format!("{pulse:?} is nobody's right; rights at this door: {near:?}"));
        }
    }
    Ok(())
}

/// Lays pulse `index` to a right, moving others to further rights of theirs where there is no room (Kuhn's algorithm).
fn place(
    index: usize,
    pulses: &[&PulseSeen],
    rights: &[Authority],
    taken: &mut Vec<Vec<usize>>,
    tried: &mut BTreeSet<usize>,
) -> bool {
    for (right, authority) in rights.iter().enumerate() {
        if !authority.covers(pulses[index]) || !tried.insert(right) {
            continue;
        }
        if taken[right].len() < authority.pulses {
            taken[right].push(index);
            return true;
        }
        for slot in 0..taken[right].len() {
            if place(taken[right][slot], pulses, rights, taken, tried) {
                taken[right][slot] = index;
                return true;
            }
        }
    }
    false
}

/// The rights of the period, each as far as what its owner heard lets it go.
fn authorities(evidence: &Evidence) -> Vec<Authority> {
    let chosen = compartments_chosen(evidence);
    let mut rights: Vec<Authority> = Vec::new();
    let mut by_try: BTreeMap<Try, usize> = BTreeMap::new();
    for Entry { at, what } in evidence.told.iter().filter(|entry| entry.at >= evidence.since) {
        match what {
            Happening::Entered { id, cabinet, order, compartment } => {
                by_try.insert(*id, rights.len());
                rights.push(Authority {
                    cabinet: cabinet.clone(),
                    compartments: [*compartment].into(),
                    from: *at,
                    until: at + SCREEN_MILLIS,
                    pulses: 1,
                    what: format!("the code of {order}"),
                });
            }
            Happening::StaffAsked { id, cabinet, order, errand } => {
                by_try.insert(*id, rights.len());
                rights.push(Authority {
                    cabinet: cabinet.clone(),
                    compartments: chosen.get(&(cabinet, order.clone())).cloned().unwrap_or_default(),
                    from: *at,
                    until: at + SCREEN_MILLIS,
                    pulses: 1,
                    what: format!("staff, {errand:?} {order}"),
                });
            }
            Happening::UnlockAsked { id, cabinet, compartment } => {
                by_try.insert(*id, rights.len());
                rights.push(Authority {
                    cabinet: cabinet.clone(),
                    compartments: [*compartment].into(),
                    from: *at,
                    until: at + UNLOCK_MILLIS,
                    pulses: 1,
                    what: "an unlock".into(),
                });
            }
            Happening::Answered { id, shown: Shown::Refused(_) } => {
                narrow(&mut rights, &by_try, *id, |right| right.pulses = 0)
            }
            Happening::Pressed { id } => narrow(&mut rights, &by_try, *id, |right| {
                right.pulses = (right.pulses + 1).min(PULSES_A_USE);
                right.until = at + SCREEN_MILLIS;
            }),
            Happening::UnlockReplied { id, heard } => narrow(&mut rights, &by_try, *id, |right| match heard {
                Heard::Outcome(UnlockOutcome::NotSent) => right.pulses = 0,
                // Nothing is pulsed behind its outcome.
                Heard::Outcome(_) => right.until = *at,
                // Certainly not carried out. Only an answer that did not come in time says nothing.
                Heard::Error(code) if *code != RequestErrorCode::Timeout => right.pulses = 0,
                Heard::Error(_) | Heard::Nothing => {}
            }),
            // Nothing that a former run was asked for is pulsed by a later one.
            Happening::Killed { victim: Victim::Agent(cabinet) } => {
                for right in rights.iter_mut().filter(|right| right.cabinet == *cabinet) {
                    right.until = right.until.min(at + IN_THE_WIRE);
                }
            }
            _ => {}
        }
    }
    rights
}

fn narrow(rights: &mut [Authority], by_try: &BTreeMap<Try, usize>, id: Try, change: impl FnOnce(&mut Authority)) {
    if let Some(right) = by_try.get(&id).and_then(|index| rights.get_mut(*index)) {
        change(right);
    }
}

/// Where cabinets have put orders, by their own facts: journalled before the pulse.
fn compartments_chosen(evidence: &Evidence) -> BTreeMap<(&CabinetId, OrderKey), BTreeSet<Compartment>> {
    let mut chosen: BTreeMap<_, BTreeSet<Compartment>> = BTreeMap::new();
    for cabinet in evidence.cabinets_heard() {
        for fact in evidence.facts(cabinet) {
            if let Fact::Loading(load) = fact {
                chosen.entry((cabinet, load.order)).or_default().insert(load.compartment);
            }
        }
    }
    chosen
}
