//! Erasing a cabinet. A file says how far it is, so that a power cut changes nothing but the time:
//!
//! | file in the identity's folder | says |
//! |---|---|
//! | `wipe.pending` | the store has to go; what the receipt will say |
//! | `receipt.cose` | the store is gone; the fleet has to hear of it |
//! | `discard.cose` | the fleet has heard; the identity has to go |
//! | `wiped.cose` | the identity is gone, too |
//!
//! These change in one step each. A file that is being overwritten is none that says anything.
//!
//! Files are overwritten before they are removed. On flash memory that may leave their old blocks behind: what is in those
//! is worth nothing without the device key, which has 32 bytes in a file of its own and goes with them.

use std::path::{Path, PathBuf};

use certs::{FileError, LoadError, destroy_file, read_private, remove_file, rename_file, replace_private};
use p256::ecdsa::Signature;
use schemas::cbor::{self, CborError};
use schemas::crypto::receipt;
use schemas::messages::Receipt;
use tracing::{info, warn};

use crate::identity::{Slot, Slots};
use crate::screen::paired::Folder;

/// Why a cabinet cannot be erased.
#[derive(Debug, thiserror::Error)]
pub enum WipeError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}` does not say what is to be erased", path.display())]
    Pending {
        path: PathBuf,
        #[source]
        source: CborError,
    },
    #[error("this cabinet's key")]
    Key(#[from] LoadError),
    #[error("this cabinet's key makes no signatures of its kind")]
    Signature,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nobody wants this cabinet to be erased.
    None,
    /// What the fleet has to be told.
    Receipt(Vec<u8>),
    /// Everything is gone. Where the receipt is.
    Over(PathBuf),
}

/// The files of one cabinet.
#[derive(Debug, Clone)]
pub struct Files {
    identity: Slots,
    store: PathBuf,
    device_key: PathBuf,
    paired: Folder,
}

impl Files {
    pub fn new(identity: Slots, store: &Path, device_key: &Path, paired: &Path) -> Self {
        Self { identity, store: store.into(), device_key: device_key.into(), paired: Folder::new(paired) }
    }

    fn named(&self, name: &str) -> PathBuf {
        self.identity.folder().join(name)
    }

    fn pending(&self) -> PathBuf {
        self.named("wipe.pending")
    }

    fn receipt(&self) -> PathBuf {
        self.named("receipt.cose")
    }

    fn discarding(&self) -> PathBuf {
        self.named("discard.cose")
    }

    fn wiped(&self) -> PathBuf {
        self.named("wiped.cose")
    }

    fn settings(&self) -> PathBuf {
        self.named("identity.toml")
    }

    /// Goes on with what a former run began.
    pub fn resume(&self) -> Result<Progress, WipeError> {
        let pending = self.pending();
        if pending.exists() {
            let bytes = read_private(&pending)?;
            let receipt = cbor::decode(&bytes).map_err(|source| WipeError::Pending { path: pending, source })?;
            self.carry_out(&receipt)?;
        }
        if self.discarding().exists() {
            return self.finish_discarding().map(Progress::Over);
        }
        if self.receipt().exists() {
            return Ok(Progress::Receipt(read_private(&self.receipt())?.to_vec()));
        }
        let is_known = [Slot::Current, Slot::Next].iter().any(|slot| self.identity.path(*slot).exists());
        if self.wiped().exists() && !is_known && self.settings().exists() {
            // The last step of all.
            remove_file(&self.settings())?;
            return Ok(Progress::Over(self.wiped()));
        }
        Ok(Progress::None)
    }

    /// Erases what the cabinet knows. The store must be closed.
    pub fn erase(&self, receipt: &Receipt) -> Result<(), WipeError> {
        replace_private(&self.pending(), &cbor::encode(receipt))?;
        self.carry_out(receipt)
    }

    fn carry_out(&self, receipt: &Receipt) -> Result<(), WipeError> {
        // The key first: what is left of the store without it is noise.
        for path in [&self.device_key, &self.store] {
            destroy_file(path)?;
        }
        self.paired.destroy()?;
        let signed = self.signed(receipt)?;
        replace_private(&self.receipt(), &signed)?;
        remove_file(&self.pending())?;
        info!(
            orders = receipt.orders,
            credentials = receipt.credentials,
            events = receipt.events,
            "this cabinet is erased"
        );
        Ok(())
    }

    fn signed(&self, claims: &Receipt) -> Result<Vec<u8>, WipeError> {
        let own = self.identity.read(Slot::Current).or_else(|error| {
            warn!(error = %format!("{:#}", anyhow::Error::new(error)), "the current certificate cannot be used");
            self.identity.read(Slot::Next)
        })?;
        let chain: Vec<Vec<u8>> = own.chain().iter().map(|certificate| certificate.to_vec()).collect();
        receipt::sign(claims, &chain, |bytes| {
            let signature = Signature::from_der(&own.sign(bytes)?).map_err(|_| WipeError::Signature)?;
            Ok(signature.to_bytes().into())
        })
    }

    /// The fleet has the receipt: destroys what the cabinet was known by, and the empty store. Returns where the receipt is.
    pub fn discard(&self) -> Result<PathBuf, WipeError> {
        // A person may have taken the receipt away: the fleet has it, and nothing else of this cabinet is to stay.
        if self.receipt().exists() {
            rename_file(&self.receipt(), &self.discarding())?;
        }
        self.finish_discarding()
    }

    fn finish_discarding(&self) -> Result<PathBuf, WipeError> {
        self.identity.destroy()?;
        for path in [&self.device_key, &self.store] {
            destroy_file(path)?;
        }
        // Made anew for as long as the receipt waited.
        self.paired.destroy()?;
        let kept = self.wiped();
        if self.discarding().exists() {
            rename_file(&self.discarding(), &kept)?;
        }
        // Behind the rename: a cabinet that is enrolled anew must not find that there is something to discard.
        remove_file(&self.settings())?;
        info!(receipt = %kept.display(), "this cabinet was wiped; `cabinet-agent enroll` puts it into service again");
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use certs::{
        Authority, CertificateAuthority, LeafKey, LeafRequest, Summary, create_private, ensure_private_dir,
        generate_p256,
    };
    use schemas::crypto::receipt::Unverified;
    use schemas::messages::{CommandId, Instance};

    use super::*;

    fn claims() -> Receipt {
        Receipt {
            tenant: "acme".parse().unwrap(),
            cabinet: "c1".parse().unwrap(),
            instance: Instance([1; 16]),
            command: CommandId([2; 16]),
            requester: "operator:acme:eve".into(),
            at: None,
            orders: 1,
            credentials: 2,
            staff: 3,
            events: 4,
            unsent: 0,
        }
    }

    /// A cabinet with everything that one has, in `folder`.
    fn cabinet(folder: &Path) -> Files {
        let identity = folder.join("identity");
        ensure_private_dir(&identity).unwrap();
        let named = |name: &str| folder.join(name);
        let files =
            Files::new(Slots::new(&identity), &named("cabinet.redb"), &named("device.key"), &named("paired-screen"));
        let (fleet, now) = ("acme".parse().unwrap(), SystemTime::now());
        let root = CertificateAuthority::new_root(&fleet, generate_p256().unwrap(), now).unwrap();
        let cabinets = root.new_intermediate(Authority::Cabinets, generate_p256().unwrap(), now).unwrap();
        let key = generate_p256().unwrap();
        let asked = LeafRequest::client("cabinet:acme:c1".parse().unwrap());
        let issued = cabinets.issue(&asked, &LeafKey::from(key.public_key()), now).unwrap();
        files.identity.write(Slot::Current, &key.into(), &[issued.certificate]).unwrap();
        fs::write(&files.store, b"rows").unwrap();
        create_private(&files.device_key, &[7; 32]).unwrap();
        ensure_private_dir(&folder.join("paired-screen")).unwrap();
        create_private(&folder.join("paired-screen/screen.key.sha256"), b"0").unwrap();
        create_private(&identity.join("identity.toml"), b"tenant = \"acme\"\n").unwrap();
        files
    }

    fn is_proven(receipt: &[u8]) -> bool {
        let read = Unverified::read(receipt).unwrap();
        let leaf = Summary::read(&read.chain()[0].clone().into()).unwrap();
        read.verify(&leaf.public_key.to_sec1_bytes()).unwrap() == claims()
    }

    #[test]
    fn a_cabinet_is_erased_then_discarded_and_leaves_its_receipt() {
        let folder = tempfile::tempdir().unwrap();
        let files = cabinet(folder.path());
        assert_eq!(files.resume().unwrap(), Progress::None);
        files.erase(&claims()).unwrap();
        assert!(!files.store.exists() && !files.device_key.exists() && !folder.path().join("paired-screen").exists());
        let Progress::Receipt(receipt) = files.resume().unwrap() else { panic!() };
        assert!(is_proven(&receipt));
        let kept = files.discard().unwrap();
        assert_eq!(fs::read(&kept).unwrap(), receipt);
        let left: Vec<_> = fs::read_dir(files.identity.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [kept]);
        assert_eq!(files.resume().unwrap(), Progress::None, "it may be enrolled again");
    }

    /// Wherever it is cut off: each file that goes is taken away in turn, as a run that died behind it leaves things.
    #[test]
    fn an_erasing_that_was_cut_off_anywhere_is_finished() {
        for gone in 0..=2 {
            let folder = tempfile::tempdir().unwrap();
            let files = cabinet(folder.path());
            replace_private(&files.pending(), &cbor::encode(&claims())).unwrap();
            for path in [&files.device_key, &files.store].into_iter().take(gone) {
                fs::remove_file(path).unwrap();
            }
            let Progress::Receipt(receipt) = files.resume().unwrap() else { panic!() };
            assert!(is_proven(&receipt) && !files.store.exists() && !files.device_key.exists(), "{gone}");
            // The receipt was there and the note was not taken away.
            replace_private(&files.pending(), &cbor::encode(&claims())).unwrap();
            assert!(matches!(files.resume().unwrap(), Progress::Receipt(_)), "{gone}");
            assert!(!files.pending().exists());
        }
    }

    #[test]
    fn a_discarding_that_was_cut_off_anywhere_is_finished() {
        let all =
            ["identity/current.pem", "device.key", "cabinet.redb", "identity/discard.cose", "identity/identity.toml"];
        for gone in 0..all.len() {
            for half in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let files = cabinet(folder.path());
                files.erase(&claims()).unwrap();
                // The empty store that told of it.
                fs::write(&files.store, b"receipt").unwrap();
                create_private(&files.device_key, &[8; 32]).unwrap();
                rename_file(&files.receipt(), &files.discarding()).unwrap();
                for name in all.iter().take(gone) {
                    match *name {
                        "identity/discard.cose" => rename_file(&files.discarding(), &files.wiped()).unwrap(),
                        name => fs::remove_file(folder.path().join(name)).unwrap(),
                    }
                }
                // The next one was overwritten and not yet removed.
                if half && gone < 3 {
                    fs::write(folder.path().join(all[gone]), [0; 64]).unwrap();
                }
                let Progress::Over(kept) = files.resume().unwrap() else { panic!("{gone}") };
                assert!(is_proven(&fs::read(kept).unwrap()));
                for name in all {
                    assert!(!folder.path().join(name).exists(), "{name} behind {gone}");
                }
                assert_eq!(files.resume().unwrap(), Progress::None);
            }
        }
    }

    #[test]
    fn a_receipt_that_was_taken_away_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let files = cabinet(folder.path());
        files.erase(&claims()).unwrap();
        fs::remove_file(files.receipt()).unwrap();
        files.discard().unwrap();
        assert_eq!(fs::read_dir(files.identity.folder()).unwrap().count(), 0);
        assert_eq!(files.resume().unwrap(), Progress::None);
    }

    #[test]
    fn a_note_that_is_damaged_erases_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = cabinet(folder.path());
        replace_private(&files.pending(), b"\x81").unwrap();
        assert!(matches!(files.resume(), Err(WipeError::Pending { .. })));
        assert!(files.store.exists() && files.device_key.exists());
    }
}
