//! A fleet that takes orders, hears of their way and opens a door, and loses power at every operation of its disk.

use std::collections::BTreeMap;

use fleet_core::{
    BOOK, BOOKED, CABINETS, COMMANDS, COMPARTMENTS, EVENTS, IDENTITIES, INTENTS, KEYSETS, META, ORDERS, PROGRESS, SAID,
    STAFF, STAFF_AT, STREAM, STREAMS, UNLOCKS,
};
use fleet_store::RedbStore;
use schemas::api::OrderState;
use schemas::messages::{Collected, Fact, Stored};
use schemas::step::{StoreError, Table};
use schemas::topics::Stream;

use crate::fleet::{FakeCabinet, Fleet, Promise};
use crate::forgetful::{Chance, Fault, Honesty, Kept};
use crate::witness::{Witness, images_wanted, open_image};

const TABLES: [Table; 18] = [
    META,
    ORDERS,
    CABINETS,
    COMPARTMENTS,
    BOOK,
    BOOKED,
    PROGRESS,
    COMMANDS,
    EVENTS,
    IDENTITIES,
    INTENTS,
    KEYSETS,
    SAID,
    STAFF,
    STAFF_AT,
    STREAM,
    STREAMS,
    UNLOCKS,
];
const START: u64 = 1_795_378_500_000;

/// A fleet on a new disk.
fn started(seed: u64, honesty: Honesty) -> Fleet<Witness> {
    let mut witness = Witness::new(&TABLES, honesty, seed);
    witness.open();
    Fleet::start(witness, START, FakeCabinet::default()).unwrap()
}

/// Orders on their way through a cabinet, some of it while the cabinet is away, and a remote unlock.
fn live(fleet: &mut Fleet<Witness>, seed: u64) -> Result<(), StoreError> {
    let mut chance = Chance(seed);
    fleet.add_cabinet()?;
    fleet.connect()?;
    for id in ["A1", "A2", "A3"] {
        fleet.put(id)?;
    }
    let first = 1 + chance.below(3);
    for n in [first, 1 + first % 3] {
        fleet.load(&format!("A{n}"), n as u16)?;
    }
    fleet.take_rows(Stream::Status)?;
    fleet.unlock(4)?;
    fleet.revoke("support:acme:ben")?;
    fleet.disconnect()?;
    fleet.pass(5_000)?;
    fleet.put("A4")?;
    fleet.put("A1")?;
    fleet.collect(&format!("A{first}"), first as u16)?;
    fleet.connect()?;
    fleet.take_rows(Stream::Notifications)?;
    fleet.put("A5")?;
    fleet.pass(60_000)
}

fn day(seed: u64, honesty: Honesty) -> Fleet<Witness> {
    let mut fleet = started(seed, honesty);
    live(&mut fleet, seed).unwrap();
    fleet.store.close();
    fleet
}

/// Opens the core on the image and compares it with what had been promised before `operation`.
fn keeps_promises(day: &Fleet<Witness>, operation: usize, store: RedbStore) -> Result<(), String> {
    let failed = |error: StoreError| error.to_string();
    let (done, _) = day.store.commits_at(operation);
    let promises = || day.promises.iter().filter(|(step, _)| *step < done).map(|(_, promise)| promise);
    let cabinet = day.cabinets.get(done).unwrap_or(&day.cabinet).clone();
    let told = cabinet.facts.len() as u64;
    let facts = cabinet.facts.clone();
    let mut fleet = Fleet::start(store, START + 120_000, cabinet)?;
    for promise in promises() {
        let kept = match promise {
            Promise::Rows(stream, n) => fleet.newest(*stream).1 >= *n,
            Promise::Known => fleet.knows_cabinet().map_err(failed)?,
            Promise::Order(id) => fleet.state_of(id).map_err(failed)?.is_some(),
            Promise::Revoked(identity) => fleet.has_revoked(identity),
            Promise::Events(_) => true,
        };
        if !kept {
            return Err(format!("{promise:?} is not kept"));
        }
    }
    if !fleet.knows_cabinet().map_err(failed)? {
        return Ok(());
    }
    fleet.connect().map_err(failed)?;
    let heard = fleet.welcomed.ok_or("the cabinet is not welcome")?;
    if heard > told {
        return Err(format!("event {heard} is on disk, of {told}"));
    }
    if let Some(promise) = promises().find(|promise| matches!(promise, Promise::Events(n) if *n > heard)) {
        return Err(format!("{promise:?} is not kept: the fleet wants more than {heard}"));
    }
    fleet.pass(60_000).map_err(failed)?;
    for (id, expected) in states(&facts) {
        let state = fleet.state_of(&id).map_err(failed)?;
        if state != Some(expected) {
            return Err(format!("{id} is {state:?}, and its cabinet says {expected:?}"));
        }
    }
    Ok(())
}

/// What a cabinet says about its orders.
fn states(facts: &[Fact]) -> BTreeMap<String, OrderState> {
    let mut states = BTreeMap::new();
    for fact in facts {
        if let Fact::Stored(Stored { order, .. }) = fact {
            states.insert(order.order.to_string(), OrderState::Stored);
        }
        if let Fact::Collected(Collected { order, .. }) = fact {
            states.insert(order.order.to_string(), OrderState::Collected);
        }
    }
    states
}

fn explore(seed: u64, honesty: Honesty) -> Result<usize, String> {
    let day = day(seed, honesty);
    day.store.cut_power_everywhere(seed, 11, |operation, store| keeps_promises(&day, operation, store))
}

#[test]
fn a_fleet_that_loses_power_at_any_moment_keeps_orders_events_and_rows() {
    let wanted = images_wanted(1_000);
    let (mut images, mut seed) = (0, 0);
    while images < wanted {
        seed += 1;
        images += explore(seed, Honesty::Honest).unwrap();
    }
    println!("{images} images of power cuts in {seed} days of a fleet");
}

/// The disk fails once; the shell throws the core away and opens the store and the core again.
fn with_fault(seed: u64, operation: usize, fault: Fault) -> Result<bool, String> {
    let mut fleet = started(seed, Honesty::Honest);
    fleet.store.disk().fail_at(fleet.store.disk().operations() + operation, fault);
    let failed = live(&mut fleet, seed).is_err();
    if failed {
        let under_way = fleet.store.disk().operations();
        let store = open_image(fleet.store.disk().cut_power(Kept::Some)).map_err(|broken| broken.to_string())?;
        keeps_promises(&fleet, under_way, store)?;
        fleet.store.recover().map_err(|broken| broken.to_string())?;
    }
    fleet.store.close();
    if !fleet.store.is_kept().map_err(|broken| broken.to_string())? {
        return Err("rows are gone".into());
    }
    assert!(fleet.store.disk().has_failed(), "nothing failed at {operation}");
    Ok(failed)
}

#[test]
fn a_fleet_whose_disk_fails_keeps_what_it_promised_when_it_is_opened_again() {
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
    println!("{failures} failures of a fleet's disk");
}

#[test]
fn a_fleet_on_a_disk_that_only_pretends_to_sync_is_found() {
    explore(1, Honesty::Lies).unwrap_err();
    explore(2, Honesty::HalfTrue).unwrap_err();
}

/// The rows being right does not satisfy the check of the core: this fleet is some whole commits behind its word.
#[test]
fn a_fleet_that_is_some_commits_behind_its_promises_is_found() {
    let day = day(1, Honesty::Honest);
    let end = day.store.disk().operations();
    let mut found = 0;
    for (_, mut medium) in day.store.disk().replay(0, end / 12).take(10) {
        let store = open_image(medium.after_power_cut(Kept::Nothing)).unwrap();
        found += usize::from(keeps_promises(&day, end, store).is_err());
    }
    assert_eq!(found, 10, "not every old image was found");
}
