//! A certificate read strictly: whom it names, what it may be used for, until when.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use p256::PublicKey;
use p256::pkcs8::DecodePublicKey;
use rustls_pki_types::CertificateDer;
use schemas::ids::{IdError, Identity, Name};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::authority::BACKDATED;
use crate::profile::{Authority, Usage, profile};

/// Prefix of the URI that marks a CA certificate: `urn:locker-fleet-ca:<authority>:<fleet>`.
const CA_URN: &str = "urn:locker-fleet-ca:";
/// RFC 5280, 4.1.2.2: at most 20 octets.
pub(crate) const SERIAL_MAX: usize = 20;

/// Why bytes are not a certificate of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("not a valid X.509 certificate")]
    Encoding,
    #[error("its subject alternative name has {0} URIs instead of one")]
    UriCount(usize),
    #[error("its URI is not of a fleet")]
    Uri(#[source] IdError),
    #[error("it carries a name that its role may not have")]
    ForeignName,
    #[error("it is not for {} authentication only", side(*.0))]
    Usage(Usage),
    #[error("its serial number is empty, negative or longer than {SERIAL_MAX} bytes")]
    Serial,
    #[error("its public key is not on P-256")]
    PublicKey,
}

fn side(usage: Usage) -> &'static str {
    match usage {
        Usage::Server => "server",
        Usage::Client => "client",
    }
}

/// Why a text is not a serial number or a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    #[error("serial number is not 1 to {SERIAL_MAX} bytes in lowercase hexadecimal")]
    Serial,
    #[error("fingerprint is not 32 bytes in lowercase hexadecimal")]
    Fingerprint,
}

/// A certificate's serial number: lowercase hexadecimal of its bytes, without a sign byte. Unique within its issuer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Box<str>);

impl Serial {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From the content bytes of the ASN.1 INTEGER.
    pub(crate) fn from_integer(bytes: &[u8]) -> Result<Self, CertificateError> {
        let magnitude = match bytes {
            [0, rest @ ..] => rest,
            [first, ..] if *first >= 0x80 => return Err(CertificateError::Serial),
            other => other,
        };
        if magnitude.is_empty() || magnitude.len() > SERIAL_MAX {
            return Err(CertificateError::Serial);
        }
        Ok(Self(HEXLOWER.encode(magnitude).into()))
    }
}

impl FromStr for Serial {
    type Err = SerialError;
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| SerialError::Serial)?;
        if bytes.is_empty() || bytes.len() > SERIAL_MAX {
            return Err(SerialError::Serial);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = SerialError;
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| SerialError::Fingerprint)?;
        Ok(Self(bytes.try_into().map_err(|_| SerialError::Fingerprint)?))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(Serial);
as_text!(Fingerprint);

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Leaf(Identity),
    Authority { authority: Authority, fleet: Name },
}

impl Subject {
    pub(crate) fn is_authority(&self, wanted: Authority) -> bool {
        matches!(self, Self::Authority { authority, .. } if *authority == wanted)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(identity) => write!(f, "{identity}"),
            Self::Authority { authority, fleet } => write!(f, "the {authority} of {fleet}"),
        }
    }
}

/// What a certificate says. Nothing is verified: that is [`ClientRoots`](crate::ClientRoots)' and
/// [`ServerRoots`](crate::ServerRoots)' job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub subject: Subject,
    pub serial: Serial,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    pub fingerprint: Fingerprint,
    pub public_key: PublicKey,
}

impl Summary {
    /// Reads a leaf or a CA certificate of a fleet.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (rest, parsed) = parse_x509_certificate(certificate).map_err(|_| CertificateError::Encoding)?;
        if !rest.is_empty() {
            return Err(CertificateError::Encoding);
        }
        Ok(Self {
            subject: subject(&parsed)?,
            serial: Serial::from_integer(parsed.raw_serial())?,
            not_before: time(parsed.validity().not_before)?,
            not_after: time(parsed.validity().not_after)?,
            fingerprint: Fingerprint::of(certificate),
            public_key: PublicKey::from_public_key_der(parsed.public_key().raw)
                .map_err(|_| CertificateError::PublicKey)?,
        })
    }

    /// When it was issued, to the second: an authority of ours lets each begin earlier than that.
    pub fn issued(&self) -> SystemTime {
        self.not_before + BACKDATED
    }
}

impl Summary {
    /// The last day of its validity, for people: `2028-11-21`.
    pub fn last_day(&self) -> String {
        day(self.not_after)
    }
}

/// The marker of a CA certificate, the counterpart of [`Identity::to_urn`].
pub(crate) fn authority_urn(authority: Authority, fleet: &Name) -> String {
    format!("{CA_URN}{}:{fleet}", authority.as_str())
}

/// The day of `time`, for messages to people.
pub(crate) fn day(time: SystemTime) -> String {
    // Invariant: every time here was read from a certificate, within the years that jiff knows.
    Timestamp::try_from(time).map_or_else(|_| "an unknown day".into(), |t| t.strftime("%Y-%m-%d").to_string())
}

fn subject(parsed: &X509Certificate<'_>) -> Result<Subject, CertificateError> {
    let alternative = parsed.subject_alternative_name().map_err(|_| CertificateError::Encoding)?;
    let names = alternative.as_ref().map_or(&[][..], |extension| &extension.value.general_names);
    let mut uris = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        let count = names.iter().filter(|name| matches!(name, GeneralName::URI(_))).count();
        return Err(CertificateError::UriCount(count));
    };
    if parsed.is_ca() {
        return authority(uri).ok_or(CertificateError::Uri(IdError::NotAnIdentity));
    }
    let identity = Identity::from_urn(uri).map_err(CertificateError::Uri)?;
    let usage = profile(identity.role).usage;
    check_names(names, usage)?;
    check_usage(parsed, usage)?;
    Ok(Subject::Leaf(identity))
}

fn authority(uri: &str) -> Option<Subject> {
    let (authority, fleet) = uri.strip_prefix(CA_URN)?.split_once(':')?;
    let authority = Authority::ALL.into_iter().find(|known| known.as_str() == authority)?;
    Some(Subject::Authority { authority, fleet: fleet.parse().ok()? })
}

/// A client has no name but its identity; a server has host names and addresses too.
fn check_names(names: &[GeneralName<'_>], usage: Usage) -> Result<(), CertificateError> {
    let known = names.iter().all(|name| match name {
        GeneralName::URI(_) => true,
        GeneralName::DNSName(_) | GeneralName::IPAddress(_) => usage == Usage::Server,
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => false,
    });
    if known { Ok(()) } else { Err(CertificateError::ForeignName) }
}

/// The certificate must say what it is for: verifiers take one without an extended key usage for both sides.
fn check_usage(parsed: &X509Certificate<'_>, usage: Usage) -> Result<(), CertificateError> {
    let extended = parsed.extended_key_usage().map_err(|_| CertificateError::Encoding)?;
    let fits = extended.is_some_and(|extension| {
        let found = extension.value;
        let (server, client) = (usage == Usage::Server, usage == Usage::Client);
        !found.any && found.server_auth == server && found.client_auth == client
    });
    if fits { Ok(()) } else { Err(CertificateError::Usage(usage)) }
}

fn time(time: ASN1Time) -> Result<SystemTime, CertificateError> {
    let seconds = u64::try_from(time.timestamp()).map_err(|_| CertificateError::Encoding)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(CertificateError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_lose_their_sign_byte_and_keep_their_length() {
        assert_eq!(Serial::from_integer(&[0, 0x80, 1]).unwrap().as_str(), "8001");
        assert_eq!(Serial::from_integer(&[0x05]).unwrap().as_str(), "05");
        assert_eq!(
            Serial::from_integer(&[0x7f; 20]).unwrap().to_string().parse(),
            Serial::from_integer(&[0x7f; 20]).map_err(|_| SerialError::Serial)
        );
        for bad in [&[][..], &[0], &[0x80], &[0x7f; 21]] {
            assert_eq!(Serial::from_integer(bad), Err(CertificateError::Serial), "{bad:?}");
        }
    }

    #[test]
    fn texts_that_are_no_serial_or_fingerprint_are_refused() {
        for bad in ["", "0", "0G", "AB", "ab ", &"00".repeat(21)] {
            assert_eq!(bad.parse::<Serial>(), Err(SerialError::Serial), "{bad:?}");
        }
        for bad in ["", "ab", &"AB".repeat(32), &"ab".repeat(33)] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(SerialError::Fingerprint), "{bad:?}");
        }
        let good = "ab".repeat(32);
        assert_eq!(good.parse::<Fingerprint>().unwrap().to_string(), good);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bad in [&[][..], b"not a certificate", &[0x30, 0x03, 0x02, 0x01, 0x01]] {
            assert_eq!(Summary::read(&CertificateDer::from(bad)), Err(CertificateError::Encoding));
        }
    }

    #[test]
    fn a_ca_marker_is_not_an_identity_and_an_unknown_one_is_refused() {
        assert!(authority("urn:locker-fleet-ca:cabinets:acme").is_some());
        assert!(Identity::from_urn("urn:locker-fleet-ca:cabinets:acme").is_err());
        for bad in
            ["urn:locker-fleet-ca:cabinets", "urn:locker-fleet-ca:boss:acme", "urn:locker-fleet-ca:root:A:b", "x"]
        {
            assert_eq!(authority(bad), None, "{bad:?}");
        }
    }
}
