//! Staff undo a load that was a mistake.

use std::collections::BTreeSet;

use schemas::messages::{BookChange, LoadAborted, Size};

use crate::handover::load;
use crate::world::{World, c1, door, order};

const A1: &str = r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail","recipient":{"phone":"+49 30 1"}}"#;

fn undo(world: &mut World, number: u16) {
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(number) });
}

/// Credentials that the books of the cabinet, one after another, leave in force.
fn live(world: &World) -> usize {
    let mut live = BTreeSet::new();
    for book in &world.cabinets[&c1()].books {
        if book.base == 0 {
            live.clear();
        }
        for change in &book.changes {
            match change {
                BookChange::PutCredential(put) => live.insert(put.id),
                BookChange::DropCredential(drop) => live.remove(&drop.id),
                _ => false,
            };
        }
    }
    live.len()
}

#[test]
fn an_order_whose_load_is_undone_waits_again_and_its_code_is_withdrawn() {
    let mut world = World::new(&[Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    world.settle();
    let first = world.notifications().pop().unwrap();
    assert_eq!(live(&world), 2, "digits and token");
    undo(&mut world, 1);
    world.settle();
    assert_eq!(world.told("shop")[3..], ["A1 ready", "A1 reserved"]);
    assert_eq!(live(&world), 0);
    world.restart();
    world.connect(&c1());
    load(&mut world, "A1", 1);
    world.settle();
    let told = world.notifications();
    assert_eq!(told.len(), 2, "its recipient hears of the other code");
    assert_ne!((&told[1].id, &told[1].code), (&first.id, &first.code));
    assert_eq!(live(&world), 2);
}

#[test]
fn nobody_hears_of_a_load_that_was_undone_before_its_code_was_there() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(A1);
    world.signer_works = false;
    load(&mut world, "A1", 1);
    undo(&mut world, 1);
    world.signer_works = true;
    world.pass(60_000);
    assert_eq!(world.notifications(), []);
    load(&mut world, "A1", 2);
    world.pass(60_000);
    let told: Vec<_> = world.notifications().into_iter().map(|told| told.compartment).collect();
    assert_eq!(told, [Some(door(2))]);
}

#[test]
fn a_recalled_order_is_out_when_its_load_is_undone() {
    let mut world = World::new(&[Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    world.cancel(r#"{"order":"A1"}"#);
    undo(&mut world, 1);
    assert_eq!(world.told("shop").last().unwrap(), "A1 retrieved");
}

#[test]
fn the_window_of_an_order_begins_anew_behind_an_undone_load() {
    let mut world = World::new(&[Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    world.settle();
    undo(&mut world, 1);
    world.pass(80 * 3_600_000);
    assert!(!world.told("shop").contains(&"A1 overdue".to_owned()), "it is not there");
    load(&mut world, "A1", 1);
    world.pass(71 * 3_600_000);
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored");
    world.pass(2 * 3_600_000);
    assert_eq!(world.told("shop").last().unwrap(), "A1 overdue");
}
