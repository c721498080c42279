//! How fast one certificate may send: the generic cell rate algorithm, shared by all sessions of an identity.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

/// One identity's allowance.
#[derive(Debug)]
pub(super) struct Quota {
    interval: Duration,
    burst: Duration,
    /// When the next packet would be due at the steady rate.
    due: Mutex<Instant>,
}

impl Quota {
    /// `per_second` packets steadily, `burst` of them at once.
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst: interval * burst.max(1), due: Mutex::new(now) }
    }

    /// Books one packet and says how long the sender must be held up for it.
    pub(super) fn book(&self, now: Instant) -> Duration {
        let mut due = lock(&self.due);
        *due = (*due).max(now) + self.interval;
        due.saturating_duration_since(now).saturating_sub(self.burst)
    }

    /// Books one packet if it fits without holding the sender up.
    pub(super) fn book_if_free(&self, now: Instant) -> bool {
        let mut due = lock(&self.due);
        let next = (*due).max(now) + self.interval;
        let fits = next.saturating_duration_since(now) <= self.burst;
        if fits {
            *due = next;
        }
        fits
    }

    /// True once forgetting this quota would give nothing away.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        *lock(&self.due) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_steady_rate_holds() {
        let start = Instant::now();
        let quota = Quota::new(10, 3, start);
        for _ in 0..3 {
            assert_eq!(quota.book(start), Duration::ZERO);
        }
        assert_eq!(quota.book(start), Duration::from_millis(100));
        assert_eq!(quota.book(start), Duration::from_millis(200));
        assert!(!quota.is_full(start));
        let later = start + Duration::from_millis(500);
        assert!(quota.is_full(later));
        assert_eq!(quota.book(later), Duration::ZERO);
    }

    #[test]
    fn what_may_be_lost_is_refused_without_being_booked() {
        let start = Instant::now();
        let quota = Quota::new(1, 1, start);
        assert!(quota.book_if_free(start));
        for _ in 0..1000 {
            assert!(!quota.book_if_free(start));
        }
        assert!(quota.book_if_free(start + Duration::from_secs(1)));
    }
}
