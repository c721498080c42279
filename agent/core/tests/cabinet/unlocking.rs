//! Signed commands: once, fresh, for the right content, with exactly one outcome.

use cabinet_core::{DoorSeen, Effect};
use schemas::crypto::envelope::{Scope, sign};
use schemas::messages::*;

use crate::rig::*;

fn refused(id: Option<CommandId>, reason: RefusalReason) -> CommandRefused {
    CommandRefused { id, reason }
}

fn done(command: &Command, compartment: u16, outcome: UnlockOutcome) -> UnlockDone {
    UnlockDone { id: command.id, compartment: number(compartment), outcome }
}

#[test]
fn a_command_is_journalled_and_acknowledged_before_its_pulse() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    let made = rig.now;
    let step = {
        let envelope = signed(&command, KeyPurpose::Unlock, &unlock_key());
        let payload = schemas::cbor::encode(&Down::from(Signed { envelope }));
        rig.step(cabinet_core::Input::Down { token: 7, payload })
    };
    let written: Vec<_> = step.writes.iter().map(|write| write.table.0).collect();
    assert_eq!(written, ["commands", "meta", "uses"]);
    let (ack, pulse) = (&step.effects[0], &step.effects[1]);
    assert!(matches!(ack, Effect::AckDown { token: 7 }), "{ack:?}");
    let Effect::Pulse { compartment, not_after, .. } = pulse else { panic!("{pulse:?}") };
    assert_eq!((compartment.number(), *not_after), (4, made + 30_000));
    assert_eq!(step.effects.len(), 2);
}

#[test]
fn a_door_seen_open_is_the_outcome_opened() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.open_door(4);
    let by = ActorCommand { id: command.id, requester: command.requester.clone() }.into();
    assert!(rig.has(DoorOpened { compartment: number(4), by }));
    assert_eq!(rig.last(), done(&command, 4, UnlockOutcome::Opened).into());
    rig.wait(60_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1);
}

#[test]
fn what_the_sensor_says_three_seconds_after_the_pulse_is_the_outcome() {
    for (door, was, outcome) in [
        (DoorSeen::Closed, DoorSeen::Closed, UnlockOutcome::NotOpened),
        (DoorSeen::Unknown, DoorSeen::Closed, UnlockOutcome::OutcomeUnknown),
        (DoorSeen::Open, DoorSeen::Open, UnlockOutcome::OutcomeUnknown),
    ] {
        let mut rig = Rig::online();
        rig.door(4, was, UNKNOWN);
        let command = rig.command(4, Expect::empty());
        let pulse = only_pulse(&rig.send_command(&command));
        rig.sent(pulse);
        rig.door(4, door, UNKNOWN);
        rig.wait(2_999);
        assert!(!rig.has(done(&command, 4, outcome)));
        rig.wait(1);
        assert_eq!(rig.last(), done(&command, 4, outcome).into());
    }
}

#[test]
fn a_sensor_that_comes_back_in_time_decides_and_one_that_was_open_all_along_does_not() {
    let mut rig = Rig::online();
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.wait(2_000);
    rig.open_door(4);
    assert_eq!(rig.last(), done(&command, 4, UnlockOutcome::Opened).into());

    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.close_door(4);
    assert_eq!(rig.last(), done(&command, 4, UnlockOutcome::OutcomeUnknown).into());
}

#[test]
fn a_pulse_that_was_certainly_not_sent_is_tried_once_more_while_it_is_fresh() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    let first = only_pulse(&rig.send_command(&command));
    let second = only_pulse(&rig.not_sent(first));
    assert_ne!(first.pulse, second.pulse);
    assert_eq!(first.not_after, second.not_after);
    assert!(pulses(&rig.not_sent(second)).is_empty());
    assert_eq!(rig.last(), done(&command, 4, UnlockOutcome::NotSent).into());

    let command = rig.command(4, Expect::empty());
    let first = only_pulse(&rig.send_command(&command));
    rig.now = first.not_after + 1;
    assert!(pulses(&rig.not_sent(first)).is_empty(), "too old by now");
    assert_eq!(rig.last(), done(&command, 4, UnlockOutcome::NotSent).into());
}

#[test]
fn a_bus_that_never_answers_leaves_the_outcome_unknown() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    rig.send_command(&command);
    rig.wait(40_000);
    assert!(rig.has(done(&command, 4, UnlockOutcome::OutcomeUnknown)));
}

/// Acceptance 9.
#[test]
fn an_unlock_queued_for_thirty_minutes_is_refused_as_expired() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    rig.wait(1_800_000);
    let effects = rig.send_command(&command);
    assert_eq!(told(&effects)[0], "AckDown { token: 1 }");
    assert!(pulses(&effects).is_empty());
    assert_eq!(rig.last(), refused(Some(command.id), RefusalReason::Expired).into());
}

#[test]
fn a_challenge_is_honoured_for_thirty_seconds_and_not_a_millisecond_longer() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    rig.wait(30_000);
    assert_eq!(only_pulse(&rig.send_command(&command)).not_after, rig.now);
    let command = rig.command(3, Expect::empty());
    rig.wait(30_001);
    assert!(pulses(&rig.send_command(&command)).is_empty());
}

/// Acceptance 10.
#[test]
fn a_duplicate_and_a_replay_are_refused_and_reported_once() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    for _ in 0..3 {
        assert!(pulses(&rig.send_command(&command)).is_empty());
    }
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    assert!(pulses(&rig.send_command(&command)).is_empty());
    let replayed = refused(Some(command.id), RefusalReason::Replayed).into();
    assert_eq!(rig.count(|fact| *fact == replayed), 1);
}

#[test]
fn a_restart_voids_all_challenges_and_remembers_the_ids() {
    let mut rig = Rig::online();
    let (carried_out, waiting) = (rig.command(4, Expect::empty()), rig.command(3, Expect::empty()));
    rig.send_command(&carried_out);
    rig.restart();
    rig.connect();
    assert!(pulses(&rig.send_command(&carried_out)).is_empty());
    assert_eq!(rig.last(), refused(Some(carried_out.id), RefusalReason::Replayed).into());
    assert!(pulses(&rig.send_command(&waiting)).is_empty());
    assert_eq!(rig.last(), refused(Some(waiting.id), RefusalReason::UnknownChallenge).into());
}

#[test]
fn a_command_must_name_what_the_compartment_holds() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    for (compartment, expects, reason) in [
        (4, Expect::empty(), RefusalReason::WrongContent),
        (4, Expect::order(order("A2")), RefusalReason::WrongContent),
        (3, Expect::order(order("A1")), RefusalReason::WrongContent),
        (99, Expect::empty(), RefusalReason::UnknownCompartment),
    ] {
        let command = rig.command(compartment, expects);
        assert!(pulses(&rig.send_command(&command)).is_empty());
        assert_eq!(rig.last(), refused(Some(command.id), reason).into());
    }
    let command = rig.command(4, Expect::order(order("A1")));
    assert_eq!(only_pulse(&rig.send_command(&command)).compartment, 4);
}

#[test]
fn a_refusal_is_final_although_its_reason_may_pass() {
    let mut rig = Rig::online();
    let first = rig.command(4, Expect::empty());
    let second = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&first));
    assert!(pulses(&rig.send_command(&second)).is_empty());
    assert_eq!(rig.last(), refused(Some(second.id), RefusalReason::Busy).into());
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    assert!(pulses(&rig.send_command(&second)).is_empty());
    assert_eq!(rig.count(|fact| matches!(fact, Fact::CommandRefused(_))), 1);
}

#[test]
fn what_is_signed_by_another_key_for_another_purpose_or_not_at_all_opens_nothing() {
    let mut rig = Rig::online();
    let command = Command { requester: "x".repeat(96), ..rig.command(4, Expect::empty()) };
    let (tenant, cabinet) = ("acme".parse().unwrap(), "c2".parse().unwrap());
    let elsewhere =
        Scope::Cabinet { tenant: &tenant, cabinet: &cabinet, instance: INSTANCE, purpose: KeyPurpose::Unlock };
    let for_another = sign(schemas::cbor::encode(&command), elsewhere, &unlock_key());
    let rubbish = schemas::cbor::encode(&7);
    let wordy = Command { requester: "x".repeat(97), ..command.clone() };
    for (bytes, reason) in [
        (signed(&command, KeyPurpose::Unlock, &codes_key()).0, RefusalReason::UnknownKey),
        (signed(&command, KeyPurpose::Codes, &unlock_key()).0, RefusalReason::BadSignature),
        (for_another, RefusalReason::BadSignature),
        (signed(&rubbish, KeyPurpose::Unlock, &unlock_key()).0, RefusalReason::Malformed),
        (signed(&wordy, KeyPurpose::Unlock, &unlock_key()).0, RefusalReason::Malformed),
        (rubbish, RefusalReason::Malformed),
    ] {
        rig.wait(1_000);
        let effects = rig.down(Signed { envelope: schemas::cbor::Blob(bytes) });
        assert!(pulses(&effects).is_empty());
        assert_eq!(rig.last(), refused(None, reason).into());
    }
    assert!(!pulses(&rig.send_command(&command)).is_empty(), "the command itself was good");
}

#[test]
fn rubbish_on_the_bus_is_acknowledged_and_reported_once_a_second() {
    let mut rig = Rig::online();
    rig.wait(10_000);
    let before = rig.events().len();
    for n in 0..1_000u64 {
        let effects = rig.send(cabinet_core::Input::Down { token: n, payload: vec![0xff; 3] });
        assert!(matches!(effects[0], Effect::AckDown { token } if token == n));
    }
    assert_eq!(rig.events().len(), before + 1);
    assert_eq!(rig.core.view().refusals_suppressed, 999);
}

#[test]
fn a_challenge_that_was_never_made_is_unknown() {
    let mut rig = Rig::blank();
    rig.send(cabinet_core::Input::Keyset(keyset(1)));
    let challenge = Challenge { boot: BootId([1; 8]), counter: 1, nonce: Nonce([0; 8]) };
    let action = Unlock { compartment: number(4), expects: Expect::empty() }.into();
    let command =
        Command { id: CommandId([1; 16]), challenge, issued: 0, action, requester: "operator:acme:eve".into() };
    assert!(pulses(&rig.send_command(&command)).is_empty());
    assert_eq!(rig.last(), refused(Some(command.id), RefusalReason::UnknownChallenge).into());
}

/// For the fleet the order is out, for the cabinet its compartment is not yet free: either word opens.
#[test]
fn a_door_that_was_left_open_is_unlocked_as_empty_or_for_its_order() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.wait(900_000);
    for (expects, opens) in
        [(Expect::order(order("A2")), false), (Expect::empty(), true), (Expect::order(order("A1")), true)]
    {
        let command = rig.command(4, expects);
        let effects = rig.send_command(&command);
        assert_eq!(pulses(&effects).len(), usize::from(opens), "{command:?}");
        rig.wait(60_000);
    }
}

/// They hold the order in their hands: it must not end up in a door that was opened for something else.
#[test]
fn a_command_waits_while_staff_may_still_try_a_door_again() {
    let mut rig = Rig::online();
    rig.book(vec![put_staff("ann", "111111"), put_order("A1", Size::S)]);
    let session = rig.log_in("111111");
    rig.load(session, "A1");
    rig.wait(3_000);
    assert!(rig.view(3).try_again);
    let command = rig.command(3, Expect::order(order("A1")));
    assert!(pulses(&rig.send_command(&command)).is_empty());
    assert_eq!(rig.last(), refused(Some(command.id), RefusalReason::Busy).into());
}

#[test]
fn sixty_four_refusals_are_told_at_once_and_then_one_a_second() {
    let mut rig = Rig::online();
    let first = rig.command(4, Expect::order(order("A1")));
    let refuse = |rig: &mut Rig, n: u8| {
        rig.send_command(&Command { id: CommandId([n; 16]), ..first.clone() });
        rig.count(|fact| matches!(fact, Fact::CommandRefused(_)))
    };
    let at_once: Vec<_> = (1..=100).map(|n| refuse(&mut rig, n)).collect();
    assert_eq!(at_once[99], 64);
    for n in 101..=200 {
        rig.wait(100);
        refuse(&mut rig, n);
    }
    assert_eq!(refuse(&mut rig, 200), 64 + 10, "in ten seconds");
    assert_eq!(rig.core.view().refusals_suppressed, 200 - 64 - 10);
}

#[test]
fn the_answer_to_a_pulse_settles_that_pulse_only() {
    let mut rig = Rig::online();
    let (third, fourth) = (rig.command(3, Expect::empty()), rig.command(4, Expect::empty()));
    let unreached = only_pulse(&rig.send_command(&third));
    let sent = only_pulse(&rig.send_command(&fourth));
    rig.sent(sent);
    let again = only_pulse(&rig.not_sent(unreached));
    assert_eq!(again.compartment, 3);
    rig.sent(unreached);
    rig.open_door(4);
    assert_eq!(rig.last(), done(&fourth, 4, UnlockOutcome::Opened).into());
    rig.not_sent(again);
    assert_eq!(rig.last(), done(&third, 3, UnlockOutcome::NotSent).into(), "only the second answer was its own");
}

#[test]
fn a_tick_that_comes_late_still_brings_the_outcome() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.now += 7_000;
    rig.send(cabinet_core::Input::Tick);
    assert!(rig.has(done(&command, 4, UnlockOutcome::NotOpened)));
}
