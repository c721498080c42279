//! Staff at the screen: how long a session lasts, and when their word counts.

use cabinet_core::{DoorSeen, Input, StaffRefusal};
use schemas::messages::*;

use crate::loading::{load, refused, with_orders};
use crate::rig::*;

#[test]
fn a_session_lives_on_while_it_is_used_and_no_longer() {
    let (mut rig, session) = with_orders(vec![]);
    rig.wait(200_000);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::UnknownOrder);
    rig.wait(299_999);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::UnknownOrder);
    rig.wait(300_000);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoSession);
}

#[test]
fn a_ninth_session_ends_the_one_that_was_idle_longest() {
    let (mut rig, first) = with_orders(vec![put_order("A1", Size::S)]);
    let mut sessions = vec![first];
    for _ in 1..8 {
        rig.wait(1_000);
        sessions.push(rig.log_in("111111"));
    }
    assert!(sessions.iter().all(|session| rig.core.waiting(*session).len() == 1));
    rig.wait(1_000);
    let ninth = rig.log_in("111111");
    assert!(rig.core.waiting(first).is_empty());
    assert!(sessions[1..].iter().chain([&ninth]).all(|session| rig.core.waiting(*session).len() == 1));
}

#[test]
fn an_audit_ends_by_the_word_of_staff_unless_a_sensor_contradicts() {
    let (mut rig, session) = with_orders(vec![]);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::AuditRequired(_))), 1, "told once");
    let empty = Input::ConfirmLoaded { session, compartment: number(1), inside: false };
    rig.send(empty.clone());
    assert!(rig.view(1).audit_required);
    rig.close_door(1);
    assert!(rig.view(1).audit_required, "never freed by itself");
    rig.send(empty);
    assert!(!rig.view(1).audit_required);
}

#[test]
fn the_word_of_staff_counts_once_they_could_have_looked() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    let word = |at: u16, inside: bool| Input::ConfirmLoaded { session, compartment: number(at), inside };
    rig.load(session, "A2");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    rig.wait(3_000);
    assert!(rig.view(1).try_again && rig.view(3).try_again);
    for (at, inside) in [(1, true), (1, false), (3, true), (3, false)] {
        assert_eq!(refused(&rig.send(word(at, inside))), StaffRefusal::UnknownOrder, "{at} was not opened");
    }
    let pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(1) }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.send(word(1, true));
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0);
    assert_eq!(only_pulse(&rig.enter("12345678")).compartment, 1, "it was left where it is");
}

#[test]
fn an_order_that_a_sensor_still_saw_inside_is_out_only_by_the_word_of_staff() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.close_door(1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0, "nobody has opened the door since");
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
    let staff = "ann".parse().unwrap();
    assert!(rig.has(Retrieved { order: order("A1"), compartment: number(1), staff }));
}

#[test]
fn staff_can_say_that_nothing_is_left_behind_a_door_that_its_recipient_left_open() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.wait(900_000);
    let session = rig.log_in("111111");
    let word = |inside| Input::ConfirmLoaded { session, compartment: number(4), inside };
    assert_eq!(refused(&rig.send(word(false))), StaffRefusal::DoorOpen);
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    assert_eq!(refused(&rig.send(word(true))), StaffRefusal::UnknownOrder, "for the fleet it is out");
    rig.send(word(false));
    let staff = "ann".parse().unwrap();
    assert!(rig.has(Retrieved { order: order("A1"), compartment: number(4), staff }));
    assert!(!rig.view(4).allocated);
}

#[test]
fn an_order_in_doubt_is_sound_again_by_the_word_of_staff_unless_a_sensor_contradicts() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let word = |at: u16, inside: bool| Input::ConfirmLoaded { session, compartment: number(at), inside };
    assert_eq!(refused(&rig.send(word(1, true))), StaffRefusal::UnknownOrder, "nothing is in doubt");
    assert_eq!(refused(&rig.send(word(2, false))), StaffRefusal::UnknownOrder);
    rig.open_door(1);
    rig.close_door(1);
    assert!(rig.view(1).audit_required);
    assert_eq!(refused(&rig.send(word(1, true))), StaffRefusal::UnknownOrder, "the sensor sees nothing");
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(
        refused(&rig.send(word(1, false))),
        StaffRefusal::UnknownOrder,
        "it was neither collected nor taken back"
    );
    rig.send(word(1, true));
    assert!(!rig.view(1).audit_required);
}
