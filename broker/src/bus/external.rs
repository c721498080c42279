//! The bus of several processes: an external MQTT 5 broker, reached with rumqttc.
//!
//! What comes from it is live display, never input to the core (see the module above). The broker's own ACL should let
//! nobody but fleet processes below the prefix; nothing safe depends on that.
//!
//! Each link is one connection with a clean session and is never reconnected: rumqttc retries without a pause and drops
//! what is queued when the session is new. The engine keeps the frames and makes the next link after a growing, jittered
//! pause. This process sees each of its packets once; another process may see one twice when a link died before the
//! packet had come back, and loses those that the broker drops for a slow reader.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Filter, Packet, RetainForwardRule, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time;

use super::engine::{Engine, Policy, Timing};
use super::frame::FRAME_MAX;
use super::link::{Link, LinkError, LinkReceive, LinkSend, Received, WINDOW_FRAMES};
use super::shard::Shard;
use super::{Bus, BusError, Counts, Health, LivePacket, Sink};

/// Longest [`ExternalSettings::prefix`] in bytes.
const PREFIX_MAX: usize = 100;

/// Room for the topic and the head of a packet around a frame.
const PACKET_MAX: u32 = (FRAME_MAX + PREFIX_MAX + 64) as u32;

/// How long a link that is given up may take to say good-bye.
const GOOD_BYE_LIMIT: Duration = Duration::from_secs(1);

/// Where the external broker is and who we are to it.
pub struct ExternalSettings {
    /// A DNS name or an IPv4 address; with TLS the name in the broker's certificate.
    pub host: String,
    pub port: u16,
    pub transport: ExternalTransport,
    /// Different in each process: a broker cuts the connection of the elder of two equals.
    pub client_id: String,
    /// Topics are `<prefix>/live/<shard>`. The same in all processes of a fleet.
    pub prefix: String,
    pub timing: Timing,
}

/// How the external broker is reached.
pub enum ExternalTransport {
    /// The configuration carries the client certificate and the roots that the broker's must chain to.
    MutualTls(Arc<rustls::ClientConfig>),
    /// For tests, and for a tunnel that ends on this machine.
    PlaintextLoopback,
}

/// Why an external bus cannot be started with its settings.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    #[error("external bus host `{0}` is neither a name nor an IPv4 address")]
    BadHost(String),
    #[error("external bus host `{0}` is not 127.0.0.0/8: without TLS only loopback is allowed")]
    PlaintextOffLoopback(String),
    #[error("external bus client id is empty or longer than 64 bytes")]
    BadClientId,
    #[error(
        "external bus prefix `{0}` is not 1 to {PREFIX_MAX} bytes of a-z, A-Z, 0-9, `-`, `_` in levels parted by `/`"
    )]
    BadPrefix(String),
    #[error("start external bus")]
    Start(#[source] io::Error),
}

/// Live packets through an external broker.
pub struct ExternalBus {
    engine: Engine,
}

impl ExternalBus {
    /// Starts to connect. Packets may be published at once; they wait for the broker, for ever if need be.
    pub fn start(settings: ExternalSettings, sink: Sink) -> Result<Self, ExternalError> {
        check(&settings)?;
        let policy =
            Policy { name: "bus-external", timing: settings.timing, give_up_after: None, shared_with_others: true };
        let factory = Arc::new(move || connect(&settings));
        // A policy that never gives up has nothing fatal to report.
        let engine = Engine::start(policy, factory, sink, Box::new(|| ())).map_err(ExternalError::Start)?;
        Ok(Self { engine })
    }
}

impl Bus for ExternalBus {
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

fn check(settings: &ExternalSettings) -> Result<(), ExternalError> {
    let ExternalSettings { host, transport, client_id, prefix, .. } = settings;
    // rumqttc joins host and port with a colon, which an IPv6 literal does not survive.
    if host.is_empty() || host.contains(':') {
        return Err(ExternalError::BadHost(host.clone()));
    }
    match transport {
        ExternalTransport::PlaintextLoopback if !host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback()) => {
            return Err(ExternalError::PlaintextOffLoopback(host.clone()));
        }
        ExternalTransport::PlaintextLoopback | ExternalTransport::MutualTls(_) => {}
    }
    if client_id.is_empty() || client_id.len() > 64 {
        return Err(ExternalError::BadClientId);
    }
    let level = |level: &str| {
        !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if prefix.len() > PREFIX_MAX || !prefix.split('/').all(level) {
        return Err(ExternalError::BadPrefix(prefix.clone()));
    }
    Ok(())
}

fn options(settings: &ExternalSettings) -> MqttOptions {
    let mut options = MqttOptions::new(&settings.client_id, &settings.host, settings.port);
    options.set_keep_alive(Duration::from_secs(10));
    options.set_connection_timeout(settings.timing.limit.as_secs().max(1));
    options.set_outgoing_inflight_upper_limit(WINDOW_FRAMES as u16);
    // The broker withholds what is larger, so no stranger's packet can break the connection by its size.
    options.set_max_packet_size(Some(PACKET_MAX));
    match &settings.transport {
        ExternalTransport::MutualTls(config) => {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(config))));
        }
        ExternalTransport::PlaintextLoopback => {}
    }
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options
}

/// Connects and subscribes; the connection then runs on a thread of its own.
fn connect(settings: &ExternalSettings) -> Result<Link, LinkError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(LinkError::Thread)?;
    // Holds a whole window beside the subscription and the good-bye, so that `try_publish` finds room.
    let (client, mut events) = AsyncClient::new(options(settings), 2 * WINDOW_FRAMES);
    // Ends before the engine stops to wait, so that the log names the cause.
    let limit = settings.timing.limit * 3 / 4;
    runtime.block_on(async {
        time::timeout(limit, subscribe(&client, &mut events, &settings.prefix))
            .await
            .map_err(|_| LinkError::NotAnswered("external broker"))?
    })?;
    let topics = format!("{}/live/", settings.prefix);
    let (from_broker, messages) = sync_channel(4 * WINDOW_FRAMES);
    let (open, closed) = oneshot::channel();
    let connection = Connection { client: client.clone(), events, topics: topics.clone(), from_broker };
    thread::Builder::new()
        .name("bus-external-io".to_owned())
        .spawn(move || runtime.block_on(connection.run(closed)))
        .map_err(LinkError::Thread)?;
    Ok(Link {
        sender: Box::new(ExternalSender { client, topics, _open: open }),
        receiver: Box::new(ExternalReceiver { messages }),
    })
}

async fn subscribe(client: &AsyncClient, events: &mut EventLoop, prefix: &str) -> Result<(), LinkError> {
    let filter = format!("{prefix}/live/+");
    loop {
        match events.poll().await.map_err(|error| LinkError::Connect(Box::new(error)))? {
            Event::Incoming(Packet::ConnAck(ack)) => {
                check_limits(&ack)?;
                let mut filter = Filter::new(&filter, QoS::AtLeastOnce);
                filter.retain_forward_rule = RetainForwardRule::Never;
                client.try_subscribe_many([filter]).map_err(|_| LinkError::Gone)?;
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                return if !ack.return_codes.is_empty() && ack.return_codes.iter().all(granted) {
                    Ok(())
                } else {
                    Err(LinkError::SubscriptionRefused { filter })
                };
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
}

/// A packet that rumqttc may not send would end in a reconnect for each attempt, so a broker that takes less is refused.
fn check_limits(ack: &ConnAck) -> Result<(), LinkError> {
    match ack.properties.as_ref().and_then(|properties| properties.max_packet_size) {
        Some(max) if max < PACKET_MAX => Err(LinkError::PacketLimit { max, needed: PACKET_MAX }),
        Some(_) | None => Ok(()),
    }
}

/// One connection to the broker, until either side ends it.
struct Connection {
    client: AsyncClient,
    events: EventLoop,
    topics: String,
    from_broker: SyncSender<Received>,
}

impl Connection {
    async fn run(mut self, mut closed: oneshot::Receiver<()>) {
        loop {
            let event = tokio::select! {
                event = self.events.poll() => event,
                _ = &mut closed => return self.say_good_bye().await,
            };
            match event {
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let topic = std::str::from_utf8(&publish.topic).ok();
                    let shard = topic.and_then(|topic| topic.strip_prefix(&self.topics)).and_then(Shard::parse);
                    // Copied, because the payload is a slice of the connection's read buffer.
                    let received = Received { shard, frame: Bytes::copy_from_slice(&publish.payload) };
                    // Waits while the receiver is slow: the broker is slowed down by TCP, as it should be.
                    if self.from_broker.send(received).is_err() {
                        return self.say_good_bye().await;
                    }
                }
                Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "connection to external broker ended");
                    return;
                }
            }
        }
    }

    async fn say_good_bye(&mut self) {
        let good_bye = async {
            if self.client.try_disconnect().is_err() {
                return;
            }
            loop {
                match self.events.poll().await {
                    Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_) => return,
                    Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                }
            }
        };
        // Late or not, the connection ends now.
        let _ = time::timeout(GOOD_BYE_LIMIT, good_bye).await;
    }
}

struct ExternalSender {
    client: AsyncClient,
    topics: String,
    /// Its end is the connection's.
    _open: oneshot::Sender<()>,
}

impl LinkSend for ExternalSender {
    fn send(&mut self, shard: Shard, frame: Bytes) -> Result<(), LinkError> {
        let topic = format!("{}{shard}", self.topics);
        self.client.try_publish(topic, QoS::AtLeastOnce, false, frame).map_err(|_| LinkError::Gone)
    }
}

struct ExternalReceiver {
    messages: Receiver<Received>,
}

impl LinkReceive for ExternalReceiver {
    fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError> {
        match self.messages.recv_timeout(wait) {
            Ok(received) => Ok(Some(received)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(LinkError::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str, client_id: &str, prefix: &str) -> ExternalSettings {
        ExternalSettings {
            host: host.to_owned(),
            port: 1,
            transport: ExternalTransport::PlaintextLoopback,
            client_id: client_id.to_owned(),
            prefix: prefix.to_owned(),
            timing: Timing::default(),
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_anything_starts() {
        assert!(check(&settings("127.0.0.1", "bus-1", "fleet/eu-1")).is_ok());
        for host in ["", "::1", "[::1]", "127.0.0.1:1883"] {
            assert!(matches!(check(&settings(host, "b", "p")), Err(ExternalError::BadHost(_))), "{host}");
        }
        for host in ["10.0.0.1", "broker.example", "localhost"] {
            let refused = check(&settings(host, "b", "p"));
            assert!(matches!(refused, Err(ExternalError::PlaintextOffLoopback(_))), "{host}");
        }
        for client_id in ["".to_owned(), "b".repeat(65)] {
            assert!(matches!(check(&settings("127.0.0.1", &client_id, "p")), Err(ExternalError::BadClientId)));
        }
        let long = "p".repeat(PREFIX_MAX + 1);
        for prefix in ["", "/", "p/", "/p", "a//b", "+", "a/#", "$SYS", "é", "a b", long.as_str()] {
            let refused = check(&settings("127.0.0.1", "b", prefix));
            assert!(matches!(refused, Err(ExternalError::BadPrefix(_))), "{prefix}");
        }
    }
}
