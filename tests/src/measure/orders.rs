//! The fleet with very many open orders: memory, start, the timer, and how many it takes in a second.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{Process, Stage};
use fleet_core::Input;

use super::figures::Figure;
use super::filled::{Filled, LOADED};
use super::footprint::Memory;
use super::samples::Samples;
use crate::people::order;

/// Inputs that the broker's driver puts into one commit at most.
const BATCH: u32 = 512;
const HOUR: u64 = 3_600_000;
/// All were stored within so long before now; the first reminder of retail is due after 36 h.
const STORED_WITHIN: u64 = 30 * HOUR;
const FIRST_REMINDER: u64 = 36 * HOUR;
const IDLE_TICKS: u32 = 100_000;
const FULL_TICKS: usize = 200;
const NEW_BATCHES: u32 = 40;

pub(super) async fn measure(cabinets: u32) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::set_up("acme")?;
    stage.start_signer().await?;
    let path = stage.layout().broker().join("fleet.redb");
    let now = u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?;
    let mut figures = tokio::task::spawn_blocking({
        let path = path.clone();
        move || -> anyhow::Result<_> {
            fill(&path, cabinets, now)?;
            in_process(&path, cabinets, now)
        }
    })
    .await??;
    figures.push(Figure::megabytes("the store's file", std::fs::metadata(&path)?.len() as f64));
    eprintln!("  a broker on that store");
    figures.extend(broker(&mut stage).await?);
    Ok(figures)
}

fn fill(path: &Path, cabinets: u32, now: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut fleet = Filled::open(path, now - STORED_WITHIN)?;
    for n in 0..cabinets {
        fleet.now = now - STORED_WITHIN + STORED_WITHIN * u64::from(n) / u64::from(cabinets);
        fleet.add_cabinet(n).with_context(|| format!("fill cabinet {n}"))?;
        if n % 500 == 499 {
            eprintln!("    {} orders after {:.0} s", (n + 1) * LOADED, begun.elapsed().as_secs_f64());
        }
    }
    fleet.commit()
}

/// The core by itself, on the real store.
fn in_process(path: &Path, cabinets: u32, now: u64) -> anyhow::Result<Vec<Figure>> {
    let started = Instant::now();
    let mut fleet = Filled::open(path, now)?;
    let opened = started.elapsed();
    fleet.check_open(cabinets * LOADED)?;

    let started = Instant::now();
    for _ in 0..IDLE_TICKS {
        fleet.take(Input::Tick)?;
    }
    let idle = started.elapsed() / IDLE_TICKS;
    ensure!(fleet.uncommitted() == 0, "something was due");

    // A twentieth of all orders is due at once: as many as a tick takes, tick after tick.
    fleet.now = now - STORED_WITHIN + FIRST_REMINDER + STORED_WITHIN / 20;
    let (mut decided, mut whole, mut reminded) = (Vec::new(), Vec::new(), 0);
    while decided.len() < FULL_TICKS && fleet.is_due() {
        let before = fleet.messages;
        let started = Instant::now();
        fleet.take(Input::Tick)?;
        decided.push(started.elapsed());
        fleet.commit()?;
        whole.push(started.elapsed());
        reminded += fleet.messages - before;
        fleet.now += 1;
    }
    let ticks = decided.len() as f64;
    let (decided, whole) = (samples(decided)?, samples(whole)?);

    let mut commits: Vec<Duration> = Vec::new();
    let started = Instant::now();
    for batch in 0..NEW_BATCHES {
        for n in batch * BATCH..(batch + 1) * BATCH {
            fleet.put_another(n, cabinets)?;
        }
        let committing = Instant::now();
        fleet.commit()?;
        commits.push(committing.elapsed());
    }
    let rate = f64::from(NEW_BATCHES * BATCH) / started.elapsed().as_secs_f64();
    let commits = samples(commits)?;
    fleet.check_open(cabinets * LOADED + NEW_BATCHES * BATCH)?;
    Ok(vec![
        Figure::millis("store and core: opened", opened.as_secs_f64() * 1e3),
        Figure::millis("a tick with nothing due, mean", idle.as_secs_f64() * 1e3),
        Figure::plain("reminders of a tick while very many are due, mean", reminded as f64 / ticks),
        Figure::millis("… decided, p50", decided.median()),
        Figure::millis("… decided, p99", decided.percentile(99)),
        Figure::millis("… decided and committed, p50", whole.median()),
        Figure::plain("orders accepted and reserved in a second, 512 in a commit", rate),
        Figure::millis("… the commit alone, p50", commits.median()),
        Figure::millis("… the commit alone, p99", commits.percentile(99)),
    ])
}

fn samples(durations: Vec<Duration>) -> anyhow::Result<Samples> {
    Samples::of_durations(durations).context("nothing was measured")
}

async fn broker(stage: &mut Stage) -> anyhow::Result<Vec<Figure>> {
    let started = Instant::now();
    stage.start_broker().await?;
    let ready = started.elapsed();
    let broker = stage.broker().and_then(Process::id).context("no broker runs")?;
    let memory = Memory::of(broker)?;
    let shop = stage.integration("shop").await?;
    let put = Instant::now();
    shop.put_order(&order("A1", "c0", "S")).await?;
    let first = put.elapsed();
    shop.close().await;
    stage.stop_broker().await?;
    Ok(vec![
        Figure::millis("broker: start to ready", ready.as_secs_f64() * 1e3),
        Figure::millis("… an order, to its PUBACK", first.as_secs_f64() * 1e3),
        Figure::mebibytes("… resident", memory.resident),
        Figure::mebibytes("… of that heap and stacks", memory.anonymous),
        Figure::mebibytes("… peak while it started", memory.peak),
    ])
}
