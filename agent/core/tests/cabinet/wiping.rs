//! The end of a cabinet: who may ask for it, what the fleet hears before and after, and that nothing opens in between.

use cabinet_core::{Effect, EntryRefusal, EntryResult, Input, LAST_WORDS_MILLIS};
use ed25519_dalek::SigningKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{Scope, sign};
use schemas::messages::*;

use crate::rig::*;

const CODE: &str = "12345678";

fn wipe(rig: &mut Rig, id: u8) -> ConfigCommand {
    let challenge = rig.ask();
    let requester = "operator:acme:eve".into();
    ConfigCommand { id: CommandId([id; 16]), challenge, issued: 0, action: Wipe {}.into(), requester }
}

fn order_wipe(rig: &mut Rig, command: &ConfigCommand, by: &SigningKey) -> Vec<Effect> {
    rig.down(ConfigEnvelope { envelope: signed(command, KeyPurpose::Config, by) })
}

fn erased(effects: &[Effect]) -> Option<Receipt> {
    effects.iter().find_map(|effect| match effect {
        Effect::Erase(receipt) => Some((**receipt).clone()),
        _ => None,
    })
}

fn is_discarded(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Discard))
}

/// Everything that waits goes out and is acknowledged.
fn acknowledge(rig: &mut Rig) -> Vec<Effect> {
    let mut effects = Vec::new();
    while rig.core.view().outbox > 0 {
        let waiting = rig.core.view().outbox;
        for up_to in 1..=rig.events().len() as u64 {
            effects.extend(rig.send(Input::EventsAcked { up_to }));
        }
        assert!(rig.core.view().outbox < waiting, "nothing goes out");
    }
    effects
}

/// Holds two orders, and the fleet has heard of everything but the last event.
fn holding() -> Rig {
    let mut rig = Rig::holding(&[(1, "A1", CODE), (3, "A2", "23456789")]);
    rig.set_time(1_795_378_500_000);
    acknowledge(&mut rig);
    rig.send(Input::Board { board: 1, answering: false });
    rig
}

#[test]
fn the_fleet_hears_everything_before_anything_is_erased() {
    let mut rig = holding();
    let command = wipe(&mut rig, 1);
    let effects = order_wipe(&mut rig, &command, &config_key());
    assert_eq!(erased(&effects), None, "an event is not told yet");
    assert!(rig.core.is_ending());
    assert_eq!(rig.wait(LAST_WORDS_MILLIS / 2).iter().find_map(|effect| erased(std::slice::from_ref(effect))), None);
    let receipt = erased(&acknowledge(&mut rig)).unwrap();
    assert_eq!((receipt.command, receipt.requester.as_str()), (command.id, "operator:acme:eve"));
    assert_eq!((receipt.cabinet.as_str(), receipt.instance), ("c1", INSTANCE));
    assert_eq!((receipt.orders, receipt.credentials, receipt.staff, receipt.unsent), (2, 2, 1, 0));
    assert_eq!(receipt.events, rig.events().len() as u64);
    assert!(receipt.at.is_some_and(|at| at >= 1_795_378_500_000));
}

#[test]
fn nothing_opens_once_the_cabinet_is_to_be_wiped() {
    let mut rig = holding();
    let session = rig.log_in("111111");
    let unlock = rig.command(1, Expect::order(order("A1")));
    let command = wipe(&mut rig, 9);
    let effects = order_wipe(&mut rig, &command, &config_key());
    assert!(told(&effects).iter().any(|note| note.contains("SessionEnded")), "{effects:?}");
    for restarted in [false, true] {
        if restarted {
            rig.restart();
            rig.send(Input::Keyset(keyset(2)));
            rig.connect();
            rig.doors_closed();
        }
        assert!(rig.core.is_ending());
        for effects in [rig.enter(CODE), rig.scan(token(1)), rig.enter_staff("111111")] {
            assert_eq!(result(&effects), EntryResult::Refused(EntryRefusal::OutOfService));
            assert!(pulses(&effects).is_empty());
        }
        assert!(pulses(&rig.send_command(&unlock)).is_empty());
        let load = Input::Load { session, order: order("A2"), larger: false };
        assert!(pulses(&rig.send(load)).is_empty());
        let events = rig.events().len();
        rig.send_book(Book { version: 99, base: 0, issued: 0, changes: vec![] });
        assert_eq!(rig.events().len(), events, "what cannot be of use any more is not even refused");
    }
}

#[test]
fn an_emergency_opening_ends_where_the_wipe_begins() {
    let mut rig = holding();
    let session = rig.log_in("111111");
    let command = wipe(&mut rig, 1);
    let first = only_pulse(&rig.send(Input::OpenAll { session }));
    rig.sent(first);
    rig.open_door(first.compartment);
    order_wipe(&mut rig, &command, &config_key());
    assert!(rig.core.is_ending());
    assert!(pulses(&rig.wait(10_000)).is_empty());
}

#[test]
fn a_cabinet_that_reaches_nobody_is_erased_all_the_same() {
    let mut rig = holding();
    let command = wipe(&mut rig, 1);
    order_wipe(&mut rig, &command, &config_key());
    rig.send(Input::Disconnected);
    rig.restart();
    let effects = rig.wait(LAST_WORDS_MILLIS - 1_000);
    assert_eq!(erased(&effects), None);
    let receipt = erased(&rig.wait(1_000)).unwrap();
    assert_eq!(receipt.unsent, 2, "the silent board and the restart");
    assert_eq!(erased(&rig.send(Input::Connected)).map(|receipt| receipt.command), Some(command.id), "said again");
}

#[test]
fn only_a_fresh_command_of_the_config_key_for_this_cabinet_wipes_it() {
    let mut rig = holding();
    let mut refuse = |what: &str, envelope: Blob, id: Option<CommandId>, reason| {
        rig.wait(1_000);
        rig.down(ConfigEnvelope { envelope });
        assert_eq!(rig.last(), Fact::from(CommandRefused { id, reason }), "{what}");
        assert!(!rig.core.is_ending(), "{what}");
        wipe(&mut rig, 1)
    };
    let good = refuse("no envelope", Blob(vec![0x80]), None, RefusalReason::Malformed);
    let of = |key: &SigningKey, purpose| signed(&good, purpose, key);
    refuse("the unlock key", of(&unlock_key(), KeyPurpose::Config), None, RefusalReason::UnknownKey);
    refuse("the codes key", of(&codes_key(), KeyPurpose::Codes), None, RefusalReason::UnknownKey);
    refuse("a signature for another purpose", of(&config_key(), KeyPurpose::Unlock), None, RefusalReason::BadSignature);
    let other = Scope::Cabinet {
        tenant: &"acme".parse().unwrap(),
        cabinet: &"c2".parse().unwrap(),
        instance: INSTANCE,
        purpose: KeyPurpose::Config,
    };
    let envelope = Blob(sign(cbor::encode(&good), other, &config_key()));
    refuse("for another cabinet", envelope, None, RefusalReason::BadSignature);
    let long = ConfigCommand { requester: "x".repeat(97), ..good.clone() };
    let envelope = signed(&long, KeyPurpose::Config, &config_key());
    refuse("too long a requester", envelope, None, RefusalReason::Malformed);
    let invented = Challenge { boot: BootId([0xee; 8]), ..good.challenge };
    let foreign = ConfigCommand { id: CommandId([3; 16]), challenge: invented, ..good.clone() };
    let envelope = signed(&foreign, KeyPurpose::Config, &config_key());
    refuse("a challenge of another run", envelope, Some(foreign.id), RefusalReason::UnknownChallenge);
    for _ in 0..40 {
        refuse("time goes on", Blob(vec![0x80]), None, RefusalReason::Malformed);
    }
    let late = ConfigCommand { id: CommandId([4; 16]), ..good };
    let envelope = signed(&late, KeyPurpose::Config, &config_key());
    refuse("too late", envelope, Some(late.id), RefusalReason::Expired);
}

#[test]
fn a_cabinet_whose_door_is_being_opened_is_asked_again_with_another_command() {
    let mut rig = holding();
    let pulse = only_pulse(&rig.enter(CODE));
    let command = wipe(&mut rig, 1);
    order_wipe(&mut rig, &command, &config_key());
    assert_eq!(rig.last(), CommandRefused { id: Some(command.id), reason: RefusalReason::Busy }.into());
    rig.sent(pulse);
    rig.open_door(1);
    rig.close_door(1);
    order_wipe(&mut rig, &command, &config_key());
    assert!(!rig.core.is_ending(), "a refusal is final");
    let command = wipe(&mut rig, 2);
    order_wipe(&mut rig, &command, &config_key());
    assert!(rig.core.is_ending());
}

#[test]
fn a_wiped_cabinet_says_its_receipt_and_nothing_else() {
    let mut rig = Rig::blank();
    rig.store = MemStore::default();
    rig.restart_with(Some(vec![0x84, 0x01]));
    for round in ["at first", "after a restart", "with its receipt gone"] {
        rig.send(Input::Keyset(keyset(1)));
        let hello = rig.connect();
        assert!(hello.compartments.items.is_empty() && hello.pepper.is_none() && hello.keyset == 0, "{round}");
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Wiped(_))), 1, "{round}");
        assert!(rig.has(Wiped { receipt: Blob(vec![0x84, 0x01]) }), "{round}");
        assert_eq!(result(&rig.enter(CODE)), EntryResult::Refused(EntryRefusal::OutOfService), "{round}");
        // The receipt again, as long as the file is there.
        rig.restart_with((round == "at first").then(|| vec![0x84, 0x01]));
    }
    let effects = rig.send(Input::Connected);
    let epoch = hello(&effects).unwrap().epoch;
    let welcomed = rig.down(Welcome { epoch, high_water: 0 });
    assert!(!is_discarded(&[effects, welcomed].concat()), "the fleet has not said that it has the receipt");
    assert!(is_discarded(&acknowledge(&mut rig)));
    assert!(is_discarded(&rig.send(Input::Tick)), "until it is done");
}
