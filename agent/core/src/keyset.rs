//! The signing keys in force, and the two roots that may change them: of either root, never of an older version.

use p256::PublicKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, EnvelopeError, Opened, Scope};
use schemas::ids::TenantId;
use schemas::messages::{Key, KeyId, KeyPurpose, Keyset, RefusalReason, Roots};

use crate::records::{KeysetRow, RootsRow};

/// The version is kept apart from the keys: it holds even when a later release pins other roots and the keys on
/// disk are no longer believed.
pub(crate) struct Keys {
    version: u64,
    envelope: Vec<u8>,
    /// A root that was in force has signed `envelope`.
    believed: bool,
    keys: Vec<Key>,
    /// Delegations of a lower one are void.
    epoch: u64,
    /// Of the settings.
    pinned: Roots,
    /// In force when `envelope` was taken: one of them has signed it.
    under: Roots,
    /// In force now: who may sign the next one.
    roots: Roots,
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

/// A keyset that is not taken. Its version only where a root vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) version: Option<u64>,
    pub(crate) reason: RefusalReason,
}

impl Refused {
    fn unread(reason: RefusalReason) -> Self {
        Self { version: None, reason }
    }
}

impl Keys {
    pub(crate) fn open(row: Option<KeysetRow>, tenant: &TenantId, pinned: &[Key; 2]) -> Self {
        let [first, second] = pinned.clone();
        let pinned = Roots { first, second };
        let mut keys = Self {
            version: 0,
            envelope: Vec::new(),
            believed: false,
            keys: Vec::new(),
            epoch: 0,
            under: pinned.clone(),
            roots: pinned.clone(),
            pinned,
        };
        let Some(row) = row else { return keys };
        (keys.version, keys.envelope) = (row.version, row.envelope.0);
        // Roots came out of the pinned ones one after another. With other ones in the settings they begin anew there.
        let goes_on = |row: &RootsRow| row.pinned.same_keys(&keys.pinned) || row.held.same_keys(&keys.pinned);
        if let Some(row) = row.roots.filter(goes_on) {
            (keys.under, keys.roots) = (row.under, row.held);
        }
        if let Ok((keyset, _)) = verify(&keys.envelope, tenant, &keys.under) {
            (keys.believed, keys.epoch, keys.keys) = (true, keyset.epoch.unwrap_or(0), keyset.keys);
        }
        keys
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The key of the codes signer to which the pepper is sealed.
    pub(crate) fn pepper_key(&self) -> Option<PublicKey> {
        self.pepper_entry().and_then(|key| PublicKey::from_sec1_bytes(&key.public.0).ok())
    }

    fn pepper_entry(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.purpose == KeyPurpose::Pepper)
    }

    /// Takes a newer keyset. `Ok(None)`: it is the one in force.
    pub(crate) fn apply(&mut self, bytes: Vec<u8>, tenant: &TenantId) -> Result<Option<Applied>, Refused> {
        // Before its root is looked at: that one may have replaced itself in it.
        if self.believed && bytes == self.envelope {
            return Ok(None);
        }
        let (keyset, root) =
            verify(&bytes, tenant, &self.roots).map_err(|refused| self.known(refused, &bytes, tenant))?;
        if keyset.version <= self.version {
            return Err(Refused { version: Some(keyset.version), reason: RefusalReason::OldVersion });
        }
        let pepper_before = self.pepper_entry().map(|key| key.id);
        self.under = self.roots.clone();
        if let Some(roots) = keyset.roots {
            self.roots = roots;
        }
        (self.version, self.believed, self.keys) = (keyset.version, true, keyset.keys);
        self.epoch = keyset.epoch.unwrap_or(0);
        self.envelope.clone_from(&bytes);
        Ok(Some(Applied {
            version: self.version,
            root,
            row: KeysetRow { version: self.version, envelope: Blob(bytes), roots: self.roots_row() },
            pepper_key_changed: self.pepper_entry().map(|key| key.id) != pepper_before,
        }))
    }

    /// A keyset of a pinned root that is out by now is an old one in most cases: the one of the settings is.
    fn known(&self, refused: Refused, bytes: &[u8], tenant: &TenantId) -> Refused {
        let older = |keyset: &Keyset| keyset.version <= self.version;
        match verify(bytes, tenant, &self.pinned) {
            Ok((keyset, _)) if older(&keyset) => {
                Refused { version: Some(keyset.version), reason: RefusalReason::OldVersion }
            }
            Ok(_) | Err(_) => refused,
        }
    }

    /// Left out while the pinned roots are those in force.
    fn roots_row(&self) -> Option<RootsRow> {
        let unchanged = self.pinned.same_keys(&self.under) && self.pinned.same_keys(&self.roots);
        let (pinned, under, held) = (self.pinned.clone(), self.under.clone(), self.roots.clone());
        (!unchanged).then_some(RootsRow { pinned, under, held })
    }
}

fn verify(bytes: &[u8], tenant: &TenantId, roots: &Roots) -> Result<(Keyset, KeyId), Refused> {
    let scope = Scope::Tenant { tenant, purpose: KeyPurpose::Keyset };
    let opened = envelope::open(bytes, scope, roots.both()).map_err(|error| Refused::unread(refusal(error)))?;
    let Opened { signer, payload } = opened;
    let keyset: Keyset = cbor::decode(&payload).map_err(|_| Refused::unread(RefusalReason::Malformed))?;
    match keyset.check(tenant, roots) {
        Ok(()) => Ok((keyset, signer)),
        Err(_) => Err(Refused { version: Some(keyset.version), reason: RefusalReason::Malformed }),
    }
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

    fn pair([first, second]: [u8; 2]) -> Roots {
        let key = |byte| public_entry(&root(byte), KeyPurpose::Keyset);
        Roots { first: key(first), second: key(second) }
    }

    fn pins(bytes: [u8; 2]) -> [Key; 2] {
        bytes.map(|byte| public_entry(&root(byte), KeyPurpose::Keyset))
    }

    fn tenant() -> TenantId {
        "acme".parse().unwrap()
    }

    fn of(keyset: &Keyset, by: u8) -> Vec<u8> {
        let scope = Scope::Tenant { tenant: &tenant(), purpose: KeyPurpose::Keyset };
        sign(cbor::encode(keyset), scope, &root(by))
    }

    fn signed(version: u64, keys: Vec<Key>, by: u8) -> Vec<u8> {
        of(&Keyset::new(tenant(), version, 0, keys), by)
    }

    fn replacing(version: u64, roots: [u8; 2], by: u8) -> Vec<u8> {
        of(&Keyset { roots: Some(pair(roots)), ..Keyset::new(tenant(), version, 0, vec![unlock_key()]) }, by)
    }

    fn unlock_key() -> Key {
        public_entry(&root(9), KeyPurpose::Unlock)
    }

    fn none() -> Keys {
        Keys::open(None, &tenant(), &pins([1, 2]))
    }

    fn take(keys: &mut Keys, bytes: Vec<u8>) -> KeysetRow {
        keys.apply(bytes, &tenant()).unwrap().unwrap().row
    }

    fn reason(keys: &mut Keys, bytes: Vec<u8>) -> RefusalReason {
        keys.apply(bytes, &tenant()).unwrap_err().reason
    }

    #[test]
    fn either_root_signs_and_the_version_never_goes_back() {
        let mut keys = none();
        take(&mut keys, signed(2, vec![unlock_key()], 1));
        assert_eq!(keys.apply(signed(2, vec![unlock_key()], 1), &tenant()), Ok(None));
        for old in [signed(1, vec![], 1), signed(2, vec![], 2)] {
            assert_eq!(reason(&mut keys, old), RefusalReason::OldVersion);
        }
        take(&mut keys, signed(3, vec![], 2));
        assert!(keys.keys().is_empty());
    }

    #[test]
    fn a_keyset_of_another_signer_or_with_a_root_inside_is_refused() {
        let mut keys = none();
        assert_eq!(reason(&mut keys, signed(1, vec![], 3)), RefusalReason::UnknownKey);
        assert_eq!(reason(&mut keys, signed(1, pins([1, 2])[..1].to_vec(), 1)), RefusalReason::Malformed);
        let mut renamed = unlock_key();
        renamed.id = KeyId([0; 8]);
        assert_eq!(reason(&mut keys, signed(1, vec![renamed], 1)), RefusalReason::Malformed);
        let both = public_entry(&root(2), KeyPurpose::Unlock);
        assert_eq!(reason(&mut keys, signed(1, vec![both], 1)), RefusalReason::Malformed);
    }

    #[test]
    fn keys_of_a_root_that_is_no_longer_pinned_are_not_believed_but_their_version_holds() {
        let row = KeysetRow { version: 5, envelope: Blob(signed(5, vec![unlock_key()], 1)), roots: None };
        let mut keys = Keys::open(Some(row), &tenant(), &pins([3, 4]));
        assert!(keys.keys().is_empty());
        assert_eq!(reason(&mut keys, signed(5, vec![], 3)), RefusalReason::OldVersion);
        take(&mut keys, signed(6, vec![unlock_key()], 3));
    }

    #[test]
    fn a_lost_root_is_replaced_by_the_other_and_signs_nothing_any_more() {
        let mut keys = none();
        take(&mut keys, replacing(2, [3, 2], 2));
        assert_eq!(reason(&mut keys, signed(3, vec![], 1)), RefusalReason::UnknownKey);
        let row = take(&mut keys, signed(3, vec![unlock_key()], 3));
        // After a restart too.
        let mut keys = Keys::open(Some(row), &tenant(), &pins([1, 2]));
        assert_eq!((keys.version(), keys.keys()), (3, &[unlock_key()][..]));
        assert_eq!(reason(&mut keys, signed(4, vec![], 1)), RefusalReason::UnknownKey);
        take(&mut keys, signed(4, vec![unlock_key()], 2));
    }

    #[test]
    fn a_root_may_replace_itself_or_both_and_its_last_keyset_may_come_twice() {
        let mut keys = none();
        let own = replacing(2, [3, 2], 1);
        let row = take(&mut keys, own.clone());
        assert_eq!(keys.apply(own.clone(), &tenant()), Ok(None));
        let mut keys = Keys::open(Some(row), &tenant(), &pins([1, 2]));
        assert_eq!(keys.apply(own, &tenant()), Ok(None));
        assert_eq!(keys.keys(), [unlock_key()], "its root was in force when it was taken");
        take(&mut keys, replacing(3, [4, 5], 3));
        for out in [1, 2, 3] {
            assert_eq!(reason(&mut keys, signed(4, vec![], out)), RefusalReason::UnknownKey, "root {out}");
        }
        take(&mut keys, signed(4, vec![], 5));
    }

    #[test]
    fn the_keyset_of_the_settings_is_an_old_one_although_its_root_is_out() {
        let first = signed(1, vec![unlock_key()], 1);
        let mut keys = none();
        take(&mut keys, first.clone());
        let row = take(&mut keys, replacing(2, [3, 2], 2));
        let mut keys = Keys::open(Some(row), &tenant(), &pins([1, 2]));
        assert_eq!(reason(&mut keys, first), RefusalReason::OldVersion);
    }

    #[test]
    fn roots_that_are_equal_or_in_use_for_something_else_are_refused() {
        let with = |roots, keys| Keyset { roots: Some(roots), ..Keyset::new(tenant(), 2, 0, keys) };
        let mut purpose = pair([3, 2]);
        purpose.first.purpose = KeyPurpose::Unlock;
        let mut renamed = pair([3, 2]);
        renamed.first.id = KeyId([0; 8]);
        for (what, keyset) in [
            ("the same twice", with(pair([3, 3]), vec![])),
            ("another purpose", with(purpose, vec![])),
            ("a foreign id", with(renamed, vec![])),
            ("a new root that signs commands", with(pair([9, 2]), vec![unlock_key()])),
            ("a former root that signs commands", with(pair([3, 2]), vec![public_entry(&root(1), KeyPurpose::Unlock)])),
        ] {
            let mut keys = none();
            assert_eq!(reason(&mut keys, of(&keyset, 2)), RefusalReason::Malformed, "{what}");
            assert_eq!(keys.version(), 0);
        }
    }

    #[test]
    fn other_roots_in_the_settings_begin_anew_and_those_in_force_go_on() {
        let mut keys = none();
        let row = take(&mut keys, replacing(2, [3, 2], 1));
        // Settings that were written anew by a fleet that had the same change already.
        let mut same = Keys::open(Some(row.clone()), &tenant(), &pins([2, 3]));
        assert_eq!(same.keys(), [unlock_key()]);
        take(&mut same, signed(3, vec![], 3));
        let mut other = Keys::open(Some(row), &tenant(), &pins([6, 7]));
        assert!(other.keys().is_empty());
        assert_eq!(reason(&mut other, signed(3, vec![], 3)), RefusalReason::UnknownKey);
        take(&mut other, signed(3, vec![], 6));
    }
}
