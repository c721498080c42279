//! Keysets as people put and list them, and what they sign themselves.

use serde::{Deserialize, Serialize};

use crate::ids::CabinetId;
use crate::messages::{BootId, Challenge, Compartment, Instance, KeyId, KeyPurpose, Nonce, OrderKey};

use super::Rfc3339;

/// Bytes of a signed message, at least one, in hexadecimal.
#[derive(Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl std::fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for HexBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
            Ok(bytes) if !bytes.is_empty() => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err(serde::de::Error::custom("not bytes in hexadecimal")),
        }
    }
}

/// A [`Challenge`] in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeText {
    pub boot: BootId,
    pub counter: u64,
    pub nonce: Nonce,
}

impl From<Challenge> for ChallengeText {
    fn from(Challenge { boot, counter, nonce }: Challenge) -> Self {
        Self { boot, counter, nonce }
    }
}

impl From<ChallengeText> for Challenge {
    fn from(ChallengeText { boot, counter, nonce }: ChallengeText) -> Self {
        Self { boot, counter, nonce }
    }
}

/// What an unlock has to name that somebody signs within the next seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeIssued {
    pub cabinet: CabinetId,
    /// As it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<Compartment>,
    pub instance: Instance,
    pub challenge: ChallengeText,
    /// What the compartment holds as far as the fleet knows; left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderKey>,
}

/// A key of the newest keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysetKey {
    pub id: KeyId,
    pub purpose: KeyPurpose,
}

/// A keyset that the fleet keeps and hands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysetKept {
    pub version: u64,
    /// The root that signed it.
    pub signer: KeyId,
    /// The tenant's first one, or one that changes the roots: it is kept for ever.
    pub changes_roots: bool,
    pub put: Rfc3339,
    pub by: String,
}

/// Cabinets that hold a version, by their own word; 0: none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysetHolders {
    pub version: u64,
    pub cabinets: u32,
    /// The first hundred of them.
    pub names: Vec<CabinetId>,
}

/// What the fleet knows of a tenant's keysets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysetList {
    /// Version of the newest, 0 for none.
    pub newest: u64,
    /// Of the newest, each purpose's newest first.
    pub keys: Vec<KeysetKey>,
    /// In force; none before the first keyset.
    pub roots: Vec<KeyId>,
    /// Oldest first.
    pub kept: Vec<KeysetKept>,
    /// Oldest version first.
    pub held: Vec<KeysetHolders>,
}
