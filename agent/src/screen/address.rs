//! The secret of this start, and the file that tells it to the browser on the cabinet.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use certs::{FileError, create_private};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 16;
/// What HTTP leaves out of a `Host`, and what it leaves out over TLS.
pub(super) const HTTP_PORT: u16 = 80;
pub(super) const HTTPS_PORT: u16 = 443;

/// 128 random bits, new at each start, in hexadecimal. No Debug.
pub(super) struct ScreenKey(Zeroizing<String>);

impl ScreenKey {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *bytes)?;
        Ok(Self(Zeroizing::new(format!("{:032x}", u128::from_be_bytes(*bytes)))))
    }

    /// In constant time for a text of the right length.
    pub(super) fn is(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

/// Our address as browsers write it into `Host`.
pub(super) fn authority(address: SocketAddr, usual: u16) -> String {
    match address {
        SocketAddr::V4(v4) if v4.port() == usual => v4.ip().to_string(),
        SocketAddr::V6(v6) if v6.port() == usual => format!("[{}]", v6.ip()),
        // A scope id has no place in a URL.
        SocketAddr::V6(v6) => format!("[{}]:{}", v6.ip(), v6.port()),
        SocketAddr::V4(v4) => v4.to_string(),
    }
}

/// Replaces the address file in one step; nobody but its owner can read it at any time.
pub(super) fn publish(path: &Path, authority: &str, key: &ScreenKey) -> Result<(), FileError> {
    let failed = |source: io::Error| FileError::Write { path: path.into(), source };
    let new = beside(path);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    // The key follows `#`: browsers send that part to no server and put it into no Referer.
    let line = Zeroizing::new(format!("http://{authority}/#key={}\n", *key.0));
    create_private(&new, line.as_bytes())?;
    fs::rename(&new, path).map_err(failed)
}

/// One name, so that crashes leave at most one such file.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn authority_is_what_browsers_send() {
        for (address, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::1]:80", "[::1]"),
        ] {
            assert_eq!(authority(address.parse().unwrap(), HTTP_PORT), expected);
        }
        assert_eq!(authority("192.168.77.1:443".parse().unwrap(), HTTPS_PORT), "192.168.77.1");
        assert_eq!(authority("192.168.77.1:80".parse().unwrap(), HTTPS_PORT), "192.168.77.1:80");
    }

    #[test]
    fn address_file_is_private_and_a_new_start_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen.url");
        // An older file open to all, and what a crash left behind.
        fs::write(&path, "old").unwrap();
        fs::write(beside(&path), "torn").unwrap();
        let (one, two) = (ScreenKey::random().unwrap(), ScreenKey::random().unwrap());
        publish(&path, "127.0.0.1:8080", &one).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        publish(&path, "127.0.0.1:8080", &two).unwrap();
        assert_ne!(first, fs::read_to_string(&path).unwrap());
        let key = first.trim_end().strip_prefix("http://127.0.0.1:8080/#key=").unwrap();
        assert!(one.is(key.as_bytes()) && !two.is(key.as_bytes()) && !one.is(b""));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/screen.url");
        let error = publish(&path, "127.0.0.1:8080", &ScreenKey::random().unwrap()).unwrap_err();
        assert!(error.to_string().contains("none/screen.url"), "{error}");
    }
}
