//! Commands that people sign with keys of their own: for whom, where, until when, and then by the rules of every command.

use cabinet_core::{Effect, Input};
use ed25519_dalek::SigningKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{Scope, public_entry, sign};
use schemas::messages::*;

use crate::rig::*;

const NOW: u64 = 1_795_378_500_000;

fn admin() -> SigningKey {
    SigningKey::from_bytes(&[21; 32])
}

fn eve() -> SigningKey {
    SigningKey::from_bytes(&[22; 32])
}

fn delegation() -> Delegation {
    Delegation {
        tenant: "acme".parse().unwrap(),
        person: "operator:acme:eve".parse().unwrap(),
        public: Blob(eve().verifying_key().to_bytes().to_vec()),
        scope: DelegatedTenant {}.into(),
        epoch: 2,
        not_after: NOW + 86_400_000,
    }
}

fn only(cabinets: &[&str]) -> DelegationScope {
    DelegatedCabinets { cabinets: cabinets.iter().map(|name| name.parse().unwrap()).collect() }.into()
}

fn vouch(delegation: &Delegation, by: &SigningKey) -> Blob {
    let scope = Scope::Tenant { tenant: &"acme".parse().unwrap(), purpose: KeyPurpose::Admin };
    Blob(sign(cbor::encode(delegation), scope, by))
}

/// A keyset with an admin key and no unlock key of the fleet.
fn people_only(version: u64, epoch: u64) -> Vec<u8> {
    let keys = vec![public_entry(&admin(), KeyPurpose::Admin), public_entry(&codes_key(), KeyPurpose::Codes)];
    signed_keyset(&Keyset { epoch: Some(epoch), ..Keyset::new("acme".parse().unwrap(), version, 0, keys) })
}

fn rig() -> Rig {
    let mut rig = Rig::online();
    rig.send(Input::Keyset(people_only(2, 2)));
    rig.connect();
    rig.set_time(NOW);
    rig
}

fn send(rig: &mut Rig, command: &Command, by: &SigningKey, delegation: Blob) -> Vec<Effect> {
    rig.down(PersonalCommand { envelope: signed(command, KeyPurpose::Unlock, by), delegation })
}

fn refused(id: Option<CommandId>, reason: RefusalReason) -> Fact {
    CommandRefused { id, reason }.into()
}

/// Nothing moves, and this is what the cabinet tells.
fn refuses(rig: &mut Rig, what: &str, delegation: Blob, reason: RefusalReason, named: bool) {
    let command = rig.command(4, Expect::empty());
    let effects = send(rig, &command, &eve(), delegation);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Pulse { .. })), "{what}");
    assert_eq!(rig.last(), refused(named.then_some(command.id), reason), "{what}");
    rig.wait(1_000);
}

#[test]
fn a_person_opens_with_an_own_key_what_the_fleet_itself_cannot() {
    let mut rig = rig();
    let command = rig.command(4, Expect::empty());
    rig.send_command(&command);
    assert_eq!(rig.last(), refused(None, RefusalReason::UnknownKey), "the fleet's former unlock key");
    for scope in [DelegatedTenant {}.into(), only(&["c0", "c1"])] {
        let command = rig.command(4, Expect::empty());
        let pulse =
            only_pulse(&send(&mut rig, &command, &eve(), vouch(&Delegation { scope, ..delegation() }, &admin())));
        rig.sent(pulse);
        rig.open_door(4);
        let by = ActorCommand { id: command.id, requester: "operator:acme:eve".into() }.into();
        assert!(rig.has(DoorOpened { compartment: number(4), by }));
        rig.close_door(4);
    }
}

#[test]
fn a_delegation_opens_nothing_beyond_its_scope_epoch_date_or_person() {
    let mut rig = rig();
    let with = |change: fn(&mut Delegation)| {
        let mut changed = delegation();
        change(&mut changed);
        vouch(&changed, &admin())
    };
    use RefusalReason::{Expired, Malformed, OutOfScope, Revoked};
    for (what, delegation, reason, named) in [
        ("another cabinet", with(|one| one.scope = only(&["c2"])), OutOfScope, true),
        ("a lower epoch", with(|one| one.epoch = 1), Revoked, true),
        ("its date has passed", with(|one| one.not_after = NOW - 1), Expired, true),
        ("another person", with(|one| one.person = "operator:acme:mal".parse().unwrap()), OutOfScope, true),
        (
            "a person who may not open",
            with(|one| one.person = "technician:acme:tom".parse().unwrap()),
            Malformed,
            false,
        ),
        ("another tenant", with(|one| one.tenant = "umbra".parse().unwrap()), Malformed, false),
        (
            "a person of another tenant",
            with(|one| one.person = "operator:umbra:eve".parse().unwrap()),
            Malformed,
            false,
        ),
        ("no cabinet", with(|one| one.scope = only(&[])), Malformed, false),
        ("a key that is none", with(|one| one.public = Blob(vec![1; 31])), Malformed, false),
    ] {
        refuses(&mut rig, what, delegation, reason, named);
    }
    let good = with(|_| {});
    let command = rig.command(4, Expect::empty());
    only_pulse(&send(&mut rig, &command, &eve(), good));
}

#[test]
fn nobody_but_an_admin_key_delegates_and_nobody_but_the_person_signs() {
    let mut rig = rig();
    for (what, by) in [("the codes key", codes_key()), ("the former unlock key", unlock_key()), ("the person", eve())] {
        refuses(&mut rig, what, vouch(&delegation(), &by), RefusalReason::UnknownKey, false);
    }
    // A root signs keysets and nothing else.
    refuses(&mut rig, "a root", vouch(&delegation(), &root(1)), RefusalReason::UnknownKey, false);
    let command = rig.command(4, Expect::empty());
    for by in [admin(), codes_key(), unlock_key()] {
        send(&mut rig, &command, &by, vouch(&delegation(), &admin()));
        assert_eq!(rig.last(), refused(None, RefusalReason::UnknownKey));
        rig.wait(1_000);
    }
    // The person's key alone is none of the fleet's.
    rig.down(Signed { envelope: signed(&command, KeyPurpose::Unlock, &eve()) });
    assert_eq!(rig.last(), refused(None, RefusalReason::UnknownKey));
    rig.wait(1_000);
    // A delegation that was meant as something else.
    let scope = Scope::Tenant { tenant: &"acme".parse().unwrap(), purpose: KeyPurpose::Keyset };
    let other = Blob(sign(cbor::encode(&delegation()), scope, &admin()));
    refuses(&mut rig, "another purpose", other, RefusalReason::BadSignature, false);
}

#[test]
fn a_higher_epoch_voids_every_delegation_made_before() {
    let mut rig = rig();
    rig.send(Input::Keyset(people_only(3, 3)));
    refuses(&mut rig, "a delegation of before", vouch(&delegation(), &admin()), RefusalReason::Revoked, true);
    rig.restart();
    rig.connect();
    rig.doors_closed();
    rig.set_time(NOW);
    refuses(&mut rig, "after a restart", vouch(&delegation(), &admin()), RefusalReason::Revoked, true);
    let renewed = vouch(&Delegation { epoch: 3, ..delegation() }, &admin());
    let command = rig.command(4, Expect::empty());
    only_pulse(&send(&mut rig, &command, &eve(), renewed));
}

#[test]
fn while_the_time_is_not_known_no_delegation_holds() {
    let mut rig = Rig::online();
    rig.send(Input::Keyset(people_only(2, 2)));
    rig.connect();
    refuses(&mut rig, "no time", vouch(&delegation(), &admin()), RefusalReason::TimeUnknown, true);
    rig.set_time(NOW);
    let command = rig.command(4, Expect::empty());
    only_pulse(&send(&mut rig, &command, &eve(), vouch(&delegation(), &admin())));
}

#[test]
fn a_personal_command_goes_through_everything_that_a_command_of_the_fleet_does() {
    let mut rig = rig();
    let good = || vouch(&delegation(), &admin());
    let command = rig.command(4, Expect::empty());
    let pulse = only_pulse(&send(&mut rig, &command, &eve(), good()));
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    send(&mut rig, &command, &eve(), good());
    assert_eq!(rig.last(), refused(Some(command.id), RefusalReason::Replayed));
    let stale = rig.command(4, Expect::empty());
    rig.wait(30_001);
    send(&mut rig, &stale, &eve(), good());
    assert_eq!(rig.last(), refused(Some(stale.id), RefusalReason::Expired));
    let content = rig.command(4, Expect::order(order("A1")));
    send(&mut rig, &content, &eve(), good());
    assert_eq!(rig.last(), refused(Some(content.id), RefusalReason::WrongContent));
    let unknown = rig.command(99, Expect::empty());
    send(&mut rig, &unknown, &eve(), good());
    assert_eq!(rig.last(), refused(Some(unknown.id), RefusalReason::UnknownCompartment));
}
