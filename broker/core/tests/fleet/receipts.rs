//! What gateways are asked about messages that they have accepted, and what follows from their answers.

use fleet_core::{Effect, Input, MESSAGES, Outcome, Receipt, ReceiptAsk};
use schemas::api::{Channel, MessageState, UndeliveredReason, Via};
use schemas::messages::Size;
use schemas::topics::OrderChange;

use crate::bundles::change;
use crate::handover::load;
use crate::messages::{
    BOTH, PHONE, accepted, bytes, channel, fleet, list, mail, one, outcome, put, put_channel, reissue_of, sent, sms,
    states, stored, undelivered,
};
use crate::restore::restore;
use crate::time::{HOUR, MINUTE, collect};
use crate::world::{World, c1};

/// SMS whose gateway is asked whether they were delivered.
fn asked_sms(name: &str, rest: &str) -> Channel {
    let Channel { via, .. } = sms(name, rest);
    let mut via = serde_json::to_value(via).unwrap();
    via["receipts"] = true.into();
    channel(name, &format!(r#"{rest}"via":{via}"#))
}

/// What the shell was told to ask since the last look.
fn asked(world: &mut World) -> Vec<ReceiptAsk> {
    let (asked, other) =
        std::mem::take(&mut world.seen).into_iter().partition(|seen| matches!(seen, Effect::AskReceipt(_)));
    world.seen = other;
    let ask = |effect| match effect {
        Effect::AskReceipt(ask) => Some(*ask),
        _ => None,
    };
    Vec::into_iter(asked).filter_map(ask).collect()
}

fn receipt(world: &mut World, ask: &ReceiptAsk, receipt: Receipt) {
    let ReceiptAsk { tenant, id, reference, .. } = ask.clone();
    world.handle(Input::Receipt { tenant, id, reference, receipt });
}

fn not_delivered() -> Receipt {
    Receipt::Undelivered { detail: "code 30003".into() }
}

#[test]
fn a_gateway_is_asked_whether_a_message_was_delivered_for_some_hours_and_later_each_time() {
    let mut world = fleet([asked_sms("sms", "")]);
    stored(&mut world, "A17", PHONE);
    let dispatch = one(&mut world);
    let begun = world.now;
    outcome(&mut world, &dispatch, accepted());
    let mut times = Vec::new();
    while world.core.poll_timeout().is_some_and(|due| due <= begun + 6 * HOUR) {
        world.now = world.core.poll_timeout().unwrap();
        world.settle();
        for ask in asked(&mut world) {
            assert_eq!((ask.reference.as_str(), &ask.id, ask.channel.name.as_str()), ("SM1", &dispatch.id, "sms"));
            times.push(world.now - begun);
            receipt(&mut world, &ask, Receipt::NotYet);
        }
        assert!(sent(&mut world).is_empty());
    }
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(times[0] == 10_000 && (10..=20).contains(&times.len()) && times.last().unwrap() < &(4 * HOUR), "{times:?}");
    assert!(waits.is_sorted() && waits.iter().all(|wait| *wait <= 30 * MINUTE), "{waits:?}");
    assert_eq!(states(&mut world), [(MessageState::Accepted, None)]);
    assert!(!bytes(&world).contains("151 12345678"), "the address is not kept");
    world.pass(21 * HOUR);
    assert_eq!(world.row_count(MESSAGES), 0, "forgotten a day after it was accepted");
}

#[test]
fn what_is_delivered_is_over_and_what_is_not_goes_by_the_next_channel_or_is_listed() {
    let begin = |recipient: &str| {
        let mut world = fleet([asked_sms("a", r#""rank":1,"#), mail("b", "")]);
        stored(&mut world, "A17", recipient);
        let dispatch = one(&mut world);
        outcome(&mut world, &dispatch, accepted());
        world.pass(MINUTE);
        let ask = asked(&mut world).remove(0);
        (world, dispatch, ask)
    };
    let (mut world, _, ask) = begin(BOTH);
    let stranger = ReceiptAsk { reference: "SM2".into(), ..ask.clone() };
    receipt(&mut world, &stranger, not_delivered());
    receipt(&mut world, &ask, Receipt::Delivered);
    receipt(&mut world, &ask, not_delivered());
    assert_eq!(states(&mut world), [(MessageState::Delivered, None)]);
    assert!(!bytes(&world).contains("kim@example.com"), "the address is not kept");
    world.pass(5 * HOUR);
    assert_eq!((sent(&mut world).len(), asked(&mut world).len()), (0, 0));

    let (mut world, first, ask) = begin(BOTH);
    receipt(&mut world, &ask, not_delivered());
    let second = one(&mut world);
    assert_eq!((second.to.as_str(), &second.id, second.sealed()), ("kim@example.com", &first.id, first.sealed()));
    receipt(&mut world, &ask, not_delivered());
    outcome(&mut world, &second, accepted());
    assert_eq!(states(&mut world), [(MessageState::Accepted, None)], "a mail server is asked nothing");
    world.pass(5 * HOUR);
    assert!(asked(&mut world).is_empty());

    let (mut world, _, ask) = begin(PHONE);
    let alarms = world.alarms();
    receipt(&mut world, &ask, not_delivered());
    assert_eq!((undelivered(&mut world), world.alarms()), (vec![UndeliveredReason::NotDelivered], alarms + 1));
    assert_eq!(list(&mut world, true)[0].detail.as_deref(), Some("code 30003"));
    assert!(!bytes(&world).contains("151 12345678"), "the address is not kept");
}

#[test]
fn another_gateway_is_not_asked_under_the_names_of_the_one_before() {
    let begin = |after: Channel| {
        let mut world = fleet([asked_sms("sms", "")]);
        stored(&mut world, "A17", PHONE);
        let dispatch = one(&mut world);
        outcome(&mut world, &dispatch, accepted());
        put_channel(&mut world, after);
        world.pass(MINUTE);
        let asked = asked(&mut world).len();
        (asked, states(&mut world)[0].0, bytes(&world).contains("151 12345678"))
    };
    let Channel { mut via, .. } = asked_sms("sms", "");
    if let Via::SmsTwilio { account, .. } = &mut via {
        *account = "AC9".into();
    }
    let other = Channel { via, ..asked_sms("sms", "") };
    assert_eq!(begin(other), (0, MessageState::Accepted, false));
    let (asked, state, _) = begin(asked_sms("sms", r#""rank":7,"#));
    assert!(asked > 0 && state == MessageState::Accepted, "the same server goes on being asked");
}

#[test]
fn nobody_is_asked_about_what_is_of_no_use_any_more_or_what_has_no_plain_name() {
    let begin = |reference: &str| {
        let mut world = fleet([asked_sms("sms", "")]);
        stored(&mut world, "A17", PHONE);
        let dispatch = one(&mut world);
        outcome(&mut world, &dispatch, Outcome::Accepted { reference: Some(reference.into()) });
        world
    };
    let quiet = |world: &mut World, what: &str| {
        world.pass(5 * HOUR);
        assert_eq!(asked(world).len(), 0, "{what}");
        assert!(!bytes(world).contains("151 12345678"), "{what}: the address is kept");
    };
    quiet(&mut begin("../Accounts"), "a name that is a path");
    let mut world = begin("SM1");
    collect(&mut world, "A17");
    quiet(&mut world, "collected");
    let mut world = begin("SM1");
    put_channel(&mut world, sms("sms", ""));
    quiet(&mut world, "receipts are not asked for any more");
    let mut world = begin("SM1");
    change(&mut world, OrderChange::Content, r#"{"order":"A17","change":{"recipient":{"phone":"+48 601 123 456"}}}"#);
    let second = one(&mut world);
    outcome(&mut world, &second, Outcome::Accepted { reference: None });
    quiet(&mut world, "another recipient");
    let mut world = begin("SM1");
    let backup = world.store.clone();
    restore(&mut world, backup);
    quiet(&mut world, "a restored fleet");
    // A broker that starts anew goes on asking.
    let mut world = begin("SM1");
    world.restart();
    world.connect(&c1());
    world.pass(15_000);
    assert_eq!(asked(&mut world).len(), 1);
}

#[test]
fn asking_is_bounded_and_holds_up_no_message() {
    let mut world = World::new(&[Size::M; 60]);
    put_channel(&mut world, asked_sms("sms", ""));
    for at in 1..=60 {
        put(&mut world, &format!("A{at}"), PHONE);
        load(&mut world, &format!("A{at}"), at);
        for dispatch in sent(&mut world) {
            outcome(&mut world, &dispatch, accepted());
        }
    }
    let mut counts = Vec::new();
    for _ in 0..20 {
        world.pass(1_000);
        counts.push(asked(&mut world).len());
    }
    assert!(counts.iter().all(|count| *count <= 4), "no more than are asked at the same time: {counts:?}");
    let first: usize = counts.iter().sum();
    assert!((30..=40).contains(&first), "as many as in a minute: {counts:?}");
    // The gateway has enough to do with questions; a message goes out at once.
    reissue_of(&mut world, "A60");
    assert_eq!(sent(&mut world).len(), 1);
    for _ in 0..70 {
        world.pass(1_000);
    }
    let more = asked(&mut world).len();
    assert!((20..=45).contains(&more), "{more}");
}
