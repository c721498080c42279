//! From an operator's request to the pulse on the lock bus, and to the reply.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use schemas::messages::UnlockOutcome;
use tokio::time::sleep;

use super::figures::Figure;
use super::samples::Samples;
use super::site::{Site, compartment};

/// From a pulse to the next request. The agent lets 500 ms pass between pulses, so that the supply recovers; whoever asks
/// earlier waits for that and nothing else is seen.
const SPACING: Duration = Duration::from_millis(700);
/// Up to so much more, drawn each time: requests meet the polls of the lock bus at any point.
const JITTER_MILLIS: u64 = 256;

pub(super) async fn measure(site: &Site, count: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut to_pulse, mut to_reply) = (Vec::new(), Vec::new());
    // The bus has just been opened: also then it waits.
    let mut last = Instant::now();
    for index in 0..count {
        space(last).await?;
        let compartment = compartment(index)?;
        let before = site.cabinet.pulses();
        let begun = Instant::now();
        site.unlock(compartment, UnlockOutcome::Opened).await?;
        let replied = Instant::now();
        last = site.pulse(before, compartment)?;
        to_pulse.push(last - begun);
        to_reply.push(replied - begun);
    }
    let pulse = Samples::of_durations(to_pulse).context("no unlocks")?;
    let reply = Samples::of_durations(to_reply).context("no unlocks")?;
    Ok(vec![
        Figure::millis("unlock: request to pulse bytes, least", pulse.min()),
        Figure::millis("unlock: request to pulse bytes, p50", pulse.median()),
        Figure::millis("unlock: request to pulse bytes, p99", pulse.percentile(99)),
        Figure::millis("unlock: request to reply `opened`, p50", reply.median()),
        Figure::millis("unlock: request to reply `opened`, p99", reply.percentile(99)),
    ])
}

/// Waits until a request no longer has to wait for the gap behind the pulse at `last`.
pub(super) async fn space(last: Instant) -> anyhow::Result<()> {
    let mut random = [0];
    getrandom::fill(&mut random).context("no random numbers from the operating system")?;
    let pause = SPACING + Duration::from_millis(JITTER_MILLIS * u64::from(random[0]) / 256);
    sleep((last + pause).saturating_duration_since(Instant::now())).await;
    Ok(())
}
