//! Issuing: a CA's certificate and key, and what it signs.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::{DecodePublicKey, EncodePublicKey};
use p256::{PublicKey, SecretKey};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, ServerName};
use schemas::ids::{Identity, Name};

use crate::certificate::{CertificateError, Fingerprint, SERIAL_MAX, Subject, Summary, authority_urn, day};
use crate::keys::{Passphrase, read_p256};
use crate::load::{LoadError, read_certificates};
use crate::profile::{Authority, Usage, profile};
use crate::token::TokenError;

/// A certificate starts this much before it is issued, for machines whose clock is behind.
pub(crate) const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// 2026-01-01: a clock before this was never set.
const CLOCK_MIN: u64 = 1_767_225_600;
/// 2200-01-01: a clock after this is wrong, and the dates of a certificate stay far from their end in 9999.
const CLOCK_MAX: u64 = 7_258_118_400;

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the clock of this machine says {}; set it before issuing certificates", day(*.0))]
    Clock(SystemTime),
    #[error("the {issuer} does not issue certificates for {subject}")]
    WrongIssuer { issuer: Authority, subject: String },
    #[error("the certificate of the {issuer} expired on {}; make a new one first", day(*not_after))]
    IssuerExpired { issuer: Authority, not_after: SystemTime },
    #[error("a server's certificate needs a host name or address that its clients connect to")]
    NoServerName,
    #[error("{0} is not a server and has no host name or address in its certificate")]
    ClientWithServerName(Identity),
    #[error("a lifetime of {asked} days is outside 0 to {longest}, the longest for this role")]
    Lifetime { asked: u64, longest: u64 },
    #[error("the public key is not a P-256 key as SubjectPublicKeyInfo")]
    PublicKey,
    #[error("this machine gives no random bytes")]
    NoRandom(#[from] getrandom::Error),
    #[error("encode certificate")]
    Encode(#[from] rcgen::Error),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the issued certificate cannot be read back")]
    ReadBack(#[from] CertificateError),
}

/// The public key that a leaf certificate is for, made here or on the device that keeps the private one.
#[derive(Debug, Clone)]
pub struct LeafKey(Point);

impl LeafKey {
    /// From a SubjectPublicKeyInfo in DER, as in a CSR; only a valid point on P-256 is taken.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, IssueError> {
        let key = PublicKey::from_public_key_der(der).map_err(|_| IssueError::PublicKey)?;
        // Only the one encoding that DER and the uncompressed point leave.
        match key.to_public_key_der() {
            Ok(again) if again.as_bytes() == der => Ok(Self::from(key)),
            _ => Err(IssueError::PublicKey),
        }
    }

    /// As SubjectPublicKeyInfo in DER: what [`from_spki_der`](Self::from_spki_der) takes.
    pub fn spki_der(&self) -> Result<Vec<u8>, IssueError> {
        let key = PublicKey::from_sec1_bytes(&self.0.0).map_err(|_| IssueError::PublicKey)?;
        Ok(key.to_public_key_der().map_err(|_| IssueError::PublicKey)?.into_vec())
    }

    pub(crate) fn point(&self) -> &Point {
        &self.0
    }
}

impl From<PublicKey> for LeafKey {
    fn from(key: PublicKey) -> Self {
        Self(Point::of(&key))
    }
}

impl From<&SecretKey> for LeafKey {
    fn from(key: &SecretKey) -> Self {
        Self::from(key.public_key())
    }
}

/// What a leaf certificate is asked for.
#[derive(Debug, Clone)]
pub struct LeafRequest {
    pub identity: Identity,
    /// Host names and addresses; for a server at least one, for others none.
    pub names: Vec<ServerName<'static>>,
    /// Shorter than the profile's; `None` for the profile's.
    pub lifetime: Option<Duration>,
}

impl LeafRequest {
    pub fn client(identity: Identity) -> Self {
        Self { identity, names: Vec::new(), lifetime: None }
    }

    pub fn server(identity: Identity, names: Vec<ServerName<'static>>) -> Self {
        Self { identity, names, lifetime: None }
    }
}

/// A leaf certificate as issued.
#[derive(Debug, Clone)]
pub struct Issued {
    pub certificate: CertificateDer<'static>,
    pub summary: Summary,
    /// The issuer's certificate where the peer does not have it.
    issuer: Option<CertificateDer<'static>>,
}

impl Issued {
    /// What the holder keeps in its certificate file and sends in a handshake. Clients know the root only, so a
    /// server's file has the servers' CA too; the server knows the clients' CAs, so a client saves those bytes.
    pub fn pem(&self) -> String {
        let issuer = self.issuer.as_ref().map(to_pem).unwrap_or_default();
        to_pem(&self.certificate) + &issuer
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.summary.fingerprint
    }
}

/// A CA: its certificate and its key.
pub struct CertificateAuthority {
    authority: Authority,
    fleet: Name,
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
    key: SecretKey,
}

impl CertificateAuthority {
    /// Makes the root of the fleet, signed by itself.
    pub fn new_root(fleet: &Name, key: SecretKey, now: SystemTime) -> Result<Self, IssueError> {
        check_clock(now)?;
        let params = ca_params(Authority::Root, fleet, now, now + Authority::Root.lifetime())?;
        let certificate = params.self_signed(&CaKey::of(&key))?;
        Self::made(certificate.into(), key)
    }

    /// Lets the root make one of the authorities below it.
    pub fn new_intermediate(&self, authority: Authority, key: SecretKey, now: SystemTime) -> Result<Self, IssueError> {
        if self.authority != Authority::Root || authority == Authority::Root {
            return Err(IssueError::WrongIssuer { issuer: self.authority, subject: format!("the {authority}") });
        }
        let until = self.end_of(authority.lifetime(), now)?;
        let params = ca_params(authority, &self.fleet, now, until)?;
        let certificate = params.signed_by(&LeafKey::from(&key).0, &self.issuer()?)?;
        Self::made(certificate.into(), key)
    }

    /// Reads a CA's certificate and key, and checks that they belong together.
    pub fn open(certificate: &Path, key: &Path, passphrase: Option<&Passphrase>) -> Result<Self, LoadError> {
        let certificates = read_certificates(certificate)?;
        let refused = |source| LoadError::Certificate { path: certificate.into(), source };
        let Some(first) = certificates.into_iter().next() else {
            return Err(LoadError::NoCertificate { path: certificate.into() });
        };
        let summary = Summary::read(&first).map_err(refused)?;
        let Subject::Authority { authority, fleet } = summary.subject else {
            let (path, found) = (certificate.into(), summary.subject);
            return Err(LoadError::WrongSubject { path, found, expected: "a CA" });
        };
        let secret = read_p256(key, passphrase)?;
        if summary.public_key != secret.public_key() {
            return Err(LoadError::KeyMismatch { certificate: certificate.into(), key: key.into() });
        }
        Ok(Self { authority, fleet, certificate: first, not_after: summary.not_after, key: secret })
    }

    pub fn authority(&self) -> Authority {
        self.authority
    }

    pub fn fleet(&self) -> &Name {
        &self.fleet
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn certificate_pem(&self) -> String {
        to_pem(&self.certificate)
    }

    /// The private key, to be written with [`write_p256`](crate::write_p256).
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Issues a leaf certificate, for a role of this authority only. It ends no later than the authority itself.
    pub fn issue(&self, request: &LeafRequest, key: &LeafKey, now: SystemTime) -> Result<Issued, IssueError> {
        let identity = &request.identity;
        let profile = profile(identity.role);
        if profile.authority != self.authority {
            return Err(IssueError::WrongIssuer { issuer: self.authority, subject: identity.to_string() });
        }
        match profile.usage {
            Usage::Server if request.names.is_empty() => return Err(IssueError::NoServerName),
            Usage::Client if !request.names.is_empty() => {
                return Err(IssueError::ClientWithServerName(identity.clone()));
            }
            Usage::Server | Usage::Client => {}
        }
        let lifetime = request.lifetime.unwrap_or(profile.lifetime);
        if lifetime.is_zero() || lifetime > profile.lifetime {
            let in_days = |lifetime: Duration| lifetime.as_secs() / 86_400;
            return Err(IssueError::Lifetime { asked: in_days(lifetime), longest: in_days(profile.lifetime) });
        }
        let until = self.end_of(lifetime, now)?;
        let params = leaf_params(request, profile.usage, now, until)?;
        let certificate: CertificateDer<'static> = params.signed_by(&key.0, &self.issuer()?)?.into();
        let summary = Summary::read(&certificate)?;
        let issuer = (profile.usage == Usage::Server).then(|| self.certificate.clone());
        Ok(Issued { certificate, summary, issuer })
    }

    fn made(certificate: CertificateDer<'static>, key: SecretKey) -> Result<Self, IssueError> {
        let summary = Summary::read(&certificate)?;
        let Subject::Authority { authority, fleet } = summary.subject else {
            return Err(CertificateError::Encoding.into());
        };
        Ok(Self { authority, fleet, certificate, not_after: summary.not_after, key })
    }

    fn issuer(&self) -> Result<Issuer<'static, CaKey>, rcgen::Error> {
        Issuer::from_ca_cert_der(&self.certificate, CaKey::of(&self.key))
    }

    /// When something issued now ends: verifiers do not look at the dates of an anchor, so no leaf outlives its CA.
    fn end_of(&self, lifetime: Duration, now: SystemTime) -> Result<SystemTime, IssueError> {
        check_clock(now)?;
        if now >= self.not_after {
            return Err(IssueError::IssuerExpired { issuer: self.authority, not_after: self.not_after });
        }
        Ok(self.not_after.min(now + lifetime))
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("authority", &self.authority)
            .field("fleet", &self.fleet)
            .finish_non_exhaustive()
    }
}

fn check_clock(now: SystemTime) -> Result<(), IssueError> {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if (CLOCK_MIN..CLOCK_MAX).contains(&seconds) { Ok(()) } else { Err(IssueError::Clock(now)) }
}

fn ca_params(
    authority: Authority,
    fleet: &Name,
    now: SystemTime,
    until: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let mut params = common_params(now, until)?;
    params.distinguished_name.push(DnType::OrganizationName, fleet.as_str());
    params.distinguished_name.push(DnType::CommonName, format!("{fleet} {authority}"));
    params.subject_alt_names.push(SanType::URI(ia5(authority_urn(authority, fleet))?));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // A limit on what is below: a client refuses a server that comes from any but the servers' CA.
    params.extended_key_usages = authority.usage().map(extended).into_iter().collect();
    params.is_ca = IsCa::Ca(match authority {
        Authority::Root => BasicConstraints::Constrained(1),
        Authority::Servers | Authority::Cabinets | Authority::People => BasicConstraints::Constrained(0),
    });
    Ok(params)
}

fn leaf_params(
    request: &LeafRequest,
    usage: Usage,
    now: SystemTime,
    until: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let identity = &request.identity;
    let mut params = common_params(now, until)?;
    // For people's eyes only; three fields because a common name ends at 64 characters.
    params.distinguished_name.push(DnType::OrganizationName, identity.tenant.as_str());
    params.distinguished_name.push(DnType::OrganizationalUnitName, identity.role.as_str());
    params.distinguished_name.push(DnType::CommonName, identity.name.as_str());
    params.subject_alt_names.push(SanType::URI(ia5(identity.to_urn())?));
    for name in &request.names {
        params.subject_alt_names.push(match name {
            ServerName::DnsName(name) => SanType::DnsName(ia5(name.as_ref().to_owned())?),
            ServerName::IpAddress(address) => SanType::IpAddress((*address).into()),
            _ => return Err(IssueError::NoServerName),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![extended(usage)];
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params)
}

fn common_params(now: SystemTime, until: SystemTime) -> Result<CertificateParams, IssueError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Whole seconds: a certificate has no fractions. The clock was checked, so both are after the epoch.
    let since = |time: SystemTime| Duration::from_secs(time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()));
    let mut params = CertificateParams::default();
    params.not_before = epoch + since(now - BACKDATED);
    params.not_after = epoch + since(until);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(random_serial()?.to_vec().into());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// 20 bytes, of which 158 bits are random; positive and of fixed length.
pub(crate) fn random_serial() -> Result<[u8; SERIAL_MAX], getrandom::Error> {
    let mut serial = [0; SERIAL_MAX];
    getrandom::fill(&mut serial)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

fn extended(usage: Usage) -> ExtendedKeyUsagePurpose {
    match usage {
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }
}

fn ia5(text: String) -> Result<Ia5String, rcgen::Error> {
    text.try_into()
}

/// A certificate as PEM.
pub fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let text = data_encoding::BASE64.encode(certificate);
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// A public key as rcgen wants it: the uncompressed point.
#[derive(Debug, Clone)]
pub(crate) struct Point(Box<[u8]>);

impl Point {
    pub(crate) fn of(key: &PublicKey) -> Self {
        Self(key.to_sec1_point(false).as_bytes().into())
    }
}

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The private key of a CA as rcgen wants it. Not rcgen's own key pair, which leaves its bytes in memory.
pub(crate) struct CaKey {
    key: SigningKey,
    point: Point,
}

impl CaKey {
    pub(crate) fn of(key: &SecretKey) -> Self {
        Self { key: SigningKey::from(key), point: Point::of(&key.public_key()) }
    }
}

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.point.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.point.algorithm()
    }
}

impl rcgen::SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: Signature = self.key.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}
