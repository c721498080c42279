//! The fleet's time: its machine's wall clock, which may be wrong, under the guard that the broker has.

use fleet_core::{GuardedClock, Reading};

use super::world::{Happening, START, World};

/// By a clock that is further off, the broker's own certificate is not valid.
const VALID_MILLIS: u64 = 397 * 24 * 3_600_000;
pub(super) const YEAR: u64 = 365 * 24 * 3_600_000;

/// The clocks of the fleet's machine.
#[derive(Debug, Default)]
pub(super) struct FleetTime {
    /// How much later than [`START`] this schedule begins.
    later: u64,
    /// Milliseconds by which the wall clock is ahead of what is right.
    wall_off_by: i64,
    /// The guard of the process that runs; it begins anew with each.
    guard: Option<GuardedClock>,
    /// The same of the time that the fleet goes by.
    off_by: i64,
}

impl FleetTime {
    /// What the fleet goes by.
    pub(super) fn says(&self, now: u64) -> u64 {
        (START + self.later + now).saturating_add_signed(self.off_by)
    }

    /// Before anything has happened.
    pub(super) fn begin_later(&mut self, by: u64) {
        self.later = by;
    }

    /// As the broker reads its clock before each input.
    pub(super) fn read(&mut self, now: u64) -> u64 {
        let right = START + self.later + now;
        let reading = Reading { wall: right.saturating_add_signed(self.wall_off_by), boot: now };
        let (says, _) = self.guard.get_or_insert_with(|| GuardedClock::new(reading)).read(reading);
        self.off_by = i64::try_from(i128::from(says) - i128::from(right)).unwrap_or(0);
        says
    }

    /// The process is gone, and what it knew of the time.
    pub(super) fn forget(&mut self) {
        self.guard = None;
    }

    pub(super) fn is_right(&self) -> bool {
        (self.wall_off_by, self.off_by) == (0, 0)
    }

    /// A process goes by a time that is months off: it was started with it.
    pub(super) fn is_misled(&self) -> bool {
        self.off_by.unsigned_abs() > fleet_core::JUMP_MILLIS + MINUTES_MAX
    }

    /// A new process ends at once, until the clock is better.
    pub(super) fn ends_a_start(&self) -> bool {
        self.guard.is_none() && self.wall_off_by.unsigned_abs() > VALID_MILLIS
    }
}

/// The furthest jump that is one of minutes.
const MINUTES_MAX: u64 = 20 * 60_000;

impl World {
    /// Minutes or years, forwards or back, and some time later it is right again.
    pub(super) fn fleet_clock_jumps(&mut self) {
        let years = self.dice.one_in(2);
        let most = if years { 10 * YEAR } else { MINUTES_MAX };
        let by = i64::try_from(self.dice.between(most / 20, most)).unwrap_or(0);
        let by = if self.dice.one_in(2) { by } else { -by };
        let name = match (years, by > 0) {
            (true, true) => "fleet clock jumps years ahead",
            (true, false) => "fleet clock jumps years back",
            (false, true) => "fleet clock jumps minutes ahead",
            (false, false) => "fleet clock jumps minutes back",
        };
        if !self.decides(name) {
            return;
        }
        self.coverage.count("faults", name);
        self.set_fleet_clock(by);
        let wait = self.dice.between(1_000, 1_200_000);
        self.later(wait, Happening::FleetClockSetRight);
    }

    /// The machine comes up with a clock that is wrong, and the broker before it is set right.
    pub(super) fn fleet_starts_in_the_past(&mut self) {
        self.fleet_clock_jumps();
        self.crash_fleet();
    }

    pub(super) fn set_fleet_clock(&mut self, off_by: i64) {
        let time = &mut self.fleet.time;
        if time.wall_off_by == off_by {
            return;
        }
        time.wall_off_by = off_by;
        if self.fleet.is_up() {
            self.fleet.time.read(self.now);
        }
        let goes_by = self.fleet.time.off_by / 1_000;
        self.tell(|| format!("fault: the fleet's wall clock is off by {} s, its time by {goes_by} s", off_by / 1_000));
    }

    /// The wall clock is right again. A broker that goes on with another time says so, and is started anew.
    pub(super) fn fleet_clock_set_right(&mut self) {
        self.set_fleet_clock(0);
        if !self.fleet.time.is_right() {
            let wait = self.dice.between(10_000, 1_200_000);
            self.later(wait, Happening::OperatorRestartsFleet);
        }
    }

    pub(super) fn operator_restarts_fleet(&mut self) {
        if self.fleet.is_up() && !self.fleet.time.is_right() {
            self.end_fleet_process("fleet restarted by its operator");
        }
    }
}
