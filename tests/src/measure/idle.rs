//! What a cabinet that nobody uses costs on a metered link in a month.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use cabinet_core::Config;
use schemas::ids::Role;
use schemas::messages::UnlockOutcome;

use super::figures::Figure;
use super::relay::{Direction, Record, Relay};
use super::samples::Samples;
use super::site::{PERSON, Site, compartment};
use super::traffic::{SETTLED, next_telemetry};

/// The shortest that the settings allow; only the size of a ping is taken from it.
const KEEP_ALIVE_SECONDS: u16 = 5;
const PING_WINDOW: Duration = Duration::from_secs(22);
/// A month, and how often what happens in it: pings by the default of the settings, so that the fleet misses a cabinet
/// within 5 min; the fleet's time every 6 h; one new connection a day, without a ticket of the one before.
const DAYS: f64 = 30.0;
const PINGS_A_DAY: f64 = 86_400.0 / 200.0;
const TIMES_A_DAY: f64 = 4.0;
/// An empty PINGREQ or PINGRESP in its TLS record, and nothing else is as short.
const PING_MAX: usize = 26;
const PINGS_GOAL_BYTES: f64 = 2e6;
const ALL_GOAL_BYTES: f64 = 5e6;

/// `time`: bytes of one message of the fleet's time and what goes with it.
pub(super) async fn measure(site: &mut Site, time: f64) -> anyhow::Result<Vec<Figure>> {
    let relay = Relay::start(site.stage.port()).await?;
    let mark = relay.mark();
    site.start_agent_pinging(relay.port(), KEEP_ALIVE_SECONDS).await?;
    let connection = sum(&relay.settled(mark, 1, SETTLED).await?);

    let mark = relay.mark();
    tokio::time::sleep(PING_WINDOW).await;
    let ping = ping(&relay.settled(mark, 1, SETTLED).await?)?;
    let telemetry = telemetry(site, &relay).await?;
    site.stop_agent().await?;

    let telemetry_a_day = 86_400_000.0 / Config::TELEMETRY_IDLE_MILLIS as f64;
    let pings = DAYS * PINGS_A_DAY * ping;
    let others = DAYS * (telemetry_a_day * telemetry + TIMES_A_DAY * time + connection);
    Ok(vec![
        Figure::bytes("wire: a ping and its answer", ping),
        Figure::bytes("wire: a sample of telemetry, 24 compartments", telemetry),
        Figure::bytes("wire: a new connection until it is quiet, full handshake", connection),
        Figure::megabytes("wire: an idle month, pings every 200 s", pings).at_most(PINGS_GOAL_BYTES / 1e6),
        Figure::megabytes("wire: an idle month with telemetry, the time and daily connections", pings + others)
            .at_most(ALL_GOAL_BYTES / 1e6),
    ])
}

fn sum(records: &[Record]) -> f64 {
    records.iter().map(|record| record.size).sum::<usize>() as f64
}

fn ping(records: &[Record]) -> anyhow::Result<f64> {
    let of = |direction| {
        let short = records.iter().filter(move |record| record.direction == direction && record.size <= PING_MAX);
        let sizes: Vec<f64> = short.map(|record| record.size as f64).collect();
        ensure!(sizes.len() >= 3, "{} pings in {PING_WINDOW:?}: {records:?}", sizes.len());
        Ok(Samples::new(sizes).context("no pings")?.median())
    };
    Ok(of(Direction::Up)? + of(Direction::Down)?)
}

/// A door that stands open is told in the next sample.
async fn telemetry(site: &Site, relay: &Relay) -> anyhow::Result<f64> {
    site.cabinet.board().set_person(None);
    let watcher = site.stage.client(Role::Operator, "watcher").await?;
    let mut live = watcher.subscribe_live(Some(site.cabinet.id())).await?;
    site.unlock(compartment(0)?, UnlockOutcome::Opened).await?;
    let mark = relay.mark();
    relay.settled(mark, 0, SETTLED).await?;
    let mark = relay.mark();
    next_telemetry(&mut live).await?;
    let records = relay.settled(mark, 1, SETTLED).await?;
    site.cabinet.close_door(compartment(0)?)?;
    site.cabinet.board().set_person(Some(PERSON));
    let long: Vec<&Record> = records.iter().filter(|record| record.size > PING_MAX).collect();
    let [Record { direction: Direction::Up, size }] = long[..] else {
        anyhow::bail!("a sample of telemetry was {records:?}");
    };
    Ok(*size as f64)
}
