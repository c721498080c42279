//! Somebody who is no staff puts an order in: which door opens, when it counts as stored, and what becomes of those who
//! walk away.

use cabinet_core::{
    DEPOSIT_ANSWER_MILLIS, DEPOSIT_IDLE_MILLIS, DepositRefusal, DepositWish, DoorSeen, Effect, EntryRefusal,
    EntryResult, Input, ScreenNote, SessionId,
};
use schemas::messages::*;
use schemas::step::Table;

use crate::rig::*;

const CODE: &str = "20000000";

pub(crate) fn put_deposit(id: u8, code: &str, of: &str) -> PutDeposit {
    PutDeposit {
        id: CredentialId([id; 8]),
        kind: CredentialKind::Digits,
        verifier: verifier(code),
        order: order(of),
        generation: 1,
        expires: None,
        pepper: 1,
    }
}

pub(crate) fn brought(id: &str, size: Size, by: DepositKind) -> BookChange {
    let BookChange::PutOrder(put) = put_order(id, size) else { unreachable!() };
    PutOrder { deposit: Some(by), ..put }.into()
}

/// `A1` of this size is awaited, and nobody else.
fn awaiting(size: Size) -> Rig {
    let mut rig = Rig::online();
    rig.book(vec![
        put_staff("ann", "111111"),
        brought("A1", size, DepositKind::Courier),
        put_deposit(1, CODE, "A1").into(),
    ]);
    rig
}

fn began(effects: &[Effect]) -> (SessionId, u16) {
    match result(effects) {
        EntryResult::Depositing { session, compartment } => (session, compartment.number()),
        other => panic!("no deposit: {other:?}"),
    }
}

/// The code is typed and the lock pulsed.
fn begin(rig: &mut Rig) -> (SessionId, u16) {
    let effects = rig.enter(CODE);
    let (session, compartment) = began(&effects);
    let pulse = only_pulse(&effects);
    assert_eq!(pulse.compartment, compartment);
    rig.sent(pulse);
    (session, compartment)
}

fn wish(rig: &mut Rig, session: SessionId, wish: DepositWish) -> Vec<Effect> {
    rig.send(Input::Deposit { session, wish })
}

fn notes(effects: &[Effect]) -> Vec<&ScreenNote> {
    let screen = effects.iter().filter_map(|effect| match effect {
        Effect::Screen(note) => Some(note),
        _ => None,
    });
    screen.collect()
}

fn refused(effects: &[Effect]) -> DepositRefusal {
    match notes(effects).as_slice() {
        [ScreenNote::DepositRefused { reason, .. }] => *reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn deposited(compartment: u16, seen: bool) -> Deposited {
    Deposited {
        order: order("A1"),
        compartment: number(compartment),
        credential: CredentialId([1; 8]),
        seen,
        courier: None,
    }
}

#[test]
fn a_deposit_code_opens_a_free_compartment_and_the_sensor_stores_the_order() {
    let mut rig = awaiting(Size::M);
    rig.send(Input::Disconnected);
    let (session, compartment) = begin(&mut rig);
    assert_eq!(compartment, 1, "the smallest that fits");
    let by = CredentialId([1; 8]);
    assert!(rig.has(Depositing { order: order("A1"), compartment: number(1), credential: by, courier: None }));
    rig.open_door(1);
    let effects = rig.door(1, DoorSeen::Closed, OCCUPIED);
    let over = ScreenNote::DepositOver { session, compartment: number(1), stored: true };
    assert_eq!(notes(&effects), [&ScreenNote::Closed { compartment: number(1) }, &over]);
    assert_eq!(rig.last(), deposited(1, true).into());
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Used));
    assert!(pulses(&rig.enter(CODE)).is_empty());
}

#[test]
fn a_deposit_code_never_opens_what_is_inside_and_a_pickup_code_never_puts_in() {
    let mut rig = awaiting(Size::S);
    rig.book(vec![credential(2, "30000000", &["A1"]).into()]);
    assert_eq!(result(&rig.enter("30000000")), EntryResult::Refused(EntryRefusal::NotHere));
    let (_, compartment) = begin(&mut rig);
    assert_eq!(result(&rig.enter("30000000")), EntryResult::Refused(EntryRefusal::NotHere), "not stored yet");
    rig.open_door(compartment);
    let session = rig.log_in("111111");
    rig.door(compartment, DoorSeen::Closed, UNKNOWN);
    rig.send(Input::ConfirmLoaded { session, compartment: number(compartment), inside: true });
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Used));
    assert_eq!(result(&rig.enter("30000000")), EntryResult::Opening { compartments: vec![number(compartment)] });
}

#[test]
fn staff_who_load_it_after_all_end_the_deposit_code() {
    let mut rig = awaiting(Size::M);
    let session = rig.log_in("111111");
    assert_eq!(rig.core.waiting(session)[0].deposit, Some(DepositKind::Courier));
    let pulse = rig.load(session, "A1");
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Busy), "staff are at it");
    rig.open_door(pulse.compartment);
    rig.door(pulse.compartment, DoorSeen::Closed, OCCUPIED);
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Used));
    rig.book(vec![put_deposit(1, CODE, "A1").into()]);
    assert_eq!(
        result(&rig.enter(CODE)),
        EntryResult::Refused(EntryRefusal::Used),
        "a book that is late changes nothing"
    );
    let later = PutDeposit { generation: 2, ..put_deposit(3, "20000003", "A1") };
    rig.book(vec![later.into()]);
    assert_eq!(result(&rig.enter("20000003")), EntryResult::Refused(EntryRefusal::Used), "nor a later code");
}

#[test]
fn behind_a_closed_and_empty_door_the_depositor_is_asked_and_the_code_stays_good() {
    let mut rig = awaiting(Size::M);
    let (session, _) = begin(&mut rig);
    rig.open_door(1);
    let effects = rig.close_door(1);
    let asked = ScreenNote::AskDeposited { session, compartment: number(1), empty: true };
    assert!(notes(&effects).contains(&&asked), "{effects:?}");
    rig.wait(DEPOSIT_ANSWER_MILLIS - 1);
    assert!(rig.view(1).allocated);
    rig.wait(1);
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(1) }.into());
    assert!(!rig.view(1).allocated && !rig.view(1).audit_required);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::Inside)), DepositRefusal::NoSession);
    assert_eq!(begin(&mut rig).1, 1, "nothing was stored, so nothing is used up");
}

#[test]
fn where_no_sensor_can_tell_the_depositor_says_that_it_is_inside() {
    let mut rig = awaiting(Size::S);
    let (session, compartment) = begin(&mut rig);
    assert_eq!(compartment, 3);
    rig.open_door(3);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::Inside)), DepositRefusal::DoorOpen);
    rig.door(3, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Deposited(_))), 0, "3 has no sensor, whatever the bus says");
    wish(&mut rig, session, DepositWish::Inside);
    assert_eq!(rig.last(), deposited(3, false).into());
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::Inside)), DepositRefusal::NoSession);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Deposited(_))), 1);
}

#[test]
fn who_walks_away_from_a_closed_door_without_a_sensor_leaves_a_question_for_staff() {
    let mut rig = awaiting(Size::S);
    begin(&mut rig);
    rig.open_door(3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    rig.wait(DEPOSIT_ANSWER_MILLIS);
    assert_eq!(rig.last(), AuditRequired { compartment: number(3), order: Some(order("A1")) }.into());
    assert!(rig.view(3).allocated && rig.view(3).asks);
    let session = rig.log_in("111111");
    rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: true });
    let staff: schemas::ids::Name = "ann".parse().unwrap();
    let (by, at) = (StoredBy::Staff, number(3));
    assert!(rig.has(Stored { order: order("A1"), compartment: at, by, staff: staff.clone() }));
    let found = Audited { compartment: at, staff, found: Finding::AsBooked, order: Some(order("A1")) };
    assert_eq!(rig.last(), found.into());
    assert!(!rig.view(3).audit_required);
}

#[test]
fn staff_who_find_nothing_free_the_compartment_and_the_courier_may_come_again() {
    let mut rig = awaiting(Size::S);
    begin(&mut rig);
    rig.open_door(3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    rig.wait(DEPOSIT_ANSWER_MILLIS);
    let session = rig.log_in("111111");
    rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: false });
    assert!(!rig.view(3).allocated && !rig.view(3).audit_required);
    assert_eq!(begin(&mut rig).1, 3);
}

#[test]
fn a_door_that_is_left_open_is_held_open_and_never_freed_by_time() {
    let mut rig = awaiting(Size::M);
    begin(&mut rig);
    rig.open_door(1);
    rig.wait(1_000_000);
    assert!(rig.has(DoorHeldOpen { compartment: number(1), stage: HeldStage::Technician }));
    assert!(rig.view(1).allocated);
    rig.close_door(1);
    rig.wait(DEPOSIT_ANSWER_MILLIS);
    assert!(!rig.view(1).allocated, "closed and empty: free again");
}

#[test]
fn too_small_opens_a_larger_compartment_in_the_same_session() {
    let mut rig = awaiting(Size::S);
    let (session, compartment) = begin(&mut rig);
    assert_eq!(compartment, 3);
    rig.open_door(3);
    let effects = wish(&mut rig, session, DepositWish::TooSmall);
    let larger = only_pulse(&effects);
    assert_eq!(larger.compartment, 1, "an M");
    assert!(notes(&effects).contains(&&ScreenNote::Depositing { session, compartment: number(1) }));
    assert!(!rig.view(3).allocated && !rig.view(3).audit_required);
    rig.sent(larger);
    rig.close_door(3);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.last(), deposited(1, true).into());
    let moved: Vec<_> = rig.events().into_iter().filter(|fact| matches!(fact, Fact::LoadAborted(_))).collect();
    assert_eq!(moved, [LoadAborted { order: order("A1"), compartment: number(3) }.into()]);
}

#[test]
fn of_a_closed_door_without_a_sensor_nobody_is_believed_that_it_is_too_small() {
    let mut rig = awaiting(Size::S);
    let (session, _) = begin(&mut rig);
    rig.open_door(3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::TooSmall)), DepositRefusal::DoorClosed);
    let pulse = only_pulse(&wish(&mut rig, session, DepositWish::Again));
    assert_eq!(pulse.compartment, 3, "the same door, once more");
    rig.sent(pulse);
    rig.open_door(3);
    assert_eq!(only_pulse(&wish(&mut rig, session, DepositWish::TooSmall)).compartment, 1);
}

#[test]
fn a_compartment_that_is_not_empty_is_reported_and_another_one_opens() {
    let mut rig = awaiting(Size::S);
    let (session, _) = begin(&mut rig);
    rig.open_door(3);
    let other = only_pulse(&wish(&mut rig, session, DepositWish::NotEmpty));
    assert_eq!(other.compartment, 1);
    assert!(rig.has(AuditRequired { compartment: number(3), order: None }));
    rig.sent(other);
    rig.open_door(1);
    let pulse = only_pulse(&wish(&mut rig, session, DepositWish::NotEmpty));
    rig.sent(pulse);
    rig.open_door(2);
    let pulse = only_pulse(&wish(&mut rig, session, DepositWish::TooSmall));
    rig.sent(pulse);
    rig.open_door(5);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::TooSmall)), DepositRefusal::NoFittingCompartment);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::NotEmpty)), DepositRefusal::TooOften);
    assert!(rig.view(5).allocated, "the one that it has stays");
}

#[test]
fn typed_again_the_code_goes_on_at_the_same_door() {
    let mut rig = awaiting(Size::M);
    let (first, _) = begin(&mut rig);
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Busy), "its door is just being opened");
    rig.open_door(1);
    let effects = rig.enter(CODE);
    let (second, compartment) = began(&effects);
    assert!(compartment == 1 && first != second && pulses(&effects).is_empty(), "it stands open");
    assert_eq!(refused(&wish(&mut rig, first, DepositWish::TooSmall)), DepositRefusal::NoSession);
    rig.close_door(1);
    let effects = rig.enter(CODE);
    assert_eq!(only_pulse(&effects).compartment, 1, "closed with nothing inside: once more");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Depositing(_))), 1);
}

#[test]
fn giving_up_frees_what_a_sensor_sees_empty_and_has_staff_look_elsewhere() {
    for (size, at, looked_at) in [(Size::M, 1, false), (Size::S, 3, true)] {
        let mut rig = awaiting(size);
        let (session, _) = begin(&mut rig);
        rig.open_door(at);
        assert_eq!(refused(&wish(&mut rig, session, DepositWish::GiveUp)), DepositRefusal::DoorOpen);
        rig.close_door(at);
        wish(&mut rig, session, DepositWish::GiveUp);
        assert_eq!((rig.view(at).allocated, rig.view(at).audit_required), (false, looked_at));
        assert!(rig.has(LoadAborted { order: order("A1"), compartment: number(at) }));
    }
}

#[test]
fn a_word_against_the_sensor_stores_the_order_and_has_staff_look() {
    let mut rig = awaiting(Size::M);
    let (session, _) = begin(&mut rig);
    rig.open_door(1);
    rig.close_door(1);
    wish(&mut rig, session, DepositWish::Inside);
    assert!(rig.has(deposited(1, false)));
    assert_eq!(rig.last(), AuditRequired { compartment: number(1), order: Some(order("A1")) }.into());
}

#[test]
fn of_two_couriers_and_one_last_compartment_one_is_sent_away_and_it_is_reported_once() {
    let mut rig = awaiting(Size::L);
    rig.book(vec![brought("A2", Size::L, DepositKind::Courier), put_deposit(2, "20000002", "A2").into()]);
    begin(&mut rig);
    let refused = EntryResult::Refused(EntryRefusal::NoRoom);
    assert_eq!(result(&rig.enter("20000002")), refused);
    assert_eq!(result(&rig.enter("20000002")), refused);
    let reason = RefusalReason::NoFittingCompartment;
    assert_eq!(rig.count(|fact| *fact == CredentialRefused { id: CredentialId([2; 8]), reason }.into()), 1);
    rig.open_door(5);
    rig.close_door(5);
    rig.wait(DEPOSIT_ANSWER_MILLIS + 1);
    // 5 has no sensor: only staff free it.
    assert_eq!(result(&rig.enter("20000002")), refused);
    let session = rig.log_in("111111");
    rig.send(Input::ConfirmLoaded { session, compartment: number(5), inside: false });
    assert_eq!(began(&rig.enter("20000002")).1, 5);
}

#[test]
fn a_door_that_never_opens_for_a_deposit_is_given_up_and_another_one_is_taken() {
    let mut rig = awaiting(Size::S);
    begin(&mut rig);
    for _ in 0..2 {
        rig.wait(3_000);
        let pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(3) }));
        rig.sent(pulse);
    }
    let effects = rig.wait(3_000);
    assert!(notes(&effects).iter().any(|note| matches!(note, ScreenNote::DepositOver { stored: false, .. })));
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(3) }.into());
    assert_eq!(begin(&mut rig).1, 1, "3 is out of order");
}

#[test]
fn an_ended_or_withdrawn_deposit_code_opens_nothing() {
    let mut rig = awaiting(Size::M);
    rig.set_time(1_000_000);
    rig.book(vec![PutDeposit { expires: Some(1_000_000), ..put_deposit(1, CODE, "A1") }.into()]);
    rig.wait(1_000);
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Expired));
    rig.book(vec![DropCredential { id: CredentialId([1; 8]) }.into(), DropOrder { order: order("A1") }.into()]);
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Revoked));
}

#[test]
fn a_later_deposit_code_replaces_the_one_before_and_no_pickup_code() {
    let mut rig = awaiting(Size::M);
    rig.book(vec![credential(2, "30000000", &["A1"]).into()]);
    rig.book(vec![PutDeposit { generation: 2, ..put_deposit(3, "20000003", "A1") }.into()]);
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::Revoked));
    assert_eq!(result(&rig.enter("30000000")), EntryResult::Refused(EntryRefusal::NotHere), "it lives");
    rig.book(vec![PutCredential { generation: 5, ..credential(2, "30000000", &["A1"]) }.into()]);
    assert_eq!(began(&rig.enter("20000003")).1, 1);
}

#[test]
fn wrong_deposit_codes_count_like_all_others_and_a_locked_screen_takes_a_scan() {
    let mut rig = awaiting(Size::M);
    let scanned =
        PutDeposit { kind: CredentialKind::Qr, verifier: verifier(token(7).reveal()), ..put_deposit(2, CODE, "A1") };
    rig.book(vec![scanned.into()]);
    for _ in 0..5 {
        rig.enter("99999999");
    }
    assert!(matches!(result(&rig.enter(CODE)), EntryResult::Locked { .. }));
    assert_eq!(began(&rig.scan(token(7))).1, 1);
}

#[test]
fn a_full_disk_takes_no_deposit() {
    let mut rig = awaiting(Size::M);
    rig.send(Input::Disk { low: true });
    assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::NoRoom));
    rig.send(Input::Disk { low: false });
    assert_eq!(began(&rig.enter(CODE)).1, 1);
}

#[test]
fn a_session_of_a_depositor_is_none_of_staff_and_ends_when_idle() {
    let mut rig = awaiting(Size::M);
    let (session, _) = begin(&mut rig);
    rig.open_door(1);
    assert!(rig.core.waiting(session).is_empty());
    let effects = rig.send(Input::Load { session, order: order("A1"), larger: true });
    assert_eq!(crate::loading::refused(&effects), cabinet_core::StaffRefusal::NoSession);
    rig.wait(DEPOSIT_IDLE_MILLIS);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::TooSmall)), DepositRefusal::NoSession);
    let staff = rig.log_in("111111");
    assert_eq!(refused(&wish(&mut rig, staff, DepositWish::TooSmall)), DepositRefusal::NoSession);
}

/// Each step on the way in, with its rows on the disk or not.
#[test]
fn a_power_cut_at_any_step_pulses_nothing_again_and_stores_nothing_twice() {
    for cut in 0..8 {
        let mut rig = awaiting(Size::M);
        let steps = [
            Input::Derived { entry: 1, verifier: verifier(CODE) },
            Input::PulseResult { pulse: 1, sent: true },
            Input::Door { compartment: number(1), door: DoorSeen::Open, occupancy: UNKNOWN },
            Input::Door { compartment: number(1), door: DoorSeen::Closed, occupancy: OCCUPIED },
        ];
        let secret = schemas::crypto::codes::Secret::parse(CODE).unwrap();
        rig.send(Input::Entered { entry: 1, secret });
        for input in &steps[..cut / 2] {
            rig.send(input.clone());
        }
        let input = steps[cut / 2].clone();
        let step = rig.step(input);
        if cut % 2 == 1 {
            rig.commit(&step.writes);
        }
        let effects = rig.restart();
        assert!(pulses(&effects).is_empty(), "cut {cut}");
        rig.connect();
        let moved = cut >= 3;
        let effects = rig.door(1, DoorSeen::Closed, if moved { OCCUPIED } else { EMPTY });
        assert!(pulses(&effects).is_empty(), "cut {cut}");
        assert!(pulses(&rig.wait(DEPOSIT_ANSWER_MILLIS * 2)).is_empty(), "cut {cut}");
        let stored = rig.count(|fact| matches!(fact, Fact::Deposited(_)));
        assert_eq!(stored, usize::from(moved), "cut {cut}: {:?}", rig.events());
        assert_eq!(rig.store.len(Table("uses")), 0, "cut {cut}");
        let again = rig.enter(CODE);
        if moved {
            assert_eq!(result(&again), EntryResult::Refused(EntryRefusal::Used), "cut {cut}");
        } else {
            assert!(matches!(result(&again), EntryResult::Depositing { .. }), "cut {cut}: {again:?}");
        }
    }
}

#[test]
fn a_whole_book_leaves_a_deposit_under_way_alone() {
    let mut rig = awaiting(Size::M);
    begin(&mut rig);
    rig.open_door(1);
    rig.book += 1;
    let changes = vec![Rules { code_digits: 8, break_glass: None, code_letters: None }.into()];
    rig.send_book(Book { version: rig.book, base: 0, issued: 0, changes });
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(rig.has(deposited(1, true)));
}
