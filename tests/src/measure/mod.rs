//! Measures a fleet of real processes from outside: how fast doors open, what it costs on the wire, how big things are.
//!
//! Everything is taken where it happens: on the lock bus, on the network socket, in `/proc`. Each run makes a new fleet;
//! the spread between runs is part of the result.

mod codes;
mod figures;
mod filled;
mod footprint;
mod idle;
mod machine;
mod orders;
mod programs;
mod recovery;
mod relay;
mod samples;
mod site;
mod traffic;
mod unlocks;

use anyhow::{Context as _, ensure};

use figures::{Figure, Figures};
use programs::AgentPrograms;
use site::{Site, SitePlan};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub runs: usize,
    /// Unlocks of each run.
    pub unlocks: usize,
    /// Codes typed in each run.
    pub entries: usize,
}

/// Measures, telling on stderr how far it is, and returns the result as Markdown.
pub async fn run(options: Options) -> anyhow::Result<String> {
    let programs = AgentPrograms::find()?;
    let mut figures = Figures::default();
    for number in 1..=options.runs {
        eprintln!("run {number} of {}, load {}", options.runs, machine::load()?);
        figures.add_run(one_run(&programs, options).await.with_context(|| format!("run {number}"))?)?;
    }
    Ok(format!("{}\n{}", machine::describe(options)?, figures.table()))
}

/// Measures the fleet with a hundred open orders at each of so many cabinets, once.
pub async fn run_orders(cabinets: u32) -> anyhow::Result<String> {
    ensure!(!cfg!(debug_assertions), "figures of an unoptimised build mean nothing; use `cargo run --release`");
    let load = machine::load()?;
    let mut figures = Figures::default();
    figures.add_run(orders::measure(cabinets).await?)?;
    let orders = u64::from(cabinets) * u64::from(filled::LOADED);
    let head = machine::describe_of(&format!("{orders} open orders at {cabinets} cabinets; load at the start {load}"))?;
    Ok(format!("{head}\n{}", figures.list()))
}

/// Measures codes at one cabinet that holds so many other orders, each with a code to type and one to scan, once.
pub async fn run_codes(among: u16, entries: u16) -> anyhow::Result<String> {
    ensure!(!cfg!(debug_assertions), "figures of an unoptimised build mean nothing; use `cargo run --release`");
    let load = machine::load()?;
    let programs = AgentPrograms::find()?;
    let mut site = Site::open(&programs.cabinet, SitePlan::large(among.saturating_add(entries))?).await?;
    site.start_agent(site.stage.port()).await?;
    let mut figures = Figures::default();
    figures.add_run(codes::measure_among(&site, among.into(), entries.into()).await?)?;
    site.close().await?;
    let head = machine::describe_of(&format!(
        "{entries} codes at a cabinet that holds {among} other orders; load at the start {load}"
    ))?;
    Ok(format!("{head}\n{}", figures.list()))
}

async fn one_run(programs: &AgentPrograms, options: Options) -> anyhow::Result<Vec<Figure>> {
    let load = Figure::plain("load of the machine at the start of a run", machine::load()?);
    let mut figures = footprint::sizes(programs)?;
    let mut site = Site::open(&programs.cabinet, SitePlan::one_board()).await?;
    figures.extend(footprint::without_cabinets(&site));

    eprintln!("  an agent at rest");
    site.start_agent(site.stage.port()).await?;
    figures.extend(footprint::at_rest(&site).await?);

    eprintln!("  {} unlocks", options.unlocks);
    figures.extend(unlocks::measure(&site, options.unlocks).await?);

    eprintln!("  {} unlocks over a bad link", options.unlocks);
    site.stop_agent().await?;
    let link = unlocks::bad_link(site.stage.port()).await?;
    site.start_agent(link.port()).await?;
    figures.extend(unlocks::measure_over_bad_link(&site, options.unlocks).await?);

    eprintln!("  bytes on the wire");
    site.stop_agent().await?;
    let relay = relay::Relay::start(site.stage.port()).await?;
    site.start_agent(relay.port()).await?;
    let traffic = traffic::measure(&site, &relay).await?;
    figures.extend(traffic.figures);

    eprintln!("  an idle cabinet");
    site.stop_agent().await?;
    figures.extend(idle::measure(&mut site, traffic.time).await?);

    eprintln!("  {} codes", options.entries);
    site.start_agent(site.stage.port()).await?;
    figures.extend(codes::measure(&site, options.entries).await?);

    site.close().await?;
    eprintln!("  a broker with a large store");
    figures.extend(recovery::measure().await?);
    figures.push(load);
    Ok(figures)
}
