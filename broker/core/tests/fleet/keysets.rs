//! Keysets: what the fleet takes from an operator, keeps, and hands on to cabinets in their order.

use ed25519_dalek::SigningKey;
use fleet_core::{Effect, Input, KEYSETS, ROOT_CHANGES_MAX};
use schemas::api::{HexBytes, KeysetList, Reply, Request, RequestErrorCode};
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{Scope, key_id, public_entry, sign, unverified_payload};
use schemas::messages::{
    Down, Key, KeyId, KeyPurpose, Keyset, KeysetApplied, KeysetRefused, RefusalReason, Roots, Size,
};
use schemas::step::{RESTORED, Store as _, Write};
use schemas::topics::Up;

use crate::world::{FakeCabinet, START, World, c1, pepper_key, tenant};

const EVE: &str = "operator:acme:eve";

fn key(byte: u8, purpose: KeyPurpose) -> Key {
    public_entry(&SigningKey::from_bytes(&[byte; 32]), purpose)
}

fn roots([first, second]: [u8; 2]) -> Roots {
    Roots { first: key(first, KeyPurpose::Keyset), second: key(second, KeyPurpose::Keyset) }
}

fn by(root: u8, keyset: &Keyset) -> Vec<u8> {
    let scope = Scope::Tenant { tenant: &tenant(), purpose: KeyPurpose::Keyset };
    sign(cbor::encode(keyset), scope, &SigningKey::from_bytes(&[root; 32]))
}

/// A keyset that names its roots, as every one of `fleet keys` does.
fn keyset(version: u64, pair: [u8; 2], root: u8) -> Vec<u8> {
    let keys = vec![key(100, KeyPurpose::Unlock)];
    by(root, &Keyset { roots: Some(roots(pair)), ..Keyset::new(tenant(), version, START, keys) })
}

/// Gives the fleet a keyset with a key to which peppers and answers are sealed.
pub(crate) fn with_pepper_key(world: &mut World) {
    let point = p256::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&pepper_key().public_key(), false);
    let public = Blob(point.as_bytes().to_vec());
    let pepper = Key { id: key_id(point.as_bytes()), purpose: KeyPurpose::Pepper, public };
    let keys = vec![key(100, KeyPurpose::Unlock), pepper];
    let keyset = Keyset { roots: Some(roots([1, 2])), ..Keyset::new(tenant(), 1, START, keys) };
    taken(world, &by(1, &keyset));
}

fn put(world: &mut World, envelope: &[u8]) -> Reply {
    world.ask(EVE, &Request::KeysetPut { envelope: HexBytes(envelope.to_vec()) }).unwrap()
}

fn taken(world: &mut World, envelope: &[u8]) {
    assert_eq!(put(world, envelope), Reply::Done);
}

fn refused(world: &mut World, envelope: &[u8]) -> RequestErrorCode {
    let rows = world.store.rows(KEYSETS).unwrap();
    let Reply::Error(error) = put(world, envelope) else { panic!("it was taken") };
    assert_eq!(world.store.rows(KEYSETS).unwrap(), rows);
    error.code
}

fn list(world: &mut World) -> KeysetList {
    let Some(Reply::Keysets(list)) = world.ask(EVE, &Request::KeysetList {}) else { panic!("no list") };
    *list
}

/// Versions that were sent to the cabinet so far.
fn sent(world: &World) -> Vec<u64> {
    let version = |envelope: &Vec<u8>| cbor::decode::<Keyset>(&unverified_payload(envelope).unwrap()).unwrap().version;
    world.cabinets[&c1()].keysets.iter().map(version).collect()
}

fn apply(world: &mut World, version: u64) {
    world.cabinet(&c1()).keyset = version;
    world.fact(&c1(), KeysetApplied { version, root: KeyId([1; 8]) });
}

/// The cabinet has been away and holds this version.
fn come_back(world: &mut World, version: u64) {
    world.disconnect(&c1());
    world.cabinet(&c1()).keyset = version;
    world.cabinet(&c1()).keysets.clear();
    world.connect(&c1());
}

#[test]
fn the_first_keyset_names_its_roots_and_each_later_one_is_signed_by_a_root_of_the_one_before() {
    let mut world = World::new(&[Size::S]);
    let nameless = by(1, &Keyset::new(tenant(), 1, START, vec![]));
    assert_eq!(refused(&mut world, &nameless), RequestErrorCode::Malformed);
    assert_eq!(refused(&mut world, &keyset(1, [1, 2], 3)), RequestErrorCode::Refused, "signed by neither");
    taken(&mut world, &keyset(1, [1, 2], 1));
    taken(&mut world, &keyset(2, [3, 2], 2));
    assert_eq!(refused(&mut world, &keyset(3, [1, 2], 1)), RequestErrorCode::Refused, "the root that is out");
    taken(&mut world, &by(3, &Keyset::new(tenant(), 3, START, vec![])));
    assert_eq!(list(&mut world).roots, roots([3, 2]).both().map(|root| root.id), "they stay where none are named");
}

#[test]
fn what_breaks_a_rule_is_refused_with_its_reason_and_changes_nothing() {
    let mut world = World::new(&[Size::S]);
    taken(&mut world, &keyset(5, [1, 2], 1));
    let other = Keyset { tenant: "umbra".parse().unwrap(), ..Keyset::new(tenant(), 6, START, vec![]) };
    let inside = Keyset::new(tenant(), 6, START, vec![key(2, KeyPurpose::Unlock)]);
    let equal = Keyset { roots: Some(roots([3, 3])), ..Keyset::new(tenant(), 6, START, vec![]) };
    let far = Keyset::new(tenant(), Keyset::VERSION_MAX + 1, START, vec![]);
    for (what, envelope, code) in [
        ("bytes", vec![0xff; 40], RequestErrorCode::Malformed),
        ("another tenant", by(1, &other), RequestErrorCode::Malformed),
        ("a root that signs commands", by(1, &inside), RequestErrorCode::Malformed),
        ("equal roots", by(1, &equal), RequestErrorCode::Malformed),
        ("a version beyond any", by(1, &far), RequestErrorCode::Malformed),
        ("an older version", keyset(4, [1, 2], 1), RequestErrorCode::Conflict),
        ("the same version, other content", keyset(5, [1, 2], 2), RequestErrorCode::Conflict),
    ] {
        assert_eq!(refused(&mut world, &envelope), code, "{what}");
    }
    let mut flipped = keyset(6, [1, 2], 1);
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&mut world, &flipped), RequestErrorCode::Refused);
    assert_eq!(world.cabinets[&c1()].keysets, [keyset(5, [1, 2], 1)]);
    taken(&mut world, &keyset(5, [1, 2], 1));
    assert_eq!(sent(&world), [5], "the same again is no news");
    for who in ["support:acme:ben", "technician:acme:tom", "auditor:acme:ann", "integration:acme:shop"] {
        let reply = world.ask(who, &Request::KeysetPut { envelope: HexBytes(keyset(6, [1, 2], 1)) });
        let Some(Reply::Error(error)) = reply else { panic!("{who}: {reply:?}") };
        assert_eq!(error.code, RequestErrorCode::Forbidden);
    }
}

#[test]
fn a_cabinet_that_was_away_gets_every_change_of_roots_in_order_and_then_the_newest() {
    let mut world = World::new(&[Size::S]);
    for envelope in [
        keyset(1, [1, 2], 1),
        keyset(2, [1, 2], 1),
        keyset(3, [3, 2], 2),
        keyset(4, [3, 2], 3),
        keyset(6, [3, 4], 3),
        keyset(7, [3, 4], 4),
    ] {
        taken(&mut world, &envelope);
    }
    assert_eq!(sent(&world), [2, 3, 4, 6, 7], "it held the first and got each later one at once");
    world.restart();
    for (held, missing) in [(0, &[1, 3, 6, 7][..]), (1, &[3, 6, 7]), (2, &[3, 6, 7]), (4, &[6, 7]), (7, &[])] {
        come_back(&mut world, held);
        assert_eq!(sent(&world), missing, "from {held}");
    }
    let list = list(&mut world);
    assert_eq!(list.kept.iter().map(|kept| kept.version).collect::<Vec<_>>(), [1, 3, 6, 7]);
    assert_eq!(list.kept.iter().map(|kept| kept.changes_roots).collect::<Vec<_>>(), [true, true, true, false]);
}

#[test]
fn keysets_go_ahead_of_what_the_signer_makes() {
    let mut world = World::new(&[Size::S]);
    taken(&mut world, &keyset(2, [1, 2], 1));
    world.disconnect(&c1());
    world.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() });
    let hello = cbor::encode(&world.cabinets[&c1()].hello());
    let effects =
        world.step(Input::CabinetUp { tenant: tenant(), cabinet: c1(), up: Up::Hello, payload: hello }).effects;
    let is_keyset = |effect: &Effect| match effect {
        Effect::Down { payload, .. } => matches!(cbor::decode(payload), Ok(Down::Keyset(_))),
        _ => false,
    };
    let keyset = effects.iter().position(is_keyset).unwrap();
    let signer = effects.iter().position(|effect| matches!(effect, Effect::Signer { .. })).unwrap();
    assert!(keyset < signer, "{effects:?}");
}

#[test]
fn a_long_chain_goes_in_pieces_and_a_repeated_hello_doubles_nothing() {
    let mut world = World::new(&[Size::S]);
    world.disconnect(&c1());
    for version in 1..=20 {
        // Each time root 1 makes place for another; root 200 stays and signs.
        taken(&mut world, &keyset(version, [u8::try_from(version).unwrap(), 200], 200));
    }
    world.connect(&c1());
    assert_eq!(sent(&world), (2..=17).collect::<Vec<_>>());
    apply(&mut world, 2);
    let hello = cbor::encode(&world.cabinets[&c1()].hello());
    world.up(&c1(), Up::Hello, hello);
    assert_eq!(sent(&world).len(), 16, "a new pepper key makes a cabinet say hello again");
    (3..=17).for_each(|version| apply(&mut world, version));
    assert_eq!(sent(&world), (2..=20).collect::<Vec<_>>());
}

#[test]
fn a_refused_keyset_is_an_alarm_and_the_next_one_is_sent_all_the_same() {
    let mut world = World::new(&[Size::S]);
    taken(&mut world, &keyset(1, [1, 2], 1));
    taken(&mut world, &keyset(2, [1, 2], 1));
    let refusal = KeysetRefused { version: None, reason: RefusalReason::UnknownKey };
    let effects = world.fact(&c1(), refusal);
    let alarm = |effect: &Effect| matches!(effect, Effect::Alarm { text } if text.contains("acme/c1 refused a keyset"));
    assert!(effects.iter().any(alarm), "{effects:?}");
    assert_eq!(sent(&world), [2], "it is not sent again and again");
    taken(&mut world, &keyset(3, [1, 2], 1));
    assert_eq!(sent(&world), [2, 3]);
    come_back(&mut world, 1);
    assert_eq!(sent(&world), [3]);
}

#[test]
fn a_fleet_that_was_put_back_says_that_it_is_behind_and_sends_nothing() {
    let mut world = World::new(&[Size::S]);
    taken(&mut world, &keyset(2, [1, 2], 1));
    apply(&mut world, 2);
    let mut backup = world.store.clone();
    let newer = [keyset(3, [3, 2], 2), keyset(4, [3, 2], 3)];
    newer.iter().for_each(|envelope| taken(&mut world, envelope));
    apply(&mut world, 4);
    backup.commit(&[Write::put(RESTORED.0, RESTORED.1, cbor::encode(&START))]).unwrap();
    world.store = backup;
    world.restart();
    world.seen.clear();
    world.cabinet(&c1()).keysets.clear();
    world.connect(&c1());
    let behind = |effect: &&Effect| matches!(effect, Effect::Alarm { text } if text.contains("holds keyset 4"));
    assert_eq!(world.seen.iter().filter(behind).count(), 1);
    world.disconnect(&c1());
    world.connect(&c1());
    assert_eq!(world.seen.iter().filter(behind).count(), 1, "the same is told once");
    assert!(sent(&world).is_empty());
    newer.iter().for_each(|envelope| taken(&mut world, envelope));
    assert!(sent(&world).is_empty(), "it holds them");
    come_back(&mut world, 2);
    assert_eq!(sent(&world), [3, 4]);
}

#[test]
fn everybody_who_looks_after_keys_sees_who_holds_what() {
    let mut world = World::new(&[Size::S]);
    assert_eq!(list(&mut world).newest, 0);
    world.add(FakeCabinet::new("c2", &[Size::S]));
    taken(&mut world, &keyset(2, [1, 2], 1));
    apply(&mut world, 2);
    for who in [EVE, "technician:acme:tom", "auditor:acme:ann"] {
        let Some(Reply::Keysets(list)) = world.ask(who, &Request::KeysetList {}) else { panic!("{who}") };
        assert_eq!(
            (list.newest, list.keys[0].id, list.keys[0].purpose),
            (2, key(100, KeyPurpose::Unlock).id, KeyPurpose::Unlock)
        );
        let held: Vec<_> = list.held.iter().map(|row| (row.version, row.cabinets, row.names[0].as_str())).collect();
        assert_eq!(held, [(0, 1, "c2"), (2, 1, "c1")]);
        assert_eq!((list.kept[0].by.as_str(), list.kept[0].signer), (EVE, roots([1, 2]).first.id));
    }
    let elsewhere = world.ask("operator:umbra:mal", &Request::KeysetList {});
    let Some(Reply::Keysets(elsewhere)) = elsewhere else { panic!("{elsewhere:?}") };
    assert!(elsewhere.kept.is_empty() && elsewhere.held.is_empty());
}

#[test]
fn changes_of_roots_are_bounded() {
    let mut world = World::empty();
    let pair = |n: usize| if n.is_multiple_of(2) { [1, 2] } else { [1, 3] };
    for n in 0..ROOT_CHANGES_MAX {
        taken(&mut world, &keyset(n as u64 + 1, pair(n), 1));
    }
    let next = ROOT_CHANGES_MAX as u64 + 1;
    assert_eq!(refused(&mut world, &keyset(next, pair(ROOT_CHANGES_MAX), 1)), RequestErrorCode::Conflict);
    taken(&mut world, &keyset(next, pair(ROOT_CHANGES_MAX - 1), 1));
}
