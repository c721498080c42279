//! Orders for whichever cabinet of a site has room, and orders that go to another cabinet.

use fleet_core::{Effect, Input};
use schemas::api::{OrderState, Reply, Request, RequestErrorCode};
use schemas::ids::CabinetId;
use schemas::messages::{BookChange, Loading, OrderKey, Size, Stored, StoredBy};
use schemas::topics::OrderChange;

use crate::interrupted::{everywhere, insist};
use crate::world::{FakeCabinet, World, c1, door, order, refusal, shop, tenant};

fn named(id: &str) -> CabinetId {
    id.parse().unwrap()
}

/// Cabinets of the site `mall` with these compartments, all connected.
fn site(sizes: &[(&str, &[Size])]) -> World {
    let mut world = World::empty();
    for (id, sizes) in sizes {
        world.add(FakeCabinet::new(id, sizes));
        world.connect(&named(id));
    }
    world
}

fn put(world: &mut World, id: &str, size: &str) -> Vec<Effect> {
    world.put(&format!(r#"{{"order":"{id}","site":"mall","size":"{size}","category":"retail"}}"#))
}

fn send(world: &mut World, id: &str, to: &str) -> Vec<Effect> {
    let payload = format!(r#"{{"order":"{id}","to":"{to}"}}"#).into_bytes();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change: OrderChange::Move, payload })
}

/// State of the newest row, and where it says that the order is.
fn last(world: &World) -> (OrderState, String) {
    let row = world.statuses("shop").pop().unwrap();
    (row.state, row.cabinet.map_or_else(String::new, |cabinet| cabinet.to_string()))
}

/// Orders that a cabinet's book lets staff load.
fn booked(world: &World, cabinet: &str) -> Vec<OrderKey> {
    let mut held: Vec<OrderKey> = Vec::new();
    for change in world.cabinets[&named(cabinet)].books.iter().flat_map(|book| &book.changes) {
        match change {
            BookChange::PutOrder(put) if !held.contains(&put.order) => held.push(put.order.clone()),
            BookChange::DropOrder(gone) => held.retain(|order| *order != gone.order),
            _ => {}
        }
    }
    held
}

fn load(world: &mut World, cabinet: &str, id: &str) {
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    let cabinet = named(cabinet);
    world.fact(&cabinet, Loading { order: order(id), compartment: door(1), staff: staff.clone() });
    world.fact(&cabinet, Stored { order: order(id), compartment: door(1), by: StoredBy::Sensor, staff });
}

#[test]
fn the_cabinets_of_a_site_are_asked_one_after_another_until_one_has_room() {
    let mut world = site(&[("c1", &[Size::S, Size::S]), ("c2", &[Size::L])]);
    put(&mut world, "A1", "L");
    assert_eq!((last(&world), world.statuses("shop").len()), ((OrderState::Reserved, "c2".into()), 1));
    assert_eq!((booked(&world, "c1"), booked(&world, "c2")), (vec![], vec![order("A1")]));
    put(&mut world, "A2", "L");
    assert_eq!(world.told("shop").last().unwrap(), "A2 rejected no_fitting_compartment");
    world.cancel(r#"{"order":"A1"}"#);
    put(&mut world, "A2", "L");
    assert_eq!(last(&world), (OrderState::Reserved, "c2".into()), "put again, all of them are asked again");
    put(&mut world, "A2", "L");
    assert_eq!(last(&world), (OrderState::Reserved, "c2".into()), "the same again is nothing");
}

#[test]
fn a_connected_cabinet_is_asked_before_one_that_is_not_and_the_emptier_before_the_fuller() {
    let mut world = site(&[("c1", &[Size::M; 3]), ("c2", &[Size::M; 2]), ("c3", &[Size::M])]);
    world.disconnect(&c1());
    put(&mut world, "A1", "M");
    assert_eq!(last(&world).1, "c2");
    put(&mut world, "A2", "M");
    assert_eq!(last(&world).1, "c2", "as many as c3, and named before");
    put(&mut world, "A3", "M");
    assert_eq!(last(&world).1, "c3");
    put(&mut world, "A4", "M");
    assert_eq!(last(&world).1, "c1", "better later than not at all");
}

#[test]
fn a_site_without_cabinets_and_an_order_for_nowhere_are_refused() {
    let mut world = site(&[("c1", &[Size::M])]);
    world.put(r#"{"order":"A1","site":"harbour","size":"M","category":"retail"}"#);
    assert_eq!(world.told("shop"), ["A1 rejected unknown_site"]);
    for place in ["", r#""site":"mall","cabinet":"c1","#] {
        let effects = world.put(&format!(r#"{{"order":"A1",{place}"size":"M","category":"retail"}}"#));
        assert!(refusal(&effects).contains("name one of them"), "{effects:?}");
    }
    put(&mut world, "A1", "M");
    assert_eq!(last(&world), (OrderState::Reserved, "c1".into()), "it was never an order");
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected other_content", "for the site is not for the cabinet");
}

#[test]
fn an_order_that_is_not_loaded_goes_to_another_cabinet_that_has_room() {
    let mut world = site(&[("c1", &[Size::M]), ("c2", &[Size::M]), ("c3", &[Size::S])]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#);
    send(&mut world, "A1", "c2");
    assert_eq!(last(&world), (OrderState::Reserved, "c2".into()));
    assert_eq!((booked(&world, "c1"), booked(&world, "c2")), (vec![], vec![order("A1")]));
    send(&mut world, "A1", "c3");
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved no_fitting_compartment");
    assert_eq!((last(&world).1.as_str(), booked(&world, "c2")), ("c2", vec![order("A1")]), "it stays where it is");
    let rows = world.statuses("shop").len();
    send(&mut world, "A1", "c2");
    assert_eq!(world.statuses("shop").len(), rows, "it is there already");
    send(&mut world, "A1", "c9");
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved unknown_cabinet");
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world).1, "c2", "put again as it was, it is the same order");
    load(&mut world, "c2", "A1");
    send(&mut world, "A1", "c1");
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored too_late");
    assert_eq!(world.notifications().len(), 1);
}

/// The network was down for c1, whose staff had the order in their book.
#[test]
fn where_staff_have_loaded_it_it_is_whatever_the_fleet_had_in_mind() {
    for by_site in [false, true] {
        let mut world = site(&[("c1", &[Size::M]), ("c2", &[Size::M])]);
        match by_site {
            true => drop(put(&mut world, "A1", "M")),
            false => drop(world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#)),
        }
        world.disconnect(&c1());
        send(&mut world, "A1", "c2");
        assert_eq!(last(&world), (OrderState::Reserved, "c2".into()));
        load(&mut world, "c1", "A1");
        world.connect(&c1());
        assert_eq!(last(&world), (OrderState::Stored, "c1".into()));
        assert_eq!(booked(&world, "c2"), [], "nobody loads it a second time");
        let [told] = world.notifications().try_into().unwrap();
        assert_eq!(told.cabinet, c1());
    }
}

#[test]
fn a_cabinet_that_has_nothing_to_do_with_an_order_is_not_believed() {
    let mut world = site(&[("c1", &[Size::M]), ("c2", &[Size::M])]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#);
    let alarms = world.alarms();
    load(&mut world, "c2", "A1");
    assert_eq!((last(&world), world.alarms() > alarms), ((OrderState::Reserved, "c1".into()), true));
}

#[test]
fn whoever_may_move_an_order_is_told_at_once_whether_it_went() {
    let mut world = site(&[("c1", &[Size::M]), ("c2", &[Size::M]), ("c3", &[Size::S])]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#);
    let ask = |world: &mut World, by: &str, to: &str| match world
        .ask(by, &Request::OrderMove { order: order("A1"), to: named(to) })
    {
        Some(Reply::Done) => None,
        Some(Reply::Error(error)) => Some(error.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&mut world, "support:acme:sue", "c3"), Some(RequestErrorCode::Refused));
    assert_eq!(ask(&mut world, "auditor:acme:amy", "c2"), Some(RequestErrorCode::Forbidden));
    assert_eq!(ask(&mut world, "integration:acme:rides", "c2"), Some(RequestErrorCode::Unknown));
    assert_eq!(ask(&mut world, "support:acme:sue", "c2"), None);
    assert_eq!(ask(&mut world, "support:acme:sue", "c9"), Some(RequestErrorCode::Unknown));
    let put = r#"{"op":"order.put","integration":"shop","order":{"order":"A2","size":"M","category":"retail"}}"#;
    let Some(Reply::Error(error)) = world.ask_raw("operator:acme:eve", put.as_bytes()) else { panic!() };
    assert_eq!(error.code, RequestErrorCode::Malformed);
}

fn story(world: &mut World) {
    insist(world, |world| drop(put(world, "A1", "L")));
    insist(world, |world| drop(send(world, "A1", "c2")));
}

#[test]
fn a_crash_between_two_offers_goes_on_and_books_it_once() {
    let begun = || site(&[("c1", &[Size::S; 3]), ("c2", &[Size::L]), ("c3", &[Size::L, Size::L])]);
    let check = |world: &mut World, what: &str| {
        assert_eq!(last(world), (OrderState::Reserved, "c2".into()), "{what}");
        let books = ["c1", "c2", "c3"].map(|id| booked(world, id).len());
        assert_eq!(books, [0, 1, 0], "{what}");
    };
    let tried = everywhere(begun, story, check);
    assert!(tried.cuts >= 6, "{tried:?}");
}

#[test]
fn whoever_brings_an_order_that_goes_elsewhere_is_told_of_it_with_another_code() {
    let mut world = site(&[("c1", &[Size::M]), ("c2", &[Size::M])]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail","deposit":"courier"}"#);
    send(&mut world, "A1", "c2");
    let told = world.notifications();
    let cabinets: Vec<_> = told.iter().map(|one| one.cabinet.as_str()).collect();
    assert_eq!(cabinets, ["c1", "c2"]);
    assert!(told[0].code != told[1].code);
}

#[test]
fn an_order_that_went_elsewhere_before_it_was_ready_is_loaded_there() {
    let mut world = site(&[("c1", &[Size::M]), ("c2", &[Size::M])]);
    let put =
        |ready: &str| format!(r#"{{"order":"A1","cabinet":"c1","size":"M","category":"retail","ready":{ready}}}"#);
    world.put(&put("false"));
    send(&mut world, "A1", "c2");
    assert_eq!(last(&world), (OrderState::Created, "c2".into()));
    world.put(&put("true"));
    assert_eq!(last(&world), (OrderState::Reserved, "c2".into()));
    assert_eq!(booked(&world, "c1"), []);
}
