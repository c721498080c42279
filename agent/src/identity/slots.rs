//! Two places for key and certificate: the one that is known to work, and the next one until it has been seen to work.
//!
//! Each is one file, so that a key and its certificate change in one step. Whatever dies when, one that works is left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use certs::{
    CertificateDer, FileError, KeyError, LoadError, TlsIdentity, generate_p256, read_p256, rename_file, write_p256,
};
use p256::{PublicKey, SecretKey};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Current,
    Next,
}

/// The folder of the cabinet's identity.
#[derive(Debug, Clone)]
pub struct Slots {
    folder: PathBuf,
}

impl Slots {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
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
    pub fn request_key(&self, in_use: Option<&PublicKey>) -> Result<SecretKey, KeyError> {
        let path = self.request_path();
        match read_p256(&path, None) {
            Ok(key) if in_use != Some(&key.public_key()) => return Ok(key),
            Ok(_) | Err(KeyError::NotPem { .. } | KeyError::OtherKind { .. }) => self.forget_request()?,
            Err(KeyError::File(FileError::Missing { .. })) => {}
            Err(error) => return Err(error),
        }
        let key = generate_p256()?;
        write_p256(&path, &key, None)?;
        Ok(key)
    }

    /// The certificate of the request is where it belongs.
    pub fn forget_request(&self) -> Result<(), FileError> {
        remove(&self.request_path())
    }

    pub fn read(&self, slot: Slot) -> Result<TlsIdentity, LoadError> {
        TlsIdentity::read_bundle(&self.path(slot))
    }

    /// Fills a place, over what was there.
    pub fn write(
        &self,
        slot: Slot,
        key: &SecretKey,
        chain: &[CertificateDer<'static>],
    ) -> Result<TlsIdentity, LoadError> {
        TlsIdentity::write_bundle(&self.path(slot), key, chain)
    }

    /// The next one works: the former one is not needed any more.
    pub fn promote(&self) -> Result<(), FileError> {
        rename_file(&self.path(Slot::Next), &self.path(Slot::Current))
    }

    /// The next one does not work.
    pub fn drop_next(&self) -> Result<(), FileError> {
        remove(&self.path(Slot::Next))
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FileError::Write { path: path.into(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use certs::{Authority, CertificateAuthority, LeafKey, LeafRequest, create_private};

    use super::*;

    #[test]
    fn a_key_waits_for_its_certificate_and_is_not_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::new(folder.path());
        let key = slots.request_key(None).unwrap();
        assert_eq!(slots.request_key(None).unwrap(), key, "after a crash it is asked for again");
        let (fleet, now) = ("acme".parse().unwrap(), SystemTime::now());
        let root = CertificateAuthority::new_root(&fleet, generate_p256().unwrap(), now).unwrap();
        let cabinets = root.new_intermediate(Authority::Cabinets, generate_p256().unwrap(), now).unwrap();
        let asked = LeafRequest::client("cabinet:acme:c1".parse().unwrap());
        let issued = cabinets.issue(&asked, &LeafKey::from(&key), now).unwrap();
        slots.write(Slot::Current, &key, &[issued.certificate]).unwrap();
        assert_eq!(slots.request_key(None).unwrap(), key, "a token is good for it until the cabinet is enrolled");
        let next = slots.request_key(Some(&key.public_key())).unwrap();
        assert_ne!(next, key, "its certificate is in use already");
        slots.forget_request().unwrap();
        slots.forget_request().unwrap();
        assert_ne!(slots.request_key(None).unwrap(), next);
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
            let made = slots.request_key(None).unwrap();
            assert_eq!(slots.request_key(None).unwrap(), made, "{length} bytes");
        }
    }
}
