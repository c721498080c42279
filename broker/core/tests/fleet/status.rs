//! How the fleet is, as `fleet doctor` asks.

use fleet_core::enrolment::{Issue, Right};
use fleet_core::{Effect, Input};
use schemas::api::{FleetStatus, Request, Rfc3339, Scope};
use schemas::enrolment::TokenSecret;
use schemas::messages::{DoorForced, Size};

use crate::world::{FakeCabinet, World, c1, door, tenant, who};

fn status(world: &mut World, by: &str, after: Option<&str>) -> FleetStatus {
    let after = after.map(|after| after.parse().unwrap());
    assert_eq!(world.ask(by, &Request::FleetStatus { after }), None);
    let Some(Effect::ReplyStatus { status, .. }) = world.seen.last() else { panic!() };
    (**status).clone()
}

const EVE: &str = "operator:acme:eve";

#[test]
fn each_cabinet_tells_its_connection_its_versions_and_its_newest_alarm() {
    let mut world = World::new(&[Size::S]);
    world.add(FakeCabinet::new("c2", &[Size::S]));
    world.fact(&c1(), DoorForced { compartment: door(1) });
    world.now += 5;
    world.fact(&c1(), DoorForced { compartment: door(1) });
    let told = status(&mut world, EVE, None);
    assert_eq!((told.now, told.cabinets.len(), told.more), (Rfc3339(world.now), 2, false));
    let [first, second] = told.cabinets.try_into().unwrap();
    assert_eq!((first.online, first.agent.as_str(), first.keyset_held), (true, "0.1.0", 1));
    let alarm = first.alarm.unwrap();
    assert!(alarm.at.0 == world.now && alarm.text.contains("c1"), "{alarm:?}");
    assert_eq!((second.online, second.last_seen, second.alarm), (false, None, None));
    world.disconnect(&c1());
    assert!(!status(&mut world, EVE, None).cabinets[0].online);
}

/// Whatever an alarm's words begin with.
#[test]
fn an_alarm_belongs_to_the_cabinet_that_it_is_about() {
    let mut world = World::new(&[Size::S]);
    let secret = TokenSecret::new([9; 16]).hash();
    let (right, issue) = (Right::Token { secret, device_serial: None }, Issue { ticket: 1, key: vec![1] });
    world.handle(Input::Enrol { tenant: tenant(), cabinet: c1(), right, issue });
    let alarm = status(&mut world, EVE, None).cabinets[0].alarm.clone().unwrap();
    assert!(alarm.text.starts_with("somebody tried to enrol as cabinet acme/c1"), "{alarm:?}");
}

#[test]
fn a_book_that_is_not_confirmed_is_told() {
    let mut world = World::new(&[Size::S]);
    world.cabinet(&c1()).applies = false;
    world.add_staff("sam");
    let told = status(&mut world, EVE, None);
    assert!(told.cabinets[0].book_wanted > told.cabinets[0].book_held, "{told:?}");
}

#[test]
fn many_cabinets_come_in_pages_and_only_those_in_the_scope() {
    let mut world = World::empty();
    for n in 0..250 {
        world.add(FakeCabinet::new(&format!("c{n:03}"), &[Size::S]));
    }
    let first = status(&mut world, EVE, None);
    assert_eq!((first.cabinets.len(), first.more), (200, true));
    let rest = status(&mut world, EVE, Some("c199"));
    assert_eq!((rest.cabinets.len(), rest.more, rest.cabinets[0].cabinet.as_str()), (50, false, "c200"));
    let tom = "technician:acme:tom";
    let limit = Scope::Cabinets(vec!["c007".parse().unwrap()]);
    world.ask(EVE, &Request::PersonScope { identity: who(tom), scope: limit });
    assert_eq!(status(&mut world, tom, None).cabinets.len(), 1);
    assert_eq!(status(&mut world, "operator:umbra:max", None).cabinets, []);
}
