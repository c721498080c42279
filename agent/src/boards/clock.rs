//! The clock that ages commands: it never jumps and counts through suspend.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since boot; tests bring their own.
pub type BootClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// CLOCK_BOOTTIME of this machine.
pub fn boot_clock() -> BootClock {
    Arc::new(|| {
        let now = clock_gettime(ClockId::Boottime);
        // The boot clock starts at zero, so neither part is ever negative.
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
        seconds * 1000 + millis
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_clock_runs_forward() {
        let clock = boot_clock();
        let first = clock();
        assert!(first > 0);
        assert!(clock() >= first);
    }
}
