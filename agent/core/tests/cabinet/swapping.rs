//! Staff exchange two stored orders.

use cabinet_core::{
    DoorSeen, Effect, EntryRefusal, EntryResult, Input, STAFF_ANSWER_MILLIS, ScreenNote, SessionId, StaffRefusal,
};
use schemas::messages::*;

use crate::loading::refused;
use crate::rig::*;

fn swap(rig: &mut Rig, session: SessionId, one: u16, other: u16) -> Vec<Effect> {
    rig.send(Input::Swap { session, one: number(one), other: number(other) })
}

fn say(rig: &mut Rig, session: SessionId, compartment: u16, swapped: bool) -> Vec<Effect> {
    rig.send(Input::ConfirmSwap { session, compartment: number(compartment), swapped })
}

/// A1 in compartment 3 and A2 in compartment 4, neither with a sensor for what is inside.
fn holding() -> (Rig, SessionId) {
    let mut rig = Rig::holding(&[(3, "A1", "11111111"), (4, "A2", "22222222")]);
    let session = rig.log_in("111111");
    (rig, session)
}

/// Both doors opened and closed again; what the last one to close told.
fn both_doors(rig: &mut Rig, effects: &[Effect]) -> Vec<Effect> {
    let pulses = pulses(effects);
    for pulse in &pulses {
        rig.sent(*pulse);
        rig.open_door(pulse.compartment);
    }
    let mut last = Vec::new();
    for pulse in &pulses {
        last = rig.close_door(pulse.compartment);
    }
    last
}

fn swapped() -> Swapped {
    let staff = "ann".parse().unwrap();
    Swapped { one: order("A1"), one_in: number(4), other: order("A2"), other_in: number(3), staff }
}

/// Which door a code opens.
fn opens(rig: &mut Rig, code: &str) -> u16 {
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
    only_pulse(&rig.enter(code)).compartment
}

#[test]
fn each_code_opens_the_other_door_once_both_are_closed_and_staff_have_said_so() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    let note = ScreenNote::Swapping { session, compartments: [number(3), number(4)] };
    assert_eq!(told(&effects)[0], format!("Screen({note:?})"));
    let waits: Vec<_> = pulses(&effects).iter().map(|pulse| (pulse.compartment, pulse.not_after - rig.now)).collect();
    assert_eq!(waits, [(3, 30_000), (4, 31_000)], "one after the other");
    let last = both_doors(&mut rig, &effects);
    assert_eq!(told(&last)[1], "Screen(AskSwapped { compartments: [4, 3] })");
    assert_eq!(rig.view(3).swaps_with, Some(number(4)));
    assert_eq!(result(&rig.enter("11111111")), EntryResult::Refused(EntryRefusal::Busy));
    say(&mut rig, session, 3, true);
    assert_eq!(rig.last(), swapped().into());
    assert!(rig.view(3).swaps_with.is_none() && !rig.view(3).audit_required);
    assert_eq!(opens(&mut rig, "11111111"), 4);
    assert_eq!(opens(&mut rig, "22222222"), 3);
}

#[test]
fn the_word_may_be_about_either_of_the_two() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    both_doors(&mut rig, &effects);
    say(&mut rig, session, 4, true);
    let staff: schemas::ids::Name = "ann".parse().unwrap();
    let told = Swapped { one: order("A2"), one_in: number(3), other: order("A1"), other_in: number(4), staff };
    assert_eq!(rig.last(), told.into());
}

#[test]
fn who_changes_his_mind_leaves_everything_as_it_was() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    both_doors(&mut rig, &effects);
    say(&mut rig, session, 4, false);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Swapped(_) | Fact::Audited(_))), 0);
    assert_eq!(opens(&mut rig, "11111111"), 3);
    assert_eq!(opens(&mut rig, "22222222"), 4);
}

#[test]
fn nothing_counts_while_a_door_is_open_or_has_not_been_opened() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    let [first, second] = pulses(&effects)[..] else { panic!("{effects:?}") };
    rig.sent(first);
    rig.open_door(3);
    rig.close_door(3);
    assert_eq!(refused(&say(&mut rig, session, 3, true)), StaffRefusal::UnknownOrder, "the other is still shut");
    assert_eq!(refused(&say(&mut rig, session, 3, false)), StaffRefusal::Busy);
    rig.sent(second);
    rig.open_door(4);
    for swapped in [true, false] {
        assert_eq!(refused(&say(&mut rig, session, 3, swapped)), StaffRefusal::DoorOpen);
    }
    let inside = Input::ConfirmLoaded { session, compartment: number(3), inside: true };
    assert_eq!(refused(&rig.send(inside)), StaffRefusal::UnknownOrder, "that is another question");
    rig.close_door(4);
    say(&mut rig, session, 3, true);
    assert_eq!(rig.last(), swapped().into());
}

#[test]
fn a_sensor_that_misses_an_order_ends_no_swap_as_done() {
    let mut rig = Rig::holding(&[(1, "A1", "11111111"), (2, "A2", "22222222")]);
    let session = rig.log_in("111111");
    let effects = swap(&mut rig, session, 1, 2);
    both_doors(&mut rig, &effects);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(refused(&say(&mut rig, session, 1, true)), StaffRefusal::SensorDisagrees);
    say(&mut rig, session, 1, false);
    assert!(rig.has(AuditRequired { compartment: number(2), order: Some(order("A2")) }));
    assert!(rig.view(2).audit_required && !rig.view(1).audit_required);
}

#[test]
fn a_door_that_sticks_leaves_its_order_where_it_is_and_the_other_one_goes_back() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    let [first, mut second] = pulses(&effects)[..] else { panic!("{effects:?}") };
    rig.sent(first);
    rig.open_door(3);
    for _ in 0..2 {
        rig.sent(second);
        rig.wait(3_000);
        second = only_pulse(&rig.send(Input::TryAgain { compartment: number(4) }));
    }
    rig.sent(second);
    rig.wait(3_000);
    assert!(rig.view(4).fault && rig.view(4).swaps_with.is_none());
    rig.close_door(3);
    assert_eq!(refused(&say(&mut rig, session, 3, true)), StaffRefusal::UnknownOrder);
    say(&mut rig, session, 3, false);
    assert_eq!(opens(&mut rig, "11111111"), 3);
    assert_eq!(opens(&mut rig, "22222222"), 4);
}

#[test]
fn only_two_sound_orders_that_fit_are_exchanged() {
    let mut rig = Rig::holding(&[(3, "A1", "11111111"), (4, "A2", "22222222"), (1, "A3", "33333333")]);
    let BookChange::PutOrder(put) = put_order("A2", Size::M) else { unreachable!() };
    rig.book(vec![put.into()]);
    let session = rig.log_in("111111");
    let why = |rig: &mut Rig, one, other| refused(&swap(rig, session, one, other));
    assert_eq!(why(&mut rig, 3, 4), StaffRefusal::NoFittingCompartment, "A2 needs M, 3 is S");
    assert_eq!(why(&mut rig, 4, 3), StaffRefusal::NoFittingCompartment);
    assert_eq!(why(&mut rig, 4, 4), StaffRefusal::UnknownCompartment);
    assert_eq!(why(&mut rig, 4, 9), StaffRefusal::UnknownCompartment);
    assert_eq!(why(&mut rig, 4, 5), StaffRefusal::UnknownOrder, "5 is free");
    rig.door(4, DoorSeen::Open, UNKNOWN);
    rig.close_door(4);
    assert_eq!(why(&mut rig, 1, 4), StaffRefusal::InDoubt, "forced");
    rig.send(Input::ConfirmLoaded { session, compartment: number(4), inside: true });
    rig.enter("22222222");
    assert_eq!(why(&mut rig, 1, 4), StaffRefusal::Busy, "its customer is there");
    assert_eq!(refused(&swap(&mut rig, SessionId(7), 1, 4)), StaffRefusal::NoSession);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Swapped(_))), 0);
}

#[test]
fn an_order_that_is_being_exchanged_is_neither_taken_back_nor_looked_at() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    both_doors(&mut rig, &effects);
    assert_eq!(refused(&rig.send(Input::Retrieve { session, order: order("A1") })), StaffRefusal::Busy);
    assert_eq!(refused(&rig.send(Input::Look { session, compartment: number(3) })), StaffRefusal::Busy);
    let load = Input::Load { session, order: order("A1"), larger: true };
    assert_eq!(refused(&rig.send(load)), StaffRefusal::AlreadyHere);
    assert_eq!(refused(&swap(&mut rig, session, 3, 4)), StaffRefusal::UnknownOrder);
}

/// A power cut before the commit of each step of the swap, and behind it: no code opens a door behind which another order may
/// be, nothing is pulsed by the next run, and the word of staff makes it good.
#[test]
fn a_power_cut_anywhere_leaves_both_in_doubt_rather_than_wrong() {
    for (at, committed) in (0..=6).flat_map(|at| [(at, false), (at, true)]) {
        let (mut rig, session) = holding();
        let door = |at, door| Input::Door { compartment: number(at), door, occupancy: UNKNOWN };
        let mut inputs = vec![Input::Swap { session, one: number(3), other: number(4) }];
        let mut done = 0;
        let mut pulsed = Vec::new();
        let mut ordered = 0;
        loop {
            let input = inputs.remove(0);
            if done == at {
                let step = rig.step(input);
                if committed {
                    rig.commit(&step.writes);
                }
                break;
            }
            let effects = rig.send(input);
            ordered += pulses(&effects).len();
            for pulse in pulses(&effects) {
                pulsed.push(pulse);
                inputs.push(Input::PulseResult { pulse: pulse.pulse, sent: true });
                inputs.push(door(pulse.compartment, DoorSeen::Open));
            }
            if done == 4 {
                inputs.push(door(3, DoorSeen::Closed));
                inputs.push(door(4, DoorSeen::Closed));
            }
            done += 1;
        }
        assert!(ordered == 0 || ordered == 2, "both are in one step");
        let mut effects = rig.restart();
        rig.doors_closed();
        effects.extend(rig.wait(30_000));
        assert!(pulses(&effects).is_empty(), "{at} {committed}");
        let begun = at > 0 || committed;
        for compartment in [3, 4] {
            assert_eq!(rig.view(compartment).audit_required, begun, "{at} {committed} {compartment}");
        }
        for code in ["11111111", "22222222"] {
            let refused = result(&rig.enter(code)) == EntryResult::Refused(EntryRefusal::OutOfService);
            assert_eq!(refused, begun, "{at} {committed}");
        }
        if begun {
            let session = rig.log_in("111111");
            say(&mut rig, session, 3, true);
            assert_eq!(rig.last(), swapped().into(), "{at} {committed}");
            assert!([3, 4].iter().all(|at| !rig.view(*at).audit_required));
            assert_eq!(opens(&mut rig, "11111111"), 4);
            assert_eq!(opens(&mut rig, "22222222"), 3);
        }
    }
}

#[test]
fn a_swap_that_a_power_cut_ended_and_that_was_not_done_is_told_as_sound_again() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    both_doors(&mut rig, &effects);
    rig.restart();
    rig.doors_closed();
    let session = rig.log_in("111111");
    say(&mut rig, session, 4, false);
    for (at, id) in [(3, "A1"), (4, "A2")] {
        let staff = "ann".parse().unwrap();
        let compartment = number(at);
        assert!(rig.has(Audited { compartment, staff, found: Finding::AsBooked, order: Some(order(id)) }));
    }
    assert_eq!(opens(&mut rig, "11111111"), 3);
}

/// Staff close both doors and walk away: the two customers must not be told to wait for ever.
#[test]
fn an_exchange_that_nobody_ends_needs_a_look() {
    let (mut rig, session) = holding();
    let effects = swap(&mut rig, session, 3, 4);
    both_doors(&mut rig, &effects);
    rig.wait(STAFF_ANSWER_MILLIS);
    for (at, id) in [(3, "A1"), (4, "A2")] {
        assert!(rig.has(AuditRequired { compartment: number(at), order: Some(order(id)) }));
    }
    for code in ["11111111", "22222222"] {
        assert_eq!(result(&rig.enter(code)), EntryResult::Refused(EntryRefusal::OutOfService));
    }
    let session = rig.log_in("111111");
    say(&mut rig, session, 3, true);
    assert!(!rig.view(3).audit_required && !rig.view(4).audit_required);
    assert_eq!(opens(&mut rig, "11111111"), 4);
}
