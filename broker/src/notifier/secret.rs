//! The file of a channel's secret: in the first line where it may be sent, in the second the secret.
//!
//! Whoever may put channels can so not send a secret, or codes, to a server that whoever looks after this host has not named.

use std::path::Path;

use certs::FileError;
use zeroize::Zeroizing;

const SECRET_MAX: usize = 512;

/// What proves to a gateway who sends. Empty where it wants nothing.
pub(super) struct Secret(Zeroizing<String>);

/// Why a channel's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("the secret's file cannot be used")]
    File(#[from] FileError),
    #[error("the first line of the secret's file has to be `{0}`: where it may be sent")]
    OtherServer(String),
    #[error("the secret's file has two lines of printable text at most: where it may be sent, and the secret")]
    Shape,
}

impl SecretError {
    /// For people who have no access to this host.
    pub(super) fn short(&self) -> &'static str {
        match self {
            Self::File(FileError::Missing { .. }) => "the secret's file is missing",
            Self::File(FileError::OpenToOthers { .. }) => "the secret's file is open to others",
            Self::File(_) => "the secret's file cannot be read",
            Self::OtherServer(_) => "the secret is for another server",
            Self::Shape => "the secret's file has another form",
        }
    }
}

impl Secret {
    pub(super) fn read(path: &Path, origin: &str) -> Result<Self, SecretError> {
        let bytes = certs::read_private(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::Shape)?;
        let mut lines = text.lines();
        if lines.next().map(str::trim) != Some(origin) {
            return Err(SecretError::OtherServer(origin.to_owned()));
        }
        let secret = lines.next().unwrap_or_default().trim();
        let fits = secret.len() <= SECRET_MAX && secret.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !fits || lines.any(|line| !line.trim().is_empty()) {
            return Err(SecretError::Shape);
        }
        Ok(Self(Zeroizing::new(secret.to_owned())))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_for_the_server_that_its_file_names_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sms");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = Secret::read(&path, "https://a.example");
            read.map(|secret| secret.reveal().to_owned()).map_err(|error| error.short())
        };
        assert_eq!(read("https://a.example\nhunter2 x\n", 0o600).unwrap(), "hunter2 x");
        assert_eq!(read("https://a.example", 0o600).unwrap(), "");
        assert_eq!(read("https://a.example.evil\nhunter2", 0o600).unwrap_err(), "the secret is for another server");
        assert_eq!(read("hunter2", 0o600).unwrap_err(), "the secret is for another server");
        assert_eq!(read("https://a.example\nhunter2\nmore", 0o600).unwrap_err(), "the secret's file has another form");
        assert_eq!(read("https://a.example\nhunter2", 0o640).unwrap_err(), "the secret's file is open to others");
        fs::remove_file(&path).unwrap();
        assert!(matches!(Secret::read(&path, ""), Err(SecretError::File(FileError::Missing { .. }))));
    }
}
