//! Crashes at every point, and histories that repeat, reorder and lose: everything converges, nothing is told twice.

use fleet_core::{FleetCore, INTENTS, Input, META, OpenError};
use schemas::cbor;
use schemas::messages::{Collected, CredentialId, Loading, Size, Stored, StoredBy};
use schemas::step::{Store as _, Write};

use crate::interrupted::everywhere;
use crate::world::{MemStore, START, World, c1, door, order, tenant};

const A17: &str = r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#;

/// A backend that repeats its order until it is answered, and a cabinet whose staff load it.
fn story(world: &mut World) {
    world.put(A17);
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Loading { order: order("A17"), compartment: door(1), staff: staff.clone() });
    world.fact(&c1(), Stored { order: order("A17"), compartment: door(1), by: StoredBy::Sensor, staff });
}

fn check(world: &mut World, what: &str) {
    if world.crashed {
        recover(world);
    }
    assert_eq!(world.told("shop"), ["A17 reserved", "A17 loading", "A17 stored"], "{what}");
    let notifications = world.notifications();
    assert_eq!(notifications.len(), 1, "{what}");
    assert_eq!(notifications[0].compartment, Some(door(1)), "{what}");
}

/// The backend and the cabinet do again what was not acknowledged.
fn recover(world: &mut World) {
    world.restart();
    assert!(world.store.rows(INTENTS).unwrap().is_empty(), "taken at once, before anything else happens");
    world.put(A17);
    world.connect(&c1());
    world.pass(60_000);
}

#[test]
fn a_crash_after_any_commit_or_between_two_aggregates_loses_nothing_from_the_order_to_its_message() {
    let tried = everywhere(|| World::new(&[Size::M]), story, check);
    assert!(tried.commits >= 8 && tried.cuts >= 5, "{tried:?}");
}

/// Acceptance 16, the fleet's part.
#[test]
fn a_restored_fleet_hears_of_everything_again_and_takes_no_loaded_order_for_free_space() {
    let mut world = World::new(&[Size::M]);
    let backup = world.store.clone();
    story(&mut world);
    world.store = backup.clone();
    recover(&mut world);
    check(&mut world, "the backend repeated its order before the cabinet came back");

    let mut world = World::new(&[Size::M]);
    story(&mut world);
    world.store = backup;
    let alarms = world.alarms();
    world.restart();
    world.connect(&c1());
    assert!(world.alarms() > alarms, "an order that the fleet does not know is in compartment 1");
    world.put_as("deli", r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(world.told("deli"), ["B1 rejected no_fitting_compartment"]);
    world.put(A17);
    assert_eq!(world.told("shop"), ["A17 stored"], "the order is where its cabinet says");
    let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
    let Some(schemas::api::Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
    assert!(!shown.compartments[0].audit_required, "nobody has to look any more");
    assert_eq!(world.notifications().len(), 1);
}

/// A small generator with a seed (SplitMix64): histories can be repeated from it.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }
}

/// One random history: orders are put twice and thrice, cabinets come and go, events are repeated, the fleet crashes.
fn history(seed: u64) -> World {
    let mut random = Random(seed);
    let mut world = World::new(&[Size::M; 3]);
    let ids = ["A0", "A1", "A2", "A3", "A4"];
    let mut loaded = [false; 5];
    for _ in 0..60 {
        let index = usize::try_from(random.below(5)).unwrap();
        let id = ids[index];
        match random.below(10) {
            0..=2 => {
                world.put(&format!(r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"retail"}}"#));
            }
            3 => world.disconnect(&c1()),
            4..=5 if !world.cabinets[&c1()].online => world.connect(&c1()),
            6 => {
                let reached = world.handled + usize::try_from(random.below(4)).unwrap();
                world.crash_after = Some(reached);
                world.put(&format!(r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"retail"}}"#));
                world.fact(&c1(), schemas::messages::Started { agent: "0.1.0".into(), down_since: None });
                world.restart();
            }
            7..=8 => act(&mut world, id, &mut loaded[index]),
            _ => repeat(&mut world, &mut random),
        }
        world.pass(random.below(3) * 20_000);
        invariants(&world, seed);
    }
    if !world.cabinets[&c1()].online {
        world.connect(&c1());
    }
    world.pass(120_000);
    world
}

/// Staff load the order where it is reserved, or its recipient collects it.
fn act(world: &mut World, id: &str, loaded: &mut bool) {
    let last = world.statuses("shop").into_iter().rfind(|row| row.order.as_str() == id);
    let Some(compartment) = last.as_ref().and_then(|row| row.compartment) else {
        return;
    };
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    let state = last.map(|row| row.state);
    if state == Some(schemas::api::OrderState::Reserved) && !*loaded {
        *loaded = true;
        world.fact(&c1(), Loading { order: order(id), compartment, staff: staff.clone() });
        world.fact(&c1(), Stored { order: order(id), compartment, by: StoredBy::Sensor, staff });
    } else if state == Some(schemas::api::OrderState::Stored) {
        let credential = CredentialId([1; 8]);
        world.fact(&c1(), Collected { order: order(id), compartment, credential, confirmed: true });
    }
}

/// A QoS 1 duplicate of any event that was sent.
fn repeat(world: &mut World, random: &mut Random) {
    let cabinet = &world.cabinets[&c1()];
    if !cabinet.online || cabinet.next < 2 {
        return;
    }
    let n = 1 + random.below(cabinet.next - 1);
    let (at, fact) = cabinet.history[&n].clone();
    let payload = cabinet.uplink(n, Some(at), fact);
    world.up(&c1(), schemas::topics::Up::Event, payload);
}

fn invariants(world: &World, seed: u64) {
    let mut ids: Vec<String> = world.notifications().into_iter().map(|row| row.id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "seed {seed}: a code was announced twice");
    for id in ["A0", "A1", "A2", "A3", "A4"] {
        let told: Vec<String> = world.told("shop").into_iter().filter(|row| row.starts_with(id)).collect();
        for word in ["loading", "stored", "collected"] {
            let row = format!("{id} {word}");
            assert!(told.iter().filter(|told| **told == row).count() <= 1, "seed {seed}: {told:?}");
        }
    }
    let reserved = world.reserved();
    let mut doors = reserved.clone();
    doors.sort();
    doors.dedup();
    assert_eq!(doors.len(), reserved.len(), "seed {seed}: a compartment is booked twice: {reserved:?}");
}

#[test]
fn random_histories_keep_the_invariants_and_end_with_every_stored_order_announced() {
    let mut all = 0;
    for seed in 0..40 {
        let world = history(seed);
        let told = world.told("shop");
        let stored = told.iter().filter(|row| row.ends_with(" stored")).count();
        let collected = told.iter().filter(|row| row.ends_with(" collected")).count();
        let announced = world.notifications().len();
        assert!(announced <= stored && announced + collected >= stored, "seed {seed}: {announced} of {stored}");
        assert!(world.store.rows(INTENTS).unwrap().is_empty(), "seed {seed}");
        let mut again = FleetCore::open(world.config.clone(), &world.store).unwrap();
        assert_eq!(again.poll_timeout().filter(|at| *at == 0), None, "seed {seed}: work is left behind");
        let step = again.handle(Input::Tick, &fleet_core::Moment { now: world.now, entropy: [0; 32] });
        assert!(step.writes.is_empty(), "seed {seed}: {:?}", step.writes);
        all += announced;
    }
    assert!(all >= 40, "the histories are too dull: {all} messages");
}

#[test]
fn the_same_history_gives_the_same_rows() {
    assert!(history(7).store == history(7).store);
}

#[test]
fn a_deadline_that_was_handled_has_moved() {
    let mut world = World::new(&[Size::M]);
    world.signer_works = false;
    world.put(A17);
    world.add_staff("sam");
    for _ in 0..50 {
        let Some(due) = world.core.poll_timeout() else { break };
        world.now = world.now.max(due);
        world.handle(Input::Tick);
        assert!(world.core.poll_timeout().is_none_or(|next| next > due), "{due} is due again");
    }
}

#[test]
fn a_store_of_another_format_or_with_rows_that_cannot_be_read_is_refused() {
    let mut store = MemStore::default();
    store.commit(&[Write::put(META, "format", cbor::encode(&2u64))]).unwrap();
    let open = |store: &MemStore| FleetCore::open(fleet_core::Config::default(), store).err().unwrap();
    assert!(matches!(open(&store), OpenError::Format { found: 2 }));
    assert!(open(&store).to_string().contains("use the version that wrote it"));
    let mut world = World::new(&[Size::M]);
    world.store.commit(&[Write::put(fleet_core::ORDERS, "acme/shop/A1", vec![0xff])]).unwrap();
    assert!(matches!(open(&world.store), OpenError::Row { table: "orders", .. }));
    assert!(open(&world.store).to_string().contains("acme/shop/A1"));
    let mut store = World::new(&[Size::M]).store;
    store.commit(&[Write::remove(fleet_core::CABINETS, "acme/c1")]).unwrap();
    assert!(matches!(open(&store), OpenError::Stray { .. }));
}

#[test]
fn a_first_input_writes_the_format() {
    let mut core = FleetCore::open(fleet_core::Config::default(), &MemStore::default()).unwrap();
    assert_eq!(core.poll_timeout(), None);
    let moment = fleet_core::Moment { now: START, entropy: [0; 32] };
    let step = core.handle(Input::Tick, &moment);
    assert_eq!(step.writes, [Write::put(META, "format", cbor::encode(&1u64))]);
    assert!(core.handle(Input::Tick, &moment).is_empty());
    let gone = Input::CabinetGone { tenant: tenant(), cabinet: c1(), reason: "keepalive".into() };
    assert!(core.handle(gone, &moment).is_empty(), "a cabinet that nobody knows");
}

/// Two to the same receiver would be one row.
#[test]
fn intents_of_one_step_are_numbered() {
    let mut world = World::new(&[Size::M]);
    let payload = A17.as_bytes().to_vec();
    let integration = "shop".parse().unwrap();
    let step = world.step(Input::OrderPut { tenant: tenant(), integration, payload });
    let intents = step.writes.iter().filter(|write| write.table == INTENTS && write.value.is_some());
    let numbers: Vec<_> = intents.map(|write| schemas::step::number_of_key(&write.key).unwrap()).collect();
    assert!(numbers.len() >= 2 && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

/// The intent is put back as if its receiver had not taken it before.
fn late(world: &mut World, id: &str, nth: usize) {
    let receiver = format!("order/acme/shop/{id}\0");
    let intent = world.intents.iter().filter(|write| write.key.starts_with(receiver.as_bytes())).nth(nth);
    let intent = intent.unwrap().clone();
    let told = world.told("shop");
    let announced = world.notifications().len();
    world.store.commit(&[intent]).unwrap();
    world.restart();
    assert_eq!((world.told("shop"), world.notifications().len()), (told, announced), "{id} {nth}");
    world.connect(&c1());
}

#[test]
fn what_a_cabinet_said_of_a_reservation_changes_nothing_once_the_order_is_further() {
    let put = |id: &str| format!(r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"retail"}}"#);
    let mut world = World::new(&[Size::M]);
    world.put(&put("A1"));
    world.put(&put("A2"));
    world.cancel(r#"{"order":"A1"}"#);
    late(&mut world, "A1", 0);
    world.put(&put("A2"));
    assert_eq!(world.told("shop")[1..], ["A2 rejected no_fitting_compartment", "A1 cancelled", "A2 reserved"]);
    late(&mut world, "A2", 0);
    world.pass(30 * 60 * 1_000);
    world.put(&put("A3"));
    assert_eq!(world.told("shop")[4..], ["A2 ready", "A3 reserved"]);
    crate::handover::load(&mut world, "A2", 1);
    assert_eq!(world.told("shop").last().unwrap(), "A2 stored");
    late(&mut world, "A2", 2);
}

#[test]
fn a_code_whose_intent_comes_twice_is_announced_once() {
    let mut world = World::new(&[Size::M]);
    story(&mut world);
    let last = world.intents.iter().filter(|write| write.key.starts_with(b"order/acme/shop/A17\0")).count() - 1;
    late(&mut world, "A17", last);
}
