//! Unlocks that people sign themselves, as far as the fleet carries them.

use ed25519_dalek::SigningKey;
use fleet_core::Effect;
use schemas::api::{ChallengeIssued, HexBytes, Reply, Request, RequestErrorCode};
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{Scope, public_entry, sign};
use schemas::messages::{
    Action, Command, CommandId, CommandRefused, DelegatedCabinets, DelegatedTenant, Delegation, Expect, Instance,
    KeyPurpose, Keyset, LoadOrder, RefusalReason, Roots, Size, Unlock, UnlockDone, UnlockOutcome,
};
use schemas::topics::Up;

use crate::world::{START, World, c1, door, order, tenant};

const EVE: &str = "operator:acme:eve";
const DAY: u64 = 86_400_000;

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

/// Admin key 20, epoch 2, no unlock key of the fleet.
fn keyset() -> Vec<u8> {
    let root = |byte| public_entry(&key(byte), KeyPurpose::Keyset);
    let keys = vec![public_entry(&key(20), KeyPurpose::Admin)];
    let roots = Some(Roots { first: root(1), second: root(2) });
    let keyset = Keyset { roots, epoch: Some(2), ..Keyset::new(tenant(), 2, START, keys) };
    sign(cbor::encode(&keyset), Scope::Tenant { tenant: &tenant(), purpose: KeyPurpose::Keyset }, &key(1))
}

fn world() -> World {
    let mut world = World::new(&[Size::S; 2]);
    let put = world.ask(EVE, &Request::KeysetPut { envelope: HexBytes(keyset()) });
    assert_eq!(put, Some(Reply::Done));
    world
}

fn delegation() -> Delegation {
    Delegation {
        tenant: tenant(),
        person: EVE.parse().unwrap(),
        public: Blob(key(30).verifying_key().to_bytes().to_vec()),
        scope: DelegatedTenant {}.into(),
        epoch: 2,
        not_after: START + DAY,
    }
}

fn vouched(delegation: &Delegation, by: u8) -> HexBytes {
    let scope = Scope::Tenant { tenant: &tenant(), purpose: KeyPurpose::Admin };
    HexBytes(sign(cbor::encode(delegation), scope, &key(by)))
}

fn challenge(world: &mut World) -> ChallengeIssued {
    let reply = world.ask(EVE, &Request::Challenge { cabinet: c1(), compartment: Some(door(1)) });
    let Some(Reply::Challenge(issued)) = reply else { panic!("{reply:?}") };
    issued
}

fn command(issued: &ChallengeIssued, id: u8) -> Command {
    let unlock = Unlock { compartment: issued.compartment.unwrap(), expects: Expect::of(issued.order.as_ref()) };
    Command {
        id: CommandId([id; 16]),
        challenge: issued.challenge.into(),
        issued: START,
        action: Action::from(unlock),
        requester: EVE.into(),
    }
}

fn signed(command: &Command, instance: Instance, by: u8) -> HexBytes {
    let (tenant, cabinet) = (tenant(), c1());
    let scope = Scope::Cabinet { tenant: &tenant, cabinet: &cabinet, instance, purpose: KeyPurpose::Unlock };
    HexBytes(sign(cbor::encode(command), scope, &key(by)))
}

fn request(envelope: HexBytes, delegation: HexBytes) -> Request {
    Request::UnlockSigned { cabinet: c1(), envelope, delegation, reason: "customer called".into() }
}

/// Refused at once, and nothing was sent.
fn refused(world: &mut World, what: &str, request: &Request, code: RequestErrorCode) {
    let Some(Reply::Error(error)) = world.ask(EVE, request) else { panic!("{what}: it was carried") };
    assert_eq!(error.code, code, "{what}: {}", error.message);
    assert!(world.cabinets[&c1()].personal.is_empty(), "{what}");
}

#[test]
fn a_signed_unlock_is_carried_as_it_came_and_its_outcome_told() {
    let mut world = world();
    let issued = challenge(&mut world);
    assert_eq!((issued.order.as_ref(), issued.instance), (None, Instance([7; 16])));
    let command = command(&issued, 5);
    let (envelope, delegation) = (signed(&command, issued.instance, 30), vouched(&delegation(), 20));
    assert_eq!(world.ask(EVE, &request(envelope.clone(), delegation.clone())), None);
    let ticket = world.ticket;
    let carried = world.cabinets[&c1()].personal.clone();
    assert_eq!((&carried[0].envelope.0, &carried[0].delegation.0), (&envelope.0, &delegation.0));
    assert!(world.cabinets[&c1()].commands.is_empty(), "the signer was asked for nothing");
    let Some(Reply::Error(error)) = world.ask(EVE, &request(envelope, delegation)) else { panic!("carried twice") };
    assert_eq!(error.code, RequestErrorCode::Conflict);
    world.fact(&c1(), UnlockDone { id: command.id, compartment: door(1), outcome: UnlockOutcome::Opened });
    let Some(Reply::Unlock(result)) = world.reply(ticket) else { panic!("no outcome") };
    assert_eq!((result.command, result.outcome), (command.id, UnlockOutcome::Opened));
}

#[test]
fn a_refusal_of_the_cabinet_reaches_whoever_asked() {
    let mut world = world();
    let issued = challenge(&mut world);
    let command = command(&issued, 5);
    world.ask(EVE, &request(signed(&command, issued.instance, 30), vouched(&delegation(), 20)));
    let ticket = world.ticket;
    world.fact(&c1(), CommandRefused { id: Some(command.id), reason: RefusalReason::TimeUnknown });
    let Some(Reply::Error(error)) = world.reply(ticket) else { panic!("no answer") };
    assert_eq!(error.code, RequestErrorCode::Refused);
    assert!(error.message.contains("time_unknown"), "{}", error.message);
}

#[test]
fn what_no_cabinet_would_take_is_not_carried() {
    let mut world = world();
    let issued = challenge(&mut world);
    let good = command(&issued, 5);
    let instance = issued.instance;
    let delegation = delegation();
    let other = |change: fn(&mut Delegation)| {
        let mut changed = delegation.clone();
        change(&mut changed);
        vouched(&changed, 20)
    };
    let fine = || signed(&good, instance, 30);
    let elsewhere = DelegatedCabinets { cabinets: vec!["c9".parse().unwrap()] };
    let vouched_elsewhere = vouched(&Delegation { scope: elsewhere.into(), ..delegation.clone() }, 20);
    let of_ben = Command { requester: "support:acme:ben".into(), ..good.clone() };
    use RequestErrorCode::{Forbidden, Malformed, Refused};
    for (what, envelope, delegation, code) in [
        ("another admin key", fine(), vouched(&delegation, 21), Refused),
        ("a lower epoch", fine(), other(|one| one.epoch = 1), Refused),
        ("ended", fine(), other(|one| one.not_after = START - 1), Refused),
        ("another cabinet", fine(), vouched_elsewhere, Refused),
        ("another tenant", fine(), other(|one| one.tenant = "umbra".parse().unwrap()), Malformed),
        ("no delegation", fine(), HexBytes(vec![1, 2, 3]), Malformed),
        ("another key", signed(&good, instance, 31), vouched(&delegation, 20), Refused),
        ("another enrolment", signed(&good, Instance([8; 16]), 30), vouched(&delegation, 20), Refused),
        ("another requester", signed(&of_ben, instance, 30), vouched(&delegation, 20), Forbidden),
        ("no command", HexBytes(vec![0x80]), vouched(&delegation, 20), Malformed),
    ] {
        refused(&mut world, what, &request(envelope, delegation), code);
    }
    for who in ["technician:acme:tom", "auditor:acme:ann"] {
        for asked in [
            request(fine(), vouched(&delegation, 20)),
            Request::Challenge { cabinet: c1(), compartment: Some(door(1)) },
        ] {
            let Some(Reply::Error(error)) = world.ask(who, &asked) else { panic!("{who} may") };
            assert_eq!(error.code, Forbidden);
        }
    }
    let mut without = World::new(&[Size::S; 2]);
    refused(&mut without, "no keyset", &request(fine(), vouched(&delegation, 20)), Refused);
}

#[test]
fn a_challenge_is_fresh_or_asked_for_and_nobody_waits_for_ever() {
    let mut world = world();
    world.pass(60_000);
    let asks = world.cabinets[&c1()].asks;
    let asked = Request::Challenge { cabinet: c1(), compartment: Some(door(2)) };
    assert_eq!(world.ask(EVE, &asked), None);
    let ticket = world.ticket;
    assert_eq!(world.cabinets[&c1()].asks, asks + 1);
    world.cabinet(&c1()).challenge += 1;
    let fresh = world.cabinets[&c1()].challenge();
    world.up(&c1(), Up::Challenge, cbor::encode(&fresh));
    let Some(Reply::Challenge(issued)) = world.reply(ticket) else { panic!("no challenge") };
    assert_eq!((issued.challenge.counter, issued.compartment), (fresh.counter, Some(door(2))));

    world.pass(60_000);
    assert_eq!(world.ask(EVE, &asked), None);
    let ticket = world.ticket;
    world.pass(10_000);
    let Some(Reply::Error(error)) = world.reply(ticket) else { panic!("still waits") };
    assert_eq!(error.code, RequestErrorCode::Timeout);

    assert_eq!(world.ask(EVE, &asked), None);
    let ticket = world.ticket;
    world.disconnect(&c1());
    let Some(Reply::Error(error)) = world.reply(ticket) else { panic!("waits for a cabinet that is gone") };
    assert_eq!(error.code, RequestErrorCode::CabinetOffline);
    let Some(Reply::Error(error)) = world.ask(EVE, &asked) else { panic!("offline") };
    assert_eq!(error.code, RequestErrorCode::CabinetOffline);
    assert!(!world.seen.iter().any(|effect| matches!(effect, Effect::Refuse { .. })));
}

/// What the cabinet chooses is signed without a compartment, and by nobody for whom no delegation can be.
#[test]
fn a_signed_load_is_carried_and_an_agent_that_knows_none_is_spared() {
    let mut world = world();
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    let reply = world.ask(EVE, &Request::Challenge { cabinet: c1(), compartment: None });
    let Some(Reply::Challenge(issued)) = reply else { panic!("{reply:?}") };
    assert_eq!((issued.compartment, issued.order), (None, None));
    let action: Action = LoadOrder { order: order("A1"), compartment: None, size: None }.into();
    let load = |id| Command {
        id: CommandId([id; 16]),
        challenge: issued.challenge.into(),
        issued: START,
        action: action.clone(),
        requester: EVE.into(),
    };
    let asked = |id| request(signed(&load(id), issued.instance, 30), vouched(&delegation(), 20));
    assert_eq!(world.ask(EVE, &asked(5)), None);
    let ticket = world.ticket;
    assert_eq!(world.cabinets[&c1()].personal.len(), 1);
    world.fact(&c1(), UnlockDone { id: CommandId([5; 16]), compartment: door(2), outcome: UnlockOutcome::Opened });
    let Some(Reply::Unlock(result)) = world.reply(ticket) else { panic!("no outcome") };
    assert_eq!(result.compartment, door(2), "where the cabinet says");
    let Some(Reply::Error(error)) = world.ask("staff:acme:sam", &asked(6)) else { panic!("carried") };
    assert_eq!(error.code, RequestErrorCode::Forbidden);
    world.cabinet(&c1()).personal.clear();
    world.cabinet(&c1()).errands = false;
    world.connect(&c1());
    refused(&mut world, "an older agent", &asked(7), RequestErrorCode::Refused);
}

/// The command names the order as its label does; which of its doors is next is on record.
#[test]
fn a_signed_command_about_an_order_in_two_compartments_means_the_next_one() {
    let mut world = world();
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","more":["S"],"category":"retail"}"#);
    crate::handover::load(&mut world, "A1", 1);
    let reply = world.ask(EVE, &Request::Challenge { cabinet: c1(), compartment: None });
    let Some(Reply::Challenge(issued)) = reply else { panic!("{reply:?}") };
    let command = Command {
        id: CommandId([5; 16]),
        challenge: issued.challenge.into(),
        issued: START,
        action: LoadOrder { order: order("A1"), compartment: None, size: None }.into(),
        requester: EVE.into(),
    };
    let asked = request(signed(&command, issued.instance, 30), vouched(&delegation(), 20));
    assert_eq!(world.ask(EVE, &asked), None);
    let unlocks = crate::history::list(&mut world);
    assert_eq!(unlocks[0].compartment, door(2), "{unlocks:?}");
}
