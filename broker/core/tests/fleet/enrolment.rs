//! Tokens, certificates and other hardware in a cabinet's place.

use fleet_core::enrolment::{EnrolRefusal, Issue, Right};
use fleet_core::signing::SignerRequest;
use fleet_core::{Effect, Input};
use schemas::api::{EnrolmentOffer, Reply, Request, RequestErrorCode, Rfc3339};
use schemas::enrolment::{SecretHash, TokenSecret};
use schemas::ids::CabinetId;
use schemas::messages::{Instance, Size};

use crate::world::{FakeCabinet, START, World, c1, tenant};

const EVE: &str = "operator:acme:eve";
const SERIAL: &str = "LF-0007";
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn secret(byte: u8) -> SecretHash {
    TokenSecret::new([byte; 16]).hash()
}

fn offer(byte: u8) -> EnrolmentOffer {
    EnrolmentOffer { secret_hash: secret(byte), device_serial: SERIAL.into(), expires: Rfc3339(START + DAY) }
}

fn replace(world: &mut World, byte: u8, instance: Instance) -> Option<Reply> {
    world.ask(EVE, &Request::CabinetReplace { cabinet: c1(), instance, enrolment: offer(byte) })
}

/// A world whose one cabinet may be enrolled with token 1, as the instance that it has.
fn world() -> World {
    let mut world = World::new(&[Size::S]);
    let instance = world.cabinets[&c1()].instance;
    assert_eq!(replace(&mut world, 1, instance), Some(Reply::Done));
    world
}

fn token(byte: u8) -> Right {
    Right::Token { secret: secret(byte), device_serial: Some(SERIAL.into()) }
}

/// What a device hears that asks for a certificate of c1; the signer's certificate is the key that it was asked for.
fn ask(world: &mut World, right: Right, key: u8) -> Result<Vec<u8>, EnrolRefusal> {
    ask_as(world, c1(), right, key)
}

fn ask_as(world: &mut World, cabinet: CabinetId, right: Right, key: u8) -> Result<Vec<u8>, EnrolRefusal> {
    let seen = world.seen.len();
    let issue = Issue { ticket: 77, key: vec![key; 91] };
    world.handle(Input::Enrol { tenant: tenant(), cabinet, right, issue });
    let answers: Vec<_> = world.seen[seen..]
        .iter()
        .filter_map(|effect| match effect {
            Effect::Issued { ticket: 77, certificate } => Some(Ok(certificate.clone())),
            Effect::NotIssued { ticket: 77, refusal } => Some(Err(refusal.clone())),
            _ => None,
        })
        .collect();
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    answer.clone()
}

fn alarms(world: &World) -> usize {
    world.seen.iter().filter(|effect| matches!(effect, Effect::Alarm { text } if text.contains("enrol"))).count()
}

#[test]
fn a_token_makes_one_certificate_whatever_dies_between() {
    let mut world = world();
    assert_eq!(ask(&mut world, token(1), 5), Ok(vec![5; 91]));
    // The answer was lost on its way: the same device asks again, also after a restart of the fleet.
    assert_eq!(ask(&mut world, token(1), 5), Ok(vec![5; 91]));
    world.restart();
    assert_eq!(ask(&mut world, token(1), 5), Ok(vec![5; 91]));
    assert_eq!(ask(&mut world, token(1), 6), Err(EnrolRefusal::UsedToken), "another key is another device");
    assert_eq!(alarms(&world), 1);
}

#[test]
fn a_certificate_is_on_disk_before_it_is_handed_out() {
    let mut world = world();
    world.signer_works = false;
    let refused = ask(&mut world, token(1), 5);
    assert!(matches!(refused, Err(EnrolRefusal::NotSigned(_))), "{refused:?}");
    world.signer_works = true;
    let before = world.store.clone();
    assert_eq!(ask(&mut world, token(1), 5), Ok(vec![5; 91]));
    // The commit was lost: nobody has the certificate, and the token is as it was.
    world.store = before;
    world.restart();
    assert_eq!(ask(&mut world, token(1), 6), Ok(vec![6; 91]));
}

#[test]
fn a_revoked_cabinet_renews_nothing_and_enrols_with_a_new_token() {
    let mut world = world();
    assert_eq!(ask(&mut world, token(1), 5), Ok(vec![5; 91]));
    assert_eq!(ask(&mut world, Right::Certificate, 6), Ok(vec![6; 91]));
    let revoke = Request::IdentityRevoke { identity: "cabinet:acme:c1".parse().unwrap(), reason: "stolen".into() };
    assert!(matches!(world.ask(EVE, &revoke), Some(Reply::Identity(_))));
    // Neither a new one nor, for a lost answer, the newest one again.
    for key in [6, 7] {
        assert_eq!(ask(&mut world, Right::Certificate, key), Err(EnrolRefusal::Revoked), "key {key}");
    }
    let instance = world.cabinets[&c1()].instance;
    assert_eq!(replace(&mut world, 2, instance), Some(Reply::Done));
    assert_eq!(ask(&mut world, token(2), 8), Ok(vec![8; 91]));
}

#[test]
fn foreign_expired_and_misdirected_tokens_are_refused_and_reported() {
    let mut world = world();
    assert_eq!(ask(&mut world, token(9), 5), Err(EnrolRefusal::UnknownToken));
    assert_eq!(alarms(&world), 1);
    for serial in [None, Some("LF-0008".to_owned())] {
        let right = Right::Token { secret: secret(1), device_serial: serial };
        assert_eq!(ask(&mut world, right, 5), Err(EnrolRefusal::OtherDevice));
    }
    assert_eq!(alarms(&world), 1, "a person is told once in ten minutes, however often a stranger tries");
    world.now = START + DAY + 1;
    assert_eq!(ask(&mut world, token(1), 5), Err(EnrolRefusal::ExpiredToken));
    assert_eq!(alarms(&world), 2);
    assert_eq!(ask_as(&mut world, "c2".parse().unwrap(), token(1), 5), Err(EnrolRefusal::UnknownToken));
}

#[test]
fn the_newest_token_counts_also_while_a_certificate_is_made_for_an_older_one() {
    let mut world = world();
    let instance = world.cabinets[&c1()].instance;
    assert_eq!(replace(&mut world, 2, instance), Some(Reply::Done));
    assert_eq!(replace(&mut world, 2, instance), Some(Reply::Done), "the answer was lost");
    assert_eq!(ask(&mut world, token(1), 5), Err(EnrolRefusal::UnknownToken));
    assert_eq!(ask(&mut world, token(2), 5), Ok(vec![5; 91]));
}

#[test]
fn a_certificate_that_is_made_when_a_newer_token_comes_is_thrown_away() {
    let mut world = world();
    let instance = world.cabinets[&c1()].instance;
    let issue = Issue { ticket: 77, key: vec![5; 91] };
    let step = world.step(Input::Enrol { tenant: tenant(), cabinet: c1(), right: token(1), issue });
    assert_eq!(replace(&mut world, 2, instance), Some(Reply::Done));
    world.run(step.effects);
    let refused = Effect::NotIssued { ticket: 77, refusal: EnrolRefusal::UnknownToken };
    assert!(world.seen.contains(&refused) && world.row_count(fleet_core::ISSUED) == 0);
    assert_eq!(ask(&mut world, token(2), 6), Ok(vec![6; 91]));
}

#[test]
fn a_renewal_repeats_its_answer_to_the_same_key_and_makes_a_new_one_for_another() {
    let mut world = world();
    assert_eq!(ask(&mut world, token(1), 5), Ok(vec![5; 91]));
    assert_eq!(ask(&mut world, Right::Certificate, 6), Ok(vec![6; 91]));
    let signed = world.signed_certificates();
    assert_eq!(ask(&mut world, Right::Certificate, 6), Ok(vec![6; 91]));
    assert_eq!(world.signed_certificates(), signed, "its answer was lost; nothing new is issued");
    world.now += 2 * 60 * 60 * 1_000;
    assert_eq!(ask(&mut world, Right::Certificate, 6), Ok(vec![6; 91]));
    assert_eq!(world.signed_certificates(), signed + 1, "later it is a renewal with the same key");
    for key in 10..30 {
        assert_eq!(ask(&mut world, Right::Certificate, key), Ok(vec![key; 91]));
    }
    assert_eq!(world.row_count(fleet_core::ISSUED), 4, "the record does not grow without end");
}

#[test]
fn other_hardware_takes_the_cabinets_place_and_what_was_signed_for_the_former_is_void() {
    let mut world = world();
    assert_eq!(ask(&mut world, token(1), 5), Ok(vec![5; 91]));
    let other = Instance([8; 16]);
    assert_eq!(replace(&mut world, 2, other), Some(Reply::Done));
    assert!(world.cabinets[&c1()].online, "until the token is used the former device goes on");
    assert_eq!(ask(&mut world, token(2), 6), Ok(vec![6; 91]));
    assert!(world.seen.iter().any(|effect| matches!(effect, Effect::CloseCabinet { .. })), "the former one is cut");
    let void = world.seen.iter().find_map(|effect| match effect {
        Effect::Revoked { identity, until } => Some((identity.to_string(), *until)),
        _ => None,
    });
    // Both were asked for in the same second.
    assert_eq!(void, Some(("cabinet:acme:c1".to_owned(), START)), "its certificate is void");
    let asked = world.signer_asked.iter().rev().find_map(|asked| match asked {
        SignerRequest::IssueCertificate(asked) => Some(asked.now),
        _ => None,
    });
    assert_eq!(asked, Some(START + 1_000), "the new one's is not");

    let former = world.cabinets[&c1()].clone();
    world.reconnect(&former);
    assert!(!world.cabinets[&c1()].online, "and finds no way back");
    let new = FakeCabinet { instance: other, ..FakeCabinet::new("c1", &[Size::S]) };
    world.reconnect(&new);
    assert!(world.cabinets[&c1()].online);
}

#[test]
fn offers_that_cannot_be_are_refused() {
    let mut world = world();
    let instance = Instance([9; 16]);
    for bad in [
        EnrolmentOffer { device_serial: "two words".into(), ..offer(2) },
        EnrolmentOffer { device_serial: String::new(), ..offer(2) },
        EnrolmentOffer { expires: Rfc3339(START), ..offer(2) },
        EnrolmentOffer { expires: Rfc3339(START + 61 * DAY), ..offer(2) },
    ] {
        let asked = Request::CabinetReplace { cabinet: c1(), instance, enrolment: bad.clone() };
        let Some(Reply::Error(error)) = world.ask(EVE, &asked) else { panic!("{bad:?} was taken") };
        assert_eq!(error.code, RequestErrorCode::Malformed);
    }
    let asked = Request::CabinetReplace { cabinet: c1(), instance, enrolment: offer(2) };
    for who in ["technician:acme:tim", "support:acme:ben", "integration:acme:shop"] {
        let Some(Reply::Error(error)) = world.ask(who, &asked) else { panic!("{who} may") };
        assert_eq!(error.code, RequestErrorCode::Forbidden, "{who}");
    }
    let Some(Reply::Error(error)) = world.ask("operator:umbra:max", &asked) else { panic!("another tenant may") };
    assert_eq!(error.code, RequestErrorCode::Unknown);
}

#[test]
fn a_certificate_behind_a_revocation_is_not_taken_for_one_before_it() {
    let mut world = world();
    world.now += 300;
    let revoke = Request::IdentityRevoke { identity: "cabinet:acme:c1".parse().unwrap(), reason: "stolen".into() };
    assert!(matches!(world.ask(EVE, &revoke), Some(Reply::Identity(_))));
    assert_eq!(replace(&mut world, 2, Instance([8; 16])), Some(Reply::Done));
    world.now += 300;
    assert_eq!(ask(&mut world, token(2), 6), Ok(vec![6; 91]));
    let asked = world.signer_asked.iter().rev().find_map(|asked| match asked {
        SignerRequest::IssueCertificate(asked) => Some(asked.now),
        _ => None,
    });
    assert_eq!(asked, Some(START + 1_000), "a certificate tells whole seconds, and this one would be void");
}
