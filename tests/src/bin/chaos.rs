//! Kills real processes for many rounds: `chaos --rounds N [--seed S]`. A failure names its rule and keeps the logs.

use clap::Parser;
use fleet_tests::chaos::{Options, run};

#[derive(Debug, Parser)]
struct Arguments {
    /// How many rounds, each with at least one kill.
    #[arg(long, default_value_t = 300)]
    rounds: u64,
    /// Who does what and what breaks where.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds between two full comparisons of all disks.
    #[arg(long, default_value_t = 5)]
    rest_every: u64,
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> anyhow::Result<()> {
    let Arguments { rounds, seed, rest_every } = Arguments::parse();
    let report = run(Options { rounds, seed, rest_every: rest_every.max(1) }).await?;
    println!("seed {seed}: {report}");
    Ok(())
}
