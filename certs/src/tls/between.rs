//! TLS between broker and signer on two hosts. Both are servers of one fleet, and each knows the other's name: both show a server's
//! certificate, and neither takes one of a person or a cabinet.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::verify_tls13_signature;
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig, SignatureScheme,
    version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use schemas::ids::Identity;

use super::{certified, check_side, provider, server, system_time, with_leaf};
use crate::load::{LoadError, TlsIdentity};
use crate::peers::{IdentityError, PeerIdentity, ServerRoots};
use crate::profile::Usage;

/// The ALPN name of the signer's frames: a connection that was led to another port of the fleet ends in the handshake.
pub const ALPN_SIGNER: &[u8] = b"locker-fleet-signer/1";

/// The one server that the other side has to be. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerPeer {
    servers: ServerRoots,
    expected: Identity,
}

impl ServerPeer {
    /// `root` is a PEM bundle with the fleet's TLS root.
    pub fn from_file(root: &Path, expected: Identity) -> Result<Self, LoadError> {
        Ok(Self { servers: ServerRoots::from_file(root, expected.tenant.clone())?, expected })
    }

    /// Verifies from scratch that `chain` is of the expected server. The host name is for the handshake.
    pub fn identity_of(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<PeerIdentity, IdentityError> {
        let peer = self.servers.identity_of(chain, now)?;
        if peer.identity == self.expected {
            Ok(peer)
        } else {
            Err(IdentityError::OtherServer { found: peer.identity, expected: self.expected.clone() })
        }
    }
}

/// Settings of a signer that the broker reaches over the network. Nothing is resumed: each connection is verified.
pub fn signer_server_config(
    own: &TlsIdentity,
    broker: &ServerPeer,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, LoadError> {
    server(own, Verifier(broker.clone()), ALPN_SIGNER, clock)
}

/// Settings of a broker whose signer is on another host. It shows the certificate that its clients see, too.
pub fn signer_client_config(
    own: &TlsIdentity,
    signer: &ServerPeer,
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, LoadError> {
    check_side(own, Usage::Server)?;
    let mut config = ClientConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&version::TLS13])?
        // rustls calls every verifier of one's own dangerous. This one adds checks to webpki's and leaves none out.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier(signer.clone())))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(own)?)));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_SIGNER.to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Verifier(ServerPeer);

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.identity_of(&with_leaf(end_entity, intermediates), system_time(now))?;
        Ok(ClientCertVerified::assertion())
    }

    tls13_signatures!();
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.identity_of(&with_leaf(end_entity, intermediates), system_time(now))?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}
