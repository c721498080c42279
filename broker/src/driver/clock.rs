//! The fleet's time: the wall clock, as long as it goes on as time does.
//!
//! A wall clock that jumps would end pickup windows, forget orders and tell every cabinet a wrong time. So the boot clock
//! watches over it: beyond [`JUMP_MILLIS`] the fleet's time goes on with the boot clock and deadlines stay where they are,
//! until the wall clock agrees again or somebody starts the broker anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use schemas::messages::FleetMillis;
use tracing::{error, info};

/// What a clock that is set by hand or by the network may be off at once.
const JUMP_MILLIS: u64 = 5 * 60 * 1_000;
/// Between two alarms about the same jump.
const REMIND_MILLIS: u64 = 60 * 60 * 1_000;

/// One reading of both clocks, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Since 1970.
    wall: u64,
    /// Since the machine was started; never jumps.
    boot: u64,
}

impl Reading {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let millis = u64::try_from(boot.tv_nsec / 1_000_000).unwrap_or(0);
        Self { wall: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), boot: seconds * 1_000 + millis }
    }
}

/// Reads the fleet's time. Cheap to clone; all clones read one clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<Guarded>>);

impl Clock {
    /// The wall clock is believed at the start. One that is years off ends it there: by it the broker's own certificate is
    /// not valid.
    pub fn start() -> Self {
        Self(Arc::new(Mutex::new(Guarded::from(Reading::now()))))
    }

    pub fn now(&self) -> FleetMillis {
        // Reading leaves no half of it written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(Reading::now())
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

#[derive(Debug)]
struct Guarded {
    /// The newest fleet time that the wall clock said, and the boot clock then.
    anchor: Reading,
    /// Boot clock of the newest alarm, while the wall clock is not believed.
    told: Option<u64>,
}

impl Guarded {
    fn from(anchor: Reading) -> Self {
        Self { anchor, told: None }
    }

    fn read(&mut self, reading: Reading) -> FleetMillis {
        let expected = self.anchor.wall.saturating_add(reading.boot.saturating_sub(self.anchor.boot));
        let off = reading.wall.abs_diff(expected);
        if off <= JUMP_MILLIS {
            if self.told.take().is_some() {
                info!("the wall clock is believed again");
            }
            self.anchor = reading;
            return reading.wall;
        }
        if self.told.is_none_or(|told| reading.boot.saturating_sub(told) >= REMIND_MILLIS) {
            self.told = Some(reading.boot);
            error!(
                seconds = off / 1_000,
                ahead = reading.wall > expected,
                "alarm: the wall clock has jumped; the fleet's time goes on without it until it is set right or the \
                 broker is started anew"
            );
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Reading = Reading { wall: 1_795_378_500_000, boot: 50_000 };
    const YEARS: u64 = 10 * 365 * 86_400_000;

    fn after(millis: u64, wall: impl Fn(u64) -> u64) -> Reading {
        Reading { wall: wall(START.wall + millis), boot: START.boot + millis }
    }

    #[test]
    fn a_wall_clock_that_goes_on_is_followed_with_its_small_corrections() {
        let mut clock = Guarded::from(START);
        assert_eq!(clock.read(after(1_000, |wall| wall)), START.wall + 1_000);
        assert_eq!(clock.read(after(2_000, |wall| wall + 200_000)), START.wall + 202_000);
        assert_eq!(clock.read(after(3_000, |wall| wall - 50_000)), START.wall - 47_000);
        assert!(clock.told.is_none());
    }

    #[test]
    fn a_jump_of_years_either_way_changes_nothing_and_is_told_again_each_hour() {
        for jump in [|wall: u64| wall + YEARS, |wall: u64| wall - YEARS] {
            let mut clock = Guarded::from(START);
            assert_eq!(clock.read(after(1_000, jump)), START.wall + 1_000);
            assert_eq!(clock.read(after(3_600_000, jump)), START.wall + 3_600_000);
            assert_eq!(clock.told, Some(START.boot + 1_000));
            clock.read(after(3_601_000, jump));
            assert_eq!(clock.told, Some(START.boot + 3_601_000));
            assert_eq!(clock.read(after(3_700_000, |wall| wall)), START.wall + 3_700_000, "set right again");
            assert!(clock.told.is_none());
        }
    }
}
