//! Two stored orders change places.

use schemas::api::Reply;
use schemas::ids::Name;
use schemas::messages::{AuditRequired, Audited, CredentialId, Finding, Found, Reported, Size, Swapped};

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

fn found(world: &mut World, id: &str, at: u16, from: Option<u16>) {
    let staff = "sam".parse().unwrap();
    world.fact(&c1(), Found { order: order(id), compartment: door(at), from: from.map(door), staff });
}

#[test]
fn an_order_that_staff_have_found_elsewhere_is_booked_there_with_the_same_code() {
    let mut world = stored();
    let staff: Name = "sam".parse().unwrap();
    // The other one lay where it was booked before: found as well, one after the other.
    let missing = |at, id| Audited {
        compartment: door(at),
        staff: staff.clone(),
        found: Finding::Missing,
        order: Some(order(id)),
    };
    world.fact(&c1(), missing(2, "A2"));
    found(&mut world, "A1", 2, Some(1));
    world.fact(&c1(), AuditRequired { compartment: door(1), order: None });
    assert_eq!(shown(&mut world), [(None, true), (Some("shop/A1".to_owned()), false)]);
    found(&mut world, "A2", 1, None);
    world.settle();
    world.restart();
    assert_eq!(shown(&mut world), [(Some("shop/A2".to_owned()), false), (Some("shop/A1".to_owned()), false)]);
    let rows = world.statuses("shop");
    let of = |id: &str| -> Vec<_> {
        let rows = rows.iter().filter(|row| row.order.as_str() == id);
        rows.map(|row| (row.state.to_string(), row.compartment)).skip_while(|(state, _)| state != "stored").collect()
    };
    let at = |state: &str, number| (state.to_owned(), Some(door(number)));
    assert_eq!(of("A1"), [at("stored", 1), at("stored", 2)]);
    assert_eq!(of("A2"), [at("stored", 2), at("disputed", 2), at("stored", 1)]);
    assert_eq!(world.notifications().len(), 2, "the same codes, told once");
}

#[test]
fn an_order_that_was_only_waiting_is_stored_where_staff_have_found_it_and_its_code_told() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(A1);
    found(&mut world, "A1", 2, None);
    world.settle();
    assert_eq!(shown(&mut world)[1].0.as_deref(), Some("shop/A1"));
    let told = world.notifications();
    assert!(told.len() == 1 && told[0].compartment == Some(door(2)), "{told:?}");
}

#[test]
fn a_complaint_ends_when_staff_have_found_the_order_behind_another_door() {
    let mut world = stored();
    let reported = Reported { order: order("A1"), credential: CredentialId([1; 8]), compartment: Some(door(1)) };
    world.fact(&c1(), reported);
    found(&mut world, "A1", 2, Some(1));
    let rows = world.statuses("shop");
    let last = rows.iter().rfind(|row| row.order.as_str() == "A1").map(|row| (row.state.to_string(), row.compartment));
    assert_eq!(last, Some(("stored".to_owned(), Some(door(2)))));
}
