//! The form in which EST hands out certificates: a "certs-only" CMS SignedData (RFC 5272, 4.1; RFC 7030, 4.1.3).

use cms::cert::CertificateChoices;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{CertificateSet, EncapsulatedContentInfo, SignedData, SignerInfos};
use rustls_pki_types::CertificateDer;
use x509_cert::der::asn1::{ObjectIdentifier, SetOfVec};
use x509_cert::der::{Any, Decode, Encode};

/// id-data and id-signedData (RFC 5652, 4 and 5.1).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// Largest bundle that is read, in bytes, and certificates in it.
pub const BUNDLE_MAX: usize = 32 * 1024;
const CERTIFICATES_MAX: usize = 16;

/// Why bytes are not a bundle of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("{0} bytes of certificates are more than {BUNDLE_MAX}")]
    TooLarge(usize),
    #[error("not a certs-only PKCS#7 in DER")]
    Encoding,
    #[error("it is signed, or holds something else than certificates")]
    NotCertsOnly,
    #[error("it holds no certificate, or more than {CERTIFICATES_MAX}")]
    Count,
}

/// Puts certificates into one bundle. Their order is that of their bytes (a SET in DER).
pub fn bundle(certificates: &[CertificateDer<'_>]) -> Result<Vec<u8>, BundleError> {
    if certificates.is_empty() || certificates.len() > CERTIFICATES_MAX {
        return Err(BundleError::Count);
    }
    let read = |der: &CertificateDer<'_>| x509_cert::Certificate::from_der(der).map(CertificateChoices::Certificate);
    let made = || -> x509_cert::der::Result<Vec<u8>> {
        let mut choices: Vec<_> = certificates.iter().map(read).collect::<Result<_, _>>()?;
        choices.dedup();
        let signed = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::new(),
            encap_content_info: EncapsulatedContentInfo { econtent_type: DATA, econtent: None },
            certificates: Some(CertificateSet(SetOfVec::try_from(choices)?)),
            crls: None,
            signer_infos: SignerInfos(SetOfVec::new()),
        };
        ContentInfo { content_type: SIGNED_DATA, content: Any::encode_from(&signed)? }.to_der()
    };
    made().map_err(|_| BundleError::Encoding)
}

/// Takes the certificates out of a bundle. Nothing in it is believed by that.
pub fn unbundle(der: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    if der.len() > BUNDLE_MAX {
        return Err(BundleError::TooLarge(der.len()));
    }
    let content = ContentInfo::from_der(der).map_err(|_| BundleError::Encoding)?;
    if content.content_type != SIGNED_DATA {
        return Err(BundleError::NotCertsOnly);
    }
    let signed: SignedData = content.content.decode_as().map_err(|_| BundleError::Encoding)?;
    if !signed.signer_infos.0.is_empty() || signed.encap_content_info.econtent.is_some() || signed.crls.is_some() {
        return Err(BundleError::NotCertsOnly);
    }
    let choices = signed.certificates.map(|set| set.0.into_vec()).unwrap_or_default();
    if choices.is_empty() || choices.len() > CERTIFICATES_MAX {
        return Err(BundleError::Count);
    }
    choices
        .iter()
        .map(|choice| match choice {
            CertificateChoices::Certificate(one) => {
                one.to_der().map(CertificateDer::from).map_err(|_| BundleError::Encoding)
            }
            CertificateChoices::Other(_) => Err(BundleError::NotCertsOnly),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{CertificateAuthority, generate_p256};

    fn roots(count: usize) -> Vec<CertificateDer<'static>> {
        let make = |_| {
            let fleet = "acme".parse().unwrap();
            CertificateAuthority::new_root(&fleet, generate_p256().unwrap(), SystemTime::now()).unwrap()
        };
        (0..count).map(make).map(|made| made.certificate().clone()).collect()
    }

    #[test]
    fn certificates_come_out_as_they_went_in() {
        let mut certificates = roots(3);
        let mut out = unbundle(&bundle(&certificates).unwrap()).unwrap();
        certificates.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        out.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        assert_eq!(out, certificates);
    }

    #[test]
    fn openssl_reads_the_same_bytes() {
        let der = bundle(&roots(1)).unwrap();
        // ContentInfo, id-signedData, [0], SignedData version 1, no digest algorithms, id-data.
        let at = der.iter().position(|byte| *byte == 0x06).unwrap();
        assert_eq!(der[at..at + 11], [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02]);
        assert!(der.windows(5).any(|window| window == [0x02, 0x01, 0x01, 0x31, 0x00]));
        assert!(der.ends_with(&[0x31, 0x00]), "no signer infos");
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let der = bundle(&roots(1)).unwrap();
        for cut in 0..der.len() {
            assert!(unbundle(&der[..cut]).is_err(), "{cut} bytes");
        }
        assert_eq!(unbundle(&[der.clone(), vec![0]].concat()), Err(BundleError::Encoding));
        assert_eq!(unbundle(&vec![0x30; BUNDLE_MAX + 1]), Err(BundleError::TooLarge(BUNDLE_MAX + 1)));
        let mut data = der;
        let at = data.iter().position(|byte| *byte == 0x06).unwrap();
        data[at + 10] = 0x01;
        assert_eq!(unbundle(&data), Err(BundleError::NotCertsOnly));
        assert_eq!(bundle(&[]), Err(BundleError::Count));
        assert_eq!(bundle(&roots(17)), Err(BundleError::Count));
        assert_eq!(bundle(&[CertificateDer::from(vec![0x30, 0x00])]), Err(BundleError::Encoding));
    }
}
