//! Copies of a store, made while it works, and a store made of such a copy.
//!
//! A backup is a redb file of its own with all rows of one moment and a seal: when it was taken, how many rows there are,
//! and a SHA-256 over all of them. A copy that was cut off, changed or mixed up does not pass its seal.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use redb::{
    Builder, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable as _, TableHandle as _,
};
use schemas::cbor::{self, Blob};
use schemas::cbor_map;
use schemas::messages::FleetMillis;
use schemas::step::{RESTORED, StoreError};
use sha2::{Digest as _, Sha256};

use crate::{CACHE_BYTES, Rows, failed};

/// The table of the seal; no core has one of this name.
const SEAL: &str = "backup-seal";
const SEAL_KEY: &[u8] = b"seal";
/// Format of backups.
const FORMAT: u64 = 1;
/// Rows of one transaction while copying.
const ROWS_AT_ONCE: usize = 10_000;

cbor_map! {
    /// What a backup says about itself.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Seal {
        1 => format: u64,
        /// When it was taken, by the fleet's clock.
        2 => taken: FleetMillis,
        3 => rows: u64,
        /// SHA-256 over the names of the tables and their rows, each with its length, in order.
        4 => digest: Blob,
    }
}

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("`{0}` exists already; name a file that does not")]
    Exists(PathBuf),
    #[error("write `{path}`; check that its folder exists and has room")]
    Write {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("`{0}` is a store and no backup, or its seal is missing: make a backup with `fleet backup`")]
    NoSeal(PathBuf),
    #[error("`{path}` has format {found}; this version reads format {FORMAT}")]
    Format { path: PathBuf, found: u64 },
    #[error("`{0}` does not hold what its seal says: it is damaged; take another backup")]
    Damaged(PathBuf),
}

/// All rows of one moment. The store goes on; what it writes later is not seen here.
pub struct Snapshot(ReadTransaction);

impl Snapshot {
    pub(crate) fn of(database: &impl ReadableDatabase) -> Result<Self, StoreError> {
        let transaction = database.begin_read().map_err(|error| failed("begin a backup".into(), error.into()))?;
        Ok(Self(transaction))
    }

    /// Writes the backup to `path`, whole or not at all. Takes as long as the store is large.
    pub fn write_to(&self, path: &Path, taken: FleetMillis) -> Result<Seal, BackupError> {
        new_file(path, |part| {
            let (rows, digest) = copy(&self.0, part, |_| true)?;
            let seal = Seal { format: FORMAT, taken, rows, digest: Blob(digest.to_vec()) };
            put(part, SEAL, SEAL_KEY, &cbor::encode(&seal))?;
            Ok(seal)
        })
    }
}

/// Reads the seal of a backup and compares it with every row.
pub fn verify(backup: &Path) -> Result<Seal, BackupError> {
    let transaction = open(backup)?;
    let seal = seal(backup, &transaction)?;
    let mut digest = Sha256::new();
    let mut rows = 0;
    each(&transaction, |table, key, value| {
        rows += 1;
        add(&mut digest, table, key, value);
        Ok(())
    })
    .map_err(|source| read_error(backup, source))?;
    if rows == seal.rows && digest.finalize().as_slice() == seal.digest.0 {
        Ok(seal)
    } else {
        Err(BackupError::Damaged(backup.to_owned()))
    }
}

/// Makes a store at `path`, where none may be yet, of a backup that passes its seal. Its core learns at its next start
/// that it was put back.
pub fn restore(backup: &Path, path: &Path) -> Result<Seal, BackupError> {
    let seal = verify(backup)?;
    let transaction = open(backup)?;
    new_file(path, |part| {
        copy(&transaction, part, |table| table != SEAL)?;
        let (table, key) = RESTORED;
        put(part, table.0, key.as_bytes(), &cbor::encode(&seal.taken))
    })?;
    Ok(seal)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn read_error(path: &Path, source: impl Into<Failure>) -> BackupError {
    BackupError::Read { path: path.to_owned(), source: source.into() }
}

fn open(path: &Path) -> Result<ReadTransaction, BackupError> {
    let database = ReadOnlyDatabase::open(path).map_err(|source| read_error(path, source))?;
    database.begin_read().map_err(|source| read_error(path, source))
}

fn seal(path: &Path, transaction: &ReadTransaction) -> Result<Seal, BackupError> {
    let missing = || BackupError::NoSeal(path.to_owned());
    let table = transaction.open_table(Rows::new(SEAL)).map_err(|_| missing())?;
    let row = table.get(SEAL_KEY).map_err(|source| read_error(path, source))?.ok_or_else(missing)?;
    let seal: Seal = cbor::decode(row.value()).map_err(|_| missing())?;
    if seal.format == FORMAT {
        Ok(seal)
    } else {
        Err(BackupError::Format { path: path.to_owned(), found: seal.format })
    }
}

/// Fills a file beside `path` and gives it its name when it is whole and on disk.
fn new_file<T>(path: &Path, fill: impl FnOnce(&Path) -> Result<T, Failure>) -> Result<T, BackupError> {
    if path.exists() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let wrong = |source: Failure| BackupError::Write { path: path.to_owned(), source };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    // What a copy that was interrupted has left.
    let _ = fs::remove_file(&part);
    let filled = fill(&part).and_then(|made| {
        File::open(&part)?.sync_all()?;
        fs::rename(&part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(made)
    });
    if filled.is_err() {
        let _ = fs::remove_file(&part);
    }
    filled.map_err(wrong)
}

/// Copies the rows of the tables that are `wanted`. Returns their number and their digest.
fn copy(
    from: &ReadTransaction,
    to: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<(u64, sha2::digest::Output<Sha256>), Failure> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let database = builder.create(to)?;
    let (mut rows, mut digest) = (0, Sha256::new());
    let mut batch: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut current = String::new();
    let flush = |table: &str, batch: &mut Vec<(Vec<u8>, Vec<u8>)>| -> Result<(), Failure> {
        let transaction = database.begin_write()?;
        {
            let mut held = transaction.open_table(Rows::new(table))?;
            for (key, value) in batch.drain(..) {
                held.insert(key.as_slice(), value.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    };
    each(from, |table, key, value| {
        if !wanted(table) {
            return Ok(());
        }
        if table != current || batch.len() == ROWS_AT_ONCE {
            if !batch.is_empty() {
                flush(&current, &mut batch)?;
            }
            table.clone_into(&mut current);
        }
        rows += 1;
        add(&mut digest, table, key, value);
        batch.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    if !batch.is_empty() {
        flush(&current, &mut batch)?;
    }
    Ok((rows, digest.finalize()))
}

/// Every row but the seal, table after table by name.
fn each(
    transaction: &ReadTransaction,
    mut take: impl FnMut(&str, &[u8], &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut tables: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
    tables.retain(|table| table != SEAL);
    tables.sort_unstable();
    for table in tables {
        let rows = transaction.open_table(Rows::new(&table))?;
        for row in rows.iter()? {
            let (key, value) = row?;
            take(&table, key.value(), value.value())?;
        }
    }
    Ok(())
}

fn add(digest: &mut Sha256, table: &str, key: &[u8], value: &[u8]) {
    for part in [table.as_bytes(), key, value] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
}

fn put(path: &Path, table: &str, key: &[u8], value: &[u8]) -> Result<(), Failure> {
    let database = Builder::new().open(path)?;
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.open_table(Rows::new(table))?.insert(key, value)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use schemas::step::{Store as _, Table, Write};

    use super::*;
    use crate::RedbStore;

    const SHELF: Table = Table("shelf");
    const OTHER: Table = Table("other");

    fn filled(path: &Path, rows: u64) -> RedbStore {
        let mut store = RedbStore::open(path).unwrap();
        let writes = (0..rows).map(|n| Write::put(SHELF, n.to_be_bytes(), vec![7; 100]));
        let writes: Vec<_> = writes.chain([Write::put(OTHER, b"x", b"9".to_vec())]).collect();
        store.commit(&writes).unwrap();
        store
    }

    #[test]
    fn a_backup_of_a_working_store_is_restored_as_it_was_and_says_so_to_the_core() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut store = filled(&at("store"), 25_000);
        let snapshot = store.snapshot().unwrap();
        store.commit(&[Write::put(OTHER, b"later", b"1".to_vec())]).unwrap();
        let seal = snapshot.write_to(&at("backup"), 77).unwrap();
        assert_eq!((seal.taken, seal.rows), (77, 25_001));
        assert_eq!(restore(&at("backup"), &at("again")).unwrap(), seal);
        let again = RedbStore::open(&at("again")).unwrap();
        assert_eq!(again.rows(SHELF).unwrap(), store.rows(SHELF).unwrap());
        assert_eq!(again.rows(OTHER).unwrap(), [(b"x".to_vec(), b"9".to_vec())]);
        let (table, key) = RESTORED;
        assert_eq!(again.rows(table).unwrap(), [(key.as_bytes().to_vec(), cbor::encode(&77u64))]);
        assert_eq!(again.rows(Table(SEAL)).unwrap(), []);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_made_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let store = filled(&at("store"), 3);
        store.snapshot().unwrap().write_to(&at("backup"), 1).unwrap();
        let again = store.snapshot().unwrap().write_to(&at("backup"), 1);
        assert!(matches!(again, Err(BackupError::Exists(_))));
        assert!(matches!(restore(&at("backup"), &at("store")), Err(BackupError::Exists(_))));
        let nowhere = store.snapshot().unwrap().write_to(&at("none/backup"), 1);
        assert!(matches!(nowhere, Err(BackupError::Write { .. })));
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_store_a_cut_off_file_and_a_changed_row_are_no_backups() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        drop(filled(&at("store"), 300));
        assert!(matches!(verify(&at("store")), Err(BackupError::NoSeal(_))));
        assert!(matches!(verify(&at("none")), Err(BackupError::Read { .. })));
        RedbStore::open(&at("store")).unwrap().snapshot().unwrap().write_to(&at("backup"), 1).unwrap();
        let bytes = fs::read(at("backup")).unwrap();
        fs::write(at("cut"), &bytes[..bytes.len() / 2]).unwrap();
        assert!(restore(&at("cut"), &at("new")).is_err());
        fs::copy(at("backup"), at("changed")).unwrap();
        put(&at("changed"), "shelf", &5u64.to_be_bytes(), b"other").unwrap();
        assert!(matches!(restore(&at("changed"), &at("new")), Err(BackupError::Damaged(_))));
        assert!(!at("new").exists());
    }
}
