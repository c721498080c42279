//! Messages that the fleet itself sends to people: what is sent by which channel, when, and what is never sent.

use std::collections::{BTreeMap, BTreeSet};

use fleet_core::{Codes, Config, Dispatch, Effect, Input, MESSAGES, Outcome};
use schemas::api::{
    Channel, Language, MessageDetail, MessageState, MessageTemplate, NotificationKind, Reply, Request,
    RequestErrorCode, UndeliveredReason, parse,
};
use schemas::crypto::codes::Secret;
use schemas::messages::{Actor, ActorCredential, Collected, CredentialId, DoorOpened, LoadAborted, OrderKey, Size};
use schemas::step::{Store as _, Table, Write};
use schemas::topics::OrderChange;

use crate::bundles::change;
use crate::handover::load;
use crate::interrupted::{everywhere, insist, survived};
use crate::restore::restore;
use crate::time::{HOUR, MINUTE, collect};
use crate::world::{World, c1, door, order, tenant};

const CHANNELS: Table = Table("channels");
const TEMPLATES: Table = Table("templates");
const EVE: &str = "operator:acme:eve";
pub(crate) const PHONE: &str = r#"{"phone":"+49 151 12345678"}"#;
pub(crate) const BOTH: &str = r#"{"phone":"+49 151 12345678","email":"kim@example.com"}"#;

pub(crate) fn channel(name: &str, rest: &str) -> Channel {
    let json = format!(r#"{{"name":"{name}","secret":"{name}",{rest}}}"#);
    parse(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

pub(crate) fn sms(name: &str, rest: &str) -> Channel {
    let home = r#""home":{"country_code":"49","trunk":"0"}"#;
    let via =
        format!(r#""via":{{"kind":"sms_twilio","url":"https://sms.example","account":"AC1","from":"me",{home}}}"#);
    channel(name, &format!("{rest}{via}"))
}

pub(crate) fn mail(name: &str, rest: &str) -> Channel {
    channel(name, &format!(r#"{rest}"via":{{"kind":"email","host":"mail.example:25","from":"me@example.com"}}"#))
}

fn hook(name: &str, rest: &str) -> Channel {
    channel(name, &format!(r#"{rest}"via":{{"kind":"webhook","url":"https://hook.example/"}}"#))
}

/// Whoever says how codes are sent is named to whoever looks after the fleet.
pub(crate) fn put_channel(world: &mut World, channel: Channel) {
    let name = channel.name.clone();
    assert_eq!(world.ask(EVE, &Request::ChannelPut { channel: Box::new(channel) }), Some(Reply::Done));
    let told =
        |seen: &Effect| matches!(seen, Effect::Alarm { text } if text.contains(EVE) && text.contains(name.as_str()));
    assert!(world.seen.iter().any(told), "{:?}", world.seen);
}

/// A fleet that sends by these channels, with three compartments.
pub(crate) fn fleet(channels: impl IntoIterator<Item = Channel>) -> World {
    let mut world = World::new(&[Size::M, Size::M, Size::M]);
    channels.into_iter().for_each(|channel| put_channel(&mut world, channel));
    world
}

pub(crate) fn put(world: &mut World, id: &str, recipient: &str) {
    world.put(&format!(r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"retail","recipient":{recipient}}}"#));
}

pub(crate) fn stored(world: &mut World, id: &str, recipient: &str) {
    put(world, id, recipient);
    load(world, id, 1);
}

/// What the shell was told to send since the last look.
pub(crate) fn sent(world: &mut World) -> Vec<Dispatch> {
    let (sent, other) = std::mem::take(&mut world.seen).into_iter().partition(|seen| matches!(seen, Effect::Notify(_)));
    world.seen = other;
    let dispatch = |effect| match effect {
        Effect::Notify(dispatch) => Some(*dispatch),
        _ => None,
    };
    Vec::into_iter(sent).filter_map(dispatch).collect()
}

pub(crate) fn one(world: &mut World) -> Dispatch {
    let [dispatch] = sent(world).try_into().unwrap_or_else(|all| panic!("{all:?} instead of one message"));
    dispatch
}

fn text(dispatch: &Dispatch) -> String {
    let codes = Codes::of(&Secret::parse("12345678").unwrap(), &Secret::token_from(&[5; 16]));
    dispatch.text(&codes).to_string()
}

pub(crate) fn outcome(world: &mut World, dispatch: &Dispatch, outcome: Outcome) {
    let Dispatch { tenant, id, attempt, .. } = dispatch.clone();
    world.handle(Input::Notified { tenant, id, attempt, outcome });
}

pub(crate) fn accepted() -> Outcome {
    Outcome::Accepted { reference: Some("SM1".into()) }
}

fn detail() -> String {
    "HTTP 500".into()
}

fn refused() -> Outcome {
    Outcome::Refused { detail: detail() }
}

fn failed() -> Outcome {
    Outcome::Failed { detail: detail() }
}

fn unknown() -> Outcome {
    Outcome::Unknown { detail: detail() }
}

pub(crate) fn list(world: &mut World, undelivered: bool) -> Vec<MessageDetail> {
    match world.ask(EVE, &Request::MessageList { undelivered, order: None, after: None }) {
        Some(Reply::Messages(page)) => page.messages,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn states(world: &mut World) -> Vec<(MessageState, Option<UndeliveredReason>)> {
    list(world, false).into_iter().map(|message| (message.state, message.reason)).collect()
}

pub(crate) fn undelivered(world: &mut World) -> Vec<UndeliveredReason> {
    list(world, true).into_iter().filter_map(|message| message.reason).collect()
}

/// Everything that is in the store about messages.
pub(crate) fn bytes(world: &World) -> String {
    let rows = world.store.all().filter(|(table, ..)| *table == MESSAGES.0);
    rows.map(|(_, _, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

#[test]
fn a_stored_order_is_told_by_the_channel_and_once() {
    let mut world = fleet([sms("sms", "")]);
    put(&mut world, "A17", r#"{"phone":"0151 / 123 456-78","language":"de-AT"}"#);
    assert!(sent(&mut world).is_empty(), "nothing is inside yet");
    load(&mut world, "A17", 1);
    let dispatch = one(&mut world);
    let told = &world.notifications()[0];
    assert_eq!((dispatch.to.as_str(), dispatch.attempt, dispatch.channel.name.as_str()), ("+4915112345678", 1, "sms"));
    assert_eq!(
        text(&dispatch),
        "Ihre Bestellung A17 liegt bereit: Main Street 1, Fach 1. Code: 12345678. Abholen bis \
                                 2026-11-25T20:15:00.000Z."
    );
    assert_eq!(dispatch.sealed()[0].0, [0xee, told.code.parse::<u8>().unwrap()], "the code of the notification");
    assert_eq!(states(&mut world), [(MessageState::Sending, None)]);
    outcome(&mut world, &dispatch, accepted());
    let [message] = list(&mut world, false).try_into().unwrap();
    assert_eq!((message.state, message.reference.as_deref()), (MessageState::Accepted, Some("SM1")));
    assert!(!bytes(&world).contains("151 12345678"), "the address is not kept");
    world.restart();
    world.connect(&c1());
    world.pass(12 * HOUR);
    assert!(sent(&mut world).is_empty());
    // What is accepted is forgotten after a day.
    world.pass(13 * HOUR);
    assert!(list(&mut world, false).is_empty() && world.row_count(MESSAGES) == 0);
}

#[test]
fn without_a_channel_or_for_somebody_unknown_nothing_is_sent() {
    for (channels, recipient) in
        [(vec![], PHONE), (vec![sms("sms", "")], "{}"), (vec![sms("sms", r#""integrations":["erp"],"#)], PHONE)]
    {
        let mut world = fleet(channels);
        stored(&mut world, "A17", recipient);
        assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES), world.notifications().len()), (0, 0, 1));
    }
}

#[test]
fn the_first_channel_that_has_an_address_is_used() {
    let all = || [mail("mail", r#""rank":1,"#), sms("sms", r#""rank":2,"#), hook("hook", r#""rank":3,"#)];
    for (recipient, name) in [
        (PHONE, Some("sms")),
        (r#"{"phone":"+49 151 12345678","email":"kim@example.com"}"#, Some("mail")),
        (r#"{"phone":"see notes"}"#, Some("hook")),
        (r#"{"email":"kim@example.com, max@example.com"}"#, Some("hook")),
    ] {
        let mut world = fleet(all());
        stored(&mut world, "A17", recipient);
        assert_eq!(sent(&mut world).first().map(|dispatch| dispatch.channel.name.as_str()), name, "{recipient}");
    }
    for (recipient, reason) in [
        (r#"{"phone":"see notes"}"#, UndeliveredReason::BadNumber),
        (r#"{"email":"kim@example.com"}"#, UndeliveredReason::NoAddress),
    ] {
        let mut world = fleet([sms("sms", "")]);
        let alarms = world.alarms();
        stored(&mut world, "A17", recipient);
        assert_eq!((sent(&mut world).len(), undelivered(&mut world)), (0, vec![reason]));
        assert_eq!((world.alarms(), world.told("shop").last().unwrap().as_str()), (alarms + 1, "A17 stored"));
        assert!(!bytes(&world).contains("see notes"));
        // Who has come for it all the same is not missing a message.
        collect(&mut world, "A17");
        assert!(undelivered(&mut world).is_empty());
    }
}

#[test]
fn what_was_not_sent_or_may_have_been_is_sent_again_with_the_same_id_and_code_and_later_each_time() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let first = one(&mut world);
    let mut last = (first.clone(), world.now);
    let mut waits = Vec::new();
    for again in 2..=12 {
        outcome(&mut world, &last.0, if again % 2 == 0 { unknown() } else { failed() });
        assert!(sent(&mut world).is_empty());
        world.now = world.core.poll_timeout().unwrap();
        world.settle();
        let dispatch = one(&mut world);
        assert_eq!((&dispatch.id, dispatch.sealed(), dispatch.attempt), (&first.id, first.sealed(), again));
        waits.push(world.now - last.1);
        last = (dispatch, world.now);
    }
    assert!(waits[..6].is_sorted() && waits[0] < 10_000 && waits.iter().all(|wait| *wait <= 38 * MINUTE), "{waits:?}");
    outcome(&mut world, &last.0, unknown());
    world.pass(HOUR);
    assert!(sent(&mut world).is_empty());
    assert_eq!(undelivered(&mut world), [UndeliveredReason::GaveUp]);
    assert!(!bytes(&world).contains("151 12345678"), "the address is not kept");
}

#[test]
fn a_gateway_that_certainly_took_nothing_is_tried_for_a_day() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let begun = world.now;
    let mut tries = 0;
    let mut dispatch = one(&mut world);
    loop {
        tries += 1;
        outcome(&mut world, &dispatch, failed());
        if states(&mut world)[0].0 != MessageState::Queued {
            break;
        }
        let mut next = Vec::new();
        while next.is_empty() {
            world.pass(MINUTE);
            next = sent(&mut world);
        }
        dispatch = next.remove(0);
    }
    assert!(tries > 30 && world.now - begun >= 24 * HOUR, "{tries} tries in {} min", (world.now - begun) / MINUTE);
    assert_eq!(undelivered(&mut world), [UndeliveredReason::GaveUp]);
}

#[test]
fn a_webhook_knows_somebody_by_the_order_alone_and_nothing_else_does() {
    let mut world = fleet([hook("hook", "")]);
    stored(&mut world, "A17", "{}");
    assert_eq!(one(&mut world).to, "");
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", "{}");
    assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES)), (0, 0));
}

#[test]
fn a_channel_that_was_taken_from_an_integration_sends_its_messages_no_more() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let dispatch = one(&mut world);
    outcome(&mut world, &dispatch, failed());
    put_channel(&mut world, sms("sms", r#""integrations":["other"],"#));
    world.pass(HOUR);
    assert!(sent(&mut world).is_empty());
    assert_eq!(undelivered(&mut world).len(), 1);
}

#[test]
fn an_outcome_of_a_try_that_is_over_counts_only_if_the_message_was_accepted_after_all() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let first = one(&mut world);
    world.restart();
    world.connect(&c1());
    let second = one(&mut world);
    assert_eq!((&second.id, second.attempt), (&first.id, 2));
    outcome(&mut world, &first, refused());
    outcome(&mut world, &first, failed());
    assert_eq!(states(&mut world), [(MessageState::Sending, None)]);
    outcome(&mut world, &first, accepted());
    outcome(&mut world, &second, refused());
    outcome(&mut world, &second, accepted());
    assert_eq!(states(&mut world), [(MessageState::Accepted, None)]);
    let mut stranger = second;
    stranger.id = "msg_00".into();
    outcome(&mut world, &stranger, accepted());
    world.pass(HOUR);
    assert!(sent(&mut world).is_empty());
}

#[test]
fn an_answer_that_is_lost_is_an_unknown_outcome() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let first = one(&mut world);
    world.pass(9 * MINUTE);
    assert!(sent(&mut world).is_empty());
    world.pass(2 * MINUTE);
    assert_eq!(one(&mut world).id, first.id);
}

#[test]
fn a_code_that_the_signer_does_not_show_costs_no_try() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    for _ in 0..30 {
        let dispatch = one(&mut world);
        assert_eq!(dispatch.attempt, 1);
        outcome(&mut world, &dispatch, Outcome::NotRevealed);
        world.pass(MINUTE);
    }
}

#[test]
fn a_channel_that_refuses_or_takes_too_long_is_followed_by_the_next_one() {
    let both = r#"{"phone":"+49 151 12345678","email":"kim@example.com"}"#;
    let channels = || [sms("a", r#""fallback_after_minutes":2,"#), mail("b", "")];
    let mut world = fleet(channels());
    stored(&mut world, "A17", both);
    let first = one(&mut world);
    outcome(&mut world, &first, refused());
    let second = one(&mut world);
    assert_eq!((second.to.as_str(), second.attempt), ("kim@example.com", 1));
    assert_eq!((&second.id, second.sealed()), (&first.id, first.sealed()));
    outcome(&mut world, &second, refused());
    assert_eq!(undelivered(&mut world), [UndeliveredReason::Refused]);

    let mut world = fleet(channels());
    stored(&mut world, "A17", both);
    let start = world.now;
    let mut by = Vec::new();
    while by.last().is_none_or(|(_, name)| name != "b") {
        let dispatch = one(&mut world);
        by.push((world.now - start, dispatch.channel.name.to_string()));
        outcome(&mut world, &dispatch, failed());
        world.now = world.core.poll_timeout().unwrap();
        world.settle();
    }
    assert_eq!(by.last().unwrap().0, 2 * MINUTE, "{by:?}");
    assert!(by.len() > 3, "{by:?}");
    // After the last one there is nobody to hand it on to.
    world.pass(10 * MINUTE);
    assert!(states(&mut world)[0].0 != MessageState::Undelivered);
}

#[test]
fn a_message_whose_channel_was_removed_goes_by_another_one_or_is_listed() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let dispatch = one(&mut world);
    outcome(&mut world, &dispatch, failed());
    let remove = Request::ChannelRemove { name: "sms".parse().unwrap() };
    assert_eq!(world.ask(EVE, &remove), Some(Reply::Done));
    assert!(matches!(world.ask(EVE, &remove), Some(Reply::Error(error)) if error.code == RequestErrorCode::Unknown));
    world.pass(MINUTE);
    assert_eq!(undelivered(&mut world), [UndeliveredReason::NoChannel]);
}

#[test]
fn a_message_of_an_order_that_is_over_or_withheld_is_not_sent() {
    let begin = || {
        let mut world = fleet([sms("sms", "")]);
        stored(&mut world, "A17", PHONE);
        let dispatch = one(&mut world);
        outcome(&mut world, &dispatch, unknown());
        world
    };
    let mut world = begin();
    collect(&mut world, "A17");
    world.pass(HOUR);
    assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES)), (0, 0));

    let mut world = begin();
    world.cancel(r#"{"order":"A17"}"#);
    world.pass(HOUR);
    assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES)), (0, 0));

    let mut world = begin();
    world.fact(&c1(), LoadAborted { order: order("A17"), compartment: door(1) });
    world.pass(HOUR);
    assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES)), (0, 0), "it was taken out again");

    let mut world = begin();
    let quarantine = Request::OrderQuarantine { order: order("A17"), reason: "x".into() };
    assert!(matches!(world.ask(EVE, &quarantine), Some(Reply::Order(_))));
    world.pass(HOUR);
    assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES)), (0, 0), "its code is dead");
    let release = Request::OrderRelease { order: order("A17"), reason: "x".into() };
    assert!(matches!(world.ask(EVE, &release), Some(Reply::Order(_))));
    world.pass(2 * MINUTE);
    let told = one(&mut world);
    assert_eq!(told.attempt, 1, "another message with another code");
}

fn reissue(world: &mut World) {
    reissue_of(world, "A17");
}

pub(crate) fn reissue_of(world: &mut World, id: &str) {
    change(world, OrderChange::Reissue, &format!(r#"{{"order":"{id}"}}"#));
}

#[test]
fn a_code_that_was_replaced_is_not_sent_any_more() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let first = one(&mut world);
    outcome(&mut world, &first, unknown());
    reissue(&mut world);
    let second = one(&mut world);
    assert!(second.id != first.id && second.sealed()[0] != first.sealed()[0]);
    outcome(&mut world, &second, accepted());
    world.pass(HOUR);
    assert!(sent(&mut world).is_empty());
    // The same for one that was with the gateway.
    reissue(&mut world);
    let third = one(&mut world);
    reissue(&mut world);
    let fourth = one(&mut world);
    outcome(&mut world, &third, unknown());
    outcome(&mut world, &fourth, accepted());
    world.pass(HOUR);
    assert!(sent(&mut world).is_empty());
}

#[test]
fn another_number_is_told_another_code_and_the_former_one_nothing_more() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let first = one(&mut world);
    outcome(&mut world, &first, unknown());
    // Also while its cabinet has not taken the new code.
    world.disconnect(&c1());
    change(&mut world, OrderChange::Content, r#"{"order":"A17","change":{"recipient":{"phone":"+48 601 123 456"}}}"#);
    world.pass(HOUR);
    assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES)), (0, 0));
    world.connect(&c1());
    let second = one(&mut world);
    assert_eq!(second.to, "+48601123456");
    assert_ne!(second.sealed()[0], first.sealed()[0]);
    outcome(&mut world, &second, accepted());
    world.pass(HOUR);
    assert!(sent(&mut world).is_empty());
}

#[test]
fn reminders_and_the_same_code_again_are_messages_of_their_own() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let first = one(&mut world);
    outcome(&mut world, &first, accepted());
    change(&mut world, OrderChange::Resend, r#"{"order":"A17"}"#);
    let again = one(&mut world);
    assert!(again.id != first.id && again.sealed() == first.sealed());
    outcome(&mut world, &again, accepted());
    world.pass(36 * HOUR);
    let reminder = one(&mut world);
    assert!(text(&reminder).starts_with("Your order A17 is still waiting"), "{}", text(&reminder));
    // One for all where the gateway was away.
    outcome(&mut world, &reminder, failed());
    change(&mut world, OrderChange::Resend, r#"{"order":"A17"}"#);
    change(&mut world, OrderChange::Resend, r#"{"order":"A17"}"#);
    let all = sent(&mut world);
    let (newest, rest) = all.split_last().unwrap();
    rest.iter().for_each(|dispatch| outcome(&mut world, dispatch, failed()));
    outcome(&mut world, newest, failed());
    world.pass(MINUTE);
    assert!(sent(&mut world).len() <= 3);
}

#[test]
fn the_holder_of_a_bundle_is_told_until_nothing_is_left() {
    let mut world = fleet([sms("sms", "")]);
    for (at, id) in ["B1", "B2"].into_iter().enumerate() {
        put(&mut world, id, "{}");
        let recipient = r#""recipient":{"phone":"+49 151 12345678"}"#;
        if at == 1 {
            change(
                &mut world,
                OrderChange::Bundle,
                &format!(r#"{{"bundle":"run-7","orders":["B1","B2"],{recipient}}}"#),
            );
        }
    }
    load(&mut world, "B1", 1);
    assert!(sent(&mut world).is_empty());
    load(&mut world, "B2", 2);
    let told = one(&mut world);
    assert_eq!(
        text(&told).split(". Collect").next().unwrap(),
        "Your orders are ready: Main Street 1: 1, 2. One code for all: 12345678"
    );
    outcome(&mut world, &told, unknown());
    for (id, number) in [("B1", 1), ("B2", 2)] {
        let credential = CredentialId([1; 8]);
        let by = Actor::Credential(ActorCredential { id: credential });
        world.fact(&c1(), DoorOpened { compartment: door(number), by });
        world.fact(&c1(), Collected { order: order(id), compartment: door(number), credential, confirmed: true });
    }
    sent(&mut world);
    world.pass(HOUR);
    assert_eq!((sent(&mut world).len(), world.row_count(MESSAGES)), (0, 0));
}

#[test]
fn a_fleet_that_was_put_back_sends_nothing_that_may_be_old() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let dispatch = one(&mut world);
    outcome(&mut world, &dispatch, unknown());
    let backup = world.store.clone();
    restore(&mut world, backup);
    world.connect(&c1());
    let told = sent(&mut world);
    assert!(told.iter().all(|one| one.id != dispatch.id), "{told:?}");
    assert!(undelivered(&mut world).contains(&UndeliveredReason::Restored));
}

#[test]
fn a_channel_sends_a_few_at_a_time_and_a_tenant_so_many_in_a_minute() {
    let mut world = World::with(Config { break_glass: false, messages_per_minute: 20, ..Config::default() });
    world.add(crate::world::FakeCabinet::new("c1", &[Size::M; 40]));
    world.connect(&c1());
    put_channel(&mut world, sms("sms", ""));
    for at in 1..=40 {
        put(&mut world, &format!("A{at}"), PHONE);
        load(&mut world, &format!("A{at}"), at);
    }
    let mut count = 0;
    let mut under_way = sent(&mut world);
    assert_eq!(under_way.len(), 8);
    while let Some(dispatch) = under_way.pop() {
        count += 1;
        outcome(&mut world, &dispatch, accepted());
        under_way.extend(sent(&mut world));
        assert!(under_way.len() <= 8);
    }
    assert_eq!(count, 20);
    for _ in 0..70 {
        world.pass(1_000);
        for dispatch in sent(&mut world) {
            count += 1;
            outcome(&mut world, &dispatch, accepted());
        }
    }
    assert_eq!(count, 40);
}

#[test]
fn a_gateway_that_does_not_answer_keeps_up_no_other_one() {
    let mut world = World::with(Config { break_glass: false, messages_per_minute: 1_000, ..Config::default() });
    world.add(crate::world::FakeCabinet::new("c1", &[Size::M; 61]));
    world.connect(&c1());
    put_channel(&mut world, sms("sms", ""));
    put_channel(&mut world, mail("mail", ""));
    for at in 1..=60 {
        put(&mut world, &format!("A{at}"), PHONE);
        load(&mut world, &format!("A{at}"), at);
    }
    let under_way = sent(&mut world);
    assert_eq!(under_way.len(), 8, "and 52 wait");
    world.pass(1_000);
    put(&mut world, "B1", r#"{"email":"me@example.com"}"#);
    load(&mut world, "B1", 61);
    for _ in 0..5 {
        world.pass(1_000);
    }
    assert_eq!(one(&mut world).channel.name.as_str(), "mail");
    // They come in their order once it answers.
    for dispatch in under_way {
        outcome(&mut world, &dispatch, accepted());
    }
    for _ in 0..5 {
        world.pass(1_000);
    }
    assert_eq!(sent(&mut world).len(), 8);
}

#[test]
fn a_template_is_the_tenants_own_and_a_wrong_one_is_refused_with_its_place() {
    let template = |language: &str, text: &str, subject: Option<&str>| Request::TemplatePut {
        template: MessageTemplate {
            kind: NotificationKind::PickupCode,
            language: language.parse().unwrap(),
            text: text.into(),
            subject: subject.map(str::to_owned),
        },
    };
    let mut world = fleet([mail("mail", "")]);
    for (text, subject, said) in [
        ("{cod} {code}", None, "text, character 1: there is no such field"),
        ("at {place}", None, "text, {code} is missing"),
        ("{code}", Some("{code}"), "subject, {code} does not belong"),
        ("{code}\u{7}", None, "text, character 7: a control character"),
    ] {
        let Some(Reply::Error(error)) = world.ask(EVE, &template("de", text, subject)) else { panic!("{text}") };
        assert!(error.code == RequestErrorCode::Malformed && error.message.starts_with(said), "{error:?}");
    }
    assert_eq!(world.ask(EVE, &template("de", "Hallo {code}", Some("Hallo"))), Some(Reply::Done));
    assert_eq!(world.ask(EVE, &template("en", "Hi {code}", None)), Some(Reply::Done));
    world.restart();
    world.connect(&c1());
    for (language, said, subject) in [
        (r#","language":"de_AT""#, "Hallo 12345678", "Hallo"),
        (r#","language":"fr""#, "Hi 12345678", "Ready to collect: A1"),
        (r#","language":"??""#, "Hi 12345678", "Ready to collect: A2"),
        ("", "Hi 12345678", "Ready to collect: A3"),
    ] {
        let id = subject.split(": ").nth(1).unwrap_or("A0");
        stored(&mut world, id, &format!(r#"{{"email":"kim@example.com"{language}}}"#));
        let dispatch = one(&mut world);
        assert_eq!((text(&dispatch).as_str(), dispatch.subject()), (said, subject));
        outcome(&mut world, &dispatch, accepted());
        collect(&mut world, id);
    }
    let (kind, language): (_, Language) = (NotificationKind::PickupCode, "de-ch".parse().unwrap());
    let Some(Reply::Template(shown)) = world.ask(EVE, &Request::TemplateShow { kind, language }) else { panic!() };
    assert_eq!(
        (shown.preview.as_str(), shown.is_default, shown.template.language.as_str()),
        ("Hallo 12345678", false, "de")
    );
    let remove = Request::TemplateRemove { kind, language: "de".parse().unwrap() };
    assert_eq!(world.ask(EVE, &remove), Some(Reply::Done));
    let Some(Reply::Template(shown)) = world.ask(EVE, &Request::TemplateShow { kind, language: "de".parse().unwrap() })
    else {
        panic!()
    };
    assert!(shown.is_default && shown.preview.starts_with("Ihre Bestellung"));
}

#[test]
fn a_test_message_has_no_code_and_leaves_no_row() {
    let mut world = fleet([sms("sms", ""), hook("hook", "")]);
    let ask = |world: &mut World, name: &str, to: &str| {
        world.seen.clear();
        let reply = world.ask(EVE, &Request::ChannelTest { name: name.parse().unwrap(), to: to.into() });
        let dispatch = world.seen.iter().find_map(|seen| match seen {
            Effect::ReplyTested { dispatch, .. } => Some((**dispatch).clone()),
            _ => None,
        });
        (reply, dispatch)
    };
    let (reply, dispatch) = ask(&mut world, "sms", "0151 12345678");
    let dispatch = dispatch.unwrap();
    assert_eq!((reply, dispatch.to.as_str(), dispatch.is_test), (None, "+4915112345678", true));
    assert!(
        dispatch
            .text(&Codes::of_test())
            .starts_with("TEST: Your order TEST is ready: Test, compartment 1. Code: 000000")
    );
    assert!(ask(&mut world, "hook", "").1.is_some());
    assert!(
        matches!(ask(&mut world, "sms", "nobody").0, Some(Reply::Error(error)) if error.code == RequestErrorCode::Malformed)
    );
    assert!(
        matches!(ask(&mut world, "none", "").0, Some(Reply::Error(error)) if error.code == RequestErrorCode::Unknown)
    );
    assert_eq!(world.row_count(MESSAGES), 0);
}

#[test]
fn who_may_put_channels_and_who_sees_what_of_messages() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let (kind, language): (_, Language) = (NotificationKind::PickupCode, "de".parse().unwrap());
    let template = MessageTemplate { kind, language: language.clone(), text: "{code}".into(), subject: None };
    let all = [
        Request::ChannelList {},
        Request::ChannelPut { channel: Box::new(sms("sms", "")) },
        Request::ChannelTest { name: "sms".parse().unwrap(), to: "+4915112345678".into() },
        Request::TemplateShow { kind, language: language.clone() },
        Request::TemplatePut { template },
        Request::TemplateRemove { kind, language },
        Request::MessageList { undelivered: false, order: None, after: None },
        Request::ChannelRemove { name: "sms".parse().unwrap() },
    ];
    for (who, may) in [
        ("support:acme:sue", "------+-"),
        ("auditor:acme:ann", "+--+--+-"),
        ("staff:acme:sam", "------+-"),
        ("technician:acme:tom", "--------"),
        ("integration:acme:shop", "--------"),
        ("operator:acme:eve", "++++++++"),
    ] {
        let did = all.iter().map(|request| match world.ask(who, request) {
            Some(Reply::Error(error)) if error.code == RequestErrorCode::Forbidden => '-',
            _ => '+',
        });
        assert_eq!(did.collect::<String>(), may, "{who}");
    }
    // Another tenant sees and touches nothing, and a scope hides what is elsewhere.
    put_channel(&mut world, sms("sms", ""));
    assert_eq!(world.ask("operator:umbra:max", &all[0]), Some(Reply::Channels(Vec::new())));
    let listed = |world: &mut World, who| match world.ask(who, &all[6]) {
        Some(Reply::Messages(page)) => page.messages.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((listed(&mut world, "operator:umbra:max"), listed(&mut world, EVE)), (0, 1));
    let scope = schemas::api::Scope::Sites(vec!["port".parse().unwrap()]);
    let identity = crate::world::who("support:acme:sue");
    world.ask(EVE, &Request::PersonScope { identity, scope });
    assert_eq!(listed(&mut world, "support:acme:sue"), 0);
}

#[test]
fn a_list_has_pages_and_shows_neither_code_nor_address() {
    let mut world = World::new(&[Size::M; 60]);
    put_channel(&mut world, sms("sms", ""));
    for at in 1..=60 {
        put(&mut world, &format!("A{at}"), PHONE);
        load(&mut world, &format!("A{at}"), at);
    }
    let (mut seen, mut after) = (BTreeSet::new(), None);
    loop {
        let Some(Reply::Messages(page)) =
            world.ask(EVE, &Request::MessageList { undelivered: false, order: None, after })
        else {
            panic!()
        };
        assert!(!serde_json::to_string(&page).unwrap().contains("15112345678"));
        after = page.messages.last().map(|last| last.id.clone());
        assert!(page.messages.iter().all(|message| seen.insert(message.order.clone())), "one twice");
        if !page.more {
            break;
        }
    }
    assert_eq!(seen.len(), 60);
    let only: OrderKey = order("A7");
    let request = Request::MessageList { undelivered: false, order: Some(only.clone()), after: None };
    let Some(Reply::Messages(page)) = world.ask(EVE, &request) else { panic!() };
    assert_eq!(page.messages.iter().map(|message| &message.order).collect::<Vec<_>>(), [&only]);
    let shown = format!("{:?}", sent(&mut world));
    assert!(!shown.contains("15112345678") && !shown.contains("Main Street"), "{shown}");
}

#[test]
fn time_in_which_the_signer_shows_nothing_is_not_that_of_the_channel_and_does_not_last_for_ever() {
    let mut world = fleet([sms("a", r#""rank":1,"fallback_after_minutes":2,"#), mail("b", "")]);
    stored(&mut world, "A17", BOTH);
    for _ in 0..10 {
        let dispatch = one(&mut world);
        assert_eq!((dispatch.channel.name.as_str(), dispatch.attempt), ("a", 1));
        outcome(&mut world, &dispatch, Outcome::NotRevealed);
        world.pass(MINUTE);
    }
    let dispatch = one(&mut world);
    outcome(&mut world, &dispatch, failed());
    world.pass(MINUTE);
    assert!(sent(&mut world).iter().all(|dispatch| dispatch.channel.name.as_str() == "a"), "it had its own time");

    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let mut minutes = 0;
    while undelivered(&mut world).is_empty() {
        for dispatch in sent(&mut world) {
            outcome(&mut world, &dispatch, Outcome::NotRevealed);
        }
        world.pass(MINUTE);
        minutes += 1;
        assert!(minutes <= 25 * 60, "it waits for ever");
    }
    assert!(minutes >= 23 * 60, "{minutes} min");
    assert_eq!(undelivered(&mut world), [UndeliveredReason::NoCode]);
}

#[test]
fn a_restored_fleet_says_once_how_many_messages_are_not_sent() {
    let mut world = World::new(&[Size::M; 20]);
    put_channel(&mut world, sms("sms", ""));
    for at in 1..=20 {
        put(&mut world, &format!("A{at}"), PHONE);
        load(&mut world, &format!("A{at}"), at);
    }
    world.seen.clear();
    let backup = world.store.clone();
    restore(&mut world, backup);
    let said =
        |seen: &&Effect| matches!(seen, Effect::Alarm { text } if text.contains("messages of acme are not sent"));
    let alarms: Vec<_> = world.seen.iter().filter(said).collect();
    assert!(alarms.len() == 1 && format!("{alarms:?}").contains("20 messages"), "{alarms:?}");
    assert!(!world.seen.iter().any(|seen| matches!(seen, Effect::Alarm { text } if text.contains("gets no message"))));
}

#[test]
fn one_channel_that_has_much_to_send_takes_no_time_of_another() {
    let mut world = World::with(Config { break_glass: false, messages_per_minute: 5, ..Config::default() });
    world.add(crate::world::FakeCabinet::new("c1", &[Size::M; 12]));
    world.connect(&c1());
    put_channel(&mut world, sms("sms", ""));
    put_channel(&mut world, mail("mail", ""));
    let mut by = Vec::new();
    for at in 1..=12 {
        let recipient = if at == 12 { r#"{"email":"kim@example.com"}"# } else { PHONE };
        put(&mut world, &format!("A{at}"), recipient);
        load(&mut world, &format!("A{at}"), at);
        for dispatch in sent(&mut world) {
            by.push(dispatch.channel.name.to_string());
            outcome(&mut world, &dispatch, accepted());
        }
    }
    assert_eq!(by, ["sms", "sms", "sms", "sms", "sms", "mail"]);
}

#[test]
fn a_new_message_takes_the_place_of_one_that_did_not_arrive() {
    let mut world = fleet([sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let first = one(&mut world);
    outcome(&mut world, &first, refused());
    assert_eq!(undelivered(&mut world).len(), 1);
    change(&mut world, OrderChange::Resend, r#"{"order":"A17"}"#);
    let second = one(&mut world);
    assert!(undelivered(&mut world).is_empty(), "it is on its way");
    outcome(&mut world, &second, refused());
    assert_eq!(undelivered(&mut world).len(), 1, "and listed once");
}

#[test]
fn an_instruction_is_in_the_language_of_the_template() {
    for (language, said) in [
        (
            "de-AT",
            "Geben Sie den Code am Bildschirm ein oder halten Sie den QR-Code an den Scanner. Tür 1 öffnet sich.",
        ),
        ("pl", "Wpisz kod na ekranie"),
        ("es", "Se abre la puerta 1. Por favor, vuelva a cerrarla."),
        ("zh-Hans", "请在屏幕上输入取件码，或将二维码对准扫描器。1 号柜门会打开。取件后请关好柜门。"),
        ("en", "Enter the code at the screen"),
    ] {
        let mut world = fleet([sms("sms", "")]);
        let language: Language = language.parse().unwrap();
        let kind = NotificationKind::PickupCode;
        let template = MessageTemplate {
            kind,
            language: language.base().parse().unwrap(),
            text: "{code} {instruction}".into(),
            subject: None,
        };
        assert_eq!(world.ask(EVE, &Request::TemplatePut { template }), Some(Reply::Done));
        stored(&mut world, "A17", &format!(r#"{{"phone":"+49 151 12345678","language":"{language}"}}"#));
        let told = text(&one(&mut world));
        assert!(told.contains(said), "{told}");
        let Some(Reply::Template(shown)) = world.ask(EVE, &Request::TemplateShow { kind, language }) else { panic!() };
        assert!(told.starts_with(&shown.preview[..30]), "{told} and {}", shown.preview);
    }
    // A language without words of ours: those of its template stay, and the sentence is English.
    let mut world = fleet([sms("sms", "")]);
    let (kind, language) = (NotificationKind::PickupCode, "fr".parse().unwrap());
    let template = MessageTemplate { kind, language, text: "Voici {code}. {instruction}".into(), subject: None };
    assert_eq!(world.ask(EVE, &Request::TemplatePut { template }), Some(Reply::Done));
    stored(&mut world, "A17", r#"{"phone":"+49 151 12345678","language":"fr"}"#);
    assert!(text(&one(&mut world)).starts_with("Voici 12345678. Enter the code"));
}

#[test]
fn rows_of_later_versions_are_no_reason_to_open_no_door() {
    let mut world = fleet([sms("sms", ""), sms("later", "")]);
    stored(&mut world, "A17", PHONE);
    let dispatch = one(&mut world);
    let mut rows: Vec<(&'static str, Vec<u8>, Vec<u8>)> = Vec::new();
    for (table, key, value) in world.store.all() {
        if table == CHANNELS.0 && String::from_utf8_lossy(key).ends_with("later") {
            let at = value.windows(10).position(|part| part == b"sms_twilio").unwrap();
            let mut other = value.to_vec();
            other[at..at + 10].copy_from_slice(b"sms_pigeon");
            rows.push((CHANNELS.0, key.to_vec(), other));
        }
        if table == MESSAGES.0 {
            // One more field at the end of the map: what this version does not know is passed over.
            let mut more = value.to_vec();
            assert!((0xa0..0xb7).contains(&more[0]), "a small map");
            more[0] += 1;
            more.extend([0x18, 0xf0, 0xf5]);
            rows.push((MESSAGES.0, key.to_vec(), more));
        }
    }
    assert_eq!(rows.len(), 2);
    for (table, key, value) in rows {
        let table = if table == CHANNELS.0 { CHANNELS } else { MESSAGES };
        world.store.commit(&[Write { table, key, value: Some(value) }]).unwrap();
    }
    // One that cannot be read at all, such as with a reason that only a later version knows.
    let key = b"acme/msg_00000000000000000000000000000000".to_vec();
    world.store.commit(&[Write { table: MESSAGES, key, value: Some(vec![0xa1, 0x18, 0xf0, 0xf5]) }]).unwrap();
    let key = b"acme/pickup_song/de".to_vec();
    world.store.commit(&[Write { table: TEMPLATES, key, value: Some(vec![0xa1, 0x01, 0x61, b'x']) }]).unwrap();
    world.restart();
    world.connect(&c1());
    let again = one(&mut world);
    assert_eq!((&again.id, again.channel.name.as_str()), (&dispatch.id, "sms"));
    let Some(Reply::Channels(channels)) = world.ask(EVE, &Request::ChannelList {}) else { panic!() };
    assert_eq!(channels.iter().map(|channel| channel.name.as_str()).collect::<Vec<_>>(), ["sms"]);
}

#[test]
fn what_will_not_be_sent_is_kept_up_to_a_number() {
    let mut world = World::new(&[Size::M]);
    put_channel(&mut world, sms("sms", ""));
    stored(&mut world, "A17", PHONE);
    let dispatch = one(&mut world);
    outcome(&mut world, &dispatch, refused());
    let (_, _, row) = world.store.all().find(|(table, ..)| *table == MESSAGES.0).unwrap();
    let row = row.to_vec();
    let id = dispatch.id.clone();
    let copies = (0..20_010_u32).map(|n| {
        let other = format!("msg_{n:032x}");
        let at = row.windows(id.len()).position(|part| part == id.as_bytes()).unwrap();
        let mut copy = row.clone();
        copy[at..at + id.len()].copy_from_slice(other.as_bytes());
        Write { table: MESSAGES, key: format!("acme/{other}").into_bytes(), value: Some(copy) }
    });
    let copies: Vec<_> = copies.collect();
    world.store.commit(&copies).unwrap();
    world.restart();
    world.connect(&c1());
    reissue(&mut world);
    let dispatch = one(&mut world);
    outcome(&mut world, &dispatch, refused());
    assert!(world.row_count(MESSAGES) <= 20_000, "{}", world.row_count(MESSAGES));
}

/// A gateway that keeps what it has taken, by message.
#[derive(Default, Debug)]
struct Gateway {
    codes: BTreeMap<String, Vec<u8>>,
    /// What became of the last try, as the fleet was told; none: it was told nothing.
    told: BTreeMap<String, Option<char>>,
    taken: BTreeSet<String>,
}

impl Gateway {
    /// Looks at a try before anything comes of it.
    fn take(&mut self, world: &World, dispatch: &Dispatch) {
        let code = dispatch.sealed()[0].0.clone();
        let known = self.codes.entry(dispatch.id.clone()).or_insert_with(|| code.clone());
        assert_eq!(*known, code, "another code under the same id");
        let last = self.told.get(&dispatch.id).copied().flatten();
        assert!(!matches!(last, Some('a' | 'r')), "sent again after {last:?}");
        let states = world.told("shop");
        assert!(states.iter().any(|told| told.ends_with(" stored")), "sent before anything was stored");
        self.told.insert(dispatch.id.clone(), None);
    }
}

/// Whatever gateways, signers and power do: nothing is lost, nothing is sent before its time or again without a reason.
#[test]
fn the_outbox_survives_random_histories() {
    for seed in 0..400_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut dice = |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let mut world = fleet([sms("sms", "")]);
        let mut gateway = Gateway::default();
        put(&mut world, "A17", PHONE);
        insist(&mut world, |world| load(world, "A17", 1));
        for _ in 0..40 {
            for dispatch in sent(&mut world) {
                gateway.take(&world, &dispatch);
                let (outcome_now, word, takes) = match dice(6) {
                    0 => (accepted(), 'a', true),
                    1 => (failed(), 'f', false),
                    2 => (unknown(), 'u', true),
                    3 => (unknown(), 'u', false),
                    4 => (Outcome::NotRevealed, 'n', false),
                    // Nobody hears what became of it.
                    _ => {
                        gateway.taken.insert(dispatch.id.clone());
                        continue;
                    }
                };
                if takes {
                    gateway.taken.insert(dispatch.id.clone());
                }
                // The power is cut behind the commit, or before it.
                match dice(4) {
                    0 => {
                        world.crash_after = Some(world.handled);
                        outcome(&mut world, &dispatch, outcome_now);
                        gateway.told.insert(dispatch.id.clone(), Some(word));
                    }
                    1 => world.crashed = true,
                    _ => {
                        outcome(&mut world, &dispatch, outcome_now);
                        gateway.told.insert(dispatch.id.clone(), Some(word));
                    }
                }
                if !survived(&mut world) {
                    break;
                }
            }
            match dice(8) {
                0 => reissue(&mut world),
                1 => drop(change(&mut world, OrderChange::Resend, r#"{"order":"A17"}"#)),
                2 => {
                    // What was to be sent dies with the process.
                    drop(sent(&mut world));
                    world.crashed = true;
                    survived(&mut world);
                }
                _ => world.pass(dice(3 * MINUTE)),
            }
        }
        // From now on all goes well.
        for _ in 0..200 {
            for dispatch in sent(&mut world) {
                gateway.take(&world, &dispatch);
                gateway.taken.insert(dispatch.id.clone());
                gateway.told.insert(dispatch.id.clone(), Some('a'));
                outcome(&mut world, &dispatch, accepted());
            }
            world.pass(MINUTE);
        }
        let code = world.notifications().last().unwrap().code.parse::<u8>().unwrap();
        let reached = gateway.codes.iter().any(|(id, known)| known[..] == [0xee, code] && gateway.taken.contains(id));
        // Given up after many tries, somebody sees it.
        let listed = undelivered(&mut world).len();
        assert!(reached || listed > 0, "seed {seed}: the code that counts reached nobody: {gateway:?}");
        assert!(
            states(&mut world).iter().all(|(state, _)| !matches!(state, MessageState::Queued | MessageState::Sending))
        );
    }
}

/// A power cut at any commit, and between any two aggregates of a step.
#[test]
fn a_message_is_on_disk_with_its_notification_wherever_the_power_goes() {
    let begin = || {
        let mut world = fleet([sms("sms", "")]);
        put(&mut world, "A17", PHONE);
        sent(&mut world);
        world
    };
    let story = |world: &mut World| {
        load(world, "A17", 1);
        if !survived(world) {
            load(world, "A17", 1);
        }
    };
    let check = |world: &mut World, what: &str| {
        let all = sent(world);
        let ids: BTreeSet<_> = all.iter().map(|dispatch| dispatch.id.clone()).collect();
        assert_eq!((world.notifications().len(), ids.len()), (1, 1), "{what}: {all:?}");
        assert_eq!(tenant(), all[0].tenant);
    };
    let tried = everywhere(begin, story, check);
    assert!(tried.commits >= 4 && tried.cuts >= 2, "{tried:?}");
}
