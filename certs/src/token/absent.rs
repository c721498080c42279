//! Keys in tokens where the feature `pkcs11` is off: there are none, and whoever names one hears why.

use super::error::TokenError;
use super::uri::TokenUri;
use crate::keys::Passphrase;

/// A P-256 key in a token: none.
#[derive(Debug, Clone)]
pub enum P256Token {}

impl P256Token {
    pub fn open(_uri: &TokenUri, _pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Err(TokenError::NotBuilt)
    }

    pub fn named(_uri: TokenUri, _public: p256::PublicKey) -> Result<Self, TokenError> {
        Err(TokenError::NotBuilt)
    }

    pub fn make(_uri: &TokenUri, _pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Err(TokenError::NotBuilt)
    }

    pub fn uri(&self) -> &TokenUri {
        match *self {}
    }

    pub fn public_key(&self) -> p256::PublicKey {
        match *self {}
    }

    pub fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, TokenError> {
        match *self {}
    }
}

/// An Ed25519 key in a token: none.
#[derive(Debug)]
pub enum Ed25519Token {}

impl Ed25519Token {
    pub fn open(_uri: &TokenUri, _pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Err(TokenError::NotBuilt)
    }

    pub fn make(_uri: &TokenUri, _pin: Option<&Passphrase>) -> Result<Self, TokenError> {
        Err(TokenError::NotBuilt)
    }

    pub fn uri(&self) -> &TokenUri {
        match *self {}
    }

    pub fn public_key(&self) -> [u8; 32] {
        match *self {}
    }

    pub fn sign(&self, _message: &[u8]) -> Result<[u8; 64], TokenError> {
        match *self {}
    }
}

pub fn sweep_token(_uri: &TokenUri, _keep: &[TokenUri], _pin: Option<&Passphrase>) -> Result<usize, TokenError> {
    Err(TokenError::NotBuilt)
}
