//! The signing keys that a cabinet believes, by purpose, signed by one of two pinned roots.

use ed25519_dalek::VerifyingKey;
use p256::PublicKey;

use crate::cbor::Blob;
use crate::crypto::envelope::key_id;
use crate::ids::TenantId;
use crate::{byte_id, cbor_code, cbor_map};

use super::FleetMillis;

byte_id! {
    /// First 8 bytes of the SHA-256 of the public key.
    pub struct KeyId([u8; 8]);
}

cbor_code! {
    pub enum KeyPurpose {
        0 => Unlock = "unlock",
        1 => Codes = "codes",
        2 => Config = "config",
        3 => Update = "update",
        /// Not a signing key: the P-256 key to which a cabinet seals its pepper.
        4 => Pepper = "pepper",
        /// Signs keysets; never inside one.
        5 => Keyset = "keyset",
        /// Signs delegations: which person opens doors with a key of their own.
        6 => Admin = "admin",
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Key {
        1 => id: KeyId,
        2 => purpose: KeyPurpose,
        /// Ed25519: 32 bytes. P-256: uncompressed SEC1 point, 65 bytes.
        3 => public: Blob,
    }
}

cbor_map! {
    /// The two keys of which either signs keysets. Their places are names for people; either may replace the other or both.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Roots {
        1 => first: Key,
        2 => second: Key,
    }
}

impl Roots {
    pub fn both(&self) -> [&Key; 2] {
        [&self.first, &self.second]
    }

    /// Whether these are the same two keys, whatever their places.
    pub fn same_keys(&self, other: &Self) -> bool {
        let [first, second] = other.both();
        self.both() == [first, second] || self.both() == [second, first]
    }

    fn are_sound(&self) -> bool {
        let root = |key: &Key| key.purpose == KeyPurpose::Keyset && key.has_its_form();
        root(&self.first) && root(&self.second) && self.first.public != self.second.public
    }
}

/// Keys in one keyset at most.
pub const KEYS_MAX: usize = 64;

cbor_map! {
    /// Payload of a COSE_Sign1 with purpose `keyset`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Keyset {
        1 => tenant: TenantId,
        /// Never goes back.
        2 => version: u64,
        3 => issued: FleetMillis,
        /// Of each purpose the newest first.
        4 => keys: Vec<Key>,
        /// In force from this version on, when it is taken; left out: those before stay.
        5 opt => roots: Option<Roots>,
        /// Delegations of a lower one are void; left out: 0.
        6 opt => epoch: Option<u64>,
    }
}

/// A keyset that breaks a rule of its form, whoever signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysetError {
    #[error("it is of another tenant")]
    Tenant,
    #[error("its version is not 1 to 2^53")]
    Version,
    #[error("it has more than {KEYS_MAX} keys")]
    TooManyKeys,
    #[error("one of its keys has not the form or the id of a key of its purpose")]
    Key,
    #[error("its roots are not two different keys of purpose `keyset`")]
    Roots,
    #[error("a root is one of its signing keys as well")]
    RootInside,
}

impl Keyset {
    /// Highest version: exact in every language.
    pub const VERSION_MAX: u64 = 1 << 53;

    /// One that leaves the roots as they are.
    pub fn new(tenant: TenantId, version: u64, issued: FleetMillis, keys: Vec<Key>) -> Self {
        Self { tenant, version, issued, keys, roots: None, epoch: None }
    }

    pub fn keys_for(&self, purpose: KeyPurpose) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.purpose == purpose)
    }

    /// Checks everything but the signature: `signed_under` are the roots that its signer is one of.
    pub fn check(&self, tenant: &TenantId, signed_under: &Roots) -> Result<(), KeysetError> {
        if self.tenant != *tenant {
            return Err(KeysetError::Tenant);
        }
        if !(1..=Self::VERSION_MAX).contains(&self.version) {
            return Err(KeysetError::Version);
        }
        if self.keys.len() > KEYS_MAX {
            return Err(KeysetError::TooManyKeys);
        }
        if !self.keys.iter().all(|key| key.purpose != KeyPurpose::Keyset && key.has_its_form()) {
            return Err(KeysetError::Key);
        }
        if !self.roots.as_ref().is_none_or(Roots::are_sound) {
            return Err(KeysetError::Roots);
        }
        let from_now_on = self.roots.as_ref().unwrap_or(signed_under);
        // Whoever can make the signer sign must not get a signature of a root.
        let roots = signed_under.both().into_iter().chain(from_now_on.both());
        if roots.into_iter().any(|root| self.keys.iter().any(|key| key.public == root.public)) {
            return Err(KeysetError::RootInside);
        }
        Ok(())
    }
}

impl Key {
    /// Whether the public key is one for its purpose, and the id is that of the key.
    pub fn has_its_form(&self) -> bool {
        let form = match self.purpose {
            KeyPurpose::Pepper => self.public.0.len() == 65 && PublicKey::from_sec1_bytes(&self.public.0).is_ok(),
            KeyPurpose::Unlock
            | KeyPurpose::Codes
            | KeyPurpose::Config
            | KeyPurpose::Update
            | KeyPurpose::Keyset
            | KeyPurpose::Admin => {
                let bytes = <&[u8; 32]>::try_from(self.public.0.as_slice()).ok();
                bytes.is_some_and(|bytes| VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak()))
            }
        };
        form && key_id(&self.public.0) == self.id
    }
}
