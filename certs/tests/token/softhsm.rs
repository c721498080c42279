//! Tokens in a temporary folder: SoftHSM, which reads its settings once a process.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where distributions keep the library.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

pub(crate) struct SoftHsm {
    folder: TempDir,
    library: PathBuf,
}

impl SoftHsm {
    /// A test without it is skipped on a laptop and fails where all tools are required.
    pub(crate) fn find() -> Option<Self> {
        let library = LIBRARIES.into_iter().map(PathBuf::from).find(|path| path.exists());
        let utility = Command::new("softhsm2-util").arg("--version").output().is_ok_and(|said| said.status.success());
        let Some(library) = library.filter(|_| utility) else {
            let required = std::env::var_os("REQUIRE_TOOLS").is_some_and(|value| value == "1");
            assert!(!required, "softhsm2 is not installed but REQUIRE_TOOLS=1");
            eprintln!("SKIPPED: softhsm2 is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tokens")).unwrap();
        let tokens = folder.path().join("tokens");
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        std::fs::write(folder.path().join("softhsm2.conf"), text).unwrap();
        Some(Self { folder, library })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// For SOFTHSM2_CONF.
    pub(crate) fn settings(&self) -> PathBuf {
        self.folder().join("softhsm2.conf")
    }

    pub(crate) fn library(&self) -> &Path {
        &self.library
    }

    /// Makes a token, and a private file `<label>.pin` with its PIN.
    pub(crate) fn token(&self, label: &str, pin: &str) {
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", self.settings())
            .args(["--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-pin-4711"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = pin_file(self.folder(), label);
        if !file.exists() {
            certs::create_private(&file, pin.as_bytes()).unwrap();
        }
    }
}

pub(crate) fn pin_file(folder: &Path, label: &str) -> PathBuf {
    folder.join(format!("{label}.pin"))
}
