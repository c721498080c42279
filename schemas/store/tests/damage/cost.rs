//! What it costs to compare every page with its checksum when a store is opened.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_store::RedbStore;
use redb::backends::FileBackend;
use redb::{Builder, Database};
use schemas::step::{Store as _, Table, Write};

fn plain(path: &Path) -> Database {
    let file = File::options().read(true).write(true).open(path).unwrap();
    Builder::new().set_cache_size(4 << 20).create_with_backend(FileBackend::new(file).unwrap()).unwrap()
}

fn took<T>(open: impl Fn() -> T) -> Duration {
    let mut times: Vec<_> = (0..5)
        .map(|_| {
            let started = Instant::now();
            let opened = open();
            let took = started.elapsed();
            drop(opened);
            took
        })
        .collect();
    times.sort_unstable();
    times[2]
}

#[test]
#[ignore = "a measurement, of a machine that does nothing else"]
fn comparing_a_store_with_its_checksums_is_bearable() {
    let folder = tempfile::tempdir().unwrap();
    for rows in [10_000u64, 1_000_000] {
        let path = folder.path().join(rows.to_string());
        let mut store = RedbStore::open(&path).unwrap();
        for first in (0..rows).step_by(5_000) {
            let writes: Vec<_> = (first..first + 5_000)
                .map(|n| Write::put(Table("events"), n.to_be_bytes(), vec![n as u8; 150]))
                .collect();
            store.commit(&writes).unwrap();
        }
        drop(store);
        let (without, with) = (took(|| plain(&path)), took(|| RedbStore::open(&path).unwrap()));
        let size = fs::metadata(&path).unwrap().len() >> 20;
        println!("{rows} rows of 150 bytes, {size} MiB: opened in {without:?}, compared in {with:?}");
    }
}
