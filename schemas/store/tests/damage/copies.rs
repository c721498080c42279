//! Damaged copies of a store: flipped bytes, lost and swapped pages, files cut off.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fleet_store::{OpenError, RedbStore};
use schemas::step::{Store as _, Table, Write};

const TABLES: [Table; 3] = [Table("events"), Table("goods"), Table("meta")];
const PAGE: usize = 4096;

type Contents = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }
}

/// How many damaged copies: `DAMAGED_COPIES` for more.
fn copies() -> u64 {
    std::env::var("DAMAGED_COPIES").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// What happens to a copy.
#[derive(Debug)]
enum Damage {
    Flip {
        at: usize,
        mask: u8,
    },
    Zero {
        page: usize,
    },
    Swap {
        page: usize,
        with: usize,
    },
    /// A page of an earlier time.
    Copy {
        page: usize,
        over: usize,
    },
    CutOff {
        at: usize,
    },
    Noise {
        page: usize,
    },
}

impl Damage {
    fn any(chance: &mut Chance, used: &[usize], len: usize) -> Self {
        let page = used[chance.below(used.len())];
        let other = used[chance.below(used.len())];
        match chance.below(10) {
            0..=4 => Self::Flip { at: page * PAGE + chance.below(PAGE), mask: 1 << chance.below(8) },
            5 => Self::Zero { page },
            6 => Self::Swap { page, with: other },
            7 => Self::Copy { page, over: other },
            8 => Self::CutOff { at: chance.below(len) },
            _ => Self::Noise { page },
        }
    }

    fn apply(&self, image: &mut Vec<u8>, chance: &mut Chance) {
        let place = |page: usize| page * PAGE..(page + 1) * PAGE;
        match *self {
            Self::Flip { at, mask } => image[at] ^= mask,
            Self::Zero { page } => image[place(page)].fill(0),
            Self::Swap { page, with } => {
                let held = image[place(page)].to_vec();
                image.copy_within(place(with), page * PAGE);
                image[place(with)].copy_from_slice(&held);
            }
            Self::Copy { page, over } => image.copy_within(place(page), over * PAGE),
            Self::CutOff { at } => image.truncate(at),
            Self::Noise { page } => image[place(page)].fill_with(|| chance.below(256) as u8),
        }
    }
}

fn contents(store: &RedbStore) -> Result<Contents, String> {
    let mut contents = Contents::new();
    for table in TABLES {
        for (key, value) in store.rows(table).map_err(|error| format!("{error}"))? {
            contents.insert((table.0, key), value);
        }
    }
    Ok(contents)
}

/// A store after a history of commits, and what it held after each of the last two.
struct Original {
    image: Vec<u8>,
    now: Contents,
    before: Contents,
}

impl Original {
    /// `closed`: the process ended in good order. Otherwise it was killed.
    fn make(folder: &Path, closed: bool) -> Self {
        let path = folder.join("original");
        let mut store = RedbStore::open(&path).unwrap();
        let (mut chance, mut before) = (Chance(7), Contents::new());
        for commit in 0..60 {
            before = contents(&store).unwrap();
            let writes = (0..20).map(|_| {
                let (table, key) = (TABLES[chance.below(3)], (chance.below(150) as u64).to_be_bytes());
                let value = vec![chance.below(256) as u8; chance.below(600)];
                if chance.below(5) == 0 { Write::remove(table, key) } else { Write::put(table, key, value) }
            });
            let mut writes: Vec<_> = writes.collect();
            writes.push(Write::put(TABLES[2], b"commit", vec![commit]));
            store.commit(&writes).unwrap();
        }
        let now = contents(&store).unwrap();
        let mut image = fs::read(&path).unwrap();
        drop(store);
        if closed {
            image = fs::read(&path).unwrap();
        }
        Self { image, now, before }
    }

    /// Pages with something in them.
    fn used(&self) -> Vec<usize> {
        let pages = self.image.chunks_exact(PAGE).enumerate();
        pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0)).map(|(at, _)| at).collect()
    }
}

#[derive(Debug, Default)]
struct Outcomes {
    right: u64,
    one_commit_back: u64,
    damaged: u64,
    refused: u64,
}

/// Opens a damaged copy, reads all of it, goes on with it and opens it once more.
fn judge(path: &Path, original: &Original, outcomes: &mut Outcomes) -> Result<(), String> {
    let named = |error: &OpenError| error.to_string().contains(&path.display().to_string());
    let mut store = match RedbStore::reopen(path) {
        Ok(store) => store,
        Err(error) if !named(&error) => return Err(format!("an error that does not name the file: {error}")),
        Err(OpenError::Damaged { .. }) => {
            outcomes.damaged += 1;
            return Ok(());
        }
        Err(_) => {
            outcomes.refused += 1;
            return Ok(());
        }
    };
    let mut held = contents(&store)?;
    match () {
        () if held == original.now => outcomes.right += 1,
        () if held == original.before => outcomes.one_commit_back += 1,
        () => return Err("rows that nobody wrote are served".into()),
    }
    for n in 0..4u64 {
        let (table, key, value) = (TABLES[0], (1_000 + n).to_be_bytes(), vec![n as u8; 9_000]);
        store.commit(&[Write::put(table, key, value.clone())]).map_err(|error| format!("{error}"))?;
        held.insert((table.0, key.to_vec()), value);
    }
    drop(store);
    let again = RedbStore::reopen(path).map_err(|error| format!("{error}"))?;
    if contents(&again)? == held { Ok(()) } else { Err("what was written on it is not what is there".into()) }
}

fn explore(closed: bool) -> Outcomes {
    let folder = tempfile::tempdir().unwrap();
    let original = Original::make(folder.path(), closed);
    let (path, used): (PathBuf, _) = (folder.path().join("copy"), original.used());
    let mut outcomes = Outcomes::default();
    for seed in 0..copies() {
        let mut chance = Chance(seed);
        let damage = Damage::any(&mut chance, &used, original.image.len());
        let mut image = original.image.clone();
        damage.apply(&mut image, &mut chance);
        fs::write(&path, image).unwrap();
        judge(&path, &original, &mut outcomes).unwrap_or_else(|broken| panic!("seed {seed}, {damage:?}: {broken}"));
    }
    outcomes
}

#[test]
fn a_damaged_store_that_was_closed_gives_its_rows_or_an_error_that_names_it() {
    let outcomes = explore(true);
    println!("closed: {outcomes:?}");
    assert_eq!(outcomes.one_commit_back, 0, "an acknowledged commit is missing");
    assert!(outcomes.damaged > copies() / 10 && outcomes.right > 0, "{outcomes:?}");
}

/// After a kill redb cannot tell a page of the last commit that was damaged from one that was never written: that commit may
/// be gone, as after a power cut, but it is whole or absent.
#[test]
fn a_damaged_store_of_a_killed_process_gives_its_rows_but_for_the_last_commit_or_an_error() {
    let outcomes = explore(false);
    println!("killed: {outcomes:?}");
    assert!(outcomes.damaged > copies() / 10 && outcomes.right > 0, "{outcomes:?}");
}
