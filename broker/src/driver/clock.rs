//! Reads the two clocks of the machine for the fleet's [`GuardedClock`], and says aloud what that finds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_core::{ClockNotice, GuardedClock, Reading};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use schemas::messages::FleetMillis;
use tracing::{error, info};

/// Reads the fleet's time. Cheap to clone; all clones read one clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<GuardedClock>>);

impl Clock {
    /// The wall clock is believed at the start. One that is years off ends it there: by it the broker's own certificate is
    /// not valid.
    pub fn start() -> Self {
        Self(Arc::new(Mutex::new(GuardedClock::new(reading()))))
    }

    pub fn now(&self) -> FleetMillis {
        // Reading leaves no half of it written.
        let (now, notice) = self.0.lock().unwrap_or_else(PoisonError::into_inner).read(reading());
        match notice {
            Some(ClockNotice::Jumped { millis, ahead }) => error!(
                seconds = millis / 1_000,
                ahead,
                "alarm: the wall clock has jumped; the fleet's time goes on without it until it is set right or the \
                 broker is started anew"
            ),
            Some(ClockNotice::Believed) => info!("the wall clock is believed again"),
            None => {}
        }
        now
    }

    /// The fleet's time as the standard library has it.
    pub fn system_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.now())
    }
}

/// Certificates are judged by the fleet's time: a wall clock that jumps must neither shut everybody out nor let in who is
/// expired.
impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.now())))
    }
}

fn reading() -> Reading {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
    let millis = u64::try_from(boot.tv_nsec / 1_000_000).unwrap_or(0);
    Reading { wall: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), boot: seconds * 1_000 + millis }
}
