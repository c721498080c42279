//! Certificate files and the pair of certificate and key that one side of a connection presents.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use schemas::ids::Identity;
use zeroize::Zeroizing;

use crate::authority::to_pem;
use crate::certificate::{CertificateError, Subject, Summary, day};
use crate::files::{FileError, read_private, read_public, replace_private};
use crate::held::{P256Key, token_uri};
use crate::keys::{KeyError, Passphrase, p256_in_pem, p256_pem, read_p256};
use crate::profile::{Authority, Usage};
use crate::token::{P256Token, TokenUri};

/// Why certificates and keys cannot be used. One line each, with the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("`{}` holds no certificate in PEM; expected `-----BEGIN CERTIFICATE-----`", path.display())]
    NoCertificate { path: PathBuf },
    #[error("certificate `{}` cannot be used", path.display())]
    Certificate { path: PathBuf, source: CertificateError },
    #[error("certificate `{}` expired on {}; replace it with a newly issued one", path.display(), day(*not_after))]
    Expired { path: PathBuf, not_after: SystemTime },
    #[error("certificate `{}` is valid only from {}; check the clock of this machine", path.display(), day(*not_before))]
    NotYetValid { path: PathBuf, not_before: SystemTime },
    #[error(
        "certificate `{}` does not belong to key `{}`; use the two that were made together",
        certificate.display(), key.display()
    )]
    KeyMismatch { certificate: PathBuf, key: PathBuf },
    #[error("certificate `{}` is of {found}; expected that of {expected}", path.display())]
    WrongSubject { path: PathBuf, found: Subject, expected: &'static str },
    #[error("a certificate of {expected} cannot be used")]
    Anchor { expected: &'static str, source: CertificateError },
    #[error("{found} was given as {expected}")]
    WrongAnchor { found: Subject, expected: &'static str },
    #[error("no certificate of {expected} was given")]
    NoAnchor { expected: &'static str },
    #[error("{found} cannot be the {} of a connection", match wanted { Usage::Server => "server", Usage::Client => "client" })]
    WrongSide { found: Identity, wanted: Usage },
    #[error("rustls refuses these certificates")]
    Tls(#[from] rustls::Error),
    #[error("encode the key for rustls")]
    Encode(#[source] pkcs8::Error),
}

/// Reads all certificates of a PEM file, in their order; at least one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bytes = read_public(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(LoadError::NoCertificate { path: path.into() }),
    }
}

/// Reads the first certificate of a PEM file and refuses it outside its time: for a clear word at the start.
pub fn check_certificate_file(path: &Path, now: SystemTime) -> Result<Summary, LoadError> {
    let summary = summary_of(path, &read_certificates(path)?)?;
    if now > summary.not_after {
        return Err(LoadError::Expired { path: path.into(), not_after: summary.not_after });
    }
    if now < summary.not_before {
        return Err(LoadError::NotYetValid { path: path.into(), not_before: summary.not_before });
    }
    Ok(summary)
}

/// A leaf certificate, what follows it in the handshake, and its private key.
pub struct TlsIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: P256Key,
    identity: Identity,
    summary: Summary,
}

impl TlsIdentity {
    /// Reads both files and checks that they belong together. Their time is left to
    /// [`check_certificate_file`]: an expired certificate must not keep a cabinet from working offline.
    pub fn read(chain: &Path, key: &Path, passphrase: Option<&Passphrase>) -> Result<Self, LoadError> {
        let certificates = read_certificates(chain)?;
        let secret = read_p256(key, passphrase)?;
        Self::new(certificates, secret.into(), chain, key)
    }

    /// Reads key and certificates from one private file: what belongs together changes in one step. The first line may
    /// name a key in a token instead; the token is looked for when the key signs.
    pub fn read_bundle(path: &Path) -> Result<Self, LoadError> {
        let bytes = read_private(path)?;
        let not_pem = || KeyError::NotPem { path: path.into() };
        let text = std::str::from_utf8(&bytes).map_err(|_| not_pem())?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let chain = chain.map_err(|_| LoadError::NoCertificate { path: path.into() })?;
        let key = match TokenUri::is_meant(text) {
            true => {
                let public = summary_of(path, &chain)?.public_key;
                P256Token::named(first_line(path, text)?, public).map_err(KeyError::Token)?.into()
            }
            false => p256_in_pem(text).ok_or_else(not_pem)?.into(),
        };
        Self::new(chain, key, path, path)
    }

    /// Writes a file for [`read_bundle`](Self::read_bundle), over an older one, after checking that both belong together.
    pub fn write_bundle(path: &Path, key: &P256Key, chain: &[CertificateDer<'static>]) -> Result<Self, LoadError> {
        let own = Self::new(chain.to_vec(), key.clone(), path, path)?;
        let mut text = match key {
            P256Key::Memory(key) => p256_pem(key).map_err(LoadError::Encode)?,
            P256Key::Token(key) => Zeroizing::new(format!("{}\n", key.uri())),
        };
        for certificate in chain {
            text.push_str(&to_pem(certificate));
        }
        replace_private(path, text.as_bytes())?;
        Ok(own)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: P256Key,
        chain_path: &Path,
        key_path: &Path,
    ) -> Result<Self, LoadError> {
        let refused = |source| LoadError::Certificate { path: chain_path.into(), source };
        let Some(leaf) = chain.first() else {
            return Err(LoadError::NoCertificate { path: chain_path.into() });
        };
        let summary = Summary::read(leaf).map_err(refused)?;
        let Subject::Leaf(identity) = summary.subject.clone() else {
            let (path, found) = (chain_path.into(), summary.subject);
            return Err(LoadError::WrongSubject {
                path,
                found,
                expected: "a server, a cabinet, a person or an integration",
            });
        };
        if summary.public_key != key.public_key() {
            return Err(LoadError::KeyMismatch { certificate: chain_path.into(), key: key_path.into() });
        }
        Ok(Self { chain, key, identity, summary })
    }

    /// The key's name, if it is in a token, without opening anything: for whoever tidies up there. `None` also where there
    /// is no such file.
    pub fn token_uri_of_bundle(path: &Path) -> Result<Option<TokenUri>, LoadError> {
        let bytes = match read_private(path) {
            Err(FileError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) if TokenUri::is_meant(text) => Ok(Some(first_line(path, text)?)),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate, and what follows it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// An ECDSA signature over the SHA-256 of `message`, in DER.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, LoadError> {
        Ok(self.key.sign(message).map_err(KeyError::Token)?)
    }

    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsIdentity").field("summary", &self.summary).finish_non_exhaustive()
    }
}

fn first_line(path: &Path, text: &str) -> Result<TokenUri, KeyError> {
    token_uri(path, text.lines().next().unwrap_or_default())
}

pub(crate) fn summary_of(path: &Path, certificates: &[CertificateDer<'_>]) -> Result<Summary, LoadError> {
    let first = certificates.first().ok_or_else(|| LoadError::NoCertificate { path: path.into() })?;
    Summary::read(first).map_err(|source| LoadError::Certificate { path: path.into(), source })
}

/// Reads a bundle of CA certificates that must all be of `authority`, so that two swapped files are found at the start.
pub(crate) fn read_anchors(path: &Path, authority: Authority) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let certificates = read_certificates(path)?;
    for certificate in &certificates {
        let found =
            Summary::read(certificate).map_err(|source| LoadError::Certificate { path: path.into(), source })?.subject;
        if !found.is_authority(authority) {
            return Err(LoadError::WrongSubject { path: path.into(), found, expected: anchor_name(authority) });
        }
    }
    Ok(certificates)
}

/// The summary of a CA certificate that must be of `authority`.
pub(crate) fn check_anchor(certificate: &CertificateDer<'_>, authority: Authority) -> Result<Summary, LoadError> {
    let expected = anchor_name(authority);
    let summary = Summary::read(certificate).map_err(|source| LoadError::Anchor { expected, source })?;
    if !summary.subject.is_authority(authority) {
        return Err(LoadError::WrongAnchor { found: summary.subject, expected });
    }
    Ok(summary)
}

pub(crate) fn anchor_name(authority: Authority) -> &'static str {
    match authority {
        Authority::Root => "the root CA",
        Authority::Servers => "the servers' CA",
        Authority::Cabinets => "the cabinets' CA",
        Authority::People => "the operators' CA",
    }
}
