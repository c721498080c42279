//! Certificates of a cable: what a screen that is a computer of its own believes of the agent at the other end.
//!
//! No authority of the fleet has a part in it: the screen's browser knows nothing of the fleet, and the fleet nothing of
//! the cable.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey as _;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::authority::{CaKey, IssueError, LeafKey, random_serial, to_pem};
use crate::files::read_private;
use crate::keys::{KeyError, generate_p256, p256_in_pem, p256_pem};
use crate::load::LoadError;
use crate::tls::{ALPN_HTTP, provider, server_alone};

/// Neither end of the cable may know the time: a tablet whose battery was flat begins in 1970.
const FIRST_YEAR: i32 = 1970;
/// The last one that UTCTime can name is 2049.
const LAST_YEAR: i32 = 2049;

/// What the screen's browser is told to believe, and what the agent shows it.
pub struct LinkCertificates {
    authority: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: SecretKey,
}

impl LinkCertificates {
    /// An authority that may vouch for this address only. Its key is gone when this returns: nobody, whatever he gets hold
    /// of, makes a second certificate that the screen believes.
    pub fn new(address: IpAddr, cabinet: &str) -> Result<Self, LinkError> {
        let (authority, key) = (Authority::new(address, cabinet)?, generate_p256()?);
        let leaf = authority.vouch_for(address, cabinet, &key)?;
        Ok(Self { authority: authority.certificate, leaf, key })
    }

    /// For [`link_server_config`] and [`link_authority_pem`]: the key, the certificate and its issuer.
    pub fn bundle_pem(&self) -> Result<Zeroizing<String>, LoadError> {
        let mut text = p256_pem(&self.key).map_err(LoadError::Encode)?;
        text.push_str(&to_pem(&self.leaf));
        text.push_str(&to_pem(&self.authority));
        Ok(text)
    }
}

/// Why there are no certificates for a cable.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, CaKey>,
}

impl Authority {
    fn new(address: IpAddr, cabinet: &str) -> Result<Self, LinkError> {
        let key = generate_p256()?;
        let mut params = params(&format!("Screen of {cabinet}"))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::IpAddress(only(address))],
            // Every host name.
            excluded_subtrees: vec![GeneralSubtree::DnsName(String::new())],
        });
        let certificate: CertificateDer<'static> =
            params.self_signed(&CaKey::of(&key)).map_err(IssueError::from)?.into();
        let issuer = Issuer::from_ca_cert_der(&certificate, CaKey::of(&key)).map_err(IssueError::from)?;
        Ok(Self { certificate, issuer })
    }

    fn vouch_for(&self, address: IpAddr, cabinet: &str, key: &SecretKey) -> Result<CertificateDer<'static>, LinkError> {
        let mut params = params(cabinet)?;
        params.subject_alt_names = vec![SanType::IpAddress(address)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let made = params.signed_by(LeafKey::from(key).point(), &self.issuer).map_err(IssueError::from)?;
        Ok(made.into())
    }
}

fn params(name: &str) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = rcgen::date_time_ymd(LAST_YEAR, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(random_serial()?.to_vec().into());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn only(address: IpAddr) -> CidrSubnet {
    match address {
        IpAddr::V4(v4) => CidrSubnet::V4(v4.octets(), [255; 4]),
        IpAddr::V6(v6) => CidrSubnet::V6(v6.octets(), [255; 16]),
    }
}

/// Settings of the agent's end of the cable, from a file with [`bundle_pem`](LinkCertificates::bundle_pem). Who the other
/// side is, TLS does not say here: the screen shows its key in each call.
pub fn link_server_config(path: &Path) -> Result<ServerConfig, LoadError> {
    let bytes = read_private(path)?;
    let not_pem = || KeyError::NotPem { path: path.into() };
    let key = std::str::from_utf8(&bytes).ok().and_then(p256_in_pem).ok_or_else(not_pem)?;
    let chain = certificates(path, &bytes)?.to_vec();
    let der = key.to_pkcs8_der().map_err(LoadError::Encode)?;
    let der = PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()).into();
    let key = provider().key_provider.load_private_key(der)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match()?;
    server_alone(Arc::new(SingleCertAndKey::from(certified)), ALPN_HTTP)
}

/// What the screen's browser has to trust, from the same file.
pub fn link_authority_pem(path: &Path) -> Result<String, LoadError> {
    let [_, authority] = certificates(path, &read_private(path)?)?;
    Ok(to_pem(&authority))
}

/// The agent's certificate and its issuer.
fn certificates(path: &Path, bytes: &[u8]) -> Result<[CertificateDer<'static>; 2], LoadError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let both = all.ok().and_then(|all| all.try_into().ok());
    both.ok_or_else(|| LoadError::NoCertificate { path: path.into() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::{RootCertStore, crypto::ring};
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;
    use crate::files::create_private;

    /// A tablet that was never set, and one that works for long.
    const TIMES: [u64; 3] = [0, 1_800_000_000, 2_400_000_000];

    /// What a browser that believes this authority says of a leaf of it.
    fn believed(authority: &Authority, leaf: &CertificateDer<'static>, name: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let name = ServerName::try_from(name).unwrap();
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let known = TIMES.map(|now| verifier.verify_server_cert(leaf, &[], &name, &[], at(now)).is_ok());
        assert!(known.iter().all(|one| *one == known[0]), "{known:?}");
        known[0]
    }

    #[test]
    fn authority_vouches_for_its_address_and_for_nothing_else() {
        for (own, other) in [("192.168.77.1", "192.168.77.2"), ("fd00::1", "fd00::2"), ("127.0.0.1", "fd00::1")] {
            let (address, foreign): (IpAddr, IpAddr) = (own.parse().unwrap(), other.parse().unwrap());
            let (authority, key) = (Authority::new(address, "berlin-01").unwrap(), generate_p256().unwrap());
            let leaf = authority.vouch_for(address, "berlin-01", &key).unwrap();
            assert!(believed(&authority, &leaf, own) && !believed(&authority, &leaf, other), "{own}");
            // Even if its key were still there.
            let foreign = authority.vouch_for(foreign, "berlin-01", &key).unwrap();
            assert!(!believed(&authority, &foreign, other), "{own} vouches for {other}");
        }
        let address = "192.168.77.1".parse().unwrap();
        let (authority, key) = (Authority::new(address, "berlin-01").unwrap(), generate_p256().unwrap());
        let mut named = params("bank").unwrap();
        named.subject_alt_names = vec![SanType::DnsName("bank.example".try_into().unwrap())];
        let named = named.signed_by(LeafKey::from(&key).point(), &authority.issuer).unwrap().into();
        assert!(!believed(&authority, &named, "bank.example"));
    }

    #[test]
    fn bundle_makes_a_server_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.pem");
        let made = LinkCertificates::new("192.168.77.1".parse().unwrap(), "berlin-01").unwrap();
        let other = LinkCertificates::new("192.168.77.1".parse().unwrap(), "berlin-01").unwrap();
        create_private(&path, made.bundle_pem().unwrap().as_bytes()).unwrap();
        link_server_config(&path).unwrap();
        let trusted = link_authority_pem(&path).unwrap();
        let (own, foreign) = (made.bundle_pem().unwrap(), other.bundle_pem().unwrap());
        assert!(own.ends_with(&trusted) && !trusted.contains("PRIVATE"));
        let ends = "-----END PRIVATE KEY-----\n";
        let (key, chain) = (own.split_inclusive(ends).next().unwrap(), foreign.split_once(ends).unwrap().1);
        for wrong in
            [String::new(), trusted.clone(), key.to_owned(), format!("{key}{trusted}"), format!("{key}{chain}")]
        {
            crate::replace_private(&path, wrong.as_bytes()).unwrap();
            link_server_config(&path).unwrap_err();
        }
    }
}
