//! An MQTT 5 server by hand: reads what a client sends packet by packet, and says whatever bytes the test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cabinet_agent::fleet_time::FleetTime;
use cabinet_agent::identity::{Credentials, Slot, Slots};
use certs::{
    Authority, CertificateAuthority, ClientRoots, LeafKey, LeafRequest, ServerRoots, TlsIdentity, generate_p256,
    write_p256, write_public,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Simulated time: longer than anything that the uplink itself waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Paused time that is moved on by hand, twenty times as fast as it passes. Left to itself it would leap to the next timer
/// while the kernel still carries bytes from one socket to another.
struct Time {
    /// Dropped, it ends the task that keeps time from leaping.
    _still: std::sync::mpsc::Sender<()>,
    hand: JoinHandle<()>,
}

impl Time {
    const TICK: Duration = Duration::from_millis(1);

    fn run_fast() -> Self {
        let (still, ended) = std::sync::mpsc::channel();
        // Paused time does not leap while something blocks.
        tokio::task::spawn_blocking(move || ended.recv());
        let hand = tokio::spawn(async {
            while tokio::task::spawn_blocking(|| std::thread::sleep(Self::TICK)).await.is_ok() {
                tokio::time::advance(Self::TICK * 20).await;
            }
        });
        Self { _still: still, hand }
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        self.hand.abort();
    }
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Connect {
        clean_start: bool,
        client_id: String,
    },
    Publish {
        qos: u8,
        id: u16,
        topic: String,
        payload: Vec<u8>,
    },
    PubAck {
        id: u16,
    },
    Subscribe {
        id: u16,
        filter: String,
    },
    Ping,
    Disconnect,
    /// The connection is over.
    Gone,
}

pub(crate) struct Server {
    _time: Time,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    /// For the client.
    pub(crate) tls: Arc<Credentials>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let (acceptor, tls) = tls();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self { _time: Time::run_fast(), listener, acceptor, tls }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next TCP connection; nothing is said on it.
    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("nobody connects").unwrap().0
    }

    /// The next client, up to the end of its handshake.
    pub(crate) async fn try_accept(&self) -> std::io::Result<Peer> {
        let mut stream = self.acceptor.accept(self.accept_tcp().await).await?;
        // A client that refuses the server's certificate says so behind its own handshake (TLS 1.3).
        stream.flush().await?;
        Ok(Peer { stream })
    }

    /// The next client, up to its CONNECT.
    pub(crate) async fn accept(&self) -> Peer {
        let mut peer = self.try_accept().await.unwrap();
        let connect = peer.read().await;
        let expected = Said::Connect { clean_start: true, client_id: "cabinet:acme:berlin-01".to_owned() };
        assert_eq!(connect, expected, "nothing may be left to a session of the server");
        peer
    }

    /// The next client, connected and subscribed.
    pub(crate) async fn greet(&self) -> Peer {
        self.greet_with(&[]).await
    }

    /// The same, with properties of CONNACK.
    pub(crate) async fn greet_with(&self, properties: &[u8]) -> Peer {
        let mut peer = self.accept().await;
        peer.connack(false, 0, properties).await;
        peer.grant().await;
        peer
    }
}

/// One client of the server.
pub(crate) struct Peer {
    stream: TlsStream<TcpStream>,
}

impl Peer {
    /// The next packet but pings, which are answered.
    pub(crate) async fn read(&mut self) -> Said {
        loop {
            match self.read_any().await {
                Said::Ping => self.send(&[0xd0, 0]).await,
                said => return said,
            }
        }
    }

    /// The next packet, whatever it is.
    pub(crate) async fn read_any(&mut self) -> Said {
        timeout(PATIENCE, self.try_read()).await.expect("the client says nothing").unwrap_or(Said::Gone)
    }

    async fn try_read(&mut self) -> std::io::Result<Said> {
        let first = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(said(first, Body(&body)))
    }

    /// Reads packets until the next PUBLISH: its id and payload.
    pub(crate) async fn publish(&mut self) -> (u16, String, Vec<u8>) {
        match self.read().await {
            Said::Publish { qos: 1, id, topic, payload } => (id, topic, payload),
            other => panic!("not a PUBLISH with QoS 1: {other:?}"),
        }
    }

    /// The client has ended the connection, with or without a word.
    pub(crate) async fn gone(&mut self) {
        loop {
            match self.read().await {
                Said::Gone => return,
                Said::Disconnect | Said::Publish { .. } | Said::PubAck { .. } => {}
                other => panic!("the client goes on with {other:?}"),
            }
        }
    }

    pub(crate) async fn connack(&mut self, session_present: bool, reason: u8, properties: &[u8]) {
        let length = u8::try_from(properties.len()).unwrap();
        let head = [0x20, 3 + length, u8::from(session_present), reason, length];
        self.send(&[&head[..], properties].concat()).await;
    }

    /// Takes the subscription of the client.
    pub(crate) async fn grant(&mut self) {
        let (id, filter) = match self.read().await {
            Said::Subscribe { id, filter } => (id, filter),
            other => panic!("{other:?} instead of SUBSCRIBE"),
        };
        assert_eq!(filter, "v1/acme/cabinet/berlin-01/down");
        self.suback(id, 1).await;
    }

    pub(crate) async fn suback(&mut self, id: u16, code: u8) {
        let [high, low] = id.to_be_bytes();
        self.send(&[0x90, 4, high, low, 0, code]).await;
    }

    pub(crate) async fn puback(&mut self, id: u16, reason: u8) {
        let [high, low] = id.to_be_bytes();
        self.send(&[0x40, 3, high, low, reason]).await;
    }

    /// A PUBLISH with QoS 1 on the topic of the cabinet.
    pub(crate) async fn down(&mut self, id: u16, duplicate: bool, payload: &[u8]) {
        let topic = b"v1/acme/cabinet/berlin-01/down";
        let body = [&[0, topic.len() as u8][..], topic, &id.to_be_bytes(), &[0], payload].concat();
        let head = if duplicate { 0x3a } else { 0x32 };
        self.send(&[&[head][..], &length(body.len()), &body].concat()).await;
    }

    /// Bytes as they are. A client that has left already is told nothing.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }
}

/// A variable byte integer (MQTT 5, 1.5.5).
fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        bytes.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return bytes;
        }
    }
}

struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn byte(&mut self) -> u8 {
        let byte = self.0[0];
        self.0 = &self.0[1..];
        byte
    }

    fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.number());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn properties(&mut self) {
        let length = usize::from(self.byte());
        assert!(length < 128, "properties of more than one byte of length");
        self.0 = &self.0[length..];
    }
}

fn said(first: u8, mut body: Body<'_>) -> Said {
    match first >> 4 {
        1 => {
            assert_eq!((body.text().as_str(), body.byte()), ("MQTT", 5));
            let flags = body.byte();
            let _keep_alive = body.number();
            body.properties();
            Said::Connect { clean_start: flags & 2 != 0, client_id: body.text() }
        }
        3 => {
            let (qos, topic) = (first >> 1 & 3, body.text());
            let id = if qos > 0 { body.number() } else { 0 };
            body.properties();
            Said::Publish { qos, id, topic, payload: body.0.to_vec() }
        }
        4 => Said::PubAck { id: body.number() },
        8 => {
            let id = body.number();
            body.properties();
            Said::Subscribe { id, filter: body.text() }
        }
        12 => Said::Ping,
        14 => Said::Disconnect,
        other => panic!("a packet of type {other}"),
    }
}

/// A fleet's server and a cabinet that trust each other.
pub(crate) fn tls() -> (TlsAcceptor, Arc<Credentials>) {
    let now = SystemTime::now();
    let root = CertificateAuthority::new_root(&"acme".parse().unwrap(), generate_p256().unwrap(), now).unwrap();
    let below = |authority| root.new_intermediate(authority, generate_p256().unwrap(), now).unwrap();
    let (servers, cabinets, people) = (below(Authority::Servers), below(Authority::Cabinets), below(Authority::People));
    let address = "127.0.0.1".try_into().unwrap();
    let server = issue(&servers, &LeafRequest::server("server:acme:gate".parse().unwrap(), vec![address]), now);
    let folder = tempfile::tempdir().unwrap();
    let slots = Slots::new(folder.path());
    let (own, asked) = (generate_p256().unwrap(), LeafRequest::client("cabinet:acme:berlin-01".parse().unwrap()));
    let cabinet = cabinets.issue(&asked, &LeafKey::from(&own), now).unwrap();
    slots.write(Slot::Current, &own.into(), &[cabinet.certificate]).unwrap();
    let clients = ClientRoots::new(&[cabinets.certificate().clone()], &[people.certificate().clone()]).unwrap();
    let roots = ServerRoots::new(&[root.certificate().clone()], "acme".parse().unwrap()).unwrap();
    let accepting = certs::server_config(&server, &clients, certs::system_clock()).unwrap();
    let clock = Arc::new(FleetTime::new(cabinet_agent::boards::boot_clock()));
    let connecting = Credentials::open(slots, roots, clock).unwrap();
    (TlsAcceptor::from(Arc::new(accepting)), Arc::new(connecting))
}

fn issue(authority: &CertificateAuthority, request: &LeafRequest, now: SystemTime) -> TlsIdentity {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("own.crt"), folder.path().join("own.key"));
    let own = generate_p256().unwrap();
    let issued = authority.issue(request, &LeafKey::from(&own), now).unwrap();
    write_public(&certificate, issued.pem().as_bytes()).unwrap();
    write_p256(&key, &own, None).unwrap();
    TlsIdentity::read(&certificate, &key, None).unwrap()
}
