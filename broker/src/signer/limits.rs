//! How much of each kind the signer does in a minute: so much whoever took over the broker gets before he is noticed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet_core::signing::SignerRequest;
use schemas::messages::CommandId;
use tracing::{info, warn};

/// At most one line in the log per this time and kind about requests that are refused for a limit: a flood of them must not drown the
/// lines about what was done.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is done in a minute at most, whoever asks.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub commands_per_minute: u32,
    pub certificates_per_minute: u32,
    /// Codes and PINs that are made, or derived for another pepper, and answers to second factors that are kept or derived.
    pub codes_per_minute: u32,
    /// Codes and PINs that are shown, and phone numbers of walk-ins.
    pub reveals_per_minute: u32,
    /// Books and times.
    pub signatures_per_minute: u32,
    /// Commands that make a cabinet forget everything.
    pub wipes_per_minute: u32,
}

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    Certificate,
    Code,
    Reveal,
    Signature,
    Wipe,
}

impl Kind {
    pub(super) fn of(request: &SignerRequest) -> Self {
        match request {
            SignerRequest::SignCommand(_) | SignerRequest::SignOpen(_) => Self::Command,
            SignerRequest::SignConfig(_) => Self::Wipe,
            SignerRequest::IssueCertificate(_) => Self::Certificate,
            SignerRequest::MakeSecrets(_) | SignerRequest::MakeSealed(_) | SignerRequest::KeepAnswer(_) => Self::Code,
            // Both hand out what the fleet knows of a recipient.
            SignerRequest::Reveal(_) | SignerRequest::OpenPhone(_) => Self::Reveal,
            SignerRequest::SignBook(_) | SignerRequest::SignTime(_) => Self::Signature,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Command => "commands",
            Self::Certificate => "certificates",
            Self::Code => "codes",
            Self::Reveal => "reveals",
            Self::Signature => "signatures",
            Self::Wipe => "wipes",
        }
    }
}

/// A limit was reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit of {} per minute reached", .0.as_str())]
pub(super) struct Reached(Kind);

/// Counts everything that is done, since the start of the process.
pub(super) struct Meter {
    commands: Mutex<Bucket>,
    certificates: Mutex<Bucket>,
    codes: Mutex<Bucket>,
    reveals: Mutex<Bucket>,
    signatures: Mutex<Bucket>,
    wipes: Mutex<Bucket>,
}

impl Meter {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let bucket = |limit| Mutex::new(Bucket::new(limit, now));
        Self {
            commands: bucket(limits.commands_per_minute),
            certificates: bucket(limits.certificates_per_minute),
            codes: bucket(limits.codes_per_minute),
            reveals: bucket(limits.reveals_per_minute),
            signatures: bucket(limits.signatures_per_minute),
            wipes: bucket(limits.wipes_per_minute),
        }
    }

    /// Counts a request and writes it into the log, or refuses it.
    pub(super) fn admit(&self, request: &SignerRequest, now: Instant) -> Result<(), Reached> {
        let kind = Kind::of(request);
        let bucket = match kind {
            Kind::Command => &self.commands,
            Kind::Certificate => &self.certificates,
            Kind::Code => &self.codes,
            Kind::Reveal => &self.reveals,
            Kind::Signature => &self.signatures,
            Kind::Wipe => &self.wipes,
        };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.take(weight(request), now) {
            let (asked, n) = (name(request), bucket.done);
            let cabinet = cabinet_of(request).unwrap_or_default();
            match command_of(request) {
                Some((command, requester)) => info!(cabinet, %command, requester, n, "{asked}"),
                None => info!(cabinet, n, "{asked}"),
            }
            return Ok(());
        }
        if let Some(refused) = bucket.tell(now) {
            let (kind, limit) = (kind.as_str(), bucket.limit);
            warn!(limit, refused, "limit of {kind} per minute reached");
        }
        Err(Reached(kind))
    }
}

/// What a request does, in words for the log.
pub(super) fn name(request: &SignerRequest) -> &'static str {
    match request {
        SignerRequest::SignCommand(_) => "sign command",
        SignerRequest::SignOpen(_) => "sign opening by app",
        SignerRequest::SignBook(_) => "sign book",
        SignerRequest::SignTime(_) => "sign time",
        SignerRequest::MakeSecrets(_) => "make secrets",
        SignerRequest::MakeSealed(_) => "make sealed",
        SignerRequest::Reveal(_) => "reveal",
        SignerRequest::OpenPhone(_) => "open phone number",
        SignerRequest::KeepAnswer(_) => "keep answer",
        SignerRequest::IssueCertificate(_) => "issue certificate",
        SignerRequest::SignConfig(_) => "sign config command",
    }
}

/// A command, and who asked for it.
fn command_of(request: &SignerRequest) -> Option<(CommandId, &str)> {
    match request {
        SignerRequest::SignCommand(ask) => Some((ask.command.id, &ask.command.requester)),
        SignerRequest::SignConfig(ask) => Some((ask.command.id, &ask.command.requester)),
        SignerRequest::SignOpen(ask) => Some((ask.open.id, &ask.open.requester)),
        SignerRequest::SignBook(_)
        | SignerRequest::SignTime(_)
        | SignerRequest::MakeSecrets(_)
        | SignerRequest::MakeSealed(_)
        | SignerRequest::Reveal(_)
        | SignerRequest::OpenPhone(_)
        | SignerRequest::KeepAnswer(_)
        | SignerRequest::IssueCertificate(_) => None,
    }
}

fn cabinet_of(request: &SignerRequest) -> Option<&str> {
    match request {
        SignerRequest::SignCommand(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::SignBook(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::SignTime(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::MakeSecrets(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::IssueCertificate(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::SignConfig(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::SignOpen(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::OpenPhone(ask) => Some(ask.cabinet.as_str()),
        SignerRequest::MakeSealed(_) | SignerRequest::Reveal(_) | SignerRequest::KeepAnswer(_) => None,
    }
}

/// Several codes can be in one request.
fn weight(request: &SignerRequest) -> u32 {
    match request {
        SignerRequest::MakeSecrets(ask) => u32::try_from(ask.items.len()).unwrap_or(u32::MAX).max(1),
        SignerRequest::SignCommand(_)
        | SignerRequest::SignBook(_)
        | SignerRequest::SignTime(_)
        | SignerRequest::MakeSealed(_)
        | SignerRequest::Reveal(_)
        | SignerRequest::OpenPhone(_)
        | SignerRequest::KeepAnswer(_)
        | SignerRequest::IssueCertificate(_)
        | SignerRequest::SignOpen(_)
        | SignerRequest::SignConfig(_) => 1,
    }
}

/// Fills evenly over a minute.
struct Bucket {
    limit: u32,
    tokens: f64,
    filled: Instant,
    done: u64,
    refused: u64,
    told: Option<Instant>,
}

impl Bucket {
    fn new(limit: u32, now: Instant) -> Self {
        Self { limit, tokens: limit.into(), filled: now, done: 0, refused: 0, told: None }
    }

    /// More than a minute's worth passes when nothing else did for a minute, and is paid off afterwards.
    fn take(&mut self, weight: u32, now: Instant) -> bool {
        let limit = f64::from(self.limit);
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * limit / 60.0;
        self.tokens = (self.tokens + gained).min(limit);
        self.filled = now;
        let allowed = self.tokens >= f64::from(weight.min(self.limit));
        if allowed {
            self.tokens -= f64::from(weight);
            self.done += u64::from(weight);
        } else {
            self.refused += 1;
        }
        allowed
    }

    /// How many were refused by now, if it is time to say so.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        due.then(|| {
            self.told = Some(now);
            self.refused
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_limited_and_counted_and_the_limit_recovers() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, start);
        assert!(bucket.take(1, start) && bucket.take(1, start));
        assert!(!bucket.take(1, start));
        assert!(!bucket.take(1, start + Duration::from_secs(29)));
        assert!(bucket.take(1, start + Duration::from_secs(31)));
        assert_eq!((bucket.done, bucket.refused), (3, 2));
    }

    #[test]
    fn several_at_once_count_as_several() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        assert!(bucket.take(8, start));
        assert!(!bucket.take(3, start));
        assert!(bucket.take(2, start));
        let later = start + Duration::from_secs(60);
        assert!(bucket.take(25, later), "more than the limit would else never pass");
        assert!(!bucket.take(1, later + Duration::from_secs(90)), "and is paid off");
        assert!(bucket.take(1, later + Duration::from_secs(97)));
    }

    #[test]
    fn refusals_are_told_once_a_second_with_their_number() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, start);
        assert!(bucket.take(1, start));
        let mut told = Vec::new();
        for tenth in 0..25u32 {
            let now = start + Duration::from_millis(100) * tenth;
            assert!(!bucket.take(1, now));
            told.extend(bucket.tell(now));
        }
        assert_eq!(told, [1, 11, 21]);
    }
}
