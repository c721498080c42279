//! Two places for key and certificate: the one that is known to work, and the next one until it has been seen to work.
//!
//! Each is one file, so that a key and its certificate change in one step. Whatever dies when, one that works is left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use certs::{CertificateDer, FileError, LoadError, TlsIdentity, rename_file};
use p256::SecretKey;

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
    pub fn request_key(&self) -> PathBuf {
        self.folder.join("request.key")
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
        let own = TlsIdentity::write_bundle(&self.path(slot), key, chain)?;
        self.forget_request()?;
        Ok(own)
    }

    /// The next one works: the former one is not needed any more.
    pub fn promote(&self) -> Result<(), FileError> {
        rename_file(&self.path(Slot::Next), &self.path(Slot::Current))
    }

    /// The next one does not work.
    pub fn drop_next(&self) -> Result<(), FileError> {
        remove(&self.path(Slot::Next))
    }

    fn forget_request(&self) -> Result<(), FileError> {
        remove(&self.request_key())
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FileError::Write { path: path.into(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}
