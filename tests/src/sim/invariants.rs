//! What must hold whatever happens: each invariant is one function over the fact just seen and everything before it.

use cabinet_core::{EntryRefusal, EntryResult, RELEASE_MILLIS};
use schemas::api::OrderState;
use schemas::messages::{
    Action, BootId, COMMAND_AGE_MAX_MILLIS, Command, CommandId, Errand, Event, Expect, Fact, OrderKey,
};

use super::apps::invariant_app_opens_by_the_screen;
use super::changes::{invariant_order_gets_what_fits, invariant_order_is_what_its_backend_said};
use super::couriers::{
    invariant_courier_comes_by_the_book, invariant_courier_only_puts_in, invariant_staff_come_by_the_book,
};
use super::factors::{asks_for_more, invariant_second_factor_is_asked, invariant_ten_wrong_answers_at_most};
use super::glass::invariant_break_glass_lets_in_once;
use super::ledger::{At, Cab, Cause, Content, Guesses, Ledger, OrderTruth, Seen, moves};
use super::messages::{
    invariant_message_accepted_once, invariant_message_says_what_was_told, invariant_notification_has_its_message,
};
use super::people::is_restricted;
use super::shared::{invariant_only_what_says_so_lies_together, invariant_what_lies_together_goes_together};
use super::store::contains;
use super::times::{invariant_preview_names_what_changes, invariant_window_ends_by_the_site};
use super::walk_ins::key_of_status;
use super::wholes::{invariant_whole_announced_once_when_all_is_inside, invariant_whole_told_as_its_parts};

/// A person's right waits for the bus at most this long.
const PERSON_MILLIS: u64 = cabinet_core::PERSON_MILLIS;
/// How long the screen offers to try again.
const OFFER_MILLIS: u64 = 60_000;
/// Pulses of a lock for one use of a person's right: the first one, and two that a person asks for.
const PULSES_MAX: u32 = 3;

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
pub(super) const INVARIANTS: [(&str, Holds, Invariant); 37] = [
    ("no_door_without_authority", Holds::Always, invariant_no_door_without_authority),
    ("at_most_one_pulse_per_command", Holds::Always, invariant_at_most_one_pulse_per_command),
    ("at_most_three_pulses_per_use", Holds::Always, invariant_at_most_three_pulses_per_use),
    ("nothing_unsigned_takes_effect", Holds::Always, invariant_nothing_unsigned_takes_effect),
    ("no_event_lost_or_doubled", Holds::WithoutAnAdversary, invariant_no_event_lost_or_doubled),
    ("acknowledged_is_stored", Holds::WithoutAnAdversary, invariant_acknowledged_is_stored),
    ("no_compartment_with_two_orders", Holds::Always, invariant_no_compartment_with_two_orders),
    ("no_order_lost", Holds::WithoutAnAdversary, invariant_no_order_lost),
    ("only_what_says_so_lies_together", Holds::Always, invariant_only_what_says_so_lies_together),
    ("what_lies_together_goes_together", Holds::Always, invariant_what_lies_together_goes_together),
    (
        "fleet_puts_one_order_in_a_compartment",
        Holds::WithoutAnAdversary,
        invariant_fleet_puts_one_order_in_a_compartment,
    ),
    ("collected_once", Holds::Always, invariant_collected_once),
    ("collection_told_once", Holds::WithoutAnAdversary, invariant_collection_told_once),
    (
        "notification_only_after_stored_and_book_held",
        Holds::WithoutAnAdversary,
        invariant_notification_only_after_stored_and_book_held,
    ),
    ("rows_in_order_without_gaps", Holds::WithoutAnAdversary, invariant_rows_in_order_without_gaps),
    ("poll_timeout_moves", Holds::WithoutAnAdversary, invariant_poll_timeout_moves),
    ("every_accepted_command_has_one_outcome", Holds::Always, invariant_every_accepted_command_has_one_outcome),
    ("guess_budget_holds", Holds::Always, invariant_guess_budget_holds),
    ("early_tick_is_empty", Holds::Always, invariant_early_tick_is_empty),
    ("code_works_offline", Holds::WithoutAnAdversary, invariant_code_works_offline),
    ("store_opens", Holds::Always, invariant_store_opens),
    ("whole_told_as_its_parts", Holds::WithoutAnAdversary, invariant_whole_told_as_its_parts),
    (
        "whole_announced_once_when_all_is_inside",
        Holds::WithoutAnAdversary,
        invariant_whole_announced_once_when_all_is_inside,
    ),
    ("courier_only_puts_in", Holds::Always, invariant_courier_only_puts_in),
    ("second_factor_is_asked", Holds::Always, invariant_second_factor_is_asked),
    ("ten_wrong_answers_at_most", Holds::Always, invariant_ten_wrong_answers_at_most),
    ("staff_come_by_the_book", Holds::Always, invariant_staff_come_by_the_book),
    ("app_opens_by_the_screen", Holds::Always, invariant_app_opens_by_the_screen),
    ("courier_comes_by_the_book", Holds::Always, invariant_courier_comes_by_the_book),
    ("window_ends_by_the_site", Holds::Always, invariant_window_ends_by_the_site),
    ("break_glass_lets_in_once", Holds::Always, invariant_break_glass_lets_in_once),
    ("order_is_what_its_backend_said", Holds::WithoutAnAdversary, invariant_order_is_what_its_backend_said),
    ("order_gets_what_fits", Holds::WithoutAnAdversary, invariant_order_gets_what_fits),
    ("preview_names_what_changes", Holds::Always, invariant_preview_names_what_changes),
    ("message_says_what_was_told", Holds::Always, invariant_message_says_what_was_told),
    ("message_accepted_once", Holds::Always, invariant_message_accepted_once),
    ("notification_has_its_message", Holds::Always, invariant_notification_has_its_message),
];

/// A lock is pulsed only for an order of the core that is on disk, in time, at its own door, and for somebody's right.
fn invariant_no_door_without_authority(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::PulseOrdered { cab, boot, boot_millis, at, not_after, cause, held_back, .. } => {
            let content = ledger.contents.get(&(*cab, *at)).map(Content::order);
            let behind = || ledger.orders_in(&(*cab, *at));
            let hindered = ledger.is_shared(&(*cab, *at)) && !held_back.is_empty();
            let waits = not_after.saturating_sub(*boot_millis);
            match cause {
                Cause::Nobody(input) => Err(format!("door {at} of cabinet {cab} is to open because of {input}")),
                Cause::Command(command) => commanded(ledger, (*cab, *at), *boot, *boot_millis.max(not_after), command),
                Cause::Entry { orders, .. } => {
                    let inside = behind().any(|order| orders.contains(order));
                    let inside = inside || ledger.reopens(&(*cab, *at), orders, *boot, *boot_millis);
                    ensure(inside, || format!("a code of {orders:?} opens door {at} with {content:?}"))?;
                    ensure(!hindered, || format!("a code opens door {at} with {held_back:?}, which must not go"))?;
                    let alone = behind().all(|order| !is_restricted(order));
                    ensure(alone, || format!("a code opens door {at} with {content:?}, which staff have to release"))?;
                    // The doors of a bundle open one after another.
                    let most = PERSON_MILLIS + 1_000 * orders.len() as u64;
                    ensure(waits <= most, || format!("an entry that may wait {waits} ms"))
                }
                Cause::Staff(order) => {
                    let inside = behind().any(|held| held == order);
                    ensure(inside, || format!("staff asked for {order}, door {at} has {content:?}"))?;
                    ensure(waits <= PERSON_MILLIS, || format!("a wish of staff that may wait {waits} ms"))
                }
                Cause::Release(order) => {
                    let shown = ledger
                        .shown
                        .get(&(*cab, order.clone()))
                        .is_some_and(|shown| shown.0 == *boot && boot_millis.saturating_sub(shown.1) <= RELEASE_MILLIS);
                    let guarded = is_restricted(order) || asks_for_more(order);
                    ensure(content == Some(order) && guarded && shown, || {
                        format!(
                            "staff release {order} of cabinet {cab}, door {at} has {content:?}, code shown: {shown}"
                        )
                    })?;
                    ensure(waits <= PERSON_MILLIS, || format!("a release that may wait {waits} ms"))
                }
                Cause::Deposit(order) => {
                    let held = ledger.contents.get(&(*cab, *at));
                    let on_its_way = held == Some(&Content::Loading(order.clone()));
                    ensure(on_its_way, || format!("a deposit code of {order} opens door {at} with {held:?}"))?;
                    ensure(waits <= PERSON_MILLIS, || format!("a deposit that may wait {waits} ms"))
                }
                // Judged by `courier_only_puts_in`.
                Cause::Courier(_) => Ok(()),
                // Judged by `app_opens_by_the_screen`.
                Cause::App(_) => Ok(()),
                Cause::Answer { order, .. } => {
                    ensure(content == Some(order), || format!("an answer about {order} opens {at} with {content:?}"))?;
                    ensure(waits <= PERSON_MILLIS, || format!("an answer that may wait {waits} ms"))
                }
                Cause::Begins | Cause::Brings => {
                    Err(format!("door {at} of cabinet {cab} is to open for an order that nobody named"))
                }
                Cause::Swap(orders) => {
                    let both = orders.len() == 2 && content.is_some_and(|order| orders.contains(order));
                    ensure(both, || format!("staff exchange {orders:?}, door {at} has {content:?}"))?;
                    ensure(waits <= PERSON_MILLIS + 1_000, || format!("an exchange that may wait {waits} ms"))
                }
                Cause::Look => ensure(waits <= PERSON_MILLIS, || format!("a look that may wait {waits} ms")),
                Cause::Again => {
                    ensure(waits <= PERSON_MILLIS, || format!("another try that may wait {waits} ms"))?;
                    tried_again(ledger, (*cab, *at), *boot, *boot_millis, hindered)
                }
                Cause::Retry { pulse } => {
                    let first = ledger.pulses.get(&(*cab, *boot, *pulse));
                    let same =
                        first.is_some_and(|first| first.at == *at && !first.done && first.not_after == *not_after);
                    ensure(same, || {
                        format!("pulse {pulse} is repeated at door {at} although it was sent, or for longer")
                    })
                }
            }
        }
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

/// A command is for this run, this door, what is behind it, and young. `until`: when it may be carried out at last.
fn commanded(ledger: &Ledger, (cab, at): At, boot: BootId, until: u64, command: &Command) -> Verdict {
    let made = ledger.challenges.get(&(cab, command.challenge));
    let Some(made) = made else { return Err("a command with a challenge that was never made".into()) };
    ensure(command.challenge.boot == boot, || "a command with a challenge of another run".into())?;
    ensure(until <= made + COMMAND_AGE_MAX_MILLIS, || format!("a command of {made} until {until}"))?;
    let content = ledger.contents.get(&(cab, at)).map(Content::order);
    let unlock = match &command.action {
        Action::Unlock(unlock) => unlock,
        Action::Load(load) => {
            let held = ledger.contents.get(&(cab, at));
            let loading = ledger.parts_of(&load.order).into_iter().any(|part| held == Some(&Content::Loading(part)));
            let there = load.compartment.is_none_or(|wanted| wanted == at);
            return ensure(loading && there, || format!("{load:?} opens {at} with {content:?}"));
        }
        Action::Retrieve(retrieve) => {
            let parts = ledger.parts_of(&retrieve.order);
            let inside = ledger.orders_in(&(cab, at)).any(|order| parts.contains(order));
            return ensure(inside, || format!("{retrieve:?} opens {at} with {content:?}"));
        }
        Action::Confirm(word) => return Err(format!("{word:?} opens {at}")),
    };
    ensure(unlock.compartment == at, || format!("a command for door {} opens {at}", unlock.compartment))?;
    // Whoever has collected may not have closed the door yet, and the fleet may not have heard of it.
    let left = content.is_none().then(|| ledger.left.get(&(cab, at))).flatten();
    let beside = ledger.beside.get(&(cab, at)).into_iter().flatten().map(Some);
    let expected = [content, left].into_iter().chain(beside).any(|inside| unlock.expects == Expect::of(inside));
    ensure(expected, || format!("a command for {:?} opens {at} with {content:?}", unlock.expects))
}

/// A person tries again: once for each offer, soon, in the same run, before the door has opened, and for the same order.
fn tried_again(ledger: &Ledger, (cab, at): At, boot: BootId, now: u64, hindered: bool) -> Verdict {
    let content = ledger.contents.get(&(cab, at)).map(Content::order);
    let by = ledger.last_use.get(&(cab, at)).map(|by| &ledger.uses[*by]);
    let Some(by) = by else { return Err(format!("try again at {at} without a first try")) };
    ensure(by.command.is_none(), || format!("a command is tried again at {at}"))?;
    ensure(by.boot == boot, || format!("what a former run had begun is tried again at {at}"))?;
    ensure(!by.over, || format!("try again at {at} after the door has opened"))?;
    ensure(by.pulses < PULSES_MAX, || format!("try again at {at} after {} pulses", by.pulses))?;
    let offered = by.offered.is_some_and(|offered| now <= offered + OFFER_MILLIS);
    ensure(offered, || format!("try again at {at} without an offer, or long after it"))?;
    ensure(!by.collects || !hindered, || format!("{at} is tried again with an order inside that must not go"))?;
    let inside = ledger.orders_in(&(cab, at)).any(|order| by.orders.contains(order));
    ensure(inside || by.looks, || format!("try again for {:?} at {at} with {content:?}", by.orders))
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
    ensure(ledger.uses[ordered.by].pulses < PULSES_MAX, || format!("a fourth pulse of one use at door {}", ordered.at))
}

/// A cabinet takes up only books that the signer made for it, and the keyset of the root.
fn invariant_nothing_unsigned_takes_effect(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::EventWritten { cab, record, .. } = seen else { return Ok(()) };
    match schemas::cbor::decode::<Event>(record).map(|event| event.fact) {
        Ok(Fact::BookApplied(applied)) => ensure(ledger.signed_books.contains(&(*cab, applied.version)), || {
            format!("cabinet {cab} takes up book {}, which was not signed for it", applied.version)
        }),
        Ok(Fact::ErrandTaken(taken)) => {
            let signed = ledger.signed_commands.get(&taken.id);
            let asked = signed.is_some_and(|(to, command)| {
                // Of an order in several compartments the cabinet chooses the part.
                let meant = command.action.order().is_some_and(|order| ledger.parts_of(order).contains(&taken.order));
                to == cab && meant && is_errand(&command.action, taken.errand)
            });
            ensure(asked, || format!("cabinet {cab} does {:?} of {}, as nobody asked it to", taken.errand, taken.order))
        }
        Ok(Fact::KeysetApplied(applied)) => {
            ensure(applied.version == 1, || format!("cabinet {cab} takes up keyset {}", applied.version))
        }
        _ => Ok(()),
    }
}

fn is_errand(action: &Action, errand: Errand) -> bool {
    match action {
        Action::Unlock(_) => false,
        Action::Load(_) => errand == Errand::Load,
        Action::Retrieve(_) => errand == Errand::Retrieve,
        Action::Confirm(word) => errand == if word.inside { Errand::Inside } else { Errand::NotInside },
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
        Seen::DownAcked { on_disk } => {
            ensure(*on_disk, || "a message was acknowledged and what it led to is not stored".into())
        }
        _ => Ok(()),
    }
}

fn invariant_no_compartment_with_two_orders(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::EventWritten { cab, record, .. } = seen else { return Ok(()) };
    let Ok(event) = schemas::cbor::decode::<Event>(record) else { return Ok(()) };
    let (order, at, alone) = match &event.fact {
        Fact::Loading(load) => (&load.order, load.compartment, true),
        Fact::LoadingBeside(load) => (&load.order, load.compartment, false),
        Fact::Stored(load) => (&load.order, load.compartment, !ledger.is_shared(&(*cab, load.compartment))),
        Fact::Depositing(load) => (&load.order, load.compartment, true),
        Fact::Deposited(load) => (&load.order, load.compartment, true),
        _ => return Ok(()),
    };
    let held = ledger.contents.get(&(*cab, at)).map(Content::order);
    // What may lie beside what is judged by `only_what_says_so_lies_together`.
    let beside = matches!(event.fact, Fact::LoadingBeside(_)) && held != Some(order);
    ensure(beside || held.is_none_or(|held| held == order), || {
        format!("{order} goes to {at} of cabinet {cab}, where {held:?} is")
    })?;
    ensure(!alone || !ledger.is_shared(&(*cab, at)), || {
        format!(
            "{order} goes to {at} of cabinet {cab}, where {:?} are",
            ledger.orders_in(&(*cab, at)).collect::<Vec<_>>()
        )
    })?;
    // A cabinet that has not heard that an order is to go elsewhere may be loading it, too. Nobody can put it into both.
    let two_books = ledger.is_beyond_knowing(order) || ledger.orders.get(order).is_some_and(|truth| truth.moved);
    let counts = |other: &At| *other != (*cab, at) && (other.0 == *cab || !two_books);
    let elsewhere = ledger.all_held().find(|(other, held)| counts(other) && held.order() == order);
    ensure(elsewhere.is_none(), || format!("{order} is in {at} and in {elsewhere:?}"))
}

fn invariant_fleet_puts_one_order_in_a_compartment(ledger: &Ledger, seen: &Seen) -> Verdict {
    let (key, state, compartment, cab) = match seen {
        Seen::StatusWritten { integration, status, cab } if moves(status) => {
            let key = key_of_status(integration, status);
            (key, status.state, status.compartment, cab)
        }
        // No backend hears how far a part is while its cabinet tells what was.
        Seen::PartWritten { order, state, cab, compartment } if !cab.is_some_and(|cab| ledger.hears_history(cab)) => {
            (order.clone(), *state, *compartment, cab)
        }
        _ => return Ok(()),
    };
    let Some(compartment) = compartment.filter(|_| inside(state)) else { return Ok(()) };
    if !ledger.orders.contains_key(&key) || ledger.is_beyond_knowing(&key) {
        return Ok(());
    }
    // What is to be taken out, and is missing, an operator has to end.
    let sought = |order: &OrderTruth| order.missing && order.told.state == Some(OrderState::Recalled);
    let other = ledger.orders.iter().find(|(other, order)| {
        **other != key
            && !ledger.is_beyond_knowing(other)
            && !sought(order)
            && !ledger.swapped.contains(&[key.clone(), (*other).clone()])
            && !ledger.may_lie_together(&key, other)
            && Some(order.at()) == *cab
            && order.told.compartment == Some(compartment)
            && order.told.state.is_some_and(inside)
    });
    ensure(other.is_none(), || format!("the fleet has {key} and {:?} in {compartment}", other.map(|(key, _)| key)))
}

/// In a compartment by the fleet's word.
fn inside(state: OrderState) -> bool {
    use OrderState::{Collecting, Loading, Overdue, Quarantined, Recalled, Stored};
    matches!(state, Loading | Stored | Collecting | Recalled | Overdue | Quarantined)
}

/// An order that was taken stays on record: no schedule is as long as the retention. Only a fleet that once started with a
/// clock that was months off may take an order for one that was finished long ago. The rest of this invariant is judged
/// once everything is quiet.
fn invariant_no_order_lost(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::OrderRemoved { order } => {
            // A put that was refused may be forgotten.
            let Some(truth) = ledger.orders.get(order) else { return Ok(()) };
            let state = truth.told.state;
            let over = ledger.misled && state.is_some_and(OrderState::is_final);
            ensure(over, || format!("the row of order {order}, {state:?}, was removed"))
        }
        _ => Ok(()),
    }
}

fn invariant_collected_once(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::EventWritten { record, .. } = seen else { return Ok(()) };
    let Ok(event) = schemas::cbor::decode::<Event>(record) else { return Ok(()) };
    if let Fact::Deposited(put) = &event.fact {
        // A deposit code is used up when its order is stored. What a cabinet has forgotten may be put in anew, and at another one
        // while the first one has not told of it.
        let before = ledger.orders.get(&put.order).filter(|_| !ledger.is_beyond_knowing(&put.order));
        return ensure(before.is_none_or(|truth| truth.deposited == 0 || truth.moved), || {
            format!("{} is deposited again", put.order)
        });
    }
    let Fact::Collected(taken) = event.fact else { return Ok(()) };
    let before = ledger.collected.get(&taken.order).copied().unwrap_or(0);
    ensure(before == 0, || format!("order {} is collected again", taken.order))
}

/// A cabinet that has lost what it knew may have handed an order out twice: its facts win.
fn invariant_collection_told_once(ledger: &Ledger, seen: &Seen) -> Verdict {
    let collected = |state: OrderState| matches!(state, OrderState::Collected | OrderState::CollectedUnconfirmed);
    let key = match seen {
        Seen::StatusWritten { integration, status, .. } if moves(status) && collected(status.state) => {
            key_of_status(integration, status)
        }
        Seen::PartWritten { order, state, .. } if collected(*state) => {
            let before = ledger.orders.get(order).and_then(|truth| truth.told.state);
            if before.is_some_and(collected) {
                return Ok(());
            }
            order.clone()
        }
        _ => return Ok(()),
    };
    // What an operator has ended may be there after all, and somebody may take it.
    let told = ledger.orders.get(&key).filter(|order| !ledger.is_beyond_knowing(&key) && !order.ended);
    ensure(told.is_none_or(|order| order.told.collected == 0), || {
        format!("the backend hears twice that {key} is collected")
    })
}

fn invariant_notification_only_after_stored_and_book_held(ledger: &Ledger, seen: &Seen) -> Verdict {
    if let Seen::ReminderWritten { order } = seen {
        let told: Vec<_> =
            ledger.parts_of(order).iter().filter_map(|part| Some(&ledger.orders.get(part)?.told)).collect();
        let waits = told.iter().any(|told| told.state == Some(OrderState::Stored) && told.notified > 0);
        let states: Vec<_> = told.iter().map(|told| told.state).collect();
        return ensure(waits, || format!("a reminder of {order}, which is {states:?}"));
    }
    if let Seen::DepositCodeWritten { order, cab, first_book } = seen {
        return deposit_code_only_with_book_held_and_before_stored(ledger, order, *cab, *first_book);
    }
    let (order, cab, first_book, once) = match seen {
        Seen::NotificationWritten { order, cab, first_book } => (order, cab, first_book, true),
        Seen::BundleWritten { order, cab, first_book } => (order, cab, first_book, false),
        _ => return Ok(()),
    };
    let Some(truth) = ledger.orders.get(order) else { return Err(format!("a code for {order}, which nobody put")) };
    ensure(truth.told.was_stored, || format!("a code for {order}, which was never stored"))?;
    // With each end of a bundle an order gets another code.
    let renewed = truth.renewed || truth.told.outdated;
    let first = !once || truth.told.notified == 0 || truth.bundle.is_some() || renewed;
    ensure(first, || format!("a second message with the code of {order}"))?;
    let held = ledger.applied.get(cab).copied().unwrap_or(0);
    // A restored fleet sends the code once more that it has sent before; its cabinet holds it since then. Of a disk that was put
    // back while its cabinet is away nobody can know (ARCHITECTURE.md, Known limits). A bundle that another cabinet completes was
    // perhaps held there before, and told to nobody.
    let unsure = ledger.unsure.contains(cab);
    let again = (first_book.is_none() && truth.renewed || unsure) && truth.told.notified > 0;
    ensure(again || unsure && !once || first_book.is_some_and(|first| first <= held), || {
        format!("the code of {order} is in book {first_book:?}, the cabinet has {held}")
    })
}

fn deposit_code_only_with_book_held_and_before_stored(
    ledger: &Ledger,
    order: &OrderKey,
    cab: Cab,
    first_book: Option<u64>,
) -> Verdict {
    let Some(truth) = ledger.orders.get(order) else { return Err(format!("a deposit code for {order}")) };
    let waits = matches!(truth.told.state, Some(OrderState::Reserved | OrderState::Ready));
    ensure(waits, || format!("a deposit code for {order}, which is {:?}", truth.told.state))?;
    let held = ledger.applied.get(&cab).copied().unwrap_or(0);
    // Its disk may just have been replaced.
    ensure(first_book.is_some_and(|first| first <= held) || ledger.unsure.contains(&cab), || {
        format!("the deposit code of {order} is in book {first_book:?}, the cabinet has {held}")
    })
}

/// Rows are numbered from 1; a consumer gets each in order, and the same again until it acknowledges.
fn invariant_rows_in_order_without_gaps(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::StatusWritten { integration, status, .. } => {
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

/// Five wrong codes lock typing, twenty a day end it; and nobody is turned away who has not used them up.
fn invariant_guess_budget_holds(ledger: &Ledger, seen: &Seen) -> Verdict {
    let none = Guesses::default();
    let of = |cab: &Cab| ledger.guesses.get(cab).unwrap_or(&none);
    match seen {
        Seen::TypedLookedAt { cab, now, .. } => {
            let guesses = of(cab);
            ensure(!guesses.are_locked(*now), || format!("cabinet {cab} looks at a code while typing is locked"))?;
            // With a fleet time that is wrong nobody knows how old a wrong code is.
            ensure(!guesses.are_spent() || ledger.misled, || format!("cabinet {cab} looks at a code: {guesses:?}"))
        }
        Seen::TypingRefused { cab, now, locked: true } => {
            ensure(of(cab).are_locked(*now), || format!("cabinet {cab} says that typing is locked: {:?}", of(cab)))
        }
        Seen::TypingRefused { cab, locked: false, .. } => {
            ensure(of(cab).are_spent(), || format!("cabinet {cab} wants a second part: {:?}", of(cab)))
        }
        _ => Ok(()),
    }
}

/// Whoever ticks more often than asked changes nothing.
fn invariant_early_tick_is_empty(_: &Ledger, seen: &Seen) -> Verdict {
    let Seen::TickedEarly { who, writes, effects } = seen else { return Ok(()) };
    ensure(writes + effects == 0, || {
        format!("a tick before its time makes {who} write {writes} rows, do {effects} things")
    })
}

/// Who has the code of a stored order gets in, with and without a network.
fn invariant_code_works_offline(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::Answered { cab, order, typed, busy, held: known, result } = seen else { return Ok(()) };
    let Some(truth) = ledger.orders.get(order) else { return Ok(()) };
    let held = ledger.place_at(*cab, order).filter(|(_, content)| matches!(content, Content::Stored(_)));
    let Some((place @ (_, compartment), _)) = held else { return Ok(()) };
    let (hindered, busy_with_another) = ledger.hindered_by_others(&place, order);
    if truth.cancelled || truth.retrieved || truth.released || ledger.is_beyond_knowing(order) || truth.ends || !known {
        return Ok(());
    }
    let fine = match result {
        result if ledger.asks_instead(*cab, order, result) => true,
        EntryResult::Opening { compartments } => {
            let theirs = |at: &schemas::messages::Compartment| {
                let parts = ledger.parts_of(order);
                ledger.orders_in(&(*cab, *at)).any(|inside| parts.contains(inside))
            };
            compartments.contains(&compartment) && compartments.iter().all(theirs)
        }
        EntryResult::ReleaseNeeded => is_restricted(order) && !asks_for_more(order),
        // Whether wrong codes explain it is judged by `guess_budget_holds`.
        EntryResult::Locked { .. } | EntryResult::SecondPartNeeded => *typed,
        EntryResult::Refused(EntryRefusal::Busy | EntryRefusal::OutOfService) if ledger.swapping.contains(&place) => {
            true
        }
        EntryResult::Refused(EntryRefusal::Busy) => *busy || busy_with_another,
        EntryResult::Refused(EntryRefusal::OutOfService) => ledger.wrong_doors.contains(&place) || hindered,
        EntryResult::Refused(_)
        | EntryResult::StaffSession { .. }
        | EntryResult::CourierSession { .. }
        | EntryResult::Depositing { .. }
        | EntryResult::AnswerNeeded { .. } => false,
    };
    ensure(fine, || {
        format!("the code of {order}, stored in {compartment} of cabinet {cab}, is answered with {result:?}")
    })
}

fn invariant_store_opens(_: &Ledger, seen: &Seen) -> Verdict {
    let Seen::Opened(opened) = seen else { return Ok(()) };
    opened.clone()
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Ledger {
    /// Once everything is quiet: accepted commands without an outcome.
    pub(super) fn without_outcome(&self) -> Vec<CommandId> {
        self.accepted.keys().filter(|id| !self.outcomes.contains_key(id)).copied().collect()
    }
}
