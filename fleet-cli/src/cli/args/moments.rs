//! Ends that people write.

use schemas::api::Rfc3339;

/// The last millisecond of a day.
pub(super) fn parse_last_day(text: &str) -> Result<Rfc3339, &'static str> {
    const DAY_MILLIS: u64 = 24 * 60 * 60 * 1_000;
    let day: jiff::civil::Date = text.parse().map_err(|_| "a day is YYYY-MM-DD, such as 2026-12-31")?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| "this day is too far away")?;
    let start = u64::try_from(start.timestamp().as_millisecond()).map_err(|_| "this day is over")?;
    Ok(Rfc3339(start + DAY_MILLIS - 1))
}

/// A moment, or the last millisecond of a day.
pub(super) fn parse_end(text: &str) -> Result<Rfc3339, &'static str> {
    if let Ok(day) = parse_last_day(text) {
        return Ok(day);
    }
    moment(text).ok_or("an end is a day such as 2026-12-31, or 2026-12-31T18:00:00Z")?.ok_or("this moment is over")
}

/// A moment since which something is asked for.
pub(crate) fn parse_since(text: &str) -> Result<Rfc3339, &'static str> {
    const FORM: &str = "a moment is written 2026-11-25T08:00:00Z";
    moment(text).flatten().ok_or(FORM)
}

/// None: no moment. None inside: one before 1970.
fn moment(text: &str) -> Option<Option<Rfc3339>> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(u64::try_from(at.as_millisecond()).ok().map(Rfc3339))
}
