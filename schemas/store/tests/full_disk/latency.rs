//! How long a commit takes, with redb's own file, without and with a reserve.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_store::RedbStore;
use redb::backends::FileBackend;
use schemas::step::{Store as _, Table, Write};

const COMMITS: u64 = 400;

fn redb_alone(path: &Path) -> RedbStore {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    RedbStore::with_backend(FileBackend::new(file).unwrap()).unwrap()
}

/// The median and the ninety-ninth percentile.
fn percentiles(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

/// The three take turns, so that whatever else the machine does strikes each of them.
#[test]
#[ignore = "a measurement, of a machine that does nothing else"]
fn a_reserve_makes_commits_hardly_slower() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut stores = [
        ("redb alone", redb_alone(&at("alone")), Vec::new()),
        ("no reserve", RedbStore::open(&at("none")).unwrap(), Vec::new()),
        ("16 MiB", RedbStore::open_reserved(&at("some"), 16 << 20).unwrap(), Vec::new()),
    ];
    for n in 0..COMMITS {
        for (_, store, times) in &mut stores {
            let write = Write::put(Table("events"), n.to_be_bytes(), vec![n as u8; 2_000]);
            let started = Instant::now();
            store.commit(&[write]).unwrap();
            times.push(started.elapsed());
        }
    }
    let medians = stores.map(|(name, _, times)| {
        let [median, late] = percentiles(times);
        println!("{name}: median {median:?}, 99th percentile {late:?}");
        median
    });
    assert!(medians[2] < medians[0] * 3 / 2, "{medians:?}");
}
