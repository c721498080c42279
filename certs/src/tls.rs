//! rustls settings for both sides: TLS 1.3 only, both sides with certificates, one provider.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p256::pkcs8::EncodePrivateKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, ServerConfig,
    SignatureAlgorithm, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use crate::certificate::Summary;
use crate::held::P256Key;
use crate::load::{LoadError, TlsIdentity};
use crate::peers::{ClientRoots, ServerRoots};
use crate::profile::{Usage, profile};

/// The ALPN name of MQTT over TLS (IANA). A client that names no protocol is served too.
pub const ALPN_MQTT: &[u8] = b"mqtt";

/// The ALPN name of HTTP/1.1, on the enrolment port.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// Servers whose tickets a client keeps.
const SESSIONS: usize = 8;

/// Settings of a broker: every client must present a certificate of the authority of its role.
///
/// Sessions resume by tickets that the *client* keeps, so ten thousand idle cabinets cost no memory here. Their key lives in
/// these settings: new settings, made after a CA was replaced, start with full handshakes. A resumed session skips the
/// verifier: the caller calls [`ClientRoots::identity_of`] after every handshake and authorises again.
pub fn server_config(
    own: &TlsIdentity,
    clients: &ClientRoots,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, LoadError> {
    let verifier = ClientVerifier { clients: clients.clone(), renewing: None };
    let mut config = server(own, verifier, ALPN_MQTT, clock)?;
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    // A ticket holds the client's certificate; one is enough, since each resumption brings the next.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Settings of the enrolment port: a client comes without a certificate and has a token, or with a cabinet's certificate, which
/// may have ended up to `grace` ago. The caller takes the identity from [`ClientRoots::renewing`].
///
/// Nothing is resumed: each connection is verified.
pub fn enrolment_server_config(
    own: &TlsIdentity,
    clients: &ClientRoots,
    clock: Arc<dyn TimeProvider>,
    grace: Duration,
) -> Result<ServerConfig, LoadError> {
    server(own, ClientVerifier { clients: clients.clone(), renewing: Some(grace) }, ALPN_HTTP, clock)
}

/// What all servers have in common: TLS 1.3, clients that `verifier` looks at, one protocol. Nothing is resumed.
fn server(
    own: &TlsIdentity,
    verifier: impl ClientCertVerifier + 'static,
    protocol: &[u8],
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, LoadError> {
    check_side(own, Usage::Server)?;
    let mut config = ServerConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified(own)?)));
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// What a server has that asks nobody for a certificate. Nothing is resumed.
pub(crate) fn server_alone(own: Arc<SingleCertAndKey>, protocol: &[u8]) -> Result<ServerConfig, LoadError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(own);
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// Settings of a client that cannot tell its fleet from another yet: every server is taken, to ask it for its root, which is
/// then compared with a fingerprint. Whoever uses this must not send anything that is not public.
pub fn first_contact_config() -> Result<ClientConfig, LoadError> {
    let mut config = ClientConfig::builder_with_details(provider(), system_clock())
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(config)
}

/// Settings of a client without a certificate of its own, for the enrolment port.
pub fn enrolment_client_config(
    own: Option<&TlsIdentity>,
    servers: &ServerRoots,
    clock: Arc<dyn ClientClock>,
) -> Result<ClientConfig, LoadError> {
    let verifier = ServerVerifier { servers: servers.clone(), clock: Some(Arc::clone(&clock)) };
    let mut config = client(own, clock, verifier)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(config)
}

/// By which time a client judges its server's certificate when it may have no clock.
pub trait ClientClock: TimeProvider {
    /// True while the time is only the earliest that it can be, as on a cabinet that was without power for months. A
    /// certificate that begins later is taken then; one that has ended by it never is.
    fn is_earliest(&self) -> bool;
}

/// Settings of a client: the server must hold a certificate for its host name, of role `server` and the expected tenant.
pub fn client_config(
    own: &TlsIdentity,
    servers: &ServerRoots,
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, LoadError> {
    client(Some(own), clock, ServerVerifier { servers: servers.clone(), clock: None })
}

/// As [`client_config`], for a client that may not know the time.
pub fn client_config_without_time(
    own: &TlsIdentity,
    servers: &ServerRoots,
    clock: Arc<dyn ClientClock>,
) -> Result<ClientConfig, LoadError> {
    let verifier = ServerVerifier { servers: servers.clone(), clock: Some(Arc::clone(&clock)) };
    client(Some(own), clock, verifier)
}

fn client(
    own: Option<&TlsIdentity>,
    clock: Arc<dyn TimeProvider>,
    verifier: ServerVerifier,
) -> Result<ClientConfig, LoadError> {
    let builder = ClientConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&version::TLS13])?
        // rustls calls every verifier of one's own dangerous. This one adds checks to webpki's and leaves none out.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some(own) => {
            check_side(own, Usage::Client)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(own)?)))
        }
        None => builder.with_no_client_auth(),
    };
    // A client talks to one broker; the default keeps tickets of 256.
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    config.alpn_protocols = vec![ALPN_MQTT.to_vec()];
    Ok(config)
}

/// The clock of the operating system.
pub fn system_clock() -> Arc<dyn TimeProvider> {
    Arc::new(DefaultTimeProvider)
}

/// The one provider, named here so that nothing depends on a default of the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}

fn check_side(own: &TlsIdentity, wanted: Usage) -> Result<(), LoadError> {
    let found = own.identity();
    if profile(found.role).usage == wanted {
        Ok(())
    } else {
        Err(LoadError::WrongSide { found: found.clone(), wanted })
    }
}

/// Certificates and key as rustls takes them. That they belong together was checked when they were read.
fn certified(own: &TlsIdentity) -> Result<CertifiedKey, LoadError> {
    let key: Arc<dyn SigningKey> = match &own.key {
        P256Key::Memory(key) => {
            let der = key.to_pkcs8_der().map_err(LoadError::Encode)?;
            let der = PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()).into();
            provider().key_provider.load_private_key(der)?
        }
        key @ P256Key::Token(_) => Arc::new(TokenSigner(key.clone())),
    };
    Ok(CertifiedKey::new(own.chain.clone(), key))
}

/// A key in a token as rustls wants it. A handshake waits for the token.
#[derive(Debug, Clone)]
struct TokenSigner(P256Key);

impl SigningKey for TokenSigner {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme()).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message).map_err(|error| Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

fn system_time(now: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(now.as_secs())
}

fn with_leaf<'a>(leaf: &CertificateDer<'a>, rest: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    std::iter::once(leaf).chain(rest).cloned().collect()
}

/// What every verifier has in common: the peer has to hold the key of its certificate, in TLS 1.3.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerIncompatible::Tls12NotOffered.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

// Below the macro, which it uses.
mod between;

pub use between::{ALPN_SIGNER, ServerPeer, signer_client_config, signer_server_config};

#[derive(Debug)]
struct ClientVerifier {
    clients: ClientRoots,
    /// On the enrolment port: cabinets only, with this grace, and nobody has to show a certificate.
    renewing: Option<Duration>,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.renewing.is_none()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (chain, now) = (std::slice::from_ref(end_entity), system_time(now));
        match self.renewing {
            Some(grace) => self.clients.renewing(chain, now, grace)?,
            None => self.clients.identity_of(chain, now)?,
        };
        Ok(ClientCertVerified::assertion())
    }

    tls13_signatures!();
}

#[derive(Debug)]
struct ServerVerifier {
    servers: ServerRoots,
    clock: Option<Arc<dyn ClientClock>>,
}

impl ServerVerifier {
    /// The time to judge `chain` by.
    fn time(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> SystemTime {
        let now = system_time(now);
        if !self.clock.as_ref().is_some_and(|clock| clock.is_earliest()) {
            return now;
        }
        // One that cannot be read is refused in a moment.
        let begins = chain.iter().filter_map(|one| Summary::read(one).ok()).map(|summary| summary.not_before);
        begins.fold(now, SystemTime::max)
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = with_leaf(end_entity, intermediates);
        self.servers.identity_of(&chain, self.time(&chain, now))?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}

/// Takes any certificate, if only the server holds its key.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}
