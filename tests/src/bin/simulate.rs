//! Plays many schedules of the simulation: `simulate --seeds N [--from S] [--jobs J]`. A failing seed is shown with its
//! history, shortened.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use fleet_tests::sim::{Coverage, Failure, Holds, Options, REACH, Regression, Report, invariants, run, shrink};

#[derive(Debug, Parser)]
struct Arguments {
    /// How many schedules.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Schedules that are played at the same time. What is reported does not depend on it.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Simulated minutes of people, faults and an adversary in each schedule; drawn from the seed, if it is left out.
    #[arg(long)]
    minutes: Option<u64>,
    /// Goes on behind a failure, and shows only its last line.
    #[arg(long)]
    keep_going: bool,
    /// Steps of the history that a failure shows.
    #[arg(long, default_value_t = 60)]
    last: usize,
    /// Schedules that may be played to shorten a failing one; 0 leaves it as it is.
    #[arg(long, default_value_t = 2_000)]
    shrink: usize,
    /// Leaves out decisions whose name begins like this; may be given several times.
    #[arg(long)]
    without: Vec<String>,
    /// Plays this file of a regression instead.
    #[arg(long)]
    replay: Option<std::path::PathBuf>,
}

/// What all schedules did together.
#[derive(Default)]
struct Total {
    coverage: Coverage,
    schedules: u64,
    steps: u64,
    crashes: u64,
    simulated_millis: u64,
    /// The least of a schedule.
    inputs: Option<u64>,
    faults: Option<u64>,
    failures: Vec<Failure>,
}

impl Total {
    fn take(&mut self, report: &Report) {
        self.schedules += 1;
        self.coverage.add(&report.coverage);
        self.steps += report.steps;
        self.crashes += report.crashes;
        self.simulated_millis += report.simulated_millis;
        self.inputs = Some(self.inputs.map_or(report.inputs, |least| least.min(report.inputs)));
        self.faults = Some(self.faults.map_or(report.faults, |least| least.min(report.faults)));
    }
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        rough_millis: arguments.minutes.map(|minutes| minutes * 60_000),
        shown: arguments.last,
        without: arguments.without.clone(),
        ..Options::default()
    };
    if let Some(path) = &arguments.replay {
        return replay(path, &options);
    }
    let started = Instant::now();
    let mut total = play(&arguments, &options);
    total.failures.sort_by_key(|failure| failure.seed);
    if !arguments.keep_going && !total.failures.is_empty() {
        show(total.failures.swap_remove(0), &options, arguments.shrink);
        return std::process::ExitCode::FAILURE;
    }
    for failure in &total.failures {
        println!("seed {}: {}: {}", failure.seed, failure.invariant, failure.text);
    }
    summarise(&total, started.elapsed().as_secs_f64());
    if total.failures.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

/// Seeds are taken in order: without `keep_going` the lowest that fails is always among those that were played.
fn play(arguments: &Arguments, options: &Options) -> Total {
    let (next, stopped) = (AtomicU64::new(arguments.from), AtomicBool::new(false));
    let quiet = Options { shown: 0, ..options.clone() };
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.from + arguments.seeds {
                        return;
                    }
                    let played = run(seed, &quiet);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    match played {
                        Ok(report) => total.take(&report),
                        Err(failure) => {
                            total.failures.push(failure);
                            stopped.fetch_or(!arguments.keep_going, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn summarise(total: &Total, seconds: f64) {
    println!("{}", total.coverage);
    for (holds, text) in [(Holds::Always, "always"), (Holds::WithoutAnAdversary, "without an adversary")] {
        let names: Vec<&str> = invariants().filter(|(_, of)| *of == holds).map(|(name, _)| name).collect();
        println!("hold {text}: {}", names.join(", "));
    }
    for reach in REACH {
        let names = [reach.often, reach.seldom];
        names
            .into_iter()
            .flat_map(|names| reach.missing(names, &total.coverage))
            .for_each(|name| println!("not reached: {name}"));
        reach.mistakes(&total.coverage).iter().for_each(|mistake| println!("{mistake}"));
    }
    println!("distinct crash points: {}", total.coverage.crash_points());
    let (inputs, faults) = (total.inputs.unwrap_or(0), total.faults.unwrap_or(0));
    println!("least of a schedule: {inputs} inputs, {faults} faults");
    let schedules = total.schedules + total.failures.len() as u64;
    println!(
        "{schedules} schedules, {} failed, {} steps, {} crashes, {} simulated hours in {seconds:.1} s: {:.1} schedules/s, {:.0} steps/s",
        total.failures.len(),
        total.steps,
        total.crashes,
        total.simulated_millis / 3_600_000,
        schedules as f64 / seconds,
        total.steps as f64 / seconds
    );
}

/// The shortened history, and the file with which it can be played again.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn show(failure: Failure, options: &Options, plays: usize) {
    let before = failure.decisions.len();
    let failure = shrink(failure, options, plays);
    println!("{failure}");
    println!("{} of {before} decisions are left:", failure.decisions.len());
    print!("{}", Regression::of(&failure));
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn replay(path: &std::path::Path, options: &Options) -> std::process::ExitCode {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let regression = text.and_then(|text| text.parse::<Regression>().map_err(|error| error.to_string()));
    match regression.and_then(|regression| regression.play(options)) {
        Ok(report) => {
            println!("{} steps, nothing breaks", report.steps);
            std::process::ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{}: {problem}", path.display());
            std::process::ExitCode::FAILURE
        }
    }
}
