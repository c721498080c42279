//! A gate on a loopback port, with the test as its driver.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use certs::{
    Authority, CertificateAuthority, ClientRoots, Fingerprint, LeafKey, LeafRequest, ServerName, ServerRoots,
    TlsIdentity, generate_p256, system_clock, write_p256, write_public,
};
use fleet_broker::admission::Registry;
use fleet_broker::gate::{
    Ack, Admission, ConnId, Count, Gate, GateHandle, GateInput, GateSettings, Gone, Peer, Refused, Rule, identify_with,
};
use schemas::ids::{CabinetId, Identity, TenantId};
use tokio::sync::mpsc;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

/// How long a condition may take to come true before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const CABINET: &str = "cabinet:acme:c1";
pub(crate) const SHOP: &str = "integration:acme:shop";
pub(crate) const EVE: &str = "operator:acme:eve";

static FLEET: LazyLock<Fleet> = LazyLock::new(Fleet::new);

/// The certificates of all tests; making them once keeps the tests quick.
struct Fleet {
    root: CertificateAuthority,
    servers: CertificateAuthority,
    cabinets: CertificateAuthority,
    people: CertificateAuthority,
    folder: tempfile::TempDir,
    issued: Mutex<HashMap<String, Arc<TlsIdentity>>>,
}

impl Fleet {
    fn new() -> Self {
        let now = SystemTime::now();
        let root = CertificateAuthority::new_root(&"acme".parse().unwrap(), generate_p256().unwrap(), now).unwrap();
        let make = |authority| root.new_intermediate(authority, generate_p256().unwrap(), now).unwrap();
        let (servers, cabinets, people) =
            (make(Authority::Servers), make(Authority::Cabinets), make(Authority::People));
        Self { root, servers, cabinets, people, folder: tempfile::tempdir().unwrap(), issued: Mutex::default() }
    }

    fn identity(&self, text: &str) -> Arc<TlsIdentity> {
        let mut issued = self.issued.lock().unwrap();
        let issue = || Arc::new(self.issue(text, SystemTime::now()));
        Arc::clone(issued.entry(text.to_owned()).or_insert_with(issue))
    }

    fn client_roots(&self) -> ClientRoots {
        ClientRoots::new(&[self.cabinets.certificate().clone()], &[self.people.certificate().clone()]).unwrap()
    }

    fn issue(&self, text: &str, now: SystemTime) -> TlsIdentity {
        let identity: Identity = text.parse().unwrap();
        let authority = match Authority::of(identity.role) {
            Authority::Root | Authority::Servers => &self.servers,
            Authority::Cabinets => &self.cabinets,
            Authority::People => &self.people,
        };
        let request = match Authority::of(identity.role) {
            Authority::Root | Authority::Servers => {
                LeafRequest::server(identity, vec![ServerName::try_from("localhost").unwrap()])
            }
            Authority::Cabinets | Authority::People => LeafRequest::client(identity),
        };
        let key = generate_p256().unwrap();
        let issued = authority.issue(&request, &LeafKey::from(&key), now).unwrap();
        let stem = format!("{}-{}", text.replace(':', "-"), issued.summary.serial);
        let (chain, secret) =
            (self.folder.path().join(format!("{stem}.pem")), self.folder.path().join(format!("{stem}.key")));
        write_public(&chain, issued.pem().as_bytes()).unwrap();
        write_p256(&secret, &key, None).unwrap();
        TlsIdentity::read(&chain, &secret, None).unwrap()
    }
}

/// The TLS settings of a client with this identity; each call starts without a session to resume.
pub(crate) fn client_tls(identity: &str) -> ClientConfig {
    tls_of(&FLEET.identity(identity))
}

/// The same with a certificate that is issued at `now`.
pub(crate) fn client_tls_issued(identity: &str, now: SystemTime) -> ClientConfig {
    tls_of(&FLEET.issue(identity, now))
}

fn tls_of(identity: &TlsIdentity) -> ClientConfig {
    // The gate's certificate is of `acme`; clients of another tenant are here only to be kept apart.
    let roots = ServerRoots::new(&[FLEET.root.certificate().clone()], "acme".parse().unwrap()).unwrap();
    certs::client_config(identity, &roots, system_clock()).unwrap()
}

/// The gate's settings after a renewal of its certificate.
pub(crate) fn another_server() -> Arc<ServerConfig> {
    Arc::new(certs::server_config(&FLEET.identity("server:acme:next"), &FLEET.client_roots(), system_clock()).unwrap())
}

pub(crate) fn fingerprint(identity: &str) -> Fingerprint {
    FLEET.identity(identity).summary().fingerprint
}

/// Lets everybody in but those who are listed.
#[derive(Default)]
pub(crate) struct Doorman(Mutex<Vec<Identity>>);

impl Doorman {
    pub(crate) fn bar(&self, identity: &str) {
        self.0.lock().unwrap().push(identity.parse().unwrap());
    }
}

impl Admission for Doorman {
    fn admit(&self, peer: &Peer) -> Result<(), Refused> {
        if self.0.lock().unwrap().contains(&peer.identity) {
            return Err(Refused { reason: "certificate is revoked".to_owned() });
        }
        Ok(())
    }

    fn sees(&self, _: &Identity, _: &CabinetId) -> bool {
        true
    }
}

/// A running gate and its driver's end.
pub(crate) struct World {
    pub(crate) handle: GateHandle,
    pub(crate) address: SocketAddr,
    pub(crate) doorman: Arc<Doorman>,
    inputs: mpsc::Receiver<GateInput>,
    pub(crate) running: tokio::task::JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A gate whose settings `change` has had a look at.
    pub(crate) async fn with(change: impl FnOnce(&mut GateSettings)) -> Self {
        Self::with_queue(256, change).await
    }

    /// The same, with a driver's queue of this length.
    pub(crate) async fn with_queue(queue: usize, change: impl FnOnce(&mut GateSettings)) -> Self {
        let doorman = Arc::new(Doorman::default());
        Self::build(queue, change, Arc::clone(&doorman), doorman).await
    }

    /// A gate with the broker's own admission.
    pub(crate) async fn with_registry(registry: &Arc<Registry>) -> Self {
        Self::build(256, |_| {}, Arc::default(), Arc::<Registry>::clone(registry)).await
    }

    async fn build(
        queue: usize,
        change: impl FnOnce(&mut GateSettings),
        doorman: Arc<Doorman>,
        admission: Arc<dyn Admission>,
    ) -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut settings = GateSettings {
            listen: SocketAddr::new(loopback, 0),
            address_allow_list: vec![loopback],
            ..GateSettings::default()
        };
        change(&mut settings);
        let roots = FLEET.client_roots();
        let tls = certs::server_config(&FLEET.identity("server:acme:gate"), &roots, system_clock()).unwrap();
        let (sender, inputs) = mpsc::channel(queue);
        let gate = Gate::bind(settings, Arc::new(tls), identify_with(roots, SystemTime::now), admission, sender)
            .await
            .unwrap();
        let (handle, address) = (gate.handle(), gate.local_addr().unwrap());
        Self { handle, address, doorman, inputs, running: tokio::spawn(gate.run()) }
    }

    /// The next input that is not the news that somebody was let in.
    pub(crate) async fn input(&mut self) -> GateInput {
        loop {
            match self.any_input().await {
                GateInput::Admitted { .. } => {}
                other => return other,
            }
        }
    }

    /// The next input.
    pub(crate) async fn any_input(&mut self) -> GateInput {
        let input = tokio::time::timeout(PATIENCE, self.inputs.recv()).await;
        input.expect("no input came in time").expect("the gate is gone")
    }

    /// True if no input waits but the news that somebody was let in.
    pub(crate) fn is_quiet(&mut self) -> bool {
        while let Ok(input) = self.inputs.try_recv() {
            if !matches!(input, GateInput::Admitted { .. }) {
                return false;
            }
        }
        true
    }

    /// The next input has to be a cabinet's arrival.
    pub(crate) async fn cabinet_connected(&mut self) -> ConnId {
        match self.input().await {
            GateInput::CabinetConnected { conn, .. } => conn,
            other => panic!("expected a cabinet's arrival, got {other:?}"),
        }
    }

    /// The next input has to be a cabinet's departure.
    pub(crate) async fn cabinet_gone(&mut self) -> (ConnId, Gone) {
        match self.input().await {
            GateInput::CabinetGone { conn, reason, .. } => (conn, reason),
            other => panic!("expected a cabinet's departure, got {other:?}"),
        }
    }

    /// The next input has to be a cabinet's message that wants an acknowledgement.
    pub(crate) async fn up(&mut self) -> (Bytes, Ack) {
        match self.input().await {
            GateInput::CabinetUp { payload, ack: Some(ack), .. } => (payload, ack),
            other => panic!("expected a message with an ack, got {other:?}"),
        }
    }

    pub(crate) fn count(&self, count: Count) -> u64 {
        self.handle.counters().count(count)
    }

    pub(crate) fn broken(&self, rule: Rule) -> u64 {
        self.handle.counters().broken(rule)
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(&self, what: &str, mut condition: impl FnMut(&GateHandle) -> bool) {
        let start = tokio::time::Instant::now();
        while !condition(&self.handle) {
            assert!(start.elapsed() < PATIENCE, "{what}; last seen: {:?}", self.handle.counters());
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(crate) fn cabinet() -> CabinetId {
    "c1".parse().unwrap()
}
