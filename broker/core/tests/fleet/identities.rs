//! Certificates that were seen, and revocations.

use fleet_core::{CertificateSeen, Effect, IDENTITIES, Input};
use schemas::api::{CertificateId, IdentityDetail, IdentityPage, Reply, Request, RequestErrorCode, Rfc3339};
use schemas::cbor;
use schemas::ids::{Identity, Role};
use schemas::messages::Size;
use schemas::step::{RESTORED, Store as _, Write};

use crate::world::{START, World, who};

const EVE: &str = "operator:acme:eve";
const BOB: &str = "operator:acme:bob";
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn seen(n: u8, issued: u64) -> CertificateSeen {
    CertificateSeen { id: CertificateId([n; 32]), issued, expires: issued + 365 * DAY }
}

/// Somebody connects with certificate `n`, which was issued at `issued`.
fn admit(world: &mut World, identity: &str, n: u8, issued: u64) {
    let effects = world.handle(Input::Admitted { who: who(identity), certificate: seen(n, issued) });
    assert_eq!(effects, []);
}

fn revoke(world: &mut World, by: &str, identity: &str) -> Result<IdentityDetail, RequestErrorCode> {
    let request = Request::IdentityRevoke { identity: who(identity), reason: "laptop stolen".into() };
    match world.ask(by, &request) {
        Some(Reply::Identity(detail)) => Ok(*detail),
        Some(Reply::Error(error)) => {
            assert!(error.hint.is_some(), "{} has no way out", error.message);
            Err(error.code)
        }
        other => panic!("{other:?}"),
    }
}

fn list(world: &mut World, by: &str, role: Option<Role>, after: Option<Identity>) -> IdentityPage {
    match world.ask(by, &Request::IdentityList { role, after }) {
        Some(Reply::Identities(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn revoked(world: &World) -> Vec<(String, u64)> {
    world.core.revocations().map(|(identity, until)| (identity.to_string(), until)).collect()
}

#[test]
fn a_revocation_is_on_disk_with_its_reason_before_anybody_is_cut() {
    let mut world = World::empty();
    admit(&mut world, BOB, 1, START - 5_000);
    let request = Request::IdentityRevoke { identity: who(BOB), reason: "laptop stolen".into() };
    let payload = serde_json::to_vec(&request).unwrap();
    let step = world.step(Input::Request { ticket: 9, who: who(EVE), payload });
    let [row] = step.writes.as_slice() else { panic!("{:?}", step.writes) };
    assert_eq!((row.table, row.key.as_slice()), (IDENTITIES, &b"acme/operator/bob"[..]));
    let [Effect::Revoked { identity, until }, Effect::Reply { ticket: 9, reply: Reply::Identity(told) }] =
        step.effects.as_slice()
    else {
        panic!("{:?}", step.effects)
    };
    assert_eq!((identity, *until), (&who(BOB), START));
    let revocation = told.revocation.as_ref().unwrap();
    assert_eq!((revocation.until, revocation.at, &revocation.by), (Rfc3339(START), Rfc3339(START), &who(EVE)));
    assert_eq!(revocation.reason, "laptop stolen");
    assert!(told.certificates.len() == 1 && told.certificates[0].revoked);
}

#[test]
fn a_revocation_outlives_a_restart_and_a_restore_of_a_backup_that_has_it() {
    let mut world = World::new(&[Size::S]);
    revoke(&mut world, EVE, "cabinet:acme:c1").unwrap();
    let expected = [("cabinet:acme:c1".to_owned(), START)];
    world.restart();
    assert_eq!(revoked(&world), expected);
    world.store.commit(&[Write::put(RESTORED.0, RESTORED.1, cbor::encode(&START))]).unwrap();
    world.restart();
    assert_eq!(revoked(&world), expected);
    let told = |effect: &Effect| matches!(effect, Effect::Alarm { text } if text.contains("revoke again"));
    assert!(world.seen.iter().any(told), "who was revoked since the backup is admitted, and nobody says so");
}

#[test]
fn nobody_revokes_himself_a_server_or_somebody_of_another_tenant() {
    let mut world = World::empty();
    assert_eq!(revoke(&mut world, EVE, EVE), Err(RequestErrorCode::Refused));
    assert_eq!(revoke(&mut world, EVE, "server:acme:gate"), Err(RequestErrorCode::Refused));
    for foreign in ["operator:umbra:max", "cabinet:umbra:c1", "integration:umbra:shop", "server:umbra:gate"] {
        assert_eq!(revoke(&mut world, EVE, foreign), Err(RequestErrorCode::Forbidden), "{foreign}");
    }
    assert_eq!(revoked(&world), []);
    assert!(world.store.rows(IDENTITIES).unwrap().is_empty());
}

#[test]
fn every_role_that_connects_can_be_revoked_also_before_it_was_ever_seen() {
    let mut world = World::empty();
    let roles = Role::ALL.into_iter().filter(|role| *role != Role::Server);
    let all: Vec<_> = roles.map(|role| format!("{role}:acme:lost")).collect();
    for identity in &all {
        assert_eq!(revoke(&mut world, EVE, identity).unwrap().certificates, []);
    }
    assert_eq!(revoked(&world).len(), all.len());
}

/// Else the two would leave a fleet that nobody can operate.
#[test]
fn of_two_operators_who_revoke_each_other_the_first_wins() {
    let mut world = World::empty();
    admit(&mut world, EVE, 1, START - DAY);
    admit(&mut world, BOB, 2, START - DAY);
    revoke(&mut world, EVE, BOB).unwrap();
    assert_eq!(revoke(&mut world, BOB, EVE), Err(RequestErrorCode::Forbidden));
    assert_eq!(revoked(&world), [(BOB.to_owned(), START)]);
}

#[test]
fn somebody_with_a_certificate_of_later_may_ask_again() {
    let mut world = World::empty();
    admit(&mut world, BOB, 1, START - DAY);
    revoke(&mut world, EVE, BOB).unwrap();
    world.pass(60_000);
    admit(&mut world, BOB, 2, START + 30_000);
    let shown = list(&mut world, BOB, Some(Role::Operator), None);
    let certificates = &shown.identities[0].certificates;
    assert_eq!(certificates.iter().map(|known| known.revoked).collect::<Vec<_>>(), [false, true]);
    world.restart();
    assert_eq!(revoke(&mut world, BOB, EVE).map(|told| told.identity), Ok(who(EVE)));
}

/// The clock of the machine that issues may be ahead of the fleet's.
#[test]
fn a_certificate_that_was_seen_is_void_whatever_clock_issued_it() {
    let mut world = World::empty();
    admit(&mut world, BOB, 1, START + 50_000);
    revoke(&mut world, EVE, BOB).unwrap();
    assert_eq!(revoked(&world), [(BOB.to_owned(), START + 50_000)]);
    // Neither does a second revocation with the fleet's own, earlier time take anything back.
    assert_eq!(revoke(&mut world, EVE, BOB).unwrap().revocation.unwrap().until, Rfc3339(START + 50_000));
}

#[test]
fn a_storm_of_reconnections_writes_nothing() {
    let mut world = World::empty();
    let connects = |world: &mut World| {
        world.step(Input::Admitted { who: who("cabinet:acme:c1"), certificate: seen(1, START - DAY) })
    };
    let first = connects(&mut world);
    assert_eq!(first.writes.iter().filter(|write| write.table == IDENTITIES).count(), 1);
    world.store.commit(&first.writes).unwrap();
    for _ in 0..100 {
        world.now += 1_000;
        assert_eq!(connects(&mut world).writes, []);
    }
    let shown = list(&mut world, EVE, Some(Role::Cabinet), None);
    assert_eq!(shown.identities[0].certificates[0].last_seen, Rfc3339(world.now), "memory knows better than the disk");
    world.now = START + DAY - 1;
    assert_eq!(connects(&mut world).writes, []);
    world.now = START + DAY;
    assert_eq!(connects(&mut world).writes.len(), 1);
    assert_eq!(connects(&mut world).writes, []);
    world.now = START;
    assert_eq!(connects(&mut world).writes, [], "a clock that went back is no new day");
}

#[test]
fn of_one_identity_the_newest_certificates_and_the_one_in_use_are_remembered() {
    let mut world = World::empty();
    for n in 1..=6 {
        admit(&mut world, BOB, n, START + u64::from(n));
    }
    let known = |world: &mut World| -> Vec<u8> {
        let shown = list(world, EVE, None, None);
        shown.identities[0].certificates.iter().map(|known| known.certificate.0[0]).collect()
    };
    assert_eq!(known(&mut world), [6, 5, 4, 3]);
    admit(&mut world, BOB, 9, START - DAY);
    assert_eq!(known(&mut world), [6, 5, 4, 9]);
    world.restart();
    assert_eq!(known(&mut world), [6, 5, 4, 9]);
}

#[test]
fn the_list_comes_in_pages_and_has_the_own_tenant_only() {
    let mut world = World::empty();
    for n in 0..120 {
        admit(&mut world, &format!("technician:acme:t{n:03}"), 1, START);
    }
    admit(&mut world, "technician:umbra:max", 1, START);
    admit(&mut world, "integration:acme:shop", 1, START);
    let auditor = "auditor:acme:amy";
    let first = list(&mut world, auditor, Some(Role::Technician), None);
    assert_eq!((first.identities.len(), first.more), (100, true));
    let last = first.identities.last().map(|known| known.identity.clone());
    let second = list(&mut world, auditor, Some(Role::Technician), last);
    assert_eq!((second.identities.len(), second.more), (20, false));
    let names: std::collections::BTreeSet<_> =
        first.identities.iter().chain(&second.identities).map(|known| known.identity.to_string()).collect();
    assert!(names.len() == 120 && names.iter().all(|name| name.starts_with("technician:acme:t")), "{names:?}");
    let all = list(&mut world, "operator:umbra:ann", None, None);
    assert_eq!(all.identities.len(), 1);
    // A reply has to fit into a packet, whatever people wrote into their reasons.
    for n in 0..120 {
        let request =
            Request::IdentityRevoke { identity: who(&format!("technician:acme:t{n:03}")), reason: "\"".repeat(200) };
        world.ask(EVE, &request);
        for certificate in 2..=4 {
            admit(&mut world, &format!("technician:acme:t{n:03}"), certificate, START);
        }
    }
    let full = Reply::Identities(list(&mut world, EVE, Some(Role::Technician), None));
    assert!(serde_json::to_vec(&full).unwrap().len() < 255 * 1024);
}
