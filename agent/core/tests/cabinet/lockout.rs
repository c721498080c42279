//! Guessing at the keypad.

use cabinet_core::{EntryRefusal, EntryResult, Input};
use schemas::crypto::codes::Secret;
use schemas::messages::*;

use crate::rig::*;

fn wrong() -> EntryResult {
    EntryResult::Refused(EntryRefusal::Wrong)
}

fn locks(rig: &Rig) -> usize {
    rig.count(|fact| matches!(fact, Fact::TypingLocked(_)))
}

/// Acceptance 3.
#[test]
fn five_wrong_codes_lock_typing_while_qr_codes_and_commands_work_on() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![PutCredential { kind: CredentialKind::Qr, ..credential(9, token(5).reveal(), &["A1"]) }.into()]);
    for _ in 0..4 {
        assert_eq!(result(&rig.enter("00000000")), wrong());
        rig.wait(61_000);
    }
    let until_boot_millis = rig.now + 300_000;
    let locked = EntryResult::Locked { until_boot_millis };
    assert_eq!(result(&rig.enter("00000000")), locked);
    assert_eq!(rig.last(), TypingLocked { until_boot_millis, wrong_today: 5 }.into());
    assert_eq!(result(&rig.enter("12345678")), locked, "a right code is not even looked at");
    assert_eq!(result(&rig.enter_staff("111111")), locked);
    assert_eq!(rig.core.view().locked_until, Some(until_boot_millis));
    assert_eq!(locks(&rig), 1);

    let command = rig.command(3, Expect::empty());
    assert!(!pulses(&rig.send_command(&command)).is_empty());
    assert_eq!(result(&rig.scan(token(5))), EntryResult::Opening { compartments: vec![number(4)] });

    rig.restart();
    assert!(matches!(result(&rig.enter("12345678")), EntryResult::Locked { .. }), "the lock is still there");
    rig.wait(300_000);
    assert_eq!(result(&rig.enter("00000000")), wrong());
}

#[test]
fn a_right_code_of_somebody_else_does_not_reset_the_count() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    for _ in 0..4 {
        rig.enter("00000000");
    }
    rig.pick_up("12345678");
    assert!(matches!(result(&rig.enter("00000000")), EntryResult::Locked { .. }));
}

#[test]
fn a_wrong_code_is_on_disk_before_the_person_hears_of_it() {
    let mut rig = Rig::online();
    rig.send(Input::Entered { entry: 1, secret: Secret::parse("00000000").unwrap() });
    let step = rig.step(Input::Derived { entry: 1, verifier: verifier("00000000") });
    assert_eq!(format!("{:?}", step.writes[0]).split(' ').take(2).collect::<Vec<_>>(), ["put", "meta[lockout]"]);
    assert_eq!(told(&step.effects), ["EntryResult { entry: 1, result: Refused(Wrong) }"]);
}

#[test]
fn power_cuts_between_guesses_gain_nothing() {
    let mut rig = Rig::online();
    for _ in 0..4 {
        assert_eq!(result(&rig.enter("00000000")), wrong());
        rig.restart();
    }
    assert!(matches!(result(&rig.enter("00000000")), EntryResult::Locked { .. }));
}

#[test]
fn twenty_wrong_codes_a_day_need_a_second_part_until_the_day_is_over() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    for _ in 0..4 {
        for _ in 0..5 {
            rig.enter("00000000");
        }
        rig.wait(300_000);
    }
    assert_eq!(locks(&rig), 4);
    assert_eq!(result(&rig.enter("12345678")), EntryResult::SecondPartNeeded);
    assert!(rig.core.view().second_part_needed);
    rig.restart();
    assert_eq!(result(&rig.enter("12345678")), EntryResult::SecondPartNeeded);
    rig.wait(86_400_000);
    assert!(matches!(result(&rig.enter("12345678")), EntryResult::Opening { .. }));
}

#[test]
fn codes_typed_at_once_are_tried_one_after_another() {
    let mut rig = Rig::online();
    let secret = || Secret::parse("00000000").unwrap();
    rig.send(Input::Entered { entry: 1, secret: secret() });
    for entry in 2..100 {
        let effects = rig.send(Input::Entered { entry, secret: secret() });
        assert_eq!(result(&effects), EntryResult::Refused(EntryRefusal::Busy));
    }
    let effects = rig.wait(10_000);
    assert_eq!(told(&effects), ["EntryResult { entry: 1, result: Refused(Busy) }"], "its derivation never came");
    let effects = rig.send(Input::Derived { entry: 1, verifier: verifier("00000000") });
    assert!(effects.is_empty());
}

#[test]
fn wrong_scans_are_refused_and_not_counted() {
    let mut rig = Rig::online();
    for byte in 0..50 {
        assert_eq!(result(&rig.scan(token(byte))), wrong());
    }
    assert_eq!(locks(&rig), 0);
}

#[test]
fn a_lock_that_is_over_does_not_begin_again_with_a_restart() {
    let mut rig = Rig::blank();
    for _ in 0..5 {
        rig.enter("00000000");
    }
    rig.wait(300_000);
    rig.restart();
    assert_eq!(result(&rig.enter("00000000")), wrong());
}
