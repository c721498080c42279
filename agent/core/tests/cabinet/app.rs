//! The app flow: a command with the token of the screen opens the order of whoever stands there, once, and nobody else's.

use cabinet_core::{APP_CLOSED_MILLIS, DoorSeen, Effect, Input, TOKEN_LIFE_MILLIS, TOKEN_SHOWN_MILLIS};
use schemas::cbor::Blob;
use schemas::messages::*;

use crate::rig::*;

const REQUESTER: &str = "integration:acme:shop";

/// Online with tokens on its screen. A1 is in 3, A2 in 4.
fn shown() -> Rig {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
    rig.app = true;
    rig.restart();
    assert_eq!(rig.core.view().app_token, None, "nobody could use it");
    let hello = rig.connect();
    assert_eq!(hello.app, Some(true));
    for compartment in 1..=5 {
        rig.close_door(compartment);
    }
    rig
}

fn token(rig: &Rig) -> PresenceToken {
    rig.core.view().app_token.unwrap()
}

fn open(rig: &mut Rig, id: u8, order_id: &str, compartment: u16, token: PresenceToken) -> OpenOrder {
    OpenOrder {
        id: CommandId([id; 16]),
        challenge: rig.ask(),
        issued: 0,
        order: order(order_id),
        compartment: number(compartment),
        token,
        requester: REQUESTER.into(),
    }
}

fn envelope(open: &OpenOrder) -> Blob {
    signed(&CodesMessage::from(open.clone()), KeyPurpose::Codes, &codes_key())
}

fn send(rig: &mut Rig, open: &OpenOrder) -> Vec<Effect> {
    rig.down(CodesEnvelope { envelope: envelope(open) })
}

fn by(open: &OpenOrder) -> Actor {
    ActorApp { id: open.id, requester: REQUESTER.into() }.into()
}

fn done(open: &OpenOrder, outcome: UnlockOutcome) -> UnlockDone {
    UnlockDone { id: open.id, compartment: open.compartment, outcome }
}

/// Sends it, and says why it was refused.
fn refusal(rig: &mut Rig, open: &OpenOrder) -> RefusalReason {
    let effects = send(rig, open);
    assert!(pulses(&effects).is_empty());
    match rig.last() {
        Fact::CommandRefused(CommandRefused { id: Some(id), reason }) if id == open.id => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_token_of_the_screen_opens_an_order_once_and_it_is_collected_when_its_door_closes() {
    let mut rig = shown();
    let shown = token(&rig);
    let wanted = open(&mut rig, 1, "A1", 3, shown);
    let pulse = only_pulse(&send(&mut rig, &wanted));
    assert_eq!(pulse.compartment, 3);
    assert_ne!(token(&rig), shown, "it is good for one opening");
    rig.sent(pulse);
    rig.open_door(3);
    assert!(rig.has(DoorOpened { compartment: number(3), by: by(&wanted) }));
    assert!(rig.has(done(&wanted, UnlockOutcome::Opened)));
    let other = open(&mut rig, 2, "A2", 4, shown);
    assert_eq!(refusal(&mut rig, &other), RefusalReason::NoSuchToken, "two backends with one token");
    rig.close_door(3);
    let credential = OpenOrder::credential(wanted.id);
    assert!(rig.has(Collected { order: order("A1"), compartment: number(3), credential, confirmed: true }));
    assert!(!rig.view(3).allocated && rig.view(4).allocated);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1);
}

#[test]
fn the_opening_is_journalled_before_its_pulse_and_after_a_power_cut_told_once_and_never_pulsed_again() {
    let mut rig = shown();
    let shown = token(&rig);
    let wanted = open(&mut rig, 1, "A1", 3, shown);
    let payload = schemas::cbor::encode(&Down::from(CodesEnvelope { envelope: envelope(&wanted) }));
    let step = rig.step(Input::Down { token: 7, payload });
    assert!(matches!(step.effects[..2], [Effect::AckDown { token: 7 }, Effect::Pulse { .. }]), "{:?}", step.effects);
    // Cut before the commit: nothing is known of it, and its token is worth nothing any more.
    let before = rig.store.clone();
    rig.restart();
    assert!(rig.connect().open_commands.is_empty());
    let late = open(&mut rig, 2, "A1", 3, shown);
    assert_eq!(refusal(&mut rig, &late), RefusalReason::NoSuchToken);
    // Cut behind it, whether the pulse went or not.
    rig.store = before;
    rig.commit(&step.writes);
    let effects = rig.restart();
    assert!(pulses(&effects).is_empty());
    assert_eq!(rig.connect().open_commands, [wanted.id]);
    rig.close_door(3);
    assert!(rig.has(done(&wanted, UnlockOutcome::OutcomeUnknown)));
    rig.wait(60_000);
    assert!(pulses(&send(&mut rig, &wanted)).is_empty(), "replayed");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1);
    assert!(rig.view(3).allocated);
}

/// Cut at each later step of the flow: the order is out exactly when its door was open, and told once.
#[test]
fn a_power_cut_at_any_step_collects_nothing_twice_and_loses_nothing() {
    for cut in 0..4 {
        let mut rig = shown();
        let shown = token(&rig);
        let wanted = open(&mut rig, 1, "A1", 3, shown);
        let pulse = only_pulse(&send(&mut rig, &wanted));
        let mut opened = false;
        for step in 0..4 {
            if step == cut {
                rig.restart();
                rig.connect();
            }
            match step {
                0 => drop(rig.sent(pulse)),
                1 if cut != 0 => {
                    rig.open_door(3);
                    opened = true;
                }
                2 => drop(rig.close_door(3)),
                _ => {}
            }
        }
        rig.wait(60_000);
        let out = rig.count(|fact| matches!(fact, Fact::Collected(_)));
        assert_eq!((out, rig.view(3).allocated), (usize::from(opened), !opened), "cut at {cut}");
        assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1, "cut at {cut}");
        assert!(opened || pulses(&rig.enter("12345678")).len() == 1, "cut at {cut}: the code still works");
    }
}

#[test]
fn a_replay_is_refused_and_so_is_what_was_held_back() {
    let mut rig = shown();
    let shown = token(&rig);
    let wanted = open(&mut rig, 1, "A1", 3, shown);
    send(&mut rig, &wanted);
    assert_eq!(refusal(&mut rig, &wanted), RefusalReason::Replayed);
    let shown = token(&rig);
    let held = open(&mut rig, 2, "A2", 4, shown);
    rig.wait(COMMAND_AGE_MAX_MILLIS + 1);
    assert_eq!(refusal(&mut rig, &held), RefusalReason::Expired);
    let other_key = signed(&CodesMessage::from(held), KeyPurpose::Codes, &unlock_key());
    assert!(pulses(&rig.down(CodesEnvelope { envelope: other_key })).is_empty());
}

#[test]
fn a_token_is_shown_for_half_a_minute_and_good_for_a_minute() {
    let mut rig = shown();
    rig.wait(TOKEN_SHOWN_MILLIS);
    let first = token(&rig);
    rig.wait(TOKEN_SHOWN_MILLIS - 1);
    assert_eq!(token(&rig), first);
    rig.wait(1);
    assert_ne!(token(&rig), first);
    let since = rig.now - TOKEN_SHOWN_MILLIS;
    let in_time = open(&mut rig, 1, "A1", 3, first);
    rig.wait(since + TOKEN_LIFE_MILLIS - 1 - rig.now);
    assert_eq!(pulses(&send(&mut rig, &in_time)).len(), 1);

    let mut rig = shown();
    let first = token(&rig);
    rig.wait(TOKEN_LIFE_MILLIS + 1_000);
    let late = open(&mut rig, 1, "A1", 3, first);
    assert_eq!(refusal(&mut rig, &late), RefusalReason::NoSuchToken, "of 61 s ago");
}

#[test]
fn five_wrong_tokens_within_five_minutes_close_the_flow_for_five_minutes() {
    let mut rig = shown();
    let wrong = PresenceToken::from_random([7; 5]);
    for id in 1..=4 {
        let guess = open(&mut rig, id, "A1", 3, wrong);
        assert_eq!(refusal(&mut rig, &guess), RefusalReason::NoSuchToken);
    }
    // A right one of somebody else takes nothing back.
    let shown = token(&rig);
    let right = open(&mut rig, 10, "A2", 4, shown);
    assert_eq!(pulses(&send(&mut rig, &right)).len(), 1);
    let guess = open(&mut rig, 5, "A1", 3, wrong);
    send(&mut rig, &guess);
    let until = rig.now + APP_CLOSED_MILLIS;
    assert!(rig.has(AppClosed { until_boot_millis: until, wrong: 5 }));
    assert_eq!(rig.core.view().app_token, None);
    let guess = open(&mut rig, 6, "A1", 3, wrong);
    assert_eq!(refusal(&mut rig, &guess), RefusalReason::TooOften);
    rig.wait(until - rig.now);
    let shown = token(&rig);
    let right = open(&mut rig, 7, "A1", 3, shown);
    assert_eq!(pulses(&send(&mut rig, &right)).len(), 1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::AppClosed(_))), 1);
}

#[test]
fn wrong_tokens_far_apart_close_nothing_and_a_code_works_while_the_flow_is_closed() {
    let mut rig = shown();
    let wrong = PresenceToken::from_random([7; 5]);
    for id in 1..=8 {
        let guess = open(&mut rig, id, "A1", 3, wrong);
        refusal(&mut rig, &guess);
        rig.wait(APP_CLOSED_MILLIS / 4);
    }
    assert_eq!(rig.count(|fact| matches!(fact, Fact::AppClosed(_))), 0);
    for id in 11..=15 {
        let guess = open(&mut rig, id, "A1", 3, wrong);
        send(&mut rig, &guess);
    }
    assert_eq!(pulses(&rig.enter("12345678")).len(), 1);
}

#[test]
fn what_a_code_would_not_open_the_token_does_not_either() {
    let mut rig = shown();
    let shown = token(&rig);
    for (id, order_id, compartment, reason) in [
        (1, "A1", 4, RefusalReason::WrongContent),
        (2, "B1", 3, RefusalReason::WrongContent),
        (3, "A1", 9, RefusalReason::UnknownCompartment),
    ] {
        let wanted = open(&mut rig, id, order_id, compartment, shown);
        assert_eq!(refusal(&mut rig, &wanted), reason);
    }
    rig.book(vec![DropCredential { id: CredentialId([1; 8]) }.into()]);
    let revoked = open(&mut rig, 4, "A1", 3, shown);
    assert_eq!(refusal(&mut rig, &revoked), RefusalReason::Revoked);
    rig.book(vec![PutCredential { needs_time: true, generation: 2, ..credential(3, "11223344", &["A1"]) }.into()]);
    let shown = token(&rig);
    let timeless = open(&mut rig, 5, "A1", 3, shown);
    assert_eq!(refusal(&mut rig, &timeless), RefusalReason::TimeUnknown);
    rig.set_time(5_000_000);
    rig.book(vec![PutCredential { expires: Some(5_000_100), ..credential(2, "87654321", &["A2"]) }.into()]);
    rig.wait(1_000);
    let shown = token(&rig);
    let over = open(&mut rig, 6, "A2", 4, shown);
    assert_eq!(refusal(&mut rig, &over), RefusalReason::Expired);
    let fine = open(&mut rig, 7, "A1", 3, shown);
    assert_eq!(pulses(&send(&mut rig, &fine)).len(), 1, "what was refused used nothing up");
}

#[test]
fn a_cabinet_without_the_setting_shows_nothing_and_opens_nothing() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    assert_eq!((rig.core.view().app_token, rig.connect().app), (None, None));
    let wanted = open(&mut rig, 1, "A1", 3, PresenceToken::from_random([1; 5]));
    assert_eq!(refusal(&mut rig, &wanted), RefusalReason::NotEnabled);
}

#[test]
fn a_door_that_sticks_is_tried_again_by_whoever_stands_there_and_the_command_has_one_outcome() {
    let mut rig = shown();
    let shown = token(&rig);
    let wanted = open(&mut rig, 1, "A1", 3, shown);
    let pulse = only_pulse(&send(&mut rig, &wanted));
    rig.sent(pulse);
    rig.wait(3_000);
    assert!(rig.has(done(&wanted, UnlockOutcome::NotOpened)));
    assert!(rig.view(3).try_again);
    let pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(3) }));
    rig.sent(pulse);
    rig.open_door(3);
    assert!(rig.has(DoorOpened { compartment: number(3), by: by(&wanted) }));
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1);
}

#[test]
fn a_cut_while_a_try_is_offered_tells_the_outcome_no_second_time() {
    let mut rig = shown();
    let shown = token(&rig);
    let wanted = open(&mut rig, 1, "A1", 3, shown);
    let pulse = only_pulse(&send(&mut rig, &wanted));
    rig.sent(pulse);
    rig.wait(3_000);
    rig.restart();
    assert!(rig.connect().open_commands.is_empty());
    rig.close_door(3);
    rig.wait(20_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1);
}

/// Nobody whom staff have to look at first gets in by an app.
#[test]
fn an_order_that_staff_have_to_release_is_not_opened_by_the_app() {
    let mut rig = shown();
    let credential = PutCredential { generation: 2, ..credential(9, "99999999", &["A1"]) };
    rig.book(vec![PutGuarded { credential, guarded: vec![order("A1")], factor: None }.into()]);
    let shown = token(&rig);
    let wanted = open(&mut rig, 1, "A1", 3, shown);
    assert_eq!(refusal(&mut rig, &wanted), RefusalReason::NotEnabled);
    let other = open(&mut rig, 2, "A2", 4, shown);
    assert_eq!(pulses(&send(&mut rig, &other)).len(), 1, "the token is as good as before");
}
