//! What the bus tests stand on: a watcher for deliveries, a rig over rumqttd's router, a rig over a real mosquitto.

pub(crate) mod mosquitto;
mod only_external;
mod only_router;
pub(crate) mod router;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_broker::bus::{Bus, LivePacket, Sink, Timing};
use schemas::topics::Live;

/// Generous: only a test that fails waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of bus that the conformance suite can start, write to from the side, and break.
pub(crate) trait Rig {
    fn start(&self, sink: Sink) -> Box<dyn Bus>;

    /// Writes `message` on the bus as another party could, to the topic of `shard`.
    fn inject(&self, shard: &str, message: &[u8]);

    /// Ends the current link under the bus.
    fn break_link(&self);
}

/// A heartbeat soon enough for tests; a limit that a busy machine does not reach.
pub(crate) fn timing() -> Timing {
    Timing {
        heartbeat: Duration::from_millis(50),
        limit: Duration::from_secs(10),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(200),
    }
}

/// Waits until `check` holds. The message says what was last seen.
pub(crate) fn eventually(what: &str, bus: &dyn Bus, mut check: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < until, "{what}: still not so, {:?}, {:?}", bus.health(), bus.counts());
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Keeps what a sink was given. A closed gate holds the sink up.
#[derive(Default)]
pub(crate) struct Watcher {
    seen: Mutex<Vec<LivePacket>>,
    changed: Condvar,
    gate: Mutex<bool>,
    gate_changed: Condvar,
}

impl Watcher {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn sink(self: &Arc<Self>) -> Sink {
        let watcher = Arc::clone(self);
        Arc::new(move |packet| {
            let mut closed = watcher.gate.lock().unwrap();
            while *closed {
                closed = watcher.gate_changed.wait(closed).unwrap();
            }
            drop(closed);
            watcher.seen.lock().unwrap().push(packet);
            watcher.changed.notify_all();
        })
    }

    pub(crate) fn close_gate(&self) {
        *self.gate.lock().unwrap() = true;
    }

    pub(crate) fn open_gate(&self) {
        *self.gate.lock().unwrap() = false;
        self.gate_changed.notify_all();
    }

    pub(crate) fn seen(&self) -> Vec<LivePacket> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until `enough` holds of what was delivered, and returns it.
    pub(crate) fn wait(&self, bus: &dyn Bus, what: &str, enough: impl Fn(&[LivePacket]) -> bool) -> Vec<LivePacket> {
        let until = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().unwrap();
        while !enough(&seen) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{what}: {} packets delivered, {:?}, {:?}",
                seen.len(),
                bus.health(),
                bus.counts()
            );
            seen = self.changed.wait_timeout(seen, left).unwrap().0;
        }
        seen.clone()
    }
}

pub(crate) fn packet(tenant: &str, cabinet: &str, live: Live, payload: impl Into<Bytes>) -> LivePacket {
    LivePacket { tenant: tenant.parse().unwrap(), cabinet: cabinet.parse().unwrap(), live, payload: payload.into() }
}

/// An event whose payload is its number.
pub(crate) fn event(cabinet: &str, number: u32) -> LivePacket {
    packet("acme", cabinet, Live::Event, number.to_string())
}

/// The numbers of a cabinet's [`event`]s in the order in which they were delivered.
pub(crate) fn numbers(seen: &[LivePacket], cabinet: &str) -> Vec<u32> {
    let of_cabinet = seen.iter().filter(|packet| packet.cabinet.as_str() == cabinet);
    of_cabinet.map(|packet| std::str::from_utf8(&packet.payload).unwrap().parse().unwrap()).collect()
}
