//! What only the external bus can meet: other processes, strangers' topics, brokers that are late or unfit, TLS.

use std::fs;
use std::sync::Arc;

use fleet_broker::bus::{Bus, ExternalBus, ExternalTransport, Health};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::mosquitto::{MosquittoRig, PREFIX};
use super::{Rig, Watcher, event, eventually, numbers};

#[test]
fn every_process_sees_the_packets_of_all() {
    let Some(rig) = MosquittoRig::running() else { return };
    let (watcher_a, watcher_b) = (Watcher::new(), Watcher::new());
    let (a, b) = (rig.start(watcher_a.sink()), rig.start(watcher_b.sink()));
    eventually("both are up", &*a, || a.health() == Health::Up && b.health() == Health::Up);
    for number in 0..100 {
        a.publish(event("from-a", number)).unwrap();
        b.publish(event("from-b", number)).unwrap();
    }
    for (bus, watcher) in [(&a, &watcher_a), (&b, &watcher_b)] {
        let seen = watcher.wait(&**bus, "the packets of both", |seen| seen.len() >= 200);
        for cabinet in ["from-a", "from-b"] {
            assert_eq!(numbers(&seen, cabinet), (0..100).collect::<Vec<_>>());
        }
    }
}

#[test]
fn broker_that_comes_late_gets_what_waited() {
    let Some(rig) = MosquittoRig::stopped("allow_anonymous true\n") else { return };
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    (0..100).for_each(|number| bus.publish(event("c1", number)).unwrap());
    eventually("an attempt failed", &*bus, || bus.counts().failed_links > 0);
    assert_eq!(bus.health(), Health::Starting);
    rig.start_broker();
    let seen = watcher.wait(&*bus, "all events", |seen| seen.len() >= 100);
    assert_eq!(numbers(&seen, "c1"), (0..100).collect::<Vec<_>>());
}

#[test]
fn topics_that_name_no_shard_are_counted_and_dropped() {
    let Some(rig) = MosquittoRig::running() else { return };
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    eventually("the link is up", &*bus, || bus.health() == Health::Up);
    let leaves = ["16", "00", "x", "é"];
    for leaf in leaves {
        rig.inject(leaf, b"{}");
    }
    eventually("all are counted", &*bus, || bus.counts().malformed == leaves.len() as u64);
    rig.publish(&format!("{PREFIX}/live/0/deeper"), b"{}");
    rig.publish("fleet/other/live/0", b"{}");
    bus.publish(event("c1", 1)).unwrap();
    watcher.wait(&*bus, "the next packet", |seen| !seen.is_empty());
    assert_eq!(bus.counts().malformed, leaves.len() as u64, "other topics are not subscribed");
}

#[test]
fn message_larger_than_any_frame_does_not_cost_the_connection() {
    let Some(rig) = MosquittoRig::running() else { return };
    let watcher = Watcher::new();
    let bus = rig.start(watcher.sink());
    eventually("the link is up", &*bus, || bus.health() == Health::Up);
    rig.inject("0", &vec![1; 200_000]);
    bus.publish(event("c1", 1)).unwrap();
    watcher.wait(&*bus, "the next packet", |seen| !seen.is_empty());
    assert_eq!(bus.counts().replacements, 0);
}

#[test]
fn broker_that_takes_only_small_packets_is_refused() {
    let Some(rig) = MosquittoRig::stopped("allow_anonymous true\nmax_packet_size 2000\n") else { return };
    rig.start_broker();
    let bus = rig.start(Watcher::new().sink());
    eventually("several attempts failed", &*bus, || bus.counts().failed_links >= 5);
    assert_eq!((bus.health(), bus.counts().replacements), (Health::Starting, 0));
}

#[test]
fn second_client_with_the_same_id_does_not_end_either_bus() {
    let Some(rig) = MosquittoRig::running() else { return };
    let watcher = Watcher::new();
    let start = || {
        let mut settings = rig.settings(ExternalTransport::PlaintextLoopback);
        settings.client_id = "twin".to_owned();
        ExternalBus::start(settings, watcher.sink()).unwrap()
    };
    let (first, second) = (start(), start());
    eventually("one was cut off", &first, || first.counts().replacements + second.counts().replacements >= 2);
    first.publish(event("c1", 1)).unwrap();
    second.shutdown();
    eventually("the packet arrives", &first, || numbers(&watcher.seen(), "c1").contains(&1));
}

#[test]
fn broker_is_reached_over_mutual_tls_and_only_with_a_certificate() {
    let config = "allow_anonymous true\nrequire_certificate true\ntls_version tlsv1.3\n";
    let Some(rig) = MosquittoRig::stopped(config) else { return };
    let authority = Authority::new();
    let files = authority.write_server_files(&rig.directory());
    rig.append_config(&files);
    rig.start_broker();

    let stranger = authority.client_config(&Authority::new());
    let stranger =
        ExternalBus::start(rig.settings(ExternalTransport::MutualTls(stranger)), Watcher::new().sink()).unwrap();
    eventually("the stranger is turned away", &stranger, || {
        stranger.counts().failed_links + stranger.counts().replacements >= 3
    });
    assert_eq!(stranger.health(), Health::Starting);

    let watcher = Watcher::new();
    let own = authority.client_config(&authority);
    let bus = ExternalBus::start(rig.settings(ExternalTransport::MutualTls(own)), watcher.sink()).unwrap();
    bus.publish(event("c1", 1)).unwrap();
    watcher.wait(&bus, "the event over TLS", |seen| seen.len() == 1);
}

/// A certificate authority of one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "bus test root");
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn leaf(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes what the broker needs and returns the lines of its configuration that name it.
    fn write_server_files(&self, directory: &std::path::Path) -> String {
        let (certificate, key) = self.leaf("broker");
        let files = [
            ("cafile", "ca.pem", self.certificate.pem()),
            ("certfile", "server.pem", certificate.pem()),
            ("keyfile", "server.key", key.serialize_pem()),
        ];
        let lines = files.map(|(option, name, content)| {
            let path = directory.join(name);
            fs::write(&path, content).unwrap();
            format!("{option} {}\n", path.display())
        });
        lines.concat()
    }

    /// A client that trusts this authority and shows a certificate of `issuer`.
    fn client_config(&self, issuer: &Self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let (certificate, key) = issuer.leaf("fleet");
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap())
    }
}
