//! The two kinds of keys in a token.

use std::sync::Arc;

use p256::ecdsa::signature::Verifier as _;
use sha2::{Digest as _, Sha256};

use super::error::TokenError;
use super::session::{Kind, Link, make, sweep};
use super::uri::TokenUri;
use crate::keys::Passphrase;

/// A P-256 key in a token, for TLS. Clones share a session.
#[derive(Debug, Clone)]
pub struct P256Token {
    link: Arc<Link>,
    public: p256::PublicKey,
}

impl P256Token {
    /// Opens the key that a URI names. The PIN is that of the URI's `pin-source`, or else `pin`.
    pub fn open(uri: &TokenUri, pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Self::of(Link::open(uri, Kind::P256, pin)?)
    }

    /// A key whose public half is known; the token is looked for when it signs.
    pub fn named(uri: TokenUri, public: p256::PublicKey) -> Result<Self, TokenError> {
        if !uri.names_a_key() {
            return Err(TokenError::NoName { token: uri.token_text() });
        }
        Ok(Self { link: Arc::new(Link::later(uri, Kind::P256)), public })
    }

    /// Makes a key beside others with the same label. [`uri`](Self::uri) then has its id.
    pub fn make(uri: &TokenUri, pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Self::of(make(uri, Kind::P256, pin, false)?)
    }

    fn of((link, point): (Link, Vec<u8>)) -> Result<Self, TokenError> {
        let other =
            || TokenError::OtherKind { key: link.uri().key_text(), token: link.uri().token_text(), expected: "P-256" };
        let public = p256::PublicKey::from_sec1_bytes(&point).map_err(|_| other())?;
        Ok(Self { link: Arc::new(link), public })
    }

    pub fn uri(&self) -> &TokenUri {
        self.link.uri()
    }

    pub fn public_key(&self) -> p256::PublicKey {
        self.public
    }

    /// An ECDSA signature over the SHA-256 of `message`, in DER.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let bytes = self.link.sign(&Sha256::digest(message))?;
        let signature = p256::ecdsa::Signature::from_slice(&bytes).ok();
        let key = p256::ecdsa::VerifyingKey::from(self.public);
        let good = signature.filter(|signature| key.verify(message, signature).is_ok());
        Ok(good.ok_or_else(|| wrong(&self.link))?.to_der().as_bytes().to_vec())
    }
}

/// An Ed25519 key in a token, for commands and keysets.
#[derive(Debug)]
pub struct Ed25519Token {
    link: Link,
    public: ed25519_dalek::VerifyingKey,
}

impl Ed25519Token {
    /// As [`P256Token::open`].
    pub fn open(uri: &TokenUri, pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Self::of(Link::open(uri, Kind::Ed25519, pin)?)
    }

    /// Makes a key whose label no other key of the token has. [`uri`](Self::uri) then has its id.
    pub fn make(uri: &TokenUri, pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Self::of(make(uri, Kind::Ed25519, pin, true)?)
    }

    fn of((link, point): (Link, Vec<u8>)) -> Result<Self, TokenError> {
        let public = <[u8; 32]>::try_from(point).ok();
        let public = public.and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok());
        let other = || TokenError::OtherKind {
            key: link.uri().key_text(),
            token: link.uri().token_text(),
            expected: "Ed25519",
        };
        let public = public.ok_or_else(other)?;
        Ok(Self { link, public })
    }

    pub fn uri(&self) -> &TokenUri {
        self.link.uri()
    }

    pub fn public_key(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        let bytes = self.link.sign(message)?;
        let signature = ed25519_dalek::Signature::from_slice(&bytes).ok();
        let good = signature.filter(|signature| self.public.verify_strict(message, signature).is_ok());
        Ok(good.ok_or_else(|| wrong(&self.link))?.to_bytes())
    }
}

/// Removes every key from a token that has the URI's label and is none of `keep`, which are told apart by their ids.
/// Returns how many.
pub fn sweep_token(uri: &TokenUri, keep: &[TokenUri], pin: Option<&Passphrase>) -> Result<usize, TokenError> {
    let ids: Vec<&[u8]> = keep.iter().filter_map(TokenUri::id).collect();
    sweep(uri, &ids, pin)
}

fn wrong(link: &Link) -> TokenError {
    TokenError::Signature { key: link.uri().key_text(), token: link.uri().token_text() }
}
