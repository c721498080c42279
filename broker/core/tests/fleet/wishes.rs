//! More time, the same code again, another code.

use fleet_core::{Config, Input};
use schemas::api::{NotificationKind, OrderState, Reply, RequestErrorCode, Rfc3339};
use schemas::messages::{BookChange, PutCredential, Size};
use schemas::topics::OrderChange;

use crate::handover::load;
use crate::time::{HOUR, MINUTE, collect, ends_in_book, last, messages, stored};
use crate::world::{START, World, c1, refusal, shop, tenant};

fn ask(world: &mut World, change: OrderChange, json: &str) -> Vec<fleet_core::Effect> {
    let payload = json.as_bytes().to_vec();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload })
}

fn extend(world: &mut World, hours: u64) {
    let until = Rfc3339(START + hours * HOUR);
    ask(world, OrderChange::Extend, &format!(r#"{{"order":"A17","until":"{until}"}}"#));
}

fn resend(world: &mut World) {
    ask(world, OrderChange::Resend, r#"{"order":"A17"}"#);
}

fn reissue(world: &mut World) {
    ask(world, OrderChange::Reissue, r#"{"order":"A17"}"#);
}

/// The newest status: state and reason.
fn answer(world: &World) -> String {
    world.told("shop").pop().unwrap()
}

fn puts(world: &mut World) -> Vec<PutCredential> {
    let changes = world.cabinet(&c1()).books.iter().flat_map(|book| &book.changes);
    let put = |change: &BookChange| match change {
        BookChange::PutCredential(put) => Some(put.clone()),
        _ => None,
    };
    changes.filter_map(put).collect()
}

/// Acceptance 4, extended: the same code works on.
#[test]
fn an_extended_order_is_stored_again_with_the_same_code_and_new_reminders() {
    let mut world = stored("retail");
    world.pass(80 * HOUR);
    assert_eq!(last(&world).0, OrderState::Overdue);
    extend(&mut world, 180);
    assert_eq!(last(&world), (OrderState::Stored, 80 * HOUR, Some(180 * HOUR)));
    world.pass(100 * HOUR - 1);
    assert_eq!(last(&world).0, OrderState::Stored);
    let times: Vec<_> = messages(&world).into_iter().map(|(_, at)| at / HOUR).collect();
    assert_eq!(times, [0, 36, 64, 130, 170], "half and nine tenths of what was left");
    world.pass(1);
    assert_eq!(last(&world), (OrderState::Overdue, 180 * HOUR, Some(180 * HOUR)));
    let told = world.notifications();
    assert!(told.iter().all(|one| one.code == told[0].code));
    assert_eq!(puts(&mut world).len(), 2, "a code without an end needs no new book");
}

#[test]
fn a_code_with_an_end_of_its_own_gets_the_later_end_in_the_book() {
    let mut world = stored("pharmacy");
    let first = puts(&mut world);
    extend(&mut world, 72);
    let all = puts(&mut world);
    assert_eq!((all.len(), ends_in_book(&mut world).1), (4, Some(Some(72 * HOUR))));
    let secret = |put: &PutCredential| (put.id, put.kind, put.verifier, put.generation);
    assert!(first.iter().map(secret).eq(all[2..].iter().map(secret)), "another secret, or another generation");
    extend(&mut world, 72);
    assert_eq!((puts(&mut world).len(), world.told("shop").len()), (4, 4), "the same wish twice");
}

#[test]
fn an_end_that_was_moved_before_the_code_was_made_is_in_its_first_book() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"pharmacy"}"#);
    world.makes_secrets = false;
    load(&mut world, "A17", 1);
    extend(&mut world, 72);
    world.makes_secrets = true;
    world.pass(HOUR);
    assert_eq!((puts(&mut world).len(), ends_in_book(&mut world).1), (2, Some(Some(72 * HOUR))));
}

#[test]
fn an_end_that_cannot_be_is_refused_and_changes_nothing() {
    let mut world = stored("retail");
    world.pass(10 * HOUR);
    for (hours, reason) in [(9, "deadline_not_later"), (71, "deadline_not_later"), (30 * 24 + 1, "deadline_too_far")] {
        extend(&mut world, hours);
        assert_eq!((answer(&world), last(&world).2), (format!("A17 stored {reason}"), Some(72 * HOUR)));
    }
    extend(&mut world, 30 * 24);
    assert_eq!((answer(&world).as_str(), last(&world).2), ("A17 stored", Some(30 * 24 * HOUR)));
    let effects = ask(&mut world, OrderChange::Extend, r#"{"order":"A17","until":"tomorrow"}"#);
    assert!(refusal(&effects).contains("not an RFC 3339 time"), "{effects:?}");
    let effects = ask(&mut world, OrderChange::Resend, r#"{"order":"A17","untill":1}"#);
    assert!(refusal(&effects).contains("`untill`"), "{effects:?}");
}

/// Acceptance 5, first half.
#[test]
fn a_code_that_is_sent_again_twice_is_the_same_in_messages_of_their_own() {
    let mut world = stored("retail");
    resend(&mut world);
    resend(&mut world);
    let told = world.notifications();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|one| one.kind == NotificationKind::PickupCode && one.code == told[0].code));
    assert!(told[0].id != told[1].id && told[1].id != told[2].id);
    assert_eq!(puts(&mut world).len(), 2, "nothing changed at the cabinet");
}

/// Acceptance 5, second half.
#[test]
fn another_code_is_announced_once_the_cabinet_holds_it_and_the_old_one_works_until_then() {
    let mut world = stored("retail");
    let old = world.notifications().pop().unwrap();
    world.cabinet(&c1()).applies = false;
    reissue(&mut world);
    reissue(&mut world);
    let all = puts(&mut world);
    assert_eq!(all.iter().map(|put| put.generation).collect::<Vec<_>>(), [1, 1, 2, 2], "one new code for both wishes");
    let dropped = |world: &mut World| {
        let changes = world.cabinet(&c1()).books.iter().flat_map(|book| book.changes.clone());
        changes.filter(|change| matches!(change, BookChange::DropCredential(_))).count()
    };
    assert_eq!((world.notifications().len(), dropped(&mut world)), (1, 0));
    // The customer asks again meanwhile, and gets what opens the door now.
    resend(&mut world);
    assert_eq!(world.notifications().pop().unwrap().code, old.code);
    let version = world.cabinet(&c1()).books.last().unwrap().version;
    world.apply(&c1(), version);
    let new = world.notifications().pop().unwrap();
    assert_eq!((world.notifications().len(), new.kind), (3, NotificationKind::PickupCode));
    assert!(new.code != old.code && new.qr != old.qr && new.id != old.id);
    resend(&mut world);
    assert_eq!(world.notifications().pop().unwrap().code, new.code);
}

#[test]
fn a_whole_book_behind_another_code_holds_that_code_alone_and_says_that_the_old_one_is_gone() {
    let mut world = stored("retail");
    let old: Vec<_> = puts(&mut world).iter().map(|put| put.id).collect();
    reissue(&mut world);
    assert_eq!(world.notifications().len(), 2);
    world.disconnect(&c1());
    world.cabinet(&c1()).book = 0;
    world.connect(&c1());
    let whole = world.cabinet(&c1()).books.last().unwrap().clone();
    assert_eq!(whole.base, 0);
    let put: Vec<_> = whole
        .changes
        .iter()
        .filter_map(|change| match change {
            BookChange::PutCredential(put) => Some(put.generation),
            _ => None,
        })
        .collect();
    let gone: Vec<_> = whole
        .changes
        .iter()
        .filter_map(|change| match change {
            BookChange::DropCredential(drop) => Some(drop.id),
            _ => None,
        })
        .collect();
    assert_eq!((put, gone), (vec![2, 2], old));
    assert_eq!(world.notifications().len(), 2, "announced again");
}

#[test]
fn another_code_survives_a_restart_and_a_new_pepper_while_it_is_made() {
    let mut world = stored("retail");
    world.makes_secrets = false;
    reissue(&mut world);
    world.restart();
    world.cabinet(&c1()).pepper = Some(2);
    world.connect(&c1());
    world.makes_secrets = true;
    world.pass(HOUR);
    assert_eq!(world.notifications().len(), 2);
    let newest = puts(&mut world).split_off(2);
    assert!(newest.iter().any(|put| put.generation == 2 && put.pepper == 2), "{newest:?}");
}

#[test]
fn an_order_that_goes_while_another_code_is_made_takes_both_codes_with_it() {
    for end in ["collected", "recalled"] {
        let mut world = stored("retail");
        world.cabinet(&c1()).applies = false;
        reissue(&mut world);
        let version = world.cabinet(&c1()).books.last().unwrap().version;
        match end {
            "collected" => collect(&mut world, "A17"),
            _ => drop(world.cancel(r#"{"order":"A17"}"#)),
        }
        world.cabinet(&c1()).applies = true;
        world.apply(&c1(), version);
        let changes = world.cabinet(&c1()).books.last().unwrap().changes.clone();
        let dropped = changes.iter().filter(|change| matches!(change, BookChange::DropCredential(_))).count();
        assert_eq!((dropped, world.notifications().len(), last(&world).0.as_str()), (4, 1, end));
    }
}

#[test]
fn wishes_about_an_order_that_is_not_there_to_be_collected_are_refused() {
    let mut world = World::new(&[Size::M]);
    resend(&mut world);
    assert_eq!(answer(&world), "A17 rejected unknown_order");
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    for wish in [resend, reissue, |world: &mut World| extend(world, 100)] {
        wish(&mut world);
        assert_eq!(answer(&world), "A17 reserved no_code_yet");
    }
    world.makes_secrets = false;
    load(&mut world, "A17", 1);
    resend(&mut world);
    assert_eq!(answer(&world), "A17 stored no_code_yet");
    world.makes_secrets = true;
    world.pass(HOUR);
    collect(&mut world, "A17");
    for wish in [resend, reissue, |world: &mut World| extend(world, 100)] {
        wish(&mut world);
        assert_eq!(answer(&world), "A17 collected too_late");
    }
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_code_that_has_ended_is_not_sent_again_but_works_again_once_it_has_more_time() {
    let mut world = stored("food");
    world.pass(40 * MINUTE);
    for wish in [resend, reissue] {
        wish(&mut world);
        assert_eq!(answer(&world), "A17 overdue too_late");
    }
    extend(&mut world, 2);
    assert_eq!((last(&world).0, ends_in_book(&mut world).1), (OrderState::Stored, Some(Some(2 * HOUR))));
    resend(&mut world);
    assert_eq!(world.notifications().last().map(|told| told.until), Some(Some(Rfc3339(START + 2 * HOUR))));
}

#[test]
fn wishes_of_an_order_are_bounded() {
    let mut world = World::with(Config { wishes_per_order: 3, ..Config::default() });
    world.add(crate::world::FakeCabinet::new("c1", &[Size::M]));
    world.connect(&c1());
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    load(&mut world, "A17", 1);
    resend(&mut world);
    extend(&mut world, 100);
    reissue(&mut world);
    assert_eq!(answer(&world), "A17 stored");
    let before = (world.notifications().len(), puts(&mut world).len(), last(&world).2);
    for wish in [resend, reissue, |world: &mut World| extend(world, 200)] {
        wish(&mut world);
        assert_eq!(answer(&world), "A17 stored too_often");
    }
    assert_eq!((world.notifications().len(), puts(&mut world).len(), last(&world).2), before);
}

#[test]
fn support_asks_for_any_order_and_an_integration_for_its_own() {
    let mut world = stored("retail");
    let until = Rfc3339(START + 100 * HOUR);
    let extend = format!(r#"{{"op":"order.extend","order":"shop/A17","until":"{until}"}}"#);
    let (resend, reissue) =
        (r#"{"op":"order.resend","order":"shop/A17"}"#, r#"{"op":"order.reissue","order":"shop/A17"}"#);
    for by in ["support:acme:sue", "integration:acme:shop"] {
        for request in [&extend, resend, reissue] {
            assert_eq!(world.ask_raw(by, request.as_bytes()), Some(Reply::Done), "{by} {request}");
        }
    }
    assert_eq!((world.notifications().len(), last(&world).2), (5, Some(100 * HOUR)));
    let mut code = |by: &str, request: &str| match world.ask_raw(by, request.as_bytes()) {
        Some(Reply::Error(error)) => error.code,
        other => panic!("{other:?}"),
    };
    for request in [&extend, resend, reissue] {
        assert_eq!(code("integration:acme:deli", request), RequestErrorCode::Unknown);
        assert_eq!(code("support:umbra:sue", request), RequestErrorCode::Unknown);
        assert_eq!(code("auditor:acme:ada", request), RequestErrorCode::Forbidden);
    }
    let past = r#"{"op":"order.extend","order":"shop/A17","until":"2001-01-01T00:00:00.000Z"}"#;
    assert_eq!(code("support:acme:sue", past), RequestErrorCode::Refused);
}
