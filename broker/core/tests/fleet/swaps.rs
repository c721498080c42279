//! Two stored orders change places.

use schemas::api::Reply;
use schemas::messages::{AuditRequired, Size, Swapped};

use crate::handover::load;
use crate::world::{World, c1, door, order};

const A1: &str = r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#;
const A2: &str = r#"{"order":"A2","cabinet":"c1","size":"S","category":"retail"}"#;

fn stored() -> World {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(A1);
    world.put(A2);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    world.settle();
    world
}

fn swap(world: &mut World) {
    let staff = "sam".parse().unwrap();
    let (one, other) = (order("A1"), order("A2"));
    world.fact(&c1(), Swapped { one, one_in: door(2), other, other_in: door(1), staff });
}

fn shown(world: &mut World) -> Vec<(Option<String>, bool)> {
    let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
    let Some(Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
    shown.compartments.into_iter().map(|one| (one.order.map(|order| order.to_string()), one.audit_required)).collect()
}

#[test]
fn the_fleet_and_the_backend_learn_where_each_order_is_now() {
    let mut world = stored();
    for at in [1, 2] {
        let id = order(if at == 1 { "A1" } else { "A2" });
        world.fact(&c1(), AuditRequired { compartment: door(at), order: Some(id) });
    }
    swap(&mut world);
    world.restart();
    let expected = [(Some("shop/A2".to_owned()), false), (Some("shop/A1".to_owned()), false)];
    assert_eq!(shown(&mut world), expected);
    let rows = world.statuses("shop");
    let last: Vec<_> = rows[rows.len() - 2..]
        .iter()
        .map(|row| (row.order.to_string(), row.state.to_string(), row.compartment))
        .collect();
    let stored = || "stored".to_owned();
    assert_eq!(last, [("A1".to_owned(), stored(), Some(door(2))), ("A2".to_owned(), stored(), Some(door(1)))]);
    assert_eq!(world.notifications().len(), 2, "the same codes, told once");
}

#[test]
fn a_reminder_behind_a_swap_names_the_door_where_the_order_is() {
    let mut world = stored();
    swap(&mut world);
    world.pass(37 * 3_600_000);
    let mut told: Vec<_> =
        world.notifications().into_iter().skip(2).map(|told| (told.order.to_string(), told.compartment)).collect();
    told.sort();
    assert_eq!(told, [("A1".to_owned(), Some(door(2))), ("A2".to_owned(), Some(door(1)))]);
}

#[test]
fn a_recalled_order_that_changed_places_is_still_recalled() {
    let mut world = stored();
    world.cancel(r#"{"order":"A1"}"#);
    swap(&mut world);
    let rows = world.statuses("shop");
    let last = rows.iter().rfind(|row| row.order.to_string() == "A1").unwrap();
    assert_eq!((last.state.to_string().as_str(), last.compartment), ("recalled", Some(door(2))));
}
