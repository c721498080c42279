//! "My order is not here": who may say so, how often, and that nothing opens by it.

use cabinet_core::{Effect, EntryRefusal, EntryResult, Input, REPORT_MILLIS, ScreenNote};
use schemas::messages::*;

use crate::rig::*;

const CODE: &str = "12345678";

fn said(rig: &Rig) -> Vec<Option<Compartment>> {
    let facts = rig.events().into_iter();
    facts.filter_map(|fact| if let Fact::Reported(said) = fact { Some(said.compartment) } else { None }).collect()
}

fn report(rig: &mut Rig, at: Option<u16>) -> Vec<Effect> {
    let effects = rig.send(Input::Report { compartment: at.map(number) });
    assert!(pulses(&effects).is_empty(), "something opens by a report");
    effects
}

fn is_heard(effects: &[Effect]) -> bool {
    let heard = |effect: &Effect| matches!(effect, Effect::Screen(ScreenNote::Reported { order, .. }) if *order == crate::rig::order("A1"));
    effects.iter().any(heard)
}

/// Its door stands open, by its code.
fn opened() -> Rig {
    let mut rig = Rig::holding(&[(4, "A1", CODE)]);
    let effects = rig.enter(CODE);
    rig.sent(only_pulse(&effects));
    rig.open_door(4);
    rig
}

#[test]
fn whoever_finds_nothing_says_so_once_and_staff_have_to_look() {
    let mut rig = opened();
    assert!(is_heard(&report(&mut rig, Some(4))));
    assert!(is_heard(&report(&mut rig, Some(4))), "whoever says it again is told the same");
    rig.close_door(4);
    assert!(is_heard(&report(&mut rig, Some(4))), "also after the door was closed");
    assert_eq!(said(&rig), [Some(number(4))]);
    assert!(rig.view(4).audit_required && !rig.view(4).allocated);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::AuditRequired(found) if found.compartment == number(4))), 1);
    let effects = rig.enter(CODE);
    assert_eq!(result(&effects), EntryResult::Refused(EntryRefusal::Used));
    report(&mut rig, None);
    assert_eq!(said(&rig).len(), 1, "the same order by its code");
}

#[test]
fn it_is_said_within_two_minutes_of_the_door_and_of_no_other_door() {
    let mut rig = opened();
    for at in [1, 5] {
        assert!(!is_heard(&report(&mut rig, Some(at))));
    }
    rig.close_door(4);
    rig.wait(REPORT_MILLIS);
    assert!(!is_heard(&report(&mut rig, Some(4))));
    assert_eq!(said(&rig), []);
    assert!(!rig.view(4).audit_required);
}

#[test]
fn whose_code_somebody_else_has_used_says_so_also_after_a_power_cut() {
    let mut rig = opened();
    rig.close_door(4);
    rig.restart();
    rig.doors_closed();
    assert!(!is_heard(&report(&mut rig, None)), "nobody has shown a code");
    rig.enter(CODE);
    assert!(is_heard(&report(&mut rig, None)));
    assert_eq!(said(&rig), [None]);
}

#[test]
fn what_staff_or_a_command_opened_is_no_report_of_a_customer() {
    let mut rig = Rig::holding(&[(4, "A1", CODE)]);
    let command = rig.command(4, Expect::order(order("A1")));
    let effects = rig.send_command(&command);
    rig.sent(only_pulse(&effects));
    rig.open_door(4);
    assert!(!is_heard(&report(&mut rig, Some(4))));
    rig.enter("87654321");
    assert!(!is_heard(&report(&mut rig, None)), "a wrong code tells nothing");
    assert_eq!(said(&rig), []);
}

/// The power goes before or after the commit of the report.
#[test]
fn a_report_that_is_cut_off_is_told_once_or_not_at_all() {
    for committed in [false, true] {
        let mut rig = opened();
        let step = rig.step(Input::Report { compartment: Some(number(4)) });
        if committed {
            rig.commit(&step.writes);
        }
        rig.restart();
        rig.doors_closed();
        assert_eq!(said(&rig).len(), usize::from(committed));
        assert_eq!(rig.view(4).audit_required, committed);
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
    }
}
