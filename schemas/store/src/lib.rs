//! The redb store of both shells: rows in named tables, one durable transaction a commit.
//!
//! It lives below `schemas` because the broker and the agent keep the same kind of rows and must survive the same kinds
//! of crash; what the rows mean is known to the cores alone.

mod backup;
mod damage;
mod file;
mod whole;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, StorageBackend, StorageError, TableDefinition,
    TableError,
};
use schemas::step::{Row, Store, StoreError, Table, Write};

use damage::caught;
use file::StoreFile;
use whole::whole_file;

pub use backup::{BackupError, Seal, Snapshot, restore, verify};

/// Page cache in bytes. redb's default of 1 GiB would be the agent's whole machine.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

type Rows<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("store `{path}` is in use by another process; stop that one first")]
    InUse { path: PathBuf },
    #[error(
        "store `{path}` is damaged and nothing of it is used; move it away, then restore a fleet's from its newest \
         backup, or empty a cabinet's compartments and let it begin a new one"
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("open store `{path}`; check that its folder exists and is writable")]
    Open {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A redb file. After a failed commit redb refuses everything until the file is opened again; so does this.
pub struct RedbStore {
    /// Some until it is dropped.
    database: Option<Database>,
    /// None: it is on another backend.
    file: Option<StoreFile>,
}

impl RedbStore {
    /// Opens or creates the file at `path`, without a reserve. For the start of a process.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_reserved(path, 0)
    }

    /// Opens or creates the file at `path` and keeps about `reserve` bytes of the disk for what is written when the disk is
    /// full. For the start of a process.
    pub fn open_reserved(path: &Path, reserve: u64) -> Result<Self, OpenError> {
        let refused = |source| OpenError::Open { path: path.to_owned(), source };
        // A path that cannot be looked at may be a store.
        if !path.try_exists().map_err(|error| refused(error.into()))? {
            create(path).map_err(refused)?;
        }
        Self::open_file(path, reserve, |_| Ok(()))
    }

    /// Opens the file at `path`, which a store that failed has left. A file that is gone or empty is an error: a disk
    /// that dropped out must not become an empty fleet or a cabinet that has forgotten its goods.
    pub fn reopen(path: &Path) -> Result<Self, OpenError> {
        Self::reopen_reserved(path, 0)
    }

    /// [`reopen`](Self::reopen) with a reserve, as [`open_reserved`](Self::open_reserved) keeps it.
    pub fn reopen_reserved(path: &Path, reserve: u64) -> Result<Self, OpenError> {
        let filled = |file: &File| match file.metadata()?.len() {
            0 => Err(io::Error::other("the file is empty")),
            _ => Ok(()),
        };
        Self::open_file(path, reserve, filled)
    }

    fn open_file(path: &Path, reserve: u64, check: impl FnOnce(&File) -> io::Result<()>) -> Result<Self, OpenError> {
        let refused = |source: io::Error| OpenError::Open { path: path.to_owned(), source: Box::new(source) };
        let file = File::options().read(true).write(true).open(path).map_err(refused)?;
        check(&file).map_err(refused)?;
        let file = StoreFile::new(file, reserve).map_err(refused)?;
        let mut store = Self::on(file.clone(), path)?;
        file.keep_reserve().map_err(refused)?;
        store.file = Some(file);
        Ok(store)
    }

    /// Opens a store on another backend than a file: what tests use to forget or refuse writes.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, OpenError> {
        Self::on(backend, Path::new("(backend)"))
    }

    fn on(backend: impl StorageBackend, path: &Path) -> Result<Self, OpenError> {
        let path = path.to_owned();
        match caught(|| builder().create_with_backend(backend)) {
            Ok(Ok(database)) => Ok(Self { database: Some(database), file: None }),
            Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(OpenError::InUse { path }),
            Ok(Err(error @ DatabaseError::Storage(StorageError::Corrupted(_)))) => {
                Err(OpenError::Damaged { path, source: Box::new(error) })
            }
            Ok(Err(error)) => Err(OpenError::Open { path, source: Box::new(error) }),
            Err(damage) => Err(OpenError::Damaged { path, source: Box::new(damage) }),
        }
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    fn try_commit(&self, writes: &[Write]) -> Result<(), redb::Error> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        for run in writes.chunk_by(|one, next| one.table == next.table) {
            let mut rows = transaction.open_table(definition(run[0].table))?;
            for write in run {
                match &write.value {
                    Some(value) => drop(rows.insert(write.key.as_slice(), value.as_slice())?),
                    None => drop(rows.remove(write.key.as_slice())?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn try_scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, redb::Error> {
        let transaction = self.database()?.begin_read()?;
        let rows = match transaction.open_table(definition(table)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        rows.range(from..)?
            .take(limit)
            .map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).map_err(Into::into))
            .collect()
    }
}

/// Every open compares all pages with their checksums. By itself redb does so only after a crash, and serves what was
/// changed in a file that was closed in good order.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Makes an empty store. The file gets its name when it is whole: redb takes one whose making was cut off for a damaged
/// store, and a cabinet that lost power at its first start would never start again.
fn create(path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    whole_file(path, |part| {
        drop(builder().create(part)?);
        Ok(())
    })
}

fn definition(table: Table) -> Rows<'static> {
    TableDefinition::new(table.0)
}

fn failed(context: String, error: impl Into<whole::Failure>) -> StoreError {
    StoreError { context, source: Some(error.into()) }
}

/// Lets redb work. What it says, and that it panicked, is an error of the store.
fn worked<T>(context: impl Fn() -> String, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    match caught(work) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(context(), error)),
        Err(damage) => Err(failed(context(), damage)),
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        // Closing walks its pages too. What is wrong with them is said by the next open, whoever it is.
        let database = self.database.take();
        let _ = caught(|| drop(database));
    }
}

/// A store that can be backed up while it works.
pub trait Snapshots {
    /// All rows of this moment.
    fn snapshot(&self) -> Result<Snapshot, StoreError>;
}

/// A store that may live on a reserve of the disk.
pub trait Reserved {
    /// Whether the disk is so full that the reserve is in use, or could not be made. Tries to fill it first.
    fn is_low(&self) -> bool;
}

impl Reserved for RedbStore {
    fn is_low(&self) -> bool {
        self.file.as_ref().is_some_and(StoreFile::is_low)
    }
}

impl Snapshots for RedbStore {
    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        worked(|| "begin a backup".into(), || Ok(Snapshot::of(self.database()?.begin_read()?)))
    }
}

impl Store for RedbStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        worked(|| format!("commit {} rows", writes.len()), || self.try_commit(writes))
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        worked(|| format!("read table `{}`", table.0), || self.try_scan(table, from, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELF: Table = Table("shelf");
    const OTHER: Table = Table("other");

    fn put(table: Table, key: &[u8], value: &[u8]) -> Write {
        Write::put(table, key, value.to_vec())
    }

    #[test]
    fn rows_are_there_after_reopening_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        {
            let mut store = RedbStore::open(&path).unwrap();
            store.commit(&[put(SHELF, b"b", b"2"), put(OTHER, b"x", b"9"), put(SHELF, b"a", b"1")]).unwrap();
            store.commit(&[put(SHELF, b"c", b"3"), Write::remove(SHELF, b"b".to_vec())]).unwrap();
        }
        let store = RedbStore::open(&path).unwrap();
        assert_eq!(store.rows(SHELF).unwrap(), [(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
        assert_eq!(store.scan(SHELF, b"b", 1).unwrap(), [(b"c".to_vec(), b"3".to_vec())]);
        assert_eq!(store.rows(Table("never written")).unwrap(), []);
    }

    #[test]
    fn a_store_that_is_gone_is_not_replaced_by_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        assert!(matches!(RedbStore::reopen(&path), Err(OpenError::Open { .. })));
        assert!(!path.exists());
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(RedbStore::reopen(&path), Err(OpenError::Open { .. })));
        std::fs::remove_file(&path).unwrap();
        RedbStore::open(&path).unwrap().commit(&[put(SHELF, b"a", b"1")]).unwrap();
        assert_eq!(RedbStore::reopen(&path).unwrap().rows(SHELF).unwrap().len(), 1);
    }

    /// Without power in the middle of its making there is no file, or one that nobody takes for the store.
    #[test]
    fn a_store_whose_making_was_cut_off_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        std::fs::write(folder.path().join("store.redb.part"), vec![0; 65_536]).unwrap();
        RedbStore::open(&path).unwrap().commit(&[put(SHELF, b"a", b"1")]).unwrap();
        assert_eq!(RedbStore::open(&path).unwrap().rows(SHELF).unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_store_in_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let _held = RedbStore::open(&path).unwrap();
        for error in [RedbStore::open(&path).err(), RedbStore::reopen_reserved(&path, 1 << 20).err()] {
            let error = error.unwrap();
            assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        assert!(matches!(RedbStore::open(&path), Err(OpenError::Open { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 8192]);
    }
}
