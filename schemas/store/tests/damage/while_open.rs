//! Files that are damaged while a store is open on them: redb may find anything, and what it makes of it ends nobody.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fleet_store::{OpenError, RedbStore, Snapshots as _};
use schemas::step::{Store as _, Table, Write};

use crate::copies::Chance;

const EVENTS: Table = Table("events");
const PAGE: usize = 4096;
/// More than redb keeps in memory.
const ROWS: u64 = 12_000;

fn filled(path: &Path) -> RedbStore {
    let mut store = RedbStore::open(path).unwrap();
    for first in (0..ROWS).step_by(1_000) {
        let rows: Vec<_> =
            (first..first + 1_000).map(|n| Write::put(EVENTS, n.to_be_bytes(), vec![n as u8; 700])).collect();
        store.commit(&rows).unwrap();
    }
    store
}

/// Overwrites every page but the first.
fn ruin(path: &Path, chance: &mut Chance) {
    let file = File::options().write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len() as usize / PAGE;
    let kind = chance.below(3);
    for page in 1..pages {
        let bytes: Vec<u8> = match kind {
            0 => vec![0; PAGE],
            1 => vec![0xff; PAGE],
            // The first byte of a page says what it is.
            _ => [1 + chance.below(2) as u8].into_iter().chain((1..PAGE).map(|_| chance.below(256) as u8)).collect(),
        };
        file.write_all_at(&bytes, (page * PAGE) as u64).unwrap();
    }
}

#[test]
fn a_store_that_is_ruined_while_it_is_open_fails_with_errors_and_is_not_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for seed in 0..6 {
        let mut store = filled(&path);
        ruin(&path, &mut Chance(seed));
        assert!(store.rows(EVENTS).is_err(), "seed {seed}: rows were read from a ruined file");
        let backup = folder.path().join("backup");
        let snapshot = store.snapshot().and_then(|snapshot| {
            snapshot
                .write_to(&backup, 1)
                .map_err(|error| schemas::step::StoreError { context: error.to_string(), source: None })
        });
        assert!(snapshot.is_err() && !backup.exists(), "seed {seed}: a backup was made of a ruined file");
        // What is still in memory may be written; nothing of it is believed later.
        let _ = store.commit(&[Write::put(EVENTS, b"more", vec![1])]);
        drop(store);
        let again = RedbStore::reopen(&path).err();
        assert!(matches!(again, Some(OpenError::Damaged { .. } | OpenError::Open { .. })), "seed {seed}: {again:?}");
        std::fs::remove_file(&path).unwrap();
    }
}
