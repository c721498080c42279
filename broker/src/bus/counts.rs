//! What a bus counts for the metrics page.

use schemas::topics::Live;

/// Counters since the bus was started. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that `publish` took into the queue.
    pub accepted: u64,
    /// Packets that were handed to the sink.
    pub delivered: u64,
    /// Packets that were refused or displaced because the queue was full.
    pub dropped: Dropped,
    /// Messages from the bus that are no frame of ours, or came on a topic where they do not belong.
    pub malformed: u64,
    /// Well-formed frames that nobody waits for: a repeat, or the echo of a link that was given up.
    pub stale: u64,
    /// Links that died and were given up.
    pub replacements: u64,
    /// Attempts to make a link that failed, such as a refused connection.
    pub failed_links: u64,
}

/// Dropped packets by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    pub presence: u64,
    pub event: u64,
    pub telemetry: u64,
    pub availability: u64,
}

impl Dropped {
    pub(super) fn add(&mut self, live: Live) {
        match live {
            Live::Presence => self.presence += 1,
            Live::Event => self.event += 1,
            Live::Telemetry => self.telemetry += 1,
            Live::Availability => self.availability += 1,
        }
    }
}
