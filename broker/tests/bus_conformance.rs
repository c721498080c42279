//! One suite, both buses: what holds for the router in the process holds for an external broker.

#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::print_stdout, reason = "rigs are test code, too")]

mod bus;

use std::collections::BTreeSet;

use bus::mosquitto::MosquittoRig;
use bus::router::RouterRig;
use bus::{Rig, Watcher, event, eventually, numbers, packet};
use fleet_broker::bus::{BusError, Health, PAYLOAD_MAX, Shard};
use schemas::topics::Live;

/// Runs each case of the suite against each rig, as a test of its own.
macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod router {
            $(#[test] fn $case() { super::$case(&super::RouterRig::default()); })*
        }
        mod external {
            $(#[test] fn $case() {
                if let Some(rig) = super::MosquittoRig::running() {
                    super::$case(&rig);
                }
            })*
        }
    };
}

conformance![
    order_of_each_cabinet_is_kept,
    packets_arrive_under_their_own_name_only,
    any_bytes_arrive_unchanged,
    payload_at_the_limit_arrives_and_above_it_is_refused,
    flood_of_telemetry_loses_no_event,
    flood_of_events_is_refused_not_forgotten,
    malformed_messages_are_counted_and_dropped,
    publish_after_shutdown_is_refused,
    link_that_dies_is_replaced_and_loses_no_event,
    idle_bus_proves_itself,
];

fn order_of_each_cabinet_is_kept(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    let cabinets = ["c1", "c2", "c3", "c4", "c5"];
    for number in 0..200 {
        for (cabinet, live) in cabinets.iter().zip(Live::ALL.into_iter().cycle().skip(number as usize)) {
            bus.publish(packet("acme", cabinet, live, number.to_string())).unwrap();
        }
    }
    let seen = watcher.wait(&*bus, "all packets", |seen| seen.len() >= 1000);
    for cabinet in cabinets {
        assert_eq!(numbers(&seen, cabinet), (0..200).collect::<Vec<_>>(), "{cabinet}");
    }
    assert_eq!((bus.counts().accepted, bus.counts().delivered), (1000, 1000));
}

fn packets_arrive_under_their_own_name_only(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    let mut sent = BTreeSet::new();
    for tenant in ["acme", "umbra"] {
        for cabinet in 0..40 {
            for live in Live::ALL {
                let (cabinet, kind) = (format!("c{cabinet}"), live.as_str());
                let name = format!("{tenant} {cabinet} {kind}");
                bus.publish(packet(tenant, &cabinet, live, name.clone())).unwrap();
                sent.insert(name);
            }
        }
    }
    let seen = watcher.wait(&*bus, "all packets", |seen| seen.len() >= sent.len());
    for packet in &seen {
        let name = format!("{} {} {}", packet.tenant, packet.cabinet, packet.live.as_str());
        assert_eq!(packet.payload, name, "a packet came under another's name");
        assert!(sent.remove(&name), "{name} came twice");
    }
    assert!(sent.is_empty(), "missing: {sent:?}");
}

fn any_bytes_arrive_unchanged(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    let payloads: [&[u8]; 5] =
        [b"", "é/x".as_bytes(), &[0xff, 0xfe, 0x00], b"$SYS/#/+", &(0..=255).collect::<Vec<u8>>()];
    for payload in payloads {
        bus.publish(packet("acme", "c1", Live::Event, payload.to_vec())).unwrap();
    }
    let seen = watcher.wait(&*bus, "all packets", |seen| seen.len() >= payloads.len());
    assert!(seen.iter().map(|packet| &packet.payload[..]).eq(payloads));
}

fn payload_at_the_limit_arrives_and_above_it_is_refused(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    let too_large = packet("acme", "c1", Live::Event, vec![b'x'; PAYLOAD_MAX + 1]);
    assert_eq!(bus.publish(too_large), Err(BusError::TooLarge { bytes: PAYLOAD_MAX + 1 }));
    // More than a window and than a router's segments.
    for number in 0..100 {
        bus.publish(packet("acme", "c1", Live::Event, vec![number; PAYLOAD_MAX])).unwrap();
    }
    let seen = watcher.wait(&*bus, "all large packets", |seen| seen.len() >= 100);
    assert!(seen.iter().map(|packet| packet.payload[0]).eq(0..100));
    assert!(seen.iter().all(|packet| packet.payload.len() == PAYLOAD_MAX));
}

fn flood_of_telemetry_loses_no_event(rig: &dyn Rig) {
    let watcher = Watcher::new();
    // The sink is held up, so that the flood meets a queue that does not drain.
    watcher.close_gate();
    let bus = rig.start(watcher.sink());
    for number in 0..500 {
        for sample in 0..40 {
            let sample = packet("acme", "noisy", Live::Telemetry, sample.to_string());
            bus.publish(sample).expect("telemetry is dropped, not refused");
        }
        bus.publish(event("c1", number)).unwrap();
    }
    watcher.open_gate();
    let all_events = |seen: &[_]| numbers(seen, "c1").len() >= 500;
    let seen = watcher.wait(&*bus, "all events", all_events);
    assert_eq!(numbers(&seen, "c1"), (0..500).collect::<Vec<_>>());
    eventually("all that was taken is delivered or counted", &*bus, || {
        let counts = bus.counts();
        counts.delivered + counts.dropped.telemetry == counts.accepted
    });
    let counts = bus.counts();
    assert_eq!(counts.accepted, 20_500);
    assert!(counts.dropped.telemetry > 15_000, "{counts:?}");
    assert_eq!((counts.dropped.event, counts.dropped.presence), (0, 0));
}

fn flood_of_events_is_refused_not_forgotten(rig: &dyn Rig) {
    let watcher = Watcher::new();
    watcher.close_gate();
    let bus = rig.start(watcher.sink());
    let results: Vec<_> = (0..10_000).map(|number| bus.publish(event("c1", number))).collect();
    let refused = results.iter().filter(|result| **result == Err(BusError::Full { live: Live::Event })).count();
    assert!(refused > 1000, "{refused} refused");
    watcher.open_gate();
    let taken: Vec<u32> = (0..).zip(&results).filter_map(|(number, result)| result.ok().map(|()| number)).collect();
    let seen = watcher.wait(&*bus, "all events that were taken", |seen| seen.len() >= taken.len());
    assert_eq!(numbers(&seen, "c1"), taken);
    assert_eq!(bus.counts().dropped.event, refused as u64);
}

fn malformed_messages_are_counted_and_dropped(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    eventually("the link is up", &*bus, || bus.health() == Health::Up);
    let shard = Shard::of(&"acme".parse().unwrap(), &"c1".parse().unwrap()).to_string();
    let head = [1, 2, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    let foreign_alphabet = [&head[..], "\u{4}acmé".as_bytes(), b"\x02c1", b"{}"].concat();
    let other_shard = [&head[..], b"\x04acme\x02c2", b"{}"].concat();
    let messages: [&[u8]; 6] = [b"x", b"\xff\xff\xff", &head, &foreign_alphabet, &other_shard, &vec![1; PAYLOAD_MAX]];
    for message in messages {
        rig.inject(&shard, message);
    }
    eventually("all are counted", &*bus, || bus.counts().malformed == messages.len() as u64);
    bus.publish(event("c1", 1)).unwrap();
    let seen = watcher.wait(&*bus, "the next packet", |seen| !seen.is_empty());
    assert_eq!(numbers(&seen, "c1"), [1]);
    assert_eq!(bus.counts().replacements, 0, "a message must not cost the link");
}

fn publish_after_shutdown_is_refused(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    bus.publish(event("c1", 1)).unwrap();
    watcher.wait(&*bus, "the packet before", |seen| !seen.is_empty());
    bus.shutdown();
    bus.shutdown();
    assert_eq!(bus.health(), Health::Closed);
    assert_eq!(bus.publish(event("c1", 2)), Err(BusError::Closed));
    assert_eq!(numbers(&watcher.seen(), "c1"), [1]);
}

fn link_that_dies_is_replaced_and_loses_no_event(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    for round in 0..3 {
        eventually("the link is up", &*bus, || bus.health() == Health::Up);
        let replacements = bus.counts().replacements;
        (0..50).for_each(|number| bus.publish(event("c1", round * 100 + number)).unwrap());
        rig.break_link();
        (50..100).for_each(|number| bus.publish(event("c1", round * 100 + number)).unwrap());
        let so_far = (round as usize + 1) * 100;
        watcher.wait(&*bus, "all events of the round", |seen| seen.len() >= so_far);
        eventually("the link was replaced", &*bus, || bus.counts().replacements > replacements);
    }
    eventually("the link is up again", &*bus, || bus.health() == Health::Up);
    assert_eq!(numbers(&watcher.seen(), "c1"), (0..300).collect::<Vec<_>>());
}

fn idle_bus_proves_itself(rig: &dyn Rig) {
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    eventually("the heartbeat came back", &*bus, || bus.health() == Health::Up);
    assert!(watcher.seen().is_empty(), "heartbeats are not for the sink");
    rig.break_link();
    eventually("the death of an idle link is noticed", &*bus, || bus.counts().replacements > 0);
    eventually("the next link proves itself", &*bus, || bus.health() == Health::Up);
}
