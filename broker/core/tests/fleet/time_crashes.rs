//! Reminders, more time, outages and other codes, with a crash at every point: nothing is doubled, nothing forgotten.

use std::collections::BTreeMap;

use fleet_core::{INTENTS, Input};
use schemas::api::{NotificationKind, OrderState, Rfc3339};
use schemas::messages::{BoardHealth, BookChange, CredentialId};
use schemas::step::Store as _;
use schemas::topics::OrderChange;

use crate::time::{HOUR, last, stored};
use crate::world::{START, World, c1, shop, tenant};

/// The process starts again after a crash, and the cabinet comes back.
fn alive(world: &mut World) -> bool {
    let crashed = world.crashed;
    if crashed {
        world.restart();
        world.connect(&c1());
    }
    !crashed
}

/// A publisher repeats what was not acknowledged.
fn ask(world: &mut World, change: OrderChange, json: &str) {
    loop {
        let payload = json.as_bytes().to_vec();
        world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload });
        if alive(world) {
            return;
        }
    }
}

fn wait(world: &mut World, hours: u64) {
    world.now += hours * HOUR;
    while world.core.poll_timeout().is_some_and(|at| at <= world.now) {
        world.handle(Input::Tick);
        alive(world);
    }
}

fn board(world: &mut World, answering: bool) {
    world.fact(&c1(), BoardHealth { board: 1, answering });
    alive(world);
}

fn story(world: &mut World) {
    wait(world, 25);
    ask(world, OrderChange::Extend, &format!(r#"{{"order":"A17","until":"{}"}}"#, Rfc3339(START + 100 * HOUR)));
    board(world, false);
    wait(world, 2);
    board(world, true);
    ask(world, OrderChange::Reissue, r#"{"order":"A17"}"#);
    wait(world, 1);
}

/// What a cabinet would hold after all books that it got, as PROTOCOL.md says.
fn held(world: &mut World) -> Vec<(u32, Option<u64>)> {
    let mut held: BTreeMap<CredentialId, (u32, Option<u64>)> = BTreeMap::new();
    for book in &world.cabinet(&c1()).books {
        if book.base == 0 {
            held.clear();
        }
        for change in &book.changes {
            match change {
                BookChange::PutCredential(put) => {
                    held.retain(|_, (generation, _)| *generation >= put.generation);
                    held.insert(put.id, (put.generation, put.expires.map(|expires| expires - START)));
                }
                BookChange::DropCredential(gone) => {
                    held.remove(&gone.id);
                }
                _ => {}
            }
        }
    }
    held.into_values().collect()
}

fn check(world: &mut World, what: &str) {
    let (state, _, until) = last(world);
    assert_eq!((state, until), (OrderState::Stored, Some(102 * HOUR)), "{what}");
    let told = world.notifications();
    let kinds: Vec<_> = told.iter().map(|one| one.kind).collect();
    let [first, reminder, others @ ..] = kinds.as_slice() else { panic!("{what}: {kinds:?}") };
    assert_eq!((*first, *reminder), (NotificationKind::PickupCode, NotificationKind::Reminder), "{what}");
    // Asked for once more where the first wish was on disk before the crash and not acknowledged.
    assert!((1..=2).contains(&others.len()), "{what}: {kinds:?}");
    assert!(others.iter().all(|kind| *kind == NotificationKind::PickupCode), "{what}: {kinds:?}");
    let generation = u32::try_from(1 + others.len()).unwrap();
    assert_eq!(held(world), [(generation, Some(102 * HOUR)); 2], "{what}");
    assert!(told.iter().skip(2).all(|one| one.code != told[0].code), "{what}");
    assert!(world.store.rows(INTENTS).unwrap().is_empty(), "{what}: intents are left");
    world.pass(100 * HOUR);
    assert_eq!(last(world), (OrderState::Overdue, 102 * HOUR, Some(102 * HOUR)), "{what}");
    let reminders = world.notifications().iter().filter(|one| one.kind == NotificationKind::Reminder).count();
    assert_eq!(reminders, 3, "{what}: one of the first window, two of the time that was left");
}

#[test]
fn a_crash_after_any_commit_doubles_and_forgets_nothing_that_time_does() {
    let mut whole = stored("pharmacy");
    let before = whole.handled;
    story(&mut whole);
    let commits = before..whole.handled;
    check(&mut whole, "without a crash");
    assert!(commits.len() >= 8, "the story is too short to be of use");
    for commit in commits {
        let mut world = stored("pharmacy");
        world.crash_after = Some(commit);
        story(&mut world);
        check(&mut world, &format!("crash after commit {commit}"));
    }
}

#[test]
fn a_step_of_time_that_was_cut_between_order_and_cabinet_converges() {
    let mut whole = stored("pharmacy");
    let inputs = whole.handled..{
        story(&mut whole);
        whole.handled
    };
    let mut tried = 0;
    for input in inputs {
        for cut in 0.. {
            let mut world = stored("pharmacy");
            world.cut_at = Some((input, cut));
            story(&mut world);
            // A restart has taken the wish for a cut away.
            if world.cut_at.is_some() {
                break;
            }
            tried += 1;
            check(&mut world, &format!("input {input} cut at {cut}"));
        }
    }
    assert!(tried >= 8, "only {tried} cuts were tried");
}
