//! Hello, welcome, events on their way, challenges, telemetry, keysets.

use cabinet_core::{Config, Effect, EntryRefusal, EntryResult, Input, OfflineView};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{key_id, public_entry};
use schemas::crypto::seal;
use schemas::messages::*;

use crate::rig::*;

fn batches(effects: &[Effect]) -> Vec<(u64, u64)> {
    let batch = |effect: &Effect| match effect {
        Effect::SendEvents { from, to, .. } => Some((*from, *to)),
        _ => None,
    };
    effects.iter().filter_map(batch).collect()
}

fn telemetry(effects: &[Effect]) -> Vec<Telemetry> {
    let decode = |effect: &Effect| match effect {
        Effect::SendTelemetry(bytes) => cbor::decode(bytes).ok(),
        _ => None,
    };
    effects.iter().filter_map(decode).collect()
}

#[test]
fn hello_says_what_the_cabinet_is_and_holds() {
    let mut rig = Rig::blank();
    let effects = rig.send(Input::Connected);
    let first = hello(&effects).unwrap();
    assert_eq!(effects.len(), 1, "nothing but hello before the welcome");
    assert_eq!((first.newest, first.oldest, first.book, first.keyset), (1, 1, 0, 0));
    assert_eq!((first.pepper, first.compartments.items.len()), (None, 5));

    let effects = rig.send(Input::Keyset(keyset(3)));
    let second = hello(&effects).expect("a pepper key came, so the pepper is offered");
    assert_eq!((second.keyset, second.epoch), (3, first.epoch));
    let offer = second.pepper.unwrap();
    let (tenant, cabinet) = ("acme".parse().unwrap(), "c1".parse().unwrap());
    let aad = seal::pepper_aad(&tenant, &cabinet, INSTANCE, offer.version, offer.salt);
    let sealed = seal::open(&offer.sealed.0, &pepper_key(), &aad).unwrap();
    let effects = rig.send(Input::Entered { entry: 1, secret: token(1) });
    let Effect::Derive { pepper, salt, .. } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!((sealed.as_slice(), offer.salt), (pepper.0.as_slice(), *salt));
}

#[test]
fn hello_lists_commands_without_an_outcome() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    rig.send_command(&command);
    rig.send(Input::Disconnected);
    assert_eq!(hello(&rig.send(Input::Connected)).unwrap().open_commands, [command.id]);
    rig.restart();
    assert_eq!(hello(&rig.send(Input::Connected)).unwrap().open_commands, [command.id]);
    rig.wait(10_000);
    rig.send(Input::Disconnected);
    assert!(hello(&rig.send(Input::Connected)).unwrap().open_commands.is_empty());
}

#[test]
fn screen_says_since_when_the_fleet_is_away_and_an_older_row_says_nothing_of_it() {
    const NOW: u64 = 1_700_000_000_000;
    let rig = Rig::blank();
    assert_eq!(rig.core.view().offline, None, "nothing was ever heard");
    let mut rig = Rig::online();
    rig.set_time(NOW);
    rig.wait(5_000);
    assert_eq!(rig.core.view().offline, None);
    rig.send(Input::Disconnected);
    rig.wait(60_000);
    rig.send(Input::Tick);
    let away = OfflineView { since: NOW + 5_000, at_least_millis: 60_000 };
    assert_eq!(rig.core.view().offline, Some(away));
    // Neither a vain attempt to connect nor a restart changes it.
    rig.send(Input::Connected);
    rig.send(Input::Disconnected);
    rig.restart();
    let since = rig.core.view().offline.map(|offline| offline.since);
    assert_eq!(since, Some(NOW + 5_000));
    // Without the time, too, it knows how long it has been running since then.
    for _ in 0..73 {
        rig.wait(3_600_000);
        rig.send(Input::Tick);
    }
    let offline = rig.core.view().offline.unwrap();
    assert!(offline.since == NOW + 5_000 && offline.at_least_millis >= 72 * 3_600_000, "{offline:?}");
    rig.connect();
    assert_eq!(rig.core.view().offline, None);
}

#[test]
fn events_follow_the_welcome_sixteen_at_a_time_and_again_after_a_lost_connection() {
    let mut rig = Rig::blank();
    for board in 0..40 {
        rig.send(Input::Board { board, answering: false });
    }
    let hello = hello(&rig.send(Input::Connected)).unwrap();
    let effects = rig.down(Welcome { epoch: hello.epoch, high_water: 1 });
    assert_eq!(batches(&effects), [(2, 17)]);
    assert_eq!(batches(&rig.send(Input::EventsAcked { up_to: 5 })), [(18, 21)]);
    rig.send(Input::Disconnected);
    for input in [Input::EventsAcked { up_to: 21 }, Input::Board { board: 0, answering: true }] {
        assert_eq!(batches(&rig.send(input)), [], "not before the next welcome");
    }
    rig.send(Input::Connected);
    let effects = rig.down(Welcome { epoch: hello.epoch, high_water: 7 });
    assert_eq!(batches(&effects), [(8, 23)]);
    let effects = rig.down(Welcome { epoch: Epoch([0; 8]), high_water: 41 });
    assert_eq!(batches(&effects), [(1, 16)], "a fleet with another epoch gets everything");
}

#[test]
fn hello_is_said_again_when_no_welcome_comes() {
    let mut rig = Rig::blank();
    rig.send(Input::Connected);
    assert!(hello(&rig.wait(29_000)).is_none(), "the packet is still on its way");
    rig.send(Input::HelloAcked);
    assert!(hello(&rig.wait(29_000)).is_none(), "the fleet is still at work");
    assert!(hello(&rig.wait(1_000)).is_some());
    assert!(hello(&rig.wait(30_000)).is_some(), "the packet was lost before it left");
}

#[test]
fn a_message_beyond_the_limit_is_not_even_read() {
    let mut rig = Rig::online();
    let padded = |bytes: usize| Down::from(CodesEnvelope { envelope: Blob(vec![0; bytes]) });
    let around = cbor::encode(&padded(MESSAGE_MAX / 2)).len() - MESSAGE_MAX / 2;
    let mut send = |bytes: usize| {
        rig.wait(1_000);
        rig.down(padded(bytes - around));
        rig.last()
    };
    assert_eq!(send(MESSAGE_MAX), BookRefused { version: None, reason: RefusalReason::Malformed }.into());
    assert_eq!(send(MESSAGE_MAX + 1), CommandRefused { id: None, reason: RefusalReason::Malformed }.into());
}

#[test]
fn before_the_welcome_no_challenge_is_given() {
    let mut rig = Rig::blank();
    rig.send(Input::Connected);
    assert_eq!(told(&rig.down(Ask {})), ["AckDown { token: 1 }"]);
}

#[test]
fn ask_is_answered_once_a_second() {
    let mut rig = Rig::online();
    rig.wait(1_000);
    let asked = |rig: &mut Rig| rig.down(Ask {}).iter().filter(|e| matches!(e, Effect::SendChallenge(_))).count();
    assert_eq!((asked(&mut rig), asked(&mut rig)), (1, 0));
    rig.wait(1_000);
    assert_eq!(asked(&mut rig), 1);
}

#[test]
fn telemetry_is_sent_within_half_a_minute_of_a_change_and_else_every_quarter_of_an_hour() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let samples = |rig: &mut Rig, millis| telemetry(&rig.wait(millis)).len();
    samples(&mut rig, 60_000);
    assert_eq!(samples(&mut rig, 4 * Config::TELEMETRY_IDLE_MILLIS), 4, "nothing changes");
    rig.open_door(3);
    let changed = telemetry(&rig.wait(30_000));
    assert_eq!(changed.len(), 1);
    let states = &changed[0].compartments.items;
    assert_eq!(states[2].door, DoorState::Forced);
    let taken: Vec<_> = states.iter().map(|state| state.allocated).collect();
    assert_eq!(taken, [false, false, false, true, false]);
    rig.send(Input::Disconnected);
    assert!(telemetry(&rig.wait(2 * Config::TELEMETRY_IDLE_MILLIS)).is_empty());
    let hello = hello(&rig.send(Input::Connected)).unwrap();
    let effects = rig.down(Welcome { epoch: hello.epoch, high_water: hello.newest });
    assert_eq!(telemetry(&effects).len(), 1, "whoever listens now has heard nothing yet");
}

#[test]
fn an_event_carries_the_fleets_time_once_it_is_known() {
    let mut rig = Rig::online();
    let stamp = |rig: &Rig| {
        let rows = schemas::step::Store::rows(&rig.store, cabinet_core::EVENTS).unwrap();
        cbor::decode::<Event>(&rows.last().unwrap().1).unwrap().at
    };
    assert_eq!(stamp(&rig).fleet_millis, None);
    rig.set_time(1_800_000_000_000);
    rig.wait(5_000);
    rig.open_door(5);
    assert_eq!(stamp(&rig).fleet_millis, Some(1_800_000_005_000));
}

#[test]
fn a_time_that_is_not_signed_or_not_fresh_is_refused() {
    let mut rig = Rig::online();
    let challenge = rig.ask();
    let message = CodesMessage::from(FleetTime { challenge, now: 5_000_000, mark: None });
    let forged = signed(&message, KeyPurpose::Codes, &unlock_key());
    rig.down(CodesEnvelope { envelope: forged });
    assert_eq!(rig.last(), BookRefused { version: None, reason: RefusalReason::UnknownKey }.into());
    let good = signed(&message, KeyPurpose::Codes, &codes_key());
    rig.wait(30_001);
    rig.down(CodesEnvelope { envelope: good });
    assert_eq!(rig.last(), BookRefused { version: None, reason: RefusalReason::Expired }.into());
    assert_eq!(rig.core.view().fleet_millis, None);
}

#[test]
fn a_keyset_never_goes_back_and_a_refused_one_is_reported() {
    let mut rig = Rig::online();
    let effects = rig.down(KeysetUpdate { envelope: Blob(keyset(5)) });
    assert!(hello(&effects).is_none(), "its pepper key is the same");
    assert!(matches!(rig.last(), Fact::KeysetApplied(KeysetApplied { version: 5, .. })));
    rig.restart();
    let events = rig.events().len();
    rig.send(Input::Keyset(keyset(4)));
    assert_eq!(rig.events().len(), events, "an old one in the settings is normal");
    rig.connect();
    rig.down(KeysetUpdate { envelope: Blob(keyset(4)) });
    assert_eq!(rig.last(), KeysetRefused { version: Some(4), reason: RefusalReason::OldVersion }.into());
    assert_eq!(rig.connect().keyset, 5);
    let events = rig.events().len();
    rig.down(KeysetUpdate { envelope: Blob(keyset(4)) });
    assert_eq!(rig.events().len(), events, "the same refusal of the same version is told once");
}

#[test]
fn a_cabinet_that_was_away_for_a_year_follows_its_roots_through_every_change() {
    let mut rig = Rig::online();
    let key = |byte| public_entry(&root(byte), KeyPurpose::Keyset);
    let replacing = |version, [first, second]: [u8; 2], by| {
        let keys = vec![public_entry(&unlock_key(), KeyPurpose::Unlock)];
        let roots = Some(Roots { first: key(first), second: key(second) });
        Blob(keyset_by(&Keyset { roots, ..Keyset::new("acme".parse().unwrap(), version, 0, keys) }, by))
    };
    rig.send(Input::Disconnected);
    rig.wait(365 * 86_400_000);
    rig.connect();
    let chain = [replacing(2, [3, 2], 2), replacing(7, [3, 4], 3), replacing(9, [5, 4], 4)];
    // The newest alone is of a root that it has never heard of.
    rig.down(KeysetUpdate { envelope: chain[2].clone() });
    assert_eq!(rig.last(), KeysetRefused { version: None, reason: RefusalReason::UnknownKey }.into());
    for (envelope, version) in chain.iter().zip([2, 7, 9]) {
        rig.down(KeysetUpdate { envelope: envelope.clone() });
        rig.restart();
        assert_eq!(rig.connect().keyset, version);
    }
    rig.down(KeysetUpdate { envelope: replacing(10, [1, 2], 1) });
    assert!(matches!(rig.last(), Fact::KeysetRefused(_)), "a root that is out comes back");
    let events = rig.events().len();
    rig.send(Input::Keyset(keyset(1)));
    assert_eq!(rig.events().len(), events, "that of the settings is of a root that is out by now");
    assert_eq!(rig.connect().keyset, 9);
}

#[test]
fn after_six_hours_without_network_forty_collections_arrive_in_order() {
    let mut rig = Rig::holding(&[(3, "A0", "12345678")]);
    rig.send(Input::Disconnected);
    let newest = rig.events().len() as u64;
    for _ in 0..40 {
        rig.wait(540_000);
        rig.open_door(5);
        rig.close_door(5);
    }
    let hello = hello(&rig.send(Input::Connected)).unwrap();
    let mut effects = rig.down(Welcome { epoch: hello.epoch, high_water: newest });
    let mut next = newest + 1;
    while let Some((from, to)) = batches(&effects).first().copied() {
        assert_eq!(from, next);
        next = to + 1;
        effects = rig.send(Input::EventsAcked { up_to: to });
    }
    assert_eq!(next, hello.newest + 1);
}

fn mark(rig: &Rig, epoch: Epoch, high_water: u64, key: &ed25519_dalek::SigningKey) -> Down {
    let challenge = rig.challenge.unwrap();
    let message =
        CodesMessage::from(FleetTime { challenge, now: 5_000_000, mark: Some(EventMark { epoch, high_water }) });
    CodesEnvelope { envelope: signed(&message, KeyPurpose::Codes, key) }.into()
}

/// Numbers would be given twice, so what is told from here on has an epoch of its own.
#[test]
fn a_cabinet_whose_store_was_put_back_begins_an_epoch_and_has_everything_looked_at() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    let first = rig.connect();
    let welcome = Welcome { epoch: first.epoch, high_water: first.newest + 5 };
    assert_eq!(batches(&rig.down(welcome)), [], "which of its events the fleet has cannot be told");
    let effects = rig.down(mark(&rig, first.epoch, first.newest + 5, &codes_key()));
    let again = hello(&effects).expect("it says hello anew");
    assert_ne!(again.epoch, first.epoch);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::AuditRequired(_))), 5);
    assert_eq!(batches(&rig.down(Welcome { epoch: again.epoch, high_water: again.oldest - 1 })).len(), 1);
    rig.restart();
    assert_eq!(rig.connect().epoch, again.epoch);
}

#[test]
fn a_cabinet_that_dies_before_the_first_event_of_a_new_epoch_starts_again() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    for _ in 0..2 {
        let first = rig.connect();
        let behind = Welcome { epoch: first.epoch, high_water: first.newest + 5 };
        rig.send(Input::Disconnected);
        rig.send(Input::Connected);
        rig.down(behind);
        rig.down(mark(&rig, first.epoch, first.newest + 5, &codes_key()));
    }
    assert_eq!(
        schemas::step::Store::rows(&rig.store, cabinet_core::EVENTS).unwrap(),
        [],
        "every bay is in doubt already"
    );
    rig.restart();
    let hello = rig.connect();
    assert_eq!(hello.oldest, hello.newest, "that it has started");
}

/// The truth may be that A1 was collected long ago and somebody else's goods are behind its door.
#[test]
fn no_code_opens_a_compartment_of_a_store_that_was_put_back_until_staff_have_looked() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
    let first = rig.connect();
    rig.down(Welcome { epoch: first.epoch, high_water: first.newest + 5 });
    rig.down(mark(&rig, first.epoch, first.newest + 5, &codes_key()));
    rig.restart();
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::OutOfService));
    let session = rig.log_in("111111");
    let look = |compartment: u16| Input::ConfirmLoaded { session, compartment: number(compartment), inside: true };
    rig.send(look(3));
    assert_eq!(only_pulse(&rig.enter("12345678")).compartment, 3);
    let effects = rig.send(Input::Retrieve { session, order: order("A2") });
    let pulse = only_pulse(&effects);
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    assert!(!rig.view(4).allocated && rig.view(4).fault, "its content is out, the doubt is not");
    rig.send(Input::ConfirmLoaded { session, compartment: number(4), inside: false });
    assert!(!rig.view(4).fault && !rig.view(4).audit_required);
}

#[test]
fn a_mark_of_the_past_of_another_epoch_or_of_another_key_begins_no_epoch() {
    let mut rig = Rig::online();
    let first = rig.connect();
    rig.down(mark(&rig, first.epoch, first.newest, &codes_key()));
    rig.ask();
    rig.down(mark(&rig, Epoch([9; 8]), first.newest + 5, &codes_key()));
    rig.ask();
    rig.down(mark(&rig, first.epoch, first.newest + 50, &unlock_key()));
    assert_eq!(rig.connect().epoch, first.epoch);
}

/// Another door's lock opens it; that mends nothing about what may be behind it.
#[test]
fn a_wrong_door_does_not_end_the_doubt_of_a_store_that_was_put_back() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    let first = rig.connect();
    rig.down(Welcome { epoch: first.epoch, high_water: first.newest + 5 });
    let again = hello(&rig.down(mark(&rig, first.epoch, first.newest + 5, &codes_key()))).unwrap();
    rig.down(Welcome { epoch: again.epoch, high_water: again.newest });
    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.open_door(3);
    rig.close_door(3);
    let command = rig.command(3, Expect::order(order("A1")));
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.open_door(3);
    rig.close_door(3);
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::OutOfService));
}

/// The signed time names what the fleet had when it was signed; events that are on their way since are not sent twice.
#[test]
fn a_mark_that_is_behind_what_was_sent_sends_nothing_again() {
    let mut rig = Rig::online();
    let epoch = rig.connect().epoch;
    rig.ask();
    let effects = rig.down(mark(&rig, epoch, 1, &codes_key()));
    assert_eq!((batches(&effects), hello(&effects)), (vec![], None));
    assert_eq!(rig.core.view().fleet_millis, Some(5_000_000), "the time itself was taken");
}

#[test]
fn the_oldest_event_that_is_offered_is_one_that_is_on_the_disk() {
    let mut rig = Rig::blank();
    for board in 0..1_200 {
        rig.send(Input::Board { board, answering: false });
    }
    let first = hello(&rig.send(Input::Connected)).unwrap();
    let mut effects = rig.down(Welcome { epoch: first.epoch, high_water: 0 });
    // As far as the first acknowledgement that removes something.
    loop {
        let (_, to) = *batches(&effects).first().expect("all were acknowledged and none removed");
        let step = rig.step(Input::EventsAcked { up_to: to });
        rig.commit(&step.writes);
        effects = step.effects;
        if !step.writes.is_empty() {
            break;
        }
    }
    rig.restart();
    let rows = schemas::step::Store::rows(&rig.store, cabinet_core::EVENTS).unwrap();
    let oldest = hello(&rig.send(Input::Connected)).unwrap().oldest;
    assert_eq!(rows[0].0, cabinet_core::event_key(oldest));
    assert!(oldest > 1, "nothing was removed");
}

#[test]
fn a_keyset_that_breaks_a_rule_is_refused_whole() {
    let unlock = || public_entry(&unlock_key(), KeyPurpose::Unlock);
    let pepper = pepper_key().public_key().to_sec1_point(true);
    let compressed =
        Key { id: key_id(pepper.as_bytes()), purpose: KeyPurpose::Pepper, public: Blob(pepper.as_bytes().to_vec()) };
    let of = |tenant: &str, version, keys| Keyset::new(tenant.parse().unwrap(), version, 0, keys);
    for (what, keyset, sound) in [
        ("version 0", of("acme", 0, vec![unlock()]), false),
        ("another tenant", of("umbra", 1, vec![unlock()]), false),
        ("too many keys", of("acme", 1, vec![unlock(); 65]), false),
        ("a pepper key in its short form", of("acme", 1, vec![unlock(), compressed]), false),
        ("as many keys as there may be", of("acme", 1, vec![unlock(); 64]), true),
    ] {
        let mut rig = Rig::blank();
        rig.send(Input::Keyset(signed_keyset(&keyset)));
        let refused = Fact::from(KeysetRefused { version: Some(keyset.version), reason: RefusalReason::Malformed });
        assert_eq!(rig.last() != refused, sound, "{what}");
        assert_eq!(hello(&rig.send(Input::Connected)).unwrap().keyset, u64::from(sound), "{what}");
    }
}

/// What the fleet may have of earlier runs keeps its numbers; the first run of which it may have nothing is told anew.
#[test]
fn a_new_epoch_begins_with_the_first_run_of_which_the_fleet_may_not_have_heard() {
    let put_back = |rig: &mut Rig| {
        let (first, newest) = (hello(&rig.send(Input::Connected)).unwrap(), rig.events().len() as u64);
        rig.down(Welcome { epoch: first.epoch, high_water: newest + 5 });
        let again = hello(&rig.down(mark(rig, first.epoch, newest + 5, &codes_key()))).unwrap();
        assert_ne!(again.epoch, first.epoch);
        again.oldest
    };
    let restart = |rig: &mut Rig| {
        rig.restart();
        assert!(matches!(rig.last(), Fact::Started(_)));
        rig.events().len() as u64
    };
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    let (first, _second) = (restart(&mut rig), restart(&mut rig));
    assert_eq!(put_back(&mut rig), first, "it has heard of neither run");

    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    let first = restart(&mut rig);
    let epoch = hello(&rig.send(Input::Connected)).unwrap().epoch;
    rig.down(Welcome { epoch, high_water: first });
    rig.send(Input::Board { board: 1, answering: false });
    let second = restart(&mut rig);
    assert_eq!(put_back(&mut rig), second, "it has heard of the first");
}

#[test]
fn what_the_fleet_has_is_still_known_after_a_restart() {
    let mut rig = Rig::blank();
    for board in 0..5 {
        rig.send(Input::Board { board, answering: false });
    }
    rig.connect();
    rig.restart();
    assert_eq!(rig.core.view().outbox, 1, "that it has started");
}
