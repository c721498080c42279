//! Staff look into compartments and say what they find.

use cabinet_core::{DoorSeen, Effect, EntryRefusal, EntryResult, Input, SessionId, StaffRefusal};
use schemas::messages::*;

use crate::loading::{load, refused};
use crate::rig::*;

fn look(rig: &mut Rig, session: SessionId, compartment: u16) -> Vec<Effect> {
    rig.send(Input::Look { session, compartment: number(compartment) })
}

/// Door opened for a look and closed again; what the last step told.
fn looked_into(rig: &mut Rig, session: SessionId, compartment: u16, occupancy: Occupancy) -> Vec<Effect> {
    let pulse = only_pulse(&look(rig, session, compartment));
    rig.sent(pulse);
    rig.open_door(compartment);
    rig.door(compartment, DoorSeen::Closed, occupancy)
}

fn say(rig: &mut Rig, session: SessionId, compartment: u16, inside: bool) -> Vec<Effect> {
    rig.send(Input::ConfirmLoaded { session, compartment: number(compartment), inside })
}

fn audited(compartment: u16, found: Finding, id: Option<&str>) -> Audited {
    Audited { compartment: number(compartment), staff: "ann".parse().unwrap(), found, order: id.map(order) }
}

fn by_ann(compartment: u16) -> DoorOpened {
    DoorOpened { compartment: number(compartment), by: ActorStaff { name: "ann".parse().unwrap() }.into() }
}

#[test]
fn a_look_at_what_a_sensor_calls_empty_ends_when_the_door_closes() {
    let mut rig = Rig::holding(&[]);
    let session = rig.log_in("111111");
    let effects = look(&mut rig, session, 1);
    let note = cabinet_core::ScreenNote::Looking { session, compartment: number(1), order: None };
    assert_eq!(told(&effects)[0], format!("Screen({note:?})"));
    rig.sent(only_pulse(&effects));
    rig.open_door(1);
    assert!(rig.has(by_ann(1)));
    let effects = rig.close_door(1);
    assert_eq!(told(&effects)[1], "Screen(Audited { compartment: 1, found: AsBooked })");
    assert_eq!(rig.last(), audited(1, Finding::AsBooked, None).into());
    assert!(!rig.view(1).asks && !rig.view(1).audit_required);
}

#[test]
fn a_look_where_no_sensor_tells_blocks_the_compartment_until_staff_have_said_what_they_found() {
    let mut rig = Rig::holding(&[]);
    rig.book(vec![put_order("A1", Size::S)]);
    let session = rig.log_in("111111");
    let effects = looked_into(&mut rig, session, 3, UNKNOWN);
    assert_eq!(told(&effects)[1], "Screen(AskFound { compartment: 3, order: None })");
    assert!(rig.view(3).asks);
    assert_ne!(rig.load(session, "A1").compartment, 3);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Audited(_))), 0);
    say(&mut rig, session, 3, false);
    assert_eq!(rig.last(), audited(3, Finding::AsBooked, None).into());
    assert!(!rig.view(3).asks);
}

#[test]
fn something_in_a_free_compartment_is_told_and_blocks_it_until_the_next_look() {
    let mut rig = Rig::holding(&[]);
    let session = rig.log_in("111111");
    // The word of staff, and that of a sensor.
    for compartment in [3, 1] {
        looked_into(&mut rig, session, compartment, OCCUPIED);
        if compartment == 3 {
            say(&mut rig, session, 3, true);
        }
        assert_eq!(rig.last(), audited(compartment, Finding::Occupied, None).into());
        assert!(rig.view(compartment).audit_required && !rig.view(compartment).asks);
        assert!(!rig.has(AuditRequired { compartment: number(compartment), order: None }), "told once");
    }
    looked_into(&mut rig, session, 1, EMPTY);
    looked_into(&mut rig, session, 3, UNKNOWN);
    say(&mut rig, session, 3, false);
    assert!(!rig.view(1).audit_required && !rig.view(3).audit_required);
}

#[test]
fn a_look_at_an_order_changes_nothing_about_it_and_staff_confirm_it() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let effects = looked_into(&mut rig, session, 4, UNKNOWN);
    assert_eq!(told(&effects)[1], "Screen(AskFound { compartment: 4, order: Some(shop/A1) })");
    say(&mut rig, session, 4, true);
    assert_eq!(rig.last(), audited(4, Finding::AsBooked, Some("A1")).into());
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
    rig.pick_up("12345678");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
}

#[test]
fn a_missing_order_is_told_its_code_refused_and_loading_it_again_makes_it_good() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 4, UNKNOWN);
    say(&mut rig, session, 4, false);
    assert_eq!(rig.last(), audited(4, Finding::Missing, Some("A1")).into());
    assert!(!rig.view(4).allocated && !rig.view(4).audit_required, "it is empty, somebody has looked");
    rig.restart();
    rig.doors_closed();
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::Missing));
    let refusal = CredentialRefused { id: CredentialId([1; 8]), reason: RefusalReason::OutOfService };
    assert_eq!(rig.last(), refusal.into());
    let session = rig.log_in("111111");
    let waiting = rig.core.waiting(session);
    assert!(waiting.len() == 1 && waiting[0].missing && !waiting[0].loading);
    let pulse = rig.load(session, "A1");
    rig.open_door(pulse.compartment);
    rig.door(pulse.compartment, DoorSeen::Closed, OCCUPIED);
    say(&mut rig, session, pulse.compartment, true);
    assert!(matches!(result(&rig.enter("12345678")), EntryResult::Opening { .. }));
}

#[test]
fn no_word_of_staff_frees_what_a_sensor_calls_occupied_or_keeps_what_it_calls_empty() {
    let mut rig = Rig::holding(&[(2, "A1", "12345678")]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 1, OCCUPIED);
    assert_eq!(refused(&say(&mut rig, session, 1, false)), StaffRefusal::SensorDisagrees);
    looked_into(&mut rig, session, 2, EMPTY);
    assert!(rig.has(AuditRequired { compartment: number(2), order: Some(order("A1")) }));
    assert_eq!(refused(&say(&mut rig, session, 2, true)), StaffRefusal::SensorDisagrees);
    say(&mut rig, session, 2, false);
    assert_eq!(rig.last(), audited(2, Finding::Missing, Some("A1")).into());
    assert!(!rig.view(2).audit_required);
}

#[test]
fn what_staff_miss_although_a_sensor_sees_something_leaves_a_doubtful_compartment() {
    let mut rig = Rig::holding(&[(2, "A1", "12345678")]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 2, OCCUPIED);
    say(&mut rig, session, 2, false);
    assert!(rig.has(audited(2, Finding::Missing, Some("A1"))));
    assert!(rig.view(2).audit_required && !rig.view(2).allocated);
}

#[test]
fn who_has_not_looked_cannot_say_that_the_book_is_wrong() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    for (compartment, inside) in [(4, false), (3, true), (4, true), (3, false)] {
        assert_eq!(refused(&say(&mut rig, session, compartment, inside)), StaffRefusal::UnknownOrder);
    }
    assert_eq!(refused(&say(&mut rig, session, 9, false)), StaffRefusal::UnknownCompartment);
    look(&mut rig, session, 4);
    assert_eq!(refused(&say(&mut rig, session, 4, false)), StaffRefusal::Busy, "its door is just being opened");
    rig.open_door(4);
    assert_eq!(refused(&say(&mut rig, session, 4, false)), StaffRefusal::DoorOpen);
}

#[test]
fn nobody_looks_into_what_somebody_else_is_busy_with() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    let pulse = rig.load(session, "A2");
    assert_eq!(refused(&look(&mut rig, session, pulse.compartment)), StaffRefusal::Busy);
    rig.wait(3_000);
    assert_eq!(refused(&look(&mut rig, session, pulse.compartment)), StaffRefusal::Busy, "they may try again");
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    assert_eq!(refused(&look(&mut rig, session, 4)), StaffRefusal::Busy, "its customer stands there");
    assert_eq!(refused(&look(&mut rig, session, 9)), StaffRefusal::UnknownCompartment);
    assert_eq!(refused(&look(&mut rig, SessionId(7), 1)), StaffRefusal::NoSession);
}

#[test]
fn a_look_into_a_compartment_that_is_being_loaded_leaves_the_question_what_is_inside() {
    let mut rig = Rig::holding(&[]);
    rig.book(vec![put_order("A1", Size::S)]);
    let session = rig.log_in("111111");
    assert_eq!(rig.load(session, "A1").compartment, 3);
    rig.open_door(3);
    rig.close_door(3);
    let effects = looked_into(&mut rig, session, 3, UNKNOWN);
    assert_eq!(told(&effects)[1], "Screen(AskLoaded { order: shop/A1, compartment: 3, empty: false })");
    say(&mut rig, session, 3, true);
    assert!(matches!(rig.last(), Fact::Stored(_)));
}

#[test]
fn a_door_that_does_not_open_for_a_look_changes_nothing_and_may_be_tried_three_times() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let mut pulse = only_pulse(&look(&mut rig, session, 4));
    for _ in 0..2 {
        rig.sent(pulse);
        rig.wait(3_000);
        pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(4) }));
    }
    rig.sent(pulse);
    let effects = rig.wait(3_000);
    assert!(told(&effects).contains(&"Screen(CallStaff { compartment: 4, order: None })".to_owned()));
    assert!(rig.view(4).fault && !rig.view(4).asks && !rig.view(4).try_again);
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
    rig.pick_up("12345678");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1, "the customer is not turned away");
}

/// What is left of a look that was given up must not end the loading that follows.
#[test]
fn an_offer_to_look_again_ends_with_the_next_loading_and_does_not_abort_it() {
    let mut rig = Rig::holding(&[]);
    rig.book(vec![put_order("A1", Size::S)]);
    let session = rig.log_in("111111");
    let pulse = only_pulse(&look(&mut rig, session, 3));
    rig.sent(pulse);
    rig.wait(3_000);
    assert!(rig.view(3).try_again);
    assert_eq!(only_pulse(&load(&mut rig, session, "A1", false)).compartment, 3);
    assert!(rig.view(3).allocated && !rig.view(3).try_again);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::LoadAborted(_))), 0);
}

#[test]
fn a_look_while_the_sensor_is_silent_leaves_a_doubt_that_staff_end() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    let session = rig.log_in("111111");
    let pulse = only_pulse(&look(&mut rig, session, 4));
    rig.sent(pulse);
    let effects = rig.wait(3_000);
    assert!(told(&effects).contains(&"Screen(AskFound { compartment: 4, order: Some(shop/A1) })".to_owned()));
    assert!(rig.has(AuditRequired { compartment: number(4), order: Some(order("A1")) }));
    say(&mut rig, session, 4, true);
    assert_eq!(rig.last(), audited(4, Finding::AsBooked, Some("A1")).into());
    assert!(!rig.view(4).audit_required && rig.view(4).allocated);
}

#[test]
fn the_code_of_an_order_ends_a_look_that_nobody_has_answered() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 4, UNKNOWN);
    rig.pick_up("12345678");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(Collected { confirmed: true, .. }))), 1);
    assert!(!rig.view(4).asks && !rig.view(4).allocated);
}

#[test]
fn an_audit_that_staff_end_by_their_word_is_told() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.door(3, DoorSeen::Open, UNKNOWN);
    rig.close_door(3);
    rig.door(4, DoorSeen::Open, UNKNOWN);
    rig.close_door(4);
    assert!(rig.view(3).audit_required && rig.view(4).audit_required, "both were forced");
    let session = rig.log_in("111111");
    say(&mut rig, session, 3, false);
    assert_eq!(rig.last(), audited(3, Finding::AsBooked, None).into());
    say(&mut rig, session, 4, true);
    assert_eq!(rig.last(), audited(4, Finding::AsBooked, Some("A1")).into());
    assert!(!rig.view(3).audit_required && !rig.view(4).audit_required);
}

#[test]
fn a_member_of_staff_at_an_open_door_stays_logged_in() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let pulse = only_pulse(&look(&mut rig, session, 4));
    rig.sent(pulse);
    rig.open_door(4);
    rig.wait(200_000);
    rig.close_door(4);
    say(&mut rig, session, 4, true);
    assert_eq!(rig.last(), audited(4, Finding::AsBooked, Some("A1")).into());
}

fn clean(rig: &mut Rig, session: SessionId, compartment: u16, needed: bool) -> Vec<Effect> {
    rig.send(Input::Cleaning { session, compartment: number(compartment), needed })
}

fn cleaning(compartment: u16, needed: bool) -> Fact {
    Cleaning { compartment: number(compartment), staff: "ann".parse().unwrap(), needed }.into()
}

#[test]
fn a_compartment_that_needs_cleaning_takes_no_order_until_somebody_says_that_it_is_clean() {
    let mut rig = Rig::holding(&[]);
    rig.book(vec![put_order("A1", Size::L)]);
    let session = rig.log_in("111111");
    clean(&mut rig, session, 5, true);
    assert_eq!(rig.last(), cleaning(5, true));
    rig.restart();
    rig.doors_closed();
    assert!(rig.view(5).needs_cleaning);
    let session = rig.log_in("111111");
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoFittingCompartment);
    clean(&mut rig, session, 5, false);
    assert_eq!(rig.last(), cleaning(5, false));
    assert_eq!(rig.load(session, "A1").compartment, 5);
}

#[test]
fn what_is_inside_stays_collectable_and_the_mark_outlives_it() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    clean(&mut rig, session, 4, true);
    clean(&mut rig, session, 4, true);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Cleaning(_))), 1, "told once");
    looked_into(&mut rig, session, 4, UNKNOWN);
    say(&mut rig, session, 4, true);
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
    rig.pick_up("12345678");
    assert!(rig.view(4).needs_cleaning && !rig.view(4).allocated);
}

#[test]
fn only_staff_say_what_needs_cleaning() {
    let mut rig = Rig::holding(&[]);
    assert_eq!(refused(&clean(&mut rig, SessionId(7), 1, true)), StaffRefusal::NoSession);
    let session = rig.log_in("111111");
    assert_eq!(refused(&clean(&mut rig, session, 9, true)), StaffRefusal::UnknownCompartment);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Cleaning(_))), 0);
}
