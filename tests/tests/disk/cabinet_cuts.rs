//! A cabinet that loads, opens and hands out, and loses power at every operation of its disk.

use std::collections::BTreeMap;

use cabinet_core::{EVENTS, Input, TABLES, event_key};
use fleet_store::RedbStore;
use schemas::messages::{Fact, OrderKey};
use schemas::step::{Store as _, StoreError};

use crate::cabinet::{Cabinet, Progress, Promise};
use crate::forgetful::{Chance, Fault, Honesty, Kept};
use crate::witness::{Witness, images_wanted, open_image};

const ORDERS: [&str; 4] = ["A1", "A2", "A3", "A4"];

/// A cabinet on a new disk, with power.
fn started(seed: u64, honesty: Honesty) -> Cabinet<Witness> {
    let mut witness = Witness::new(&TABLES, honesty, seed);
    witness.open();
    Cabinet::start(witness, 1).unwrap()
}

/// Loading, pickups with and without a network, a remote unlock, a second book, an order taken back.
fn live(cabinet: &mut Cabinet<Witness>, seed: u64) -> Result<(), StoreError> {
    let mut chance = Chance(seed);
    cabinet.connect()?;
    cabinet.doors_closed()?;
    cabinet.send_book(&ORDERS[..3])?;
    cabinet.staff(&ORDERS[..3], None)?;
    let mut waiting = ORDERS[..3].to_vec();
    cabinet.pick_up(waiting.remove(chance.below(3)))?;
    cabinet.remote_unlock(5)?;
    let newest = cabinet.facts().len() as u64;
    cabinet.send(Input::EventsAcked { up_to: newest })?;
    cabinet.send(Input::Disconnected)?;
    cabinet.pick_up(waiting.remove(chance.below(2)))?;
    cabinet.connect()?;
    cabinet.send_book(&ORDERS[3..])?;
    cabinet.staff(&ORDERS[3..], waiting.pop().filter(|_| seed.is_multiple_of(2)))
}

fn day(seed: u64, honesty: Honesty) -> Cabinet<Witness> {
    let mut cabinet = started(seed, honesty);
    live(&mut cabinet, seed).unwrap();
    cabinet.store.close();
    cabinet
}

/// How far each order had certainly come before this operation. None for an order that was on its way.
fn orders_at(cabinet: &Cabinet<Witness>, operation: usize) -> BTreeMap<&OrderKey, Option<Progress>> {
    let (done, under_way) = cabinet.store.commits_at(operation);
    let mut orders = BTreeMap::new();
    for (step, order, progress) in &cabinet.orders {
        if *step < done && *progress != Progress::Leaving {
            orders.insert(order, Some(*progress));
        } else if *step < done || (*step == done && under_way) {
            orders.insert(order, None);
        }
    }
    orders
}

/// Opens the core on the image and compares it with what had been promised before `operation`.
fn keeps_promises(day: &Cabinet<Witness>, operation: usize, store: RedbStore) -> Result<(), String> {
    let failed = |error: StoreError| error.to_string();
    let (done, _) = day.store.commits_at(operation);
    let mut cabinet = Cabinet::start(store, 2)?;
    cabinet.doors_closed().map_err(failed)?;
    cabinet.wait(120_000).map_err(failed)?;
    if cabinet.pulses > 0 {
        return Err("a start pulses a lock".into());
    }
    cabinet.connect().map_err(failed)?;
    let hello = cabinet.hello.clone().unwrap();
    let facts = cabinet.facts();
    for (_, promise) in day.promises.iter().filter(|(step, _)| *step < done) {
        let kept = match promise {
            Promise::Event { n, record } => {
                let row = cabinet.store.scan(EVENTS, &event_key(*n), 1).unwrap();
                hello.newest >= *n && row.first() == Some(&(event_key(*n), record.clone()))
            }
            Promise::Book(version) => hello.book >= *version,
            Promise::Accepted(id) => {
                facts.iter().filter(|fact| matches!(fact, Fact::UnlockDone(done) if done.id == *id)).count() == 1
            }
        };
        if !kept {
            return Err(format!("{promise:?} is not kept"));
        }
    }
    for (order, progress) in orders_at(day, operation) {
        let expected = match progress {
            Some(Progress::Stored { compartment }) => Some(compartment),
            Some(Progress::Leaving | Progress::Gone) => None,
            None => continue,
        };
        let opened = cabinet.opens(order.order.as_str()).map_err(failed)?;
        if opened != expected {
            return Err(format!("the code of {order} opens {opened:?}, not {expected:?}"));
        }
    }
    Ok(())
}

fn explore(seed: u64, honesty: Honesty) -> Result<usize, String> {
    let day = day(seed, honesty);
    day.store.cut_power_everywhere(seed, 17, |operation, store| keeps_promises(&day, operation, store))
}

#[test]
fn a_cabinet_that_loses_power_at_any_moment_keeps_its_events_commands_books_and_goods() {
    let wanted = images_wanted(1_000);
    let (mut images, mut seed) = (0, 0);
    while images < wanted {
        seed += 1;
        images += explore(seed, Honesty::Honest).unwrap();
    }
    println!("{images} images of power cuts in {seed} days of a cabinet");
}

/// The disk fails once; the shell throws the core away and opens the store and the core again.
fn with_fault(seed: u64, operation: usize, fault: Fault) -> Result<bool, String> {
    let mut cabinet = started(seed, Honesty::Honest);
    cabinet.store.disk().fail_at(cabinet.store.disk().operations() + operation, fault);
    let failed = live(&mut cabinet, seed).is_err();
    if failed {
        let under_way = cabinet.store.disk().operations();
        let image = cabinet.store.disk().cut_power(Kept::Some);
        let store = open_image(image).map_err(|broken| broken.to_string())?;
        keeps_promises(&cabinet, under_way, store)?;
        cabinet.store.recover().map_err(|broken| broken.to_string())?;
    }
    cabinet.store.close();
    if !cabinet.store.is_kept().map_err(|broken| broken.to_string())? {
        return Err("rows are gone".into());
    }
    assert!(cabinet.store.disk().has_failed(), "nothing failed at {operation}");
    Ok(failed)
}

#[test]
fn a_cabinet_whose_disk_fails_keeps_what_it_promised_when_it_is_opened_again() {
    let before = started(1, Honesty::Honest).store.disk().operations();
    let operations = day(1, Honesty::Honest).store.disk().operations() - before;
    let mut failures = 0;
    for operation in (0..operations).step_by(9) {
        for fault in [Fault::Io, Fault::NoRoom] {
            let failed = with_fault(1, operation, fault);
            let failed = failed.unwrap_or_else(|broken| panic!("{fault:?} at operation {operation}: {broken}"));
            failures += usize::from(failed);
        }
    }
    assert!(failures > operations / 9, "only {failures} of the failures were noticed");
    println!("{failures} failures of a cabinet's disk");
}

#[test]
fn a_cabinet_on_a_disk_that_only_pretends_to_sync_is_found() {
    explore(1, Honesty::Lies).unwrap_err();
    explore(2, Honesty::HalfTrue).unwrap_err();
}

/// The rows being right does not satisfy the check of the core: this cabinet is one whole commit behind its word.
#[test]
fn a_cabinet_that_is_a_commit_behind_its_promises_is_found() {
    let day = day(1, Honesty::Honest);
    let end = day.store.disk().operations();
    let (later, _) = day.store.commits_at(end);
    let mut found = 0;
    for (operation, mut medium) in day.store.disk().replay(0, end / 20) {
        let (done, _) = day.store.commits_at(operation);
        if done + 12 < later && done > 0 {
            let store = open_image(medium.after_power_cut(Kept::Nothing)).unwrap();
            found += usize::from(keeps_promises(&day, end, store).is_err());
        }
    }
    assert!(found >= 10, "only {found} of the old images were found");
}
