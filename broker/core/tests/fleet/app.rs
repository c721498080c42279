//! Openings by the app: what a backend asks for with the token of a screen, and what it hears of it.

use fleet_core::{Config, Effect, INTENTS, Input};
use schemas::api::{Reply, Request, RequestErrorCode, UnlockRight};
use schemas::messages::{
    Actor, ActorApp, AppClosed, Collected, CommandRefused, DoorOpened, OpenOrder, PresenceToken, RefusalReason, Size,
    UnlockDone, UnlockOutcome,
};
use schemas::step::Store as _;
use schemas::topics::{OrderChange, Up};

use crate::handover::load;
use crate::history::list;
use crate::world::{FakeCabinet, World, c1, door, order, refusal, shop, tenant};

const EVE: &str = "operator:acme:eve";
const SUE: &str = "support:acme:sue";
const TOKEN: &str = "ABCD-2345";

fn config() -> Config {
    Config { break_glass: false, open_by_app: true, ..Config::default() }
}

/// A17 is stored in 1 of a cabinet whose screen shows tokens.
fn stored() -> World {
    let mut world = World::with(config());
    world.add(FakeCabinet { app: true, ..FakeCabinet::new("c1", &[Size::M, Size::M]) });
    world.connect(&c1());
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    load(&mut world, "A17", 1);
    world
}

fn publish_as(world: &mut World, integration: &str, order: &str, token: &str) -> Vec<Effect> {
    let payload = format!(r#"{{"order":"{order}","token":"{token}"}}"#).into_bytes();
    let integration = integration.parse().unwrap();
    world.handle(Input::OrderChange { tenant: tenant(), integration, change: OrderChange::Open, payload })
}

fn publish(world: &mut World, token: &str) -> Vec<Effect> {
    publish_as(world, "shop", "A17", token)
}

fn asked(world: &World) -> &[OpenOrder] {
    &world.cabinets[&c1()].opens
}

/// The newest status: order, state and reason.
fn answer(world: &World) -> String {
    world.told("shop").pop().unwrap()
}

fn opens(world: &mut World, open: &OpenOrder) {
    let by = Actor::from(ActorApp { id: open.id, requester: open.requester.clone() });
    world.fact(&c1(), DoorOpened { compartment: open.compartment, by });
    world.fact(&c1(), UnlockDone { id: open.id, compartment: open.compartment, outcome: UnlockOutcome::Opened });
}

fn closes(world: &mut World, open: &OpenOrder) {
    let (order, compartment, credential) = (open.order.clone(), open.compartment, OpenOrder::credential(open.id));
    world.fact(&c1(), Collected { order, compartment, credential, confirmed: true });
}

fn refuses(world: &mut World, reason: RefusalReason) {
    let id = asked(world).last().unwrap().id;
    world.fact(&c1(), CommandRefused { id: Some(id), reason });
}

#[test]
fn a_backend_opens_its_own_order_for_whoever_stands_there() {
    let mut world = stored();
    let rows = world.told("shop").len();
    publish(&mut world, "abcd 2345");
    let [open] = asked(&world) else { panic!("{:?}", asked(&world)) };
    let open = open.clone();
    assert_eq!((&open.order, open.compartment, open.token), (&order("A17"), door(1), TOKEN.parse().unwrap()));
    assert_eq!((open.requester.as_str(), open.issued), ("integration:acme:shop", world.now));
    assert_eq!(world.told("shop").len(), rows, "nothing is said before the door is open");
    opens(&mut world, &open);
    assert_eq!(answer(&world), "A17 collecting");
    closes(&mut world, &open);
    assert_eq!(answer(&world), "A17 collected");
    let record = list(&mut world).remove(0);
    assert_eq!((record.right, record.by.as_deref()), (UnlockRight::App, Some("integration:acme:shop")));
    assert_eq!((record.outcome, record.command), (Some(UnlockOutcome::Opened), Some(open.id)));
    assert_eq!(list(&mut world).iter().filter(|record| record.right != UnlockRight::Staff).count(), 1);
}

#[test]
fn the_same_request_again_is_not_another_one() {
    let mut world = stored();
    publish(&mut world, TOKEN);
    publish(&mut world, "abcd2345");
    assert_eq!(asked(&world).len(), 1);
    let open = asked(&world)[0].clone();
    opens(&mut world, &open);
    let rows = world.told("shop").len();
    publish(&mut world, TOKEN);
    assert_eq!((asked(&world).len(), world.told("shop").len()), (1, rows));

    // A wrong one that is delivered twice is one guess, and is answered twice.
    let mut world = stored();
    publish(&mut world, TOKEN);
    refuses(&mut world, RefusalReason::NoSuchToken);
    assert_eq!(answer(&world), "A17 stored no_such_token");
    let rows = world.told("shop").len();
    publish(&mut world, TOKEN);
    assert_eq!((asked(&world).len(), world.told("shop").len()), (1, rows + 1));
    assert_eq!(answer(&world), "A17 stored no_such_token");
    publish(&mut world, "ZYXW-9876");
    assert_eq!(asked(&world).len(), 2);
}

#[test]
fn what_a_cabinet_refuses_is_told_in_words_of_the_published_list() {
    for (reason, told) in [
        (RefusalReason::NoSuchToken, "no_such_token"),
        (RefusalReason::NotEnabled, "not_enabled"),
        (RefusalReason::TooOften, "too_often"),
        (RefusalReason::WrongContent, "not_inside"),
        (RefusalReason::UnknownCompartment, "not_inside"),
        (RefusalReason::Expired, "too_late"),
        (RefusalReason::Revoked, "too_late"),
        (RefusalReason::Busy, "not_opened"),
        (RefusalReason::TimeUnknown, "not_opened"),
    ] {
        let mut world = stored();
        publish(&mut world, TOKEN);
        refuses(&mut world, reason);
        assert_eq!(answer(&world), format!("A17 stored {told}"));
        assert_eq!(list(&mut world).remove(0).refused, Some(reason));
        let rows = world.told("shop").len();
        world.pass(120_000);
        assert_eq!(world.told("shop").len(), rows, "told once");
    }
    for outcome in [UnlockOutcome::NotOpened, UnlockOutcome::NotSent, UnlockOutcome::OutcomeUnknown] {
        let mut world = stored();
        publish(&mut world, TOKEN);
        let id = asked(&world)[0].id;
        world.fact(&c1(), UnlockDone { id, compartment: door(1), outcome });
        assert_eq!(answer(&world), "A17 stored not_opened", "{outcome}");
    }
}

#[test]
fn nothing_is_asked_of_a_cabinet_in_vain() {
    let said = |world: &mut World, expected: &str| {
        publish(world, TOKEN);
        assert_eq!((answer(world).as_str(), asked(world).len()), (expected, 0));
    };
    let mut off = stored();
    off.config = Config { open_by_app: false, ..config() };
    off.restart();
    off.connect(&c1());
    said(&mut off, "A17 stored not_enabled");

    let mut dark = stored();
    dark.disconnect(&c1());
    dark.cabinet(&c1()).app = false;
    said(&mut dark, "A17 stored cabinet_offline");
    dark.connect(&c1());
    assert_eq!(asked(&dark).len(), 0, "never kept for later");
    said(&mut dark, "A17 stored not_enabled");

    let mut early = World::with(config());
    early.add(FakeCabinet { app: true, ..FakeCabinet::new("c1", &[Size::M]) });
    early.connect(&c1());
    publish(&mut early, TOKEN);
    assert_eq!(answer(&early), "A17 rejected unknown_order");
    early.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    said(&mut early, "A17 reserved not_inside");

    let mut kept = stored();
    let payload = br#"{"order":"A17","reason":"warm"}"#.to_vec();
    let change = OrderChange::Quarantine;
    kept.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload });
    said(&mut kept, "A17 quarantined quarantined");

    let mut often = stored();
    for n in 0..20 {
        publish(&mut often, &PresenceToken::from_random([n; 5]).to_string());
        refuses(&mut often, RefusalReason::Busy);
    }
    publish(&mut often, TOKEN);
    assert_eq!((answer(&often).as_str(), asked(&often).len()), ("A17 stored too_often", 20));

    let mut over = stored();
    publish(&mut over, TOKEN);
    let open = asked(&over)[0].clone();
    opens(&mut over, &open);
    closes(&mut over, &open);
    publish(&mut over, "ZYXW-9876");
    assert_eq!((answer(&over).as_str(), asked(&over).len()), ("A17 collected too_late", 1));
}

#[test]
fn an_order_of_another_integration_is_unknown_and_rubbish_is_refused() {
    let mut world = stored();
    publish_as(&mut world, "other", "A17", TOKEN);
    assert_eq!(world.told("other"), ["A17 rejected unknown_order"]);
    for payload in
        ["{}", r#"{"order":"A17"}"#, r#"{"order":"A17","token":"ABCD-234O"}"#, r#"{"order":"A17","token":7}"#]
    {
        let payload = payload.as_bytes().to_vec();
        let change = OrderChange::Open;
        let effects = world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload });
        assert!(!refusal(&effects).contains("234O"), "it quotes what may be a token");
    }
    assert!(asked(&world).is_empty());
}

#[test]
fn support_hears_what_became_of_the_door() {
    let request = Request::OrderOpen { order: order("A17"), token: TOKEN.parse().unwrap() };
    let mut world = stored();
    assert_eq!(world.ask(SUE, &request), None);
    let ticket = world.ticket;
    let open = asked(&world)[0].clone();
    assert_eq!(open.requester, SUE);
    opens(&mut world, &open);
    let Some(Reply::Unlock(result)) = world.reply(ticket) else { panic!() };
    assert_eq!((result.outcome, result.command), (UnlockOutcome::Opened, open.id));
    assert_eq!(list(&mut world).remove(0).by.as_deref(), Some(SUE));

    let mut world = stored();
    world.ask(SUE, &request);
    let ticket = world.ticket;
    refuses(&mut world, RefusalReason::NoSuchToken);
    let Some(Reply::Error(error)) = world.reply(ticket) else { panic!() };
    assert!(error.message.contains("no_such_token") && error.code == RequestErrorCode::Refused, "{error:?}");
    assert_eq!(answer(&world), "A17 stored no_such_token", "its backend hears of it too");

    world.disconnect(&c1());
    let other = Request::OrderOpen { order: order("A17"), token: "ZYXW-9876".parse().unwrap() };
    let Some(Reply::Error(error)) = world.ask(SUE, &other) else { panic!() };
    assert_eq!(error.code, RequestErrorCode::CabinetOffline);
    let theirs = world.ask("integration:acme:other", &request).unwrap();
    assert!(matches!(theirs, Reply::Error(error) if error.code == RequestErrorCode::Unknown));
    let Some(Reply::Error(error)) = world.ask("technician:acme:tom", &request) else { panic!() };
    assert_eq!(error.code, RequestErrorCode::Forbidden);
}

#[test]
fn an_old_challenge_is_asked_anew_and_who_waits_too_long_is_told() {
    let mut world = stored();
    world.pass(11_000);
    publish(&mut world, TOKEN);
    assert!(asked(&world).is_empty());
    world.cabinet(&c1()).challenge += 1;
    let challenge = schemas::cbor::encode(&world.cabinets[&c1()].challenge());
    world.up(&c1(), Up::Challenge, challenge);
    assert_eq!(asked(&world).len(), 1);
    let open = asked(&world)[0].clone();
    world.pass(40_000);
    assert_eq!(answer(&world), "A17 stored not_opened");
    let rows = world.told("shop").len();
    world.fact(&c1(), UnlockDone { id: open.id, compartment: door(1), outcome: UnlockOutcome::NotOpened });
    assert_eq!(world.told("shop").len(), rows, "told once");

    world.pass(11_000);
    publish(&mut world, "ZYXW-9876");
    world.pass(10_000);
    assert_eq!(answer(&world), "A17 stored cabinet_offline");
    publish(&mut world, "ZYXW-9877");
    world.disconnect(&c1());
    assert_eq!(answer(&world), "A17 stored cabinet_offline");
    assert_eq!(asked(&world).len(), 1);
}

#[test]
fn a_signer_that_fails_opens_nothing_later() {
    let mut world = stored();
    world.signer_works = false;
    publish(&mut world, TOKEN);
    assert_eq!(answer(&world), "A17 stored not_opened");
    world.signer_works = true;
    world.pass(120_000);
    assert!(asked(&world).is_empty());
}

#[test]
fn a_flow_that_is_closed_after_wrong_tokens_is_an_alarm() {
    let mut world = stored();
    let before = world.alarms();
    world.fact(&c1(), AppClosed { until_boot_millis: 300_000, wrong: 5 });
    assert_eq!(world.alarms(), before + 1);
}

/// From the wish to the collection, with whatever a crash makes of it.
fn story(world: &mut World) {
    publish(world, TOKEN);
    if world.crashed {
        world.restart();
        world.connect(&c1());
        // It was not acknowledged, or was: the backend may send it once more.
        publish(world, TOKEN);
    }
    let opened = asked(world).last().cloned();
    if let Some(open) = opened {
        opens(world, &open);
        if world.crashed {
            world.restart();
            world.connect(&c1());
        }
        closes(world, &open);
        if world.crashed {
            world.restart();
            world.connect(&c1());
        }
    }
    world.pass(60_000);
}

#[test]
fn a_crash_after_any_commit_and_at_any_cut_opens_once_and_leaves_nobody_without_an_answer() {
    let check = |world: &mut World, what: &str| {
        let told = world.told("shop");
        assert!(asked(world).len() <= 1, "{what}");
        let rows = |wanted: &str| told.iter().filter(|row| *row == wanted).count();
        match asked(world).len() {
            1 => assert_eq!((rows("A17 collecting"), rows("A17 collected")), (1, 1), "{what}: {told:?}"),
            _ => assert!(told.last().unwrap().starts_with("A17 stored "), "{what}: {told:?}"),
        }
        assert!(world.store.rows(INTENTS).unwrap().is_empty(), "{what}: intents are left");
    };
    let mut whole = stored();
    let inputs = whole.handled..{
        story(&mut whole);
        whole.handled
    };
    check(&mut whole, "without a crash");
    let mut cuts = 0;
    for input in inputs {
        let mut world = stored();
        world.crash_after = Some(input);
        story(&mut world);
        check(&mut world, &format!("crash behind input {input}"));
        for cut in 0.. {
            let mut world = stored();
            world.cut_at = Some((input, cut));
            story(&mut world);
            if world.cut_at.is_some() {
                break;
            }
            cuts += 1;
            check(&mut world, &format!("input {input} cut at {cut}"));
        }
    }
    assert!(cuts >= 2, "only {cuts} cuts were tried");
    assert_eq!(
        whole.ask(EVE, &Request::OrderShow { order: order("A17") }).map(|reply| matches!(reply, Reply::Order(_))),
        Some(true)
    );
}

#[test]
fn an_order_that_staff_have_to_release_is_not_asked_for() {
    let mut world = stored();
    let put = r#"{"order":"A18","cabinet":"c1","size":"M","category":"pharmacy","staff_release":true}"#;
    world.put(put);
    load(&mut world, "A18", 2);
    publish_as(&mut world, "shop", "A18", TOKEN);
    assert_eq!((answer(&world).as_str(), asked(&world).len()), ("A18 stored not_enabled", 0));
}
