//! Books: what a cabinet is sent, in which versions.

use std::collections::BTreeSet;

use fleet_core::signing::{Envelope, SignerRequest};
use fleet_core::{BOOK, Effect, Input};
use schemas::cbor::{self, Blob};
use schemas::messages::{Book, BookChange, BookRefused, KeyId, KeysetApplied, PutOrder, RefusalReason, Rules, Size};
use schemas::step::Store as _;
use schemas::topics::Up;

use crate::handover::load;
use crate::world::{FakeCabinet, World, c1, door, order, tenant};

pub(crate) fn put(world: &mut World, id: &str) {
    world.put(&format!(r#"{{"order":"{id}","cabinet":"c1","size":"S","category":"retail"}}"#));
}

pub(crate) fn books(world: &World) -> &[Book] {
    &world.cabinets[&c1()].books
}

/// What a cabinet that took all these books would hold: orders, credentials and staff.
pub(crate) fn held(books: &[Book]) -> (usize, usize, usize) {
    let (mut orders, mut credentials, mut staff) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for book in books {
        if book.base == 0 {
            (orders, credentials, staff) = Default::default();
        }
        for change in &book.changes {
            match change {
                BookChange::PutOrder(put) => drop(orders.insert(put.order.clone())),
                BookChange::DropOrder(dropped) => drop(orders.remove(&dropped.order)),
                BookChange::PutCredential(put) => drop(credentials.insert(put.id)),
                BookChange::PutDeposit(put) => drop(credentials.insert(put.id)),
                BookChange::PutGuarded(put) => drop(credentials.insert(put.credential.id)),
                BookChange::DropCredential(dropped) => drop(credentials.remove(&dropped.id)),
                BookChange::PutStaff(put) => drop(staff.insert(put.name.clone())),
                BookChange::DropStaff(dropped) => drop(staff.remove(&dropped.name)),
                BookChange::PutCourier(_) | BookChange::DropCourier(_) | BookChange::Rules(_) => {}
            }
        }
    }
    (orders.len(), credentials.len(), staff.len())
}

#[test]
fn the_first_book_replaces_everything_and_names_the_length_of_codes() {
    let world = World::new(&[Size::S; 100]);
    let [book] = books(&world) else { panic!("{:?}", books(&world)) };
    assert_eq!((book.version, book.base), (1, 0));
    assert_eq!(book.changes, [BookChange::from(Rules { code_digits: 8, break_glass: None, code_letters: None })]);
}

#[test]
fn one_book_is_outstanding_and_what_gathers_meanwhile_goes_together() {
    let mut world = World::new(&[Size::S; 5]);
    world.cabinet(&c1()).applies = false;
    for id in ["A1", "A2", "A3"] {
        put(&mut world, id);
    }
    assert_eq!(books(&world).len(), 2);
    world.apply(&c1(), 2);
    let book = books(&world).last().unwrap();
    assert_eq!((book.base, book.version), (2, 4));
    let reserved = |id: &str, number| {
        BookChange::from(PutOrder {
            order: order(id),
            size: Size::S,
            category: schemas::messages::Category::Retail,
            wants: Default::default(),
            reserved: Some(door(number)),
            take_back: None,
            deposit: None,
            part: None,
            shares: None,
        })
    };
    assert_eq!(book.changes, [reserved("A2", 2), reserved("A3", 3)]);
    world.apply(&c1(), 4);
    assert!(world.store.rows(BOOK).unwrap().is_empty(), "confirmed changes are kept");
}

#[test]
fn a_cabinet_that_was_away_is_sent_what_it_lacks_in_messages_of_a_hundred_changes() {
    let mut world = World::new(&[Size::S; 250]);
    world.disconnect(&c1());
    for number in 0..250 {
        put(&mut world, &format!("A{number}"));
    }
    assert_eq!(books(&world).len(), 1);
    world.connect(&c1());
    let sizes: Vec<usize> = books(&world)[1..].iter().map(|book| book.changes.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(held(books(&world)), (250, 0, 0));
}

#[test]
fn a_book_that_was_lost_on_its_way_is_sent_again_with_the_same_changes() {
    let mut world = World::new(&[Size::S; 5]);
    world.cabinet(&c1()).applies = false;
    put(&mut world, "A1");
    world.disconnect(&c1());
    world.connect(&c1());
    let [_, lost, again] = books(&world) else { panic!("{:?}", books(&world)) };
    assert_eq!((lost.version, lost.base, &lost.changes), (again.version, again.base, &again.changes));
}

#[test]
fn a_cabinet_that_lost_its_book_gets_all_of_it() {
    let mut world = World::new(&[Size::S; 60]);
    for number in 0..40 {
        put(&mut world, &format!("A{number}"));
    }
    for number in 0..40 {
        load(&mut world, &format!("A{number}"), number + 1);
    }
    let before = held(books(&world));
    assert_eq!(before, (40, 80, 0));
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    cabinet.book = 0;
    cabinet.books.clear();
    world.connect(&c1());
    assert_eq!(books(&world)[0].base, 0);
    assert!(books(&world).len() > 1, "120 changes went in one message");
    assert_eq!(held(books(&world)), before);
    assert_eq!(world.notifications().len(), 40);
}

/// Acceptance 16, the book's part.
#[test]
fn a_restored_fleet_goes_on_above_the_version_that_the_cabinet_holds() {
    let mut world = World::new(&[Size::S; 5]);
    put(&mut world, "A1");
    let backup = world.store.clone();
    for id in ["A2", "A3", "A4"] {
        put(&mut world, id);
    }
    let ahead = world.cabinets[&c1()].book;
    world.store = backup;
    world.restart();
    world.connect(&c1());
    let book = books(&world).last().unwrap();
    assert_eq!((book.base, book.version), (0, ahead + 1));
    assert_eq!(held(std::slice::from_ref(book)), (1, 0, 0));
    put(&mut world, "A5");
    let book = books(&world).last().unwrap();
    assert_eq!((book.base, book.version), (ahead + 1, ahead + 2));
}

#[test]
fn a_code_that_waits_to_be_announced_waits_for_the_snapshot_that_holds_it() {
    let mut world = World::new(&[Size::S; 5]);
    put(&mut world, "A1");
    world.cabinet(&c1()).applies = false;
    load(&mut world, "A1", 1);
    assert!(world.notifications().is_empty());
    world.disconnect(&c1());
    world.cabinet(&c1()).book = 90;
    world.connect(&c1());
    assert!(world.notifications().is_empty(), "announced by a version of another history");
    let version = books(&world).last().unwrap().version;
    assert!(version > 90);
    world.apply(&c1(), version);
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_refused_base_is_answered_with_the_whole_book_once() {
    let mut world = World::new(&[Size::S; 5]);
    world.cabinet(&c1()).applies = false;
    put(&mut world, "A1");
    let refuse = |world: &mut World| {
        let version = Some(books(world).last().unwrap().version);
        world.fact(&c1(), BookRefused { version, reason: RefusalReason::WrongBase })
    };
    refuse(&mut world);
    assert_eq!((books(&world).len(), books(&world).last().unwrap().base), (3, 0));
    let effects = refuse(&mut world);
    assert_eq!(books(&world).len(), 3, "the whole book was sent again and again");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Alarm { .. })));
}

#[test]
fn a_book_that_was_refused_for_want_of_a_key_is_sent_again_with_the_keyset() {
    let mut world = World::empty();
    let mut cabinet = FakeCabinet::new("c1", &[Size::S]);
    cabinet.applies = false;
    world.add(cabinet);
    world.connect(&c1());
    world.fact(&c1(), BookRefused { version: None, reason: RefusalReason::UnknownKey });
    assert_eq!((books(&world).len(), world.cabinets[&c1()].times), (1, 1));
    world.fact(&c1(), KeysetApplied { version: 1, root: KeyId([1; 8]) });
    assert_eq!((books(&world).len(), world.cabinets[&c1()].times), (2, 2));
}

#[test]
fn a_new_pepper_derives_the_same_codes_anew_and_announces_nothing_twice() {
    let mut world = World::new(&[Size::S; 5]);
    world.add_staff("sam");
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    let code = world.notifications()[0].code.clone();
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.pepper, cabinet.book) = (Some(2), 0);
    cabinet.books.clear();
    world.signer_asked.clear();
    world.connect(&c1());
    let items: Vec<_> = world
        .signer_asked
        .iter()
        .filter_map(|asked| match asked {
            SignerRequest::MakeSecrets(asked) => Some((asked.pepper.version, asked.items.clone())),
            _ => None,
        })
        .collect();
    let [(2, items)] = items.as_slice() else { panic!("{items:?}") };
    assert!(items.len() == 3 && items.iter().all(|item| item.sealed.is_some()));
    let peppers: Vec<u32> = books(&world)
        .iter()
        .flat_map(|book| &book.changes)
        .filter_map(|change| match change {
            BookChange::PutCredential(put) => Some(put.pepper),
            BookChange::PutStaff(put) => Some(put.pepper),
            _ => None,
        })
        .collect();
    assert_eq!(peppers, [2, 2, 2]);
    let [notification] = world.notifications().try_into().unwrap();
    assert_eq!(notification.code, code);
}

/// The cabinet has another pepper, and the signer another key than the one it sealed the secrets with.
#[test]
fn secrets_that_the_signer_cannot_open_hold_up_no_others_and_come_once_it_can() {
    let mut world = World::new(&[Size::S; 5]);
    world.add_staff("sam");
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.pepper, cabinet.book) = (Some(2), 0);
    world.opens_nothing = true;
    let alarms = world.alarms();
    world.connect(&c1());
    assert_eq!(world.alarms(), alarms + 3, "both secrets of A1 and the PIN");
    put(&mut world, "A2");
    load(&mut world, "A2", 2);
    assert_eq!(world.notifications().last().unwrap().order.as_str(), "A2");
    assert_eq!(world.alarms(), alarms + 3);

    world.opens_nothing = false;
    world.cabinet(&c1()).books.clear();
    world.restart();
    world.connect(&c1());
    let peppers = |change: &BookChange| match change {
        BookChange::PutCredential(put) => Some(put.pepper),
        BookChange::PutStaff(put) => Some(put.pepper),
        _ => None,
    };
    let sent: Vec<u32> = books(&world).iter().flat_map(|book| &book.changes).filter_map(peppers).collect();
    assert_eq!(sent, [2; 3]);
    assert_eq!(world.notifications().len(), 2, "nobody is told a second code");
}

#[test]
fn a_cabinet_without_a_pepper_gets_its_codes_once_it_has_one() {
    let mut world = World::empty();
    let mut cabinet = FakeCabinet::new("c1", &[Size::S]);
    cabinet.pepper = None;
    world.add(cabinet);
    world.connect(&c1());
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    assert!(world.notifications().is_empty());
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(1);
    world.connect(&c1());
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_signer_that_fails_is_asked_again_later_and_later() {
    let mut world = World::new(&[Size::S]);
    world.signer_works = false;
    put(&mut world, "A1");
    let tries =
        |world: &World| world.signer_asked.iter().filter(|asked| matches!(asked, SignerRequest::SignBook(_))).count();
    let first = tries(&world);
    world.pass(999);
    assert_eq!(tries(&world), first);
    for (wait, more) in [(1, 1), (1_999, 1), (1, 2), (4_000, 3), (8_000, 4)] {
        world.pass(wait);
        assert_eq!(tries(&world), first + more, "after {wait} ms more");
    }
    assert!(world.alarms() >= 5);
    world.signer_works = true;
    world.pass(60_000);
    load(&mut world, "A1", 1);
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_code_that_another_order_at_the_cabinet_has_is_made_again() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    put(&mut world, "A2");
    world.same_again = true;
    load(&mut world, "A2", 2);
    let codes: Vec<String> = world.notifications().into_iter().map(|row| row.code).collect();
    assert!(codes.len() == 2 && codes[0] != codes[1], "{codes:?}");
    assert_eq!(held(books(&world)), (2, 4, 0));
    let verifiers = books(&world).iter().flat_map(|book| &book.changes).filter_map(|change| match change {
        BookChange::PutCredential(put) => Some(put.verifier.0),
        _ => None,
    });
    assert_eq!(verifiers.collect::<BTreeSet<_>>().len(), 4, "a cabinet refuses two that are the same");
}

#[test]
fn a_pin_that_another_member_of_staff_has_is_left_out_with_an_alarm() {
    let mut world = World::new(&[Size::S]);
    world.add_staff("sam");
    let alarms = world.alarms();
    world.same_again = true;
    world.add_staff("sue");
    assert_eq!(world.alarms(), alarms + 1);
    assert_eq!(held(books(&world)), (0, 0, 1));
    world.add_staff("sue");
    assert_eq!(held(books(&world)), (0, 0, 2));
}

#[test]
fn verifiers_of_an_old_pepper_that_were_not_sent_are_never_sent() {
    let mut world = World::new(&[Size::S; 2]);
    world.cabinet(&c1()).applies = false;
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.pepper, cabinet.applies) = (Some(2), true);
    cabinet.books.clear();
    world.connect(&c1());
    assert_eq!(books(&world)[0].base, 0);
    for change in books(&world).iter().flat_map(|book| &book.changes) {
        assert!(!matches!(change, BookChange::PutCredential(put) if put.pepper != 2), "{change:?}");
    }
    assert_eq!(held(books(&world)), (1, 2, 0));
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_whole_book_that_was_lost_on_its_way_is_sent_again_and_not_made_anew() {
    let mut world = World::new(&[Size::S; 5]);
    put(&mut world, "A1");
    let lose = |world: &mut World, book: u64| {
        world.disconnect(&c1());
        let cabinet = world.cabinet(&c1());
        (cabinet.applies, cabinet.book) = (false, book);
        world.connect(&c1());
        let book = books(world).last().unwrap();
        (book.version, book.base)
    };
    let (version, base) = lose(&mut world, 0);
    assert_eq!((version, base), (3, 0), "it has lost its book");
    assert_eq!(lose(&mut world, 0), (version, 0));
    world.restart();
    assert_eq!(lose(&mut world, 0), (version, 0), "after a restart too");
}

#[test]
fn changes_that_a_cabinet_lacks_are_still_known_after_a_restart() {
    let mut world = World::new(&[Size::S; 5]);
    world.disconnect(&c1());
    put(&mut world, "A1");
    put(&mut world, "A2");
    world.restart();
    world.connect(&c1());
    let book = books(&world).last().unwrap();
    assert_eq!((book.base, book.version, book.changes.len()), (1, 3, 2));
}

/// An older disk: what lies between its version and the changes that wait is not known any more.
#[test]
fn a_cabinet_that_is_behind_the_changes_that_wait_gets_the_whole_book() {
    let mut world = World::new(&[Size::S; 5]);
    put(&mut world, "A1");
    put(&mut world, "A2");
    world.disconnect(&c1());
    put(&mut world, "A3");
    world.cabinet(&c1()).book = 1;
    world.connect(&c1());
    assert_eq!(books(&world).last().unwrap().base, 0);
    assert_eq!(held(books(&world)), (3, 0, 0));
}

#[test]
fn staff_are_in_the_whole_book_after_a_restart() {
    let mut world = World::new(&[Size::S]);
    world.add_staff("sam");
    world.restart();
    world.cabinet(&c1()).book = 0;
    world.connect(&c1());
    let book = books(&world).last().unwrap();
    assert_eq!((book.base, held(std::slice::from_ref(book))), (0, (0, 0, 1)));
}

/// The cabinet would refuse it, or go back.
#[test]
fn a_whole_book_that_was_at_the_signer_while_the_cabinet_came_to_hold_it_is_not_sent() {
    let mut world = World::new(&[Size::S; 5]);
    world.disconnect(&c1());
    world.cabinet(&c1()).book = 0;
    world.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() });
    let hello = |world: &World| cbor::encode(&world.cabinets[&c1()].hello());
    let payload = hello(&world);
    let step = world.step(Input::CabinetUp { tenant: tenant(), cabinet: c1(), up: Up::Hello, payload });
    world.store.commit(&step.writes).unwrap();
    let asked = step.effects.into_iter().find_map(|effect| match effect {
        Effect::Signer { ticket, request: SignerRequest::SignBook(asked) } => Some((ticket, asked)),
        _ => None,
    });
    let (ticket, asked) = asked.unwrap();
    assert_eq!(asked.book.base, 0);

    world.cabinet(&c1()).book = asked.book.version;
    let payload = hello(&world);
    world.up(&c1(), Up::Hello, payload);
    let envelope = Blob(cbor::encode(&SignerRequest::from(asked)));
    let effects = world.handle(Input::Signer { ticket, reply: Envelope { envelope }.into() });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Down { .. })), "{effects:?}");
}

#[test]
fn a_book_refused_as_old_is_no_news_if_the_cabinet_holds_it_and_else_gets_the_whole_book() {
    let mut world = World::new(&[Size::S; 5]);
    let (alarms, sent) = (world.alarms(), books(&world).len());
    world.fact(&c1(), BookRefused { version: Some(1), reason: RefusalReason::OldVersion });
    assert_eq!((world.alarms(), books(&world).len()), (alarms, sent), "it came twice");
    world.fact(&c1(), BookRefused { version: Some(1), reason: RefusalReason::UnknownKey });
    assert_eq!(world.alarms(), alarms + 1);
    world.fact(&c1(), BookRefused { version: Some(2), reason: RefusalReason::OldVersion });
    assert_eq!((world.alarms(), books(&world).last().unwrap().base), (alarms + 2, 0));
}
