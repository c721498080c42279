//! The whole fleet in one process, many times: no invariant breaks, and each would be seen to break.

use std::time::Instant;

use fleet_tests::sim::{
    Coverage, FAULTS_MIN, Failure, INPUTS_MIN, Options, REACH, Regression, SABOTAGES, Sabotage, invariants, run, shrink,
};

/// Schedules of each run of the tests.
const SEEDS: u64 = 440;
/// Schedules in which a sabotage must be found.
const SABOTAGED: u64 = 600;

#[test]
#[allow(clippy::print_stdout, reason = "the rate and the coverage belong into the log of a test run")]
fn no_invariant_breaks_in_any_schedule() {
    let started = Instant::now();
    let (mut coverage, mut steps, mut crashes) = (Coverage::default(), 0, 0);
    let (mut inputs, mut faults) = (u64::MAX, u64::MAX);
    for seed in 1..=SEEDS {
        match run(seed, &Options::default()) {
            Ok(report) => {
                coverage.add(&report.coverage);
                steps += report.steps;
                crashes += report.crashes;
                (inputs, faults) = (inputs.min(report.inputs), faults.min(report.faults));
            }
            Err(failure) => panic!("{}", shown(failure)),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{coverage}");
    println!(
        "{SEEDS} schedules, {steps} steps, {crashes} crashes in {seconds:.1} s: {:.1} schedules/s, {:.0} steps/s",
        SEEDS as f64 / seconds,
        steps as f64 / seconds
    );
    println!(
        "{} distinct crash points; least of a schedule: {inputs} inputs, {faults} faults",
        coverage.crash_points()
    );
    assert!(inputs >= INPUTS_MIN && faults >= FAULTS_MIN, "a schedule had only {inputs} inputs and {faults} faults");
    // A simulation in which nothing happens finds nothing.
    let missing: Vec<_> = REACH.iter().flat_map(|reach| reach.missing(reach.often, &coverage)).collect();
    assert!(missing.is_empty(), "no schedule reached {missing:#?}");
    let mistakes: Vec<_> = REACH.iter().flat_map(|reach| reach.mistakes(&coverage)).collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}

/// A failure as short as it gets, with the file that plays it again.
fn shown(failure: Failure) -> String {
    let failure = shrink(failure, &Options::default(), 300);
    format!("{failure}\n{}", Regression::of(&failure))
}

/// Schedules that once broke an invariant because of a mistake in a core, shortened.
#[test]
fn no_mistake_that_was_mended_comes_back() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sim/regressions");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "txt")) {
        let regression: Regression = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        if let Err(problem) = regression.play(&Options::default()) {
            panic!("{}: {problem}", path.display());
        }
    }
}

#[test]
fn a_failing_schedule_is_shrunk_to_the_decisions_that_make_it_fail() {
    let options = Options { sabotage: Some(Sabotage::DoublePulse), shown: 40, ..Options::default() };
    let failure = (1..=SABOTAGED).find_map(|seed| run(seed, &options).err()).expect("a sabotage is found");
    let short = shrink(failure.clone(), &options, 400);
    assert_eq!((short.seed, short.invariant), (failure.seed, failure.invariant));
    assert!(
        short.decisions.len() <= 8 && short.decisions.len() * 5 <= failure.decisions.len(),
        "{short}\n{:?}",
        short.decisions
    );
    assert!(short.decisions.iter().all(|kept| failure.decisions.contains(kept)));

    let kept: Regression = Regression::of(&short).to_string().parse().unwrap();
    let again = kept.play(&options).unwrap_err();
    assert!(again.contains(short.invariant), "a shortened schedule fails each time: {again}");
    let mended = Options { sabotage: None, ..options };
    assert!(kept.play(&mended).is_ok(), "without the mistake nothing breaks");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..=5 {
        assert_eq!(run(seed, &Options::default()), run(seed, &Options::default()), "seed {seed}");
    }
}

/// Whether two runs of a seed differ is what the test above compares; this one differs.
#[test]
fn a_history_with_another_source_of_chance_differs() {
    let options = Options { sabotage: Some(Sabotage::Undetermined), ..Options::default() };
    assert_ne!(run(1, &options), run(1, &options));
}

#[test]
fn every_sabotage_is_found_by_the_invariant_that_is_there_for_it() {
    let mut missed = Vec::new();
    for (sabotage, expected) in SABOTAGES.iter().filter(|(sabotage, _)| *sabotage != Sabotage::Undetermined) {
        assert!(invariants().any(|(name, _)| name == *expected), "{expected} is no invariant");
        let options = Options { sabotage: Some(*sabotage), shown: 0, ..Options::default() };
        let mut found: Vec<&str> = Vec::new();
        for seed in 1..=SABOTAGED {
            match run(seed, &options) {
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
