//! Copies of a store, made while it works, and a store made of such a copy.
//!
//! A backup is a plain stream of all rows of one moment and a seal behind them: when it was taken, how many rows there are,
//! and a SHA-256 over everything before. Nothing of it is believed before the whole is compared with its seal, and it can
//! be read without the store's own file format, which a damaged file could lead anywhere.
//!
//! `magic`, the moment in eight bytes, then for each row `1`, name of the table, key and value, then `0` and the seal in
//! CBOR; each text and each byte string behind its length in four bytes (big-endian).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadTransaction, ReadableTable as _, TableHandle as _};
use schemas::cbor::{self, Blob};
use schemas::cbor_map;
use schemas::messages::FleetMillis;
use schemas::step::RESTORED;
use sha2::{Digest as _, Sha256};

use crate::damage::caught;
use crate::whole::{Failure, whole_file};
use crate::{Rows, builder};

const MAGIC: &[u8; 16] = b"locker-backup/1\n";
const ROW: u8 = 1;
const END: u8 = 0;
/// Longest name, key, value and seal in bytes: far above what a core writes.
const LONGEST: u32 = 16 * 1024 * 1024;
/// Format of backups.
const FORMAT: u64 = 1;
/// Rows of one transaction while restoring.
const ROWS_AT_ONCE: usize = 10_000;

cbor_map! {
    /// What a backup says about itself.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Seal {
        1 => format: u64,
        /// When it was taken, by the fleet's clock.
        2 => taken: FleetMillis,
        3 => rows: u64,
        /// SHA-256 over all bytes before the seal.
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
        source: io::Error,
    },
    #[error("use what is in `{path}`")]
    Take {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("`{0}` is no backup: `fleet backup` makes one")]
    NoBackup(PathBuf),
    #[error("`{path}` has format {found}; this version reads format {FORMAT}")]
    Format { path: PathBuf, found: u64 },
    #[error("`{0}` does not hold what its seal says: it is damaged or cut off; take another backup")]
    Damaged(PathBuf),
}

/// All rows of one moment. The store goes on; what it writes later is not seen here.
pub struct Snapshot(ReadTransaction);

impl Snapshot {
    pub(crate) fn of(transaction: ReadTransaction) -> Self {
        Self(transaction)
    }

    /// Writes the backup to `path`, whole or not at all. Takes as long as the store is large.
    pub fn write_to(&self, path: &Path, taken: FleetMillis) -> Result<Seal, BackupError> {
        new_file(path, |part| {
            let mut out =
                Digested { inner: BufWriter::new(File::options().append(true).open(part)?), digest: Sha256::new() };
            out.write_all(MAGIC)?;
            out.write_all(&taken.to_be_bytes())?;
            let rows = caught(|| self.write_rows(&mut out))??;
            out.write_all(&[END])?;
            let digest = out.digest.clone().finalize();
            let seal = Seal { format: FORMAT, taken, rows, digest: Blob(digest.to_vec()) };
            write_bytes(&mut out, &cbor::encode(&seal))?;
            out.flush()?;
            Ok(seal)
        })
    }

    /// Table after table by name. Returns the number of rows.
    fn write_rows(&self, out: &mut impl Write) -> Result<u64, Failure> {
        let mut tables: Vec<String> = self.0.list_tables()?.map(|table| table.name().to_owned()).collect();
        tables.sort_unstable();
        let mut count = 0;
        for table in tables {
            let rows = self.0.open_table(Rows::new(&table))?;
            for row in rows.iter()? {
                let (key, value) = row?;
                out.write_all(&[ROW])?;
                for part in [table.as_bytes(), key.value(), value.value()] {
                    write_bytes(out, part)?;
                }
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Compares a backup with its seal, byte for byte.
pub fn verify(backup: &Path) -> Result<Seal, BackupError> {
    read(backup, |_| Ok(()))
}

/// Makes a store at `path`, where none may be yet, of a backup that passes its seal. Its core learns at its next start
/// that it was put back.
pub fn restore(backup: &Path, path: &Path) -> Result<Seal, BackupError> {
    if path.exists() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let seal = verify(backup)?;
    new_file(path, |part| {
        let database = builder().create(part)?;
        let mut batch: Vec<Row> = Vec::new();
        read(backup, |row| {
            batch.push(row);
            if batch.len() == ROWS_AT_ONCE { put(&database, &mut batch) } else { Ok(()) }
        })?;
        let (table, key) = RESTORED;
        let taken = cbor::encode(&seal.taken);
        batch.push(Row { table: table.0.to_owned(), key: key.as_bytes().to_vec(), value: taken });
        put(&database, &mut batch)
    })?;
    Ok(seal)
}

struct Row {
    table: String,
    key: Vec<u8>,
    value: Vec<u8>,
}

fn put(database: &Database, batch: &mut Vec<Row>) -> Result<(), Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    for run in batch.chunk_by(|one, next| one.table == next.table) {
        let mut held = transaction.open_table(Rows::new(&run[0].table))?;
        for row in run {
            held.insert(row.key.as_slice(), row.value.as_slice())?;
        }
    }
    transaction.commit()?;
    batch.clear();
    Ok(())
}

/// Hands every row to `take` and compares what was read with the seal at its end.
fn read(path: &Path, mut take: impl FnMut(Row) -> Result<(), Failure>) -> Result<Seal, BackupError> {
    let unread = |source| BackupError::Read { path: path.to_owned(), source };
    let damaged = || BackupError::Damaged(path.to_owned());
    let file = File::open(path).map_err(unread)?;
    let mut from = Digested { inner: BufReader::new(file), digest: Sha256::new() };
    let mut magic = [0; MAGIC.len()];
    if from.read_exact(&mut magic).is_err() || magic != *MAGIC {
        return Err(BackupError::NoBackup(path.to_owned()));
    }
    let mut taken = [0; 8];
    from.read_exact(&mut taken).map_err(|_| damaged())?;
    let mut rows = 0;
    while from.kind().map_err(|_| damaged())? == ROW {
        let mut part = || from.bytes().map_err(|_| damaged());
        let (table, key, value) = (part()?, part()?, part()?);
        let table = String::from_utf8(table).map_err(|_| damaged())?;
        rows += 1;
        take(Row { table, key, value }).map_err(|source| BackupError::Take { path: path.to_owned(), source })?;
    }
    let digest = from.digest.clone().finalize();
    let seal: Seal = from.bytes().ok().and_then(|bytes| cbor::decode(&bytes).ok()).ok_or_else(damaged)?;
    if seal.format != FORMAT {
        return Err(BackupError::Format { path: path.to_owned(), found: seal.format });
    }
    let ends = from.inner.read(&mut [0]).map_err(unread)? == 0;
    let says = (seal.taken, seal.rows) == (u64::from_be_bytes(taken), rows);
    if ends && says && digest.as_slice() == seal.digest.0 { Ok(seal) } else { Err(damaged()) }
}

/// Everything that passes is added to the digest.
struct Digested<T> {
    inner: T,
    digest: Sha256,
}

impl<T: Write> Write for Digested<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Digested<T> {
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.digest.update(bytes);
        Ok(())
    }

    /// `ROW` or `END`.
    fn kind(&mut self) -> io::Result<u8> {
        let mut kind = [0];
        self.read_exact(&mut kind)?;
        if kind[0] <= ROW { Ok(kind[0]) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length as usize];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LONGEST);
    out.write_all(&length.ok_or(io::ErrorKind::InvalidData)?.to_be_bytes())?;
    out.write_all(bytes)
}

fn new_file<T>(path: &Path, fill: impl FnOnce(&Path) -> Result<T, Failure>) -> Result<T, BackupError> {
    let failed = |source| BackupError::Write { path: path.to_owned(), source };
    if path.try_exists().map_err(|error| failed(error.into()))? {
        return Err(BackupError::Exists(path.to_owned()));
    }
    whole_file(path, fill).map_err(failed)
}

#[cfg(test)]
mod tests {
    use schemas::step::{Store as _, Table, Write as Put};

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{RedbStore, Snapshots as _};

    const SHELF: Table = Table("shelf");
    const OTHER: Table = Table("other");

    fn filled(path: &Path, rows: u64) -> RedbStore {
        let mut store = RedbStore::open(path).unwrap();
        let writes = (0..rows).map(|n| Put::put(SHELF, n.to_be_bytes(), vec![7; 100]));
        let writes: Vec<_> = writes.chain([Put::put(OTHER, b"x", b"9".to_vec())]).collect();
        store.commit(&writes).unwrap();
        store
    }

    #[test]
    fn a_backup_of_a_working_store_is_restored_as_it_was_and_says_so_to_the_core() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut store = filled(&at("store"), 25_000);
        let snapshot = store.snapshot().unwrap();
        store.commit(&[Put::put(OTHER, b"later", b"1".to_vec())]).unwrap();
        let seal = snapshot.write_to(&at("backup"), 77).unwrap();
        assert_eq!((seal.taken, seal.rows), (77, 25_001));
        assert_eq!(fs::metadata(at("backup")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(restore(&at("backup"), &at("again")).unwrap(), seal);
        let again = RedbStore::open(&at("again")).unwrap();
        assert_eq!(fs::metadata(at("again")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(again.rows(SHELF).unwrap(), store.rows(SHELF).unwrap());
        assert_eq!(again.rows(OTHER).unwrap(), [(b"x".to_vec(), b"9".to_vec())]);
        let (table, key) = RESTORED;
        assert_eq!(again.rows(table).unwrap(), [(key.as_bytes().to_vec(), cbor::encode(&77u64))]);
    }

    /// Every row is written over and over while the backup is read, so that each page of its moment would be needed again.
    #[test]
    fn a_backup_holds_one_moment_although_the_store_changes_everything_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut store = filled(&at("store"), 20_000);
        let (before, snapshot) = (store.rows(SHELF).unwrap(), store.snapshot().unwrap());
        let backup = std::thread::spawn({
            let path = at("backup");
            move || snapshot.write_to(&path, 1).unwrap()
        });
        let mut rounds = 0u8;
        while !backup.is_finished() || rounds < 3 {
            rounds = rounds.wrapping_add(1);
            let writes: Vec<_> = (0..20_000u64).map(|n| Put::put(SHELF, n.to_be_bytes(), vec![rounds; 100])).collect();
            store.commit(&writes).unwrap();
        }
        assert_eq!(backup.join().unwrap().rows, 20_001);
        restore(&at("backup"), &at("again")).unwrap();
        assert_eq!(RedbStore::open(&at("again")).unwrap().rows(SHELF).unwrap(), before);
        assert_ne!(store.rows(SHELF).unwrap(), before);
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
    fn a_store_a_cut_off_file_and_a_changed_byte_are_no_backups() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let store = filled(&at("store"), 5);
        assert!(matches!(verify(&at("store")), Err(BackupError::NoBackup(_))));
        assert!(matches!(verify(&at("none")), Err(BackupError::Read { .. })));
        store.snapshot().unwrap().write_to(&at("backup"), 1).unwrap();
        let bytes = fs::read(at("backup")).unwrap();
        let refused = |bytes: &[u8]| {
            fs::write(at("other"), bytes).unwrap();
            let refused = restore(&at("other"), &at("new"));
            assert!(!at("new").exists() && !at("new.part").exists());
            assert!(refused.is_err(), "{refused:?}");
            refused.unwrap_err()
        };
        for length in 0..bytes.len() {
            refused(&bytes[..length]);
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            refused(&changed);
        }
        refused(&[&bytes[..], b"more"].concat());
        let longer = [&MAGIC[..], &[ROW, 0xff, 0xff, 0xff, 0xff]].concat();
        assert!(matches!(refused(&longer), BackupError::Damaged(_)));
    }
}
