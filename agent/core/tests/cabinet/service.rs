//! Staff take a compartment out of service, and work at the doors with a mechanical key.

use cabinet_core::{DoorSeen, Effect, Input, MaintenanceMinutes, SessionId, StaffRefusal};
use schemas::messages::*;

use crate::loading::{load, refused};
use crate::rig::*;

fn serve(rig: &mut Rig, session: SessionId, at: u16, in_service: bool) -> Vec<Effect> {
    rig.send(Input::Service { session, compartment: number(at), in_service })
}

fn work(rig: &mut Rig, session: SessionId, minutes: u8) -> Vec<Effect> {
    rig.send(Input::Maintenance { session, minutes: minutes.try_into().unwrap() })
}

fn said(at: u16, in_service: bool) -> Service {
    Service { compartment: number(at), staff: "ann".parse().unwrap(), in_service }
}

fn by_key(at: u16) -> DoorOpened {
    DoorOpened { compartment: number(at), by: ActorStaff { name: "ann".parse().unwrap() }.into() }
}

#[test]
fn a_compartment_out_of_service_takes_no_order_until_staff_take_it_back() {
    let mut rig = Rig::holding(&[]);
    rig.book(vec![put_order("A1", Size::L)]);
    let session = rig.log_in("111111");
    serve(&mut rig, session, 5, false);
    serve(&mut rig, session, 5, false);
    assert_eq!(rig.count(|fact| *fact == said(5, false).into()), 1, "told once");
    rig.restart();
    rig.doors_closed();
    assert!(rig.view(5).withdrawn && !rig.view(5).in_service);
    let session = rig.log_in("111111");
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoFittingCompartment);
    serve(&mut rig, session, 5, true);
    assert_eq!(rig.last(), said(5, true).into());
    assert_eq!(rig.load(session, "A1").compartment, 5);
}

#[test]
fn what_is_inside_can_be_collected_out_of_service() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    serve(&mut rig, session, 4, false);
    rig.pick_up("12345678");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
    assert!(rig.view(4).withdrawn && !rig.view(4).allocated);
}

#[test]
fn only_staff_say_what_is_out_of_service_or_that_they_work_at_the_doors() {
    let mut rig = Rig::holding(&[]);
    assert_eq!(refused(&serve(&mut rig, SessionId(7), 1, false)), StaffRefusal::NoSession);
    assert_eq!(refused(&work(&mut rig, SessionId(7), 30)), StaffRefusal::NoSession);
    let session = rig.log_in("111111");
    assert_eq!(refused(&serve(&mut rig, session, 9, false)), StaffRefusal::UnknownCompartment);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Service(_) | Fact::Maintenance(_))), 0);
    assert!(MaintenanceMinutes::try_from(241).is_err());
    rig.open_door(1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::DoorForced(_))), 1);
}

#[test]
fn a_door_that_a_key_opens_was_opened_by_whoever_works_there_and_they_say_what_they_found() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    work(&mut rig, session, 30);
    let ann: schemas::ids::Name = "ann".parse().unwrap();
    assert_eq!(rig.last(), Maintenance { staff: ann.clone(), minutes: 30 }.into());
    let until = rig.now + 30 * 60_000;
    assert_eq!(rig.core.view().maintenance, Some((ann.clone(), until)));
    rig.open_door(4);
    assert!(rig.has(by_key(4)) && rig.count(|fact| matches!(fact, Fact::DoorForced(_))) == 0);
    assert_eq!(rig.view(4).door, DoorState::Open, "not forced");
    rig.close_door(4);
    assert!(rig.view(4).asks);
    rig.send(Input::ConfirmLoaded { session, compartment: number(4), inside: true });
    assert_eq!(
        rig.last(),
        Audited { compartment: number(4), staff: ann, found: Finding::AsBooked, order: Some(order("A1")) }.into()
    );
    rig.pick_up("12345678");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
}

#[test]
fn the_work_ends_by_its_time_by_a_word_and_with_the_power_and_then_a_door_is_forced_again() {
    for how in 0..3 {
        let mut rig = Rig::holding(&[]);
        let session = rig.log_in("111111");
        work(&mut rig, session, 30);
        match how {
            0 => {
                rig.wait(30 * 60_000);
                rig.send(Input::Tick);
            }
            1 => drop(work(&mut rig, session, 0)),
            _ => {
                rig.restart();
                rig.doors_closed();
            }
        }
        assert_eq!(rig.core.view().maintenance, None, "{how}");
        rig.open_door(3);
        assert_eq!(
            rig.events().into_iter().rfind(|fact| !matches!(fact, Fact::AuditRequired(_))).unwrap(),
            DoorForced { compartment: number(3) }.into(),
            "{how}"
        );
    }
}

#[test]
fn a_wrong_door_is_none_of_the_key_and_a_second_end_says_nothing() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    work(&mut rig, session, 0);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Maintenance(_))), 0);
    work(&mut rig, session, 30);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(3);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::WrongDoor(_))), 1);
    assert_eq!(rig.count(|fact| *fact == by_key(3).into()), 0);
}

#[test]
fn a_key_in_the_middle_of_something_else_leaves_a_doubt() {
    let mut rig = Rig::holding(&[]);
    rig.book(vec![put_order("A1", Size::S)]);
    let session = rig.log_in("111111");
    work(&mut rig, session, 30);
    let pulse = rig.load(session, "A1");
    rig.wait(3_000);
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS);
    rig.door(pulse.compartment, DoorSeen::Open, UNKNOWN);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::DoorForced(_))), 0);
    assert!(rig.view(pulse.compartment).audit_required);
}
