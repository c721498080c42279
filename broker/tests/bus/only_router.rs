//! What only the router's bus can meet: routers that panic, hang, are never made, and come to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_broker::bus::{
    Bus, BusError, Health, Link, LinkError, LinkReceive, LinkSend, Received, RouterBus, Shard, Timing, router_link,
};
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::{Router, RouterConfig};

use super::router::{RouterRig, at_first, black_hole};
use super::{PATIENCE, Rig, Watcher, event, eventually, numbers, timing};

/// For tests that wait until the watchdog has lost patience.
fn impatient() -> Timing {
    Timing { limit: Duration::from_millis(200), longest_pause: Duration::from_millis(20), ..timing() }
}

#[test]
fn router_that_panics_is_replaced_and_nothing_is_lost() {
    let (factory, calls) = at_first(2, doomed_link, Arc::new(router_link));
    let watcher = Watcher::new();
    let bus = RouterBus::over(factory, timing(), watcher.sink(), Box::new(|| panic!("fatal"))).unwrap();
    (0..100).for_each(|number| bus.publish(event("c1", number)).unwrap());
    let seen = watcher.wait(&bus, "all events", |seen| seen.len() >= 100);
    assert_eq!(numbers(&seen, "c1"), (0..100).collect::<Vec<_>>());
    assert_eq!((calls.load(Ordering::SeqCst), bus.counts().replacements), (3, 2));
}

#[test]
fn router_that_hangs_is_noticed_and_replaced() {
    let rig = RouterRig::default();
    let watcher = Watcher::new();
    let never = Box::new(|| panic!("fatal"));
    let bus = RouterBus::over(rig.factory(), impatient(), watcher.sink(), never).unwrap();
    eventually("the link is up", &bus, || bus.health() == Health::Up);
    rig.stall();
    (0..10).for_each(|number| bus.publish(event("c1", number)).unwrap());
    let seen = watcher.wait(&bus, "all events", |seen| seen.len() >= 10);
    assert_eq!(numbers(&seen, "c1"), (0..10).collect::<Vec<_>>());
    assert!(bus.counts().replacements >= 1 && rig.links_made() >= 2);
}

#[test]
fn router_that_never_answers_while_it_is_made_is_passed_over() {
    let forever = || loop {
        std::thread::park();
    };
    let (factory, _) = at_first(1, forever, Arc::new(router_link));
    let watcher = Watcher::new();
    let bus = RouterBus::over(factory, impatient(), watcher.sink(), Box::new(|| panic!("fatal"))).unwrap();
    bus.publish(event("c1", 1)).unwrap();
    watcher.wait(&bus, "the event", |seen| seen.len() == 1);
    assert!(bus.counts().failed_links >= 1);
}

#[test]
fn bus_is_given_up_once_when_no_router_lasts() {
    for (what, first) in [
        ("refused", (|| Err(LinkError::Gone)) as fn() -> Result<Link, LinkError>),
        ("black hole", || Ok(black_hole())),
        ("panics at once", doomed_link),
        ("dies after a sign of life", short_lived_link),
    ] {
        let (factory, calls) = at_first(usize::MAX, first, Arc::new(router_link));
        let (fatal, told) = channel();
        let on_fatal = Box::new(move || fatal.send(()).unwrap());
        // A link that lives for less than the longest pause did not last.
        let timing = Timing { longest_pause: Duration::from_secs(60), ..impatient() };
        let bus = RouterBus::over(factory, timing, Watcher::new().sink(), on_fatal).unwrap();
        bus.publish(event("c1", 1)).unwrap();
        told.recv_timeout(PATIENCE).expect(what);
        assert_eq!(bus.health(), Health::Dead, "{what}");
        assert_eq!(bus.publish(event("c1", 2)), Err(BusError::Dead), "{what}");
        assert_eq!(calls.load(Ordering::SeqCst), 5, "{what}");
        drop(bus);
        assert!(told.recv().is_err(), "{what}: told twice");
    }
}

#[test]
fn sink_that_panics_costs_its_packet_and_no_other() {
    let rig = RouterRig::default();
    let watcher = Watcher::new();
    let (inner, panicked) = (watcher.sink(), AtomicBool::new(false));
    let bus = rig.start(Arc::new(move |packet| {
        assert!(packet.payload != "3" || panicked.swap(true, Ordering::SeqCst), "the sink's own mistake");
        inner(packet);
    }));
    (0..10).for_each(|number| bus.publish(event("c1", number)).unwrap());
    let seen = watcher.wait(&*bus, "the other events", |seen| seen.len() >= 9);
    assert_eq!(numbers(&seen, "c1"), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn publish_returns_while_the_sink_is_held_up() {
    let watcher = Watcher::new();
    watcher.close_gate();
    let bus = RouterRig::default().start(watcher.sink());
    for number in 0..8000 {
        bus.publish(event("c1", number)).unwrap();
    }
    // Reaching this line is the proof. The bus ends in spite of its busy sink, too.
    bus.shutdown();
    assert_eq!(bus.publish(event("c1", 0)), Err(BusError::Closed));
    watcher.open_gate();
}

#[test]
fn dropped_bus_lets_go_of_its_link() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    let factory = Arc::new(move || {
        let Link { sender, receiver } = router_link()?;
        let (sender, receiver) = (Counted(sender, Arc::clone(&counted)), Counted(receiver, Arc::clone(&counted)));
        Ok(Link { sender: Box::new(sender), receiver: Box::new(receiver) })
    });
    let bus = RouterBus::over(factory, timing(), Watcher::new().sink(), Box::new(|| panic!("fatal"))).unwrap();
    eventually("the link is up", &bus, || bus.health() == Health::Up);
    drop(bus);
    let until = Instant::now() + PATIENCE;
    while ended.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < until, "an end of the link is still held");
        std::thread::yield_now();
    }
}

/// An end of a link that counts when it is let go.
struct Counted<T>(T, Arc<AtomicUsize>);

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl LinkSend for Counted<Box<dyn LinkSend>> {
    fn send(&mut self, shard: Shard, frame: Bytes) -> Result<(), LinkError> {
        self.0.send(shard, frame)
    }
}

impl LinkReceive for Counted<Box<dyn LinkReceive>> {
    fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError> {
        self.0.receive(wait)
    }
}

/// A link that dies as soon as it has brought one frame back.
fn short_lived_link() -> Result<Link, LinkError> {
    struct ShortLived(Box<dyn LinkReceive>, bool);
    impl LinkReceive for ShortLived {
        fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError> {
            if self.1 {
                return Err(LinkError::Gone);
            }
            let received = self.0.receive(wait)?;
            self.1 = received.is_some();
            Ok(received)
        }
    }
    let Link { sender, receiver } = router_link()?;
    Ok(Link { sender, receiver: Box::new(ShortLived(receiver, false)) })
}

/// A link to a real router that panics on its first frame: rumqttd 0.20 dies of a topic that starts outside ASCII.
fn doomed_link() -> Result<Link, LinkError> {
    struct Doomed(LinkTx);
    impl LinkSend for Doomed {
        fn send(&mut self, _: Shard, frame: Bytes) -> Result<(), LinkError> {
            self.0.publish("é/x", frame).map(drop).map_err(|_| LinkError::Gone)
        }
    }
    struct Deaf(LinkRx);
    impl LinkReceive for Deaf {
        fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError> {
            let until = Instant::now() + wait;
            match self.0.recv_deadline(until) {
                Err(_) if Instant::now() < until => Err(LinkError::Gone),
                _ => Ok(None),
            }
        }
    }
    let config = RouterConfig {
        max_connections: 1,
        max_outgoing_packet_count: 10,
        max_segment_size: 1024,
        max_segment_count: 1,
        initialized_filters: Some(vec!["live/+".to_owned()]),
        ..RouterConfig::default()
    };
    let (tx, rx, _) =
        LinkBuilder::new("doomed", Router::new(0, config).spawn()).build().map_err(|_| LinkError::Gone)?;
    Ok(Link { sender: Box::new(Doomed(tx)), receiver: Box::new(Deaf(rx)) })
}
