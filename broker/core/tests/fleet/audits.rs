//! What the fleet makes of what staff find when they look into a compartment.

use fleet_core::Effect;
use schemas::api::{CompartmentDetail, Reply, UnlockRight};
use schemas::messages::{
    AuditRequired, Audited, Cleaning, DoorForced, EmergencyOpened, Finding, LoadAborted, Loading, Retrieved, Service,
    Size, Stored, StoredBy, UnlockOutcome,
};

use crate::handover::load;
use crate::history::list;
use crate::world::{World, c1, door, order};

const A1: &str = r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#;
const A2: &str = r#"{"order":"A2","cabinet":"c1","size":"S","category":"retail"}"#;

fn found(world: &mut World, number: u16, found: Finding, id: Option<&str>) {
    let staff = "sam".parse().unwrap();
    world.fact(&c1(), Audited { compartment: door(number), staff, found, order: id.map(order) });
}

fn shown(world: &mut World, number: u16) -> CompartmentDetail {
    let json = br#"{"op":"cabinet.show","cabinet":"c1"}"#;
    let Some(Reply::Cabinet(shown)) = world.ask_raw("auditor:acme:amy", json) else { panic!() };
    shown.compartments.into_iter().find(|one| one.number == door(number)).unwrap()
}

#[test]
fn a_doubt_that_staff_end_gives_the_compartment_back() {
    let mut world = World::new(&[Size::S]);
    world.fact(&c1(), DoorForced { compartment: door(1) });
    world.fact(&c1(), AuditRequired { compartment: door(1), order: None });
    world.put(A1);
    assert_eq!(world.told("shop"), ["A1 rejected no_fitting_compartment"]);
    found(&mut world, 1, Finding::AsBooked, None);
    assert!(!shown(&mut world, 1).audit_required);
    world.put(A2);
    assert!(world.told("shop").contains(&"A2 reserved".to_owned()));
}

#[test]
fn something_in_a_free_compartment_moves_what_was_kept_there_and_is_an_alarm() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(A1);
    assert_eq!(world.reserved(), [door(1)]);
    let alarms = world.alarms();
    found(&mut world, 1, Finding::Occupied, None);
    assert_eq!((world.reserved(), world.alarms()), (vec![door(2)], alarms + 1));
    assert!(shown(&mut world, 1).audit_required);
    world.restart();
    assert!(shown(&mut world, 1).audit_required);
}

#[test]
fn an_order_that_is_missing_is_disputed_and_waits_for_nothing() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    world.settle();
    let alarms = world.alarms();
    found(&mut world, 1, Finding::Missing, Some("A1"));
    assert_eq!(world.told("shop").last().unwrap(), "A1 disputed");
    assert_eq!(world.alarms(), alarms + 1);
    let free = shown(&mut world, 1);
    assert!(free.order.is_none() && !free.audit_required);
    world.restart();
    world.put(A2);
    assert_eq!(world.told("shop").last().unwrap(), "A2 reserved", "its compartment is free");
    assert!(!world.told("shop")[3..].contains(&"A1 reserved".to_owned()), "nothing is kept for what nobody has");
}

#[test]
fn a_missing_order_that_is_found_is_stored_again_under_the_code_that_its_recipient_has() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    world.settle();
    assert_eq!(world.notifications().len(), 1);
    found(&mut world, 1, Finding::Missing, Some("A1"));
    load(&mut world, "A1", 2);
    world.settle();
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored");
    assert_eq!(shown(&mut world, 2).order, Some(order("A1")));
    assert_eq!(world.notifications().len(), 1, "told once");
}

#[test]
fn nobody_is_sent_to_an_order_that_went_missing_before_its_code_was_there() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(A1);
    world.signer_works = false;
    load(&mut world, "A1", 1);
    found(&mut world, 1, Finding::Missing, Some("A1"));
    world.signer_works = true;
    world.pass(60_000);
    assert_eq!(world.notifications(), []);
    load(&mut world, "A1", 2);
    world.settle();
    let told: Vec<_> = world.notifications().into_iter().map(|told| told.compartment).collect();
    assert_eq!(told, [Some(door(2))]);
}

#[test]
fn a_recalled_order_stays_recalled_when_it_is_missing() {
    let mut world = World::new(&[Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    world.cancel(r#"{"order":"A1"}"#);
    found(&mut world, 1, Finding::Missing, Some("A1"));
    assert_eq!(world.told("shop").last().unwrap(), "A1 recalled");
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    let (at, id) = (door(1), order("A1"));
    world.fact(&c1(), Loading { order: id.clone(), compartment: at, staff: staff.clone() });
    world.fact(&c1(), Stored { order: id.clone(), compartment: at, by: StoredBy::Staff, staff: staff.clone() });
    assert_eq!(world.told("shop").last().unwrap(), "A1 recalled");
    world.fact(&c1(), Retrieved { order: id, compartment: at, staff });
    assert_eq!(world.told("shop").last().unwrap(), "A1 retrieved");
}

#[test]
fn what_the_cabinet_confirms_and_the_fleet_does_not_know_still_needs_a_look() {
    let mut world = World::new(&[Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    found(&mut world, 1, Finding::AsBooked, Some("A2"));
    assert!(shown(&mut world, 1).audit_required);
    found(&mut world, 1, Finding::AsBooked, Some("A1"));
    assert!(!shown(&mut world, 1).audit_required);
}

#[test]
fn a_look_behind_a_door_without_a_sensor_is_on_record_with_its_finding() {
    let mut world = World::new(&[Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    let before = list(&mut world).len();
    found(&mut world, 1, Finding::Missing, Some("A1"));
    let records = list(&mut world);
    assert_eq!(records.len(), before + 1);
    let newest = &records[0];
    assert_eq!((newest.right, newest.outcome), (UnlockRight::Staff, Some(UnlockOutcome::OutcomeUnknown)));
    assert_eq!((newest.by.as_deref(), newest.order.as_deref()), (Some("staff:acme:sam"), Some("shop/A1")));
}

/// Found again, begun to be loaded, and given up: it waits like any other.
#[test]
fn a_missing_order_whose_loading_is_given_up_is_ready_again() {
    let mut world = World::new(&[Size::S]);
    world.put(A1);
    load(&mut world, "A1", 1);
    found(&mut world, 1, Finding::Missing, Some("A1"));
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Loading { order: order("A1"), compartment: door(1), staff });
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(1) });
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved");
}

#[test]
fn what_needs_cleaning_gets_no_order_whatever_is_found_inside_until_it_is_clean() {
    let mut world = World::new(&[Size::S]);
    let clean = |world: &mut World, needed: bool| {
        let staff = "sam".parse().unwrap();
        world.fact(&c1(), Cleaning { compartment: door(1), staff, needed });
    };
    world.put(A1);
    clean(&mut world, true);
    assert_eq!(world.told("shop").last().unwrap(), "A1 ready", "what was kept there goes elsewhere");
    found(&mut world, 1, Finding::AsBooked, None);
    load(&mut world, "A1", 1);
    world.fact(&c1(), Retrieved { order: order("A1"), compartment: door(1), staff: "sam".parse().unwrap() });
    world.restart();
    world.connect(&c1());
    let dirty = shown(&mut world, 1);
    assert!(dirty.needs_cleaning && !dirty.audit_required && dirty.order.is_none());
    world.put(A2);
    assert_eq!(world.told("shop").last().unwrap(), "A2 rejected no_fitting_compartment");
    clean(&mut world, false);
    assert!(!shown(&mut world, 1).needs_cleaning);
    world.put(A2);
    assert_eq!(world.told("shop").last().unwrap(), "A2 reserved");
}

#[test]
fn an_order_that_waits_for_room_gets_a_compartment_as_soon_as_that_is_clean() {
    let mut world = World::new(&[Size::S]);
    let clean = |world: &mut World, needed: bool| {
        let staff = "sam".parse().unwrap();
        world.fact(&c1(), Cleaning { compartment: door(1), staff, needed });
    };
    world.put(A1);
    clean(&mut world, true);
    assert_eq!(world.told("shop").last().unwrap(), "A1 ready");
    clean(&mut world, false);
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved");
}

#[test]
fn what_staff_have_taken_out_of_service_gets_no_order_until_they_take_it_back() {
    let mut world = World::new(&[Size::S]);
    let serve = |world: &mut World, in_service: bool| {
        let staff = "sam".parse().unwrap();
        world.fact(&c1(), Service { compartment: door(1), staff, in_service });
    };
    world.put(A1);
    serve(&mut world, false);
    assert_eq!(world.told("shop").last().unwrap(), "A1 ready", "what was kept there goes elsewhere");
    found(&mut world, 1, Finding::AsBooked, None);
    world.restart();
    world.connect(&c1());
    assert!(!shown(&mut world, 1).in_service);
    world.put(A2);
    assert_eq!(world.told("shop").last().unwrap(), "A2 rejected no_fitting_compartment");
    serve(&mut world, true);
    assert!(shown(&mut world, 1).in_service);
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved", "it has waited for that");
}

#[test]
fn an_emergency_opening_is_an_alarm_with_a_name() {
    let mut world = World::new(&[Size::S]);
    world.fact(&c1(), EmergencyOpened { staff: "sam".parse().unwrap(), passed_over: vec![door(3), door(7)] });
    let alarm = world.seen.iter().rev().find_map(|effect| match effect {
        Effect::Alarm { text, .. } => Some(text.clone()),
        _ => None,
    });
    let all_but = "sam opens all doors but 3, 7, which stand open or are out of order";
    assert_eq!(alarm.unwrap(), format!("cabinet acme/c1: {all_but}"));
}
