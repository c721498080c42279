//! The signing keys that a cabinet believes, by purpose, signed by one of two pinned roots.

use crate::cbor::Blob;
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
    /// Payload of a COSE_Sign1 with purpose `keyset`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Keyset {
        1 => tenant: TenantId,
        /// Never goes back.
        2 => version: u64,
        3 => issued: FleetMillis,
        4 => keys: Vec<Key>,
    }
}

impl Keyset {
    pub fn keys_for(&self, purpose: KeyPurpose) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.purpose == purpose)
    }
}
