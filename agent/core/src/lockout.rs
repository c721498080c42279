//! Wrong typed codes: five lock typing for five minutes, twenty a day make a second part necessary.
//!
//! PINs of staff are typed codes like any other: what may be guessed at one keypad is one budget. Whoever guesses on purpose
//! could keep PINs out for the day, but never a badge, which is scanned.
//!
//! A right code of somebody else resets nothing. A restart can only lengthen what is in force: a lock starts again in
//! full, and wrong codes count from the restart unless fleet time tells their true age.

use schemas::messages::FleetMillis;

use crate::records::{LockoutRow, WrongCode};

pub const WRONG_MAX: u32 = 5;
pub const LOCK_MILLIS: u64 = 300_000;
pub const WRONG_A_DAY_MAX: usize = 20;
const DAY_MILLIS: u64 = 86_400_000;

pub(crate) struct Lockout {
    wrong: u32,
    locked_until: Option<u64>,
    today: Vec<WrongCode>,
}

/// Whether typed codes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typing {
    Free,
    Locked { until: u64 },
    SecondPart,
}

impl Lockout {
    pub(crate) fn open(row: Option<LockoutRow>, now: u64) -> Self {
        let row = row.unwrap_or(LockoutRow { wrong: 0, locked: false, today: Vec::new() });
        let today = row.today.into_iter().map(|wrong| WrongCode { boot_millis: now, ..wrong }).collect();
        Self { wrong: row.wrong, locked_until: row.locked.then_some(now + LOCK_MILLIS), today }
    }

    pub(crate) fn typing(&self, now: u64, fleet: Option<FleetMillis>) -> Typing {
        match self.locked_until(now) {
            Some(until) => Typing::Locked { until },
            None if self.wrong_today(now, fleet) >= WRONG_A_DAY_MAX => Typing::SecondPart,
            None => Typing::Free,
        }
    }

    pub(crate) fn locked_until(&self, now: u64) -> Option<u64> {
        self.locked_until.filter(|until| now < *until)
    }

    pub(crate) fn wrong_today(&self, now: u64, fleet: Option<FleetMillis>) -> usize {
        self.today.iter().filter(|wrong| is_of_today(wrong, now, fleet)).count()
    }

    /// Counts a wrong code. Returns until when typing is locked, if this one locked it.
    pub(crate) fn count_wrong(&mut self, now: u64, fleet: Option<FleetMillis>) -> Option<u64> {
        self.today.retain(|wrong| is_of_today(wrong, now, fleet));
        self.today.push(WrongCode { boot_millis: now, fleet_millis: fleet });
        self.wrong += 1;
        if self.wrong < WRONG_MAX {
            return None;
        }
        self.wrong = 0;
        self.locked_until = Some(now + LOCK_MILLIS);
        self.locked_until
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.locked_until
    }

    /// Ends a lock whose time has come; true if the row changed.
    pub(crate) fn tick(&mut self, now: u64) -> bool {
        let over = self.locked_until.is_some_and(|until| until <= now);
        if over {
            self.locked_until = None;
        }
        over
    }

    pub(crate) fn row(&self) -> LockoutRow {
        LockoutRow { wrong: self.wrong, locked: self.locked_until.is_some(), today: self.today.clone() }
    }
}

/// By fleet time where both ends of the day are known in it, else by the boot clock.
fn is_of_today(wrong: &WrongCode, now: u64, fleet: Option<FleetMillis>) -> bool {
    let age = match (wrong.fleet_millis, fleet) {
        (Some(then), Some(fleet)) if then <= fleet => fleet - then,
        // Unknown, or counted under a fleet time that was wrong and has been corrected since.
        (Some(_) | None, _) => now.saturating_sub(wrong.boot_millis),
    };
    age < DAY_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_wrong_codes_at_any_distance_lock_typing_for_five_minutes() {
        let mut lockout = Lockout::open(None, 0);
        for n in 0..4 {
            assert_eq!(lockout.count_wrong(n * 61_000, None), None);
        }
        assert_eq!(lockout.count_wrong(244_000, None), Some(544_000));
        assert_eq!(lockout.typing(543_999, None), Typing::Locked { until: 544_000 });
        assert_eq!(lockout.typing(544_000, None), Typing::Free);
    }

    #[test]
    fn a_restart_starts_the_lock_again_and_keeps_the_counts() {
        let mut lockout = Lockout::open(None, 0);
        for _ in 0..5 {
            lockout.count_wrong(1_000_000, None);
        }
        let mut lockout = Lockout::open(Some(lockout.row()), 10);
        assert_eq!(lockout.typing(299_000, None), Typing::Locked { until: 300_010 });
        assert!(lockout.tick(300_010));
        let lockout = Lockout::open(Some(lockout.row()), 0);
        assert_eq!(lockout.typing(0, None), Typing::Free);
        assert_eq!(lockout.wrong_today(0, None), 5);
    }

    #[test]
    fn wrong_codes_of_a_fleet_time_that_was_ahead_are_a_day_old_after_a_day() {
        let mut lockout = Lockout::open(None, 0);
        let (year, now) = (31_536_000_000, 1_000_000);
        for n in 0..20 {
            lockout.count_wrong(n, Some(now + year));
        }
        assert_eq!(lockout.wrong_today(DAY_MILLIS - 1, Some(now + DAY_MILLIS - 1)), 20);
        assert_eq!(lockout.wrong_today(DAY_MILLIS + 20, Some(now + DAY_MILLIS + 20)), 0);
    }

    #[test]
    fn twenty_wrong_codes_within_a_day_need_a_second_part_until_they_are_a_day_old() {
        let mut lockout = Lockout::open(None, 0);
        for n in 0..20 {
            lockout.count_wrong(n, Some(1_000_000 + n));
        }
        lockout.tick(LOCK_MILLIS + 20);
        assert_eq!(lockout.typing(LOCK_MILLIS + 20, None), Typing::SecondPart);
        let lockout = Lockout::open(Some(lockout.row()), 5);
        assert_eq!(lockout.typing(6 + LOCK_MILLIS, None), Typing::SecondPart, "a restart forgets nothing");
        let next_day = Some(1_000_000 + 20 + 86_400_000);
        assert_eq!(lockout.typing(6 + LOCK_MILLIS, next_day), Typing::Free, "their true age is known by fleet time");
    }
}
