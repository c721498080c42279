//! The bus of a single process: rumqttd's router on a thread of its own, without a socket and without its console.
//!
//! The one link is QoS 0 in both directions. rumqttd's local links know no other (the QoS and packet id of a `Publish`
//! are private to it), and none is needed: the engine counts a frame as routed when it has come back. This also rules
//! out the router's death by an acknowledgement that it does not wait for.
//!
//! A router that is given up while it still runs keeps its thread: it holds a sender to its own channel and has no way
//! to be told to end. In a row there are at most [`GIVE_UP_AFTER`] of them.
//!
//! Replacing a router that *panicked* needs unwinding; in a build with `panic = "abort"` the panic ends the process.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::str;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkError as RouterError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Notification, Router, RouterConfig};

use super::engine::{Engine, OnFatal, Policy, Timing};
use super::link::{Link, LinkError, LinkFactory, LinkReceive, LinkSend, Received, WINDOW_BYTES, WINDOW_FRAMES};
use super::shard::Shard;
use super::{Bus, BusError, Counts, Health, LivePacket, Sink};

/// The process is asked to end after so many routers in a row that did not last.
pub(super) const GIVE_UP_AFTER: u32 = 5;

const TOPIC_PREFIX: &str = "live/";
const FILTER: &str = "live/+";

/// How long a router may take to answer the subscription.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(5);

/// Live packets through a router within the process.
pub struct RouterBus {
    engine: Engine,
}

impl RouterBus {
    /// Starts a router and its watchdog. Packets may be published at once; they wait for the router.
    pub fn start(timing: Timing, sink: Sink, on_fatal: OnFatal) -> io::Result<Self> {
        Self::over(Arc::new(router_link), timing, sink, on_fatal)
    }

    /// The same over links that `factory` makes, each through a new router.
    pub fn over(factory: LinkFactory, timing: Timing, sink: Sink, on_fatal: OnFatal) -> io::Result<Self> {
        let policy =
            Policy { name: "bus-router", timing, give_up_after: Some(GIVE_UP_AFTER), shared_with_others: false };
        Ok(Self { engine: Engine::start(policy, factory, sink, on_fatal)? })
    }
}

impl Bus for RouterBus {
    fn publish(&self, packet: LivePacket) -> Result<(), BusError> {
        self.engine.publish(&packet)
    }

    fn health(&self) -> Health {
        self.engine.health()
    }

    fn counts(&self) -> Counts {
        self.engine.counts()
    }

    fn shutdown(&self) {
        self.engine.shutdown();
    }
}

/// Starts a router and links to it.
pub fn router_link() -> Result<Link, LinkError> {
    let router = Router::new(0, config()).spawn();
    let (tx, rx, _connack) = LinkBuilder::new("bus", router).build().map_err(|_| LinkError::Gone)?;
    let mut sender = RouterSender { tx };
    let mut receiver = RouterReceiver { rx };
    sender.tx.subscribe(FILTER).map_err(|_| LinkError::Gone)?;
    receiver.wait_for_answer(Instant::now() + SUBSCRIBE_LIMIT)?;
    Ok(Link { sender: Box::new(sender), receiver: Box::new(receiver) })
}

/// One filter means one log: two segments that each hold a whole window, so nothing unread is ever dropped.
fn config() -> RouterConfig {
    RouterConfig {
        max_connections: 1,
        max_outgoing_packet_count: WINDOW_FRAMES as u64,
        max_segment_size: 2 * WINDOW_BYTES,
        max_segment_count: 2,
        ..RouterConfig::default()
    }
}

struct RouterSender {
    tx: LinkTx,
}

impl LinkSend for RouterSender {
    fn send(&mut self, shard: Shard, frame: Bytes) -> Result<(), LinkError> {
        self.tx.publish(format!("{TOPIC_PREFIX}{shard}"), frame).map(drop).map_err(|_| LinkError::Gone)
    }
}

impl Drop for RouterSender {
    /// A link has no good-bye of its own. Without one the router keeps the connection, and the receiver never ends.
    fn drop(&mut self) {
        let disconnect = Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection };
        // `send` is async by its signature alone; a failure means that the router is gone already.
        let mut send = pin!(self.tx.send(Packet::Disconnect(disconnect, None)));
        if let Poll::Ready(Err(error)) = send.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            tracing::debug!(%error, "router was gone before its link");
        }
    }
}

struct RouterReceiver {
    rx: LinkRx,
}

impl RouterReceiver {
    fn wait_for_answer(&mut self, until: Instant) -> Result<(), LinkError> {
        loop {
            match self.next(until)? {
                Some(Notification::DeviceAck(_)) => return Ok(()),
                Some(_) => {}
                None if Instant::now() >= until => return Err(LinkError::NotAnswered("subscription to the router")),
                None => {}
            }
        }
    }

    /// The next notification, or `None` after a wake-up for nothing or at `until`.
    fn next(&mut self, until: Instant) -> Result<Option<Notification>, LinkError> {
        match self.rx.recv_deadline(until) {
            Ok(notification) => Ok(notification),
            // Before the deadline this error says that the router has let go of the link.
            Err(RouterError::RecvTimeout(_)) if Instant::now() >= until => Ok(None),
            Err(_) => Err(LinkError::Gone),
        }
    }
}

impl LinkReceive for RouterReceiver {
    fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError> {
        match self.next(Instant::now() + wait)? {
            Some(Notification::Forward(forward)) => {
                let shard = str::from_utf8(&forward.publish.topic)
                    .ok()
                    .and_then(|topic| topic.strip_prefix(TOPIC_PREFIX))
                    .and_then(Shard::parse);
                Ok(Some(Received { shard, frame: forward.publish.payload }))
            }
            // The router paused this link because its buffer was full, and waits for a word.
            Some(Notification::Unschedule) => self.rx.ready().map(|()| None).map_err(|_| LinkError::Gone),
            Some(Notification::Disconnect(..)) => Err(LinkError::Gone),
            Some(
                Notification::DeviceAck(_)
                | Notification::ReplicaData { .. }
                | Notification::ReplicaAcks { .. }
                | Notification::Shadow(_),
            )
            | None => Ok(None),
        }
    }
}
