//! The whole fleet in one process, many times: no invariant breaks, and each would be seen to break.

use std::time::Instant;

use fleet_tests::sim::{Coverage, Options, SABOTAGES, Sabotage, invariant_names, run};

/// Schedules that once broke an invariant because of a mistake in a core. They are played first, for ever.
const REGRESSIONS: &[u64] = &[
    // The offer to try a smaller compartment again ended the next loading there.
    42, 120,
];
/// Schedules of each run of the tests.
const SEEDS: u64 = 100;
/// Schedules in which a sabotage must be found.
const SABOTAGED: u64 = 60;

#[test]
#[allow(clippy::print_stdout, reason = "the rate and the coverage belong into the log of a test run")]
fn no_invariant_breaks_in_any_schedule() {
    let started = Instant::now();
    let (mut coverage, mut steps, mut crashes) = (Coverage::default(), 0, 0);
    for seed in REGRESSIONS.iter().copied().chain(1..=SEEDS) {
        match run(seed, Options::default()) {
            Ok(report) => {
                coverage.add(&report.coverage);
                steps += report.steps;
                crashes += report.crashes;
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    let schedules = REGRESSIONS.len() as u64 + SEEDS;
    let seconds = started.elapsed().as_secs_f64();
    println!("{coverage}");
    println!(
        "{schedules} schedules, {steps} steps, {crashes} crashes in {seconds:.1} s: {:.1} schedules/s, {:.0} steps/s",
        schedules as f64 / seconds,
        steps as f64 / seconds
    );
    assert_reached(&coverage);
}

/// A simulation in which nothing happens finds nothing.
fn assert_reached(coverage: &Coverage) {
    for (group, names) in [
        (
            "order states",
            &["reserved", "loading", "stored", "collected", "recalled", "retrieved", "cancelled", "rejected"][..],
        ),
        ("facts", &["UnlockDone", "LoadAborted", "DoorFault", "CommandRefused", "CredentialRefused", "BookRefused"]),
        ("outcomes", &["opened", "not_opened", "outcome_unknown"]),
        ("commands refused", &["replayed", "bad_signature", "unknown_key", "malformed"]),
        ("entries", &["Opening", "Wrong", "Locked", "Used", "Revoked", "StaffSession"]),
        ("adversary", &["repeated", "misdirected", "changed", "reordered", "forged", "held back"]),
        (
            "faults",
            &["agent crash", "cabinet power cut", "fleet crash", "signer failed", "pulse not sent", "pulse too late"],
        ),
        (
            "crash points",
            &["fleet before commit", "fleet between effects", "cabinet before commit", "cabinet between effects"],
        ),
    ] {
        for name in names {
            assert!(coverage.of(group, name) > 0, "no schedule reached {name} of {group}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..=5 {
        assert_eq!(run(seed, Options::default()), run(seed, Options::default()), "seed {seed}");
    }
}

/// Whether two runs of a seed differ is what the test above compares; this one differs.
#[test]
fn a_history_with_another_source_of_chance_differs() {
    let options = Options { sabotage: Some(Sabotage::Undetermined), ..Options::default() };
    assert_ne!(run(1, options), run(1, options));
}

#[test]
fn every_sabotage_is_found_by_the_invariant_that_is_there_for_it() {
    let mut missed = Vec::new();
    for (sabotage, expected) in SABOTAGES.iter().filter(|(sabotage, _)| *sabotage != Sabotage::Undetermined) {
        assert!(invariant_names().any(|name| name == *expected), "{expected} is no invariant");
        let options = Options { sabotage: Some(*sabotage), ..Options::default() };
        let mut found: Vec<&str> = Vec::new();
        for seed in 1..=SABOTAGED {
            match run(seed, options) {
                Err(failure) if failure.invariant == *expected => {
                    found = vec![*expected];
                    break;
                }
                Err(failure) => found.push(failure.invariant),
                Ok(_) => {}
            }
        }
        if found != [*expected] {
            found.sort_unstable();
            found.dedup();
            missed.push(format!("{sabotage:?} is not found by {expected}, only by {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
