//! The fleet's time: the wall clock, as long as it goes on as time does.
//!
//! A wall clock that jumps would end pickup windows, forget orders and tell every cabinet a wrong time. So the boot clock
//! watches over it: beyond [`JUMP_MILLIS`] the fleet's time goes on with the boot clock and deadlines stay where they are,
//! until the wall clock agrees again or the clock is begun anew.

use schemas::messages::FleetMillis;

/// What a clock that is set by hand or by the network may be off at once.
pub const JUMP_MILLIS: u64 = 5 * 60 * 1_000;
/// Between two alarms about the same jump.
const REMIND_MILLIS: u64 = 60 * 60 * 1_000;

/// One reading of both clocks, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since 1970.
    pub wall: u64,
    /// Since the machine was started; never jumps.
    pub boot: u64,
}

/// What a person should hear of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockNotice {
    /// It has jumped, and the fleet's time goes on without it. Said again each hour.
    Jumped { millis: u64, ahead: bool },
    /// It agrees again.
    Believed,
}

/// The wall clock under the watch of the boot clock.
#[derive(Debug, Clone)]
pub struct GuardedClock {
    /// The newest fleet time that the wall clock said, and the boot clock then.
    anchor: Reading,
    /// Boot clock of the newest alarm, while the wall clock is not believed.
    told: Option<u64>,
}

impl GuardedClock {
    /// Begins with a reading that is believed: there is nothing yet to compare it with.
    pub fn new(anchor: Reading) -> Self {
        Self { anchor, told: None }
    }

    /// The fleet's time at this reading, and what is to be said about it.
    pub fn read(&mut self, reading: Reading) -> (FleetMillis, Option<ClockNotice>) {
        let expected = self.anchor.wall.saturating_add(reading.boot.saturating_sub(self.anchor.boot));
        let millis = reading.wall.abs_diff(expected);
        if millis <= JUMP_MILLIS {
            self.anchor = reading;
            return (reading.wall, self.told.take().map(|_| ClockNotice::Believed));
        }
        let reminded = self.told.is_some_and(|told| reading.boot.saturating_sub(told) < REMIND_MILLIS);
        if reminded {
            return (expected, None);
        }
        self.told = Some(reading.boot);
        (expected, Some(ClockNotice::Jumped { millis, ahead: reading.wall > expected }))
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
        let mut clock = GuardedClock::new(START);
        assert_eq!(clock.read(after(1_000, |wall| wall)), (START.wall + 1_000, None));
        assert_eq!(clock.read(after(2_000, |wall| wall + 200_000)), (START.wall + 202_000, None));
        assert_eq!(clock.read(after(3_000, |wall| wall - 50_000)), (START.wall - 47_000, None));
    }

    #[test]
    fn a_jump_of_years_either_way_changes_nothing_and_is_told_again_each_hour() {
        for (jump, ahead) in [((|wall| wall + YEARS) as fn(u64) -> u64, true), (|wall| wall - YEARS, false)] {
            let mut clock = GuardedClock::new(START);
            let jumped = Some(ClockNotice::Jumped { millis: YEARS, ahead });
            assert_eq!(clock.read(after(1_000, jump)), (START.wall + 1_000, jumped));
            assert_eq!(clock.read(after(3_600_000, jump)), (START.wall + 3_600_000, None));
            assert_eq!(clock.read(after(3_601_000, jump)), (START.wall + 3_601_000, jumped));
            let set_right = clock.read(after(3_700_000, |wall| wall));
            assert_eq!(set_right, (START.wall + 3_700_000, Some(ClockNotice::Believed)));
            assert_eq!(clock.read(after(3_800_000, |wall| wall)), (START.wall + 3_800_000, None));
        }
    }
}
