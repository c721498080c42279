//! What a reserve is worth when the disk is full, and that it comes back by itself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fleet_store::{OpenError, RedbStore, Reserved as _, Snapshots as _, verify};
use schemas::step::{Store as _, Table, Write};

use crate::small_disk::{Ballast, Kind, on_small_disk, run};

const EVENTS: Table = Table("events");
const RESERVE: u64 = 4 * 1024 * 1024;
/// Bytes of a row: about a page with its key.
const ROW: usize = 3_500;

fn row(n: u64) -> Write {
    Write::put(EVENTS, n.to_be_bytes(), vec![n as u8; ROW])
}

fn append(store: &mut RedbStore, n: &mut u64) -> bool {
    let committed = store.commit(&[row(*n)]).is_ok();
    *n += u64::from(committed);
    committed
}

/// Every row that was promised is there with what it held, and at most the one that failed behind it.
fn assert_holds(store: &RedbStore, promised: u64) {
    let rows = store.rows(EVENTS).unwrap();
    assert!([promised, promised + 1].contains(&(rows.len() as u64)), "{} rows of {promised}", rows.len());
    for (n, (key, value)) in (0u64..).zip(rows) {
        assert_eq!((key.as_slice(), value), (&n.to_be_bytes()[..], vec![n as u8; ROW]));
    }
}

fn a_full_disk(folder: &Path) {
    let (path, plain) = (folder.join("store"), folder.join("plain"));
    let mut store = RedbStore::open_reserved(&path, RESERVE).unwrap();
    let mut without = RedbStore::open(&plain).unwrap();
    let (mut n, mut of_plain) = (0, 0);
    for _ in 0..100 {
        assert!(append(&mut store, &mut n) && append(&mut without, &mut of_plain));
    }
    assert!(!store.is_low() && !without.is_low());

    let ballast = Ballast::fill(folder);
    while append(&mut without, &mut of_plain) {}
    drop(without);
    let before = n;
    assert!(append(&mut store, &mut n));
    while append(&mut store, &mut n) {
        assert!(n < before + RESERVE, "the reserve has no end");
    }
    assert!(store.is_low());
    let (worth, plain_worth) = ((n - before) * ROW as u64, (of_plain - 100) * ROW as u64);
    eprintln!("a reserve of {RESERVE} bytes was worth {worth} bytes of rows; without one {plain_worth}");
    assert!(worth > RESERVE / 2, "the reserve was worth only {worth} bytes");
    assert!(plain_worth < RESERVE / 8, "the disk was not full: {plain_worth} bytes without a reserve");
    assert!(!append(&mut store, &mut n), "a store that failed goes on");
    drop(store);

    let mut store = RedbStore::reopen_reserved(&path, RESERVE).unwrap();
    assert_holds(&store, n);
    assert!(store.is_low());
    n = store.rows(EVENTS).unwrap().len() as u64;
    ballast.remove();
    assert!(!store.is_low(), "there is room again");
    assert!(append(&mut store, &mut n));
    assert_holds(&store, n);
    assert_holds(&RedbStore::open(&plain).unwrap(), of_plain);
}

#[test]
fn a_reserve_carries_on_where_a_store_without_one_stops_and_nothing_promised_is_lost() {
    on_small_disk(
        Kind::Tmpfs,
        "room::a_reserve_carries_on_where_a_store_without_one_stops_and_nothing_promised_is_lost",
        a_full_disk,
    );
}

#[test]
fn a_reserve_carries_on_on_ext4() {
    on_small_disk(Kind::Ext4, "room::a_reserve_carries_on_on_ext4", a_full_disk);
}

/// Both restarts are clean: redb makes its file shorter when it is closed.
fn a_restart(folder: &Path) {
    let path = folder.join("store");
    let mut n = 0;
    let mut store = RedbStore::open_reserved(&path, RESERVE).unwrap();
    for _ in 0..300 {
        assert!(append(&mut store, &mut n));
    }
    drop(store);
    let ballast = Ballast::fill(folder);
    let before = n;
    for _ in 0..2 {
        let mut store = RedbStore::open_reserved(&path, RESERVE).unwrap();
        assert_holds(&store, n);
        for _ in 0..100 {
            assert!(append(&mut store, &mut n), "after {} rows on a full disk", n - before);
        }
        assert!(store.is_low());
    }
    ballast.remove();
    let mut store = RedbStore::open_reserved(&path, RESERVE).unwrap();
    assert!(!store.is_low());
    assert!(append(&mut store, &mut n));
    assert_holds(&store, n);
}

#[test]
fn a_reserve_is_still_there_after_a_restart_on_a_full_disk() {
    on_small_disk(Kind::Tmpfs, "room::a_reserve_is_still_there_after_a_restart_on_a_full_disk", a_restart);
}

#[test]
fn a_reserve_is_still_there_after_a_restart_on_a_full_ext4() {
    on_small_disk(Kind::Ext4, "room::a_reserve_is_still_there_after_a_restart_on_a_full_ext4", a_restart);
}

/// Room comes back before the reserve is used up: nobody opens the store again.
fn room_again(folder: &Path) {
    let mut store = RedbStore::open_reserved(&folder.join("store"), RESERVE).unwrap();
    let mut n = 0;
    for _ in 0..3 {
        let ballast = Ballast::fill(folder);
        // More than the step by which a reserve is moved on.
        for _ in 0..400 {
            assert!(append(&mut store, &mut n), "row {n}");
        }
        assert!(store.is_low());
        ballast.remove();
        assert!(append(&mut store, &mut n));
        assert!(!store.is_low());
    }
    assert_holds(&store, n);
}

#[test]
fn a_reserve_is_filled_again_when_there_is_room() {
    on_small_disk(Kind::Tmpfs, "room::a_reserve_is_filled_again_when_there_is_room", room_again);
}

fn no_reserve_possible(folder: &Path) {
    let path = folder.join("store");
    let mut store = RedbStore::open_reserved(&path, RESERVE).unwrap();
    assert!(store.is_low());
    let mut n = 0;
    for _ in 0..1_000 {
        assert!(append(&mut store, &mut n));
    }
    let ballast = Ballast::fill(folder);
    while append(&mut store, &mut n) {}
    ballast.remove();
    drop(store);
    let mut store = RedbStore::reopen_reserved(&path, RESERVE).unwrap();
    assert_holds(&store, n);
    n = store.rows(EVENTS).unwrap().len() as u64;
    assert!(append(&mut store, &mut n) && store.is_low());
}

#[test]
fn where_no_reserve_can_be_made_the_store_says_so_and_works() {
    on_small_disk(
        Kind::Ext4WithoutExtents,
        "room::where_no_reserve_can_be_made_the_store_says_so_and_works",
        no_reserve_possible,
    );
}

fn no_room_from_the_start(folder: &Path) {
    let path = folder.join("store");
    let mut store = RedbStore::open_reserved(&path, 1 << 40).unwrap();
    assert!(store.is_low());
    let mut n = 0;
    for _ in 0..100 {
        assert!(append(&mut store, &mut n));
    }
    drop(store);
    assert_holds(&RedbStore::open(&path).unwrap(), n);
    assert!(
        fs::metadata(path).unwrap().blocks() * 512 < 8 * 1024 * 1024,
        "a reserve that cannot be took what there is"
    );
}

#[test]
fn a_reserve_larger_than_the_disk_is_said_to_be_low_and_stops_nobody() {
    on_small_disk(
        Kind::Tmpfs,
        "room::a_reserve_larger_than_the_disk_is_said_to_be_low_and_stops_nobody",
        no_room_from_the_start,
    );
}

#[test]
fn a_reserve_takes_what_it_says_and_lies_beyond_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, reserved] = ["plain", "reserved"].map(|name| folder.path().join(name));
    let mut stores = [RedbStore::open(&plain).unwrap(), RedbStore::open_reserved(&reserved, RESERVE).unwrap()];
    for n in 0..300u64 {
        // The same hundred rows over and over.
        let write = [Write::put(EVENTS, (n % 100).to_be_bytes(), vec![n as u8; ROW])];
        assert!(stores.iter_mut().all(|store| store.commit(&write).is_ok()));
    }
    let [plain, reserved] = [plain, reserved].map(|path| fs::metadata(path).unwrap());
    assert_eq!(plain.len(), reserved.len());
    let more = (reserved.blocks() - plain.blocks()) * 512;
    assert!((RESERVE / 2..RESERVE * 2).contains(&more), "{more} bytes more than without a reserve");
}

fn read_only(folder: &Path) {
    let path = folder.join("store");
    let mut n = 0;
    assert!(append(&mut RedbStore::open_reserved(&path, RESERVE).unwrap(), &mut n));
    run("mount", &["-o", "remount,bind,ro"], &[folder]);
    for opened in [RedbStore::open(&path), RedbStore::reopen_reserved(&path, RESERVE)] {
        assert!(matches!(opened, Err(OpenError::Open { .. })));
    }
    assert!(matches!(RedbStore::open(&folder.join("new")), Err(OpenError::Open { .. })));
    run("mount", &["-o", "remount,bind,rw"], &[folder]);
    let mut store = RedbStore::reopen_reserved(&path, RESERVE).unwrap();
    assert!(append(&mut store, &mut n) && !store.is_low());
    assert_holds(&store, 2);
}

#[test]
fn a_read_only_disk_refuses_to_open_a_store_and_harms_none() {
    on_small_disk(Kind::Tmpfs, "room::a_read_only_disk_refuses_to_open_a_store_and_harms_none", read_only);
}

fn backups(folder: &Path) {
    let mut store = RedbStore::open_reserved(&folder.join("store"), RESERVE).unwrap();
    let mut n = 0;
    for _ in 0..500 {
        assert!(append(&mut store, &mut n));
    }
    let snapshot = store.snapshot().unwrap();
    let ballast = Ballast::fill(folder);
    let backup = folder.join("backup");
    snapshot.write_to(&backup, 1).unwrap_err();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ballast", "store"], "a backup that failed leaves something");
    // The store goes on, and what it writes meanwhile is not in the backup.
    for _ in 0..50 {
        assert!(append(&mut store, &mut n));
    }
    ballast.remove();
    assert_eq!(snapshot.write_to(&backup, 1).unwrap().rows, 500);
    verify(&backup).unwrap();

    let ballast = Ballast::fill(folder);
    let again = folder.join("again");
    fleet_store::restore(&backup, &again).unwrap_err();
    assert!(!again.exists() && !folder.join("again.part").exists());
    ballast.remove();
    fleet_store::restore(&backup, &again).unwrap();
    assert_holds(&RedbStore::open(&again).unwrap(), 500);
    assert_holds(&store, n);
}

#[test]
fn a_backup_or_a_restore_without_room_fails_whole_and_the_store_goes_on() {
    on_small_disk(Kind::Tmpfs, "room::a_backup_or_a_restore_without_room_fails_whole_and_the_store_goes_on", backups);
}
