//! The connection to the fleet: rumqttc over mutual TLS, one client a connection, nothing kept in it.
//!
//! rumqttc throws queued messages away when a session is not resumed and reconnects without a pause
//! (dependencies and findings: ARCHITECTURE.md), so it owns nothing here. The outbox in the store owns delivery; each
//! connection begins with `hello` and is driven from the outbox again; the pauses between connections are ours.

mod backoff;
mod connection;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::v5::MqttOptions;
use rumqttc::{TlsConfiguration, Transport};
use schemas::ids::{CabinetId, Identity, TenantId};
use schemas::topics::Topic;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::identity::{Attempt, Credentials};
use backoff::Backoff;
use connection::Connection;

/// Packets of ours without a PUBACK: the window of events, a hello, a challenge, and room. rumqttc allocates a slot for
/// each, 65,536 by default.
const INFLIGHT: u16 = 64;
/// Largest packet both ways: a message and its topic. rumqttc's default of 10 KiB would end in a loop of reconnects.
const PACKET_MAX: u32 = schemas::messages::MESSAGE_MAX as u32 + 1024;
const CONNECT_TIMEOUT_SECONDS: u64 = 20;
/// A connection that held for so long starts the pauses from the shortest again.
const STABLE: Duration = Duration::from_secs(30);

/// Where and as whom to connect.
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub credentials: Arc<Credentials>,
    pub tenant: TenantId,
    pub cabinet: CabinetId,
    pub keep_alive: Duration,
    pub backoff_max: Duration,
}

/// One PUBACK of the fleet's commands to be sent. Belongs to one connection; on another one it is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckToken {
    connection: u64,
    number: u64,
}

impl AckToken {
    /// Both parts in one number, for the core. Connections and packets of one run of an agent stay far below 2³².
    pub fn to_number(self) -> u64 {
        self.connection << 32 | (self.number & 0xffff_ffff)
    }

    pub fn from_number(number: u64) -> Self {
        Self { connection: number >> 32, number: number & 0xffff_ffff }
    }
}

/// What the connection tells.
#[derive(Debug)]
pub enum UplinkEvent {
    /// Connected and subscribed.
    Up {
        connection: u64,
    },
    Lost,
    Down {
        token: AckToken,
        payload: Vec<u8>,
    },
    /// PUBACK of all events up to here.
    EventsAcked {
        up_to: u64,
    },
    HelloAcked,
}

/// What to send. Dropped when there is no connection: the core sends again after the next `hello`.
#[derive(Debug)]
pub enum Uplink {
    Hello(Vec<u8>),
    Challenge(Vec<u8>),
    Telemetry(Vec<u8>),
    Event {
        n: u64,
        payload: Vec<u8>,
    },
    Ack(AckToken),
    /// End this connection and begin another: a core that was opened again knows nothing of this one.
    Restart,
}

/// An order, and the connection that it was meant for: what was decided about an earlier one must not come first on
/// the next, before its hello.
#[derive(Debug)]
pub struct Order {
    pub connection: u64,
    pub uplink: Uplink,
}

/// Keeps a connection up until `orders` is closed.
pub async fn run(endpoint: Endpoint, mut orders: mpsc::Receiver<Order>, events: mpsc::Sender<UplinkEvent>) {
    let mut backoff = Backoff::new(endpoint.backoff_max);
    let down = Topic::Down { tenant: endpoint.tenant.clone(), cabinet: endpoint.cabinet.clone() }.to_string();
    for number in 1.. {
        let started = Instant::now();
        let attempt = endpoint.credentials.attempt();
        let connection =
            Connection::start(number, options(&endpoint, &attempt), &endpoint, (attempt.slot, down.clone()));
        match connection.converse(&mut orders, &events).await {
            Some(reason) => warn!(host = endpoint.host, port = endpoint.port, reason, "not connected"),
            None => return,
        }
        if events.send(UplinkEvent::Lost).await.is_err() {
            return;
        }
        if started.elapsed() >= STABLE {
            backoff.reset();
        }
        let pause = backoff.next(random());
        info!(millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "connect again after a pause");
        if !discard_for(pause, &mut orders).await {
            return;
        }
    }
}

/// Waits, throwing away what would be sent. False when nobody sends any more.
async fn discard_for(pause: Duration, orders: &mut mpsc::Receiver<Order>) -> bool {
    let until = tokio::time::Instant::now() + pause;
    loop {
        match tokio::time::timeout_at(until, orders.recv()).await {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fn options(endpoint: &Endpoint, attempt: &Attempt) -> MqttOptions {
    let identity = Identity::cabinet(&endpoint.tenant, &endpoint.cabinet).to_string();
    let mut options = MqttOptions::new(identity, &endpoint.host, endpoint.port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::clone(&attempt.tls))));
    options.set_keep_alive(endpoint.keep_alive);
    options.set_clean_start(true);
    options.set_manual_acks(true);
    options.set_outgoing_inflight_upper_limit(INFLIGHT);
    options.set_max_packet_size(Some(PACKET_MAX));
    options.set_connection_timeout(CONNECT_TIMEOUT_SECONDS);
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options
}

/// A number in 0..1 for the jitter. Without random numbers every cabinet would come back at once; half is as good as any.
pub(crate) fn random() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
