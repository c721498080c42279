//! Staff: PINs with an end, badges, and revocation that reaches cabinets in their next book.

use fleet_core::{Effect, SecretOf};
use schemas::api::{Reply, Request, RequestErrorCode, Rfc3339, StaffDetail};
use schemas::messages::{BookChange, CredentialKind, PutStaff, Size};

use crate::world::{FakeCabinet, World, c1};

const EVE: &str = "operator:acme:eve";

fn ask(world: &mut World, json: &str) -> Option<Reply> {
    world.ask_raw(EVE, json.as_bytes())
}

fn code(reply: Option<Reply>) -> RequestErrorCode {
    let Some(Reply::Error(error)) = reply else { panic!("{reply:?} is no error") };
    error.code
}

fn members(world: &mut World) -> Vec<StaffDetail> {
    match world.ask("auditor:acme:amy", &Request::StaffList {}) {
        Some(Reply::StaffMembers(members)) => members,
        other => panic!("{other:?}"),
    }
}

fn revoke(world: &mut World, name: &str) -> Vec<StaffDetail> {
    match world.ask(EVE, &Request::StaffRevoke { name: name.parse().unwrap() }) {
        Some(Reply::StaffMembers(left)) => left,
        other => panic!("{other:?}"),
    }
}

/// What books have told a cabinet about a member of staff, in order.
fn told(world: &World, id: &str, name: &str) -> Vec<Option<PutStaff>> {
    let books = &world.cabinets[&id.parse().unwrap()].books;
    let changes = books.iter().flat_map(|book| &book.changes);
    let about = changes.filter_map(|change| match change {
        BookChange::PutStaff(put) if put.name.as_str() == name => Some(Some(put.clone())),
        BookChange::DropStaff(drop) if drop.name.as_str() == name => Some(None),
        _ => None,
    });
    about.collect()
}

fn shown(world: &World, kind: CredentialKind) -> usize {
    let of_kind = |effect: &&Effect| match effect {
        Effect::ReplySecret { of: SecretOf::Pin(_), .. } => kind == CredentialKind::Digits,
        Effect::ReplySecret { of: SecretOf::Badge(_), .. } => kind == CredentialKind::Qr,
        _ => false,
    };
    world.seen.iter().filter(of_kind).count()
}

#[test]
fn a_pin_with_an_end_names_it_in_the_book() {
    let mut world = World::new(&[Size::S]);
    let until = world.now + 1_000;
    let json = format!(r#"{{"op":"staff.add","name":"sam","until":"{}"}}"#, Rfc3339(until));
    assert_eq!(ask(&mut world, &json), None);
    assert_eq!(told(&world, "c1", "sam")[0].as_ref().unwrap().until, Some(until));
    assert_eq!(members(&mut world)[0].until, Some(Rfc3339(until)));
    let over = format!(r#"{{"op":"staff.add","name":"tim","until":"{}"}}"#, Rfc3339(world.now));
    assert_eq!(code(ask(&mut world, &over)), RequestErrorCode::Malformed);
    // A new PIN without an end takes the end away.
    world.add_staff("sam");
    assert_eq!(told(&world, "c1", "sam").last().unwrap().as_ref().unwrap().until, None);
}

#[test]
fn a_badge_goes_beside_the_pin_to_every_cabinet_and_is_shown_once() {
    let mut world = World::new(&[Size::S]);
    assert_eq!(code(ask(&mut world, r#"{"op":"staff.badge","name":"sam"}"#)), RequestErrorCode::Unknown);
    world.add_staff("sam");
    assert_eq!(ask(&mut world, r#"{"op":"staff.badge","name":"sam"}"#), None);
    assert_eq!((shown(&world, CredentialKind::Digits), shown(&world, CredentialKind::Qr)), (1, 1));
    world.add(FakeCabinet::new("c2", &[Size::S]));
    world.connect(&"c2".parse().unwrap());
    for cabinet in ["c1", "c2"] {
        let put = told(&world, cabinet, "sam").pop().flatten().unwrap();
        assert!(put.badge.is_some_and(|badge| badge != put.verifier), "{cabinet}");
    }
    assert!(members(&mut world)[0].badge);
    // Another PIN leaves the badge, another badge the PIN.
    let before = told(&world, "c1", "sam").pop().flatten().unwrap();
    world.add_staff("sam");
    let after = told(&world, "c1", "sam").pop().flatten().unwrap();
    assert!(after.verifier != before.verifier && after.badge == before.badge);
    ask(&mut world, r#"{"op":"staff.badge","name":"sam"}"#);
    let last = told(&world, "c1", "sam").pop().flatten().unwrap();
    assert!(last.verifier == after.verifier && last.badge != after.badge);
}

#[test]
fn a_badge_that_was_being_made_is_made_after_a_restart() {
    let mut world = World::new(&[Size::S]);
    world.add_staff("sam");
    world.signer_works = false;
    assert_eq!(ask(&mut world, r#"{"op":"staff.badge","name":"sam"}"#), None);
    let first = world.ticket;
    assert_eq!(code(ask(&mut world, r#"{"op":"staff.badge","name":"sam"}"#)), RequestErrorCode::Conflict);
    world.pass(40_000);
    assert_eq!(code(world.reply(first)), RequestErrorCode::Timeout);
    world.restart();
    world.signer_works = true;
    world.connect(&c1());
    world.pass(60_000);
    assert!(told(&world, "c1", "sam").pop().flatten().unwrap().badge.is_some());
}

#[test]
fn a_revoked_member_leaves_each_book_and_is_pending_where_a_cabinet_is_away() {
    let mut world = World::new(&[Size::S]);
    world.add(FakeCabinet::new("c2", &[Size::S]));
    let c2 = "c2".parse().unwrap();
    world.connect(&c2);
    world.add_staff("sam");
    world.add_staff("ann");
    world.disconnect(&c2);
    let left = revoke(&mut world, "sam");
    assert!(left[0].revoked && left[0].pending_count == 2, "{left:?}");
    assert_eq!(told(&world, "c1", "sam").last(), Some(&None), "it was not told at once");
    for restarted in [false, true] {
        if restarted {
            world.restart();
            world.connect(&c1());
        }
        let members = members(&mut world);
        let names: Vec<_> = members.iter().map(|one| (one.name.as_str(), one.revoked, one.pending.len())).collect();
        assert_eq!(names, [("ann", false, 0), ("sam", true, 1)], "restarted: {restarted}");
        assert_eq!(members[1].pending, std::slice::from_ref(&c2));
    }
    world.connect(&c2);
    assert_eq!(told(&world, "c2", "sam").last(), Some(&None));
    assert_eq!(members(&mut world).iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["ann"]);
    assert_eq!(code(ask(&mut world, r#"{"op":"staff.revoke","name":"sam"}"#)), RequestErrorCode::Unknown);
    // A cabinet that is added later never hears of them.
    world.add(FakeCabinet::new("c3", &[Size::S]));
    world.connect(&"c3".parse().unwrap());
    assert!(told(&world, "c3", "sam").is_empty() && told(&world, "c3", "ann").len() == 1);
}

#[test]
fn somebody_who_comes_back_gets_a_new_pin_everywhere() {
    let mut world = World::new(&[Size::S]);
    world.add_staff("sam");
    world.disconnect(&c1());
    revoke(&mut world, "sam");
    world.add_staff("sam");
    assert!(members(&mut world)[0].pending == [c1()] && !members(&mut world)[0].revoked);
    world.connect(&c1());
    let told = told(&world, "c1", "sam");
    assert!(told.last().unwrap().is_some(), "{told:?}");
    assert_eq!(members(&mut world)[0].pending_count, 0);
}

#[test]
fn a_pin_that_is_being_made_for_somebody_revoked_is_shown_to_nobody() {
    let mut world = World::new(&[Size::S]);
    world.signer_works = false;
    world.add_staff("sam");
    let first = world.ticket;
    revoke(&mut world, "sam");
    assert_eq!(code(world.reply(first)), RequestErrorCode::Conflict);
    world.signer_works = true;
    world.pass(120_000);
    assert_eq!((shown(&world, CredentialKind::Digits), told(&world, "c1", "sam").len()), (0, 0));
}
