//! The signing keys in force: verified by a pinned root, never of an older version.

use p256::PublicKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, EnvelopeError, Scope};
use schemas::ids::TenantId;
use schemas::messages::{Key, KeyId, KeyPurpose, Keyset, RefusalReason};

use crate::records::KeysetRow;

/// Keys in one keyset at most.
const KEYS_MAX: usize = 64;

/// The version is kept apart from the keys: it holds even when a later release pins other roots and the keys on
/// disk are no longer believed.
pub(crate) struct Keys {
    version: u64,
    envelope: Vec<u8>,
    keys: Vec<Key>,
}

/// A keyset that came into force.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) version: u64,
    pub(crate) root: KeyId,
    pub(crate) row: KeysetRow,
    /// The key to which the pepper is sealed is another one now.
    pub(crate) pepper_key_changed: bool,
}

impl Keys {
    pub(crate) fn open(row: Option<KeysetRow>, tenant: &TenantId, roots: &[Key; 2]) -> Self {
        let Some(row) = row else {
            return Self { version: 0, envelope: Vec::new(), keys: Vec::new() };
        };
        let keys = verify(&row.envelope.0, tenant, roots).map(|(keyset, _)| keyset.keys).unwrap_or_default();
        Self { version: row.version, envelope: row.envelope.0, keys }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key of the codes signer to which the pepper is sealed.
    pub(crate) fn pepper_key(&self) -> Option<PublicKey> {
        self.pepper_entry().and_then(|key| PublicKey::from_sec1_bytes(&key.public.0).ok())
    }

    fn pepper_entry(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.purpose == KeyPurpose::Pepper)
    }

    /// Takes a newer keyset. `Ok(None)`: it is the one in force.
    pub(crate) fn apply(
        &mut self,
        bytes: Vec<u8>,
        tenant: &TenantId,
        roots: &[Key; 2],
    ) -> Result<Option<Applied>, RefusalReason> {
        let (keyset, root) = verify(&bytes, tenant, roots)?;
        let repeated = keyset.version == self.version && bytes == self.envelope;
        if repeated && !self.keys.is_empty() {
            return Ok(None);
        }
        if keyset.version <= self.version && !repeated {
            return Err(RefusalReason::OldVersion);
        }
        let pepper_before = self.pepper_entry().map(|key| key.id);
        self.version = keyset.version;
        self.keys = keyset.keys;
        self.envelope.clone_from(&bytes);
        Ok(Some(Applied {
            version: self.version,
            root,
            row: KeysetRow { version: self.version, envelope: Blob(bytes) },
            pepper_key_changed: self.pepper_entry().map(|key| key.id) != pepper_before,
        }))
    }
}

fn verify(bytes: &[u8], tenant: &TenantId, roots: &[Key; 2]) -> Result<(Keyset, KeyId), RefusalReason> {
    let scope = Scope::Tenant { tenant, purpose: KeyPurpose::Keyset };
    let opened = envelope::open(bytes, scope, roots).map_err(refusal)?;
    let keyset: Keyset = cbor::decode(&opened.payload).map_err(|_| RefusalReason::Malformed)?;
    let sound = keyset.tenant == *tenant && keyset.version > 0 && keyset.keys.len() <= KEYS_MAX;
    if sound && keyset.keys.iter().all(is_sound) { Ok((keyset, opened.signer)) } else { Err(RefusalReason::Malformed) }
}

/// A root is never inside a keyset, and an id belongs to its key.
fn is_sound(key: &Key) -> bool {
    let form = match key.purpose {
        KeyPurpose::Unlock | KeyPurpose::Codes | KeyPurpose::Config | KeyPurpose::Update => key.public.0.len() == 32,
        KeyPurpose::Pepper => PublicKey::from_sec1_bytes(&key.public.0).is_ok() && key.public.0.len() == 65,
        KeyPurpose::Keyset => false,
    };
    form && envelope::key_id(&key.public.0) == key.id
}

/// The published reason for an envelope that does not open.
pub(crate) fn refusal(error: EnvelopeError) -> RefusalReason {
    match error {
        EnvelopeError::Malformed | EnvelopeError::Header => RefusalReason::Malformed,
        EnvelopeError::UnknownKey => RefusalReason::UnknownKey,
        EnvelopeError::Signature => RefusalReason::BadSignature,
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use schemas::crypto::envelope::{public_entry, sign};

    use super::*;

    fn root(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    fn roots() -> [Key; 2] {
        [1, 2].map(|byte| public_entry(&root(byte), KeyPurpose::Keyset))
    }

    fn tenant() -> TenantId {
        "acme".parse().unwrap()
    }

    fn signed(version: u64, keys: Vec<Key>, by: u8) -> Vec<u8> {
        let tenant = tenant();
        let keyset = Keyset { tenant: tenant.clone(), version, issued: 0, keys };
        sign(cbor::encode(&keyset), Scope::Tenant { tenant: &tenant, purpose: KeyPurpose::Keyset }, &root(by))
    }

    fn unlock_key() -> Key {
        public_entry(&root(9), KeyPurpose::Unlock)
    }

    fn none() -> Keys {
        Keys::open(None, &tenant(), &roots())
    }

    #[test]
    fn either_root_signs_and_the_version_never_goes_back() {
        let mut keys = none();
        assert!(keys.apply(signed(2, vec![unlock_key()], 1), &tenant(), &roots()).unwrap().is_some());
        let same = signed(2, vec![unlock_key()], 1);
        assert_eq!(keys.apply(same, &tenant(), &roots()), Ok(None));
        for old in [signed(1, vec![], 1), signed(2, vec![], 2)] {
            assert_eq!(keys.apply(old, &tenant(), &roots()), Err(RefusalReason::OldVersion));
        }
        assert!(keys.apply(signed(3, vec![], 2), &tenant(), &roots()).unwrap().is_some());
        assert!(keys.keys().is_empty());
    }

    #[test]
    fn a_keyset_of_another_signer_or_with_a_root_inside_is_refused() {
        let mut keys = none();
        assert_eq!(keys.apply(signed(1, vec![], 3), &tenant(), &roots()), Err(RefusalReason::UnknownKey));
        let inside = signed(1, vec![roots()[0].clone()], 1);
        assert_eq!(keys.apply(inside, &tenant(), &roots()), Err(RefusalReason::Malformed));
        let mut renamed = unlock_key();
        renamed.id = KeyId([0; 8]);
        assert_eq!(keys.apply(signed(1, vec![renamed], 1), &tenant(), &roots()), Err(RefusalReason::Malformed));
    }

    #[test]
    fn keys_of_a_root_that_is_no_longer_pinned_are_not_believed_but_their_version_holds() {
        let row = KeysetRow { version: 5, envelope: Blob(signed(5, vec![unlock_key()], 1)) };
        let later = [3, 4].map(|byte| public_entry(&root(byte), KeyPurpose::Keyset));
        let mut keys = Keys::open(Some(row), &tenant(), &later);
        assert!(keys.keys().is_empty());
        assert_eq!(keys.apply(signed(5, vec![], 3), &tenant(), &later), Err(RefusalReason::OldVersion));
        assert!(keys.apply(signed(6, vec![unlock_key()], 3), &tenant(), &later).unwrap().is_some());
    }
}
