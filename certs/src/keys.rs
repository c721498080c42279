//! Private keys and their files: PKCS#8 in PEM, for the owner only, encrypted when a passphrase is given.
//!
//! One format for all: P-256 keys for TLS, CAs and key agreement, Ed25519 keys for signing commands. OpenSSL reads them.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::KeypairBytes;
use p256::SecretKey;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{
    DecodePrivateKey, EncodePrivateKey, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument,
};
use zeroize::Zeroizing;

use crate::files::{FileError, create_private, read_private};
use crate::token::{TokenError, TokenUri, UriError};

const PLAIN: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// A key that is written with a passphrase may be on a stick in a drawer: guessing must not be quick.
const PASSPHRASE_MIN: usize = 10;
/// scrypt with N = 2^14, r = 8, p = 5, as costly for a guesser as the better known N = 2^17, p = 1 (OWASP, "Password
/// Storage"). Those 128 MiB OpenSSL refuses to spend, and a root key must open without this program too.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;

/// Why a private key could not be made, read or written. Holds no part of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}` is not a private key in PEM; expected `-----BEGIN PRIVATE KEY-----`", path.display())]
    NotPem { path: PathBuf },
    #[error(
        "`{}` holds a `{label}`, not a PKCS#8 `{PLAIN}`; convert it with `openssl pkcs8 -topk8`",
        path.display()
    )]
    OtherFormat { path: PathBuf, label: String },
    #[error("key `{}` is encrypted; give its passphrase", path.display())]
    PassphraseNeeded { path: PathBuf },
    #[error("key `{}` does not open with this passphrase", path.display())]
    WrongPassphrase { path: PathBuf },
    #[error("key `{}` is not a valid {expected} key", path.display())]
    OtherKind { path: PathBuf, expected: &'static str },
    #[error("the passphrase has fewer than {PASSPHRASE_MIN} bytes")]
    ShortPassphrase,
    #[error("this machine gives no random bytes")]
    NoRandom(#[from] getrandom::Error),
    #[error("encode key for `{}`", path.display())]
    Encode { path: PathBuf, source: pkcs8::Error },
    #[error("`{}` {source}", path.display())]
    Uri { path: PathBuf, source: UriError },
    #[error("`{}` names a key in a token; here the key itself has to be in the file", path.display())]
    OnToken { path: PathBuf },
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// What a person types to open a key file, or as the PIN of a token.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    #[cfg(feature = "pkcs11")]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Makes a P-256 key, for TLS, a CA or key agreement.
pub fn generate_p256() -> Result<SecretKey, KeyError> {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes)?;
        // One number in 2^32 is not below the order of the curve.
        if let Ok(key) = SecretKey::from_slice(&*bytes) {
            return Ok(key);
        }
    }
}

/// Makes an Ed25519 key, for signing commands.
pub fn generate_ed25519() -> Result<SigningKey, KeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(SigningKey::from_bytes(&bytes))
}

/// Writes a P-256 key to a new file for the owner only.
pub fn write_p256(path: &Path, key: &SecretKey, passphrase: Option<&Passphrase>) -> Result<(), KeyError> {
    write(path, key.to_pkcs8_der(), passphrase)
}

/// Writes an Ed25519 key to a new file for the owner only.
pub fn write_ed25519(path: &Path, key: &SigningKey, passphrase: Option<&Passphrase>) -> Result<(), KeyError> {
    // Without the public key: OpenSSL reads only that form (RFC 8410, 7), and it can be computed.
    let bytes = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    write(path, bytes.to_pkcs8_der(), passphrase)
}

/// Reads a P-256 key. A passphrase is ignored when the file is not encrypted.
pub fn read_p256(path: &Path, passphrase: Option<&Passphrase>) -> Result<SecretKey, KeyError> {
    SecretKey::from_pkcs8_der(read(path, passphrase)?.as_bytes())
        .map_err(|_| KeyError::OtherKind { path: path.into(), expected: "P-256" })
}

/// Reads an Ed25519 key. A passphrase is ignored when the file is not encrypted.
pub fn read_ed25519(path: &Path, passphrase: Option<&Passphrase>) -> Result<SigningKey, KeyError> {
    SigningKey::from_pkcs8_der(read(path, passphrase)?.as_bytes())
        .map_err(|_| KeyError::OtherKind { path: path.into(), expected: "Ed25519" })
}

/// Whether the key in `path` needs a passphrase: ask a person for one only then.
pub fn is_encrypted(path: &Path) -> Result<bool, KeyError> {
    Ok(read_pem(path)?.0)
}

/// A P-256 key as PEM, unencrypted.
pub(crate) fn p256_pem(key: &SecretKey) -> pkcs8::Result<Zeroizing<String>> {
    Ok(key.to_pkcs8_der()?.to_pem(PLAIN, LineEnding::LF)?)
}

/// Finds the P-256 key in a PEM text that holds other things, too.
pub(crate) fn p256_in_pem(text: &str) -> Option<SecretKey> {
    let (begin, end) = (format!("-----BEGIN {PLAIN}-----"), format!("-----END {PLAIN}-----"));
    let from = text.find(&begin)?;
    let length = text[from..].find(&end)? + end.len();
    SecretKey::from_pkcs8_pem(&text[from..from + length]).ok()
}

fn write(path: &Path, key: pkcs8::Result<SecretDocument>, passphrase: Option<&Passphrase>) -> Result<(), KeyError> {
    let failed = |source| KeyError::Encode { path: path.into(), source };
    let plain = key.map_err(failed)?;
    let (label, document) = match passphrase {
        None => (PLAIN, plain),
        Some(passphrase) if passphrase.0.len() < PASSPHRASE_MIN => return Err(KeyError::ShortPassphrase),
        Some(passphrase) => {
            let (mut salt, mut iv) = ([0; 16], [0; 16]);
            getrandom::fill(&mut salt)?;
            getrandom::fill(&mut iv)?;
            (ENCRYPTED, encrypt(&plain, passphrase, &salt, iv).map_err(failed)?)
        }
    };
    let pem = document.to_pem(label, LineEnding::LF).map_err(|error| failed(error.into()))?;
    Ok(create_private(path, pem.as_bytes())?)
}

fn encrypt(
    plain: &SecretDocument,
    passphrase: &Passphrase,
    salt: &[u8],
    iv: [u8; 16],
) -> pkcs8::Result<SecretDocument> {
    // Invariant: the three constants are parameters that scrypt takes; a test writes such a key.
    let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).map_err(|_| pkcs8::Error::ParametersMalformed)?;
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, salt, iv)?;
    PrivateKeyInfoRef::try_from(plain.as_bytes())?.encrypt_with_params(parameters, passphrase.0.as_bytes())
}

fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<SecretDocument, KeyError> {
    let (encrypted, document) = read_pem(path)?;
    if !encrypted {
        return Ok(document);
    }
    let passphrase = passphrase.ok_or_else(|| KeyError::PassphraseNeeded { path: path.into() })?;
    EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|_| KeyError::NotPem { path: path.into() })?
        .decrypt(passphrase.0.as_bytes())
        .map_err(|_| KeyError::WrongPassphrase { path: path.into() })
}

/// The content of a key file, and whether it is encrypted.
fn read_pem(path: &Path) -> Result<(bool, SecretDocument), KeyError> {
    let not_pem = || KeyError::NotPem { path: path.into() };
    let bytes = read_private(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| not_pem())?;
    if TokenUri::is_meant(text) {
        return Err(KeyError::OnToken { path: path.into() });
    }
    let (label, document) = SecretDocument::from_pem(text).map_err(|_| not_pem())?;
    match label {
        PLAIN => Ok((false, document)),
        ENCRYPTED => Ok((true, document)),
        other => Err(KeyError::OtherFormat { path: path.into(), label: other.chars().take(40).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn passphrase(text: &str) -> Option<Passphrase> {
        Some(Passphrase::new(text))
    }

    #[test]
    fn keys_survive_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let (tls, signing) = (generate_p256().unwrap(), generate_ed25519().unwrap());
        write_p256(&folder.path().join("tls"), &tls, None).unwrap();
        write_ed25519(&folder.path().join("signing"), &signing, None).unwrap();
        assert_eq!(read_p256(&folder.path().join("tls"), None).unwrap(), tls);
        assert_eq!(read_ed25519(&folder.path().join("signing"), None).unwrap(), signing);
        assert!(!is_encrypted(&folder.path().join("tls")).unwrap());
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        let key = generate_p256().unwrap();
        write_p256(&path, &key, passphrase("correct horse").as_ref()).unwrap();
        assert!(is_encrypted(&path).unwrap());
        assert_eq!(read_p256(&path, passphrase("correct horse").as_ref()).unwrap(), key);
        assert!(matches!(read_p256(&path, passphrase("wrong horse").as_ref()), Err(KeyError::WrongPassphrase { .. })));
        assert!(read_p256(&path, None).unwrap_err().to_string().ends_with("is encrypted; give its passphrase"));
    }

    #[test]
    fn key_files_have_the_form_that_openssl_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_ed25519(&path, &SigningKey::from_bytes(&[7; 32]), None).unwrap();
        // `openssl pkey` writes the same bytes for this key.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
                   -----END PRIVATE KEY-----\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), pem);
    }

    #[test]
    fn a_short_passphrase_and_a_second_write_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = generate_ed25519().unwrap();
        assert!(matches!(write_ed25519(&path, &key, passphrase("short").as_ref()), Err(KeyError::ShortPassphrase)));
        write_ed25519(&path, &key, None).unwrap();
        assert!(matches!(write_ed25519(&path, &key, None), Err(KeyError::File(FileError::Exists { .. }))));
    }

    #[test]
    fn a_key_of_another_kind_or_format_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_ed25519(&path, &generate_ed25519().unwrap(), None).unwrap();
        assert!(matches!(read_p256(&path, None), Err(KeyError::OtherKind { expected: "P-256", .. })));

        for (text, wanted) in [
            ("", "not a private key in PEM"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "not a private key in PEM"),
            ("-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n", "openssl pkcs8 -topk8"),
            ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "not a valid P-256 key"),
        ] {
            let path = folder.path().join("bad");
            create_private(&path, text.as_bytes()).unwrap();
            let error = read_p256(&path, None).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn debug_shows_no_passphrase() {
        assert_eq!(format!("{:?}", Passphrase::new("correct horse")), "Passphrase(..)");
    }
}
