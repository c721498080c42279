//! Pauses between attempts to connect: doubling, capped, with full jitter.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
/// Even the luckiest draw waits so long: a broker that refuses at once is not hammered.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) struct Backoff {
    ceiling: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(max: Duration) -> Self {
        Self { ceiling: FIRST.min(max), max }
    }

    pub(super) fn reset(&mut self) {
        self.ceiling = FIRST.min(self.max);
    }

    /// The next pause; `draw` is a random number in 0..=1.
    pub(super) fn next(&mut self, draw: f64) -> Duration {
        let pause = self.ceiling.mul_f64(draw.clamp(0.0, 1.0)).max(SHORTEST);
        self.ceiling = (self.ceiling * 2).min(self.max);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(3));
        let pauses: Vec<u128> = (0..5).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 3_000, 3_000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), SHORTEST);
        assert_eq!(backoff.next(0.5), Duration::from_millis(500));
    }
}
