//! Who the peer is: its certificate verified against the authority of its role, and read.

use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError as RustlsCertificateError, DistinguishedName, OtherError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use schemas::ids::{Identity, Role, TenantId};

use crate::certificate::{CertificateError, Fingerprint, Serial, Subject, Summary, day};
use crate::load::{LoadError, anchor_name, check_anchor, read_anchors};
use crate::profile::Authority;
use crate::tls::provider;

/// Why a peer is not who it says.
#[derive(Clone, thiserror::Error)]
pub enum IdentityError {
    #[error("the peer presented no certificate")]
    NoCertificate,
    #[error("the peer's certificate cannot be used")]
    Certificate(#[from] CertificateError),
    #[error("the peer presented a CA certificate as its own")]
    NotALeaf,
    #[error("{0} is a server's certificate, presented by a client")]
    ServerAsClient(Identity),
    #[error("{0} is not a server")]
    NotAServer(Identity),
    #[error("{0} is not a cabinet; other certificates are renewed by `fleet`")]
    NotACabinet(Identity),
    #[error("{found} is not a server of tenant {expected}")]
    OtherTenant { found: Identity, expected: TenantId },
    #[error("{found} is not {expected}")]
    OtherServer { found: Identity, expected: Identity },
    #[error("the certificate of the {authority} expired on {}; trust a newer one", day(*not_after))]
    AuthorityExpired { authority: Authority, not_after: SystemTime },
    #[error("{identity} is not vouched for by the authority of its role")]
    Refused { identity: Identity, source: rustls::Error },
}

/// In words and with its causes, because rustls shows the reason of a verifier by its `Debug`.
impl fmt::Debug for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<IdentityError> for rustls::Error {
    fn from(error: IdentityError) -> Self {
        // Keeps the alert that tells the peer what is wrong, such as `certificate_expired`.
        if let IdentityError::Refused { source, .. } = error {
            return source;
        }
        RustlsCertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

/// A peer whose certificate was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    pub identity: Identity,
    pub serial: Serial,
    pub issued: SystemTime,
    pub not_after: SystemTime,
    pub fingerprint: Fingerprint,
}

/// The authorities that a broker takes clients from. Cheap to clone.
#[derive(Clone)]
pub struct ClientRoots(Arc<ClientAnchors>);

struct ClientAnchors {
    cabinets: Vec<Anchor>,
    people: Vec<Anchor>,
    subjects: Vec<DistinguishedName>,
}

/// One trusted CA certificate; a verifier of its own tells which one matched, and lets its own end be checked.
struct Anchor {
    verifier: Arc<dyn ClientCertVerifier>,
    not_after: SystemTime,
}

impl ClientRoots {
    /// Several certificates of one authority are for the time in which an old CA is replaced.
    pub fn new(cabinets: &[CertificateDer<'_>], people: &[CertificateDer<'_>]) -> Result<Self, LoadError> {
        let cabinets = anchors(cabinets, Authority::Cabinets)?;
        let people = anchors(people, Authority::People)?;
        let subjects = cabinets.iter().chain(&people).flat_map(|a| a.verifier.root_hint_subjects().to_vec()).collect();
        Ok(Self(Arc::new(ClientAnchors { cabinets, people, subjects })))
    }

    /// From two PEM bundles.
    pub fn from_files(cabinets: &Path, people: &Path) -> Result<Self, LoadError> {
        Self::new(&read_anchors(cabinets, Authority::Cabinets)?, &read_anchors(people, Authority::People)?)
    }

    /// Verifies from scratch who presented `chain`: read strictly, within its time, and signed directly by the authority
    /// of its role. What follows the leaf in `chain` is not looked at.
    ///
    /// Call it with [`peer_certificates`](rustls::CommonState::peer_certificates) after every handshake: a resumed
    /// session skips the verifier, and its certificate may have ended since.
    pub fn identity_of(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<PeerIdentity, IdentityError> {
        let (peer, leaf) = read_leaf(chain)?;
        let authority = Authority::of(peer.identity.role);
        let anchors = match authority {
            Authority::Cabinets => &self.0.cabinets,
            Authority::People => &self.0.people,
            Authority::Root | Authority::Servers => return Err(IdentityError::ServerAsClient(peer.identity)),
        };
        let last = anchors.iter().map(|anchor| anchor.not_after).max().unwrap_or(UNIX_EPOCH);
        let mut refusal = IdentityError::AuthorityExpired { authority, not_after: last };
        for anchor in anchors.iter().filter(|anchor| now <= anchor.not_after) {
            match anchor.verifier.verify_client_cert(leaf, &[], unix_time(now)) {
                Ok(_) => return Ok(peer),
                Err(source) => refusal = IdentityError::Refused { identity: peer.identity.clone(), source },
            }
        }
        Err(refusal)
    }

    /// As [`identity_of`](Self::identity_of) for a cabinet that renews its certificate, also when that has ended up to `grace`
    /// ago.
    pub fn renewing(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
        grace: Duration,
    ) -> Result<PeerIdentity, IdentityError> {
        let (peer, _) = read_leaf(chain)?;
        if peer.identity.role != Role::Cabinet {
            return Err(IdentityError::NotACabinet(peer.identity));
        }
        let late = now.duration_since(peer.not_after).unwrap_or_default();
        self.identity_of(chain, if late <= grace { now.min(peer.not_after) } else { now })
    }

    pub(crate) fn subjects(&self) -> &[DistinguishedName] {
        &self.0.subjects
    }
}

impl fmt::Debug for ClientRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cabinets, people) = (self.0.cabinets.len(), self.0.people.len());
        f.debug_struct("ClientRoots").field("cabinets", &cabinets).field("people", &people).finish()
    }
}

/// The root that a client trusts, and the tenant that the server must belong to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerRoots {
    roots: Arc<RootCertStore>,
    tenant: TenantId,
}

impl ServerRoots {
    /// `tenant` is the one in the server's own certificate. The dates of a root are not looked at. Several roots are for the time in which one is replaced.
    pub fn new(roots: &[CertificateDer<'_>], tenant: TenantId) -> Result<Self, LoadError> {
        let expected = anchor_name(Authority::Root);
        let mut store = RootCertStore::empty();
        for root in roots {
            check_anchor(root, Authority::Root)?;
            store.add(root.clone().into_owned())?;
        }
        if store.is_empty() {
            return Err(LoadError::NoAnchor { expected });
        }
        Ok(Self { roots: Arc::new(store), tenant })
    }

    /// From a PEM bundle.
    pub fn from_file(roots: &Path, tenant: TenantId) -> Result<Self, LoadError> {
        Self::new(&read_anchors(roots, Authority::Root)?, tenant)
    }

    /// Verifies from scratch which server presented `chain`, except for the host name, which the handshake checks.
    pub fn identity_of(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<PeerIdentity, IdentityError> {
        let (peer, leaf) = read_leaf(chain)?;
        if peer.identity.role != Role::Server {
            return Err(IdentityError::NotAServer(peer.identity));
        }
        if peer.identity.tenant != self.tenant {
            return Err(IdentityError::OtherTenant { found: peer.identity, expected: self.tenant.clone() });
        }
        let intermediates = chain.get(1..).unwrap_or_default();
        let algorithms = provider().signature_verification_algorithms.all;
        ParsedCertificate::try_from(leaf)
            .and_then(|leaf| {
                let now = unix_time(now);
                verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms)
            })
            .map_err(|source| IdentityError::Refused { identity: peer.identity.clone(), source })?;
        Ok(peer)
    }
}

fn anchors(certificates: &[CertificateDer<'_>], authority: Authority) -> Result<Vec<Anchor>, LoadError> {
    if certificates.is_empty() {
        return Err(LoadError::NoAnchor { expected: anchor_name(authority) });
    }
    certificates
        .iter()
        .map(|certificate| {
            let not_after = check_anchor(certificate, authority)?.not_after;
            let mut store = RootCertStore::empty();
            store.add(certificate.clone().into_owned())?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
                .build()
                .map_err(|_| LoadError::NoAnchor { expected: anchor_name(authority) })?;
            Ok(Anchor { verifier, not_after })
        })
        .collect()
}

fn read_leaf<'a, 'b>(chain: &'a [CertificateDer<'b>]) -> Result<(PeerIdentity, &'a CertificateDer<'b>), IdentityError> {
    let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
    let summary = Summary::read(leaf)?;
    let issued = summary.issued();
    let Summary { subject, serial, not_after, fingerprint, .. } = summary;
    match subject {
        Subject::Leaf(identity) => Ok((PeerIdentity { identity, serial, issued, not_after, fingerprint }, leaf)),
        Subject::Authority { .. } => Err(IdentityError::NotALeaf),
    }
}

/// A time before 1970 counts as 1970: no certificate was valid then.
fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}
