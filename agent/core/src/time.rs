//! The fleet's time as this cabinet knows it: the last signed one plus the boot clock.

use schemas::cbor::Blob;
use schemas::messages::{BootId, Challenge, FleetMillis, Stamp};

use crate::MachineStart;
use crate::records::{KnownTime, TimeRow};

/// A cabinet's crystal is off by less than 100 ppm: one millisecond in ten seconds.
const DRIFT_DIVISOR: u64 = 10_000;
/// The floor on disk is renewed when it is older than this; each renewal wears the disk.
const FLOOR_EVERY_MILLIS: u64 = 3_600_000;

/// The earliest that it can be now by all that the cabinet knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarliestTime {
    /// 0 where nothing was ever heard of the fleet's time.
    pub fleet: FleetMillis,
    /// It is not only the earliest, it is the time.
    pub is_known: bool,
}

#[derive(Clone, Copy)]
struct Known {
    fleet: FleetMillis,
    /// Boot clock when it came.
    at: u64,
    /// The message was under way for at most this long: the age of its challenge.
    uncertainty: u64,
    /// Of the challenge that it named; 0 for one that an earlier run heard.
    counter: u64,
}

pub(crate) struct FleetClock {
    boot: BootId,
    machine: MachineStart,
    known: Option<Known>,
    /// Fleet time that has certainly passed, from before a restart too.
    floor: FleetMillis,
    floor_written: u64,
    /// Fleet time until which the fleet was heard of: the end of the last connection, or the last hour of one that ended
    /// with the power.
    heard: Option<FleetMillis>,
}

impl FleetClock {
    pub(crate) fn open(boot: BootId, machine: MachineStart, row: Option<TimeRow>, now: u64) -> Self {
        let floor = row.as_ref().map_or(0, |row| row.floor);
        let heard = row.as_ref().and_then(|row| row.heard);
        // A row with a later boot clock than now is of another start of a machine that cannot tell its starts apart.
        let same = |known: &KnownTime| known.machine.0 == machine.0 && known.boot_millis <= now;
        let known = row.and_then(|row| row.known).filter(same).map(|known| Known {
            fleet: known.fleet,
            at: known.boot_millis,
            uncertainty: known.uncertainty,
            counter: 0,
        });
        Self { boot, machine, known, floor, floor_written: now, heard }
    }

    /// Takes a signed time that named `challenge`, made at `made`. Returns the row to write, or nothing if an answer to
    /// the same or a later challenge came before: a repeated message cannot turn the clock back.
    pub(crate) fn set(&mut self, fleet: FleetMillis, challenge: &Challenge, made: u64, now: u64) -> Option<TimeRow> {
        if self.known.is_some_and(|known| challenge.counter <= known.counter) {
            return None;
        }
        let uncertainty = now.saturating_sub(made);
        self.known = Some(Known { fleet, at: now, uncertainty, counter: challenge.counter });
        // Signed and fresh, so it may also correct a floor that an earlier wrong time has raised.
        self.floor = fleet;
        self.floor_written = now;
        self.heard = Some(fleet);
        Some(self.row())
    }

    fn row(&self) -> TimeRow {
        let known = self.known.map(|known| KnownTime {
            machine: Blob(self.machine.0.to_vec()),
            fleet: known.fleet,
            boot_millis: known.at,
            uncertainty: known.uncertainty,
        });
        TimeRow { floor: self.floor, known, heard: self.heard }
    }

    /// Until when a former run was alive at least, where the machine has been started anew since. None: it went on, or nothing
    /// is known.
    pub(crate) fn down_since(&self) -> Option<FleetMillis> {
        (self.known.is_none() && self.floor > 0).then_some(self.floor)
    }

    /// Fleet time, and how much later it can be in truth.
    fn estimate(&self, now: u64) -> Option<(FleetMillis, u64)> {
        let known = self.known?;
        let elapsed = now.saturating_sub(known.at);
        Some((known.fleet.saturating_add(elapsed), known.uncertainty + elapsed / DRIFT_DIVISOR))
    }

    pub(crate) fn earliest(&self, now: u64) -> EarliestTime {
        match self.now(now) {
            Some(fleet) => EarliestTime { fleet, is_known: true },
            None => EarliestTime { fleet: self.floor, is_known: false },
        }
    }

    pub(crate) fn now(&self, now: u64) -> Option<FleetMillis> {
        self.estimate(now).map(|(fleet, _)| fleet)
    }

    /// Whether this fleet time has certainly passed. Before the time is known, by the floor.
    pub(crate) fn has_passed(&self, fleet: FleetMillis, now: u64) -> bool {
        self.now(now).unwrap_or(self.floor) > fleet
    }

    pub(crate) fn stamp(&self, now: u64) -> Stamp {
        let estimate = self.estimate(now);
        Stamp {
            boot: self.boot,
            boot_millis: now,
            fleet_millis: estimate.map(|(fleet, _)| fleet),
            uncertainty_millis: estimate.map(|(_, uncertainty)| uncertainty),
        }
    }

    pub(crate) fn floor_due(&self) -> Option<u64> {
        self.known.map(|_| self.floor_written.saturating_add(FLOOR_EVERY_MILLIS))
    }

    /// The connection to the fleet has ended. Returns the row to write; none while the time is unknown.
    pub(crate) fn fell_silent(&mut self, now: u64) -> Option<TimeRow> {
        self.heard = Some(self.now(now)?);
        Some(self.row())
    }

    /// Until when the fleet was heard of, and how many milliseconds ago that was at least.
    pub(crate) fn heard(&self, now: u64) -> Option<(FleetMillis, u64)> {
        // Until the time is known, the floor grows by what this run has seen pass.
        let run = now.saturating_sub(self.floor_written);
        let at_least = self.now(now).unwrap_or_else(|| self.floor.saturating_add(run));
        self.heard.map(|heard| (heard, at_least.saturating_sub(heard)))
    }

    /// The row to write when the floor on disk is due. `online`: the fleet is heard of at this moment.
    pub(crate) fn raise_floor(&mut self, now: u64, online: bool) -> Option<TimeRow> {
        if self.floor_due().is_none_or(|due| now < due) {
            return None;
        }
        if online {
            self.heard = self.now(now);
        }
        self.floor = self.now(now).unwrap_or(self.floor);
        self.floor_written = now;
        Some(self.row())
    }
}

#[cfg(test)]
mod tests {
    use schemas::messages::Nonce;

    use super::*;

    fn challenge(counter: u64) -> Challenge {
        Challenge { boot: BootId([1; 8]), counter, nonce: Nonce([0; 8]) }
    }

    fn clock(floor: u64) -> FleetClock {
        opened(Some(TimeRow { floor, known: None, heard: None }), 1, 0)
    }

    fn opened(row: Option<TimeRow>, machine: u8, now: u64) -> FleetClock {
        FleetClock::open(BootId([1; 8]), MachineStart([machine; 16]), row, now)
    }

    #[test]
    fn fleet_time_runs_with_the_boot_clock_and_says_how_far_it_can_be_off() {
        let mut clock = clock(0);
        assert_eq!(clock.stamp(5).fleet_millis, None);
        assert_eq!(clock.set(1_000_000, &challenge(1), 10, 40).map(|row| row.floor), Some(1_000_000));
        let stamp = clock.stamp(20_040);
        assert_eq!((stamp.fleet_millis, stamp.uncertainty_millis), (Some(1_020_000), Some(32)));
    }

    #[test]
    fn a_repeated_time_does_not_turn_the_clock_back_and_a_newer_signed_one_may() {
        let mut clock = clock(0);
        clock.set(1_000_000, &challenge(2), 0, 0);
        assert_eq!(clock.set(900_000, &challenge(2), 0, 10), None);
        assert_eq!(clock.set(900_000, &challenge(1), 0, 10), None);
        assert_eq!(clock.now(10), Some(1_000_010));
        assert!(clock.set(900_000, &challenge(3), 10, 10).is_some());
        assert_eq!(clock.now(10), Some(900_000));
    }

    #[test]
    fn before_the_time_is_known_the_floor_decides_what_has_passed() {
        let clock = clock(500);
        assert!(clock.has_passed(499, 0));
        assert!(!clock.has_passed(500, 1_000_000), "the floor stands still");
    }

    #[test]
    fn the_floor_is_renewed_hourly_while_the_time_is_known() {
        let mut clock = clock(500);
        assert_eq!(clock.raise_floor(u64::MAX, true), None);
        clock.set(1_000, &challenge(1), 0, 0);
        let due = clock.floor_due().unwrap();
        assert_eq!(clock.raise_floor(due, true).map(|row| row.floor), Some(1_000 + due));
        assert!(clock.floor_due().unwrap() > due);
    }

    #[test]
    fn a_restarted_agent_knows_the_time_as_long_as_the_machine_runs() {
        let mut clock = clock(0);
        let row = clock.set(1_000_000, &challenge(7), 10, 40);
        let mut restarted = opened(row.clone(), 1, 20_040);
        let stamp = restarted.stamp(20_040);
        assert_eq!((stamp.fleet_millis, stamp.uncertainty_millis), (Some(1_020_000), Some(32)));
        assert!(restarted.set(1_030_000, &challenge(1), 30_040, 30_040).is_some(), "its challenges begin again");

        assert_eq!(opened(row.clone(), 2, 20_040).now(20_040), None, "another start of the machine");
        assert_eq!(opened(row, 1, 39).now(39), None, "a boot clock that was turned back");
    }

    #[test]
    fn a_renewed_floor_keeps_the_time_for_the_next_run() {
        let mut clock = clock(0);
        clock.set(1_000_000, &challenge(1), 0, 0);
        let due = clock.floor_due().unwrap();
        let row = clock.raise_floor(due, true);
        assert_eq!(opened(row, 1, due + 5).now(due + 5), Some(1_000_005 + due));
    }

    #[test]
    fn the_end_of_a_connection_is_known_behind_a_power_cut_and_how_long_ago_it_was_at_least() {
        const HOUR: u64 = 3_600_000;
        let mut clock = clock(0);
        assert_eq!((clock.heard(5), clock.fell_silent(5)), (None, None), "no time is known yet");
        clock.set(1_000_000, &challenge(1), 0, 0);
        assert!(clock.raise_floor(HOUR, true).is_some());
        assert_eq!(clock.heard(HOUR + 7), Some((1_000_000 + HOUR, 7)));
        let row = clock.fell_silent(HOUR + 500);
        assert_eq!(clock.heard(HOUR + 900), Some((1_000_500 + HOUR, 400)));
        // Nobody hears of the fleet while the floor is renewed.
        let later = clock.raise_floor(2 * HOUR + 1_000, false);
        assert_eq!(clock.heard(2 * HOUR + 1_000), Some((1_000_500 + HOUR, HOUR + 500)));
        // Another start of the machine: the time is unknown, and the floor says what has passed at least.
        assert_eq!(opened(row, 2, 5).heard(5), Some((1_000_500 + HOUR, 0)));
        assert_eq!(opened(later, 2, 5).heard(5), Some((1_000_500 + HOUR, HOUR + 500)));
    }
}
