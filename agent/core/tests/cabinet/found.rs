//! Staff look behind a door and scan what they find: the book is corrected, and an order is put into another compartment.

use cabinet_core::{DoorSeen, Effect, EntryRefusal, EntryResult, Input, SessionId, StaffRefusal};
use schemas::messages::*;

use crate::loading::refused;
use crate::rig::*;

fn looked_into(rig: &mut Rig, session: SessionId, at: u16, occupancy: Occupancy) {
    let pulse = only_pulse(&rig.send(Input::Look { session, compartment: number(at) }));
    rig.sent(pulse);
    rig.open_door(at);
    rig.door(at, DoorSeen::Closed, occupancy);
}

fn scan(rig: &mut Rig, session: SessionId, at: u16, id: &str) -> Vec<Effect> {
    rig.send(Input::Found { session, compartment: number(at), order: order(id) })
}

fn found(id: &str, at: u16, from: Option<u16>) -> Found {
    let staff = "ann".parse().unwrap();
    Found { order: order(id), compartment: number(at), from: from.map(number), staff }
}

fn audited(at: u16, found: Finding, id: Option<&str>) -> Audited {
    Audited { compartment: number(at), staff: "ann".parse().unwrap(), found, order: id.map(order) }
}

/// Where a code opens a door.
fn opens(rig: &mut Rig, code: &str) -> u16 {
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
    only_pulse(&rig.enter(code)).compartment
}

#[test]
fn an_order_is_carried_to_a_free_compartment_and_its_code_opens_that() {
    let mut rig = Rig::holding(&[(2, "A1", "12345678")]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 2, EMPTY);
    looked_into(&mut rig, session, 3, UNKNOWN);
    let effects = scan(&mut rig, session, 3, "A1");
    assert_eq!(told(&effects)[0], "Screen(Found { order: shop/A1, compartment: 3, from: Some(2) })");
    assert!(rig.has(found("A1", 3, Some(2))));
    assert_eq!(rig.last(), audited(2, Finding::AsBooked, None).into(), "its sensor sees that it is empty");
    rig.restart();
    rig.doors_closed();
    assert!(!rig.view(2).allocated && !rig.view(2).audit_required && !rig.view(2).asks);
    assert!(rig.view(3).allocated && !rig.view(3).audit_required && !rig.view(3).asks);
    assert_eq!(opens(&mut rig, "12345678"), 3);
}

#[test]
fn another_order_than_the_book_says_is_corrected_and_the_one_that_was_booked_is_missing() {
    let mut rig = Rig::holding(&[(3, "A1", "11111111"), (4, "A2", "22222222")]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 4, UNKNOWN);
    scan(&mut rig, session, 4, "A1");
    assert!(rig.has(audited(4, Finding::Missing, Some("A2"))) && rig.has(found("A1", 4, Some(3))));
    assert_eq!(rig.last(), AuditRequired { compartment: number(3), order: None }.into(), "nobody has looked there");
    assert_eq!(opens(&mut rig, "11111111"), 4);
    assert_eq!(result(&rig.enter("22222222")), EntryResult::Refused(EntryRefusal::Missing));
    // The round goes on: it lies where the other one was booked.
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 3, UNKNOWN);
    scan(&mut rig, session, 3, "A2");
    assert!(rig.has(found("A2", 3, None)));
    assert_eq!(rig.last(), audited(3, Finding::AsBooked, Some("A2")).into(), "which ends the doubt");
    assert_eq!(opens(&mut rig, "22222222"), 3);
}

#[test]
fn the_label_of_what_is_booked_is_a_yes_and_that_of_what_waits_loads_it() {
    let mut rig = Rig::holding(&[(4, "A1", "11111111")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 4, UNKNOWN);
    scan(&mut rig, session, 4, "A1");
    assert_eq!(rig.last(), audited(4, Finding::AsBooked, Some("A1")).into());
    looked_into(&mut rig, session, 3, UNKNOWN);
    scan(&mut rig, session, 3, "A2");
    assert_eq!(rig.last(), found("A2", 3, None).into());
    assert!(rig.core.waiting(session).is_empty());
}

#[test]
fn what_a_sensor_sees_in_a_free_compartment_is_named_behind_the_finding() {
    let mut rig = Rig::holding(&[(4, "A1", "11111111")]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 1, OCCUPIED);
    assert_eq!(rig.last(), audited(1, Finding::Occupied, None).into());
    scan(&mut rig, session, 1, "A1");
    assert!(rig.has(found("A1", 1, Some(4))));
    assert!(!rig.view(1).audit_required && rig.view(4).audit_required);
}

#[test]
fn who_has_not_looked_and_what_cannot_be_corrects_nothing() {
    let mut rig = Rig::holding(&[(2, "A1", "11111111"), (4, "A2", "22222222")]);
    rig.book(vec![put_order("A3", Size::S), BookChange::PutStaff(put_bea())]);
    let session = rig.log_in("111111");
    let facts = rig.events().len();
    let refuses = |rig: &mut Rig, session, at, id| refused(&scan(rig, session, at, id));
    assert_eq!(refuses(&mut rig, session, 4, "A1"), StaffRefusal::UnknownOrder, "without a look");
    assert_eq!(refuses(&mut rig, session, 3, "A1"), StaffRefusal::UnknownOrder, "without a look");
    assert_eq!(refuses(&mut rig, session, 9, "A1"), StaffRefusal::UnknownCompartment);
    assert_eq!(refuses(&mut rig, SessionId(7), 4, "A1"), StaffRefusal::NoSession);
    assert_eq!(rig.events().len(), facts);

    let pulse = only_pulse(&rig.send(Input::Look { session, compartment: number(4) }));
    assert_eq!(refuses(&mut rig, session, 4, "A1"), StaffRefusal::Busy, "its door is just being opened");
    rig.sent(pulse);
    rig.open_door(4);
    assert_eq!(refuses(&mut rig, session, 4, "A1"), StaffRefusal::DoorOpen);
    rig.close_door(4);
    assert_eq!(refuses(&mut rig, session, 4, "X9"), StaffRefusal::UnknownOrder, "in no book");
    let bea = rig.log_in("222222");
    assert_eq!(refuses(&mut rig, bea, 4, "A1"), StaffRefusal::UnknownOrder, "somebody else has looked");
    // The customer of the other one stands at its door.
    let pulse = only_pulse(&rig.enter("11111111"));
    rig.sent(pulse);
    assert_eq!(refuses(&mut rig, session, 4, "A1"), StaffRefusal::Busy);
    rig.open_door(2);
    assert_eq!(refuses(&mut rig, session, 4, "A1"), StaffRefusal::Busy);
    rig.close_door(2);

    looked_into(&mut rig, session, 1, EMPTY);
    assert_eq!(refuses(&mut rig, session, 1, "A2"), StaffRefusal::UnknownOrder, "that look is over");
    looked_into(&mut rig, session, 4, UNKNOWN);
    let pulse = rig.load(session, "A3");
    assert_eq!(refuses(&mut rig, session, 4, "A3"), StaffRefusal::Busy, "it is being loaded elsewhere");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Found(_))), 0);
    rig.sent(pulse);
}

fn put_bea() -> PutStaff {
    let BookChange::PutStaff(staff) = put_staff("bea", "222222") else { panic!("staff") };
    staff
}

#[test]
fn what_needs_cold_is_not_booked_where_it_is_warm_and_a_sensor_is_not_contradicted() {
    let mut rig = Rig::holding(&[(2, "A1", "11111111")]);
    let BookChange::PutOrder(mut cold) = put_order("A2", Size::S) else { panic!("an order") };
    cold.wants.refrigerated = true;
    rig.book(vec![BookChange::PutOrder(cold), put_order("A3", Size::S)]);
    let session = rig.log_in("111111");
    looked_into(&mut rig, session, 3, UNKNOWN);
    assert_eq!(refused(&scan(&mut rig, session, 3, "A2")), StaffRefusal::NoFittingCompartment);
    looked_into(&mut rig, session, 2, EMPTY);
    assert_eq!(refused(&scan(&mut rig, session, 2, "A3")), StaffRefusal::SensorDisagrees);
    assert_eq!(refused(&scan(&mut rig, session, 2, "A1")), StaffRefusal::SensorDisagrees);
}

#[test]
fn a_power_cut_in_front_of_the_commit_or_behind_it_leaves_the_order_in_one_place_and_its_code_opens_that() {
    for whole in [false, true] {
        let mut rig = Rig::holding(&[(4, "A1", "11111111")]);
        let session = rig.log_in("111111");
        looked_into(&mut rig, session, 3, UNKNOWN);
        let step = rig.step(Input::Found { session, compartment: number(3), order: order("A1") });
        if whole {
            rig.commit(&step.writes);
        }
        rig.restart();
        rig.doors_closed();
        let holds: Vec<u16> = [3, 4].into_iter().filter(|at| rig.view(*at).allocated).collect();
        assert_eq!(holds, [if whole { 3 } else { 4 }]);
        assert_eq!(opens(&mut rig, "11111111"), holds[0]);
    }
}

#[test]
fn the_one_label_of_an_order_in_several_compartments_means_the_part_that_is_booked_there_or_is_missing() {
    let mut rig = Rig::holding(&[]);
    let whole = |number| Some(PartOf { whole: order("A7"), number, of: 2 });
    let part = |id: &str, number| {
        let BookChange::PutOrder(put) = put_order(id, Size::S) else { panic!("an order") };
        BookChange::from(PutOrder { part: whole(number), ..put })
    };
    rig.book(vec![part("A7", 1), part("A7.2", 2)]);
    let session = rig.log_in("111111");
    for (at, id) in [(3, "A7"), (4, "A7.2")] {
        looked_into(&mut rig, session, at, UNKNOWN);
        scan(&mut rig, session, at, "A7");
        assert_eq!(rig.last(), found(id, at, None).into());
    }
    looked_into(&mut rig, session, 4, UNKNOWN);
    scan(&mut rig, session, 4, "A7");
    assert_eq!(rig.last(), audited(4, Finding::AsBooked, Some("A7.2")).into());
    looked_into(&mut rig, session, 2, OCCUPIED);
    assert_eq!(refused(&scan(&mut rig, session, 2, "A7")), StaffRefusal::AlreadyHere, "nobody knows which");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Found(_))), 2);
}
