//! The code of a technician, and the key that a screen gets for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use certs::FileError;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::files::Folder;
use crate::boards::BootClock;

const CODE_DIGITS: usize = 8;
const CODES: u32 = 100_000_000;
/// Time to walk to the screen and to type.
const CODE_MILLIS: u64 = 10 * 60 * 1000;
/// One in twenty million for whoever tries.
const TRIES: u8 = 5;
const KEY_BYTES: usize = 32;

/// What a technician types at the screen. No Debug.
pub(in crate::screen) struct Offer {
    /// Eight digits.
    pub(in crate::screen) code: Zeroizing<String>,
    /// Milliseconds.
    pub(in crate::screen) lasts: u64,
}

/// Who may call over the cable. A code is in memory only and works once; of a key there is its hash.
pub(in crate::screen) struct Pairing {
    folder: Folder,
    clock: BootClock,
    /// Every call reads it: nobody holds it while a disk is waited for.
    key: watch::Sender<Option<Hash>>,
    /// Nor this one.
    offered: Mutex<Offered>,
    /// Held by the one who writes the file.
    writing: Mutex<()>,
}

pub(in crate::screen) type Hash = [u8; 32];

#[derive(Default)]
struct Offered {
    code: Option<Code>,
    /// How often a technician has ended all pairing.
    ends: u64,
}

struct Code {
    digits: Zeroizing<String>,
    until: u64,
    tries: u8,
}

impl Pairing {
    /// A file that was cut off or changed pairs nobody: the cabinet goes on without this screen.
    pub(in crate::screen) fn open(folder: Folder, clock: BootClock) -> Self {
        let key = watch::Sender::new(on_disk(&folder));
        Self { folder, clock, key, offered: Mutex::default(), writing: Mutex::default() }
    }

    pub(in crate::screen) fn is_paired(&self) -> bool {
        self.key.borrow().is_some()
    }

    pub(in crate::screen) fn is_key(&self, presented: &[u8]) -> bool {
        let hash: Hash = Sha256::digest(presented).into();
        self.key.borrow().is_some_and(|key| key.ct_eq(&hash).into())
    }

    /// Hears when another screen is paired, or none.
    pub(in crate::screen) fn changes(&self) -> watch::Receiver<Option<Hash>> {
        self.key.subscribe()
    }

    /// A new code, in the place of an older one.
    pub(in crate::screen) fn offer(&self) -> Result<Offer, getrandom::Error> {
        let digits = Zeroizing::new(format!("{:0CODE_DIGITS$}", number_below(CODES)?));
        let until = (self.clock)() + CODE_MILLIS;
        self.offered().code = Some(Code { digits: digits.clone(), until, tries: TRIES });
        info!("a code was made that pairs a screen");
        Ok(Offer { code: digits, lasts: CODE_MILLIS })
    }

    /// The key of the screen that typed the code, and of no other from here on. `None`: it is not the code, or there is
    /// none. Waits for the disk.
    pub(in crate::screen) fn pair(&self, typed: &str) -> Result<Option<Zeroizing<String>>, PairingError> {
        let Some(ends) = self.use_up(typed) else { return Ok(None) };
        let Ok(_writing) = self.writing.try_lock() else { return Err(PairingError::Busy) };
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *bytes)?;
        let key = Zeroizing::new(data_encoding::HEXLOWER.encode(&*bytes));
        let hash: Hash = Sha256::digest(key.as_bytes()).into();
        let path = self.folder.key();
        let written = certs::replace_private(&path, data_encoding::HEXLOWER.encode(&hash).as_bytes());
        // Perhaps the new one is there and could not be made safe: what is there counts, now as after a start.
        let written = written.map_err(|error| (error, on_disk(&self.folder)));
        let offered = self.offered();
        if offered.ends != ends {
            drop(offered);
            certs::remove_file(&path)?;
            return Ok(None);
        }
        if let Err((error, kept)) = written {
            self.key.send_replace(kept);
            return Err(error.into());
        }
        self.key.send_replace(Some(hash));
        info!("a screen is paired; an earlier one is no longer");
        Ok(Some(key))
    }

    /// True once for each code. What cannot be a code counts as no try.
    fn use_up(&self, typed: &str) -> Option<u64> {
        let now = (self.clock)();
        let mut offered = self.offered();
        let Offered { code: held, ends } = &mut *offered;
        let code = held.as_mut().filter(|code| now < code.until)?;
        if typed.len() != CODE_DIGITS || !typed.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if bool::from(code.digits.as_bytes().ct_eq(typed.as_bytes())) {
            *held = None;
            return Some(*ends);
        }
        code.tries -= 1;
        warn!(left = code.tries, "somebody typed a wrong code at a screen that is not paired");
        if code.tries == 0 {
            *held = None;
        }
        None
    }

    /// No screen is paired any more, and no code pairs one: at once, whatever the disk says. An error is about the next
    /// start.
    pub(in crate::screen) fn end(&self) -> Result<(), PairingError> {
        {
            let mut offered = self.offered();
            *offered = Offered { code: None, ends: offered.ends + 1 };
            self.key.send_replace(None);
        }
        info!("no screen is paired any more");
        let Ok(_writing) = self.writing.try_lock() else { return Err(PairingError::Busy) };
        Ok(certs::remove_file(&self.folder.key())?)
    }

    fn offered(&self) -> MutexGuard<'_, Offered> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn on_disk(folder: &Folder) -> Option<Hash> {
    match certs::read_private(&folder.key()) {
        Ok(bytes) => {
            let hash = data_encoding::HEXLOWER.decode(&bytes).ok().and_then(|hash| hash.try_into().ok());
            if hash.is_none() {
                warn!(file = %folder.key().display(), "is no hash of a key; pair the screen again");
            }
            hash
        }
        Err(FileError::Missing { .. }) => None,
        Err(error) => {
            warn!(%error, "nobody knows which screen was paired; mend that or pair it again");
            None
        }
    }
}

/// Why a screen that typed the right code has no key.
#[derive(Debug, thiserror::Error)]
pub(in crate::screen) enum PairingError {
    #[error("make a key")]
    NoRandom(#[from] getrandom::Error),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("another change of it still waits for the disk")]
    Busy,
}

/// Each number is as likely as the others.
fn number_below(limit: u32) -> Result<u32, getrandom::Error> {
    let whole = u32::MAX - u32::MAX % limit;
    loop {
        let drawn = getrandom::u32()?;
        if drawn < whole {
            return Ok(drawn % limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct World {
        folder: tempfile::TempDir,
        now: Arc<AtomicU64>,
    }

    impl World {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), now: Arc::new(AtomicU64::new(5)) }
        }

        fn file(&self) -> std::path::PathBuf {
            Folder::new(self.folder.path()).key()
        }

        /// As after a start of the agent.
        fn pairing(&self) -> Pairing {
            let now = Arc::clone(&self.now);
            Pairing::open(Folder::new(self.folder.path()), Arc::new(move || now.load(Ordering::Relaxed)))
        }
    }

    fn paired(pairing: &Pairing) -> Zeroizing<String> {
        let offer = pairing.offer().unwrap();
        pairing.pair(&offer.code).unwrap().unwrap()
    }

    fn other_than(code: &str) -> String {
        code.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect()
    }

    #[test]
    fn a_code_pairs_once_and_its_key_stays_good_over_a_start() {
        let world = World::new();
        let pairing = world.pairing();
        assert!(!pairing.is_key(b"") && pairing.pair("").unwrap().is_none() && !pairing.is_paired());
        let code = pairing.offer().unwrap().code;
        assert!(code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_digit()), "{}", *code);
        let key = pairing.pair(&code).unwrap().unwrap();
        assert!(pairing.pair(&code).unwrap().is_none(), "a pairing that is played again");
        assert!(pairing.is_key(key.as_bytes()) && world.pairing().is_key(key.as_bytes()));
        assert!(!pairing.is_key(code.as_bytes()) && !pairing.is_key(b"") && !pairing.is_key(&key.as_bytes()[1..]));
        let kept = std::fs::read_to_string(world.file()).unwrap();
        assert!(!kept.contains(&*key), "the key itself is kept nowhere");
        assert!(!pairing.is_key(kept.as_bytes()), "whoever reads the hash has no key");
    }

    #[test]
    fn the_next_screen_takes_the_place_of_the_one_before() {
        let world = World::new();
        let pairing = world.pairing();
        let (one, two) = (paired(&pairing), paired(&pairing));
        assert!(!pairing.is_key(one.as_bytes()) && pairing.is_key(two.as_bytes()));
        pairing.end().unwrap();
        assert!(!pairing.is_key(two.as_bytes()) && !world.pairing().is_paired());
        pairing.end().unwrap();
    }

    #[test]
    fn a_code_ends_by_time_by_wrong_tries_by_the_next_one_and_with_the_agent() {
        let world = World::new();
        let pairing = world.pairing();
        let code = pairing.offer().unwrap().code;
        world.now.fetch_add(CODE_MILLIS, Ordering::Relaxed);
        assert!(pairing.pair(&code).unwrap().is_none(), "too late");
        let code = pairing.offer().unwrap().code;
        for _ in 0..TRIES {
            assert!(pairing.pair(&other_than(&code)).unwrap().is_none());
        }
        assert!(pairing.pair(&code).unwrap().is_none(), "tried too often");
        let code = pairing.offer().unwrap().code;
        for scanned in ["", "1234567", "123456789", "1234567x", "QABCDEFG", "１２３４５６７８"].repeat(3) {
            assert!(pairing.pair(scanned).unwrap().is_none());
        }
        assert!(pairing.pair(&code).unwrap().is_some(), "a scanner has used up no try");
        pairing.end().unwrap();
        let (first, _second) = (pairing.offer().unwrap().code, pairing.offer().unwrap().code);
        assert!(pairing.pair(&first).unwrap().is_none(), "there is a newer one");
        let code = pairing.offer().unwrap().code;
        assert!(world.pairing().pair(&code).unwrap().is_none(), "the agent was started anew");
        assert!(!pairing.is_paired());
    }

    /// A folder has the name of the file.
    fn block(world: &World) {
        std::fs::remove_file(world.file()).unwrap();
        std::fs::create_dir(world.file()).unwrap();
    }

    #[test]
    fn a_key_that_cannot_be_kept_is_not_given_and_what_is_on_the_disk_counts() {
        let world = World::new();
        let pairing = world.pairing();
        let old = paired(&pairing);
        let code = pairing.offer().unwrap().code;
        block(&world);
        assert!(pairing.pair(&code).is_err());
        assert_eq!(pairing.is_key(old.as_bytes()), world.pairing().is_key(old.as_bytes()), "as behind a start");
        assert!(pairing.pair(&code).unwrap().is_none(), "it was used");
    }

    #[test]
    fn an_end_counts_at_once_and_over_a_pairing_that_is_under_way() {
        let world = World::new();
        let pairing = world.pairing();
        let key = paired(&pairing);
        let code = pairing.offer().unwrap().code;
        block(&world);
        pairing.end().unwrap_err();
        assert!(!pairing.is_key(key.as_bytes()) && pairing.pair(&code).unwrap().is_none());
        std::fs::remove_dir(world.file()).unwrap();
        // Its file is being written.
        let code = pairing.offer().unwrap().code;
        let ends = pairing.use_up(&code).unwrap();
        pairing.end().unwrap();
        assert_ne!(pairing.offered().ends, ends);
        // Somebody else's change waits for the disk.
        let writing = pairing.writing.lock().unwrap();
        let code = pairing.offer().unwrap().code;
        assert!(
            matches!(pairing.pair(&code), Err(PairingError::Busy)) && matches!(pairing.end(), Err(PairingError::Busy))
        );
        drop(writing);
        assert!(!pairing.is_paired() && !world.pairing().is_paired());
    }

    #[test]
    fn a_damaged_file_pairs_nobody() {
        let world = World::new();
        paired(&world.pairing());
        for damaged in ["", "00", "zz", &"0".repeat(63), &"0".repeat(66)] {
            certs::replace_private(&world.file(), damaged.as_bytes()).unwrap();
            let pairing = world.pairing();
            assert!(!pairing.is_paired() && !pairing.is_key(b""), "{damaged}");
        }
        // One that others may read was perhaps written by them.
        certs::replace_private(&world.file(), "0".repeat(64).as_bytes()).unwrap();
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(Path::new(&world.file()), all).unwrap();
        assert!(!world.pairing().is_paired());
    }
}
