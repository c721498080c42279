//! Books: whole or not at all, in order, and never a word about what lies in the compartments.

use cabinet_core::{CREDENTIALS_MAX, EntryRefusal, EntryResult, ORDERS_MAX};
use schemas::messages::*;

use crate::rig::*;

fn refused(version: u64, reason: RefusalReason) -> BookRefused {
    BookRefused { version: Some(version), reason }
}

pub(crate) fn book(version: u64, base: u64, changes: Vec<BookChange>) -> Book {
    Book { version, base, issued: 0, changes }
}

fn wrong() -> EntryResult {
    EntryResult::Refused(EntryRefusal::Wrong)
}

#[test]
fn a_book_applies_to_its_base_only_and_never_goes_back() {
    let mut rig = Rig::online();
    rig.send_book(book(1, 0, vec![]));
    assert_eq!(rig.last(), BookApplied { version: 1 }.into());
    rig.send_book(book(3, 2, vec![]));
    assert_eq!(rig.last(), refused(3, RefusalReason::WrongBase).into());
    rig.send_book(book(5, 1, vec![]));
    assert_eq!(rig.last(), BookApplied { version: 5 }.into());
    let events = rig.events().len();
    rig.send_book(book(5, 1, vec![]));
    assert_eq!(rig.events().len(), events, "delivered again");
    rig.wait(1_000);
    rig.send_book(book(4, 0, vec![]));
    assert_eq!(rig.last(), refused(4, RefusalReason::OldVersion).into());
    rig.restart();
    assert_eq!(rig.connect().book, 5);
}

#[test]
fn a_book_signed_with_the_unlock_key_or_for_an_earlier_enrolment_is_refused() {
    let mut rig = Rig::online();
    let message = CodesMessage::from(book(1, 0, vec![]));
    rig.down(CodesEnvelope { envelope: signed(&message, KeyPurpose::Codes, &unlock_key()) });
    assert_eq!(rig.last(), BookRefused { version: None, reason: RefusalReason::UnknownKey }.into());
    rig.wait(1_000);
    rig.down(CodesEnvelope { envelope: signed(&message, KeyPurpose::Unlock, &codes_key()) });
    assert_eq!(rig.last(), BookRefused { version: None, reason: RefusalReason::BadSignature }.into());
}

/// A fleet that was restored from a backup writes a book without the orders that were loaded since.
#[test]
fn a_snapshot_that_does_not_know_what_is_inside_takes_no_code_away() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
    let version = rig.book + 1;
    rig.send_book(book(version, 0, vec![put_order("A2", Size::S)]));
    assert_eq!(rig.last(), BookApplied { version }.into());
    assert_eq!(only_pulse(&rig.enter("12345678")).compartment, 3, "the book does not name the order");
    assert_eq!(only_pulse(&rig.enter("87654321")).compartment, 4, "the book names it without a code");
    rig.restart();
    assert!(rig.view(3).allocated && rig.view(4).allocated);
}

#[test]
fn a_snapshot_ends_codes_of_what_is_not_inside_and_those_that_it_withdraws() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
    rig.book(vec![put_order("A3", Size::S), credential(3, "11112222", &["A3"]).into()]);
    let version = rig.book + 1;
    rig.send_book(book(version, 0, vec![DropCredential { id: credential(1, "12345678", &["A1"]).id }.into()]));
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::Revoked));
    assert_eq!(result(&rig.enter("11112222")), EntryResult::Refused(EntryRefusal::Revoked));
    assert_eq!(only_pulse(&rig.enter("87654321")).compartment, 4);
}

#[test]
fn a_snapshot_older_than_a_collection_does_not_bring_the_order_back() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    rig.pick_up("12345678");
    let version = rig.book + 1;
    let changes = vec![put_staff("ann", "111111"), put_order("A1", Size::S), credential(1, "12345678", &["A1"]).into()];
    rig.send_book(book(version, 0, changes));
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::Used));
    let session = rig.log_in("111111");
    assert!(rig.core.waiting(session).is_empty());
}

#[test]
fn a_newer_generation_replaces_the_old_code_and_an_older_one_comes_too_late() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    let newer = PutCredential { generation: 2, ..credential(7, "22222222", &["A1"]) };
    rig.book(vec![newer.into()]);
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::Revoked));
    rig.book(vec![credential(8, "33333333", &["A1"]).into()]);
    assert_eq!(result(&rig.enter("33333333")), EntryResult::Refused(EntryRefusal::Revoked));
    assert_eq!(only_pulse(&rig.enter("22222222")).compartment, 3);
}

#[test]
fn dropping_an_order_keeps_the_compartment_that_holds_it() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    rig.book(vec![DropOrder { order: order("A1") }.into()]);
    assert!(rig.view(3).allocated);
    rig.restart();
    assert!(rig.view(3).allocated);
    assert_eq!(only_pulse(&rig.enter("12345678")).compartment, 3);
}

#[test]
fn a_book_that_breaks_a_rule_changes_nothing_at_all() {
    let other_pepper = PutCredential { pepper: 2, ..credential(1, "12345678", &["A1"]) };
    let many_orders = (0..=ORDERS_MAX).map(|n| put_order(&n.to_string(), Size::S)).collect();
    let bad: Vec<(Vec<BookChange>, RefusalReason)> = vec![
        (vec![other_pepper.into()], RefusalReason::WrongBase),
        (vec![credential(1, "12345678", &[]).into()], RefusalReason::Malformed),
        (vec![Rules { code_digits: 4, break_glass: None, code_letters: None }.into()], RefusalReason::Malformed),
        (
            vec![credential(1, "12345678", &["A1"]).into(), credential(2, "12345678", &["A2"]).into()],
            RefusalReason::Malformed,
        ),
        (vec![put_staff("ann", "111111"), put_staff("bob", "111111")], RefusalReason::Malformed),
        (many_orders, RefusalReason::Malformed),
    ];
    for (mut changes, reason) in bad {
        let mut rig = Rig::online();
        changes.insert(0, credential(9, "99999999", &["A9"]).into());
        if reason == RefusalReason::Malformed && changes.len() > ORDERS_MAX {
            // One message cannot carry so many: they come in two halves.
            let half = changes.split_off(changes.len() / 2);
            rig.book(half);
        }
        rig.book(changes);
        assert_eq!(rig.last(), refused(rig.book, reason).into());
        assert_eq!(result(&rig.enter("99999999")), wrong());
    }
}

#[test]
fn the_number_of_credentials_is_bounded_and_old_dead_ones_are_forgotten() {
    let mut rig = Rig::online();
    let put = |n: usize| -> BookChange {
        let mut put = credential(0, &format!("{n:08}"), &["A1"]);
        put.id.0[..4].copy_from_slice(&(n as u32).to_be_bytes());
        put.into()
    };
    for batch in 0..CREDENTIALS_MAX / 250 {
        rig.book((0..250).map(|n| put(batch * 250 + n)).collect());
    }
    assert_eq!(rig.last(), BookApplied { version: rig.book }.into());
    rig.book(vec![put(CREDENTIALS_MAX)]);
    assert_eq!(rig.last(), refused(rig.book, RefusalReason::Malformed).into());
    let snapshot = rig.book + 1;
    rig.send_book(book(snapshot, 0, vec![]));
    let credentials = schemas::step::Table("credentials");
    assert_eq!(rig.store.len(credentials), cabinet_core::TOMBSTONES_MAX);
}

#[test]
fn the_book_says_how_many_digits_a_code_has() {
    let mut rig = Rig::online();
    assert_eq!(rig.core.view().code_digits, 8);
    rig.book(vec![Rules { code_digits: 6, break_glass: None, code_letters: None }.into()]);
    rig.restart();
    assert_eq!(rig.core.view().code_digits, 6);
    rig.connect();
    rig.send_book(book(2, 0, vec![]));
    assert_eq!(rig.core.view().code_digits, 8, "a whole book that does not say it means the default");
}

#[test]
fn a_bundle_has_sixty_four_orders_at_most() {
    let names: Vec<String> = (0..=BUNDLE_ORDERS_MAX).map(|n| format!("A{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::online();
    rig.book(vec![credential(1, "12345678", &names[..BUNDLE_ORDERS_MAX]).into()]);
    assert_eq!(rig.last(), BookApplied { version: 1 }.into());
    rig.send_book(book(2, 1, vec![credential(2, "87654321", &names).into()]));
    assert_eq!(rig.last(), refused(2, RefusalReason::Malformed).into());
}

#[test]
fn generations_count_for_each_order_alone() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
    rig.book(vec![PutCredential { generation: 2, ..credential(7, "22222222", &["A1"]) }.into()]);
    rig.book(vec![credential(8, "33333333", &["A2"]).into()]);
    assert_eq!(only_pulse(&rig.enter("33333333")).compartment, 4);
}

/// Digits are few, so a code that is over comes again one day, under an id that may sort before or behind the old one.
#[test]
fn a_code_that_is_given_again_means_its_newest_holder() {
    for (before, after) in [(8, 9), (9, 8)] {
        let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
        rig.book(vec![credential(before, "55555555", &["A1"]).into()]);
        rig.pick_up("55555555");
        assert_eq!(result(&rig.enter("55555555")), EntryResult::Refused(EntryRefusal::Used));
        rig.book(vec![credential(after, "55555555", &["A2"]).into()]);
        assert_eq!(result(&rig.enter("55555555")), EntryResult::Opening { compartments: vec![number(4)] });
        rig.book(vec![DropCredential { id: CredentialId([after; 8]) }.into()]);
        assert_eq!(result(&rig.enter("55555555")), EntryResult::Refused(EntryRefusal::Revoked));
    }
}

#[test]
fn the_same_refusal_of_a_book_is_told_once() {
    let mut rig = Rig::online();
    for _ in 0..3 {
        rig.wait(1_000);
        rig.send_book(book(3, 2, vec![]));
    }
    assert_eq!(rig.count(|fact| *fact == refused(3, RefusalReason::WrongBase).into()), 1);
    rig.wait(1_000);
    rig.send_book(book(4, 2, vec![]));
    rig.wait(1_000);
    rig.send_book(book(3, 2, vec![]));
    assert_eq!(rig.count(|fact| *fact == refused(3, RefusalReason::WrongBase).into()), 2);
}
