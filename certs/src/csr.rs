//! Certification requests (PKCS#10, RFC 2986): a key that a device made, and the proof that it holds it.

use std::cell::RefCell;

use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData, SignatureAlgorithm};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::request::CertReq;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_SIG_ECDSA_WITH_SHA256, OID_X509_SERIALNUMBER};
use x509_parser::prelude::FromDer;

use crate::authority::{IssueError, LeafKey, Point};
use crate::held::P256Key;
use crate::token::TokenError;

/// Largest request that is looked at, in bytes. One for a P-256 key has about 200.
pub const CSR_MAX: usize = 4 * 1024;
/// Longest serial number of a device (X.520, `ub-serial-number`).
pub const DEVICE_SERIAL_MAX: usize = 64;

/// X.520 attribute type of a device's serial number, 2.5.4.5.
const SERIAL_NUMBER: &[u64] = &[2, 5, 4, 5];

/// Why bytes are not a request that a certificate is issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    #[error("a certification request of {0} bytes is larger than {CSR_MAX}")]
    TooLarge(usize),
    #[error("not a PKCS#10 certification request in DER")]
    Encoding,
    #[error("its public key is not on P-256; make one with `openssl ecparam -name prime256v1 -genkey`")]
    Key,
    #[error("it is not signed with ECDSA and SHA-256")]
    Algorithm,
    #[error("it is not signed with the key that it asks a certificate for")]
    Signature,
    #[error(
        "its subject has more than one serialNumber, or one that is no text of 1 to {DEVICE_SERIAL_MAX} characters"
    )]
    SerialNumber,
}

/// What a request may say. Whose certificate it becomes is not its choice: names and extensions are not looked at.
#[derive(Debug, Clone)]
pub struct CertificationRequest {
    pub key: LeafKey,
    /// The device's own serial number, if the subject names one.
    pub device_serial: Option<String>,
}

impl CertificationRequest {
    /// Reads a request and checks that its sender holds the key.
    pub fn read(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > CSR_MAX {
            return Err(CsrError::TooLarge(der.len()));
        }
        // The parser that verifies takes tags and forms that are not DER, where no signature covers them.
        let strict = CertReq::from_der(der).map_err(|_| CsrError::Encoding)?;
        // Bits that do not count would make one signature many.
        if strict.to_der().ok().as_deref() != Some(der) || strict.signature.as_bytes().is_none() {
            return Err(CsrError::Encoding);
        }
        let (rest, parsed) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::Encoding)?;
        if !rest.is_empty() {
            return Err(CsrError::Encoding);
        }
        let info = &parsed.certification_request_info;
        let key = LeafKey::from_spki_der(info.subject_pki.raw).map_err(|_| CsrError::Key)?;
        if parsed.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
            return Err(CsrError::Algorithm);
        }
        parsed.verify_signature().map_err(|_| CsrError::Signature)?;
        let mut serials = info.subject.iter_by_oid(&OID_X509_SERIALNUMBER);
        let device_serial = match (serials.next(), serials.next()) {
            (None, _) => None,
            (Some(one), None) => Some(device_serial(one.as_str().map_err(|_| CsrError::SerialNumber)?)?),
            (Some(_), Some(_)) => return Err(CsrError::SerialNumber),
        };
        Ok(Self { key, device_serial })
    }

    /// Makes a request for `key`, in DER.
    pub fn make(key: &P256Key, device_serial: Option<&str>) -> Result<Vec<u8>, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(serial) = device_serial {
            params.distinguished_name.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), serial);
        }
        let signer = RequestKey { key, point: Point::of(&key.public_key()), failed: RefCell::new(None) };
        match params.serialize_request(&signer) {
            Ok(request) => Ok(request.der().to_vec()),
            Err(error) => Err(signer.failed.take().map_or(error.into(), IssueError::Token)),
        }
    }
}

/// The key of a request as rcgen wants it. What a token says is kept, because rcgen has no place for it.
struct RequestKey<'k> {
    key: &'k P256Key,
    point: Point,
    failed: RefCell<Option<TokenError>>,
}

impl PublicKeyData for RequestKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.point.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.point.algorithm()
    }
}

impl rcgen::SigningKey for RequestKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(message).map_err(|error| {
            self.failed.replace(Some(error));
            rcgen::Error::RemoteKeyError
        })
    }
}

fn device_serial(text: &str) -> Result<String, CsrError> {
    let fits = !text.is_empty() && text.len() <= DEVICE_SERIAL_MAX && text.chars().all(|c| c.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(CsrError::SerialNumber) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::generate_p256;

    #[test]
    fn a_request_proves_its_key_and_tells_the_device() {
        let key = P256Key::from(generate_p256().unwrap());
        let der = CertificationRequest::make(&key, Some("LF-2026-0007")).unwrap();
        let read = CertificationRequest::read(&der).unwrap();
        assert_eq!(read.device_serial.as_deref(), Some("LF-2026-0007"));
        assert_eq!(read.key.spki_der().unwrap(), LeafKey::from(key.public_key()).spki_der().unwrap());
        let none = CertificationRequest::make(&key, None).unwrap();
        assert_eq!(CertificationRequest::read(&none).unwrap().device_serial, None);
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let der = CertificationRequest::make(&generate_p256().unwrap().into(), Some("S1")).unwrap();
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                assert!(CertificationRequest::read(&changed).is_err(), "bit {bit} of byte {at}");
            }
        }
        for cut in 0..der.len() {
            assert!(CertificationRequest::read(&der[..cut]).is_err(), "{cut} bytes");
        }
        assert_eq!(CertificationRequest::read(&[der, vec![0]].concat()).unwrap_err(), CsrError::Encoding);
        assert_eq!(CertificationRequest::read(&[0x30; CSR_MAX + 1]).unwrap_err(), CsrError::TooLarge(CSR_MAX + 1));
    }

    #[test]
    fn other_keys_and_serial_numbers_are_refused_by_name() {
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let der = CertificateParams::default().serialize_request(&other).unwrap();
        assert_eq!(CertificationRequest::read(der.der()).unwrap_err(), CsrError::Key);
        let key = generate_p256().unwrap().into();
        for serial in ["two words", "", "ä"] {
            let der = CertificationRequest::make(&key, Some(serial)).unwrap();
            assert_eq!(CertificationRequest::read(&der).unwrap_err(), CsrError::SerialNumber, "{serial:?}");
        }
    }
}
