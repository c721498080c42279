//! Restricted goods: what the cabinets are told of orders that staff have to release.

use fleet_core::Input;
use schemas::api::{Reply, Request};
use schemas::messages::*;
use schemas::topics::OrderChange;

use crate::books::books;
use crate::handover::load;
use crate::world::{World, c1, door, order, shop, tenant};

fn put(world: &mut World, id: &str, restricted: bool) {
    world.put(&format!(
        r#"{{"order":"{id}","cabinet":"c1","size":"S","category":"pharmacy","staff_release":{restricted}}}"#
    ));
}

/// The credentials of the newest book that names an order: how many are guarded for it, how many open it alone.
fn credentials(world: &World, id: &str) -> (usize, usize) {
    let (mut guarded, mut alone) = (Vec::new(), Vec::new());
    for change in books(world).iter().flat_map(|book| &book.changes) {
        match change {
            BookChange::PutGuarded(put) if put.guarded.contains(&order(id)) => guarded.push(put.credential.id),
            BookChange::PutGuarded(PutGuarded { credential: put, .. }) | BookChange::PutCredential(put)
                if put.orders.contains(&order(id)) =>
            {
                alone.push(put.id);
            }
            _ => {}
        }
    }
    for ids in [&mut guarded, &mut alone] {
        ids.sort_unstable();
        ids.dedup();
    }
    (guarded.len(), alone.len())
}

#[test]
fn no_credential_of_a_restricted_order_opens_it_alone_whatever_becomes_of_it() {
    let mut world = World::new(&[Size::S; 3]);
    put(&mut world, "A1", true);
    put(&mut world, "A2", false);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    assert_eq!((credentials(&world, "A1"), credentials(&world, "A2")), ((2, 0), (0, 2)));
    assert_eq!(world.notifications().len(), 2);
    // Another code, another pepper, a restart and a whole book.
    let payload = br#"{"order":"A1"}"#.to_vec();
    let (tenant, integration, change) = (tenant(), shop(), OrderChange::Reissue);
    world.handle(Input::OrderChange { tenant, integration, change, payload });
    world.restart();
    world.connect(&c1());
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(2);
    world.cabinet(&c1()).books.clear();
    world.connect(&c1());
    assert_eq!((credentials(&world, "A1"), credentials(&world, "A2")), ((2, 0), (0, 2)));
    let peppers = books(&world).iter().flat_map(|book| &book.changes).filter_map(|change| match change {
        BookChange::PutGuarded(put) => Some(put.credential.pepper),
        _ => None,
    });
    assert!(peppers.into_iter().all(|pepper| pepper == 2));
}

#[test]
fn a_bundle_guards_its_restricted_orders_and_opens_the_others() {
    let mut world = World::new(&[Size::S; 3]);
    put(&mut world, "A1", true);
    put(&mut world, "A2", false);
    let payload = br#"{"bundle":"run-7","orders":["A1","A2"],"recipient":{"phone":"driver"}}"#.to_vec();
    let (tenant, integration, change) = (tenant(), shop(), OrderChange::Bundle);
    world.handle(Input::OrderChange { tenant, integration, change, payload });
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    let last = books(&world).iter().flat_map(|book| &book.changes).rev().find_map(|change| match change {
        BookChange::PutGuarded(put) => Some(put.clone()),
        _ => None,
    });
    let last = last.expect("the bundle's credential is guarded");
    assert_eq!((last.credential.orders, last.guarded), (vec![order("A1"), order("A2")], vec![order("A1")]));
}

#[test]
fn the_same_id_with_another_word_about_release_is_other_content() {
    let mut world = World::new(&[Size::S; 3]);
    put(&mut world, "A1", true);
    put(&mut world, "A1", true);
    put(&mut world, "A1", false);
    let told = world.told("shop");
    assert_eq!(told.last().unwrap(), "A1 rejected other_content", "{told:?}");
    assert_eq!(told.iter().filter(|told| told.contains("rejected")).count(), 1);
    let payload = br#"{"order":"A1","change":{"size":"S","hold_minutes":60}}"#.to_vec();
    let (tenant, integration, change) = (tenant(), shop(), OrderChange::Content);
    world.handle(Input::OrderChange { tenant, integration, change, payload });
    load(&mut world, "A1", 1);
    assert_eq!(credentials(&world, "A1"), (2, 0), "a change of something else leaves it restricted");
}

#[test]
fn a_release_is_in_the_record_of_events_and_changes_nothing_by_itself() {
    let mut world = World::new(&[Size::S]);
    put(&mut world, "A1", true);
    load(&mut world, "A1", 1);
    let rows = world.statuses("shop").len();
    let (credential, staff) = (CredentialId([9; 8]), "sam".parse().unwrap());
    world.fact(&c1(), Released { order: order("A1"), compartment: door(1), credential, staff });
    assert_eq!(world.statuses("shop").len(), rows);
}

#[test]
fn who_looks_at_an_order_sees_that_staff_release_it() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1", true);
    put(&mut world, "A2", false);
    let seen =
        |world: &mut World, id: &str| match world.ask("support:acme:sue", &Request::OrderShow { order: order(id) }) {
            Some(Reply::Order(detail)) => detail.staff_release,
            other => panic!("{other:?}"),
        };
    assert!(seen(&mut world, "A1") && !seen(&mut world, "A2"));
}
