//! Pages that the kernel took and could not bring to the disk: it goes on showing them as if they were there.

use std::fs;
use std::path::Path;
use std::process::Command;

use fleet_store::RedbStore;
use schemas::step::{Store as _, Table, Write};

use crate::small_disk::{Ballast, Kind, below, on_small_disk, run};

const EVENTS: Table = Table("events");
const ROW: usize = 30_000;

/// Commits until a commit fails. How many did not.
fn append(store: &mut RedbStore, from: u64, to: u64) -> u64 {
    let row = |n: u64| Write::put(EVENTS, n.to_be_bytes(), vec![n as u8; ROW]);
    (from..to).find(|n| store.commit(&[row(*n)]).is_err()).unwrap_or(to)
}

/// The rows that were promised, and perhaps the one that failed. Returns how many there are.
fn rows(store: &RedbStore, promised: u64) -> u64 {
    let rows = store.rows(EVENTS).unwrap();
    assert!([promised, promised + 1].contains(&(rows.len() as u64)), "{} rows of {promised}", rows.len());
    for (n, (key, value)) in (0u64..).zip(&rows) {
        assert_eq!((key.as_slice(), value), (&n.to_be_bytes()[..], &vec![n as u8; ROW]));
    }
    rows.len() as u64
}

fn on_disk(path: &Path) -> Vec<u8> {
    let mut dd = Command::new("dd");
    dd.args(["iflag=direct", "bs=4096", "status=none"]).arg(format!("if={}", path.display()));
    dd.output().unwrap().stdout
}

/// The kernel says a failure once to each who has the file open; then it is silent.
fn reopen(path: &Path) -> RedbStore {
    RedbStore::reopen(path).or_else(|_| RedbStore::reopen(path)).unwrap()
}

fn a_sync_that_fails(folder: &Path) {
    let (path, image) = (folder.join("store"), below(folder).join("img"));
    let mut store = RedbStore::open(&path).unwrap();
    let mut n = append(&mut store, 0, 20);
    assert_eq!(n, 20);
    run("sync", &["-f"], &[folder]);
    let ballast = Ballast::fill(&below(folder));
    n = append(&mut store, n, 1_000);
    assert!(n < 1_000, "no commit has failed");
    drop(store);
    assert_ne!(fs::read(&path).unwrap(), on_disk(&path), "no page was lost");

    n = rows(&reopen(&path), n);
    ballast.remove();
    let mut store = reopen(&path);
    assert_eq!(rows(&store, n), n);
    assert_eq!(append(&mut store, n, n + 50), n + 50);
    drop(store);
    run("umount", &[], &[folder]);
    run("mount", &["-o", "loop"], &[&image, folder]);
    assert_eq!(rows(&RedbStore::open(&path).unwrap(), n + 50), n + 50);
}

#[test]
fn a_store_is_opened_on_what_the_disk_has_and_not_on_what_the_kernel_shows() {
    on_small_disk(
        Kind::Ext4OnTooLittle,
        "lost_pages::a_store_is_opened_on_what_the_disk_has_and_not_on_what_the_kernel_shows",
        a_sync_that_fails,
    );
}
