//! Orders that people have loaded and taken out from afar: a signed command, its outcome, and who may ask for it.

use fleet_core::COMMANDS;
use schemas::api::{OrderState, Reply, ReplyError, Request, RequestErrorCode, UnlockRight};
use schemas::messages::*;
use schemas::step::Store as _;

use crate::handover::load;
use crate::history;
use crate::interrupted::{everywhere, survived};
use crate::world::{World, c1, door, order};

const EVE: &str = "operator:acme:eve";
const SAM: &str = "staff:acme:sam";

fn world() -> World {
    let mut world = World::new(&[Size::S, Size::M, Size::L]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    world
}

fn to_load(id: &str) -> Request {
    Request::OrderLoad { order: order(id), compartment: None, size: None }
}

fn to_retrieve(id: &str) -> Request {
    Request::OrderRetrieve { order: order(id) }
}

fn to_confirm(id: &str, inside: bool) -> Request {
    Request::OrderConfirm { order: order(id), inside, retrieving: false }
}

/// Asks, and returns the command that went out with the ticket that waits.
fn sent(world: &mut World, by: &str, request: &Request) -> (Command, u64) {
    assert_eq!(world.ask(by, request), None);
    (world.cabinets[&c1()].commands.last().unwrap().clone(), world.ticket)
}

fn error(reply: Option<Reply>) -> ReplyError {
    let Some(Reply::Error(error)) = reply else { panic!("{reply:?}") };
    error
}

/// The cabinet takes it.
fn taken(world: &mut World, command: &Command, at: u16, errand: Errand) {
    let order = command.action.order().unwrap().clone();
    let requester = command.requester.clone();
    world.fact(&c1(), ErrandTaken { id: command.id, requester, order, compartment: door(at), errand });
}

fn done(world: &mut World, command: &Command, at: u16, outcome: UnlockOutcome) {
    world.fact(&c1(), UnlockDone { id: command.id, compartment: door(at), outcome });
}

fn by_command() -> schemas::ids::Name {
    BY_COMMAND_NAME.parse().unwrap()
}

#[test]
fn a_load_is_signed_for_its_order_and_its_outcome_told_with_the_compartment_that_the_cabinet_took() {
    for who in [EVE, SAM, "support:acme:ben"] {
        let mut world = world();
        let (command, ticket) = sent(&mut world, who, &to_load("A1"));
        assert_eq!(command.requester, who);
        assert_eq!(command.action, LoadOrder { order: order("A1"), compartment: None, size: None }.into());
        assert_eq!(world.reply(ticket), None, "nothing is said before the cabinet has");
        assert_eq!(history::list(&mut world)[0].order.as_deref(), Some("shop/A1"), "on record before it goes out");
        taken(&mut world, &command, 2, Errand::Load);
        world.fact(&c1(), Loading { order: order("A1"), compartment: door(2), staff: by_command() });
        done(&mut world, &command, 2, UnlockOutcome::Opened);
        let Some(Reply::Unlock(result)) = world.reply(ticket) else { panic!("no outcome") };
        assert_eq!((result.compartment, result.outcome, result.command), (door(2), UnlockOutcome::Opened, command.id));
        assert!(world.store.rows(COMMANDS).unwrap().is_empty());
        let by = StoredBy::Sensor;
        world.fact(&c1(), Stored { order: order("A1"), compartment: door(2), by, staff: by_command() });
        assert_eq!(world.statuses("shop").last().unwrap().state, OrderState::Stored);
        let records = history::list(&mut world);
        assert_eq!(records.len(), 1, "one opening, one record: {records:?}");
        assert_eq!((records[0].right, records[0].compartment), (UnlockRight::Command, door(2)));
        assert_eq!((records[0].by.as_deref(), records[0].outcome), (Some(who), Some(UnlockOutcome::Opened)));
        assert_eq!(records[0].order.as_deref(), Some("shop/A1"));
        assert_eq!(world.alarms(), 0);
    }
}

#[test]
fn what_is_asked_for_more_exactly_is_in_the_command() {
    let mut world = world();
    let (compartment, size) = (Some(door(3)), Some(Size::M));
    let one = Request::OrderLoad { order: order("A1"), compartment, size: None };
    let (command, _) = sent(&mut world, EVE, &one);
    assert_eq!(command.action, LoadOrder { order: order("A1"), compartment, size: None }.into());
    let large = Request::OrderLoad { order: order("A1"), compartment: None, size };
    let (command, _) = sent(&mut world, EVE, &large);
    assert_eq!(command.action, LoadOrder { order: order("A1"), compartment: None, size }.into());
    let both = Request::OrderLoad { order: order("A1"), compartment, size };
    assert_eq!(error(world.ask(EVE, &both)).code, RequestErrorCode::Malformed);
    let nowhere = Request::OrderLoad { order: order("A1"), compartment: Some(door(9)), size: None };
    assert_eq!(error(world.ask(EVE, &nowhere)).code, RequestErrorCode::Unknown);
    let huge = Request::OrderLoad { order: order("A1"), compartment: None, size: Some(Size::Xl) };
    let refused = error(world.ask(EVE, &huge));
    assert!(refused.message.contains("no_fitting_compartment"), "{}", refused.message);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_signed() {
    let mut world = world();
    for (by, request, code) in [
        (EVE, to_load("Z9"), RequestErrorCode::Unknown),
        (EVE, to_retrieve("A1"), RequestErrorCode::Conflict),
        (EVE, to_confirm("A1", true), RequestErrorCode::Conflict),
        ("technician:acme:tom", to_load("A1"), RequestErrorCode::Forbidden),
        ("auditor:acme:amy", to_retrieve("A1"), RequestErrorCode::Forbidden),
        ("integration:acme:shop", to_load("A1"), RequestErrorCode::Forbidden),
        ("integration:acme:shop", to_confirm("A1", true), RequestErrorCode::Forbidden),
    ] {
        assert_eq!(error(world.ask(by, &request)).code, code, "{by} {request:?}");
    }
    world.cabinet(&c1()).errands = false;
    world.connect(&c1());
    let refused = error(world.ask(EVE, &to_load("A1")));
    assert_eq!(refused.code, RequestErrorCode::Refused, "an agent of before");
    assert!(refused.message.contains("version"), "{}", refused.message);
    world.disconnect(&c1());
    assert_eq!(error(world.ask(EVE, &to_load("A1"))).code, RequestErrorCode::CabinetOffline);
    assert!(world.cabinets[&c1()].commands.is_empty());
    assert!(history::list(&mut world).is_empty());
}

#[test]
fn somebody_with_a_scope_has_nothing_loaded_elsewhere() {
    let mut world = world();
    let scope = schemas::api::Scope::Cabinets(["c9".parse().unwrap()].into());
    let scoped = Request::PersonScope { identity: SAM.parse().unwrap(), scope };
    assert!(matches!(world.ask(EVE, &scoped), Some(Reply::Identity(_))));
    assert_eq!(error(world.ask(SAM, &to_load("A1"))).code, RequestErrorCode::Forbidden);
}

#[test]
fn a_refusal_of_the_cabinet_has_a_way_out_and_alarms_nobody() {
    for (reason, alarms) in [
        (RefusalReason::NoFittingCompartment, 0),
        (RefusalReason::AlreadyInside, 0),
        (RefusalReason::NotHere, 0),
        (RefusalReason::BadSignature, 1),
    ] {
        let mut world = world();
        let (command, ticket) = sent(&mut world, EVE, &to_load("A1"));
        world.fact(&c1(), CommandRefused { id: Some(command.id), reason });
        let refused = error(world.reply(ticket));
        assert_eq!(refused.code, RequestErrorCode::Refused);
        assert!(refused.message.contains(&reason.to_string()), "{}", refused.message);
        assert_eq!(world.alarms(), alarms, "{reason}");
        let records = history::list(&mut world);
        assert_eq!(records[0].refused, Some(reason));
    }
}

#[test]
fn a_word_is_answered_when_the_cabinet_has_taken_it_and_is_no_opening() {
    let mut world = world();
    world.fact(&c1(), Loading { order: order("A1"), compartment: door(1), staff: by_command() });
    let (command, ticket) = sent(&mut world, EVE, &to_confirm("A1", true));
    assert_eq!(command.action, ConfirmOrder { order: order("A1"), inside: true, retrieving: false }.into());
    let (other, other_ticket) = sent(&mut world, EVE, &to_load("A1"));
    taken(&mut world, &other, 1, Errand::Inside);
    assert_eq!(world.reply(other_ticket), None, "a word is no outcome of a door");
    done(&mut world, &other, 1, UnlockOutcome::NotOpened);
    taken(&mut world, &command, 1, Errand::Inside);
    assert_eq!(world.reply(ticket), Some(Reply::Done));
    assert!(world.store.rows(COMMANDS).unwrap().is_empty());
    assert_eq!(history::list(&mut world).len(), 1, "that of the door");
}

#[test]
fn an_order_is_taken_out_by_a_command_for_it() {
    let mut world = world();
    load(&mut world, "A1", 1);
    world.cancel(r#"{"order":"A1"}"#);
    let (command, ticket) = sent(&mut world, SAM, &to_retrieve("A1"));
    assert_eq!(command.action, RetrieveOrder { order: order("A1") }.into());
    taken(&mut world, &command, 1, Errand::Retrieve);
    done(&mut world, &command, 1, UnlockOutcome::OutcomeUnknown);
    assert!(matches!(world.reply(ticket), Some(Reply::Unlock(_))));
    let before = history::list(&mut world).len();
    world.fact(&c1(), Retrieved { order: order("A1"), compartment: door(1), staff: by_command() });
    assert_eq!(world.statuses("shop").last().unwrap().state, OrderState::Retrieved);
    assert_eq!(history::list(&mut world).len(), before, "the command is on record already");
}

/// A cabinet without sensors tells of no door.
#[test]
fn a_loading_by_command_that_is_given_up_is_no_second_opening() {
    let mut world = world();
    let (command, _) = sent(&mut world, EVE, &to_load("A1"));
    taken(&mut world, &command, 1, Errand::Load);
    world.fact(&c1(), Loading { order: order("A1"), compartment: door(1), staff: by_command() });
    done(&mut world, &command, 1, UnlockOutcome::OutcomeUnknown);
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(1) });
    assert_eq!(history::list(&mut world).len(), 1);
}

#[test]
fn nobody_on_the_staff_has_the_name_of_those_who_are_elsewhere() {
    let mut world = world();
    let add = Request::StaffAdd { name: by_command(), until: None };
    assert_eq!(error(world.ask(EVE, &add)).code, RequestErrorCode::Malformed);
}

#[test]
fn nobody_waits_for_ever_and_what_comes_late_is_still_on_record() {
    let mut world = world();
    let (command, ticket) = sent(&mut world, EVE, &to_load("A1"));
    world.pass(40_000);
    assert_eq!(error(world.reply(ticket)).code, RequestErrorCode::Timeout);
    done(&mut world, &command, 2, UnlockOutcome::Opened);
    let records = history::list(&mut world);
    assert_eq!((records[0].compartment, records[0].outcome), (door(2), Some(UnlockOutcome::Opened)));
}

/// Nothing is signed twice, and what the cabinet has done is known.
#[test]
fn a_fleet_that_dies_anywhere_signs_a_load_once_and_has_its_outcome_on_record() {
    let tried = everywhere(
        world,
        |world| {
            world.ask(EVE, &to_load("A1"));
            survived(world);
            let Some(command) = world.cabinets[&c1()].commands.last().cloned() else { return };
            taken(world, &command, 1, Errand::Load);
            survived(world);
            let loading = Loading { order: order("A1"), compartment: door(1), staff: by_command() };
            world.fact(&c1(), loading);
            survived(world);
            done(world, &command, 1, UnlockOutcome::Opened);
            survived(world);
        },
        |world, what| {
            let commands = &world.cabinets[&c1()].commands;
            assert!(commands.len() <= 1, "{what}: signed {} times", commands.len());
            if let Some(command) = commands.last().cloned() {
                let records = history::list(world);
                let record = records.iter().find(|record| record.command == Some(command.id));
                assert!(record.is_some_and(|record| record.outcome.is_some()), "{what}: {records:?}");
                assert_eq!(world.statuses("shop").last().unwrap().state, OrderState::Loading, "{what}");
            }
        },
    );
    assert!(tried.commits > 3 && tried.cuts > 0, "{tried:?}");
}

/// Whoever asks names the order; which of its compartments is next the fleet knows.
#[test]
fn an_order_in_two_compartments_is_loaded_and_taken_out_one_after_the_other() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","more":["S"],"category":"retail"}"#);
    for (part, number) in [("A1", 1), ("A1.2", 2)] {
        let (command, _) = sent(&mut world, EVE, &to_load("A1"));
        assert_eq!(command.action.order(), Some(&order(part)));
        taken(&mut world, &command, number, Errand::Load);
        world.fact(&c1(), Loading { order: order(part), compartment: door(number), staff: by_command() });
        done(&mut world, &command, number, UnlockOutcome::Opened);
        let (word, _) = sent(&mut world, EVE, &to_confirm("A1", true));
        assert_eq!(word.action.order(), Some(&order(part)));
        taken(&mut world, &word, number, Errand::Inside);
        let by = StoredBy::Staff;
        world.fact(&c1(), Stored { order: order(part), compartment: door(number), by, staff: by_command() });
    }
    assert_eq!(world.statuses("shop").last().unwrap().state, OrderState::Stored);
    world.cancel(r#"{"order":"A1"}"#);
    for (part, number) in [("A1", 1), ("A1.2", 2)] {
        let (command, _) = sent(&mut world, EVE, &to_retrieve("A1"));
        assert_eq!(command.action.order(), Some(&order(part)));
        world.fact(&c1(), Retrieved { order: order(part), compartment: door(number), staff: by_command() });
    }
    assert_eq!(world.statuses("shop").last().unwrap().state, OrderState::Retrieved);
    assert_eq!(error(world.ask(EVE, &to_load("A1.2"))).code, RequestErrorCode::Unknown);
}
