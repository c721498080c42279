//! Break-glass codes: in the book before anybody needs one, shown while a cabinet is away, replaced when it is back.

use fleet_core::{Config, Effect, Input, SecretOf};
use schemas::api::{Reply, Request, RequestErrorCode, UnlockRight};
use schemas::messages::{
    ActorStaff, BREAK_GLASS_NAME, BookChange, BreakGlass, BreakGlassUsed, CredentialId, DoorOpened, Size,
};

use crate::history::list;
use crate::restore::restore;
use crate::world::{FakeCabinet, World, c1, door};

const EVE: &str = "operator:acme:eve";
const QUARTER: u64 = 15 * 60_000;

fn world() -> World {
    let mut world = World::with(Config::default());
    world.add(FakeCabinet::new("c1", &[Size::S]));
    world.connect(&c1());
    world
}

/// What the newest book says of it.
fn booked(world: &World) -> Option<BreakGlass> {
    let books = &world.cabinets[&c1()].books;
    let mut rules = books.iter().flat_map(|book| &book.changes).rev().filter_map(|change| match change {
        BookChange::Rules(rules) => Some(rules.break_glass.clone()),
        _ => None,
    });
    rules.next().flatten()
}

fn ask(world: &mut World, who: &str) -> Option<Reply> {
    world.ask(who, &Request::CabinetBreakGlass { cabinet: c1(), reason: "no 4G since noon".into() })
}

fn refused(reply: Option<Reply>) -> RequestErrorCode {
    let Some(Reply::Error(error)) = reply else { panic!("{reply:?} is no error") };
    error.code
}

/// Shows the code; which one is known by what the signer sealed.
fn shown(world: &mut World, who: &str) {
    assert_eq!(ask(world, who), None);
    let is_shown =
        |effect: &Effect| matches!(effect, Effect::ReplySecret { of: SecretOf::BreakGlass(of), .. } if *of == c1());
    assert!(world.seen.iter().any(is_shown));
}

fn alarms(world: &World) -> Vec<&str> {
    let texts = world.seen.iter().map(|effect| match effect {
        Effect::Alarm { text } => Some(text.as_str()),
        _ => None,
    });
    texts.flatten().collect()
}

fn used(id: CredentialId) -> BreakGlassUsed {
    BreakGlassUsed { id, begun: 1 }
}

#[test]
fn every_cabinet_has_one_in_its_book_before_anybody_asks() {
    let world = world();
    let glass = booked(&world).unwrap();
    assert_eq!(glass.pepper, world.cabinets[&c1()].hello().pepper.unwrap().version);
    assert_eq!(world.cabinets[&c1()].hello().book, world.cabinets[&c1()].books.last().unwrap().version);
}

#[test]
fn it_is_shown_while_the_cabinet_is_away_to_whoever_may_and_everybody_hears_of_it() {
    let mut world = world();
    assert_eq!(refused(ask(&mut world, EVE)), RequestErrorCode::Conflict, "an unlock opens one door only");
    world.disconnect(&c1());
    for stranger in ["technician:acme:tom", "auditor:acme:amy", "integration:acme:shop"] {
        assert_eq!(refused(ask(&mut world, stranger)), RequestErrorCode::Forbidden, "{stranger}");
    }
    assert_eq!(
        refused(world.ask(EVE, &Request::CabinetBreakGlass { cabinet: c1(), reason: " ".into() })),
        RequestErrorCode::Malformed
    );
    assert_eq!(alarms(&world), [""; 0]);
    shown(&mut world, "support:acme:sue");
    assert_eq!(alarms(&world), ["cabinet acme/c1: support:acme:sue is shown its break-glass code: no 4G since noon"]);
}

#[test]
fn one_that_the_cabinet_does_not_hold_is_shown_to_nobody() {
    let mut world = World::with(Config::default());
    let mut cabinet = FakeCabinet::new("c1", &[Size::S]);
    cabinet.applies = false;
    world.add(cabinet);
    assert_eq!(refused(ask(&mut world, EVE)), RequestErrorCode::Refused);
    world.connect(&c1());
    world.disconnect(&c1());
    assert_eq!(refused(ask(&mut world, EVE)), RequestErrorCode::Refused, "the book never reached it");
    assert_eq!(alarms(&world), [""; 0]);
}

#[test]
fn one_that_was_shown_is_replaced_once_the_cabinet_is_back_used_or_not() {
    let mut world = world();
    let first = booked(&world).unwrap();
    world.disconnect(&c1());
    shown(&mut world, EVE);
    // A connection that comes and goes does not take it out of somebody's hands.
    world.connect(&c1());
    assert_eq!(booked(&world), Some(first.clone()));
    world.disconnect(&c1());
    world.pass(QUARTER);
    shown(&mut world, EVE);
    assert_eq!(booked(&world), Some(first.clone()), "it would be no use to somebody who stands there");
    world.connect(&c1());
    world.restart();
    world.connect(&c1());
    world.pass(QUARTER);
    let second = booked(&world).unwrap();
    assert!(second.id != first.id && second.verifier != first.verifier);
    world.pass(10 * QUARTER);
    assert_eq!(booked(&world), Some(second), "nobody was shown this one");
}

#[test]
fn its_use_is_an_alarm_that_names_who_was_shown_it_and_openings_are_theirs() {
    let mut world = world();
    let first = booked(&world).unwrap();
    world.disconnect(&c1());
    shown(&mut world, "support:acme:sue");
    world.connect(&c1());
    world.fact(&c1(), used(first.id));
    let by = ActorStaff { name: BREAK_GLASS_NAME.parse().unwrap() }.into();
    world.fact(&c1(), DoorOpened { compartment: door(1), by });
    let told = alarms(&world).last().copied().unwrap_or_default().to_owned();
    assert!(told.contains("support:acme:sue") && told.contains("no 4G since noon"), "{told}");
    let records = list(&mut world);
    assert_eq!(records[0].right, UnlockRight::BreakGlass);
    assert_eq!(records[0].by.as_deref(), Some("support:acme:sue"));
    assert_eq!(records[0].reason.as_deref(), Some("no 4G since noon"));
    assert_ne!(booked(&world).unwrap().id, first.id, "a used one stayed in the book");
}

#[test]
fn one_that_nobody_was_shown_raises_the_alarm_all_the_more() {
    let mut world = world();
    let first = booked(&world).unwrap();
    world.fact(&c1(), used(first.id));
    let told = alarms(&world).last().copied().unwrap_or_default().to_owned();
    assert!(told.contains("shown to nobody"), "{told}");
    assert_ne!(booked(&world).unwrap().id, first.id);
}

#[test]
fn a_fleet_that_wants_none_takes_them_back() {
    let mut world = world();
    assert!(booked(&world).is_some());
    world.config.break_glass = false;
    world.restart();
    world.connect(&c1());
    assert_eq!(booked(&world), None);
    world.disconnect(&c1());
    assert_eq!(refused(ask(&mut world, EVE)), RequestErrorCode::Refused);
}

#[test]
fn a_wiped_cabinet_lets_nobody_in() {
    let mut world = world();
    world.disconnect(&c1());
    world.ask(EVE, &Request::CabinetWipe { cabinet: c1(), reason: "stolen".into(), with_orders: false });
    assert_eq!(refused(ask(&mut world, EVE)), RequestErrorCode::Conflict);
}

#[test]
fn nobody_of_the_staff_has_its_name() {
    let mut world = world();
    let reply = world.ask(EVE, &Request::StaffAdd { name: BREAK_GLASS_NAME.parse().unwrap(), until: None });
    assert_eq!(refused(reply), RequestErrorCode::Malformed);
}

#[test]
fn a_restored_fleet_replaces_codes_that_may_have_been_shown_or_used_since_the_backup() {
    let mut world = world();
    let first = booked(&world).unwrap();
    let backup = world.store.clone();
    world.disconnect(&c1());
    shown(&mut world, EVE);
    // The use is told, and the code replaced; then all of that is lost.
    world.connect(&c1());
    world.fact(&c1(), used(first.id));
    world.disconnect(&c1());
    restore(&mut world, backup);
    world.step(Input::Tick);
    // Most likely it is still good.
    shown(&mut world, EVE);
    world.connect(&c1());
    assert_ne!(booked(&world).unwrap().id, first.id);
}

#[test]
fn a_cabinet_with_a_former_disk_gets_another_code_because_it_may_have_forgotten_a_use() {
    let mut world = world();
    let first = booked(&world).unwrap();
    world.disconnect(&c1());
    world.cabinet(&c1()).epoch.0[0] ^= 1;
    world.connect(&c1());
    assert_ne!(booked(&world).unwrap().id, first.id);
}
