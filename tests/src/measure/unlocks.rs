//! From an operator's request to the pulse on the lock bus, and to the reply.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use schemas::messages::UnlockOutcome;
use tokio::time::sleep;

use super::figures::Figure;
use super::samples::Samples;
use super::site::{Site, compartment};
use crate::chaos::{Proxy, Weather};

/// From a pulse to the next request. The agent lets 500 ms pass between pulses, so that the supply recovers; whoever asks
/// earlier waits for that and nothing else is seen.
const SPACING: Duration = Duration::from_millis(700);
/// Up to so much more, drawn each time: requests meet the polls of the lock bus at any point.
const JITTER_MILLIS: u64 = 256;

/// 150 ms there and back, and one piece in fifty held up as long as TCP takes to repeat a lost packet.
const BAD_LINK: Weather = Weather { latency: (75, 75), stall_one_in: 50, stall: (250, 450), ..Weather::CALM };
/// Of the request to the pulse over that link, in milliseconds.
const BAD_LINK_GOAL: f64 = 1_000.0;

pub(super) async fn bad_link(port: u16) -> anyhow::Result<Proxy> {
    let proxy = Proxy::start(port, 1).await?;
    proxy.set_weather(BAD_LINK);
    Ok(proxy)
}

pub(super) async fn measure(site: &Site, count: usize) -> anyhow::Result<Vec<Figure>> {
    let (pulse, reply) = series(site, count).await?;
    Ok(vec![
        Figure::millis("unlock: request to pulse bytes, least", pulse.min()),
        Figure::millis("unlock: request to pulse bytes, p50", pulse.median()),
        Figure::millis("unlock: request to pulse bytes, p99", pulse.percentile(99)),
        Figure::millis("unlock: request to reply `opened`, p50", reply.median()),
        Figure::millis("unlock: request to reply `opened`, p99", reply.percentile(99)),
    ])
}

pub(super) async fn measure_over_bad_link(site: &Site, count: usize) -> anyhow::Result<Vec<Figure>> {
    let (pulse, reply) = series(site, count).await?;
    Ok(vec![
        Figure::millis("unlock over 150 ms with stalls: request to pulse bytes, p50", pulse.median()),
        Figure::millis("unlock over 150 ms with stalls: request to pulse bytes, p99", pulse.percentile(99))
            .at_most(BAD_LINK_GOAL),
        Figure::millis("unlock over 150 ms with stalls: request to reply `opened`, p99", reply.percentile(99)),
    ])
}

/// Times from requests to pulses, and to replies.
async fn series(site: &Site, count: usize) -> anyhow::Result<(Samples, Samples)> {
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
    Ok((pulse, reply))
}

/// Waits until a request no longer has to wait for the gap behind the pulse at `last`.
pub(super) async fn space(last: Instant) -> anyhow::Result<()> {
    let mut random = [0];
    getrandom::fill(&mut random).context("no random numbers from the operating system")?;
    let pause = SPACING + Duration::from_millis(JITTER_MILLIS * u64::from(random[0]) / 256);
    sleep((last + pause).saturating_duration_since(Instant::now())).await;
    Ok(())
}
