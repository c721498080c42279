//! What a test has before it: tokens, their library and names of keys.

use std::path::{Path, PathBuf};
use std::process::Command;

use certs::{Passphrase, TokenUri};
use cryptoki::context::Pkcs11;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::softhsm::{SoftHsm, pin_file};

pub(crate) const PIN: &str = "271828";
const FOLDER: &str = "TOKEN_TEST_FOLDER";
const LIBRARY: &str = "TOKEN_TEST_LIBRARY";

/// Runs `test` in a process of its own with fresh tokens of these labels.
pub(crate) fn with_tokens(name: &str, tokens: &[&str], test: impl FnOnce(&Bench)) {
    if let (Some(folder), Some(library)) = (std::env::var_os(FOLDER), std::env::var_os(LIBRARY)) {
        return test(&Bench { folder: folder.into(), library: library.into() });
    }
    let Some(hsm) = SoftHsm::find() else { return };
    for label in tokens {
        hsm.token(label, PIN);
    }
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", hsm.settings())
        .env(FOLDER, hsm.folder())
        .env(LIBRARY, hsm.library())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    assert!(!said.contains(PIN), "the PIN was said: {said}");
}

pub(crate) struct Bench {
    pub(crate) folder: PathBuf,
    pub(crate) library: PathBuf,
}

impl Bench {
    /// A key in a token, whose PIN is in its file.
    pub(crate) fn key(&self, token: &str, object: &str) -> TokenUri {
        self.named(&format!("token={token};object={object}"), token)
    }

    pub(crate) fn named(&self, what: &str, pin_of: &str) -> TokenUri {
        let pin = pin_file(&self.folder, pin_of);
        let text = format!("pkcs11:{what}?module-path={}&pin-source=file:{}", self.library.display(), pin.display());
        text.parse().unwrap()
    }

    /// The same without a file for the PIN.
    pub(crate) fn without_pin(&self, token: &str, object: &str) -> TokenUri {
        let text = format!("pkcs11:token={token};object={object}?module-path={}", self.library.display());
        text.parse().unwrap()
    }

    pub(crate) fn pin_file(&self, token: &str) -> PathBuf {
        pin_file(&self.folder, token)
    }

    /// A session beside those of the code that is tested.
    pub(crate) fn session(&self, token: &str) -> Session {
        let library = Pkcs11::new(&self.library).unwrap();
        let slots = library.get_slots_with_token().unwrap();
        let slot = slots.into_iter().find(|slot| library.get_token_info(*slot).unwrap().label() == token).unwrap();
        let session = library.open_rw_session(slot).unwrap();
        // The whole process may be logged in already.
        let _ = session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned())));
        session
    }

    /// Every session of the process is lost, as when the library's daemon was started again.
    pub(crate) fn lose_sessions(&self) {
        Pkcs11::new(&self.library).unwrap().finalize().unwrap();
    }

    /// The folder of the only token.
    pub(crate) fn token_folder(&self) -> PathBuf {
        let mut found: Vec<_> = self.folder.join("tokens").read_dir().unwrap().collect();
        assert_eq!(found.len(), 1);
        found.pop().unwrap().unwrap().path()
    }
}

pub(crate) fn pin() -> Passphrase {
    Passphrase::new(PIN)
}

pub(crate) fn replace(path: &Path, text: &str) {
    std::fs::remove_file(path).unwrap();
    certs::create_private(path, text.as_bytes()).unwrap();
}
