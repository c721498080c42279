//! What must hold whatever happens: each invariant is one function over the fact just seen and everything before it.

use cabinet_core::{EntryRefusal, EntryResult};
use schemas::api::OrderState;
use schemas::messages::{COMMAND_AGE_MAX_MILLIS, Category, CommandId, Event, Fact};

use super::ledger::{Cause, Content, Ledger, Seen, moves};
use super::store::contains;

/// A person's right waits for the bus at most this long.
const PERSON_MILLIS: u64 = cabinet_core::PERSON_MILLIS;

/// What a broken invariant says.
pub(super) type Verdict = Result<(), String>;

type Invariant = fn(&Ledger, &Seen) -> Verdict;

/// Whom an invariant holds against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Whatever the owner of the bus keeps, repeats, changes or forges.
    Always,
    /// Who owns the bus can break it by keeping messages for ever. In the simulation nothing is kept for ever.
    WithoutAnAdversary,
}

/// All that are judged at each fact, by name.
pub(super) const INVARIANTS: [(&str, Holds, Invariant); 15] = [
    ("no_door_without_authority", Holds::Always, invariant_no_door_without_authority),
    ("at_most_one_pulse_per_command", Holds::Always, invariant_at_most_one_pulse_per_command),
    ("at_most_three_pulses_per_use", Holds::Always, invariant_at_most_three_pulses_per_use),
    ("nothing_unsigned_takes_effect", Holds::Always, invariant_nothing_unsigned_takes_effect),
    ("no_event_lost_or_doubled", Holds::WithoutAnAdversary, invariant_no_event_lost_or_doubled),
    ("acknowledged_is_stored", Holds::WithoutAnAdversary, invariant_acknowledged_is_stored),
    ("no_compartment_with_two_orders", Holds::Always, invariant_no_compartment_with_two_orders),
    ("no_order_lost", Holds::WithoutAnAdversary, invariant_no_order_lost),
    ("collected_once", Holds::Always, invariant_collected_once),
    (
        "notification_only_after_stored_and_book_held",
        Holds::WithoutAnAdversary,
        invariant_notification_only_after_stored_and_book_held,
    ),
    ("rows_in_order_without_gaps", Holds::WithoutAnAdversary, invariant_rows_in_order_without_gaps),
    ("poll_timeout_moves", Holds::WithoutAnAdversary, invariant_poll_timeout_moves),
    ("every_accepted_command_has_one_outcome", Holds::Always, invariant_every_accepted_command_has_one_outcome),
    ("code_works_offline", Holds::Always, invariant_code_works_offline),
    ("store_opens", Holds::Always, invariant_store_opens),
];

/// A lock is pulsed only for an order of the core that is on disk, in time, at its own door, and for somebody's right.
fn invariant_no_door_without_authority(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::PulseOrdered { cab, boot, boot_millis, at, not_after, cause, .. } => match cause {
            Cause::Nobody(input) => Err(format!("door {at} of cabinet {cab} is to open because of {input}")),
            Cause::Command(command) => {
                let schemas::messages::Action::Unlock(unlock) = &command.action;
                let made = ledger.challenges.get(&(*cab, command.challenge));
                let Some(made) = made else { return Err("a command with a challenge that was never made".into()) };
                ensure(unlock.compartment == *at, || format!("a command for door {} opens {at}", unlock.compartment))?;
                let limit = made + COMMAND_AGE_MAX_MILLIS;
                ensure(*boot_millis <= limit && *not_after <= limit, || format!("a command of {made} at {boot_millis}"))
            }
            Cause::Entry { orders, .. } => {
                let content = ledger.contents.get(&(*cab, *at));
                let inside = content.is_some_and(|content| orders.contains(content.order()));
                ensure(inside, || format!("a code of {orders:?} opens door {at} with {content:?}"))?;
                ensure(*not_after <= boot_millis + 3 * PERSON_MILLIS, || "an entry that waits too long".into())
            }
            Cause::Staff(order) => {
                let content = ledger.contents.get(&(*cab, *at)).map(Content::order);
                ensure(content == Some(order), || format!("staff asked for {order}, door {at} has {content:?}"))
            }
            Cause::Again => {
                ensure(ledger.last_use.contains_key(&(*cab, *at)), || format!("try again at {at} without a first try"))
            }
            Cause::Retry { pulse } => {
                let first = ledger.pulses.get(&(*cab, *boot, *pulse));
                ensure(first.is_some_and(|first| first.at == *at && !first.done), || {
                    format!("pulse {pulse} is repeated at door {at} although it was sent")
                })
            }
        },
        Seen::Pulsed { cab, boot, boot_millis, pulse, at } => {
            let Some(ordered) = ledger.pulses.get(&(*cab, *boot, *pulse)) else {
                return Err(format!("door {at} of cabinet {cab} was pulsed and nothing on disk asked for it"));
            };
            ensure(ordered.at == *at, || format!("pulse {pulse} of another door"))?;
            ensure(*boot_millis <= ordered.not_after, || format!("pulse {pulse} came too late"))
        }
        _ => Ok(()),
    }
}

fn invariant_at_most_one_pulse_per_command(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::Pulsed { cab, boot, pulse, .. } = seen else { return Ok(()) };
    let Some(ordered) = ledger.pulses.get(&(*cab, *boot, *pulse)) else { return Ok(()) };
    let Some((id, _)) = ledger.uses[ordered.by].command else { return Ok(()) };
    let before: u32 =
        ledger.uses.iter().filter(|one| one.command.is_some_and(|(other, _)| other == id)).map(|one| one.pulses).sum();
    ensure(before == 0, || format!("command {id} has pulsed a lock already"))
}

fn invariant_at_most_three_pulses_per_use(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::Pulsed { cab, boot, pulse, .. } = seen else { return Ok(()) };
    let Some(ordered) = ledger.pulses.get(&(*cab, *boot, *pulse)) else { return Ok(()) };
    ensure(!ordered.done, || format!("pulse {pulse} was executed twice"))?;
    ensure(ledger.uses[ordered.by].pulses < 3, || format!("a fourth pulse of one use at door {}", ordered.at))
}

/// A cabinet takes up only books that the signer made for it, and the keyset of the root.
fn invariant_nothing_unsigned_takes_effect(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::EventWritten { cab, record, .. } = seen else { return Ok(()) };
    match schemas::cbor::decode::<Event>(record).map(|event| event.fact) {
        Ok(Fact::BookApplied(applied)) => ensure(ledger.signed_books.contains(&(*cab, applied.version)), || {
            format!("cabinet {cab} takes up book {}, which was not signed for it", applied.version)
        }),
        Ok(Fact::KeysetApplied(applied)) => {
            ensure(applied.version == 1, || format!("cabinet {cab} takes up keyset {}", applied.version))
        }
        _ => Ok(()),
    }
}

/// The fleet's events are those of the cabinet, from 1 on without a gap, each once and byte for byte.
fn invariant_no_event_lost_or_doubled(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::EventWritten { cab, n, record } => {
            let newest = ledger.newest_written(*cab);
            ensure(*n == newest + 1, || format!("cabinet {cab} writes event {n} after {newest}"))?;
            ensure(!record.is_empty(), || "an empty event".into())
        }
        Seen::EventStored { cab, epoch, n, row } => {
            let at = (*cab, epoch.clone());
            let last = ledger.stored.get(&at).copied().unwrap_or(0);
            ensure(*n == last + 1, || format!("the fleet stores event {n} of cabinet {cab} after {last}"))?;
            let written = ledger.written.get(&at).and_then(|rows| rows.get(n));
            let same = written.is_some_and(|written| contains(row, written) && row.len() <= written.len() + 40);
            ensure(same, || format!("event {n} of cabinet {cab} differs from what the cabinet wrote"))
        }
        Seen::GapAccepted { cab, epoch, from, to } => {
            let written = ledger.written.get(&(*cab, epoch.clone()));
            let held = written.and_then(|rows| rows.range(..=to).next_back());
            ensure(held.is_none_or(|(n, _)| n < from), || {
                format!(
                    "the fleet passes events {from} to {to} of cabinet {cab} over, which holds {:?}",
                    held.map(|(n, _)| n)
                )
            })
        }
        _ => Ok(()),
    }
}

fn invariant_acknowledged_is_stored(_: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::EventAcked { cab, n, on_disk } => {
            ensure(*on_disk, || format!("event {n} of cabinet {cab} is not stored"))
        }
        Seen::PutAcked { order, on_disk } => ensure(*on_disk, || format!("order {order} is not stored")),
        Seen::DownAcked { on_disk } => ensure(*on_disk, || "a message was acknowledged before the journal".into()),
        _ => Ok(()),
    }
}

fn invariant_no_compartment_with_two_orders(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::EventWritten { cab, record, .. } => {
            let Ok(event) = schemas::cbor::decode::<Event>(record) else { return Ok(()) };
            let (order, at) = match &event.fact {
                Fact::Loading(load) => (&load.order, load.compartment),
                Fact::Stored(load) => (&load.order, load.compartment),
                _ => return Ok(()),
            };
            let held = ledger.contents.get(&(*cab, at)).map(Content::order);
            ensure(held.is_none_or(|held| held == order), || {
                format!("{order} goes to {at} of cabinet {cab}, where {held:?} is")
            })?;
            let elsewhere = ledger.contents.iter().find(|(other, held)| **other != (*cab, at) && held.order() == order);
            ensure(elsewhere.is_none(), || format!("{order} is in {at} and in {elsewhere:?}"))
        }
        Seen::StatusWritten { integration, status } if moves(status) && inside(status.state) => {
            let Some(compartment) = status.compartment else { return Ok(()) };
            let me = |key: &schemas::messages::OrderKey| key.integration == *integration && key.order == status.order;
            let Some((_, mine)) = ledger.orders.iter().find(|(key, _)| me(key)) else { return Ok(()) };
            let other = ledger.orders.iter().find(|(key, order)| {
                !me(key)
                    && !order.astray
                    && order.cab == mine.cab
                    && order.told.compartment == Some(compartment)
                    && order.told.state.is_some_and(inside)
            });
            ensure(other.is_none(), || {
                format!(
                    "the fleet has {integration}/{} and {:?} in {compartment}",
                    status.order,
                    other.map(|(key, _)| key)
                )
            })
        }
        _ => Ok(()),
    }
}

/// In a compartment by the fleet's word.
fn inside(state: OrderState) -> bool {
    matches!(state, OrderState::Loading | OrderState::Stored | OrderState::Collecting | OrderState::Recalled)
}

/// An order that was taken stays on record. The rest of this invariant is judged once everything is quiet.
fn invariant_no_order_lost(_: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::OrderRemoved { order } => Err(format!("the row of order {order} was removed")),
        _ => Ok(()),
    }
}

fn invariant_collected_once(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::EventWritten { record, .. } => {
            let Ok(Event { fact: Fact::Collected(taken), .. }) = schemas::cbor::decode::<Event>(record) else {
                return Ok(());
            };
            let before = ledger.collected.get(&taken.order).copied().unwrap_or(0);
            ensure(before == 0, || format!("order {} is collected again", taken.order))
        }
        Seen::StatusWritten { integration, status }
            if matches!(status.state, OrderState::Collected | OrderState::CollectedUnconfirmed) && moves(status) =>
        {
            let key = schemas::messages::OrderKey { integration: integration.clone(), order: status.order.clone() };
            // A cabinet that has lost what it knew may have handed it out twice: its facts win.
            let before = ledger.orders.get(&key).filter(|order| !order.astray).map_or(0, |order| order.told.collected);
            ensure(before == 0, || format!("the backend hears twice that {key} is collected"))
        }
        _ => Ok(()),
    }
}

fn invariant_notification_only_after_stored_and_book_held(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::NotificationWritten { order, cab, first_book } = seen else { return Ok(()) };
    let Some(truth) = ledger.orders.get(order) else { return Err(format!("a code for {order}, which nobody put")) };
    ensure(truth.told.was_stored, || format!("a code for {order}, which was never stored"))?;
    ensure(truth.told.notified == 0, || format!("a second message with the code of {order}"))?;
    let held = ledger.applied.get(cab).copied().unwrap_or(0);
    ensure(first_book.is_some_and(|first| first <= held), || {
        format!("the code of {order} is in book {first_book:?}, the cabinet has {held}")
    })
}

/// Rows are numbered from 1; a consumer gets each in order, and the same again until it acknowledges.
fn invariant_rows_in_order_without_gaps(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::StatusWritten { integration, status } => {
            let last = ledger.statuses.get(integration);
            ensure(ledger.may_be_next(integration, status.n), || {
                format!("status row {} of {integration} after {last:?}", status.n)
            })
        }
        Seen::RowReceived { integration, stream, n, payload } => {
            let at = (integration.clone(), *stream);
            let known = ledger.rows.get(&at).and_then(|rows| rows.get(n));
            ensure(known.is_none_or(|known| known == payload), || {
                format!("row {n} of {integration} {stream} has changed, or its number was given twice")
            })?;
            let heard = ledger.heard.get(&at).copied().unwrap_or(0);
            let next = ledger.stream(&at).next(heard);
            ensure(*n <= heard || *n == next, || format!("row {n} of {integration} {stream} after {heard}"))
        }
        _ => Ok(()),
    }
}

fn invariant_poll_timeout_moves(_: &Ledger, seen: &Seen) -> Verdict {
    let Seen::Ticked { who, now, next } = seen else { return Ok(()) };
    ensure(next.is_none_or(|next| next > *now), || format!("after a tick at {now} {who} wants one at {next:?}"))
}

/// Never two. That there is one is judged once everything is quiet.
fn invariant_every_accepted_command_has_one_outcome(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::EventWritten { record, .. } = seen else { return Ok(()) };
    let Ok(Event { fact: Fact::UnlockDone(done), .. }) = schemas::cbor::decode::<Event>(record) else { return Ok(()) };
    ensure(ledger.accepted.contains_key(&done.id), || format!("an outcome of command {} that never was", done.id))?;
    ensure(!ledger.outcomes.contains_key(&done.id), || format!("a second outcome of command {}", done.id))
}

/// Who has the code of a stored order gets in, with and without a network.
fn invariant_code_works_offline(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::Answered { cab, order, digits, busy, result } = seen else { return Ok(()) };
    let Some(truth) = ledger.orders.get(order) else { return Ok(()) };
    let expires = matches!(truth.category, Category::Food | Category::Pharmacy);
    let held =
        ledger.contents.iter().find(|((at, _), content)| at == cab && **content == Content::Stored(order.clone()));
    let Some(((_, compartment), _)) = held else { return Ok(()) };
    // What a lost disk knew of a code, nobody knows.
    if truth.cancelled || truth.retrieved || truth.released || truth.astray || expires {
        return Ok(());
    }
    let fine = match result {
        EntryResult::Opening { compartments } => compartments == &[*compartment],
        EntryResult::Locked { .. } | EntryResult::SecondPartNeeded => *digits,
        EntryResult::Refused(EntryRefusal::Busy) => *busy,
        EntryResult::Refused(EntryRefusal::OutOfService) => ledger.wrong_doors.contains(&(*cab, *compartment)),
        EntryResult::Refused(_) | EntryResult::StaffSession { .. } => false,
    };
    ensure(fine, || {
        format!("the code of {order}, stored in {compartment} of cabinet {cab}, is answered with {result:?}")
    })
}

fn invariant_store_opens(_: &Ledger, seen: &Seen) -> Verdict {
    let Seen::Opened(opened) = seen else { return Ok(()) };
    opened.clone()
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Ledger {
    /// Once everything is quiet: accepted commands without an outcome.
    pub(super) fn without_outcome(&self) -> Vec<CommandId> {
        self.accepted.keys().filter(|id| !self.outcomes.contains_key(id)).copied().collect()
    }
}
