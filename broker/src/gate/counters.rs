//! What the gate counts: one number per kind of incident and one per broken rule.

use std::sync::atomic::{AtomicU64, Ordering};

use super::rule::Rule;

/// An incident that is no client's broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// TCP connections taken.
    Accepted,
    /// `accept` itself failed, for instance for want of file descriptors.
    AcceptFailed,
    /// Closed at once: too many half-open connections of that address.
    AddressRefused,
    /// The oldest half-open connection, pushed out by a newer one.
    HalfOpenEvicted,
    /// No valid CONNECT within the time for it.
    GreetingTimeout,
    /// The TLS handshake failed or the peer left during it.
    HandshakeFailed,
    /// The certificate names nobody of this fleet.
    Unidentified,
    /// Sessions begun.
    Connected,
    /// Sessions that another connection of the same client id took over.
    TakenOver,
    /// Packets that were held up by the sender's quota.
    Throttled,
    /// Telemetry dropped because its sender was over its quota.
    TelemetryDropped,
    /// Live messages dropped because their reader was slow.
    LiveDropped,
    /// Cabinets closed because a command stayed unacknowledged.
    Unreachable,
    /// Clients that fell silent.
    KeepaliveExpired,
    /// Peers that took no byte any more.
    WriteStalled,
    /// Connections closed because the driver did not store what they sent.
    NotStored,
}

impl Count {
    pub const ALL: [Self; 16] = [
        Self::Accepted,
        Self::AcceptFailed,
        Self::AddressRefused,
        Self::HalfOpenEvicted,
        Self::GreetingTimeout,
        Self::HandshakeFailed,
        Self::Unidentified,
        Self::Connected,
        Self::TakenOver,
        Self::Throttled,
        Self::TelemetryDropped,
        Self::LiveDropped,
        Self::Unreachable,
        Self::KeepaliveExpired,
        Self::WriteStalled,
        Self::NotStored,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptFailed => "accept-failed",
            Self::AddressRefused => "address-refused",
            Self::HalfOpenEvicted => "half-open-evicted",
            Self::GreetingTimeout => "greeting-timeout",
            Self::HandshakeFailed => "handshake-failed",
            Self::Unidentified => "unidentified",
            Self::Connected => "connected",
            Self::TakenOver => "taken-over",
            Self::Throttled => "throttled",
            Self::TelemetryDropped => "telemetry-dropped",
            Self::LiveDropped => "live-dropped",
            Self::Unreachable => "unreachable",
            Self::KeepaliveExpired => "keepalive-expired",
            Self::WriteStalled => "write-stalled",
            Self::NotStored => "not-stored",
        }
    }
}

/// The numbers themselves; each only grows.
#[derive(Debug)]
pub(super) struct Counters {
    counts: [AtomicU64; Count::ALL.len()],
    broken: [AtomicU64; Rule::ALL.len()],
}

impl Counters {
    pub(super) fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; _], broken: [const { AtomicU64::new(0) }; _] }
    }

    // Both enums list their variants in declaration order, so a variant's number is its place.
    pub(super) fn add(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_broken(&self, rule: Rule) {
        self.broken[rule as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, cabinets: usize, sessions: usize, half_open: usize) -> CountersSnapshot {
        CountersSnapshot {
            cabinets,
            sessions,
            half_open,
            counts: Count::ALL.map(|count| (count, self.counts[count as usize].load(Ordering::Relaxed))),
            broken: Rule::ALL.map(|rule| (rule, self.broken[rule as usize].load(Ordering::Relaxed))),
        }
    }
}

/// The gate's numbers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Cabinets connected now.
    pub cabinets: usize,
    /// Sessions of integrations and people connected now.
    pub sessions: usize,
    /// Connections between accept and CONNACK now.
    pub half_open: usize,
    pub counts: [(Count, u64); Count::ALL.len()],
    pub broken: [(Rule, u64); Rule::ALL.len()],
}

impl CountersSnapshot {
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize].1
    }

    pub fn broken(&self, rule: Rule) -> u64 {
        self.broken[rule as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_place_and_name() {
        let mut names: Vec<&str> = Count::ALL.map(Count::name).into_iter().chain(Rule::ALL.map(Rule::name)).collect();
        let counters = Counters::new();
        for count in Count::ALL {
            counters.add(count);
        }
        for rule in Rule::ALL {
            counters.add_broken(rule);
        }
        let snapshot = counters.snapshot(0, 0, 0);
        assert!(Count::ALL.into_iter().all(|count| snapshot.count(count) == 1));
        assert!(Rule::ALL.into_iter().all(|rule| snapshot.broken(rule) == 1));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
