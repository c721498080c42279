//! The carrier: whoever owns the network, the broker's TLS key and the cabinet's certificate, and not one signing key.
//!
//! It stands between an agent and the broker, ends TLS on both sides, sees every message, and may hold back, drop, repeat
//! and invent what goes to the cabinet. What it cannot do is the point of the tests that use it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Buf as _, BytesMut};
use certs::{ClientRoots, ServerRoots, TlsIdentity};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAck, Publish};
use rustls::pki_types::ServerName;
use schemas::cbor;
use schemas::ids::CabinetId;
use schemas::messages::{Challenge, Down, Hello, Telemetry, Uplink};
use schemas::topics::{Topic, Up};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{PATIENCE, Stage};

const PACKET_MAX: u32 = 256 * 1024;
/// Packet ids of what the carrier invents. The broker counts its own from 1.
const INVENTED: u16 = 60_000;

/// What happens to a message on its way to the cabinet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// The broker sees no answer, the cabinet sees nothing.
    Drop,
    /// The cabinet gets it a second time at once, with the same packet id. The broker sees one answer.
    Twice,
}

/// The carrier of one cabinet.
pub struct Carrier {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Notify,
    /// To the connection of the moment.
    inject: Mutex<Option<mpsc::UnboundedSender<Vec<u8>>>>,
    topic: String,
}

struct Seen {
    down: Vec<Vec<u8>>,
    challenge: Option<Challenge>,
    rule: Box<dyn Fn(&Down) -> Verdict + Send>,
    /// Acknowledgements of invented packets.
    acknowledged: usize,
    next_id: u16,
    connections: usize,
}

struct Ends {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    broker: u16,
    shared: Arc<Shared>,
}

impl Carrier {
    /// Starts in front of the stage's broker, for the cabinet `id` whose files exist.
    pub async fn start(stage: &Stage, id: &CabinetId) -> anyhow::Result<Self> {
        let (layout, tenant) = (stage.layout(), stage.layout().settings().tenant.clone());
        let (broker, cabinet) = (layout.broker(), layout.cabinet(id));
        let roots = ClientRoots::from_files(&broker.join("cabinets.crt"), &broker.join("people.crt"))?;
        let server = TlsIdentity::read(&broker.join("server.crt"), &broker.join("server.key"), None)?;
        let client = TlsIdentity::read_bundle(&cabinet.join("identity/current.pem"))?;
        let server_roots = ServerRoots::from_file(&layout.public().join("root.crt"), tenant.clone())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("open the carrier's port")?;
        let port = listener.local_addr().context("read the carrier's port")?.port();
        let shared = Arc::new(Shared {
            seen: Mutex::new(Seen {
                down: Vec::new(),
                challenge: None,
                rule: Box::new(|_| Verdict::Pass),
                acknowledged: 0,
                next_id: INVENTED,
                connections: 0,
            }),
            changed: Notify::new(),
            inject: Mutex::new(None),
            topic: Topic::Down { tenant, cabinet: id.clone() }.to_string(),
        });
        let ends = Arc::new(Ends {
            acceptor: TlsAcceptor::from(Arc::new(certs::server_config(&server, &roots, certs::system_clock())?)),
            connector: TlsConnector::from(Arc::new(certs::client_config(
                &client,
                &server_roots,
                certs::system_clock(),
            )?)),
            broker: stage.port(),
            shared: Arc::clone(&shared),
        });
        let task = tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                // One agent at a time; its next connection replaces this one.
                let ends = Arc::clone(&ends);
                tokio::spawn(async move {
                    // The end of either side is the end of both, whatever the reason.
                    let _ = ends.relay(agent).await;
                });
            }
        });
        Ok(Self { port, shared, task })
    }

    /// Where the agent has to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Decides from now on what reaches the cabinet.
    pub fn rule(&self, rule: impl Fn(&Down) -> Verdict + Send + 'static) {
        self.shared.seen().rule = Box::new(rule);
    }

    /// Everything that the fleet sent to the cabinet, held back or not.
    pub fn seen(&self) -> Vec<Down> {
        self.shared.seen().down.iter().filter_map(|bytes| cbor::decode(bytes).ok()).collect()
    }

    /// The signed commands among them, as payloads of the `down` topic.
    pub fn commands(&self) -> Vec<Vec<u8>> {
        let is_command = |bytes: &&Vec<u8>| matches!(cbor::decode(bytes), Ok(Down::Command(_)));
        self.shared.seen().down.iter().filter(is_command).cloned().collect()
    }

    /// The newest challenge that went by.
    pub fn challenge(&self) -> Option<Challenge> {
        self.shared.seen().challenge
    }

    /// Connections of the agent so far.
    pub fn connections(&self) -> usize {
        self.shared.seen().connections
    }

    /// Sends `payload` to the cabinet as if it came from the fleet, and waits for its PUBACK.
    pub async fn inject(&self, payload: &[u8]) -> anyhow::Result<()> {
        let before = self.shared.seen().acknowledged;
        let id = {
            let mut seen = self.shared.seen();
            seen.next_id = if seen.next_id == u16::MAX { INVENTED } else { seen.next_id + 1 };
            seen.next_id
        };
        let mut publish = Publish::new(self.shared.topic.clone(), QoS::AtLeastOnce, payload.to_vec(), None);
        publish.pkid = id;
        let mut bytes = BytesMut::new();
        publish.write(&mut bytes).map_err(|error| anyhow::anyhow!("encode a packet: {error}"))?;
        let sender = self.shared.inject.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.context("the agent is not connected")?.send(bytes.to_vec()).context("the agent has left")?;
        self.until("the cabinet acknowledges", |seen| seen.acknowledged > before).await
    }

    /// Waits until `count` signed commands were seen.
    pub async fn until_commands(&self, count: usize) -> anyhow::Result<()> {
        self.until("the fleet sends a command", |seen| {
            seen.down.iter().filter(|bytes| matches!(cbor::decode(bytes), Ok(Down::Command(_)))).count() >= count
        })
        .await
    }

    /// Waits for a challenge newer than `than`.
    pub async fn until_challenge(&self, than: Option<Challenge>) -> anyhow::Result<Challenge> {
        self.until("the cabinet shows a challenge", |seen| seen.challenge.is_some() && seen.challenge != than).await?;
        self.challenge().context("a challenge that was there is gone")
    }

    async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                if holds(&self.shared.seen()) {
                    return;
                }
                // Looks again now and then: a notification between the look and the wait is not missed, but cheap
                // insurance against a hang is worth a line.
                let _ = tokio::time::timeout(Duration::from_millis(200), changed).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("waited in vain until {what}"))
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the cabinet said.
    fn watch_up(&self, publish: &Publish) {
        let Some(Topic::Up { up, .. }) =
            std::str::from_utf8(&publish.topic).ok().and_then(|text| Topic::parse(text).ok())
        else {
            return;
        };
        let payload = &publish.payload;
        let challenge = match up {
            Up::Hello => cbor::decode::<Hello>(payload).ok().map(|hello| hello.challenge),
            Up::Event => cbor::decode::<Uplink>(payload).ok().map(|uplink| uplink.challenge),
            Up::Telemetry => cbor::decode::<Telemetry>(payload).ok().map(|sample| sample.challenge),
            Up::Challenge => cbor::decode::<Challenge>(payload).ok(),
        };
        if challenge.is_some() {
            self.seen().challenge = challenge;
            self.changed.notify_waiters();
        }
    }

    /// Notes what the fleet said, and decides.
    fn watch_down(&self, publish: &Publish) -> Verdict {
        let payload = publish.payload.to_vec();
        let mut seen = self.seen();
        let verdict = cbor::decode(&payload).map_or(Verdict::Pass, |down| (seen.rule)(&down));
        seen.down.push(payload);
        drop(seen);
        self.changed.notify_waiters();
        verdict
    }

    fn acknowledged(&self) {
        self.seen().acknowledged += 1;
        self.changed.notify_waiters();
    }
}

impl Ends {
    async fn relay(&self, agent: TcpStream) -> anyhow::Result<()> {
        let agent = self.acceptor.accept(agent).await?;
        let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, self.broker)).await?;
        let broker =
            self.connector.connect(ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)), broker).await?;
        let (mut from_agent, mut to_agent) = tokio::io::split(agent);
        let (mut from_broker, mut to_broker) = tokio::io::split(broker);
        let (inject, mut injected) = mpsc::unbounded_channel();
        *self.shared.inject.lock().unwrap_or_else(PoisonError::into_inner) = Some(inject);
        self.shared.seen().connections += 1;
        let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
        // Packet ids whose first answer the broker must not see.
        let mut doubled = Vec::new();
        loop {
            tokio::select! {
                read = from_agent.read_buf(&mut up) => {
                    anyhow::ensure!(read? > 0, "the agent left");
                    while let Some((bytes, packet)) = next(&mut up)? {
                        if let Packet::PubAck(PubAck { pkid: INVENTED.., .. }) = packet {
                            self.shared.acknowledged();
                            continue;
                        }
                        if let Packet::PubAck(PubAck { pkid, .. }) = packet
                            && let Some(at) = doubled.iter().position(|doubled| *doubled == pkid)
                        {
                            doubled.swap_remove(at);
                            continue;
                        }
                        if let Packet::Publish(publish) = &packet {
                            self.shared.watch_up(publish);
                        }
                        to_broker.write_all(&bytes).await?;
                    }
                    to_broker.flush().await?;
                }
                read = from_broker.read_buf(&mut down) => {
                    anyhow::ensure!(read? > 0, "the broker left");
                    while let Some((bytes, packet)) = next(&mut down)? {
                        let (verdict, id) = if let Packet::Publish(publish) = &packet {
                            (self.shared.watch_down(publish), publish.pkid)
                        } else {
                            (Verdict::Pass, 0)
                        };
                        match verdict {
                            Verdict::Drop => {}
                            Verdict::Pass => to_agent.write_all(&bytes).await?,
                            Verdict::Twice => {
                                to_agent.write_all(&bytes).await?;
                                to_agent.write_all(&again(bytes)).await?;
                                doubled.push(id);
                            }
                        }
                    }
                    to_agent.flush().await?;
                }
                Some(bytes) = injected.recv() => {
                    to_agent.write_all(&bytes).await?;
                    to_agent.flush().await?;
                }
            }
        }
    }
}

/// The same PUBLISH with the DUP flag (MQTT 5, 3.3.1.1).
fn again(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(first) = bytes.first_mut() {
        *first |= 0b1000;
    }
    bytes
}

/// Takes one whole packet out of the buffer: its bytes and what they say.
fn next(buffer: &mut BytesMut) -> anyhow::Result<Option<(Vec<u8>, Packet)>> {
    let mut probe = buffer.clone();
    let before = probe.len();
    match Packet::read(&mut probe, Some(PACKET_MAX)) {
        Ok(packet) => {
            let taken = before - probe.len();
            let bytes = buffer[..taken].to_vec();
            buffer.advance(taken);
            Ok(Some((bytes, packet)))
        }
        Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => anyhow::bail!("a packet that cannot be read: {error}"),
    }
}
