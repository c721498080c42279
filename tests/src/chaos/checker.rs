//! What must hold between what people were told, what the disks hold and what the boards did.
//!
//! Each check is one function over the evidence. Those of [`ALWAYS`] hold whenever a process was killed, those of
//! [`AT_REST`] once everybody has finished and nothing is under way.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::OrderState;
use schemas::cbor;
use schemas::ids::{CabinetId, Name};
use schemas::messages::{Audited, Compartment, Event, Fact, Finding, OrderKey, Swapped, UnlockOutcome};

use super::authority::{PulseSeen, no_pulse_without_authority};
use super::history::{At, Entry, Happening, Heard, Shown, Try};
use super::stores::{CabinetDisk, Content, FleetDisk};

/// What a broken rule says.
pub(super) type Verdict = Result<(), String>;

/// Everything that is known once processes were killed.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) told: Vec<Entry>,
    pub(super) fleet: FleetDisk,
    /// Those whose agents are dead.
    pub(super) cabinets: BTreeMap<CabinetId, CabinetDisk>,
    pub(super) pulses: Vec<PulseSeen>,
    /// When everything was at rest last: pulses before it were judged then.
    pub(super) since: At,
}

type Check = (&'static str, fn(&Evidence) -> Verdict);

/// What the fleet's disk owes to what was told, at any moment.
pub(super) const ALWAYS: [Check; 7] = [
    ("acknowledged_orders_are_stored", acknowledged_orders_are_stored),
    ("rows_told_are_stored", rows_told_are_stored),
    ("rows_come_in_order_without_gaps", rows_come_in_order_without_gaps),
    ("states_follow_each_other", states_follow_each_other),
    ("events_arrive_once_and_in_order", events_arrive_once_and_in_order),
    ("one_order_a_compartment_and_collected_once", one_order_a_compartment_and_collected_once),
    ("nobody_was_surprised", nobody_was_surprised),
];

/// What holds besides once everything is quiet.
pub(super) const AT_REST: [Check; 4] = [
    ("no_pulse_without_authority", no_pulse_without_authority),
    ("an_unlock_told_as_opened_was_pulsed", an_unlock_told_as_opened_was_pulsed),
    ("an_entry_opens_the_door_of_its_order", an_entry_opens_the_door_of_its_order),
    ("everything_has_come_to_rest", everything_has_come_to_rest),
];

/// Judges by all of `checks`; the first that fails, by name.
pub(super) fn judge(evidence: &Evidence, checks: &[Check]) -> Verdict {
    checks.iter().try_for_each(|(name, check)| check(evidence).map_err(|text| format!("{name}: {text}")))
}

impl Evidence {
    /// Facts of a cabinet in the fleet's store, in order.
    pub(super) fn facts(&self, cabinet: &CabinetId) -> impl Iterator<Item = Fact> {
        let rows = self.fleet.events.iter().filter(move |((of, _), _)| of == cabinet).flat_map(|(_, rows)| rows);
        rows.filter_map(|(_, record)| Some(cbor::decode::<Event>(record).ok()?.fact))
    }

    pub(super) fn cabinets_heard(&self) -> BTreeSet<&CabinetId> {
        self.fleet.events.keys().map(|(cabinet, _)| cabinet).collect()
    }
}

fn acknowledged_orders_are_stored(evidence: &Evidence) -> Verdict {
    for entry in &evidence.told {
        if let Happening::PutAcknowledged { order } = &entry.what
            && !evidence.fleet.orders.contains_key(order)
        {
            return Err(format!("the put of {order} was acknowledged at {} ms and is not on disk", entry.at));
        }
    }
    Ok(())
}

/// What was told is kept, or was acknowledged; and nothing is acknowledged that was not told.
fn rows_told_are_stored(evidence: &Evidence) -> Verdict {
    let mut told: BTreeMap<(Name, &str), u64> = BTreeMap::new();
    for entry in &evidence.told {
        match &entry.what {
            Happening::StatusTold { integration, row } => {
                let newest = told.entry((integration.clone(), STATUS)).or_default();
                *newest = row.n.max(*newest);
                let held = evidence.fleet.statuses.get(integration).and_then(|rows| rows.get(&row.n));
                let same = held.map(|held| {
                    (&held.order, held.state, held.compartment) == (&row.order, row.state, row.compartment)
                });
                kept(evidence, integration, STATUS, row.n, same)?;
            }
            Happening::NotificationTold { integration, n, order } => {
                let newest = told.entry((integration.clone(), NOTIFICATIONS)).or_default();
                *newest = (*n).max(*newest);
                let held = evidence.fleet.notifications.get(integration).and_then(|rows| rows.get(n));
                kept(evidence, integration, NOTIFICATIONS, *n, held.map(|held| held.order == *order))?;
            }
            _ => {}
        }
    }
    for ((integration, stream), head) in &evidence.fleet.heads {
        let newest = told.get(&(integration.clone(), stream.as_str())).copied().unwrap_or(0);
        ensure(head.cursor <= newest, || {
            format!("{integration} has acknowledged row {} of {stream} and was told {newest}", head.cursor)
        })?;
    }
    Ok(())
}

const STATUS: &str = "status";
const NOTIFICATIONS: &str = "notifications";

/// Row `n` was told: it is on disk as it was told (`same`), or it may be gone.
fn kept(evidence: &Evidence, integration: &Name, stream: &str, n: u64, same: Option<bool>) -> Verdict {
    let head = evidence.fleet.heads.get(&(integration.clone(), stream.to_owned()));
    let may_be_gone = head.is_some_and(|head| n < head.oldest && n <= head.cursor);
    ensure(same == Some(true) || same.is_none() && may_be_gone, || {
        let found = if same.is_some() { "something else" } else { "nothing" };
        format!("{integration} was told row {n} of {stream}, on disk is {found}; its ends are {head:?}")
    })
}

/// An integration hears rows 1, 2, 3 …, and one whose acknowledgement was lost again, unchanged.
fn rows_come_in_order_without_gaps(evidence: &Evidence) -> Verdict {
    let mut statuses: BTreeMap<&Name, Vec<&schemas::api::Status>> = BTreeMap::new();
    let mut notifications: BTreeMap<&Name, Vec<&schemas::ids::OrderId>> = BTreeMap::new();
    for entry in &evidence.told {
        match &entry.what {
            Happening::StatusTold { integration, row } => {
                next_row(statuses.entry(integration).or_default(), row.n, row, integration)?;
            }
            Happening::NotificationTold { integration, n, order } => {
                next_row(notifications.entry(integration).or_default(), *n, order, integration)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn next_row<T: PartialEq + std::fmt::Debug>(rows: &mut Vec<T>, n: u64, row: T, integration: &Name) -> Verdict {
    let index = usize::try_from(n).ok().and_then(|n| n.checked_sub(1)).ok_or("a row has the number 0")?;
    match rows.get(index) {
        Some(before) => ensure(*before == row, || format!("row {n} of {integration} was {before:?} and is {row:?}")),
        None if index == rows.len() => {
            rows.push(row);
            Ok(())
        }
        None => Err(format!("{integration} heard row {n} after row {}", rows.len())),
    }
}

/// An order is stored only after it was loaded, and nothing moves it once it is out.
fn states_follow_each_other(evidence: &Evidence) -> Verdict {
    use OrderState::{Cancelled, Collected, CollectedUnconfirmed, Collecting, Loading, Recalled, Retrieved, Stored};
    for (integration, rows) in &evidence.fleet.statuses {
        let mut seen: BTreeMap<_, Vec<OrderState>> = BTreeMap::new();
        // An answer to what came too late tells a state and is none.
        for row in rows.values().filter(|row| row.reason.is_none()) {
            let before = seen.entry(&row.order).or_default();
            let last = before.last().copied();
            let fine = match (last, row.state) {
                (Some(Collected | CollectedUnconfirmed | Retrieved), _) => false,
                (Some(Cancelled), next) => matches!(next, Loading | Recalled | Collected | Retrieved),
                (_, Stored) => last == Some(Loading),
                (_, Collecting) => last == Some(Stored),
                (_, Collected | CollectedUnconfirmed | Retrieved) => {
                    before.iter().any(|state| matches!(state, Stored | Recalled))
                }
                _ => true,
            };
            before.push(row.state);
            ensure(fine, || format!("order {integration}/{} went through {before:?}", row.order))?;
        }
    }
    Ok(())
}

/// The fleet's events of a cabinet are those of the cabinet from 1 on, each once and byte for byte.
fn events_arrive_once_and_in_order(evidence: &Evidence) -> Verdict {
    let mut epochs = BTreeMap::new();
    for ((cabinet, epoch), rows) in &evidence.fleet.events {
        let before = epochs.insert(cabinet, epoch);
        ensure(before.is_none(), || format!("cabinet {cabinet} has events of two epochs"))?;
        for ((n, _), expected) in rows.iter().zip(1..) {
            ensure(*n == expected, || format!("event {n} of cabinet {cabinet} is where {expected} should be"))?;
        }
        let Some(disk) = evidence.cabinets.get(cabinet) else { continue };
        ensure(disk.epoch == *epoch, || format!("cabinet {cabinet} is in another epoch than its events"))?;
        let newest = rows.last().map_or(0, |(n, _)| *n);
        ensure(newest <= disk.newest(), || {
            format!("the fleet has event {newest} of cabinet {cabinet}, the cabinet has only {}", disk.newest())
        })?;
        for (n, record) in rows {
            let written = disk.events.get(n);
            // The cabinet keeps the newest ones only.
            ensure(written.is_none_or(|written| written == record), || {
                format!("event {n} of cabinet {cabinet} is not what the cabinet wrote")
            })?;
        }
    }
    Ok(())
}

/// By the cabinets' own facts.
fn one_order_a_compartment_and_collected_once(evidence: &Evidence) -> Verdict {
    let mut collected = BTreeSet::new();
    for cabinet in evidence.cabinets_heard() {
        let mut contents: BTreeMap<Compartment, OrderKey> = BTreeMap::new();
        let mut outcomes = BTreeSet::new();
        let leaves = |contents: &mut BTreeMap<Compartment, OrderKey>, at: Compartment, order: &OrderKey| {
            let held = contents.remove(&at);
            ensure(held.as_ref() == Some(order), || format!("{order} leaves {cabinet}/{at}, where {held:?} is"))
        };
        for fact in evidence.facts(cabinet) {
            match fact {
                Fact::Loading(load) => {
                    let held = contents.get(&load.compartment);
                    ensure(held.is_none(), || {
                        format!("{} goes to {cabinet}/{}, where {held:?} is", load.order, load.compartment)
                    })?;
                    let elsewhere = contents.iter().find(|(_, held)| **held == load.order);
                    ensure(elsewhere.is_none(), || format!("{} is in two compartments of {cabinet}", load.order))?;
                    contents.insert(load.compartment, load.order);
                }
                Fact::Stored(load) => {
                    let held = contents.get(&load.compartment);
                    ensure(held == Some(&load.order), || {
                        format!("{} is stored in {cabinet}/{}, where {held:?} is", load.order, load.compartment)
                    })?;
                }
                Fact::Depositing(load) => {
                    let held = contents.insert(load.compartment, load.order.clone());
                    ensure(held.is_none(), || {
                        format!("{} goes to {cabinet}/{}, where {held:?} is", load.order, load.compartment)
                    })?;
                }
                Fact::Deposited(load) => {
                    let held = contents.get(&load.compartment);
                    ensure(held == Some(&load.order), || {
                        format!("{} is put into {cabinet}/{}, where {held:?} is", load.order, load.compartment)
                    })?;
                }
                Fact::LoadAborted(load) => leaves(&mut contents, load.compartment, &load.order)?,
                Fact::Retrieved(taken) => leaves(&mut contents, taken.compartment, &taken.order)?,
                Fact::Audited(Audited { compartment, found: Finding::Missing, order: Some(order), .. }) => {
                    leaves(&mut contents, compartment, &order)?;
                }
                Fact::Swapped(Swapped { one, one_in, other, other_in, .. }) => {
                    leaves(&mut contents, other_in, &one)?;
                    leaves(&mut contents, one_in, &other)?;
                    contents.extend([(one_in, one), (other_in, other)]);
                }
                Fact::Collected(taken) => {
                    leaves(&mut contents, taken.compartment, &taken.order)?;
                    ensure(collected.insert(taken.order.clone()), || format!("{} is collected twice", taken.order))?;
                }
                Fact::UnlockDone(done) => {
                    ensure(outcomes.insert(done.id), || format!("command {} has two outcomes", done.id))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn nobody_was_surprised(evidence: &Evidence) -> Verdict {
    let surprise = evidence.told.iter().find_map(|entry| match &entry.what {
        Happening::Surprised { cabinet, compartment, text } => Some(format!("{cabinet}/{compartment}: {text}")),
        _ => None,
    });
    surprise.map_or(Ok(()), Err)
}

fn an_unlock_told_as_opened_was_pulsed(evidence: &Evidence) -> Verdict {
    let mut asked: BTreeMap<Try, (At, &CabinetId, Compartment)> = BTreeMap::new();
    for entry in evidence.told.iter().filter(|entry| entry.at >= evidence.since) {
        match &entry.what {
            Happening::UnlockAsked { id, cabinet, compartment } => {
                asked.insert(*id, (entry.at, cabinet, *compartment));
            }
            Happening::UnlockReplied { id, heard: Heard::Outcome(UnlockOutcome::Opened) } => {
                let Some((from, cabinet, compartment)) = asked.get(id) else { continue };
                let pulsed = evidence.pulses.iter().any(|pulse| {
                    pulse.cabinet == **cabinet
                        && pulse.compartment == *compartment
                        && (*from..=entry.at).contains(&pulse.at)
                });
                ensure(pulsed, || format!("an operator was told that {cabinet}/{compartment} opened at {from} ms"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn an_entry_opens_the_door_of_its_order(evidence: &Evidence) -> Verdict {
    let mut entered = BTreeMap::new();
    for entry in &evidence.told {
        match &entry.what {
            Happening::Entered { id, cabinet, order, compartment } => {
                entered.insert(id, (cabinet, order, compartment));
            }
            Happening::Answered { id, shown: Shown::Opening(doors) } => {
                let Some((cabinet, order, compartment)) = entered.get(id) else { continue };
                ensure(*doors == [compartment.number()], || {
                    format!("the code of {order} in {cabinet}/{compartment} opens {doors:?}")
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Nothing is under way anywhere, every order is somewhere for good, and everybody has heard of it.
fn everything_has_come_to_rest(evidence: &Evidence) -> Verdict {
    let fleet = &evidence.fleet;
    ensure(fleet.intents == 0, || format!("{} intents of the fleet wait", fleet.intents))?;
    for order in fleet.orders.values() {
        ensure(order.state.is_final(), || format!("order {} is {}", order.order, order.state))?;
    }
    for (name, disk) in &evidence.cabinets {
        let high = fleet.events.get(&(name.clone(), disk.epoch.clone())).and_then(|rows| rows.last());
        ensure(high.is_some_and(|(n, _)| *n == disk.newest()), || {
            format!("cabinet {name} has {} events, the fleet has them to {:?}", disk.newest(), high.map(|(n, _)| n))
        })?;
        ensure(disk.uses == 0, || format!("cabinet {name} has {} uses without an outcome", disk.uses))?;
        let busy = disk.bays.iter().find(|(_, content)| !matches!(content, Content::Free(_)));
        ensure(busy.is_none(), || format!("cabinet {name} still holds {busy:?}"))?;
    }
    for (integration, rows) in &fleet.statuses {
        let newest = rows.last_key_value().map_or(0, |(n, _)| *n);
        let told = evidence.told.iter().filter_map(|entry| match &entry.what {
            Happening::StatusTold { integration: of, row } if of == integration => Some(row.n),
            _ => None,
        });
        let told = told.max().unwrap_or(0);
        ensure(told == newest, || format!("{integration} was told {told} of {newest} statuses"))?;
    }
    Ok(())
}

/// What a cabinet's disk owes to an earlier look at it and to its board, at any moment.
pub(super) fn cabinet_forgets_nothing(
    name: &CabinetId,
    before: Option<&CabinetDisk>,
    now: &CabinetDisk,
    pulses_seen: u64,
) -> Verdict {
    ensure(pulses_seen <= now.pulses, || {
        format!("cabinet {name} gave {pulses_seen} pulses and has journalled {}", now.pulses)
    })?;
    for (expected, n) in (now.newest() - now.events.len() as u64 + 1..).zip(now.events.keys()) {
        ensure(*n == expected, || format!("event {n} of cabinet {name} is where {expected} should be"))?;
    }
    let Some(before) = before else { return Ok(()) };
    ensure(before.epoch == now.epoch, || format!("cabinet {name} began a new epoch"))?;
    ensure(before.newest() <= now.newest() && before.pulses <= now.pulses, || {
        format!("cabinet {name} went back from event {} to {}", before.newest(), now.newest())
    })?;
    let changed = before.events.iter().find(|(n, record)| now.events.get(n).is_some_and(|held| held != *record));
    ensure(changed.is_none(), || format!("event {:?} of cabinet {name} was rewritten", changed.map(|(n, _)| n)))
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
