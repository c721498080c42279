//! Private keys, wherever they are: in a file, and then in memory, or in a token. Who signs does not need to know.
//!
//! Where a key file is expected, a file with the one line `pkcs11:…` names a key in a token instead. It is as private as a
//! key: who could write it would choose a library that this program loads.

use std::fmt;
use std::path::Path;

use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;

use crate::files::{create_private, read_private};
use crate::keys::{KeyError, Passphrase, read_ed25519, read_p256};
use crate::token::{Ed25519Token, P256Token, TOKENS, TokenError, TokenUri};

/// A P-256 key.
#[derive(Clone)]
pub enum P256Key {
    Memory(SecretKey),
    Token(P256Token),
}

impl P256Key {
    /// Reads a key file, or opens the key in a token that it names. Of a token the passphrase is the PIN, where the URI
    /// names no file with it.
    pub fn open(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        match named_in(path)? {
            Some(uri) => Ok(P256Token::open(&uri, passphrase)?.into()),
            None => Ok(Self::Memory(read_p256(path, passphrase)?)),
        }
    }

    pub fn public_key(&self) -> p256::PublicKey {
        match self {
            Self::Memory(key) => key.public_key(),
            Self::Token(key) => key.public_key(),
        }
    }

    /// The name of a key in a token.
    pub fn uri(&self) -> Option<&TokenUri> {
        match self {
            Self::Memory(_) => None,
            Self::Token(key) => Some(key.uri()),
        }
    }

    /// An ECDSA signature over the SHA-256 of `message`, in DER.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        match self {
            Self::Memory(key) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(key).sign(message);
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::Token(key) => key.sign(message),
        }
    }
}

impl From<SecretKey> for P256Key {
    fn from(key: SecretKey) -> Self {
        Self::Memory(key)
    }
}

impl From<P256Token> for P256Key {
    fn from(key: P256Token) -> Self {
        Self::Token(key)
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(_) => f.write_str("P256Key(..)"),
            Self::Token(key) => write!(f, "P256Key({})", key.uri()),
        }
    }
}

/// An Ed25519 key.
pub enum Ed25519Key {
    Memory(Box<ed25519_dalek::SigningKey>),
    Token(Box<Ed25519Token>),
}

impl Ed25519Key {
    /// As [`P256Key::open`].
    pub fn open(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        match named_in(path)? {
            Some(uri) => Ok(Ed25519Token::open(&uri, passphrase)?.into()),
            None => Ok(read_ed25519(path, passphrase)?.into()),
        }
    }

    pub fn public_key(&self) -> [u8; 32] {
        match self {
            Self::Memory(key) => key.verifying_key().to_bytes(),
            Self::Token(key) => key.public_key(),
        }
    }

    /// The name of a key in a token.
    pub fn uri(&self) -> Option<&TokenUri> {
        match self {
            Self::Memory(_) => None,
            Self::Token(key) => Some(key.uri()),
        }
    }

    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        match self {
            Self::Memory(key) => Ok(key.sign(message).to_bytes()),
            Self::Token(key) => key.sign(message),
        }
    }
}

impl From<ed25519_dalek::SigningKey> for Ed25519Key {
    fn from(key: ed25519_dalek::SigningKey) -> Self {
        Self::Memory(Box::new(key))
    }
}

impl From<Ed25519Token> for Ed25519Key {
    fn from(key: Ed25519Token) -> Self {
        Self::Token(Box::new(key))
    }
}

impl schemas::crypto::envelope::Signs for Ed25519Key {
    type Error = TokenError;

    fn public(&self) -> [u8; 32] {
        self.public_key()
    }

    fn signature(&self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        self.sign(message)
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(_) => f.write_str("Ed25519Key(..)"),
            Self::Token(key) => write!(f, "Ed25519Key({})", key.uri()),
        }
    }
}

/// Writes a new file that names a key in a token, where a key file is expected.
pub fn write_token_uri(path: &Path, uri: &TokenUri) -> Result<(), KeyError> {
    Ok(create_private(path, format!("{uri}\n").as_bytes())?)
}

/// Reads the name of a key in a token that `path` holds. Where no token can be used nothing of it is read.
pub(crate) fn token_uri(path: &Path, text: &str) -> Result<TokenUri, KeyError> {
    if !TOKENS {
        return Err(TokenError::NotBuilt.into());
    }
    text.parse().map_err(|source| KeyError::Uri { path: path.into(), source })
}

/// The name of the key in a token, if that is what the file holds.
fn named_in(path: &Path) -> Result<Option<TokenUri>, KeyError> {
    let bytes = read_private(path)?;
    let Some(text) = std::str::from_utf8(&bytes).ok().filter(|text| TokenUri::is_meant(text)) else { return Ok(None) };
    token_uri(path, text.trim_end_matches('\n')).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{generate_ed25519, write_ed25519};

    #[test]
    fn a_key_file_is_read_as_before_and_a_named_key_is_looked_for_in_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let (path, named) = (folder.path().join("a.key"), folder.path().join("b.key"));
        let key = generate_ed25519().unwrap();
        write_ed25519(&path, &key, None).unwrap();
        let opened = Ed25519Key::open(&path, None).unwrap();
        assert_eq!(opened.public_key(), key.verifying_key().to_bytes());
        assert_eq!(opened.sign(b"x").unwrap(), key.sign(b"x").to_bytes());
        assert_eq!(format!("{opened:?}"), "Ed25519Key(..)");
        let uri = "pkcs11:token=t;object=o?module-path=/nowhere/p11.so".parse().unwrap();
        write_token_uri(&named, &uri).unwrap();
        let error = Ed25519Key::open(&named, None).unwrap_err();
        match cfg!(feature = "pkcs11") {
            true => assert!(matches!(error, KeyError::Token(TokenError::Module { .. })), "{error}"),
            false => assert!(error.to_string().ends_with("build it with `--features pkcs11`"), "{error}"),
        }
        let error = read_ed25519(&named, None).unwrap_err();
        assert!(matches!(error, KeyError::OnToken { .. }), "{error}");
    }

    #[test]
    fn a_wrong_name_is_refused_with_its_file_and_without_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        create_private(&path, b"pkcs11:token=t?module-path=/m&pin-value=271828\n").unwrap();
        let error = P256Key::open(&path, None).unwrap_err();
        let text = format!("{error} {error:?}");
        let named = text.contains("a.key") && text.contains("pin-value");
        assert!((named || !TOKENS) && !text.contains("271828"), "{text}");
    }
}
