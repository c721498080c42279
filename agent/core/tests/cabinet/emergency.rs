//! All doors, because of an emergency.

use cabinet_core::{APART_MILLIS, DoorSeen, Effect, EntryResult, Input, SessionId, StaffRefusal};
use schemas::messages::*;

use crate::loading::refused;
use crate::rig::*;

fn open_all(rig: &mut Rig, session: SessionId) -> Vec<Effect> {
    rig.send(Input::OpenAll { session })
}

fn opened(passed_over: &[u16]) -> EmergencyOpened {
    let passed_over = passed_over.iter().map(|at| number(*at)).collect();
    EmergencyOpened { staff: "ann".parse().unwrap(), passed_over }
}

/// The doors that were pulsed, each with the milliseconds since the first.
fn one_after_another(rig: &mut Rig, first: &[Effect]) -> Vec<(u16, u64)> {
    let began = rig.now;
    let mut doors: Vec<_> = pulses(first).iter().map(|pulse| (pulse.compartment, 0)).collect();
    for _ in 0..50 {
        let effects = rig.wait(100);
        doors.extend(pulses(&effects).iter().map(|pulse| (pulse.compartment, rig.now - began)));
    }
    doors
}

#[test]
fn every_door_opens_half_a_second_after_the_one_before_and_staff_are_on_record() {
    let mut rig = Rig::holding(&[]);
    let session = rig.log_in("111111");
    let effects = open_all(&mut rig, session);
    assert_eq!(rig.count(|fact| *fact == opened(&[]).into()), 1);
    assert_eq!(one_after_another(&mut rig, &effects), [(1, 0), (2, 500), (3, 1_000), (4, 1_500), (5, 2_000)]);
    assert_eq!(APART_MILLIS, 500);
}

#[test]
fn doors_that_stand_open_are_broken_or_being_opened_are_passed_over_and_named() {
    let mut rig = Rig::holding(&[(5, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let mut pulse = only_pulse(&rig.send(Input::Look { session, compartment: number(2) }));
    for _ in 0..2 {
        rig.sent(pulse);
        rig.wait(3_000);
        pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(2) }));
    }
    rig.sent(pulse);
    rig.wait(3_000);
    assert!(rig.view(2).fault);
    rig.open_door(4);
    rig.enter("12345678");
    let effects = open_all(&mut rig, session);
    assert!(rig.has(opened(&[2, 4, 5])));
    assert!(told(&effects).iter().any(|note| note.contains("passed_over: [2, 4, 5]")), "{effects:?}");
    assert_eq!(one_after_another(&mut rig, &effects), [(1, 0), (3, 500)]);
}

#[test]
fn a_door_that_somebody_opens_meanwhile_is_not_pulsed_again() {
    let mut rig = Rig::holding(&[]);
    let session = rig.log_in("111111");
    let effects = open_all(&mut rig, session);
    rig.open_door(3);
    let doors: Vec<_> = one_after_another(&mut rig, &effects).into_iter().map(|(at, _)| at).collect();
    assert_eq!(doors, [1, 2, 4, 5]);
}

#[test]
fn each_order_is_in_doubt_before_its_door_opens_and_sound_again_when_staff_have_looked() {
    let mut rig = Rig::holding(&[(1, "A1", "11111111"), (4, "A2", "22222222")]);
    let session = rig.log_in("111111");
    let effects = open_all(&mut rig, session);
    assert!(rig.has(AuditRequired { compartment: number(1), order: Some(order("A1")) }));
    assert!(!rig.view(4).audit_required, "its door is not touched yet");
    let mut all = pulses(&effects);
    all.extend(pulses(&rig.wait(2_000)));
    for pulse in all {
        rig.sent(pulse);
        rig.open_door(pulse.compartment);
        rig.door(pulse.compartment, DoorSeen::Closed, if pulse.compartment == 1 { OCCUPIED } else { EMPTY });
    }
    let open: Vec<_> = (1..=5).filter(|at| rig.view(*at).asks).collect();
    assert_eq!(open, [1, 3, 4, 5], "a sensor has confirmed the empty one");
    for (at, inside) in [(1, true), (3, false), (4, false), (5, false)] {
        rig.send(Input::ConfirmLoaded { session, compartment: number(at), inside });
    }
    assert!((1..=5).all(|at| !rig.view(at).asks && !rig.view(at).audit_required));
    assert!(rig.view(1).allocated && !rig.view(4).allocated);
    assert!(matches!(result(&rig.enter("11111111")), EntryResult::Opening { .. }));
}

#[test]
fn only_staff_and_only_once_at_a_time() {
    let mut rig = Rig::holding(&[]);
    assert_eq!(refused(&open_all(&mut rig, SessionId(7))), StaffRefusal::NoSession);
    let session = rig.log_in("111111");
    open_all(&mut rig, session);
    assert_eq!(refused(&open_all(&mut rig, session)), StaffRefusal::Busy);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::EmergencyOpened(_))), 1);
}

/// Before the commit of each step, and behind it: nothing is opened by the next run, and no door was ordered to open twice.
#[test]
fn a_power_cut_anywhere_ends_it_and_leaves_every_touched_order_in_doubt() {
    for (doors, committed) in (0..=5).flat_map(|doors| [(doors, false), (doors, true)]) {
        let mut rig = Rig::holding(&[(1, "A1", "11111111"), (4, "A2", "22222222")]);
        let session = rig.log_in("111111");
        let mut ordered = Vec::new();
        let mut input = Input::OpenAll { session };
        for _ in 0..doors {
            ordered.extend(pulses(&rig.send(input)).iter().map(|pulse| pulse.compartment));
            rig.now = rig.core.poll_timeout().unwrap();
            input = Input::Tick;
        }
        let step = rig.step(input);
        let cut: Vec<_> = pulses(&step.effects).iter().map(|pulse| pulse.compartment).collect();
        if committed {
            rig.commit(&step.writes);
        }
        let mut effects = rig.restart();
        rig.doors_closed();
        effects.extend(rig.wait(120_000));
        assert!(pulses(&effects).is_empty(), "{doors} {committed}");
        let journalled = if committed { [ordered.clone(), cut].concat() } else { ordered.clone() };
        for at in [1, 4] {
            assert_eq!(rig.view(at).audit_required, journalled.contains(&at) || at == 1, "{doors} {committed} {at}");
            assert!(rig.view(at).allocated);
        }
        assert_eq!(ordered, (1..=5).take(doors).collect::<Vec<_>>());
        assert_eq!(rig.store.len(schemas::step::Table("uses")), 0);
    }
}
