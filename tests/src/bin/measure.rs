//! Measures a fleet on this machine and prints the table of BENCHMARKS.md: `cargo run --release -p fleet-tests --bin measure`.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser;
use fleet_tests::measure::{self, Options};

/// Measures speed, traffic and memory of a whole fleet on this machine.
#[derive(Parser)]
#[command(after_help = "Example:\n  cargo run --release -p fleet-tests --bin measure -- --runs 5 > figures.md")]
struct Arguments {
    /// How often everything is measured, each time with a new fleet.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// Unlocks in each run.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    unlocks: u16,
    /// Codes typed in each run; each needs a compartment of its own.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=20))]
    entries: u16,
    /// Instead of all that: a fleet of so many cabinets, each with a hundred open orders.
    #[arg(long, value_name = "CABINETS", conflicts_with_all = ["runs", "unlocks", "entries"],
        value_parser = clap::value_parser!(u32).range(1..=20_000))]
    orders_at: Option<u32>,
    /// Instead of all that: codes typed at a cabinet that holds so many other orders.
    #[arg(long, value_name = "ORDERS", conflicts_with_all = ["runs", "unlocks", "orders_at"],
        value_parser = clap::value_parser!(u16).range(1..=770))]
    codes_among: Option<u16>,
}

fn main() -> anyhow::Result<()> {
    let Arguments { runs, unlocks, entries, orders_at, codes_among } = Arguments::parse();
    let options = Options { runs: runs.into(), unlocks: unlocks.into(), entries: entries.into() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let report = match (orders_at, codes_among) {
        (Some(cabinets), _) => runtime.block_on(measure::run_orders(cabinets))?,
        (None, Some(among)) => runtime.block_on(measure::run_codes(among, entries))?,
        (None, None) => runtime.block_on(measure::run(options))?,
    };
    std::io::stdout().write_all(report.as_bytes()).context("print the figures")
}
