//! What is free for new orders: told when it changes, and asked for.

use fleet_core::Effect;
use schemas::api::{Availability, AvailabilityPage, Reply, Request, RequestErrorCode};
use schemas::messages::{Actor, ActorNobody, DoorFault, Size};
use schemas::topics::Live;

use crate::handover::load;
use crate::restore::sample_with;
use crate::world::{FakeCabinet, World, c1, door};

const SHOP: &str = "integration:acme:shop";

/// Each word about a cabinet, shortly.
fn told(world: &World) -> Vec<String> {
    let words = world.seen.iter().filter_map(|effect| match effect {
        Effect::Live { live: Live::Availability, payload, .. } => Some(payload),
        _ => None,
    });
    words.map(|payload| short(&serde_json::from_slice(payload).unwrap())).collect()
}

fn short(at: &Availability) -> String {
    let free: Vec<_> = at.free.iter().map(|kind| format!("{}{}", kind.count, kind.size)).collect();
    let away = if at.online { "" } else { " away" };
    format!("{}{away} {}", at.cabinet, free.join(" ")).trim_end().to_owned()
}

fn asked(world: &mut World, request: &Request) -> (Vec<String>, bool) {
    match world.ask(SHOP, request) {
        Some(Reply::Availability(AvailabilityPage { cabinets, more })) => (cabinets.iter().map(short).collect(), more),
        other => panic!("{other:?}"),
    }
}

fn put(id: &str, size: &str) -> String {
    format!(r#"{{"order":"{id}","cabinet":"c1","size":"{size}","category":"retail"}}"#)
}

#[test]
fn every_change_is_told_and_nothing_else() {
    let mut world = World::new(&[Size::S, Size::M, Size::M]);
    assert_eq!(told(&world), ["c1 1S 2M"]);
    world.put(&put("A1", "M"));
    world.put(&put("A1", "M"));
    world.put(&put("A2", "S"));
    world.put(&put("A3", "L"));
    world.cancel(r#"{"order":"A1"}"#);
    world.disconnect(&c1());
    assert_eq!(told(&world), ["c1 1S 2M", "c1 1S 1M", "c1 1M", "c1 2M", "c1 away 2M"]);
}

#[test]
fn a_backend_asks_for_one_cabinet_or_for_all_of_its_tenant_a_page_at_a_time() {
    let mut world = World::new(&[Size::S]);
    for n in 0..203 {
        world.add(FakeCabinet::new(&format!("d{n:03}"), &[Size::S]));
    }
    let one = Request::Availability { cabinet: Some(c1()), after: None };
    assert_eq!(asked(&mut world, &one), (vec!["c1 1S".to_owned()], false));
    let (first, more) = asked(&mut world, &Request::Availability { cabinet: None, after: None });
    assert_eq!((first.len(), first[0].as_str(), more), (200, "c1 1S", true));
    let after = Some("d198".parse().unwrap());
    let (rest, more) = asked(&mut world, &Request::Availability { cabinet: None, after });
    assert_eq!((rest.len(), more), (4, false));
    let unknown = Request::Availability { cabinet: Some("nowhere".parse().unwrap()), after: None };
    let Some(Reply::Error(error)) = world.ask(SHOP, &unknown) else { panic!() };
    assert_eq!(error.code, RequestErrorCode::Unknown);
    let Some(Reply::Error(error)) = world.ask("technician:acme:tom", &one) else { panic!() };
    assert_eq!(error.code, RequestErrorCode::Forbidden);
}

#[test]
fn a_cabinet_that_is_to_be_wiped_offers_nothing() {
    let mut world = World::new(&[Size::S]);
    world.ask("operator:acme:eve", &Request::CabinetWipe { cabinet: c1(), reason: "sold".into(), with_orders: false });
    let one = Request::Availability { cabinet: Some(c1()), after: None };
    assert_eq!(asked(&mut world, &one).0, ["c1"]);
}

/// Three tries, and the door did not open: somebody has to hear of it, and nobody is sent there with another order.
#[test]
fn a_compartment_whose_lock_is_at_fault_is_offered_to_nobody() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#);
    load(&mut world, "A1", 1);
    world.put(r#"{"order":"A2","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(world.reserved(), [door(1), door(2)]);
    let alarms = world.alarms();
    let effects = world.fact(&c1(), DoorFault { compartment: door(1), by: Actor::Nobody(ActorNobody {}), attempts: 3 });
    assert_eq!(world.alarms(), alarms + 1);
    assert!(format!("{effects:?}").contains("behind it: shop/A1"), "{effects:?}");
    sample_with(&mut world, &[1], 0, &[2]);
    assert_eq!(world.told("shop").last().unwrap(), "A2 ready", "what was to go there waits for another place");
    let one = Request::Availability { cabinet: Some(c1()), after: None };
    assert_eq!(asked(&mut world, &one).0, ["c1"]);
    world.put(r#"{"order":"A3","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A3 rejected no_fitting_compartment");
    sample_with(&mut world, &[1], 0, &[]);
    assert_eq!(world.told("shop").last().unwrap(), "A2 reserved", "its lock has opened again");
}
