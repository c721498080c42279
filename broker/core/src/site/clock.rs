//! The clock on the wall of a site, and the times when people get in.
//!
//! A span of opening hours lasts from the first to the last minute at which that clock shows a time within it. So at the change to
//! summer time a time that does not exist is the moment of the change, and at the change back, of a time that exists twice, the
//! site opens at the first and closes at the second: nobody is counted out who may stand inside.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use schemas::api::{ClosedDates, OpeningHours};
use schemas::messages::FleetMillis;

const MINUTE: i64 = 60_000;
/// Whoever wanted to come in the last hours of a window has to be able to, although these were at night: an end this short
/// behind the opening leaves no time for it.
const FIRST: i64 = 60 * MINUTE;
/// Where a site is open around the clock behind a day on which it is closed, a whole day is time enough.
const LONGEST: i64 = 24 * 60 * MINUTE;

/// Zone and hours of one site.
#[derive(Debug, Clone)]
pub(crate) struct SiteClock {
    pub(super) name: &'static str,
    pub(super) zone: TimeZone,
    pub(super) hours: OpeningHours,
    pub(super) closed: ClosedDates,
}

/// A time when the site is open, in milliseconds, without the moment of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Opening {
    from: i64,
    until: i64,
}

impl SiteClock {
    /// The IANA name of the zone.
    pub(crate) fn zone_name(&self) -> &'static str {
        self.name
    }

    /// What the clock shows, down to the minute, with what tells the two of an hour that comes twice apart:
    /// `2026-11-25 20:00 CET`.
    pub(crate) fn shows(&self, at: FleetMillis) -> String {
        let at = timestamp(at);
        let shown = self.zone.to_datetime(at);
        let info = self.zone.to_offset_info(at);
        let name = info.abbreviation();
        // Many zones have numbers instead of letters.
        let zone = match name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            true => name.to_owned(),
            false => offset_text(info.offset()),
        };
        let (date, time) = (shown.date(), shown.time());
        format!("{date} {:02}:{:02} {zone}", time.hour(), time.minute())
    }

    pub(crate) fn is_open(&self, at: FleetMillis) -> bool {
        if self.is_always_open() {
            return true;
        }
        let at = millis(at);
        // The moment of an end is part of no opening.
        self.first_opening(at.saturating_add(1), at).is_some_and(|opening| opening.from <= at)
    }

    /// Where a window ends that would end at `planned`, and must not go on behind `latest`.
    ///
    /// Nobody loses an order because the doors were shut: an end while the site is closed, or within its first hour, becomes the
    /// end of that opening. One within the first hour has to: otherwise a window that ends a minute after the opening would be
    /// shorter by a day than one that ends a minute before.
    pub(crate) fn end_when_open(&self, planned: FleetMillis, latest: FleetMillis) -> FleetMillis {
        if self.is_always_open() || latest <= planned {
            return planned;
        }
        let at = millis(planned);
        let ends = match self.first_opening(at, millis(latest)) {
            Some(opening) if opening.from.saturating_add(FIRST) <= at => return planned,
            Some(opening) => opening.until.min(opening.from.saturating_add(LONGEST)),
            None => return latest,
        };
        FleetMillis::try_from(ends).unwrap_or(planned).min(latest).max(planned)
    }

    /// The first moment from `at` on at which the site is open, if that is before `end`; otherwise `at`.
    pub(crate) fn when_open(&self, at: FleetMillis, end: FleetMillis) -> FleetMillis {
        if self.is_always_open() {
            return at;
        }
        let opening = self.first_opening(millis(at).saturating_add(1), millis(end));
        let opens = opening.and_then(|opening| FleetMillis::try_from(opening.from).ok());
        opens.filter(|opens| (at..end).contains(opens)).unwrap_or(at)
    }

    fn is_always_open(&self) -> bool {
        self.hours.is_always() && self.closed.is_empty()
    }

    /// The first opening that ends at `at` or later, of those that begin up to the day of `until`. Spans that follow one another
    /// are one opening; of a very long one, begin and end are not looked for further than anybody needs.
    fn first_opening(&self, at: i64, until: i64) -> Option<Opening> {
        // Spans go on for a day at most, and two of them in a row can lie around an end.
        let mut date = self.date_of(at).saturating_sub(jiff::Span::new().days(2));
        let last = self.date_of(until).saturating_add(jiff::Span::new().days(1));
        let mut found: Option<Opening> = None;
        while date <= last {
            for span in self.openings_on(date) {
                match &mut found {
                    Some(opening) if span.from <= opening.until => opening.until = opening.until.max(span.until),
                    Some(opening) if opening.until >= at => return found,
                    Some(_) | None => found = Some(span),
                }
            }
            let is_enough = |opening: &Opening| {
                let long = opening.until.saturating_sub(opening.from) >= LONGEST;
                opening.until >= at && (long || opening.from.saturating_add(FIRST) <= at)
            };
            if found.as_ref().is_some_and(is_enough) {
                return found;
            }
            date = date.tomorrow().ok()?;
        }
        found.filter(|opening| opening.until >= at)
    }

    /// Spans that begin on a date.
    fn openings_on(&self, date: Date) -> impl Iterator<Item = Opening> {
        let day = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or_default();
        let spans = if self.closed.has(date) { &[] } else { self.hours.on(day) };
        let midnight = date.at(0, 0, 0, 0);
        let after = move |minutes: u16| midnight.saturating_add(SignedDuration::from_mins(i64::from(minutes)));
        let openings = spans.iter().map(move |span| Opening {
            from: self.first_moment(after(span.from())),
            until: self.moment_behind(after(span.until() - 1)),
        });
        // One that lies in an hour that is left out does not take place.
        openings.filter(|opening| opening.from < opening.until)
    }

    /// When the clock shows this time, or a later one, for the first time.
    fn first_moment(&self, time: DateTime) -> i64 {
        match self.zone.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => instant(time, offset),
            AmbiguousOffset::Fold { before, .. } => instant(time, before),
            AmbiguousOffset::Gap { after, .. } => self.change_behind(instant(time, after)),
        }
    }

    /// The end of the last minute at which the clock shows this time, or an earlier one.
    fn moment_behind(&self, minute: DateTime) -> i64 {
        match self.zone.to_ambiguous_timestamp(minute).offset() {
            AmbiguousOffset::Unambiguous { offset } => instant(minute, offset).saturating_add(MINUTE),
            AmbiguousOffset::Fold { after, .. } => instant(minute, after).saturating_add(MINUTE),
            AmbiguousOffset::Gap { after, .. } => self.change_behind(instant(minute, after)),
        }
    }

    /// When the clock is put forward or back next.
    fn change_behind(&self, at: i64) -> i64 {
        let from = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX);
        self.zone.following(from).next().map_or(at, |change| change.timestamp().as_millisecond())
    }

    fn date_of(&self, at: i64) -> Date {
        self.zone.to_datetime(Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX)).date()
    }
}

fn instant(time: DateTime, offset: Offset) -> i64 {
    offset.to_timestamp(time).unwrap_or(Timestamp::MAX).as_millisecond()
}

fn millis(at: FleetMillis) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn timestamp(at: FleetMillis) -> Timestamp {
    Timestamp::from_millisecond(millis(at)).unwrap_or(Timestamp::MAX)
}

fn offset_text(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("UTC{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

#[cfg(test)]
mod tests;
