//! Reminders, more time, outages and other codes, with a crash at every point: nothing is doubled, nothing forgotten.

use std::collections::BTreeMap;

use fleet_core::Input;
use schemas::api::{NotificationKind, OrderState, Rfc3339};
use schemas::messages::{BoardHealth, BookChange, CredentialId};
use schemas::topics::OrderChange;

use crate::interrupted::{everywhere, insist, survived};
use crate::time::{HOUR, last, stored};
use crate::world::{START, World, c1, shop, tenant};

fn ask(world: &mut World, change: OrderChange, json: &str) {
    insist(world, |world| {
        let payload = json.as_bytes().to_vec();
        world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload });
    });
}

fn wait(world: &mut World, hours: u64) {
    world.now += hours * HOUR;
    while world.core.poll_timeout().is_some_and(|at| at <= world.now) {
        world.handle(Input::Tick);
        survived(world);
    }
}

fn board(world: &mut World, answering: bool) {
    world.fact(&c1(), BoardHealth { board: 1, answering });
    survived(world);
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
    world.pass(100 * HOUR);
    assert_eq!(last(world), (OrderState::Overdue, 102 * HOUR, Some(102 * HOUR)), "{what}");
    let reminders = world.notifications().iter().filter(|one| one.kind == NotificationKind::Reminder).count();
    assert_eq!(reminders, 3, "{what}: one of the first window, two of the time that was left");
}

#[test]
fn a_crash_after_any_commit_or_between_order_and_cabinet_doubles_and_forgets_nothing_that_time_does() {
    let tried = everywhere(|| stored("pharmacy"), story, check);
    assert!(tried.commits >= 8 && tried.cuts >= 8, "{tried:?}");
}
