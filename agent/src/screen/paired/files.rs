//! The folder of a paired screen: the agent's end of the cable, and what the screen's key hashes to.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use certs::{FileError, LinkCertificates, LinkError, LoadError};
use rustls::ServerConfig;
use tracing::warn;

const KEY: &str = "screen.key.sha256";
const BUNDLE: &str = "pem";

/// Why a screen that is a computer of its own cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
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
        self.0.join(KEY)
    }

    /// Named by the address, since it is good for no other.
    fn bundle(&self, address: IpAddr) -> PathBuf {
        self.0.join(format!("{address}.{BUNDLE}"))
    }

    /// The agent's end of the cable. Made once for each address: a screen that knows the certificate needs no other.
    pub(super) fn server(&self, address: IpAddr, cabinet: &str) -> Result<ServerConfig, FolderError> {
        certs::ensure_private_dir(&self.0)?;
        let bundle = self.bundle(address);
        match certs::link_server_config(&bundle) {
            Err(LoadError::File(FileError::Missing { .. })) => {
                let made = LinkCertificates::new(address, cabinet)?;
                certs::replace_private(&bundle, made.bundle_pem()?.as_bytes())?;
                Ok(certs::link_server_config(&bundle)?)
            }
            other => Ok(other?),
        }
    }

    /// What the screen's browser has to trust, as PEM.
    pub(super) fn authority(&self, address: IpAddr) -> Result<String, LoadError> {
        certs::link_authority_pem(&self.bundle(address))
    }

    /// Leaves nothing of what this room has made, as when the cabinet is erased. Whatever else somebody keeps in the folder
    /// that the settings name is not ours.
    pub(crate) fn destroy(&self) -> Result<(), FileError> {
        let failed = |source| FileError::Read { path: self.0.clone(), source };
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if is_own(&path) {
                certs::destroy_file(&path)?;
            }
        }
        match fs::remove_dir(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(folder = %self.0.display(), %error, "the folder of the paired screen stays");
            }
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }
}

/// A name that is given here, or that of a file that a power cut kept from getting it.
fn is_own(path: &Path) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let Some(name) = path.file_name().and_then(OsStr::to_str).filter(|_| is_file) else { return false };
    let whole =
        name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")).and_then(|name| name.rsplit_once('.'));
    let name = whole.map_or(name, |(name, _unique)| name);
    let address = name.strip_suffix(BUNDLE).and_then(|stem| stem.strip_suffix('.'));
    name == KEY || address.is_some_and(|address| address.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_once_stays_and_what_is_damaged_is_named_and_not_replaced() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(&place.path().join("paired-screen"));
        let address = "192.168.77.1".parse().unwrap();
        assert!(folder.authority(address).is_err());
        folder.server(address, "berlin-01").unwrap();
        let trusted = folder.authority(address).unwrap();
        folder.server(address, "berlin-01").unwrap();
        assert_eq!(folder.authority(address).unwrap(), trusted);
        certs::replace_private(&folder.bundle(address), b"-----BEGIN").unwrap();
        let error = folder.server(address, "berlin-01").unwrap_err().to_string();
        assert!(error.contains("192.168.77.1.pem"), "{error}");
    }

    #[test]
    fn nothing_but_what_was_made_here_is_destroyed() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path());
        folder.destroy().unwrap();
        fs::create_dir(place.path()).unwrap();
        let named = |name: &str| place.path().join(name);
        let own = ["192.168.77.1.pem", "fd00::1.pem", KEY, ".screen.key.sha256.00aa.tmp", ".192.168.77.1.pem.00aa.tmp"];
        let foreign = ["current.pem", "agent.toml", "root.crt", ".hidden.tmp", "pem", ".pem", "screen.url"];
        for name in own.into_iter().chain(foreign) {
            fs::write(named(name), "content").unwrap();
        }
        fs::create_dir(named("lost+found")).unwrap();
        std::os::unix::fs::symlink(named("agent.toml"), named("10.0.0.1.pem")).unwrap();
        folder.destroy().unwrap();
        assert!(own.iter().all(|name| !named(name).exists()));
        for name in foreign {
            assert_eq!(fs::read(named(name)).unwrap(), b"content", "{name}");
        }
    }
}
