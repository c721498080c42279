//! Codes of letters beside codes of digits.

use cabinet_core::{EntryRefusal, EntryResult, Input};
use schemas::crypto::codes::Secret;
use schemas::messages::*;

use crate::rig::*;

const CODE: &str = "BCDFGHJ";

fn letters(id: u8, code: &str, order: &str) -> BookChange {
    PutCredential { kind: CredentialKind::Letters, ..credential(id, code, &[order]) }.into()
}

fn rules(code_letters: Option<u8>) -> BookChange {
    Rules { code_digits: 8, break_glass: None, code_letters }.into()
}

#[test]
fn a_code_of_letters_opens_its_door_as_one_of_digits_does_and_both_forms_work_beside_each_other() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "22222223")]);
    rig.book(vec![letters(9, CODE, "A1")]);
    assert_eq!(only_pulse(&rig.enter("bcd-fghj")).compartment, 3);
    rig.restart();
    rig.open_door(3);
    rig.close_door(3);
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Used));
    rig.pick_up("22222223");
}

#[test]
fn digits_and_letters_are_counted_by_one_lockout() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![letters(9, CODE, "A1")]);
    for _ in 0..2 {
        assert_eq!(result(&rig.enter("BCDFGHK")), EntryResult::Refused(EntryRefusal::Wrong));
        assert_eq!(result(&rig.enter("00000000")), EntryResult::Refused(EntryRefusal::Wrong));
    }
    let locked = EntryResult::Locked { until_boot_millis: rig.now + 300_000 };
    assert_eq!(result(&rig.enter("BCDFGHK")), locked);
    assert_eq!(result(&rig.enter(CODE)), locked, "a right code is not even looked at");
    assert_eq!(result(&rig.enter("12345678")), locked);
}

#[test]
fn two_typed_codes_are_not_tried_at_one_time_whatever_their_form() {
    let mut rig = Rig::online();
    rig.send(Input::Entered { entry: 100, secret: Secret::parse(CODE).unwrap() });
    let second = rig.send(Input::Entered { entry: 101, secret: Secret::parse("12345678").unwrap() });
    assert_eq!(result(&second), EntryResult::Refused(EntryRefusal::Busy));
}

#[test]
fn the_book_says_which_keypad_stands_at_the_screen_and_whether_the_other_is_needed() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let shown = |rig: &Rig| (rig.core.view().code_letters, rig.core.view().other_form);
    assert_eq!(shown(&rig), (None, false));
    rig.book(vec![rules(Some(7))]);
    assert_eq!(shown(&rig), (Some(7), true), "a code of digits is still out");
    rig.restart();
    assert_eq!(shown(&rig), (Some(7), true));
    rig.pick_up("12345678");
    assert_eq!(shown(&rig), (Some(7), false));
    rig.book(vec![put_order("B1", Size::S), letters(9, CODE, "B1"), rules(None)]);
    assert_eq!(shown(&rig), (None, true));
    rig.book += 1;
    rig.send_book(Book { version: rig.book, base: 0, issued: 0, changes: vec![] });
    assert_eq!(shown(&rig), (None, false));
}

#[test]
fn a_length_that_no_code_has_is_refused_with_its_book() {
    for none in [0, 4, 11] {
        let mut rig = Rig::online();
        rig.book(vec![rules(Some(none))]);
        let Fact::BookRefused(refused) = rig.last() else { panic!("{none} was taken: {:?}", rig.last()) };
        assert_eq!((refused.reason, rig.core.view().code_letters), (RefusalReason::Malformed, None));
    }
}

#[test]
fn a_pin_is_of_digits_and_never_found_among_letters() {
    let mut rig = Rig::online();
    rig.book(vec![put_staff("ann", CODE)]);
    assert_eq!(result(&rig.enter_staff(CODE)), EntryResult::Refused(EntryRefusal::Wrong));
}
