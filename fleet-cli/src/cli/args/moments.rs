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
    let at: jiff::Timestamp =
        text.parse().map_err(|_| "an end is a day such as 2026-12-31, or 2026-12-31T18:00:00Z")?;
    u64::try_from(at.as_millisecond()).map(Rfc3339).map_err(|_| "this moment is over")
}
