//! Doors that open without a right, or instead of another.

use cabinet_core::{DoorSeen, EntryRefusal, EntryResult, Input};
use schemas::messages::*;

use crate::rig::*;

/// Acceptance 12, the cabinet's part.
#[test]
fn a_door_that_opens_without_a_pulse_was_forced() {
    let mut rig = Rig::online();
    rig.open_door(5);
    assert!(rig.has(DoorForced { compartment: number(5) }));
    assert_eq!(rig.view(5).door, DoorState::Forced);
    assert_eq!(rig.view(4).door, DoorState::Closed);
    rig.close_door(5);
    assert_eq!(rig.last(), DoorClosed { compartment: number(5), occupancy: UNKNOWN }.into());
    assert_eq!(rig.view(5).door, DoorState::Closed);
}

#[test]
fn a_door_forced_behind_a_silent_board_or_a_power_cut_is_told_when_it_is_seen() {
    let mut rig = Rig::online();
    rig.door(5, DoorSeen::Unknown, UNKNOWN);
    rig.open_door(5);
    assert!(rig.has(DoorForced { compartment: number(5) }));
    rig.restart();
    rig.open_door(4);
    assert!(rig.has(DoorForced { compartment: number(4) }));
}

#[test]
fn a_door_never_seen_before_is_not_forced() {
    let mut rig = Rig::blank();
    rig.open_door(4);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::DoorForced(_) | Fact::DoorOpened(_))), 0);
    assert_eq!(rig.view(4).door, DoorState::Open);
}

#[test]
fn a_pulse_covers_its_door_for_ten_seconds_and_no_other() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.wait(10_000);
    rig.open_door(4);
    assert!(matches!(rig.last(), Fact::DoorOpened(_)));
    rig.close_door(4);
    rig.wait(1);
    rig.open_door(4);
    assert!(rig.has(DoorForced { compartment: number(4) }));
}

#[test]
fn a_wrong_door_blocks_both_compartments_for_customers_and_loads() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.wait(500);
    rig.open_door(4);
    let by = Some(ActorCredential { id: CredentialId([1; 8]) }.into());
    assert_eq!(rig.last(), WrongDoor { pulsed: number(3), opened: number(4), by }.into());
    rig.close_door(4);
    let effects = rig.wait(3_000);
    assert_eq!(told(&effects), ["Screen(CallStaff { compartment: 3, order: Some(shop/A1) })"], "no second try");
    for code in ["12345678", "87654321"] {
        let effects = rig.enter(code);
        assert_eq!(result(&effects), EntryResult::Refused(EntryRefusal::OutOfService));
        assert!(told(&effects).iter().any(|note| note.starts_with("Screen(CallStaff")));
    }
    assert!(rig.view(3).allocated && rig.view(4).allocated);

    let command = rig.command(3, Expect::order(order("A1")));
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.open_door(3);
    rig.close_door(3);
    assert!(!pulses(&rig.enter("12345678")).is_empty(), "its own door opened, so it is sound again");
}

#[test]
fn a_stored_order_that_is_gone_after_force_asks_for_an_audit() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    rig.open_door(1);
    assert!(rig.has(DoorForced { compartment: number(1) }));
    rig.close_door(1);
    assert_eq!(rig.last(), AuditRequired { compartment: number(1), order: Some(order("A1")) }.into());
    assert!(rig.view(1).allocated, "the fleet decides what became of the order");
}

/// Staff have asked for it and its lock stuck; they got it out with a tool, or while the machine slept.
#[test]
fn an_order_that_is_gone_after_force_while_staff_may_try_again_asks_for_an_audit() {
    for swaps in [false, true] {
        let mut rig = Rig::holding(&[(1, "A1", "12345678"), (2, "A2", "87654321")]);
        let session = rig.log_in("111111");
        let effects = match swaps {
            true => rig.send(Input::Swap { session, one: number(1), other: number(2) }),
            false => rig.send(Input::Retrieve { session, order: order("A1") }),
        };
        for pulse in pulses(&effects) {
            rig.sent(pulse);
        }
        rig.wait(3_000);
        assert!(rig.view(1).try_again, "swaps: {swaps}");
        rig.wait(cabinet_core::PULSE_WINDOW_MILLIS);
        rig.open_door(1);
        assert!(rig.has(DoorForced { compartment: number(1) }), "swaps: {swaps}");
        rig.close_door(1);
        rig.wait(60_000);
        let missed = AuditRequired { compartment: number(1), order: Some(order("A1")) };
        assert!(rig.has(missed) && rig.view(1).allocated, "swaps: {swaps}");
        assert!(!rig.view(2).audit_required, "its door was never open, and the sensor sees what is booked");
    }
}

#[test]
fn a_board_is_reported_when_it_falls_silent_and_when_it_answers_again() {
    let mut rig = Rig::online();
    for _ in 0..3 {
        rig.send(Input::Board { board: 2, answering: false });
    }
    assert_eq!(rig.core.view().boards_silent, 1);
    rig.send(Input::Board { board: 2, answering: true });
    assert_eq!(rig.core.view().boards_silent, 0);
    let told: Vec<_> = rig.events().into_iter().filter(|fact| matches!(fact, Fact::BoardHealth(_))).collect();
    assert_eq!(
        told,
        [BoardHealth { board: 2, answering: false }.into(), BoardHealth { board: 2, answering: true }.into()]
    );
}

#[test]
fn what_is_not_in_the_settings_is_passed_over() {
    let mut rig = Rig::online();
    let before = rig.events().len();
    for input in [
        Input::Door { compartment: number(99), door: DoorSeen::Open, occupancy: OCCUPIED },
        Input::PulseResult { pulse: 77, sent: true },
        Input::TryAgain { compartment: number(99) },
        Input::Derived { entry: 5, verifier: verifier("x") },
        Input::EventsAcked { up_to: 1_000 },
    ] {
        assert!(rig.send(input).is_empty());
    }
    assert_eq!(rig.events().len(), before);
}

/// The door's contact says closed all along (welded contact), the sensor sees the goods come in.
#[test]
fn goods_behind_a_door_that_seemed_shut_are_audited_when_the_load_is_given_up() {
    let mut rig = Rig::online();
    rig.book(vec![put_staff("ann", "111111"), put_order("A1", Size::M)]);
    let session = rig.log_in("111111");
    let pulse = rig.load(session, "A1");
    rig.door(pulse.compartment, DoorSeen::Closed, OCCUPIED);
    rig.wait(120_000);
    assert!(rig.view(pulse.compartment).allocated || rig.view(pulse.compartment).audit_required);
}

/// Opened, emptied and closed between two polls, or behind a welded contact.
#[test]
fn a_stored_order_that_left_behind_a_door_that_seemed_shut_is_audited() {
    let mut rig = Rig::holding(&[(1, "A1", "123456")]);
    let effects = rig.enter("123456");
    rig.sent(only_pulse(&effects));
    rig.door(1, DoorSeen::Closed, EMPTY);
    rig.wait(120_000);
    assert!(rig.view(1).audit_required);
}

#[test]
fn a_stored_order_is_doubted_only_where_a_sensor_calls_its_compartment_empty() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678"), (4, "A2", "87654321")]);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.door(1, DoorSeen::Closed, UNKNOWN);
    rig.door(4, DoorSeen::Closed, EMPTY);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::AuditRequired(_))), 0, "4 has no sensor");
    rig.door(1, DoorSeen::Closed, EMPTY);
    assert_eq!(rig.last(), AuditRequired { compartment: number(1), order: Some(order("A1")) }.into());
}

#[test]
fn a_door_that_stays_open_is_shown_as_held_after_five_minutes() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.wait(299_999);
    assert_eq!(rig.view(4).door, DoorState::Open);
    rig.wait(1);
    assert_eq!(rig.view(4).door, DoorState::HeldOpen);
}

/// Also the opening that a crash or a sleep of the machine kept the cabinet from hearing of looks like this. Where nothing
/// was, something may be now.
#[test]
fn what_is_behind_a_door_that_was_forced_needs_a_look_where_no_sensor_can_tell() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    for compartment in [1, 3, 4] {
        rig.open_door(compartment);
        rig.close_door(compartment);
    }
    let audits: Vec<_> = rig.events().into_iter().filter(|fact| matches!(fact, Fact::AuditRequired(_))).collect();
    let free = AuditRequired { compartment: number(3), order: None };
    let taken = AuditRequired { compartment: number(4), order: Some(order("A1")) };
    assert_eq!(audits, [free.into(), taken.into()], "1 has a sensor, which says that it is empty");
    rig.pick_up("12345678");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1, "its customer is not turned away");

    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    assert_ne!(rig.load(session, "A2").compartment, 3, "nobody knows that it is empty");
    rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: false });
    assert!(!rig.view(3).audit_required, "staff have looked");
}
