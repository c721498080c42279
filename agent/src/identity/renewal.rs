//! Renewal by itself: at two thirds of a certificate's life, spread over an hour, and again and again until it works.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::{CertificationRequest, Summary, enrolment_client_config};
use schemas::enrolment::SIMPLE_REENROLL;
use schemas::ids::Identity;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use super::credentials::Credentials;
use super::enroll::own_leaf;
use super::est::Fleet;
use super::slots::Slot;
use crate::uplink::{Order, Uplink, random};

/// Over which cabinets spread that got their certificates in the same minute.
const SPREAD: Duration = Duration::from_secs(60 * 60);
/// Between two attempts: the first wait and the longest, each lengthened by up to a half by chance.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// The clock may be set, and a machine may sleep: the date is looked at as often as this.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a new certificate may be on trial before the next is asked for.
const TRIAL: Duration = Duration::from_secs(10 * 60);

/// Keeps the certificate of a cabinet alive.
pub struct Renewal {
    pub credentials: Arc<Credentials>,
    pub fleet: Fleet,
    pub identity: Identity,
    /// To the connection: it is made anew with the new certificate.
    pub orders: mpsc::Sender<Order>,
}

/// When a certificate is to be renewed: at two thirds of its life, and up to an hour later (of a short life up to a tenth).
/// `draw` is 0 to 1.
pub fn due_at(summary: &Summary, draw: f64) -> SystemTime {
    let life = summary.not_after.duration_since(summary.not_before).unwrap_or_default();
    summary.not_before + life * 2 / 3 + SPREAD.min(life / 10).mul_f64(draw.clamp(0.0, 1.0))
}

/// The wait after `failures` failed attempts.
fn retry_after(failures: u32, draw: f64) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY_MAX);
    doubled.mul_f64(1.0 + draw.clamp(0.0, 1.0) / 2.0)
}

impl Renewal {
    /// Runs for ever.
    pub async fn run(self) {
        self.credentials.tidy();
        let mut failures = 0;
        loop {
            self.until_due().await;
            match self.renew().await {
                Ok(()) => {
                    failures = 0;
                    sleep(TRIAL).await;
                }
                Err(error) => {
                    failures += 1;
                    let wait = retry_after(failures, random());
                    warn!(error = %format!("{error:#}"), again_in = ?wait, "the certificate was not renewed");
                    sleep(wait).await;
                }
            }
        }
    }

    async fn until_due(&self) {
        let draw = random();
        loop {
            let now = self.now();
            let due = due_at(&self.credentials.current(), draw);
            if now >= due && !self.credentials.is_trying() {
                return;
            }
            let wait = due.duration_since(now).unwrap_or(LOOK_EVERY).min(LOOK_EVERY).max(Duration::from_secs(1));
            tokio::select! {
                () = sleep(wait) => {}
                // This clock may not know that it is over.
                () = self.credentials.until_ended() => return,
            }
        }
    }

    fn now(&self) -> SystemTime {
        let since = self.credentials.clock().current_time().map_or(0, |time| time.as_secs());
        UNIX_EPOCH + Duration::from_secs(since)
    }

    async fn renew(&self) -> anyhow::Result<()> {
        let slots = self.credentials.slots();
        let own = slots.read(Slot::Current)?;
        let key = slots.request_key(Some(&own.summary().public_key))?;
        let tls = enrolment_client_config(Some(&own), self.credentials.servers(), self.credentials.clock())?;
        let csr = CertificationRequest::make(&key, None)?;
        let told = self.fleet.post(Arc::new(tls), SIMPLE_REENROLL, None, &csr).await?;
        let leaf = own_leaf(told, &self.identity, &key);
        let leaf = leaf.ok_or_else(|| anyhow::anyhow!("the fleet issued no certificate for {}", self.identity))?;
        let next = slots.write(Slot::Next, &key, &[leaf])?;
        slots.forget_request()?;
        self.credentials.try_next(&next)?;
        info!(not_after = ?next.summary().not_after, "a new certificate has come; it is tried now");
        // A connection that has ended by then takes the new certificate anyway.
        let _ = self.orders.send(Order { connection: 0, uplink: Uplink::Restart }).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use certs::{CertificateAuthority, generate_p256};

    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_and_spread_over_an_hour() {
        let (fleet, now) = ("acme".parse().unwrap(), SystemTime::now());
        let root = CertificateAuthority::new_root(&fleet, generate_p256().unwrap(), now).unwrap();
        let mut summary = Summary::read(root.certificate()).unwrap();
        let days = |count: u64| Duration::from_secs(count * 86_400);
        summary.not_after = summary.not_before + days(730);
        let first = summary.not_before + days(730) * 2 / 3;
        assert_eq!((due_at(&summary, 0.0), due_at(&summary, 1.0)), (first, first + SPREAD));
        assert_eq!(due_at(&summary, 7.0), first + SPREAD, "no chance makes it later");
        summary.not_after = summary.not_before + Duration::from_secs(600);
        assert_eq!(due_at(&summary, 1.0), summary.not_before + Duration::from_secs(460));
    }

    #[test]
    fn the_wait_doubles_from_a_minute_to_six_hours_and_is_spread() {
        let waits: Vec<u64> = (1..=11).map(|failures| retry_after(failures, 0.0).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 21_600, 21_600]);
        assert_eq!(retry_after(u32::MAX, 1.0), RETRY_MAX * 3 / 2);
    }

    /// An hour is enough for ten thousand cabinets of one day, and no second of it is a herd.
    #[test]
    fn ten_thousand_cabinets_of_one_minute_come_spread_over_an_hour() {
        let (fleet, now) = ("acme".parse().unwrap(), SystemTime::now());
        let root = CertificateAuthority::new_root(&fleet, generate_p256().unwrap(), now).unwrap();
        let summary = Summary::read(root.certificate()).unwrap();
        let first = due_at(&summary, 0.0);
        let mut seconds = vec![0; 3_601];
        for _ in 0..10_000 {
            let after = due_at(&summary, random()).duration_since(first).unwrap();
            seconds[usize::try_from(after.as_secs()).unwrap()] += 1;
        }
        assert_eq!(seconds.iter().sum::<u32>(), 10_000);
        assert!(seconds.iter().max() < Some(&20), "{:?} in one second", seconds.iter().max());
    }
}
