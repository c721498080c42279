//! A load that was a mistake is undone within the session.

use cabinet_core::{DoorSeen, Effect, EntryRefusal, EntryResult, Input, SessionId, StaffRefusal};
use schemas::messages::*;

use crate::loading::{load, refused, with_orders};
use crate::rig::*;

fn undo(rig: &mut Rig, session: SessionId, id: &str) -> Vec<Effect> {
    rig.send(Input::Undo { session, order: order(id) })
}

/// A1 is stored in compartment 1, whose sensor saw it, and its code is in the book.
fn stored() -> (Rig, SessionId) {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::M)]);
    let pulse = rig.load(session, "A1");
    rig.open_door(pulse.compartment);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(matches!(rig.last(), Fact::Stored(_)));
    rig.book(vec![credential(1, "12345678", &["A1"]).into()]);
    (rig, session)
}

#[test]
fn an_order_that_was_stored_by_mistake_waits_again_as_if_it_had_never_been_loaded() {
    let (mut rig, session) = stored();
    let pulse = only_pulse(&undo(&mut rig, session, "A1"));
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::TakenOut), "it is being taken out");
    rig.sent(pulse);
    rig.open_door(1);
    rig.close_door(1);
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(1) }.into());
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0);
    assert!(!rig.view(1).allocated && !rig.view(1).audit_required);
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::NotHere));
    assert_eq!(rig.core.waiting(session).len(), 1);
    let pulse = only_pulse(&load(&mut rig, session, "A1", false));
    assert_eq!(pulse.compartment, 1, "loaded anew");
}

#[test]
fn what_stays_inside_is_stored_as_before_and_its_code_opens() {
    let (mut rig, session) = stored();
    let pulse = only_pulse(&undo(&mut rig, session, "A1"));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(rig.view(1).asks);
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
    assert_eq!(rig.count(|fact| matches!(fact, Fact::LoadAborted(_))), 0);
    assert!(matches!(result(&rig.enter("12345678")), EntryResult::Opening { .. }));
}

#[test]
fn a_door_that_does_not_open_undoes_nothing() {
    let (mut rig, session) = stored();
    let first = only_pulse(&undo(&mut rig, session, "A1"));
    let second = only_pulse(&rig.not_sent(first));
    rig.not_sent(second);
    rig.wait(60_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::LoadAborted(_))), 0);
    assert!(matches!(result(&rig.enter("12345678")), EntryResult::Opening { .. }));
}

#[test]
fn only_who_has_just_stored_it_can_undo_it() {
    let (mut rig, session) = stored();
    rig.book(vec![put_staff("bob", "222222")]);
    let other = rig.log_in("222222");
    assert_eq!(refused(&undo(&mut rig, other, "A1")), StaffRefusal::NotJustStored);
    rig.send(Input::StaffLogout { session });
    let later = rig.log_in("111111");
    assert_eq!(refused(&undo(&mut rig, later, "A1")), StaffRefusal::NotJustStored);
    assert_eq!(refused(&undo(&mut rig, session, "A1")), StaffRefusal::NoSession);
    assert!(matches!(result(&rig.enter("12345678")), EntryResult::Opening { .. }));
}

#[test]
fn what_was_collected_meanwhile_is_not_undone() {
    let (mut rig, session) = stored();
    rig.pick_up("12345678");
    assert_eq!(refused(&undo(&mut rig, session, "A1")), StaffRefusal::UnknownOrder);
    assert_eq!(refused(&undo(&mut rig, session, "A9")), StaffRefusal::NotJustStored);
}
