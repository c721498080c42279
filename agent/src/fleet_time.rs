//! The fleet's time for TLS: the wall clock of a cabinet without a battery says 1970, or whatever somebody has set.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cabinet_core::EarliestTime;
use certs::ClientClock;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::boards::BootClock;

/// What the core knows of the time, carried on with the boot clock. Until the core has ever heard of a time, the wall
/// clock has to do.
pub struct FleetTime {
    boot: BootClock,
    told: Mutex<Option<Told>>,
}

#[derive(Clone, Copy)]
struct Told {
    earliest: EarliestTime,
    /// Boot milliseconds.
    at: u64,
}

impl FleetTime {
    pub fn new(boot: BootClock) -> Self {
        Self { boot, told: Mutex::new(None) }
    }

    pub fn tell(&self, earliest: EarliestTime) {
        let told = Told { earliest, at: (self.boot)() };
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told).filter(|told| told.earliest.fleet > 0);
    }

    fn told(&self) -> Option<Told> {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for FleetTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetTime").field("told", &self.told().map(|told| told.earliest)).finish()
    }
}

impl TimeProvider for FleetTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_1970 = match self.told() {
            Some(told) => {
                let passed = (self.boot)().saturating_sub(told.at);
                Duration::from_millis(told.earliest.fleet.saturating_add(passed))
            }
            None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
        };
        Some(UnixTime::since_unix_epoch(since_1970))
    }
}

impl ClientClock for FleetTime {
    fn is_earliest(&self) -> bool {
        self.told().is_none_or(|told| !told.earliest.is_known)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn seconds(clock: &FleetTime) -> u64 {
        clock.current_time().unwrap().as_secs()
    }

    #[test]
    fn what_the_core_was_told_goes_on_with_the_boot_clock_whatever_the_wall_clock_says() {
        let boot = Arc::new(AtomicU64::new(5_000));
        let clock = FleetTime::new(Arc::new({
            let boot = Arc::clone(&boot);
            move || boot.load(Ordering::Relaxed)
        }));
        assert!(clock.is_earliest() && seconds(&clock) > 1_700_000_000, "nothing is known but the wall clock");
        clock.tell(EarliestTime { fleet: 0, is_known: false });
        assert!(seconds(&clock) > 1_700_000_000, "a floor of nothing is no time");
        clock.tell(EarliestTime { fleet: 1_000_000_000, is_known: true });
        boot.store(65_000, Ordering::Relaxed);
        assert_eq!((seconds(&clock), clock.is_earliest()), (1_000_060, false));
        clock.tell(EarliestTime { fleet: 1_000_000_000, is_known: false });
        assert!(clock.is_earliest());
    }
}
