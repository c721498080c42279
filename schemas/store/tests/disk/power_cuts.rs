//! Power cuts and failures at every operation of a random history of commits.

use schemas::step::{Store as _, Table, Write};

use crate::forgetful::{Chance, Fault, Honesty};
use crate::witness::{Broken, Witness, images_wanted};

const TABLES: &[Table] = &[Table("goods"), Table("events"), Table("meta")];
/// Commits of a history.
const COMMITS: usize = 25;

/// Puts and removals as the cores make them; now and then one that makes the file grow.
fn writes(chance: &mut Chance) -> Vec<Write> {
    let large = chance.below(12) == 0;
    let rows = 1 + chance.below(6);
    let mut write = |_| {
        let table = TABLES[chance.below(TABLES.len())];
        let key = (chance.below(40) as u64).to_be_bytes();
        if chance.below(4) == 0 {
            return Write::remove(table, key);
        }
        let len = if large { 200_000 } else { chance.below(3_000) };
        Write::put(table, key, vec![chance.below(256) as u8; len])
    };
    (0..rows).map(&mut write).collect()
}

fn history(seed: u64, honesty: Honesty) -> Witness {
    let mut chance = Chance(seed);
    let mut witness = Witness::new(TABLES, honesty, seed);
    witness.open();
    for _ in 0..COMMITS {
        witness.commit(&writes(&mut chance)).unwrap();
    }
    witness.close();
    witness
}

fn explore(seed: u64, honesty: Honesty) -> Result<usize, String> {
    history(seed, honesty).cut_power_everywhere(seed, 9, |_, _| Ok(()))
}

#[test]
fn whatever_a_power_cut_leaves_every_commit_is_whole_and_no_promised_one_is_missing() {
    let wanted = images_wanted(1_000);
    let (mut images, mut seed) = (0, 0);
    while images < wanted {
        seed += 1;
        images += explore(seed, Honesty::Honest).unwrap();
    }
    println!("{images} images of power cuts in {seed} histories");
}

/// A history in which the disk fails once, and the store is opened again as the shells do it.
fn with_fault(seed: u64, operation: usize, fault: Fault, drops_cache: bool) -> Result<bool, String> {
    let named = |broken: Broken| format!("seed {seed}, {fault:?} at operation {operation}: {broken}");
    let mut chance = Chance(seed);
    let mut witness = Witness::new(TABLES, Honesty::Honest, seed);
    witness.drops_cache = drops_cache;
    witness.disk().fail_at(operation, fault);
    witness.open();
    for _ in 0..COMMITS {
        let writes = writes(&mut chance);
        while witness.commit(&writes).is_err() {
            assert!(witness.commit(&writes).is_err(), "a store that failed takes a commit without being opened again");
            if witness.recover().map_err(named)? {
                break;
            }
        }
    }
    witness.close();
    if !witness.is_kept().map_err(named)? {
        return Err(named(Broken::Forgotten));
    }
    Ok(witness.disk().has_failed())
}

#[test]
fn after_any_failure_the_commit_is_whole_or_absent_and_the_reopened_store_goes_on() {
    let wanted = images_wanted(1_000) / 15;
    let (mut failures, mut seed) = (0, 0);
    while failures < wanted {
        seed += 1;
        let operations = history(seed, Honesty::Honest).disk().operations();
        for operation in (seed as usize % 7..operations).step_by(7) {
            for fault in [Fault::Io, Fault::NoRoom] {
                assert!(with_fault(seed, operation, fault, true).unwrap(), "nothing failed at {operation}");
                failures += 1;
            }
        }
    }
    println!("{failures} failures in {seed} histories");
}

#[test]
fn a_disk_that_only_pretends_to_sync_is_found() {
    for seed in 1..=3 {
        explore(seed, Honesty::Lies).unwrap_err();
        explore(seed, Honesty::HalfTrue).unwrap_err();
    }
}

/// After a failed sync the kernel shows pages that never reached the medium. A store that was opened on them would build on
/// what the next power cut takes away.
#[test]
fn a_store_that_is_opened_on_pages_of_a_failed_sync_is_found() {
    let broken = (0..200).find_map(|operation| with_fault(1, operation, Fault::Io, false).err());
    assert!(broken.is_some(), "a kernel that shows what is not on the medium goes unnoticed");
}
