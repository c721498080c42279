//! Requests of people: roles, registration, unlocks, staff.

use fleet_core::signing::SignerRequest;
use fleet_core::{COMMANDS, Effect, Input, SecretOf};
use schemas::api::{OrderState, Reply, Request, RequestErrorCode};
use schemas::cbor;
use schemas::messages::{Action, CommandRefused, Expect, RefusalReason, Size, UnlockDone, UnlockOutcome};
use schemas::step::Store as _;
use schemas::topics::Up;

use crate::handover::load;
use crate::world::{FakeCabinet, World, c1, door, who};

const EVE: &str = "operator:acme:eve";
const UNLOCK: &str = r#"{"op":"unlock","cabinet":"c1","compartment":1,"reason":"customer called"}"#;

fn code(reply: Option<Reply>) -> RequestErrorCode {
    let Some(Reply::Error(error)) = reply else { panic!("{reply:?} is no error") };
    assert!(error.hint.is_some(), "{} has no way out", error.message);
    error.code
}

fn outcome(world: &mut World, outcome: UnlockOutcome) {
    let id = world.last_command(&c1());
    world.fact(&c1(), UnlockDone { id, compartment: door(1), outcome });
}

#[test]
fn a_role_that_may_not_ask_is_told_so() {
    let mut world = World::new(&[Size::S]);
    for (by, json) in [
        ("technician:acme:tom", UNLOCK),
        ("auditor:acme:amy", r#"{"op":"staff.add","name":"bob"}"#),
        ("staff:acme:sam", r#"{"op":"cabinet.list"}"#),
        ("support:acme:sue", r#"{"op":"rows","stream":"status","after":0}"#),
        ("integration:acme:shop", UNLOCK),
        ("cabinet:acme:c1", r#"{"op":"cabinet.list"}"#),
    ] {
        let Some(Reply::Error(error)) = world.ask_raw(by, json.as_bytes()) else { panic!("{by} {json}") };
        assert_eq!(error.code, RequestErrorCode::Forbidden, "{by} {json}");
        let op = json.split('"').nth(3).unwrap();
        assert!(error.message.ends_with(op) && error.hint.is_some(), "{error:?}");
    }
    assert!(world.cabinets[&c1()].commands.is_empty());
}

#[test]
fn a_request_that_cannot_be_read_is_answered_with_its_mistake() {
    let mut world = World::new(&[Size::S]);
    for json in [
        "",
        r#"{"op":"open.all"}"#,
        r#"{"op":"unlock","cabinet":"c1","compartment":0,"reason":"x"}"#,
        r#"{"op":"unlock","cabinet":"c1","compartment":1,"reason":" "}"#,
        "{\"op\":\"unlock\",\"cabinet\":\"c1\",\"compartment\":1,\"reason\":\"a\\nb\"}",
        r#"{"op":"cabinet.list","all":true}"#,
    ] {
        assert_eq!(code(world.ask_raw(EVE, json.as_bytes())), RequestErrorCode::Malformed, "{json}");
    }
}

#[test]
fn a_cabinet_is_registered_once_and_its_tenant_only_sees_it() {
    let mut world = World::new(&[Size::S]);
    let add = |site: &str, cabinet: &FakeCabinet| Request::CabinetAdd {
        cabinet: cabinet.id.clone(),
        site: site.parse().unwrap(),
        place: "Main Street 1".into(),
        instance: cabinet.instance,
        enrolment: None,
    };
    let cabinet = world.cabinets[&c1()].clone();
    assert_eq!(world.ask(EVE, &add("mall", &cabinet)), Some(Reply::Done));
    assert_eq!(code(world.ask(EVE, &add("port", &cabinet))), RequestErrorCode::Conflict);
    let registered = world.seen.iter().filter(|effect| matches!(effect, Effect::Registered { .. })).count();
    assert_eq!((registered, world.core.cabinets().count()), (1, 1));
    let list = Request::CabinetList {};
    let Some(Reply::Cabinets(mine)) = world.ask(EVE, &list) else { panic!() };
    assert_eq!((mine.len(), mine[0].free, mine[0].online), (1, 1, true));
    assert_eq!(world.ask("operator:umbra:max", &list), Some(Reply::Cabinets(Vec::new())));
    let show = Request::CabinetShow { cabinet: c1() };
    assert_eq!(code(world.ask("operator:umbra:max", &show)), RequestErrorCode::Unknown);
}

#[test]
fn an_integration_sees_and_cancels_its_own_orders_only() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    let order = "shop/A1".parse().unwrap();
    let show = Request::OrderShow { order };
    let Some(Reply::Order(shown)) = world.ask("integration:acme:shop", &show) else { panic!() };
    assert_eq!((shown.summary.state, shown.notified), (OrderState::Reserved, false));
    let cancel = Request::OrderCancel { order: "shop/A1".parse().unwrap() };
    for request in [&show, &cancel] {
        assert_eq!(code(world.ask("integration:acme:deli", request)), RequestErrorCode::Unknown);
    }
    let list = Request::OrderList { cabinet: None, overdue: false };
    assert_eq!(world.ask("integration:acme:deli", &list), Some(Reply::Orders(Vec::new())));
    let Some(Reply::Orders(orders)) = world.ask("auditor:acme:amy", &list) else { panic!() };
    assert_eq!(orders.len(), 1);
    assert_eq!(world.ask("integration:acme:shop", &cancel), Some(Reply::Done));
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 cancelled"]);
}

#[test]
fn rows_are_read_by_the_shell_and_those_with_codes_not_at_all() {
    let mut world = World::new(&[Size::S]);
    assert_eq!(world.ask_raw("integration:acme:shop", br#"{"op":"rows","stream":"status","after":4}"#), None);
    assert!(matches!(
        world.seen.last(),
        Some(Effect::ReplyRows { after: 4, integration, .. }) if integration.as_str() == "shop"
    ));
    let notifications = br#"{"op":"rows","stream":"notifications","after":0}"#;
    assert_eq!(code(world.ask_raw("integration:acme:shop", notifications)), RequestErrorCode::Forbidden);
}

#[test]
fn an_unlock_is_written_down_signed_and_answered_with_its_outcome() {
    let mut world = World::new(&[Size::S]);
    let step = world.step(Input::Request { ticket: 90, who: who(EVE), payload: UNLOCK.as_bytes().to_vec() });
    assert!(step.writes.iter().any(|write| write.table == COMMANDS && write.value.is_some()));
    assert!(matches!(step.effects.as_slice(), [Effect::Signer { .. }]), "{:?}", step.effects);
    world.store.commit(&step.writes).unwrap();
    world.run(step.effects);
    let command = world.cabinets[&c1()].commands[0].clone();
    assert_eq!(command.challenge, world.cabinets[&c1()].challenge());
    assert_eq!(command.requester, EVE);
    let Action::Unlock(unlock) = command.action else { panic!() };
    assert_eq!((unlock.compartment, unlock.expects), (door(1), Expect::empty()));
    assert_eq!(world.reply(90), None);
    outcome(&mut world, UnlockOutcome::Opened);
    let Some(Reply::Unlock(result)) = world.reply(90) else { panic!() };
    assert_eq!((result.outcome, result.command), (UnlockOutcome::Opened, command.id));
    assert!(world.store.rows(COMMANDS).unwrap().is_empty());
}

#[test]
fn an_unlock_names_what_the_fleet_believes_to_be_inside() {
    let mut world = World::new(&[Size::S]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    load(&mut world, "A1", 1);
    world.ask_raw(EVE, UNLOCK.as_bytes());
    let Action::Unlock(unlock) = world.cabinets[&c1()].commands[0].action.clone() else { panic!() };
    assert_eq!(unlock.expects, Expect::order("shop/A1".parse().unwrap()));
}

/// Acceptance 9, the fleet's part: nothing is kept for later.
#[test]
fn an_unlock_for_a_cabinet_that_is_away_is_refused_at_once() {
    let mut world = World::new(&[Size::S]);
    world.disconnect(&c1());
    assert_eq!(code(world.ask_raw(EVE, UNLOCK.as_bytes())), RequestErrorCode::CabinetOffline);
    world.connect(&c1());
    assert!(world.cabinets[&c1()].commands.is_empty());
}

#[test]
fn an_unlock_waits_for_a_fresh_challenge_and_no_longer_than_ten_seconds() {
    let mut world = World::new(&[Size::S]);
    world.pass(10_001);
    assert_eq!(world.ask_raw(EVE, UNLOCK.as_bytes()), None);
    world.ask_raw(EVE, UNLOCK.as_bytes());
    assert_eq!((world.cabinets[&c1()].asks, world.cabinets[&c1()].commands.len()), (1, 0));
    world.pass(9_999);
    let stale = cbor::encode(&world.cabinets[&c1()].challenge());
    world.up(&c1(), Up::Challenge, stale);
    assert!(world.cabinets[&c1()].commands.is_empty(), "an old challenge was taken for a fresh one");
    world.pass(1);
    assert_eq!(code(world.reply(world.ticket)), RequestErrorCode::Timeout);
    assert!(world.store.rows(COMMANDS).unwrap().is_empty());
    assert_eq!(world.ask_raw(EVE, UNLOCK.as_bytes()), None);
    world.cabinet(&c1()).challenge += 1;
    let fresh = cbor::encode(&world.cabinets[&c1()].challenge());
    world.up(&c1(), Up::Challenge, fresh);
    assert_eq!(world.cabinets[&c1()].commands.len(), 1);
}

#[test]
fn an_unlock_without_an_outcome_times_out_and_its_outcome_may_come_later() {
    let mut world = World::new(&[Size::S]);
    world.ask_raw(EVE, UNLOCK.as_bytes());
    let ticket = world.ticket;
    world.disconnect(&c1());
    world.pass(39_999);
    assert_eq!(world.reply(ticket), None);
    world.pass(1);
    let Some(Reply::Error(error)) = world.reply(ticket) else { panic!() };
    assert!(error.code == RequestErrorCode::Timeout && error.message.contains("has not said"));
    world.connect(&c1());
    outcome(&mut world, UnlockOutcome::OutcomeUnknown);
    assert!(world.store.rows(COMMANDS).unwrap().is_empty());
}

/// Acceptance 10, the fleet's part.
#[test]
fn the_refusal_of_a_replay_is_an_alarm_and_ends_no_unlock_that_is_on_its_way() {
    let mut world = World::new(&[Size::S]);
    world.ask_raw(EVE, UNLOCK.as_bytes());
    let alarms = world.alarms();
    let id = Some(world.last_command(&c1()));
    world.fact(&c1(), CommandRefused { id, reason: RefusalReason::Replayed });
    assert_eq!((world.reply(world.ticket), world.alarms()), (None, alarms + 1));
    outcome(&mut world, UnlockOutcome::Opened);
    assert!(matches!(world.reply(world.ticket), Some(Reply::Unlock(_))));
}

#[test]
fn a_refused_unlock_is_answered_with_the_cabinets_reason() {
    let mut world = World::new(&[Size::S]);
    world.ask_raw(EVE, UNLOCK.as_bytes());
    world.fact(&c1(), CommandRefused { id: None, reason: RefusalReason::Malformed });
    assert_eq!(world.reply(world.ticket), None);
    let id = Some(world.last_command(&c1()));
    world.fact(&c1(), CommandRefused { id, reason: RefusalReason::WrongContent });
    let Some(Reply::Error(error)) = world.reply(world.ticket) else { panic!() };
    assert!(error.code == RequestErrorCode::Refused && error.message.contains("wrong_content"));
}

#[test]
fn an_unlock_that_cannot_be_signed_is_given_up() {
    let mut world = World::new(&[Size::S]);
    world.signer_works = false;
    assert_eq!(code(world.ask_raw(EVE, UNLOCK.as_bytes())), RequestErrorCode::Unavailable);
    world.signer_works = true;
    world.pass(60_000);
    assert!(world.cabinets[&c1()].commands.is_empty(), "a door was opened for nobody");
}

#[test]
fn an_unlock_of_an_unknown_compartment_or_one_too_many_is_refused() {
    let mut world = World::new(&[Size::S]);
    let json = r#"{"op":"unlock","cabinet":"c1","compartment":2,"reason":"x"}"#;
    assert_eq!(code(world.ask_raw(EVE, json.as_bytes())), RequestErrorCode::Unknown);
    for _ in 0..32 {
        assert_eq!(world.ask_raw(EVE, UNLOCK.as_bytes()), None);
    }
    assert_eq!(code(world.ask_raw(EVE, UNLOCK.as_bytes())), RequestErrorCode::Unavailable);
    world.pass(40_000);
    world.cabinet(&c1()).challenge += 1;
    let fresh = cbor::encode(&world.cabinets[&c1()].challenge());
    world.up(&c1(), Up::Challenge, fresh);
    assert_eq!(world.ask_raw(EVE, UNLOCK.as_bytes()), None);
    assert_eq!(world.store.rows(COMMANDS).unwrap().len(), 32, "old commands fill the store");
}

#[test]
fn no_unlock_is_signed_after_a_restart() {
    let mut world = World::new(&[Size::S]);
    let step = world.step(Input::Request { ticket: 1, who: who(EVE), payload: UNLOCK.as_bytes().to_vec() });
    world.store.commit(&step.writes).unwrap();
    world.restart();
    world.connect(&c1());
    assert!(world.cabinets[&c1()].commands.is_empty());
    assert_eq!(world.store.rows(COMMANDS).unwrap().len(), 1, "who asked is forgotten");
    let signed = step.effects.into_iter().find_map(|effect| match effect {
        Effect::Signer { request: SignerRequest::SignCommand(asked), .. } => Some(asked.command.id),
        _ => None,
    });
    world.fact(&c1(), UnlockDone { id: signed.unwrap(), compartment: door(1), outcome: UnlockOutcome::OutcomeUnknown });
    assert!(world.store.rows(COMMANDS).unwrap().is_empty(), "its outcome came after all");
}

#[test]
fn an_unlock_that_is_answered_leaves_nothing_due() {
    let mut world = World::new(&[Size::S]);
    let due = world.core.poll_timeout();
    world.ask_raw(EVE, UNLOCK.as_bytes());
    assert_ne!(world.core.poll_timeout(), due);
    outcome(&mut world, UnlockOutcome::Opened);
    assert_eq!(world.core.poll_timeout(), due);
}

#[test]
fn an_unlock_that_waits_for_a_challenge_ends_with_the_connection() {
    let mut world = World::new(&[Size::S]);
    world.pass(10_001);
    assert_eq!(world.ask_raw(EVE, UNLOCK.as_bytes()), None);
    world.disconnect(&c1());
    assert_eq!(code(world.reply(world.ticket)), RequestErrorCode::CabinetOffline);
    world.connect(&c1());
    assert!(world.cabinets[&c1()].commands.is_empty());
}

#[test]
fn a_command_without_an_outcome_is_remembered_for_a_day() {
    let mut world = World::new(&[Size::S]);
    world.ask_raw(EVE, UNLOCK.as_bytes());
    for (wait, left) in [(24 * 60 * 60 * 1_000, 1), (1, 0)] {
        world.pass(wait);
        world.disconnect(&c1());
        world.connect(&c1());
        assert_eq!(world.store.rows(COMMANDS).unwrap().len(), left);
    }
}

#[test]
fn the_signer_has_sixty_four_questions_at_once_and_an_unlock_beside_them() {
    let mut world = World::new(&[Size::S]);
    let mut tickets = std::collections::BTreeSet::new();
    let mut ask = |payload: &str| {
        let request = Input::Request { ticket: 1, who: who(EVE), payload: payload.as_bytes().to_vec() };
        let step = world.step(request);
        let asked = step.effects.iter().find_map(|effect| match effect {
            Effect::Signer { ticket, .. } => Some(*ticket),
            _ => None,
        });
        asked.inspect(|ticket| assert!(tickets.insert(*ticket), "two questions with one ticket")).is_some()
    };
    for number in 0..66 {
        assert_eq!(ask(&format!(r#"{{"op":"staff.add","name":"s{number}"}}"#)), number < 64, "{number}");
    }
    assert!(ask(UNLOCK), "somebody stands in front of a door");
}

#[test]
fn a_pin_is_shown_once_and_every_cabinet_of_the_tenant_gets_its_verifier() {
    let mut world = World::new(&[Size::S]);
    world.add_staff("sam");
    let shown = |effect: &Effect| matches!(effect, Effect::ReplySecret { of: SecretOf::Pin(name), .. } if name.as_str() == "sam");
    assert_eq!(world.seen.iter().filter(|effect| shown(effect)).count(), 1);
    world.add(FakeCabinet::new("c2", &[Size::S]));
    let c2 = "c2".parse().unwrap();
    world.connect(&c2);
    for id in [c1(), c2] {
        let books = &world.cabinets[&id].books;
        let staff = books.iter().flat_map(|book| &book.changes).filter(|change| is_staff(change, "sam")).count();
        assert_eq!(staff, 1, "{id}");
    }
    world.add_staff("sam");
    let pins: Vec<_> = world
        .seen
        .iter()
        .filter_map(|effect| match effect {
            Effect::ReplySecret { sealed, .. } => Some(sealed.clone()),
            _ => None,
        })
        .collect();
    assert!(pins.len() == 2 && pins[0] != pins[1], "asking again shows the old PIN");
    let changes = world.cabinets[&c1()].books.iter().flat_map(|book| &book.changes);
    assert_eq!(changes.filter(|change| is_staff(change, "sam")).count(), 2);
}

fn is_staff(change: &schemas::messages::BookChange, name: &str) -> bool {
    matches!(change, schemas::messages::BookChange::PutStaff(put) if put.name.as_str() == name)
}

#[test]
fn a_pin_that_is_late_is_made_all_the_same() {
    let mut world = World::new(&[Size::S]);
    world.signer_works = false;
    world.add_staff("sam");
    let json = br#"{"op":"staff.add","name":"sam"}"#;
    let first = world.ticket;
    assert_eq!(code(world.ask_raw(EVE, json)), RequestErrorCode::Conflict);
    world.pass(40_000);
    assert_eq!(code(world.reply(first)), RequestErrorCode::Timeout);
    world.restart();
    world.connect(&c1());
    world.signer_works = true;
    world.pass(60_000);
    let changes = world.cabinets[&c1()].books.iter().flat_map(|book| &book.changes);
    assert_eq!(changes.filter(|change| is_staff(change, "sam")).count(), 1);
}

#[test]
fn a_tenant_has_two_hundred_members_of_staff_at_most() {
    let mut world = World::empty();
    for number in 0..200 {
        world.add_staff(&format!("s{number}"));
    }
    let json = br#"{"op":"staff.add","name":"one-more"}"#;
    assert_eq!(code(world.ask_raw(EVE, json)), RequestErrorCode::Conflict);
    assert_eq!(world.ask_raw("operator:umbra:max", json), None);
}

#[test]
fn no_payload_shows_in_debug_output() {
    let input = Input::OrderPut {
        tenant: "acme".parse().unwrap(),
        integration: "shop".parse().unwrap(),
        payload: b"+49 30 1234567".to_vec(),
    };
    assert_eq!(format!("{input:?}"), "OrderPut(acme/shop, 14 bytes)");
    let effect = Effect::Down { tenant: "acme".parse().unwrap(), cabinet: c1(), payload: vec![42; 3] };
    assert_eq!(format!("{effect:?}"), "Down(acme/c1, 3 bytes)");
}
