//! Two places for key and certificate: the one that is known to work, and the next one until it has been seen to work.
//!
//! Each is one file, so that a key and its certificate change in one step. Whatever dies when, one that works is left.
//! Where keys are in a token the files name them, and a key that no file names is removed from the token.

use std::path::{Path, PathBuf};

use certs::{
    CertificateDer, FileError, KeyError, LoadError, P256Key, P256Token, TOKENS, TlsIdentity, TokenError, TokenUri,
    destroy_file, generate_p256, remove_file, rename_file, replace_private, sweep_token, write_p256,
};
use p256::PublicKey;
use schemas::ids::Identity;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Current,
    Next,
}

/// The folder of the cabinet's identity.
#[derive(Debug, Clone)]
pub struct Slots {
    folder: PathBuf,
    /// Where new keys are made, if not in files: with the label of this cabinet's keys.
    token: Option<TokenUri>,
}

/// Why a token cannot hold the keys of a cabinet.
#[derive(Debug, thiserror::Error)]
pub enum KeyPlaceError {
    #[error("names a key; give the token alone, because the cabinet labels its keys itself and removes former ones")]
    NamesAKey,
    #[error("names no file with the PIN: add &pin-source=file:/…, since nobody types it at a cabinet")]
    NoPin,
    #[error("cannot be used: this program was built without tokens; build it with `--features pkcs11`")]
    NotBuilt,
    #[error("{0}")]
    Uri(#[from] certs::UriError),
}

/// The token of a setting.
pub fn key_place(text: &str) -> Result<TokenUri, KeyPlaceError> {
    if !TOKENS {
        return Err(KeyPlaceError::NotBuilt);
    }
    let uri: TokenUri = text.parse()?;
    if uri.names_a_key() {
        return Err(KeyPlaceError::NamesAKey);
    }
    if uri.pin_source().is_none() {
        return Err(KeyPlaceError::NoPin);
    }
    Ok(uri)
}

impl Slots {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), token: None }
    }

    /// New keys are made in this token. Every key there with the label of `identity` is this cabinet's.
    pub fn with_token(self, token: &TokenUri, identity: &Identity) -> Result<Self, KeyPlaceError> {
        Ok(Self { token: Some(token.with_label(&identity.to_string())?), ..self })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, slot: Slot) -> PathBuf {
        self.folder.join(match slot {
            Slot::Current => "current.pem",
            Slot::Next => "next.pem",
        })
    }

    /// Where the key waits for its certificate: asked for again after a crash, it gets the same one.
    fn request_path(&self) -> PathBuf {
        self.folder.join("request.key")
    }

    /// The key of an attempt that was cut off, or a new one. A file that was cut off while it was written holds a key that
    /// nobody was shown, and one of `in_use` was left behind by a request that was answered.
    pub fn request_key(&self, in_use: Option<&PublicKey>) -> Result<P256Key, KeyError> {
        let path = self.request_path();
        match P256Key::open(&path, None) {
            Ok(key) if in_use != Some(&key.public_key()) => return Ok(key),
            Ok(_)
            | Err(KeyError::NotPem { .. } | KeyError::OtherKind { .. } | KeyError::Token(TokenError::NoKey { .. })) => {
                self.forget_request()?
            }
            Err(KeyError::File(FileError::Missing { .. })) => {}
            Err(error) => return Err(error),
        }
        if let Some(token) = &self.token {
            let key = P256Token::make(token, None)?;
            // In one step: half a name could be that of another key.
            replace_private(&path, format!("{}\n", key.uri()).as_bytes())?;
            return Ok(key.into());
        }
        let key = generate_p256()?;
        write_p256(&path, &key, None)?;
        Ok(key.into())
    }

    /// The certificate of the request is where it belongs.
    pub fn forget_request(&self) -> Result<(), FileError> {
        remove_file(&self.request_path())
    }

    pub fn read(&self, slot: Slot) -> Result<TlsIdentity, LoadError> {
        TlsIdentity::read_bundle(&self.path(slot))
    }

    /// Fills a place, over what was there.
    pub fn write(
        &self,
        slot: Slot,
        key: &P256Key,
        chain: &[CertificateDer<'static>],
    ) -> Result<TlsIdentity, LoadError> {
        TlsIdentity::write_bundle(&self.path(slot), key, chain)
    }

    /// The next one works: the former one is not needed any more.
    pub fn promote(&self) -> Result<(), FileError> {
        rename_file(&self.path(Slot::Next), &self.path(Slot::Current))
    }

    /// Removes the keys from the token that no file here names: former ones, and such whose file was never written. Whatever
    /// cannot be read stops it.
    pub fn tidy(&self) -> Result<usize, LoadError> {
        let Some(token) = &self.token else { return Ok(0) };
        let mut named = Vec::new();
        for path in [self.path(Slot::Current), self.path(Slot::Next), self.request_path()] {
            named.extend(TlsIdentity::token_uri_of_bundle(&path)?);
        }
        sweep_token(token, &named, None).map_err(|error| LoadError::Key(error.into()))
    }

    /// The next one does not work.
    pub fn drop_next(&self) -> Result<(), FileError> {
        remove_file(&self.path(Slot::Next))
    }
}

impl Slots {
    /// This cabinet is no more: no file, and no key in a token.
    pub fn destroy(&self) -> Result<(), LoadError> {
        for path in [self.request_path(), self.path(Slot::Next), self.path(Slot::Current)] {
            destroy_file(&path)?;
        }
        self.tidy().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use certs::{Authority, CertificateAuthority, LeafKey, LeafRequest, create_private};

    use super::*;

    #[test]
    fn a_key_waits_for_its_certificate_and_is_not_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(folder.path());
        let requested = |in_use| slots.request_key(in_use).unwrap().public_key();
        let key = slots.request_key(None).unwrap();
        let public = key.public_key();
        assert_eq!(requested(None), public, "after a crash it is asked for again");
        let (fleet, now) = ("acme".parse().unwrap(), SystemTime::now());
        let root = CertificateAuthority::new_root(&fleet, generate_p256().unwrap(), now).unwrap();
        let cabinets = root.new_intermediate(Authority::Cabinets, generate_p256().unwrap(), now).unwrap();
        let asked = LeafRequest::client("cabinet:acme:c1".parse().unwrap());
        let issued = cabinets.issue(&asked, &LeafKey::from(public), now).unwrap();
        slots.write(Slot::Current, &key, &[issued.certificate]).unwrap();
        assert_eq!(requested(None), public, "a token is good for it until the cabinet is enrolled");
        let next = requested(Some(&public));
        assert_ne!(next, public, "its certificate is in use already");
        slots.forget_request().unwrap();
        slots.forget_request().unwrap();
        assert_ne!(requested(None), next);
    }

    #[cfg(not(feature = "pkcs11"))]
    #[test]
    fn a_token_in_the_settings_of_a_program_without_tokens_says_how_to_build_it() {
        let error = key_place("pkcs11:token=t?module-path=/m&pin-source=file:/p").unwrap_err().to_string();
        assert!(error.ends_with("build it with `--features pkcs11`"), "{error}");
    }

    #[cfg(feature = "pkcs11")]
    #[test]
    fn a_token_of_the_settings_has_a_file_with_its_pin_and_no_key_of_its_own() {
        let said = |text: &str| key_place(text).unwrap_err().to_string();
        key_place("pkcs11:token=t?module-path=/m&pin-source=file:/p").unwrap();
        assert!(said("pkcs11:token=t;object=o?module-path=/m&pin-source=file:/p").starts_with("names a key; "));
        assert!(said("pkcs11:token=t;id=%01?module-path=/m&pin-source=file:/p").starts_with("names a key; "));
        assert!(said("pkcs11:token=t?module-path=/m").starts_with("names no file with the PIN"));
        let error = said("pkcs11:token=t?module-path=/m&pin-value=271828");
        assert!(error.starts_with("has `pin-value`") && !error.contains("271828"), "{error}");
    }

    /// Without a token there is nothing to tidy up, whatever the files say.
    #[cfg(feature = "pkcs11")]
    #[test]
    fn what_the_files_name_is_kept_and_what_cannot_be_read_stops_tidying() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(folder.path());
        create_private(&slots.path(Slot::Current), b"pkcs11:token=t?pin-value=1").unwrap();
        assert_eq!(slots.tidy().unwrap(), 0);
        let uri = key_place("pkcs11:token=t?module-path=/nowhere/m&pin-source=file:/p").unwrap();
        let slots = slots.with_token(&uri, &"cabinet:acme:c1".parse().unwrap()).unwrap();
        let error = slots.tidy().unwrap_err();
        assert!(matches!(error, LoadError::Key(KeyError::Uri { .. })), "{error}");
    }

    #[test]
    fn a_key_that_was_cut_off_while_it_was_written_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(folder.path());
        slots.request_key(None).unwrap();
        let whole = fs::read(slots.request_path()).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 5] {
            slots.forget_request().unwrap();
            create_private(&slots.request_path(), &whole[..length]).unwrap();
            let made = slots.request_key(None).unwrap().public_key();
            assert_eq!(slots.request_key(None).unwrap().public_key(), made, "{length} bytes");
        }
    }
}
