//! Twenty rounds of kills. Many more: `cargo run --release -p fleet-tests --bin chaos -- --rounds 300`.

use fleet_tests::chaos::{Options, run};

#[tokio::test]
async fn killed_processes_keep_what_they_told() -> anyhow::Result<()> {
    let report = run(Options { rounds: 20, seed: 1, rest_every: 5 }).await?;
    eprintln!("{report}");
    anyhow::ensure!(report.rests == 4, "compared {} times", report.rests);
    // Rounds in which nothing happens would prove nothing.
    anyhow::ensure!(report.orders >= 10 && report.pulses >= 10 && report.kills.len() == 3, "{report}");
    for kind in ["puts acknowledged", "codes told", "entries opened", "loads", "unlocks with an outcome"] {
        anyhow::ensure!(report.happenings.contains_key(kind), "no {kind}: {report}");
    }
    Ok(())
}
