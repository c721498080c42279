//! Several orders under one credential, at one cabinet and across cabinets.

use std::collections::BTreeMap;

use fleet_core::{Effect, Input};
use schemas::api::{BundleDetail, NotificationKind, OrderState, Reply, Request, RequestErrorCode};
use schemas::ids::CabinetId;
use schemas::messages::*;
use schemas::topics::OrderChange;

use crate::handover::load;
use crate::interrupted::{everywhere, insist, survived};
use crate::restore::restore;
use crate::time::HOUR;
use crate::world::{FakeCabinet, World, c1, door, order, refusal, shop, tenant};

fn c2() -> CabinetId {
    "c2".parse().unwrap()
}

fn put(world: &mut World, id: &str, cabinet: &str) {
    let json = format!(
        r#"{{"order":"{id}","cabinet":"{cabinet}","size":"M","category":"retail","recipient":{{"phone":"{id}"}}}}"#
    );
    world.put(&json);
}

pub(crate) fn change(world: &mut World, change: OrderChange, json: &str) -> Vec<Effect> {
    let payload = json.as_bytes().to_vec();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload })
}

fn bundle(world: &mut World, orders: &str) -> Vec<Effect> {
    let recipient = r#""recipient":{"phone":"driver"}"#;
    change(world, OrderChange::Bundle, &format!(r#"{{"bundle":"run-7","orders":[{orders}],{recipient}}}"#))
}

fn unbundle(world: &mut World) -> Vec<Effect> {
    change(world, OrderChange::Unbundle, r#"{"bundle":"run-7"}"#)
}

/// What opens what at a cabinet, by kind, after all books that it got, as PROTOCOL.md says.
pub(crate) fn opens(world: &World, cabinet: &CabinetId) -> BTreeMap<String, Vec<String>> {
    let mut held: BTreeMap<CredentialId, PutCredential> = BTreeMap::new();
    for change in world.cabinets[cabinet].books.iter().flat_map(|book| &book.changes) {
        match change {
            BookChange::PutCredential(put) => {
                for other in held.values_mut().filter(|other| other.generation < put.generation) {
                    other.orders.retain(|order| !put.orders.contains(order));
                }
                held.insert(put.id, put.clone());
            }
            BookChange::DropCredential(gone) => drop(held.remove(&gone.id)),
            _ => {}
        }
    }
    let mut opens = BTreeMap::new();
    for put in held.into_values().filter(|put| !put.orders.is_empty()) {
        let orders = put.orders.iter().map(|order| order.order.to_string()).collect();
        let bundle = if put.rights.is_some() { "bundle" } else { "own" };
        opens.insert(format!("{bundle} {} {}", put.kind, put.orders[0].order), orders);
    }
    opens
}

pub(crate) fn collect(world: &mut World, cabinet: &CabinetId, id: &str, number: u16) {
    let credential = CredentialId([1; 8]);
    let by = ActorCredential { id: credential }.into();
    world.fact(cabinet, DoorOpened { compartment: door(number), by });
    world.fact(cabinet, Collected { order: order(id), compartment: door(number), credential, confirmed: true });
}

pub(crate) fn store_at(world: &mut World, cabinet: &CabinetId, id: &str, number: u16) {
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(cabinet, Loading { order: order(id), compartment: door(number), staff: staff.clone() });
    world.fact(cabinet, Stored { order: order(id), compartment: door(number), by: StoredBy::Sensor, staff });
}

fn three() -> World {
    let mut world = World::new(&[Size::M; 4]);
    ["A1", "A2", "A3"].iter().for_each(|id| put(&mut world, id, "c1"));
    world
}

fn detail(world: &mut World) -> BundleDetail {
    let request = Request::BundleShow { bundle: order("run-7") };
    match world.ask("support:acme:sue", &request) {
        Some(Reply::Bundle(detail)) => *detail,
        other => panic!("{other:?}"),
    }
}

/// Acceptance 6, the fleet's part: one message, when the last of the orders is inside.
#[test]
fn the_credential_is_announced_once_when_every_order_is_inside() {
    let mut world = three();
    bundle(&mut world, r#""A1","A2","A3""#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    assert_eq!(world.notifications(), []);
    load(&mut world, "A3", 3);
    let [told] = world.notifications().try_into().unwrap();
    assert_eq!((told.kind, told.recipient.phone.as_deref()), (NotificationKind::BundleCode, Some("driver")));
    assert_eq!(told.bundle, Some("run-7".parse().unwrap()));
    let doors: Vec<_> = told.doors.iter().map(|at| (at.order.to_string(), at.compartment.number())).collect();
    assert_eq!(doors, [("A1".into(), 1), ("A2".into(), 2), ("A3".into(), 3)]);
    assert!(told.instruction.contains("Main Street 1: 1, 2, 3"), "{}", told.instruction);
    let all = ["A1", "A2", "A3"].map(String::from).to_vec();
    let expected = [("bundle digits A1".to_owned(), all.clone()), ("bundle qr A1".to_owned(), all)];
    assert_eq!(opens(&world, &c1()), BTreeMap::from(expected), "nothing else opens them");
    assert!(world.statuses("shop").last().unwrap().bundle.is_some());
    for (id, number) in [("A1", 1), ("A2", 2), ("A3", 3)] {
        collect(&mut world, &c1(), id, number);
    }
    assert_eq!(world.notifications().len(), 1, "what was taken is no news for who took it");
    assert!(opens(&world, &c1()).is_empty());
}

#[test]
fn orders_that_are_inside_with_codes_of_their_own_are_opened_by_these_until_the_cabinet_holds_the_bundle() {
    let mut world = three();
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    assert_eq!(world.notifications().len(), 2);
    world.cabinet(&c1()).applies = false;
    bundle(&mut world, r#""A1","A2""#);
    assert_eq!(world.notifications().len(), 2, "nothing is announced that the cabinet does not hold");
    world.cabinet(&c1()).applies = true;
    let version = world.cabinet(&c1()).books.last().unwrap().version;
    world.apply(&c1(), version);
    let told = world.notifications();
    assert_eq!((told.len(), told[2].kind, told[2].doors.len()), (3, NotificationKind::BundleCode, 2));
    assert!(told[2].code != told[0].code && told[2].code != told[1].code);
    assert!(opens(&world, &c1()).keys().all(|key| key.starts_with("bundle")));
}

#[test]
fn one_credential_opens_at_each_cabinet_what_lies_there() {
    let mut world = World::new(&[Size::M; 2]);
    world.add(FakeCabinet::new("c2", &[Size::M; 2]));
    world.connect(&c2());
    put(&mut world, "A1", "c1");
    put(&mut world, "A2", "c2");
    bundle(&mut world, r#""A1","A2""#);
    store_at(&mut world, &c1(), "A1", 1);
    store_at(&mut world, &c2(), "A2", 1);
    let [told] = world.notifications().try_into().unwrap();
    assert_eq!(told.doors.iter().map(|at| at.cabinet.as_str()).collect::<Vec<_>>(), ["c1", "c2"]);
    for (cabinet, id) in [(c1(), "A1"), (c2(), "A2")] {
        let held = opens(&world, &cabinet);
        assert_eq!(held.values().collect::<Vec<_>>(), [&vec![id.to_owned()]; 2], "{cabinet}");
    }
    assert_eq!(detail(&mut world).orders.len(), 2);
}

#[test]
fn a_delivery_platform_gets_the_credential_and_the_shop_its_statuses() {
    let mut world = three();
    let json = r#"{"bundle":"run-7","orders":["A1"],"deliver_to":"rides","recipient":{"phone":"driver"}}"#;
    change(&mut world, OrderChange::Bundle, json);
    load(&mut world, "A1", 1);
    assert_eq!(world.notifications(), []);
    let [told] = world.notifications_of("rides").try_into().unwrap();
    assert_eq!((told.order.as_str(), told.kind), ("A1", NotificationKind::BundleCode));
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored");
    assert!(world.told("rides").is_empty());
}

#[test]
fn what_is_not_to_be_had_any_more_is_told_to_whoever_has_the_credential() {
    let mut world = three();
    bundle(&mut world, r#""A1","A2","A3""#);
    [("A1", 1), ("A2", 2), ("A3", 3)].iter().for_each(|(id, number)| load(&mut world, id, *number));
    world.cancel(r#"{"order":"A2"}"#);
    let told = world.notifications();
    assert_eq!((told.len(), told[1].kind), (2, NotificationKind::BundleChanged));
    assert_eq!(told[1].doors.iter().map(|at| at.order.as_str()).collect::<Vec<_>>(), ["A1", "A3"]);
    assert_eq!((&told[1].code, &told[1].qr), (&told[0].code, &told[0].qr), "the same credential");
    assert_eq!(opens(&world, &c1()).values().next().unwrap(), &["A1", "A3"].map(String::from).to_vec());
    world.fact(
        &c1(),
        Audited {
            compartment: door(3),
            staff: "sam".parse().unwrap(),
            found: Finding::Missing,
            order: Some(order("A3")),
        },
    );
    let told = world.notifications();
    assert_eq!((told.len(), told[2].doors.len()), (3, 1), "a missing order is told with its absence");
    load(&mut world, "A3", 4);
    assert_eq!(world.notifications().last().unwrap().doors.len(), 2, "found again");
}

#[test]
fn an_order_that_was_left_inside_waits_for_the_same_credential() {
    let mut world = three();
    bundle(&mut world, r#""A1","A2""#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    let before = opens(&world, &c1());
    let credential = CredentialId([1; 8]);
    let by = ActorCredential { id: credential }.into();
    world.fact(&c1(), DoorOpened { compartment: door(2), by });
    world.fact(&c1(), NotTaken { order: order("A2"), compartment: door(2), credential });
    assert_eq!(world.told("shop")[world.told("shop").len() - 2..], ["A2 collecting", "A2 stored"]);
    assert_eq!((opens(&world, &c1()), world.notifications().len()), (before, 1));
    world.pass(72 * HOUR);
    assert_eq!(detail(&mut world).orders[1].state, OrderState::Overdue, "its window went on");
}

#[test]
fn a_bundle_that_is_released_gives_each_order_a_code_of_its_own() {
    let mut world = three();
    bundle(&mut world, r#""A1","A2","A3""#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    unbundle(&mut world);
    let told = world.notifications();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|one| one.kind == NotificationKind::PickupCode && one.bundle.is_none()));
    assert_eq!(told.iter().map(|one| one.recipient.phone.as_deref().unwrap()).collect::<Vec<_>>(), ["A1", "A2"]);
    assert!(opens(&world, &c1()).keys().all(|key| key.starts_with("own")));
    load(&mut world, "A3", 3);
    assert_eq!(world.notifications().len(), 3);
    assert_eq!(refusal(&unbundle(&mut world)), "there is no bundle shop/run-7");
    change(&mut world, OrderChange::Resend, r#"{"order":"A1"}"#);
    assert_eq!(world.notifications().len(), 4, "it is an order with a code as any other");
    bundle(&mut world, r#""A1","A2""#);
    assert_eq!(world.notifications().last().unwrap().kind, NotificationKind::BundleCode, "and once more");
}

#[test]
fn a_bundle_is_made_once_and_what_cannot_be_bundled_is_named() {
    let mut world = three();
    bundle(&mut world, r#""A1""#);
    let rows = world.told("shop").len();
    bundle(&mut world, r#""A1""#);
    assert_eq!(world.told("shop").len(), rows, "the same again is nothing");
    bundle(&mut world, r#""A1","A2""#);
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected other_content");
    assert!(world.statuses("shop").last().unwrap().content.is_some(), "with both hashes");
    let other = |orders: &str| format!(r#"{{"bundle":"run-8","orders":[{orders}]}}"#);
    for (orders, expected) in [(r#""A2","A1""#, "A1 rejected in_bundle"), (r#""A2","A9""#, "A9 rejected unknown_order")]
    {
        change(&mut world, OrderChange::Bundle, &other(orders));
        assert_eq!(world.told("shop").last().unwrap(), expected);
    }
    world.cancel(r#"{"order":"A3"}"#);
    change(&mut world, OrderChange::Bundle, &other(r#""A2","A3""#));
    assert_eq!(world.told("shop").last().unwrap(), "A3 rejected too_late");
    let many: Vec<_> = (0..65).map(|n| format!(r#""B{n}""#)).collect();
    for (orders, expected) in [("", "1 to 64"), (r#""A2","A2""#, "named twice"), (&many.join(","), "1 to 64")] {
        let effects = change(&mut world, OrderChange::Bundle, &other(orders));
        assert!(refusal(&effects).contains(expected), "{effects:?}");
    }
    change(&mut world, OrderChange::Reissue, r#"{"order":"A1"}"#);
    load(&mut world, "A1", 1);
    change(&mut world, OrderChange::Resend, r#"{"order":"A1"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored in_bundle");
    load(&mut world, "A2", 2);
    assert!(world.notifications().iter().any(|one| one.order.as_str() == "A2" && one.bundle.is_none()));
}

#[test]
fn each_order_keeps_the_end_of_its_own_window_in_the_book() {
    let mut world = World::new(&[Size::M; 2]);
    for (id, category) in [("A1", "food"), ("A2", "retail")] {
        world.put(&format!(r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"{category}"}}"#));
    }
    bundle(&mut world, r#""A1","A2""#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    let rights = |world: &World| {
        let changes = world.cabinets[&c1()].books.iter().flat_map(|book| &book.changes);
        let put = |change: &BookChange| match change {
            BookChange::PutCredential(put) => put.rights.clone(),
            _ => None,
        };
        changes.rev().find_map(put).unwrap()
    };
    let ends: Vec<_> = rights(&world).iter().map(|right| (right.expires.is_some(), right.needs_time)).collect();
    assert_eq!(ends, [(true, true), (false, false)]);
    let first = rights(&world)[0].expires.unwrap();
    let until = schemas::api::Rfc3339(first + HOUR);
    change(&mut world, OrderChange::Extend, &format!(r#"{{"order":"A1","until":"{until}"}}"#));
    assert_eq!(rights(&world)[0].expires, Some(first + HOUR));
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_new_pepper_a_whole_book_and_a_restart_keep_the_credential() {
    let mut world = three();
    bundle(&mut world, r#""A1","A2""#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.pepper, cabinet.book) = (Some(2), 0);
    cabinet.books.clear();
    world.restart();
    world.connect(&c1());
    let both = ["A1", "A2"].map(String::from).to_vec();
    assert_eq!(opens(&world, &c1()).values().collect::<Vec<_>>(), [&both; 2]);
    assert_eq!(world.notifications().len(), 1, "the same secret needs no other message");
}

#[test]
fn bundles_are_shown_and_released_by_whom_they_concern() {
    let mut world = three();
    let put = r#"{"op":"bundle.put","integration":"shop","bundle":{"bundle":"run-7","orders":["A1","A2"]}}"#;
    assert_eq!(world.ask_raw("operator:acme:eve", put.as_bytes()), Some(Reply::Done));
    let Some(Reply::Error(error)) = world.ask_raw("operator:acme:eve", put.replace("A2", "A3").as_bytes()) else {
        panic!()
    };
    assert_eq!(error.code, RequestErrorCode::Conflict);
    let shown = detail(&mut world);
    assert_eq!((shown.orders.len(), shown.messages, shown.orders[0].ready), (2, 0, false));
    let release = Request::BundleRelease { bundle: order("run-7") };
    for (by, expected) in [
        ("integration:acme:rides", Some(RequestErrorCode::Unknown)),
        ("auditor:acme:amy", Some(RequestErrorCode::Forbidden)),
        ("support:umbra:sue", Some(RequestErrorCode::Unknown)),
        ("integration:acme:shop", None),
        ("integration:acme:shop", Some(RequestErrorCode::Unknown)),
    ] {
        let got = match world.ask(by, &release) {
            Some(Reply::Error(error)) => Some(error.code),
            Some(Reply::Done) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(got, expected, "{by}");
    }
}

#[test]
fn bundles_are_forgotten_with_their_last_order() {
    let mut world = three();
    bundle(&mut world, r#""A1","A2""#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    collect(&mut world, &c1(), "A1", 1);
    world.pass(HOUR);
    collect(&mut world, &c1(), "A2", 2);
    assert_eq!(detail(&mut world).orders.len(), 2);
    let retention = world.config.order_retention_millis;
    world.pass(retention - HOUR / 2);
    assert_eq!(detail(&mut world).orders.len(), 1);
    world.pass(HOUR);
    let request = Request::BundleShow { bundle: order("run-7") };
    assert!(matches!(world.ask("support:acme:sue", &request), Some(Reply::Error(_))));
    world.restart();
}

fn story(world: &mut World) {
    insist(world, bundle_for_rides);
    for (id, number) in [("A1", 1), ("A2", 2)] {
        load(world, id, number);
        survived(world);
    }
}

fn bundle_for_rides(world: &mut World) {
    let json = r#"{"bundle":"run-7","orders":["A1","A2"],"deliver_to":"rides"}"#;
    change(world, OrderChange::Bundle, json);
}

fn check(world: &mut World, what: &str) {
    world.pass(HOUR);
    let told = world.notifications_of("rides");
    assert_eq!(told.len(), 1, "{what}: {told:?}");
    assert_eq!((told[0].kind, told[0].doors.len()), (NotificationKind::BundleCode, 2), "{what}");
    assert_eq!(world.notifications(), [], "{what}");
    let both = ["A1", "A2"].map(String::from).to_vec();
    assert_eq!(opens(world, &c1()).values().collect::<Vec<_>>(), [&both; 2], "{what}");
}

#[test]
fn a_crash_after_any_commit_and_at_any_cut_announces_it_once() {
    let tried = everywhere(three, story, check);
    assert!(tried.commits >= 8 && tried.cuts >= 6, "{tried:?}");
}

/// The backup is older than the bundle, whose credential the cabinet holds.
#[test]
fn a_restored_fleet_makes_codes_that_a_forgotten_bundle_does_not_hide() {
    let mut world = three();
    load(&mut world, "A1", 1);
    let backup = world.store.clone();
    bundle(&mut world, r#""A1""#);
    let generation = |world: &World| {
        let changes = world.cabinets[&c1()].books.iter().flat_map(|book| &book.changes);
        let put = |change: &BookChange| match change {
            BookChange::PutCredential(put) => Some(put.generation),
            _ => None,
        };
        changes.filter_map(put).collect::<Vec<_>>()
    };
    let hidden = generation(&world).into_iter().max().unwrap();
    restore(&mut world, backup);
    world.connect(&c1());
    change(&mut world, OrderChange::Reissue, r#"{"order":"A1"}"#);
    assert!(*generation(&world).last().unwrap() > hidden);
}

#[test]
fn the_end_of_a_bundle_is_no_news_of_what_was_collected_with_it() {
    let mut world = three();
    bundle(&mut world, r#""A1","A2""#);
    load(&mut world, "A1", 1);
    load(&mut world, "A2", 2);
    collect(&mut world, &c1(), "A1", 1);
    unbundle(&mut world);
    let told = world.told("shop");
    assert_eq!(told.iter().filter(|row| *row == "A1 collected").count(), 1, "{told:?}");
}

#[test]
fn what_a_customer_drops_off_goes_into_no_bundle() {
    let mut world = three();
    world.put(r#"{"order":"D1","cabinet":"c1","size":"M","category":"laundry","deposit":"drop_off"}"#);
    bundle(&mut world, r#""A1","D1""#);
    assert_eq!(world.told("shop").last().unwrap(), "D1 rejected not_collected");
    let request = Request::BundleShow { bundle: order("run-7") };
    assert!(matches!(world.ask("support:acme:sue", &request), Some(Reply::Error(_))), "none was made");
}

#[test]
fn a_driver_gets_so_many_credentials_for_an_order_and_no_more() {
    let mut world = three();
    let most = world.config.wishes_per_order;
    for _ in 0..most {
        bundle(&mut world, r#""A1","A2""#);
        unbundle(&mut world);
    }
    bundle(&mut world, r#""A1","A2""#);
    assert_eq!(world.told("shop").last().unwrap(), "A1 rejected too_often");
    bundle(&mut world, r#""A3""#);
    assert_eq!(world.told("shop").last().unwrap(), "A3 reserved", "of that one nobody has asked for any");
}

#[test]
fn a_driver_who_takes_walk_ins_is_told_by_whoever_tells_their_recipients() {
    let (mut world, order) = crate::walk_in::stored();
    let told = world.notifications().len();
    let put = format!(
        r#"{{"op":"bundle.put","integration":"walk-in","bundle":{{"bundle":"run-7","orders":["{}"]}}}}"#,
        order.order
    );
    assert_eq!(world.ask_raw("operator:acme:eve", put.as_bytes()), Some(Reply::Done));
    let news = world.notifications().split_off(told);
    assert_eq!(news.iter().map(|one| one.kind).collect::<Vec<_>>(), [NotificationKind::BundleCode]);
}
