//! A store on a forgetful disk, and what may be found there after a power cut at each operation.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fleet_store::RedbStore;
use schemas::step::{Row, Store, StoreError, Table, Write};

use crate::forgetful::{Chance, Disk, Honesty, Kept};

/// All rows.
pub(crate) type Contents = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

const PROBE: (&[u8], &[u8]) = (b"\xff probe", b"written after the power cut");

/// Why an image is not what was promised.
#[derive(Debug)]
pub(crate) enum Broken {
    Refused(String),
    Differs,
    Forgotten,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "the store cannot be opened or read: {why}"),
            Self::Differs => f.write_str("a commit is missing or not whole, or rows are there that nobody wrote"),
            Self::Forgotten => f.write_str("what was seen after opening is gone after the next power cut"),
        }
    }
}

/// The value of `DISK_IMAGES`: about how many images a test opens; by default as many as a test run can wait for.
pub(crate) fn images_wanted(default: usize) -> usize {
    std::env::var("DISK_IMAGES").map_or(default, |text| text.parse().expect("DISK_IMAGES is a number"))
}

/// One commit: between which operations it happened, and what the store holds after it.
struct Commit {
    began: usize,
    /// None: it failed, and nobody has looked yet whether it is there.
    ended: Option<usize>,
    rows: Contents,
}

impl Commit {
    fn is_promised(&self, operation: usize) -> bool {
        self.ended.is_some_and(|ended| ended <= operation)
    }
}

/// A store that remembers what it was told.
pub(crate) struct Witness {
    disk: Disk,
    store: Option<RedbStore>,
    /// Whether opening lets the kernel forget its pages, as `RedbStore` does with files.
    pub(crate) drops_cache: bool,
    tables: &'static [Table],
    commits: Vec<Commit>,
    rows: Contents,
}

impl Witness {
    /// A new store, not opened yet. Its making is not part of the history: `RedbStore::open` gives a file its name when it is made.
    pub(crate) fn new(tables: &'static [Table], honesty: Honesty, seed: u64) -> Self {
        let making = Disk::holding(Vec::new(), Honesty::Honest, seed);
        drop(RedbStore::with_backend(making.clone()).unwrap());
        let disk = Disk::holding(making.cut_power(Kept::Nothing), honesty, seed);
        Self { disk, store: None, drops_cache: true, tables, commits: Vec::new(), rows: Contents::new() }
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    fn store(&self) -> &RedbStore {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn close(&mut self) {
        self.store = None;
    }

    /// Opens the store in a new process. A disk that fails while it is opened is tried again.
    pub(crate) fn open(&mut self) {
        self.store = None;
        let open = || {
            if self.drops_cache {
                self.disk.drop_cache();
            }
            RedbStore::with_backend(self.disk.clone())
        };
        self.store = Some(open().or_else(|_| open()).unwrap());
    }

    /// Opens the store after a commit failed. Whether that commit is there; anything but whole or absent is an error, and
    /// so is anything that the next power cut would take away.
    pub(crate) fn recover(&mut self) -> Result<bool, Broken> {
        let mut failed = self.commits.pop().unwrap();
        assert!(failed.ended.is_none(), "nothing has failed");
        for kept in Kept::ALL {
            let found = contents(&open_image(self.disk.cut_power(kept))?, self.tables)?;
            if found != self.rows && found != failed.rows {
                return Err(Broken::Differs);
            }
        }
        self.open();
        let found = contents(self.store(), self.tables)?;
        if found != self.rows && found != failed.rows {
            return Err(Broken::Differs);
        }
        if contents(&open_image(self.disk.cut_power(Kept::Nothing))?, self.tables)? != found {
            return Err(Broken::Forgotten);
        }
        let there = found == failed.rows;
        if there {
            self.rows = found;
            failed.ended = Some(self.disk.operations());
            self.commits.push(failed);
        }
        Ok(there)
    }

    /// Whether a power cut now would leave all that was promised.
    pub(crate) fn is_kept(&self) -> Result<bool, Broken> {
        Ok(contents(&open_image(self.disk.cut_power(Kept::Nothing))?, self.tables)? == self.rows)
    }

    /// How many commits had returned `Ok` before this operation, and whether another was under way.
    pub(crate) fn commits_at(&self, operation: usize) -> (usize, bool) {
        let done = self.commits.iter().take_while(|commit| commit.is_promised(operation)).count();
        (done, self.commits.get(done).is_some_and(|commit| commit.began <= operation))
    }

    /// What the store may hold after a power cut before this operation.
    fn allowed(&self, operation: usize) -> Vec<&Contents> {
        const EMPTY: &Contents = &Contents::new();
        let (done, under_way) = self.commits_at(operation);
        let acked = done.checked_sub(1).map_or(EMPTY, |last| &self.commits[last].rows);
        let next = self.commits.get(done).filter(|_| under_way).map(|commit| &commit.rows);
        [acked].into_iter().chain(next).collect()
    }

    /// Cuts the power before each `step`-th operation, with each kind of what is left, and judges the images; `check` looks
    /// at each as its core would. Returns how many images were opened.
    pub(crate) fn cut_power_everywhere(
        &self,
        seed: u64,
        step: usize,
        mut check: impl FnMut(usize, RedbStore) -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut chance = Chance(!seed);
        let mut images = 0;
        for (operation, mut medium) in self.disk.replay(seed as usize % step, step) {
            for kept in Kept::ALL {
                let image = medium.after_power_cut(kept);
                let judged = self.judge(operation, image.clone(), &mut chance).map_err(|broken| broken.to_string());
                let checked = judged.and_then(|opened| {
                    images += opened + 1;
                    check(operation, open_image(image).map_err(|broken| broken.to_string())?)
                });
                checked.map_err(|broken| format!("seed {seed}, operation {operation}, {kept:?}: {broken}"))?;
            }
        }
        Ok(images)
    }

    /// Opens the image of a power cut before `operation`, compares, loses power again during and after opening, and
    /// writes on. Returns how many images were opened.
    fn judge(&self, operation: usize, image: Vec<u8>, chance: &mut Chance) -> Result<usize, Broken> {
        let allowed = self.allowed(operation);
        let disk = Disk::holding(image, Honesty::Honest, chance.below(usize::MAX) as u64);
        let mut store = open(&disk)?;
        let found = contents(&store, self.tables)?;
        if !allowed.contains(&&found) {
            return Err(Broken::Differs);
        }
        let again = open_image(disk.cut_power(Kept::Nothing))?;
        if contents(&again, self.tables)? != found {
            return Err(Broken::Forgotten);
        }
        let within = Kept::ALL[chance.below(Kept::ALL.len())];
        let twice = disk.at(chance.below(disk.operations() + 1)).after_power_cut(within);
        if contents(&open_image(twice)?, self.tables)? != found {
            return Err(Broken::Differs);
        }
        let probe = [Write::put(self.tables[0], PROBE.0, PROBE.1.to_vec())];
        store.commit(&probe).map_err(|error| Broken::Refused(error.to_string()))?;
        let mut expected = found;
        apply(&mut expected, &probe);
        let last = open_image(disk.cut_power(Kept::Nothing))?;
        if contents(&last, self.tables)? == expected { Ok(4) } else { Err(Broken::Forgotten) }
    }
}

impl Store for Witness {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let began = self.disk.operations();
        let committed = self.store.as_mut().unwrap().commit(writes);
        let mut rows = self.rows.clone();
        apply(&mut rows, writes);
        if committed.is_ok() {
            self.rows = rows.clone();
            self.commits.push(Commit { began, ended: Some(self.disk.operations()), rows });
        } else if self.commits.last().is_none_or(|last| last.ended.is_some()) {
            self.commits.push(Commit { began, ended: None, rows });
        }
        committed
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store().scan(table, from, limit)
    }
}

fn apply(rows: &mut Contents, writes: &[Write]) {
    for write in writes {
        let at = (write.table, write.key.clone());
        match &write.value {
            Some(value) => rows.insert(at, value.clone()),
            None => rows.remove(&at),
        };
    }
}

fn contents(store: &RedbStore, tables: &[Table]) -> Result<Contents, Broken> {
    let mut all = Contents::new();
    for table in tables {
        let rows = store.rows(*table).map_err(|error| Broken::Refused(error.to_string()))?;
        all.extend(rows.into_iter().map(|(key, value)| ((*table, key), value)));
    }
    Ok(all)
}

/// redb may panic on a file that no honest disk leaves.
fn open(disk: &Disk) -> Result<RedbStore, Broken> {
    catch_unwind(AssertUnwindSafe(|| RedbStore::with_backend(disk.clone())))
        .map_err(|_| Broken::Refused("a panic".into()))?
        .map_err(|error| Broken::Refused(format!("{error}: {:?}", std::error::Error::source(&error))))
}

/// Opens what a power cut has left.
pub(crate) fn open_image(image: Vec<u8>) -> Result<RedbStore, Broken> {
    open(&Disk::holding(image, Honesty::Honest, 0))
}
