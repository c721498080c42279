//! What the owner of a stolen CA key can sign: anything that rcgen writes, past the rules of this crate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::{CertificateAuthority, generate_p256};
use p256::pkcs8::EncodePrivateKey;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::now;

pub(crate) struct Minted {
    pub(crate) pem: String,
    pub(crate) key: p256::SecretKey,
}

/// A plain client certificate for now, to be spoilt by the caller.
pub(crate) fn params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(now() - Duration::from_secs(60));
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(now() + super::DAY);
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

pub(crate) fn mint(authority: &CertificateAuthority, params: &CertificateParams) -> Minted {
    let key = generate_p256().unwrap();
    let pair = pair(&key);
    let issuer = Issuer::from_ca_cert_der(authority.certificate(), self::pair(authority.key())).unwrap();
    Minted { pem: params.signed_by(&pair, &issuer).unwrap().pem(), key }
}

pub(crate) fn pair(key: &p256::SecretKey) -> KeyPair {
    let der = key.to_pkcs8_der().unwrap();
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der.as_bytes())).unwrap()
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap()
}
