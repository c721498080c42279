//! Orders that staff began at a cabinet: who is told, with which code, and how many.

use fleet_core::signing::SignerRequest;
use fleet_core::{CertificateSeen, Config, INTENTS, Input};
use schemas::api::{CertificateId, OrderState};
use schemas::cbor::Blob;
use schemas::ids::CabinetId;
use schemas::messages::{
    Attributes, Category, Epoch, LoadAborted, Loading, OrderKey, Size, Stored, StoredBy, WalkIn, WalkInDropped,
};
use schemas::step::Store as _;

use crate::interrupted::everywhere;
use crate::world::{FakeCabinet, START, World, c1, door, order, who};

const PHONE: &str = "+4915112345678";

fn key(id: &str) -> OrderKey {
    OrderKey::walk_in(id.parse().unwrap())
}

fn staff() -> schemas::ids::Name {
    "sam".parse().unwrap()
}

fn began(id: &str, phone: &str) -> WalkIn {
    WalkIn {
        order: key(id),
        size: Size::M,
        category: Category::Retail,
        wants: Attributes::default(),
        phone: Blob(phone.as_bytes().to_vec()),
        staff: staff(),
        courier: None,
    }
}

fn admit(world: &mut World, integration: &str) {
    let certificate = CertificateSeen { id: CertificateId([1; 32]), issued: START, expires: START + 1_000_000 };
    world.handle(Input::Admitted { who: who(&format!("integration:acme:{integration}")), certificate });
}

/// One backend, `shop`, and the cabinet `c1`.
fn world() -> World {
    let mut world = World::new(&[Size::M, Size::M]);
    admit(&mut world, "shop");
    world
}

fn load(world: &mut World, id: &str, at: u16) {
    world.fact(&c1(), Loading { order: key(id), compartment: door(at), staff: staff() });
    world.fact(&c1(), Stored { order: key(id), compartment: door(at), by: StoredBy::Sensor, staff: staff() });
}

/// A walk-in that waits for its recipient.
pub(crate) fn stored() -> (World, OrderKey) {
    let mut world = world();
    story(&mut world);
    (world, key("A17-X"))
}

fn story(world: &mut World) {
    world.fact(&c1(), began("A17-X", PHONE));
    load(world, "A17-X", 1);
}

fn check(world: &mut World, what: &str) {
    if world.crashed {
        world.restart();
        world.connect(&c1());
        world.pass(60_000);
    }
    // Where the connection is lost before the loading is told, the order may get a compartment meanwhile.
    let told: Vec<_> = world.told("shop").into_iter().filter(|row| row != "A17-X reserved").collect();
    assert_eq!(told, ["A17-X ready", "A17-X loading", "A17-X stored"], "{what}");
    assert!(world.statuses("shop").iter().all(|row| row.walk_in), "{what}");
    let told = world.notifications();
    let [told] = told.as_slice() else { panic!("{what}: {} messages", told.len()) };
    assert_eq!(
        (told.recipient.phone.as_deref(), told.compartment, told.walk_in),
        (Some(PHONE), Some(door(1)), true),
        "{what}"
    );
}

#[test]
fn the_recipient_of_a_walk_in_gets_a_code_once_it_is_stored() {
    let mut world = world();
    world.fact(&c1(), began("A17-X", PHONE));
    assert!(world.notifications().is_empty());
    load(&mut world, "A17-X", 1);
    check(&mut world, "at once");
    let booked = world.cabinets[&c1()].books.iter().flat_map(|book| &book.changes).collect::<Vec<_>>();
    assert!(format!("{booked:?}").contains("walk-in/A17-X"), "the cabinet hears that its order is known");
}

#[test]
fn a_crash_after_any_commit_or_between_aggregates_makes_one_order_and_one_message() {
    let tried = everywhere(world, story, check);
    assert!(tried.cuts >= 3, "{tried:?}");
}

#[test]
fn a_message_waits_for_the_signer_and_for_nothing_else() {
    let mut world = world();
    world.signer_works = false;
    story(&mut world);
    assert!(world.notifications().is_empty());
    world.signer_works = true;
    world.pass(120_000);
    check(&mut world, "later");
}

#[test]
fn the_same_fact_again_changes_nothing_and_another_cabinet_takes_nothing_over() {
    let mut world = world();
    story(&mut world);
    world.fact(&c1(), began("A17-X", "+4915199999999"));
    check(&mut world, "again");
    world.add(FakeCabinet::new("c2", &[Size::M]));
    let c2 = "c2".parse().unwrap();
    world.connect(&c2);
    let alarms = world.alarms();
    world.fact(&c2, began("A17-X", "+4915199999999"));
    assert!(world.alarms() > alarms);
    check(&mut world, "of another cabinet");
}

#[test]
fn a_cabinet_begins_no_order_in_the_name_of_a_backend() {
    let mut world = world();
    let alarms = world.alarms();
    world.fact(&c1(), WalkIn { order: order("A17"), ..began("x", PHONE) });
    assert!(world.alarms() > alarms);
    assert!(world.told("shop").is_empty() && world.store.rows(INTENTS).unwrap().is_empty());
}

#[test]
fn a_number_that_cannot_be_opened_stops_nothing_and_comes_sealed_to_another_key_later() {
    let mut world = world();
    let alarms = world.alarms();
    world.fact(&c1(), began("A17-X", "sealed to somebody else"));
    load(&mut world, "A17-X", 1);
    assert!(world.alarms() > alarms && world.notifications().is_empty());
    let asked = |world: &World| {
        let phones = world.signer_asked.iter().filter(|asked| matches!(asked, SignerRequest::OpenPhone(_)));
        phones.count()
    };
    world.pass(86_400_000);
    assert_eq!(asked(&world), 1, "asked without end");
    world.fact(&c1(), began("A17-X", PHONE));
    check_last(&world);
}

fn check_last(world: &World) {
    let told = world.notifications();
    assert_eq!(told.last().and_then(|one| one.recipient.phone.clone()).as_deref(), Some(PHONE));
}

#[test]
fn a_walk_in_whose_number_was_read_while_it_was_in_quarantine_gets_its_code_with_the_release() {
    let mut world = world();
    world.signer_works = false;
    story(&mut world);
    let ask = |world: &mut World, op: &str| {
        let json = format!(r#"{{"op":"order.{op}","order":"walk-in/A17-X","reason":"a smell"}}"#);
        world.ask_raw("operator:acme:eve", json.as_bytes());
    };
    ask(&mut world, "quarantine");
    world.signer_works = true;
    world.pass(120_000);
    assert!(world.notifications().is_empty(), "nobody is to get it");
    ask(&mut world, "release");
    world.settle();
    check_last(&world);
    assert_eq!(world.notifications().len(), 1);
}

/// What sealed the number is where it was begun, whatever cabinet the order goes to since.
#[test]
fn the_number_of_a_walk_in_that_was_moved_meanwhile_is_opened_all_the_same() {
    let mut world = world();
    world.add(FakeCabinet::new("c2", &[Size::M]));
    let c2: CabinetId = "c2".parse().unwrap();
    world.connect(&c2);
    world.signer_works = false;
    world.fact(&c1(), began("A17-X", PHONE));
    world.ask_raw("operator:acme:eve", br#"{"op":"order.move","order":"walk-in/A17-X","to":"c2"}"#);
    assert_eq!(world.statuses("shop").last().and_then(|row| row.cabinet.clone()), Some(c2.clone()));
    world.restart();
    [c1(), c2.clone()].iter().for_each(|cabinet| world.connect(cabinet));
    world.signer_works = true;
    world.pass(120_000);
    let asked = world.signer_asked.iter().rev().find_map(|asked| match asked {
        SignerRequest::OpenPhone(asked) => Some(asked.cabinet.clone()),
        _ => None,
    });
    assert_eq!(asked, Some(c1()));
    // Nor is its number another cabinet's to tell.
    world.fact(&c1(), began("A17-X", PHONE));
    world.fact(&c2, Loading { order: key("A17-X"), compartment: door(1), staff: staff() });
    world.fact(&c2, Stored { order: key("A17-X"), compartment: door(1), by: StoredBy::Sensor, staff: staff() });
    check_last(&world);
}

#[test]
fn without_an_integration_that_tells_recipients_a_walk_in_waits_for_one() {
    let mut world = World::new(&[Size::M]);
    let alarms = world.alarms();
    story(&mut world);
    assert!(world.alarms() > alarms);
    assert!(world.notifications().is_empty());
    admit(&mut world, "shop");
    world.settle();
    check_last(&world);
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn of_two_integrations_neither_is_chosen_unless_the_settings_name_one() {
    let mut world = world();
    admit(&mut world, "erp");
    world.settle();
    story(&mut world);
    assert!(world.notifications().is_empty() && world.told("shop").is_empty());
    world.config = Config { walk_in: Some("shop".parse().unwrap()), ..world.config.clone() };
    world.restart();
    world.connect(&c1());
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_cabinet_has_so_many_messages_sent_in_a_day_and_the_others_go_out_on_the_next() {
    let mut world = World::with(Config { walk_ins_per_day: 2, break_glass: false, ..Config::default() });
    world.add(FakeCabinet::new("c1", &[Size::M; 4]));
    world.connect(&c1());
    admit(&mut world, "shop");
    for n in 1..=3 {
        world.fact(&c1(), began(&format!("W{n}"), PHONE));
        load(&mut world, &format!("W{n}"), n);
    }
    assert_eq!(world.notifications().len(), 2);
    world.restart();
    world.connect(&c1());
    assert_eq!(world.notifications().len(), 2, "a restart is no new day");
    world.pass(86_400_000 - 1_000);
    assert_eq!(codes(&world), 2);
    world.pass(2_000);
    assert_eq!(codes(&world), 3);
}

/// Messages with a code for the first time, without reminders.
fn codes(world: &World) -> usize {
    world.notifications().iter().filter(|one| one.kind == schemas::api::NotificationKind::PickupCode).count()
}

#[test]
fn a_cabinet_that_begins_orders_without_end_is_stopped() {
    let mut world = World::with(Config { walk_ins_per_day: 2, break_glass: false, ..Config::default() });
    world.add(FakeCabinet::new("c1", &[Size::M]));
    world.connect(&c1());
    admit(&mut world, "shop");
    for n in 0..50 {
        world.fact(&c1(), began(&format!("W{n}"), PHONE));
    }
    assert_eq!(world.told("shop").iter().filter(|row| row.ends_with("ready")).count(), 10);
    assert!(world.store.rows(INTENTS).unwrap().is_empty());
}

#[test]
fn a_walk_in_that_staff_give_up_is_cancelled_and_its_number_forgotten() {
    let mut world = world();
    world.fact(&c1(), began("A17-X", PHONE));
    world.fact(&c1(), Loading { order: key("A17-X"), compartment: door(1), staff: staff() });
    world.fact(&c1(), WalkInDropped { order: key("A17-X"), staff: staff(), courier: None });
    assert_eq!(world.told("shop").last().unwrap(), "A17-X loading", "it is in a compartment");
    world.fact(&c1(), LoadAborted { order: key("A17-X"), compartment: door(1) });
    world.fact(&c1(), WalkInDropped { order: key("A17-X"), staff: staff(), courier: None });
    assert_eq!(world.statuses("shop").last().unwrap().state, OrderState::Cancelled);
    let rows = world.store.rows(fleet_core::ORDERS).unwrap();
    assert!(!rows.iter().any(|(_, row)| row.windows(8).any(|part| part == b"15112345")), "the number is kept");
}

#[test]
fn events_of_a_new_epoch_do_not_begin_it_a_second_time() {
    let mut world = world();
    story(&mut world);
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    cabinet.epoch = Epoch([2; 8]);
    world.connect(&c1());
    world.pass(1_000);
    assert_eq!(world.notifications().len(), 1);
    assert_eq!(world.told("shop").iter().filter(|row| row.ends_with("ready")).count(), 1);
}
