//! The folder of a paired screen: what its browser is to believe, what the agent shows it, and what its key hashes to.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use certs::{FileError, LinkCertificates, LinkError, LoadError};
use rustls::ServerConfig;

/// Why a screen that is a computer of its own cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("make the certificate of the screen's cable")]
    Make(#[from] LinkError),
}

#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.into())
    }

    /// SHA-256 of the key of the screen that is paired, in hexadecimal.
    pub(super) fn key(&self) -> PathBuf {
        self.0.join("screen.key.sha256")
    }

    /// For the screen's browser. Named by the address, since it is good for no other.
    pub(super) fn authority(&self, address: IpAddr) -> PathBuf {
        self.0.join(format!("{address}.crt"))
    }

    fn bundle(&self, address: IpAddr) -> PathBuf {
        self.0.join(format!("{address}.pem"))
    }

    /// The agent's end of the cable. Made once for each address: a screen that knows the certificate needs no other.
    pub(super) fn server(&self, address: IpAddr, cabinet: &str) -> Result<ServerConfig, FolderError> {
        certs::ensure_private_dir(&self.0)?;
        let bundle = self.bundle(address);
        if !bundle.exists() {
            let made = LinkCertificates::new(address, cabinet)?;
            // The bundle last: as long as it is missing, both are made.
            certs::replace_private(&self.authority(address), made.authority_pem().as_bytes())?;
            certs::replace_private(&bundle, made.bundle_pem()?.as_bytes())?;
        }
        Ok(certs::link_server_config(&bundle)?)
    }

    /// Leaves nothing of what is in here, as when the cabinet is erased.
    pub(crate) fn destroy(&self) -> Result<(), FileError> {
        let failed = |source| FileError::Read { path: self.0.clone(), source };
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            certs::destroy_file(&entry.map_err(failed)?.path())?;
        }
        std::fs::remove_dir(&self.0).map_err(failed)
    }
}
