//! Orders that may lie in one compartment: booked beside one another, and told one by one.

use std::collections::BTreeSet;

use fleet_core::Input;
use schemas::api::{OrderState, Reply, Request};
use schemas::messages::*;
use schemas::topics::OrderChange;

use crate::bundles::{change, store_at};
use crate::handover::load;
use crate::interrupted::{everywhere, insist, survived};
use crate::restore::restore;
use crate::time::HOUR;
use crate::world::{FakeCabinet, World, c1, door, order, refusal, shop, tenant};

fn put_of(id: &str, word: &str) -> String {
    format!(
        r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"retail","shares":"{word}","recipient":{{"phone":"1"}}}}"#
    )
}

/// One compartment, and two orders of one customer.
fn two() -> World {
    let mut world = World::new(&[Size::M]);
    world.put(&put_of("A1", "house-7"));
    world.put(&put_of("A2", "house-7"));
    world
}

/// Staff put the order beside these.
fn beside(world: &mut World, id: &str, number: u16, others: &[&str]) {
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    let others = others.iter().map(|id| order(id)).collect();
    world.fact(&c1(), LoadingBeside { order: order(id), compartment: door(number), staff: staff.clone(), others });
    world.fact(&c1(), Stored { order: order(id), compartment: door(number), by: StoredBy::Staff, staff });
}

fn both_inside() -> World {
    let mut world = two();
    load(&mut world, "A1", 1);
    beside(&mut world, "A2", 1, &["A1"]);
    world
}

/// Its door opens by the code of one of them, and all are out.
fn collect_all(world: &mut World, by: &str, all: &[&str]) {
    let credential = code_of(world, by);
    world.fact(&c1(), DoorOpened { compartment: door(1), by: ActorCredential { id: credential }.into() });
    for id in all {
        world.fact(&c1(), Collected { order: order(id), compartment: door(1), credential, confirmed: true });
    }
}

fn code_of(world: &World, id: &str) -> CredentialId {
    let changes = world.cabinets[&c1()].books.iter().flat_map(|book| &book.changes);
    let code = |change: &BookChange| match change {
        BookChange::PutCredential(put) if put.orders == [order(id)] => Some(put.id),
        _ => None,
    };
    changes.filter_map(code).next_back().unwrap()
}

fn inside(world: &mut World) -> (Vec<String>, bool) {
    let request = Request::CabinetShow { cabinet: c1() };
    let Some(Reply::Cabinet(detail)) = world.ask("operator:acme:eve", &request) else { panic!() };
    let one = &detail.compartments[0];
    (one.order.iter().chain(&one.beside).map(|held| held.order.to_string()).collect(), one.audit_required)
}

fn last(world: &World) -> String {
    world.told("shop").pop().unwrap()
}

#[test]
fn an_order_is_booked_beside_another_where_nothing_else_is_free() {
    let mut world = two();
    assert_eq!(world.told("shop"), ["A1 reserved", "A2 reserved"]);
    assert_eq!(world.reserved(), [door(1), door(1)]);
    world.put(&put_of("B1", "house-8"));
    assert_eq!(last(&world), "B1 rejected no_fitting_compartment");
    load(&mut world, "A1", 1);
    assert_eq!(world.reserved(), [door(1), door(1)], "it stays booked for where the other is now");
    beside(&mut world, "A2", 1, &["A1"]);
    assert_eq!(inside(&mut world), (vec!["A2".into(), "A1".into()], false));
    assert_eq!(world.told("shop")[3..], ["A1 loading", "A1 stored", "A2 loading", "A2 stored"]);
    let told = world.notifications();
    assert_eq!(told.iter().map(|one| one.order.as_str()).collect::<Vec<_>>(), ["A1", "A2"]);
    assert!(told[0].code != told[1].code && told.iter().all(|one| one.compartment == Some(door(1))));
}

#[test]
fn each_gets_a_compartment_of_its_own_while_there_is_one() {
    let mut world = World::new(&[Size::M, Size::M]);
    ["A1", "A2", "A3"].iter().for_each(|id| drop(world.put(&put_of(id, "house-7"))));
    assert_eq!(world.reserved(), [door(1), door(2), door(1)]);
    load(&mut world, "A1", 1);
    beside(&mut world, "A2", 1, &["A1"]);
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world), "B1 reserved", "what it does not need any more is free");
}

#[test]
fn only_what_says_the_same_of_the_same_integration_and_kind_is_booked_beside_it() {
    let alike = put_of("A2", "house-7");
    let cases = [
        ("another word", put_of("A2", "house-8")),
        ("no word", alike.replace(r#""shares":"house-7","#, "")),
        ("another kind", alike.replace("retail", "laundry")),
        ("larger", alike.replace(r#""M""#, r#""L""#)),
        ("cold", alike.replace(r#""shares""#, r#""wants":{"refrigerated":true},"shares""#)),
    ];
    for (what, put) in cases {
        let mut world = World::new(&[Size::M]);
        world.put(&put_of("A1", "house-7"));
        world.put(&put);
        assert_eq!(last(&world), "A2 rejected no_fitting_compartment", "{what}");
    }
    let mut world = World::new(&[Size::M]);
    world.put(&put_of("A1", "house-7"));
    world.put_as("pos", &alike);
    assert_eq!(world.told("pos"), ["A2 rejected no_fitting_compartment"], "the word of another integration");
}

#[test]
fn an_agent_that_does_not_know_how_gets_none_booked_beside_another() {
    let mut world = World::empty();
    let mut old = FakeCabinet::new("c1", &[Size::M]);
    old.shares = false;
    world.add(old);
    world.connect(&c1());
    world.put(&put_of("A1", "house-7"));
    world.put(&put_of("A2", "house-7"));
    assert_eq!(last(&world), "A2 rejected no_fitting_compartment");
}

#[test]
fn whoever_has_the_code_of_one_ends_both_and_each_is_told() {
    let mut world = both_inside();
    collect_all(&mut world, "A2", &["A1", "A2"]);
    assert_eq!(world.told("shop")[6..], ["A2 collecting", "A1 collecting", "A1 collected", "A2 collected"]);
    assert_eq!(inside(&mut world), (vec![], false));
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world), "B1 reserved");
}

#[test]
fn what_is_left_inside_waits_for_the_next_time() {
    let mut world = both_inside();
    let credential = code_of(&world, "A2");
    world.fact(&c1(), DoorOpened { compartment: door(1), by: ActorCredential { id: credential }.into() });
    world.fact(&c1(), NotTaken { order: order("A2"), compartment: door(1), credential });
    assert_eq!(world.told("shop")[8..], ["A2 stored", "A1 stored"]);
    assert_eq!(inside(&mut world), (vec!["A2".into(), "A1".into()], false));
}

#[test]
fn what_is_taken_out_alone_leaves_the_other_where_it_is() {
    let mut world = both_inside();
    world.cancel(r#"{"order":"A1"}"#);
    assert_eq!(last(&world), "A1 recalled");
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Retrieved { order: order("A1"), compartment: door(1), staff });
    assert_eq!((last(&world), inside(&mut world)), ("A1 retrieved".into(), (vec!["A2".into()], false)));
    world.put(&put_of("A3", "house-7"));
    assert_eq!(last(&world), "A3 reserved");
    world.fact(&c1(), LoadAborted { order: order("A2"), compartment: door(1) });
    assert_eq!(inside(&mut world), (vec!["A2".into()], false), "kept for both");
    assert_eq!(world.reserved(), [door(1), door(1)]);
}

#[test]
fn nothing_is_booked_beside_what_is_to_be_taken_out_or_looked_at() {
    let mut world = two();
    load(&mut world, "A1", 1);
    world.cancel(r#"{"order":"A1"}"#);
    world.put(&put_of("A3", "house-7"));
    assert_eq!(last(&world), "A3 rejected no_fitting_compartment");
    let mut world = World::new(&[Size::M]);
    world.put(&put_of("A1", "house-7"));
    load(&mut world, "A1", 1);
    world.fact(&c1(), AuditRequired { compartment: door(1), order: Some(order("A1")) });
    world.put(&put_of("A3", "house-7"));
    assert_eq!(last(&world), "A3 rejected no_fitting_compartment");
}

#[test]
fn one_that_is_missing_leaves_a_doubt_until_staff_have_said_of_the_other() {
    let mut world = both_inside();
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    let audited =
        |id: &str, found| Audited { compartment: door(1), staff: staff.clone(), found, order: Some(order(id)) };
    world.fact(&c1(), audited("A2", Finding::Missing));
    assert_eq!(inside(&mut world), (vec!["A1".into()], true));
    world.fact(&c1(), audited("A1", Finding::AsBooked));
    assert_eq!(inside(&mut world), (vec!["A1".into()], false));
}

#[test]
fn a_reservation_that_is_past_its_time_goes_with_all_that_share_it() {
    let mut world = two();
    world.pass(HOUR);
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world), "B1 reserved");
    let mut rows = world.told("shop")[2..].to_vec();
    rows.sort();
    assert_eq!(rows, ["A1 ready", "A2 ready", "B1 reserved"]);
    load(&mut world, "B1", 1);
    assert_eq!(world.told("shop").len(), 7, "nobody waits for that compartment beside a stranger's order");
}

/// Staff found that another order had to go there.
#[test]
fn a_stranger_in_the_compartment_takes_it_from_all_of_them() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    world.put(&put_of("A1", "house-7"));
    world.put(&put_of("A2", "house-7"));
    assert_eq!(world.reserved(), [door(2), door(2), door(1)]);
    load(&mut world, "B1", 2);
    assert_eq!(world.reserved(), [door(1), door(1), door(2)], "both go where there is room now");
}

#[test]
fn at_a_site_it_goes_where_the_others_are() {
    let mut world = World::empty();
    for (id, sizes) in [("c1", &[Size::M][..]), ("c2", &[Size::M, Size::M, Size::M])] {
        world.add(FakeCabinet::new(id, sizes));
        world.connect(&id.parse().unwrap());
    }
    world.put(&put_of("A1", "house-7"));
    world.put(&put_of("A2", "house-7").replace(r#""cabinet":"c1""#, r#""site":"mall""#));
    world.put(&put_of("A3", "house-8").replace(r#""cabinet":"c1""#, r#""site":"mall""#));
    let at: Vec<_> = world.statuses("shop").iter().map(|row| row.cabinet.clone().unwrap().to_string()).collect();
    assert_eq!(at, ["c1", "c1", "c2"]);
}

#[test]
fn what_needs_more_than_its_code_lies_alone() {
    for more in
        [r#""staff_release":true"#, r#""second_factor":{"answer":"4711"}"#, r#""deposit":"courier""#, r#""more":["M"]"#]
    {
        let mut world = World::new(&[Size::M, Size::M]);
        let put = put_of("A1", "house-7").replace(r#""shares""#, &format!(r#"{more},"shares""#));
        assert!(refusal(&world.put(&put)).contains("shares"), "{more}");
        assert!(world.told("shop").is_empty());
    }
    let mut world = two();
    change(&mut world, OrderChange::Content, r#"{"order":"A1","change":{"second_factor":{"answer":"4711"}}}"#);
    assert_eq!(last(&world), "A1 reserved shares_compartment");
    for word in [String::new(), "a b".into(), "a".repeat(65)] {
        assert!(refusal(&world.put(&put_of("A9", &word))).contains("order"), "{word:?}");
    }
}

#[test]
fn the_word_is_a_part_of_what_the_order_is() {
    let mut world = two();
    world.put(&put_of("A1", "house-7"));
    assert_eq!(world.told("shop").len(), 2, "the same again is nothing");
    world.put(&put_of("A1", "house-8"));
    assert_eq!(last(&world), "A1 rejected other_content");
    change(&mut world, OrderChange::Content, r#"{"order":"A1","change":{"recipient":{"phone":"2"}}}"#);
    world.put(&put_of("A1", "house-7").replace(r#""phone":"1""#, r#""phone":"2""#));
    assert!(!last(&world).contains("rejected"), "{}", last(&world));
}

#[test]
fn a_restored_fleet_learns_from_the_cabinet_what_lies_together() {
    let mut world = two();
    let backup = world.store.clone();
    load(&mut world, "A1", 1);
    beside(&mut world, "A2", 1, &["A1"]);
    restore(&mut world, backup);
    world.cabinet(&c1()).next = 1;
    world.connect(&c1());
    assert_eq!(inside(&mut world).0, ["A2", "A1"]);
    world.put(&put_of("A1", "house-7"));
    world.put(&put_of("A2", "house-7"));
    let stored = world.statuses("shop").into_iter().filter(|row| row.state == OrderState::Stored);
    let stored: BTreeSet<String> = stored.map(|row| row.order.to_string()).collect();
    assert_eq!(stored.into_iter().collect::<Vec<_>>(), ["A1", "A2"]);
}

/// One opening, whatever came out by it.
#[test]
fn a_door_without_a_sensor_that_opened_for_both_is_on_record_once() {
    let mut world = both_inside();
    let before = crate::history::list(&mut world).len();
    let credential = code_of(&world, "A2");
    for id in ["A1", "A2"] {
        world.fact(&c1(), Collected { order: order(id), compartment: door(1), credential, confirmed: true });
    }
    let list = crate::history::list(&mut world);
    assert_eq!(list.len(), before + 1, "{list:?}");
    assert_eq!(list[0].order.as_deref(), Some("shop/A2"), "{list:?}");
}

#[test]
fn what_lay_together_needs_a_look_where_the_agent_is_an_older_one_again() {
    let mut world = both_inside();
    let alarms = world.alarms();
    world.disconnect(&c1());
    world.cabinet(&c1()).shares = false;
    world.connect(&c1());
    assert_eq!((inside(&mut world).1, world.alarms()), (true, alarms + 1));
    world.disconnect(&c1());
    world.connect(&c1());
    assert_eq!(world.alarms(), alarms + 1, "told once");
}

#[test]
fn a_reservation_that_is_safe_keeps_the_compartment_for_all_that_share_it() {
    let mut world = World::new(&[Size::M]);
    world.put(&put_of("A1", "house-7"));
    world.pass(HOUR);
    world.put(&put_of("A2", "house-7").replace(r#""shares""#, r#""hold_minutes":1440,"shares""#));
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world), "B1 rejected no_fitting_compartment");
    world.pass(25 * HOUR);
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world), "B1 reserved");
}

/// It is where the cabinet would never put the other one now.
#[test]
fn who_was_booked_beside_an_order_that_is_not_to_be_had_any_more_waits_for_another_compartment() {
    for spoil in [
        |world: &mut World| drop(world.cancel(r#"{"order":"A1"}"#)),
        |world: &mut World| {
            let quarantine = r#"{"order":"A1","reason":"warm"}"#;
            change(world, OrderChange::Quarantine, quarantine);
        },
        |world: &mut World| drop(world.fact(&c1(), AuditRequired { compartment: door(1), order: Some(order("A1")) })),
        |world: &mut World| {
            change(world, OrderChange::Content, r#"{"order":"A2","change":{"category":"laundry"}}"#);
        },
    ] {
        let mut world = World::new(&[Size::M, Size::M]);
        world.put(&put_of("A1", "house-7"));
        world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
        world.put(&put_of("A2", "house-7"));
        load(&mut world, "A1", 1);
        assert_eq!(world.reserved(), [door(1), door(1), door(2)]);
        spoil(&mut world);
        assert!(world.told("shop").contains(&"A2 ready".into()), "{:?}", world.told("shop"));
        world.cancel(r#"{"order":"B1"}"#);
        let at = world.statuses("shop").into_iter().rfind(|row| row.order.as_str() == "A2").unwrap().compartment;
        assert_eq!(at, Some(door(2)), "it gets what comes free");
    }
}

#[test]
fn a_smaller_one_stays_where_the_others_are() {
    let mut world = two();
    change(&mut world, OrderChange::Content, r#"{"order":"A2","change":{"size":"S"}}"#);
    assert_eq!(last(&world), "A2 reserved");
    assert_eq!(world.reserved(), [door(1), door(1)]);
}

#[test]
fn nothing_is_booked_beside_others_at_a_cabinet_that_is_about_to_be_wiped() {
    let mut world = World::new(&[Size::M]);
    world.put(&put_of("A1", "house-7"));
    load(&mut world, "A1", 1);
    let wipe = Request::CabinetWipe { cabinet: c1(), reason: "stolen".into(), with_orders: true };
    assert_eq!(world.ask("operator:acme:eve", &wipe), Some(Reply::Done));
    world.put(&put_of("A2", "house-7"));
    assert_eq!(last(&world), "A2 rejected no_fitting_compartment");
}

#[test]
fn at_a_site_nobody_loses_a_compartment_to_whom_another_cabinet_has_room_for() {
    let mut world = World::empty();
    for (id, sizes) in [("c1", &[Size::M, Size::L][..]), ("c2", &[Size::L, Size::L])] {
        world.add(FakeCabinet::new(id, sizes));
        world.connect(&id.parse().unwrap());
    }
    world.put(&put_of("A1", "house-7"));
    world.put(r#"{"order":"B1","cabinet":"c1","size":"L","category":"retail"}"#);
    world.pass(HOUR);
    world.put(&put_of("A2", "house-7").replace(r#""cabinet":"c1""#, r#""site":"mall""#).replace(r#""M""#, r#""L""#));
    assert_eq!(world.statuses("shop").last().unwrap().cabinet, Some("c2".parse().unwrap()));
    assert!(!world.told("shop").contains(&"B1 ready".into()));
}

/// Events are lost, and the cabinet's word about what lies there is all that there is.
#[test]
fn what_the_cabinet_names_beside_another_is_known_to_be_there() {
    let mut world = World::new(&[Size::M, Size::M]);
    ["A1", "A2"].iter().for_each(|id| drop(world.put(&put_of(id, "house-7"))));
    beside(&mut world, "A2", 1, &["A1"]);
    let told: BTreeSet<String> = world.told("shop").into_iter().collect();
    assert!(told.contains("A1 stored") && told.contains("A2 stored"), "{told:?}");
    assert_eq!(world.notifications().len(), 2, "each has its code");
    assert_eq!(inside(&mut world), (vec!["A2".into(), "A1".into()], false));
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world), "B1 reserved", "the compartment that was kept for A1 is free");
}

#[test]
fn what_was_inside_is_not_forgotten_where_only_the_end_of_a_loading_beside_it_is_heard() {
    let mut world = two();
    load(&mut world, "A1", 1);
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    let stored = Stored { order: order("A2"), compartment: door(1), by: StoredBy::Staff, staff: staff.clone() };
    world.fact(&c1(), stored);
    assert_eq!(inside(&mut world), (vec!["A2".into(), "A1".into()], true), "somebody has to look");
    world.fact(&c1(), Retrieved { order: order("A2"), compartment: door(1), staff });
    assert_eq!(inside(&mut world).0, ["A1"]);
}

/// The cabinet has another disk: a doubt about the compartment is all that the fleet knows when it hears of the second one.
#[test]
fn what_was_inside_is_not_forgotten_where_the_compartment_is_in_doubt_already() {
    let mut world = two();
    load(&mut world, "A1", 1);
    world.fact(&c1(), AuditRequired { compartment: door(1), order: None });
    let staff = "sam".parse().unwrap();
    world.fact(&c1(), Stored { order: order("A2"), compartment: door(1), by: StoredBy::Staff, staff });
    assert_eq!(inside(&mut world), (vec!["A2".into(), "A1".into()], true));
}

#[test]
fn eight_lie_together_and_a_ninth_is_not_booked_there() {
    let mut world = World::new(&[Size::M]);
    for n in 1..=9 {
        world.put(&put_of(&format!("A{n}"), "house-7"));
    }
    assert_eq!(last(&world), "A9 rejected no_fitting_compartment");
    load(&mut world, "A1", 1);
    let mut held = vec!["A1".to_owned()];
    for n in 2..=8 {
        let others: Vec<&str> = held.iter().map(String::as_str).collect();
        beside(&mut world, &format!("A{n}"), 1, &others);
        held.push(format!("A{n}"));
    }
    world.put(&put_of("A9", "house-7"));
    assert_eq!(last(&world), "A9 rejected no_fitting_compartment");
    assert_eq!(inside(&mut world).0.len(), 8);
}

/// Two orders, loaded one beside the other, and collected by one code: broken off everywhere.
#[test]
fn a_crash_anywhere_loses_none_of_them() {
    let act = |world: &mut World, id: &str| {
        let payload = put_of(id, "house-7").into_bytes();
        world.handle(Input::OrderPut { tenant: tenant(), integration: shop(), payload });
    };
    let story = |world: &mut World| {
        insist(world, |world| act(world, "A1"));
        insist(world, |world| act(world, "A2"));
        store_at(world, &c1(), "A1", 1);
        survived(world);
        beside(world, "A2", 1, &["A1"]);
        survived(world);
        let (compartment, credential) = (door(1), CredentialId([1; 8]));
        for id in ["A1", "A2"] {
            world.fact(&c1(), Collected { order: order(id), compartment, credential, confirmed: true });
        }
        survived(world);
    };
    let check = |world: &mut World, what: &str| {
        world.settle();
        for id in ["A1", "A2"] {
            let own: Vec<_> = world.told("shop").into_iter().filter(|row| row.starts_with(id)).collect();
            let expected = ["reserved", "loading", "stored", "collected"];
            assert_eq!(own, expected.map(|state| format!("{id} {state}")), "{what}");
        }
        assert_eq!(inside(world), (vec![], false), "{what}");
    };
    let tried = everywhere(|| World::new(&[Size::M]), story, check);
    assert!(tried.commits > 5 && tried.cuts > 10, "{tried:?}");
}

/// The customer of its neighbour opens the door just when another code of it reaches the cabinet, and leaves everything there.
#[test]
fn another_code_that_reaches_the_cabinet_while_the_door_stands_open_is_told_all_the_same() {
    let mut world = both_inside();
    let credential = code_of(&world, "A1");
    let before = world.notifications();
    world.cabinet(&c1()).applies = false;
    let (tenant, integration, payload) = (tenant(), shop(), br#"{"order":"A2"}"#.to_vec());
    world.handle(Input::OrderChange { tenant, integration, change: OrderChange::Reissue, payload });
    world.settle();
    world.fact(&c1(), DoorOpened { compartment: door(1), by: ActorCredential { id: credential }.into() });
    assert_eq!(world.notifications().len(), before.len(), "not before the cabinet holds it");
    let version = world.cabinet(&c1()).books.last().unwrap().version;
    world.apply(&c1(), version);
    let told = world.notifications().split_off(before.len());
    assert_eq!(told.iter().map(|told| told.order.as_str()).collect::<Vec<_>>(), ["A2"]);
    assert!(before.iter().all(|before| before.code != told[0].code));
}
