//! Connections, events and telemetry.

use fleet_core::{EVENTS, Effect, Input};
use schemas::api::{LiveEvent, LivePresence};
use schemas::cbor::{self, Blob};
use schemas::messages::{
    AuditRequired, Collected, CompartmentState, CredentialId, DoorClosed, DoorForced, DoorHeldOpen, DoorState, Epoch,
    HeldStage, Instance, MESSAGE_MAX, Occupancy, Size, Stamp, Started, Telemetry, Uplink, Welcome,
};
use schemas::step::Store as _;
use schemas::topics::{Live, Up};

use crate::handover::load;
use crate::world::{FakeCabinet, World, c1, closes, door, order, refusal, tenant};

const A1: &str = r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#;

fn started() -> Started {
    Started { agent: "0.1.0".into(), down_since: None }
}

fn lives(effects: &[Effect], of: Live) -> Vec<&[u8]> {
    let payload = |effect: &Effect| matches!(effect, Effect::Live { live, .. } if *live == of);
    effects
        .iter()
        .filter(|effect| payload(effect))
        .map(|effect| match effect {
            Effect::Live { payload, .. } => payload.as_slice(),
            _ => unreachable!("filtered"),
        })
        .collect()
}

fn world() -> World {
    World::new(&[Size::M])
}

#[test]
fn a_cabinet_that_is_not_registered_is_cut() {
    let mut world = World::empty();
    let effects = world.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() });
    assert!(closes(&effects));
}

#[test]
fn nothing_but_hello_is_taken_before_it() {
    for up in [Up::Event, Up::Telemetry, Up::Challenge] {
        let mut world = world();
        world.disconnect(&c1());
        world.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() });
        let payload = match up {
            Up::Event => world.cabinets[&c1()].uplink(1, None, started().into()),
            _ => cbor::encode(&world.cabinets[&c1()].challenge()),
        };
        let before = world.store.clone();
        assert!(closes(&world.up(&c1(), up, payload)), "{up:?}");
        assert!(world.store == before, "{up:?} left rows");
    }
}

#[test]
fn a_hello_that_cannot_be_of_this_cabinet_cuts_the_connection() {
    let good = world().cabinets[&c1()].hello();
    let double = vec![good.compartments.items[0].clone(), good.compartments.items[0].clone()].into();
    for (what, hello) in [
        ("instance", schemas::messages::Hello { instance: Instance([8; 16]), ..good.clone() }),
        ("doubled compartment", schemas::messages::Hello { compartments: double, ..good.clone() }),
        ("oldest 0", schemas::messages::Hello { oldest: 0, ..good.clone() }),
        ("oldest beyond newest", schemas::messages::Hello { oldest: 7, newest: 5, ..good.clone() }),
    ] {
        let mut world = world();
        world.disconnect(&c1());
        world.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() });
        let effects = world.up(&c1(), Up::Hello, cbor::encode(&hello));
        assert!(closes(&effects), "{what}");
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Down { .. })), "{what} was welcomed");
    }
    let mut world = world();
    assert!(closes(&world.up(&c1(), Up::Hello, vec![0xff; MESSAGE_MAX])));
}

#[test]
fn hello_is_answered_with_the_high_water_mark_and_the_time() {
    let mut world = world();
    world.fact(&c1(), started());
    world.disconnect(&c1());
    world.connect(&c1());
    let cabinet = &world.cabinets[&c1()];
    let marks: Vec<u64> = cabinet.welcomes.iter().map(|welcome| welcome.high_water).collect();
    assert_eq!(marks, [0, cabinet.newest]);
    assert_eq!(cabinet.welcomes[0], Welcome { epoch: Epoch([1; 8]), high_water: 0 });
    assert_eq!(cabinet.times, 2);
}

#[test]
fn presence_is_told_when_it_changes() {
    let mut world = world();
    assert_eq!(world.alarms(), 0, "a first hello is the normal case");
    world.disconnect(&c1());
    let told: Vec<(bool, Option<String>)> = lives(&world.seen, Live::Presence)
        .into_iter()
        .map(|payload| serde_json::from_slice::<LivePresence>(payload).unwrap())
        .map(|presence| (presence.online, presence.reason))
        .collect();
    assert_eq!(told, [(true, None), (false, Some("keepalive".into()))]);
}

/// A compartment of a newer kind must not keep the whole cabinet away.
#[test]
fn a_compartment_that_this_fleet_cannot_read_gets_no_orders_and_the_others_do() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.disconnect(&c1());
    let hello = world.cabinets[&c1()].hello();
    let known = cbor::encode(&hello.compartments.items[0]);
    assert_eq!(known[3..5], [2, 1], "key and code of its size");
    let mut payload = cbor::encode(&hello);
    let at = payload.windows(known.len()).position(|part| part == known).unwrap();
    payload[at + 4] = 9;
    let alarms = world.alarms();
    world.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() });
    assert!(!closes(&world.up(&c1(), Up::Hello, payload)));
    assert_eq!(world.alarms(), alarms + 1);
    world.put(A1);
    world.put(r#"{"order":"A2","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(world.reserved(), [door(2)]);
}

/// Acceptance 8, the fleet's part.
#[test]
fn events_that_come_twice_or_again_are_kept_once_and_in_order() {
    let mut world = world();
    let first = world.cabinets[&c1()].newest + 1;
    let event = |world: &World, n| world.cabinets[&c1()].uplink(n, Some(world.now - 5_000), started().into());
    for n in [first, first, first + 1, first, first + 1, first + 2] {
        let payload = event(&world, n);
        let effects = world.up(&c1(), Up::Event, payload);
        assert!(!closes(&effects), "event {n}");
    }
    let told: Vec<LiveEvent> = lives(&world.seen, Live::Event)
        .into_iter()
        .map(|payload| serde_json::from_slice::<LiveEvent>(payload).unwrap())
        .filter(|event| event.kind == "started")
        .collect();
    assert_eq!(told.iter().map(|event| event.n).collect::<Vec<_>>(), [first, first + 1, first + 2]);
    assert!(told.iter().all(|event| event.at.0 == world.now - 5_000 && !event.time_unverified));
    assert_eq!(world.store.rows(EVENTS).unwrap().len() as u64, first + 2);
}

#[test]
fn an_event_behind_a_gap_cuts_the_connection_and_is_not_kept() {
    let mut world = world();
    let n = world.cabinets[&c1()].newest + 2;
    let payload = world.cabinets[&c1()].uplink(n, None, started().into());
    let before = world.store.clone();
    assert!(closes(&world.up(&c1(), Up::Event, payload)));
    assert!(world.store == before);
}

#[test]
fn an_event_of_another_epoch_cuts_the_connection() {
    let mut world = world();
    world.cabinet(&c1()).epoch = Epoch([2; 8]);
    let payload = world.cabinets[&c1()].uplink(1, None, started().into());
    assert!(closes(&world.up(&c1(), Up::Event, payload)));
}

#[test]
fn a_gap_that_cannot_be_filled_is_taken_with_an_alarm() {
    let mut world = world();
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.oldest, cabinet.newest) = (50, 60);
    let alarms = world.alarms();
    world.connect(&c1());
    assert_eq!(world.cabinets[&c1()].welcomes.last().unwrap().high_water, 49);
    assert_eq!(world.alarms(), alarms + 1);
    let rows = world.store.rows(EVENTS).unwrap();
    let keys: Vec<_> = rows.iter().map(|(key, _)| schemas::step::number_of_key(key).unwrap()).collect();
    assert_eq!(keys, [1, 2], "what was told before, and in the place of the first lost event a word about them");
    let payload = world.cabinets[&c1()].uplink(50, None, started().into());
    assert!(!closes(&world.up(&c1(), Up::Event, payload)));
}

#[test]
fn a_new_store_of_the_cabinet_is_counted_anew_and_what_it_held_needs_a_look() {
    let mut world = world();
    world.put(A1);
    load(&mut world, "A1", 1);
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.epoch, cabinet.newest, cabinet.book) = (Epoch([2; 8]), 0, 0);
    cabinet.history.clear();
    let alarms = world.alarms();
    world.connect(&c1());
    assert_eq!(world.cabinets[&c1()].welcomes.last().unwrap(), &Welcome { epoch: Epoch([2; 8]), high_water: 0 });
    assert_eq!(world.alarms(), alarms + 1);
    let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
    let Some(schemas::api::Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
    assert!(shown.compartments[0].audit_required);
}

#[test]
fn an_event_that_cannot_be_understood_is_kept_raw_and_blocks_nothing() {
    let mut world = world();
    let n = world.cabinets[&c1()].newest + 1;
    let raw = [0x82, 0x18, 0x63, 0xa0];
    let uplink =
        Uplink { challenge: world.cabinets[&c1()].challenge(), epoch: Epoch([1; 8]), n, record: Blob(raw.to_vec()) };
    let effects = world.up(&c1(), Up::Event, cbor::encode(&uplink));
    assert!(matches!(effects.as_slice(), [Effect::Alarm { .. }]), "{effects:?}");
    let (_, row) = world.store.rows(EVENTS).unwrap().pop().unwrap();
    assert!(row.windows(raw.len()).any(|part| part == raw));
    let cabinet = world.cabinet(&c1());
    (cabinet.newest, cabinet.next) = (n, n + 1);
    assert!(!closes(&world.fact(&c1(), started())));
}

#[test]
fn an_uplink_that_cannot_be_read_is_refused() {
    let mut world = world();
    assert!(refusal(&world.up(&c1(), Up::Event, vec![0xa0])).contains("no challenge in Uplink"));
    assert!(refusal(&world.up(&c1(), Up::Telemetry, vec![])).contains("cbor ends early"));
    assert!(refusal(&world.up(&c1(), Up::Challenge, vec![0x9f])).contains("indefinite"));
}

#[test]
fn telemetry_is_shown_and_writes_nothing() {
    let mut world = world();
    let before = world.store.clone();
    let sample = Telemetry {
        challenge: world.cabinets[&c1()].challenge(),
        at: Stamp {
            boot: schemas::messages::BootId([9; 8]),
            boot_millis: 1,
            fleet_millis: None,
            uncertainty_millis: None,
        },
        compartments: [1, 2]
            .map(|number| CompartmentState {
                number: door(number),
                door: DoorState::Open,
                occupancy: Occupancy::Occupied,
                allocated: false,
                fault: None,
            })
            .into_iter()
            .collect(),
        boards_silent: 0,
        outbox: 0,
        book: 1,
        wrong_codes_today: 0,
        disk_low: None,
    };
    let effects = world.up(&c1(), Up::Telemetry, cbor::encode(&sample));
    assert_eq!(lives(&effects, Live::Telemetry).len(), 1);
    assert!(world.store == before);
    let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
    let Some(schemas::api::Reply::Cabinet(shown)) = world.ask_raw("technician:acme:tom", json) else { panic!() };
    assert_eq!((shown.compartments[0].door, shown.compartments[0].occupancy), (DoorState::Open, Occupancy::Occupied));
    assert_eq!(shown.compartments.len(), 1, "a compartment that the cabinet did not name in hello");
}

#[test]
fn a_compartment_that_needs_a_look_gets_no_order_until_a_person_and_the_sensor_say_it_is_empty() {
    let mut world = world();
    world.put(A1);
    world.fact(&c1(), AuditRequired { compartment: door(1), order: None });
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 ready"]);
    world.fact(&c1(), DoorClosed { compartment: door(1), occupancy: Occupancy::Unknown });
    world.fact(&c1(), DoorClosed { compartment: door(1), occupancy: Occupancy::Occupied });
    assert_eq!(world.told("shop").len(), 2);
    world.fact(&c1(), DoorClosed { compartment: door(1), occupancy: Occupancy::Empty });
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved");
}

#[test]
fn an_order_that_the_fleet_does_not_expect_there_needs_a_look() {
    let mut world = world();
    world.add(FakeCabinet::new("c2", &[Size::M]));
    let c2 = "c2".parse().unwrap();
    world.connect(&c2);
    world.put(A1);
    let credential = CredentialId([1; 8]);
    let collected = Collected { order: order("A1"), compartment: door(1), credential, confirmed: true };
    world.fact(&c2, collected);
    assert_eq!(world.told("shop"), ["A1 reserved"], "a cabinet spoke for an order of another one");
    let alarms = world.alarms();
    let staff = "sam".parse().unwrap();
    world.fact(&c2, schemas::messages::Loading { order: order("A1"), compartment: door(1), staff });
    assert_eq!(world.alarms(), alarms + 1);
    assert_eq!(world.told("shop"), ["A1 reserved"]);
    world.put(r#"{"order":"A2","cabinet":"c2","size":"M","category":"retail"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A2 rejected no_fitting_compartment");
    let json = br#"{"op":"cabinet.show","cabinet":"c2"}"#;
    let Some(schemas::api::Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
    assert!(shown.compartments[0].audit_required);
}

#[test]
fn a_forced_door_is_an_alarm_with_its_words() {
    let mut world = world();
    let effects = world.fact(&c1(), DoorForced { compartment: door(1) });
    assert!(effects.iter().any(
        |effect| matches!(effect, Effect::Alarm { text } if text.contains("acme/c1: door 1 was opened by force"))
    ));
    let event: LiveEvent = serde_json::from_slice(lives(&effects, Live::Event)[0]).unwrap();
    assert_eq!((event.kind.as_str(), event.compartment), ("door_forced", Some(door(1))));
}

#[test]
fn the_time_is_sent_again_after_six_hours_with_a_fresh_challenge() {
    let mut world = world();
    assert_eq!(world.cabinets[&c1()].times, 1);
    world.pass(6 * 60 * 60 * 1_000 - 1);
    assert_eq!((world.cabinets[&c1()].asks, world.cabinets[&c1()].times), (0, 1));
    world.pass(1);
    assert_eq!((world.cabinets[&c1()].asks, world.cabinets[&c1()].times), (1, 1));
    world.cabinet(&c1()).challenge += 1;
    let challenge = cbor::encode(&world.cabinets[&c1()].challenge());
    world.up(&c1(), Up::Challenge, challenge);
    assert_eq!(world.cabinets[&c1()].times, 2);
}

#[test]
fn a_cabinet_may_be_as_large_and_count_as_far_as_its_numbers_go() {
    const FAR: u64 = 1 << 53;
    for (what, newest, book, keyset, taken) in [
        ("all at the end", FAR, FAR, FAR, true),
        ("events beyond it", FAR + 1, 1, 1, false),
        ("a book beyond it", 1, FAR + 1, 1, false),
        ("a keyset beyond it", 1, 1, FAR + 1, false),
    ] {
        let mut world = World::empty();
        world.add(FakeCabinet::new("c1", &[Size::S; 999]));
        world.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() });
        world.cabinet(&c1()).online = true;
        let hello = world.cabinets[&c1()].hello();
        let hello = schemas::messages::Hello { newest, oldest: 1, book, keyset, pepper: None, ..hello };
        world.cabinet(&c1()).book = book;
        assert_eq!(!closes(&world.up(&c1(), Up::Hello, cbor::encode(&hello))), taken, "{what}");
    }
}

#[test]
fn what_events_say_about_a_door_is_shown_until_the_next_sample() {
    let mut world = world();
    let shown = |world: &mut World| {
        let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
        let Some(schemas::api::Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
        (shown.compartments[0].door, shown.compartments[0].occupancy)
    };
    assert_eq!(shown(&mut world), (DoorState::Unknown, Occupancy::Unknown));
    world.fact(&c1(), DoorClosed { compartment: door(1), occupancy: Occupancy::Empty });
    assert_eq!(shown(&mut world), (DoorState::Closed, Occupancy::Empty));
    world.fact(&c1(), DoorForced { compartment: door(1) });
    assert_eq!(shown(&mut world), (DoorState::Forced, Occupancy::Empty), "an open door says nothing of the content");
    world.disconnect(&c1());
    assert_eq!(shown(&mut world), (DoorState::Unknown, Occupancy::Unknown));
}

/// That it was taken out of the first is among what was lost.
#[test]
fn an_order_that_turns_up_elsewhere_leaves_a_doubt_where_it_was() {
    let mut world = World::new(&[Size::M; 3]);
    world.put(A1);
    load(&mut world, "A1", 1);
    load(&mut world, "A1", 2);
    let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
    let Some(schemas::api::Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
    let found: Vec<_> = shown.compartments.into_iter().map(|one| (one.order, one.audit_required)).collect();
    assert_eq!(found, [(None, true), (Some(order("A1")), false), (None, false)]);
}

#[test]
fn whoever_watches_reads_who_should_look_after_an_open_door() {
    let mut world = world();
    for (stage, who) in [(HeldStage::Staff, "staff should look"), (HeldStage::Technician, "a technician should look")] {
        let effects = world.fact(&c1(), DoorHeldOpen { compartment: door(1), stage });
        let event: LiveEvent = serde_json::from_slice(lives(&effects, Live::Event)[0]).unwrap();
        assert_eq!(event.text, format!("door 1 stands open: {who}"));
        let alarm = effects.iter().find_map(|effect| match effect {
            Effect::Alarm { text, .. } => Some(text.as_str()),
            _ => None,
        });
        assert_eq!(
            alarm,
            Some(format!("cabinet acme/c1: door 1 stands open: {who}").as_str()),
            "nobody may be watching"
        );
    }
}

#[test]
fn cabinets_are_listed_with_the_compartments_that_a_new_order_could_get() {
    let mut world = World::new(&[Size::M; 3]);
    let free = |world: &mut World| {
        let json = br#"{"op":"cabinet.list"}"#;
        let Some(schemas::api::Reply::Cabinets(all)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
        (all[0].compartments, all[0].free)
    };
    assert_eq!(free(&mut world), (3, 3));
    world.put(A1);
    assert_eq!(free(&mut world), (3, 2), "one is kept");
    world.fact(&c1(), AuditRequired { compartment: door(3), order: None });
    assert_eq!(free(&mut world), (3, 1), "and one needs a look");
}

/// Until then somebody who looks must not take the book for complete.
#[test]
fn a_code_or_a_pin_that_is_not_made_yet_shows_as_a_book_that_is_behind() {
    let mut world = world();
    let behind = |world: &mut World| {
        let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
        let Some(schemas::api::Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
        shown.book_wanted - shown.book_held
    };
    world.put(A1);
    assert_eq!(behind(&mut world), 0);
    world.makes_secrets = false;
    load(&mut world, "A1", 1);
    assert_eq!(behind(&mut world), 1);
    world.makes_secrets = true;
    world.pass(60_000);
    assert_eq!(behind(&mut world), 0);
    world.makes_secrets = false;
    world.add_staff("sam");
    assert_eq!(behind(&mut world), 1);
}
