//! Plays many schedules of the simulation: `simulate --seeds N [--from S]`. A failing seed is shown with its history.

use std::time::Instant;

use clap::Parser;
use fleet_tests::sim::{Coverage, Failure, Holds, Options, Regression, invariants, run, shrink};

#[derive(Debug, Parser)]
struct Arguments {
    /// How many schedules.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Simulated minutes of people, faults and an adversary in each schedule.
    #[arg(long, default_value_t = 90)]
    minutes: u64,
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

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        rough_millis: arguments.minutes * 60_000,
        shown: arguments.last,
        without: arguments.without,
        ..Options::default()
    };
    if let Some(path) = arguments.replay {
        return replay(&path, &options);
    }
    let (mut coverage, mut steps, mut crashes, mut failed, mut simulated) = (Coverage::default(), 0, 0, 0, 0);
    let (mut inputs, mut faults) = (u64::MAX, u64::MAX);
    let started = Instant::now();
    for seed in arguments.from..arguments.from + arguments.seeds {
        match run(seed, &options) {
            Ok(report) => {
                coverage.add(&report.coverage);
                steps += report.steps;
                crashes += report.crashes;
                (inputs, faults) = (inputs.min(report.inputs), faults.min(report.faults));
                simulated += report.simulated_millis;
            }
            Err(failure) if arguments.keep_going => {
                failed += 1;
                println!("seed {}: {}: {}", failure.seed, failure.invariant, failure.text);
            }
            Err(failure) => {
                show(failure, &options, arguments.shrink);
                return std::process::ExitCode::FAILURE;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{coverage}");
    for (holds, text) in [(Holds::Always, "always"), (Holds::WithoutAnAdversary, "without an adversary")] {
        let names: Vec<&str> = invariants().filter(|(_, of)| *of == holds).map(|(name, _)| name).collect();
        println!("hold {text}: {}", names.join(", "));
    }
    println!("distinct crash points: {}", coverage.distinct("crash points"));
    println!("least of a schedule: {inputs} inputs, {faults} faults");
    println!(
        "{} schedules, {failed} failed, {steps} steps, {crashes} crashes, {} simulated hours in {seconds:.1} s: {:.1} schedules/s, {:.0} steps/s",
        arguments.seeds,
        simulated / 3_600_000,
        arguments.seeds as f64 / seconds,
        steps as f64 / seconds
    );
    if failed == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

/// The shortened history, and the file with which it can be played again.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
fn show(failure: Failure, options: &Options, plays: usize) {
    let before = failure.decisions.len();
    let failure = shrink(failure, options, plays);
    println!("{failure}");
    println!("{} of {before} decisions are left:", failure.decisions.len());
    print!("{}", Regression::of(&failure, options));
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
