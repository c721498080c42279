//! The break-glass code: typed once at a cabinet that the fleet does not reach.

use cabinet_core::{Effect, EntryRefusal, EntryResult, Input, SessionId};
use schemas::crypto::codes::{BREAK_GLASS_DIGITS, Secret};
use schemas::messages::*;

use crate::rig::*;

/// The code of 25 times this digit.
fn code(digit: u8) -> String {
    char::from(b'0' + digit).to_string().repeat(BREAK_GLASS_DIGITS.into())
}

fn id(digit: u8) -> CredentialId {
    CredentialId([digit; 8])
}

fn rules(digit: Option<u8>) -> BookChange {
    let glass = |digit| BreakGlass { id: id(digit), verifier: verifier(&code(digit)), pepper: 1 };
    Rules { code_digits: 8, break_glass: digit.map(glass), code_letters: None }.into()
}

/// Offline, with an order in compartment 4, and a break-glass code of sevens.
fn offline() -> Rig {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![rules(Some(7))]);
    rig.send(Input::Disconnected);
    rig
}

fn enter(rig: &mut Rig, digit: u8) -> EntryResult {
    result(&rig.scan_staff(Secret::parse(&code(digit)).unwrap()))
}

fn session(result: EntryResult) -> SessionId {
    match result {
        EntryResult::StaffSession { session, name } if name.as_str() == BREAK_GLASS_NAME => session,
        other => panic!("{other:?}"),
    }
}

fn used(rig: &Rig) -> Vec<(CredentialId, u32)> {
    let facts = rig.events();
    let of = |fact: &Fact| match fact {
        Fact::BreakGlassUsed(used) => Some((used.id, used.begun)),
        _ => None,
    };
    facts.iter().filter_map(of).collect()
}

fn retrieve(rig: &mut Rig, session: SessionId) -> Vec<Effect> {
    rig.send(Input::Retrieve { session, order: order("A1") })
}

#[test]
fn it_opens_offline_what_staff_open_and_says_so() {
    let mut rig = offline();
    let session = session(enter(&mut rig, 7));
    let pulse = only_pulse(&retrieve(&mut rig, session));
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    assert_eq!(used(&rig), [(id(7), 1)]);
    let by = ActorStaff { name: BREAK_GLASS_NAME.parse().unwrap() };
    assert_eq!(rig.count(|fact| matches!(fact, Fact::DoorOpened(seen) if seen.by == by.clone().into())), 1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 1);
}

#[test]
fn it_is_used_up_with_its_session_and_stays_so() {
    let mut rig = offline();
    let begun = session(enter(&mut rig, 7));
    rig.send(Input::StaffLogout { session: begun });
    assert_eq!(enter(&mut rig, 7), EntryResult::Refused(EntryRefusal::Used));
    rig.restart();
    assert_eq!(enter(&mut rig, 7), EntryResult::Refused(EntryRefusal::Used));
    // A fleet that was put back to a time before sends it again, in a whole book, too.
    rig.connect();
    rig.book(vec![rules(Some(7))]);
    assert_eq!(enter(&mut rig, 7), EntryResult::Refused(EntryRefusal::Used));
    let whole = |rig: &mut Rig, digit| {
        let version = rig.core.view().book + 1;
        rig.send_book(Book { version, base: 0, issued: 1, changes: vec![rules(Some(digit))] });
    };
    whole(&mut rig, 7);
    assert_eq!(enter(&mut rig, 7), EntryResult::Refused(EntryRefusal::Used));
    assert_eq!(used(&rig), [(id(7), 1)]);
    // Another one is another one.
    whole(&mut rig, 8);
    session(enter(&mut rig, 8));
    assert_eq!(used(&rig), [(id(7), 1), (id(8), 1)]);
}

#[test]
fn an_idle_session_uses_it_up_as_well() {
    let mut rig = offline();
    let begun = session(enter(&mut rig, 7));
    rig.wait(60_000);
    assert!(rig.core.waiting(begun).is_empty());
    assert_eq!(enter(&mut rig, 7), EntryResult::Refused(EntryRefusal::Used));
}

#[test]
fn who_loses_the_session_to_a_power_cut_may_begin_again_twice() {
    let mut rig = offline();
    for begun in 1..=3 {
        session(enter(&mut rig, 7));
        assert_eq!(used(&rig).last(), Some(&(id(7), begun)));
        rig.restart();
    }
    assert_eq!(enter(&mut rig, 7), EntryResult::Refused(EntryRefusal::Used));
    assert_eq!(used(&rig).len(), 3);
}

#[test]
fn entered_again_it_goes_on_in_one_session() {
    let mut rig = offline();
    let first = session(enter(&mut rig, 7));
    let second = session(enter(&mut rig, 7));
    assert!(told(&retrieve(&mut rig, first)).iter().any(|told| told.contains("NoSession")));
    only_pulse(&retrieve(&mut rig, second));
}

#[test]
fn a_vandal_who_locks_typing_does_not_keep_it_out_and_wrong_ones_are_not_counted() {
    let mut rig = offline();
    for _ in 0..4 {
        for _ in 0..5 {
            rig.enter("00000000");
        }
        rig.wait(300_000);
    }
    assert_eq!(result(&rig.enter("12345678")), EntryResult::SecondPartNeeded);
    for _ in 0..50 {
        assert_eq!(enter(&mut rig, 6), EntryResult::Refused(EntryRefusal::Wrong));
    }
    session(enter(&mut rig, 7));
}

#[test]
fn the_fleet_takes_it_back_and_a_session_that_began_goes_on() {
    let mut rig = offline();
    rig.connect();
    rig.book(vec![rules(None)]);
    assert_eq!(enter(&mut rig, 7), EntryResult::Refused(EntryRefusal::Wrong));
    rig.book(vec![rules(Some(8))]);
    let begun = session(enter(&mut rig, 8));
    rig.book(vec![rules(Some(9))]);
    only_pulse(&retrieve(&mut rig, begun));
    rig.send(Input::StaffLogout { session: begun });
    assert_eq!(enter(&mut rig, 8), EntryResult::Refused(EntryRefusal::Used));
    // The end of the former one's session is not the end of this one.
    session(enter(&mut rig, 9));
}

#[test]
fn one_of_another_pepper_is_refused_with_its_book() {
    let mut rig = offline();
    rig.connect();
    let glass = BreakGlass { id: id(8), verifier: verifier(&code(8)), pepper: 2 };
    rig.book(vec![Rules { code_digits: 8, break_glass: Some(glass), code_letters: None }.into()]);
    assert_eq!(
        rig.count(|fact| matches!(fact, Fact::BookRefused(refused) if refused.reason == RefusalReason::WrongBase)),
        1
    );
    session(enter(&mut rig, 7));
}

#[test]
fn the_screen_hears_nothing_of_it_before_the_use_is_on_disk() {
    let mut rig = offline();
    rig.scan_staff(Secret::parse(&code(7)).unwrap());
    // The step that lets somebody in has the count and the event among its writes.
    rig.restart();
    assert_eq!(used(&rig), [(id(7), 1)]);
}
