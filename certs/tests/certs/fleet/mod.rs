//! A fleet's CAs and files, and two rustls connections joined in memory.

pub(crate) mod mint;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::{
    Authority, CertificateAuthority, CertificateDer, ClientRoots, LeafKey, LeafRequest, ServerName, ServerRoots,
    TlsIdentity, client_config, generate_p256, server_config, write_p256, write_public,
};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use rustls_pki_types::UnixTime;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-11-22: tests do not look at the clock.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_305_600)
}

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct Clock(pub(crate) SystemTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.duration_since(UNIX_EPOCH).ok()?))
    }
}

pub(crate) fn clock_at(time: SystemTime) -> Arc<dyn TimeProvider> {
    Arc::new(Clock(time))
}

pub(crate) struct Fleet {
    pub(crate) root: CertificateAuthority,
    pub(crate) servers: CertificateAuthority,
    pub(crate) cabinets: CertificateAuthority,
    pub(crate) people: CertificateAuthority,
    pub(crate) folder: tempfile::TempDir,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let root = CertificateAuthority::new_root(&"acme".parse().unwrap(), generate_p256().unwrap(), now()).unwrap();
        let make = |authority| root.new_intermediate(authority, generate_p256().unwrap(), now()).unwrap();
        let (servers, cabinets, people) =
            (make(Authority::Servers), make(Authority::Cabinets), make(Authority::People));
        Self { root, servers, cabinets, people, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn client_roots(&self) -> ClientRoots {
        ClientRoots::new(&[self.cabinets.certificate().clone()], &[self.people.certificate().clone()]).unwrap()
    }

    pub(crate) fn server_roots(&self) -> ServerRoots {
        ServerRoots::new(&[self.root.certificate().clone()], "acme".parse().unwrap()).unwrap()
    }

    /// A server of the fleet at `localhost`.
    pub(crate) fn server(&self) -> TlsIdentity {
        self.issue(&LeafRequest::server("server:acme:gate".parse().unwrap(), vec![localhost()]))
    }

    pub(crate) fn client(&self, identity: &str) -> TlsIdentity {
        self.issue(&LeafRequest::client(identity.parse().unwrap()))
    }

    /// What the right authority issues, by way of files.
    pub(crate) fn issue(&self, request: &LeafRequest) -> TlsIdentity {
        let key = generate_p256().unwrap();
        let authority = match Authority::of(request.identity.role) {
            Authority::Root | Authority::Servers => &self.servers,
            Authority::Cabinets => &self.cabinets,
            Authority::People => &self.people,
        };
        let issued = authority.issue(request, &LeafKey::from(&key), now()).unwrap();
        self.files(&issued.pem(), &key)
    }

    /// Writes certificate and key to files and reads them back.
    pub(crate) fn files(&self, pem: &str, key: &p256::SecretKey) -> TlsIdentity {
        let unique = certs::Fingerprint::of(&CertificateDer::from(pem.as_bytes())).to_string();
        let (chain_path, key_path) = (self.path(&format!("{unique}.pem")), self.path(&format!("{unique}.key")));
        write_public(&chain_path, pem.as_bytes()).unwrap();
        write_p256(&key_path, key, None).unwrap();
        TlsIdentity::read(&chain_path, &key_path, None).unwrap()
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::new(server_config(&self.server(), &self.client_roots(), clock_at(now())).unwrap())
    }

    pub(crate) fn client_config(&self, identity: &str) -> Arc<ClientConfig> {
        Arc::new(client_config(&self.client(identity), &self.server_roots(), clock_at(now())).unwrap())
    }
}

pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A connection after its handshake, or after one side gave it up.
pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
}

impl Pair {
    pub(crate) fn new(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        Self {
            client: ClientConnection::new(client, localhost()).unwrap().into(),
            server: ServerConnection::new(server).unwrap().into(),
        }
    }

    /// Carries bytes both ways until none are left; the first error of each side, as (client's, server's).
    pub(crate) fn run(&mut self) -> (Option<rustls::Error>, Option<rustls::Error>) {
        let (mut of_client, mut of_server) = (None, None);
        while self.client.wants_write() || self.server.wants_write() {
            carry(&mut self.client, &mut self.server, &mut of_server);
            carry(&mut self.server, &mut self.client, &mut of_client);
        }
        (of_client, of_server)
    }

    pub(crate) fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let mut pair = Self::new(client, server);
        assert_eq!(pair.run(), (None, None));
        assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
        pair
    }

    /// What the server says about a client that it must refuse.
    pub(crate) fn refused_by_server(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> rustls::Error {
        Self::new(client, server).run().1.expect("the server took the client")
    }

    /// What the client says about a server that it must refuse.
    pub(crate) fn refused_by_client(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> rustls::Error {
        Self::new(client, server).run().0.expect("the client took the server")
    }
}

fn carry(from: &mut Connection, to: &mut Connection, error: &mut Option<rustls::Error>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() && error.is_none() {
        match to.read_tls(&mut rest) {
            Ok(0) => break,
            Ok(_) => {}
            Err(full) if full.kind() == io::ErrorKind::Other => break,
            Err(other) => panic!("{other}"),
        }
        *error = to.process_new_packets().err();
    }
}
