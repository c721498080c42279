//! Orders that fill several compartments: loaded, announced, collected and ended as one.

use std::collections::{BTreeMap, BTreeSet};

use fleet_core::Input;
use schemas::api::{Minutes, NotificationKind, OrderState, Policies, Reply, Request, RequestErrorCode};
use schemas::messages::*;
use schemas::topics::OrderChange;

use crate::bundles::{change, collect, opens, store_at};
use crate::handover::load;
use crate::interrupted::{everywhere, insist, survived};
use crate::restore::restore;
use crate::time::HOUR;
use crate::world::{FakeCabinet, World, c1, door, order, refusal, shop, tenant};

const TWO: &str =
    r#"{"order":"A17","cabinet":"c1","size":"M","more":["L"],"category":"retail","recipient":{"phone":"1"}}"#;

/// A cabinet with two M and two L, and an order for one of each.
fn two() -> World {
    let mut world = World::new(&[Size::M, Size::M, Size::L, Size::L]);
    world.put(TWO);
    world
}

fn both_inside() -> World {
    let mut world = two();
    load(&mut world, "A17", 1);
    load(&mut world, "A17.2", 3);
    world
}

fn wish(world: &mut World, which: OrderChange) {
    change(world, which, r#"{"order":"A17"}"#);
}

fn last(world: &World) -> String {
    world.told("shop").pop().unwrap()
}

/// State and compartment of each part, by the newest row.
fn parts(world: &World) -> Vec<(OrderState, Option<u16>)> {
    let row = world.statuses("shop").pop().unwrap();
    row.parts.iter().map(|part| (part.state, part.compartment.map(Compartment::number))).collect()
}

fn show(world: &mut World, id: &str) -> Option<Reply> {
    world.ask("operator:acme:eve", &Request::OrderShow { order: order(id) })
}

#[test]
fn the_backend_hears_of_one_order_and_its_recipient_of_one_code_once_all_of_it_is_inside() {
    let mut world = two();
    assert_eq!(world.told("shop"), ["A17 reserved"]);
    assert_eq!(parts(&world), [(OrderState::Reserved, Some(1)), (OrderState::Reserved, Some(3))]);
    load(&mut world, "A17.2", 3);
    assert_eq!((last(&world).as_str(), world.notifications().len()), ("A17 loading", 0));
    load(&mut world, "A17", 1);
    assert_eq!(world.told("shop"), ["A17 reserved", "A17 loading", "A17 stored"]);
    let [told] = world.notifications().try_into().unwrap();
    assert_eq!((told.kind, told.order.as_str(), told.bundle), (NotificationKind::PickupCode, "A17", None));
    let doors: Vec<_> = told.doors.iter().map(|at| (at.order.as_str(), at.compartment.number())).collect();
    assert_eq!(doors, [("A17", 1), ("A17", 3)]);
    assert!(told.instruction.contains("These doors open: Main Street 1: 1, 3."), "{}", told.instruction);
    assert_eq!(told.recipient.phone.as_deref(), Some("1"));
    let both = ["A17", "A17.2"].map(String::from).to_vec();
    assert_eq!(opens(&world, &c1()).values().collect::<Vec<_>>(), [&both, &both], "one code and one token");
}

#[test]
fn it_is_collected_when_all_of_it_is_and_partly_until_then() {
    let mut world = both_inside();
    collect(&mut world, &c1(), "A17.2", 3);
    assert_eq!(world.told("shop")[3..], ["A17 collecting", "A17 partly_collected"]);
    assert_eq!(parts(&world), [(OrderState::Stored, Some(1)), (OrderState::Collected, Some(3))]);
    collect(&mut world, &c1(), "A17", 1);
    assert_eq!(world.told("shop")[5..], ["A17 collecting", "A17 collected"]);
    assert_eq!(world.notifications().len(), 1);
    assert!(opens(&world, &c1()).is_empty());
    world.put(TWO);
    assert_eq!(last(&world), "A17 collected", "the same again is nothing");
}

#[test]
fn there_is_room_for_all_of_it_or_it_is_rejected_as_a_whole_and_may_be_put_again() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(TWO);
    assert_eq!(world.told("shop"), ["A17 rejected no_fitting_compartment"]);
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","more":["M"],"category":"retail"}"#);
    assert_eq!(last(&world), "B1 reserved", "nothing is kept for what was rejected");
    world.put(r#"{"order":"B2","cabinet":"c1","size":"M","more":["S"],"category":"retail"}"#);
    assert_eq!(last(&world), "B2 rejected no_fitting_compartment");
    world.cancel(r#"{"order":"B1"}"#);
    assert_eq!(last(&world), "B1 cancelled");
    world.put(r#"{"order":"B2","cabinet":"c1","size":"M","more":["S"],"category":"retail"}"#);
    assert_eq!(last(&world), "B2 reserved");
    load(&mut world, "B2", 1);
    load(&mut world, "B2.2", 2);
    assert_eq!(world.notifications().len(), 1, "its credential is as new as it is");
    world.put(r#"{"order":"B3","cabinet":"c9","size":"M","more":["S"],"category":"retail"}"#);
    assert_eq!(last(&world), "B3 rejected unknown_cabinet");
}

#[test]
fn all_of_it_goes_to_the_same_cabinet_of_a_site() {
    let mut world = World::empty();
    for (id, sizes) in [("c1", &[Size::M, Size::M, Size::M][..]), ("c2", &[Size::M, Size::L])] {
        world.add(FakeCabinet::new(id, sizes));
        world.connect(&id.parse().unwrap());
    }
    world.put(&TWO.replace(r#""cabinet":"c1""#, r#""site":"mall""#));
    assert_eq!(world.told("shop"), ["A17 reserved"]);
    assert_eq!(world.statuses("shop")[0].cabinet, Some("c2".parse().unwrap()));
    assert_eq!(parts(&world), [(OrderState::Reserved, Some(1)), (OrderState::Reserved, Some(2))]);
    for n in 1..=3 {
        world.put(&format!(r#"{{"order":"B{n}","cabinet":"c1","size":"M","category":"retail"}}"#));
        assert_eq!(last(&world), format!("B{n} reserved"), "nothing is kept where it does not go");
    }
    change(&mut world, OrderChange::Move, r#"{"order":"A17","to":"c1"}"#);
    assert_eq!(last(&world), "A17 reserved several_compartments");
}

#[test]
fn what_is_asked_for_it_is_done_to_all_of_it_and_told_once() {
    let mut world = both_inside();
    let until = world.statuses("shop").last().unwrap().until.unwrap().0 + 24 * HOUR;
    let extend = |until| format!(r#"{{"order":"A17","until":"{}"}}"#, schemas::api::Rfc3339(until));
    change(&mut world, OrderChange::Extend, &extend(until));
    let rows = world.statuses("shop");
    assert_eq!((rows.len(), rows[3].state, rows[3].until.unwrap().0), (4, OrderState::Stored, until));
    change(&mut world, OrderChange::Extend, &extend(until - HOUR));
    assert_eq!(last(&world), "A17 stored deadline_not_later");
    wish(&mut world, OrderChange::Resend);
    let told = world.notifications();
    assert_eq!((told.len(), &told[1].code, told[1].doors.len()), (2, &told[0].code, 2));
    assert!(told[1].id != told[0].id && told[1].kind == NotificationKind::PickupCode);
    world.cancel(r#"{"order":"A17"}"#);
    assert_eq!((last(&world).as_str(), world.told("shop").len()), ("A17 recalled", 6));
    assert!(opens(&world, &c1()).is_empty());
    let sam: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Retrieved { order: order("A17"), compartment: door(1), staff: sam.clone() });
    assert_eq!(last(&world), "A17 recalled");
    world.fact(&c1(), Retrieved { order: order("A17.2"), compartment: door(3), staff: sam });
    assert_eq!(last(&world), "A17 retrieved");
    assert_eq!(world.notifications().len(), 2, "nobody is told that there is nothing");
}

#[test]
fn another_code_is_announced_when_its_cabinet_holds_it_for_all_of_it() {
    let mut world = both_inside();
    let before = opens(&world, &c1());
    world.cabinet(&c1()).applies = false;
    wish(&mut world, OrderChange::Reissue);
    assert_eq!(world.notifications().len(), 1, "the old one is good until then");
    wish(&mut world, OrderChange::Resend);
    assert_eq!(world.notifications().len(), 1, "which of the two would be sent?");
    assert_eq!(last(&world), "A17 stored no_code_yet");
    world.cabinet(&c1()).applies = true;
    let version = world.cabinet(&c1()).books.last().unwrap().version;
    world.apply(&c1(), version);
    let told = world.notifications();
    assert_eq!((told.len(), told[1].doors.len()), (2, 2));
    assert!(told[0].code != told[1].code && told[0].qr != told[1].qr);
    assert_eq!(opens(&world, &c1()), before, "as many as before, of a later generation");
    let ids: BTreeSet<CredentialId> = world.cabinets[&c1()]
        .books
        .iter()
        .flat_map(|book| &book.changes)
        .filter_map(|change| if let BookChange::PutCredential(put) = change { Some(put.id) } else { None })
        .collect();
    assert_eq!(ids.len(), 4);
    // Who is told by another number is told another code.
    let other = r#"{"order":"A17","change":{"recipient":{"phone":"2"}}}"#;
    change(&mut world, OrderChange::Content, other);
    let told = world.notifications();
    assert_eq!((told.len(), told[2].recipient.phone.as_deref()), (3, Some("2")));
    assert_ne!(told[1].code, told[2].code);
}

/// Codes are asked for as often as those of any order, whichever parts are left.
#[test]
fn codes_are_not_sent_without_end_once_the_first_part_is_out() {
    let mut world = both_inside();
    collect(&mut world, &c1(), "A17", 1);
    for _ in 0..50 {
        wish(&mut world, OrderChange::Resend);
    }
    assert_eq!(last(&world), "A17 partly_collected too_often");
    let sent = world.notifications().len();
    assert!((5..50).contains(&sent), "{sent}");
    assert!(world.notifications().iter().skip(1).all(|told| told.doors.len() == 1));
    wish(&mut world, OrderChange::Reissue);
    assert_eq!(world.notifications().len(), sent);
}

#[test]
fn a_part_that_is_recalled_while_a_new_code_is_on_its_way_is_opened_by_neither() {
    let mut world = both_inside();
    world.disconnect(&c1());
    wish(&mut world, OrderChange::Reissue);
    world.cancel(r#"{"order":"A17"}"#);
    world.connect(&c1());
    assert_eq!(opens(&world, &c1()), BTreeMap::new());
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn its_time_begins_when_the_last_of_it_is_inside_and_reminders_and_ends_come_once() {
    let mut world = two();
    load(&mut world, "A17", 1);
    world.pass(71 * HOUR);
    assert_eq!(last(&world), "A17 loading");
    load(&mut world, "A17.2", 3);
    let stored = world.statuses("shop").pop().unwrap();
    assert_eq!((stored.state, stored.until.unwrap().0 - stored.at.0), (OrderState::Stored, 72 * HOUR));
    world.pass(36 * HOUR);
    let told = world.notifications();
    assert_eq!((told.len(), told[1].kind, told[1].doors.len()), (2, NotificationKind::Reminder, 2));
    world.pass(36 * HOUR);
    assert_eq!(last(&world), "A17 overdue");
    assert_eq!(world.told("shop").iter().filter(|row| row.ends_with("overdue")).count(), 1);
    assert_eq!(world.notifications().len(), 3);
}

#[test]
fn a_part_that_waits_for_ever_for_the_others_is_overdue_and_has_its_time_again_when_they_come() {
    let mut world = two();
    load(&mut world, "A17", 1);
    world.pass(73 * HOUR);
    assert_eq!(last(&world), "A17 overdue", "staff are to take it out");
    load(&mut world, "A17.2", 3);
    let stored = world.statuses("shop").pop().unwrap();
    assert_eq!((stored.state, stored.until.unwrap().0 - stored.at.0), (OrderState::Stored, 72 * HOUR));
    assert_eq!((world.notifications().len(), world.notifications()[0].doors.len()), (1, 2));
}

#[test]
fn nobody_can_ask_for_a_part_and_no_order_or_bundle_takes_its_name() {
    let mut world = two();
    let rows = world.told("shop").len();
    for change_of in [OrderChange::Resend, OrderChange::Reissue] {
        change(&mut world, change_of, r#"{"order":"A17.2"}"#);
        assert_eq!(last(&world), "A17.2 rejected unknown_order");
    }
    world.cancel(r#"{"order":"A17.2"}"#);
    change(&mut world, OrderChange::Move, r#"{"order":"A17.2","to":"c1"}"#);
    change(&mut world, OrderChange::Content, r#"{"order":"A17.2","change":{"ready":false}}"#);
    change(&mut world, OrderChange::Quarantine, r#"{"order":"A17.2","reason":"r"}"#);
    assert!(world.told("shop")[rows..].iter().all(|row| row == "A17.2 rejected unknown_order"));
    world.put(r#"{"order":"A17.2","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(last(&world), "A17.2 rejected other_content");
    assert!(matches!(show(&mut world, "A17.2"), Some(Reply::Error(error)) if error.code == RequestErrorCode::Unknown));
    world.put(r#"{"order":"B1.2","cabinet":"c1","size":"M","category":"retail"}"#);
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","more":["S"],"category":"retail"}"#);
    assert_eq!(last(&world), "B1 rejected other_content");
    for json in [r#"{"bundle":"A17","orders":["B1.2"]}"#, r#"{"bundle":"run","orders":["A17"]}"#] {
        let before = world.told("shop").len();
        change(&mut world, OrderChange::Bundle, json);
        let said = ["B1.2 rejected other_content", "A17 rejected several_compartments"];
        assert!(world.told("shop").len() == before + 1 && said.contains(&last(&world).as_str()), "{}", last(&world));
    }
    let none = change(&mut world, OrderChange::Unbundle, r#"{"bundle":"A17"}"#);
    assert_eq!(refusal(&none), "there is no bundle shop/A17");
    assert!(matches!(
        world.ask("operator:acme:eve", &Request::BundleShow { bundle: order("A17") }),
        Some(Reply::Error(_))
    ));
    let Some(Reply::Orders(listed)) = world.ask_raw("operator:acme:eve", br#"{"op":"order.list"}"#) else { panic!() };
    assert_eq!(listed.iter().map(|one| one.order.order.as_str()).collect::<BTreeSet<_>>(), ["A17", "B1.2"].into());
}

#[test]
fn what_a_backend_may_not_put_or_change_is_refused() {
    let mut world = two();
    let nine =
        |more: &str| format!(r#"{{"order":"B1","cabinet":"c1","size":"S","more":[{more}],"category":"retail"}}"#);
    let effects = world.put(&nine(&[r#""S""#; 8].join(",")));
    assert!(refusal(&effects).contains("8 compartments at most"), "{effects:?}");
    let effects = world.put(&nine(r#""s""#));
    assert!(refusal(&effects).contains("none of S, M, L, XL"), "{effects:?}");
    let deposit = nine(r#""S""#).replace("}", r#","deposit":"courier"}"#);
    assert!(refusal(&world.put(&deposit)).contains("one compartment"));
    change(&mut world, OrderChange::Content, r#"{"order":"A17","change":{"size":"S"}}"#);
    assert_eq!(last(&world), "A17 reserved several_compartments");
    world.put(&TWO.replace(r#"["L"]"#, r#"["L","S"]"#));
    assert_eq!(last(&world), "A17 rejected other_content");
    change(&mut world, OrderChange::Content, r#"{"order":"A17","change":{"ready":false}}"#);
    assert_eq!(last(&world), "A17 created");
    world.put(r#"{"order":"B2","cabinet":"c1","size":"M","more":["M"],"category":"retail"}"#);
    assert_eq!(last(&world), "B2 reserved", "it holds no compartment any more");
    world.cancel(r#"{"order":"B2"}"#);
    world.put(TWO);
    assert_eq!(last(&world), "A17 reserved", "put again, it may be loaded");
    assert_eq!(world.told("shop").iter().filter(|row| *row == "A17 created").count(), 1);
}

#[test]
fn quarantine_release_and_a_forced_end_are_for_all_of_it() {
    let mut world = both_inside();
    change(&mut world, OrderChange::Quarantine, r#"{"order":"A17","reason":"warm"}"#);
    assert_eq!((last(&world).as_str(), world.told("shop").len()), ("A17 quarantined", 4));
    assert!(opens(&world, &c1()).is_empty());
    let release = Request::OrderRelease { order: order("A17"), reason: "cold again".into() };
    assert!(matches!(world.ask("operator:acme:eve", &release), Some(Reply::Order(shown)) if shown.parts.len() == 2));
    assert_eq!((last(&world).as_str(), world.told("shop").len()), ("A17 stored", 5));
    assert_eq!(opens(&world, &c1()).len(), 2);
    change(&mut world, OrderChange::Quarantine, r#"{"order":"A17","reason":"warm"}"#);
    let close = Request::OrderClose {
        order: order("A17"),
        closed_as: schemas::api::ClosedAs::Retrieved,
        reason: "thrown away".into(),
    };
    assert!(matches!(world.ask("operator:acme:eve", &close), Some(Reply::Order(_))));
    assert_eq!((last(&world).as_str(), world.told("shop").len()), ("A17 retrieved force_closed", 7));
}

#[test]
fn it_is_forgotten_as_a_whole_when_all_of_it_is_over() {
    let mut world = both_inside();
    collect(&mut world, &c1(), "A17", 1);
    world.pass(100 * 24 * HOUR);
    let Some(Reply::Order(shown)) = show(&mut world, "A17") else { panic!("the rest of it is inside") };
    assert_eq!((shown.summary.state, shown.parts.len()), (OrderState::Overdue, 2));
    collect(&mut world, &c1(), "A17.2", 3);
    assert_eq!(last(&world), "A17 collected");
    world.pass(100 * 24 * HOUR);
    assert!(matches!(show(&mut world, "A17"), Some(Reply::Error(_))));
    assert_eq!(world.row_count(fleet_core::ORDERS), 0);
}

#[test]
fn a_restored_fleet_adopts_all_of_it_by_one_put() {
    let mut world = World::new(&[Size::M, Size::M, Size::L, Size::L]);
    let backup = world.store.clone();
    world.put(TWO);
    load(&mut world, "A17", 1);
    load(&mut world, "A17.2", 3);
    restore(&mut world, backup);
    world.connect(&c1());
    world.put(TWO);
    assert_eq!(world.statuses("shop").pop().unwrap().state, OrderState::Stored);
    assert_eq!(parts(&world), [(OrderState::Stored, Some(1)), (OrderState::Stored, Some(3))]);
    assert_eq!(world.notifications().last().unwrap().doors.len(), 2);
}

/// Put, loaded, given another code, and collected in part: broken off everywhere.
#[test]
fn a_crash_anywhere_loses_no_part_and_tells_nothing_twice() {
    let act = |world: &mut World, change: Option<OrderChange>, payload: &str| {
        let payload = payload.as_bytes().to_vec();
        let (tenant, integration) = (tenant(), shop());
        match change {
            None => world.handle(Input::OrderPut { tenant, integration, payload }),
            Some(change) => world.handle(Input::OrderChange { tenant, integration, change, payload }),
        };
    };
    let story = |world: &mut World| {
        insist(world, |world| act(world, None, TWO));
        for (id, number) in [("A17", 1), ("A17.2", 3)] {
            store_at(world, &c1(), id, number);
            survived(world);
        }
        insist(world, |world| act(world, Some(OrderChange::Reissue), r#"{"order":"A17"}"#));
        collect(world, &c1(), "A17", 1);
        survived(world);
    };
    let check = |world: &mut World, what: &str| {
        world.settle();
        let mut rows = world.told("shop");
        rows.dedup();
        let expected = ["reserved", "loading", "stored", "collecting", "partly_collected"];
        assert_eq!(rows, expected.map(|state| format!("A17 {state}")), "{what}");
        assert_eq!(world.told("shop").len(), rows.len(), "{what}: told twice");
        // A wish that was carried out and not acknowledged is asked for again.
        let told = world.notifications();
        assert!((2..=3).contains(&told.len()), "{what}: {} messages", told.len());
        assert!(told.iter().all(|one| one.doors.len() == 2) && told[0].code != told[1].code, "{what}");
        let opened = opens(world, &c1());
        let opens_the_rest = |orders: &Vec<String>| orders.iter().any(|order| order == "A17.2");
        assert!(opened.values().all(opens_the_rest) && opened.len() == 2, "{what}: {opened:?}");
    };
    let tried = everywhere(|| World::new(&[Size::M, Size::M, Size::L, Size::L]), story, check);
    assert!(tried.commits > 5 && tried.cuts > 10, "{tried:?}");
}

/// Whichever of its compartments are empty: the order is still there for whoever looks.
#[test]
fn a_preview_names_an_order_once_whichever_of_its_parts_change() {
    let mut stricter = Policies::default();
    stricter.retail.window_minutes = Minutes::new(60).unwrap();
    let preview = |world: &mut World| {
        let request = Request::PolicyPreview { policies: Box::new(stricter.clone()) };
        let Some(Reply::PolicyPreview(changes)) = world.ask("operator:acme:eve", &request) else { panic!() };
        changes.into_iter().map(|one| (one.orders, one.overdue, one.first)).collect::<Vec<_>>()
    };
    let one = |overdue| vec![(1, overdue, vec![order("A17")])];
    let mut world = both_inside();
    assert_eq!(preview(&mut world), one(0));
    collect(&mut world, &c1(), "A17", 1);
    assert_eq!(preview(&mut world), one(0), "what is left of it would change");
    world.pass(2 * HOUR);
    assert_eq!(preview(&mut world), one(1));
    let mut half = two();
    load(&mut half, "A17.2", 3);
    assert_eq!(preview(&mut half), one(0), "its first part is not loaded yet");
}

/// Food keeps longer where it is cooled: all of it has to be.
#[test]
fn an_order_of_which_one_part_is_not_cooled_has_the_time_of_what_is_not() {
    for (first, second, minutes) in [(true, true, 120), (true, false, 30), (false, true, 30)] {
        let mut world = World::new(&[Size::M, Size::M, Size::L, Size::L]);
        world.put(&TWO.replace("retail", "food"));
        for (cooled, id, number) in [(first, "A17", 1), (second, "A17.2", 3)] {
            world.cabinet(&c1()).attributes.refrigerated = cooled;
            world.connect(&c1());
            load(&mut world, id, number);
        }
        let row = world.statuses("shop").pop().unwrap();
        let end = row.until.map(|until| (until.0 - row.at.0) / 60_000);
        assert_eq!((row.state, end), (OrderState::Stored, Some(minutes)), "{first} {second}");
    }
}
