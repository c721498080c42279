//! Where cabinets stand: the time zone of a site, and when people get in.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{Identity, SiteId};

use super::Rfc3339;

/// Most spans of a day's opening hours.
pub const SPANS_MAX: usize = 4;
/// Most dates on which a site is closed.
pub const CLOSED_MAX: usize = 60;
/// Longest name of a zone, and longest text of opening hours, in bytes.
const ZONE_MAX: usize = 64;
const HOURS_MAX: usize = 500;

const DAYS: [&str; 7] = ["mo", "tu", "we", "th", "fr", "sa", "su"];
const ALWAYS: &str = "always";
/// Minutes of a day by the clock on the wall.
const DAY: u16 = 24 * 60;

/// Why a text is none of this module's. It quotes nothing: these texts go back to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    #[error("a zone has a name such as Europe/Berlin: 1 to {ZONE_MAX} letters, digits and _ + - /")]
    Zone,
    #[error("opening hours have at most {HOURS_MAX} bytes")]
    TooLong,
    #[error("entry {0} of the opening hours is not a day or days and spans, such as mo-fr 07:00-20:00")]
    Entry(usize),
    #[error("entry {0} of the opening hours has a span of no length; a whole day is 00:00-24:00")]
    NoLength(usize),
    #[error("opening hours have more than {SPANS_MAX} spans on {0}")]
    TooManySpans(&'static str),
    #[error("spans of the opening hours overlap, on {0} or in the night after it")]
    Overlap(&'static str),
    #[error("a date is written as 2026-12-25")]
    Date,
    #[error("there are more than {CLOSED_MAX} closed dates")]
    TooManyDates,
    #[error("a closed date is named twice")]
    DateTwice,
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The name of a time zone as the IANA database has it. Whether there is such a zone the fleet knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ZoneName(Box<str>);

impl ZoneName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ZoneName {
    type Err = SiteError;

    fn from_str(text: &str) -> Result<Self, SiteError> {
        let fits = (1..=ZONE_MAX).contains(&text.len());
        let all = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte));
        if fits && all { Ok(Self(text.into())) } else { Err(SiteError::Zone) }
    }
}

as_text!(ZoneName);

/// A time of a day when a site is open, in minutes since midnight by the clock on the wall there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    from: u16,
    until: u16,
}

impl Span {
    pub fn from(self) -> u16 {
        self.from
    }

    /// Behind `from`, by 24 hours at most; from 24:00 on it lies in the day after.
    pub fn until(self) -> u16 {
        self.until
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = if self.until > DAY { self.until - DAY } else { self.until };
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, until / 60, until % 60)
    }
}

/// When a site is open in a week: `mo-fr 07:00-12:00 13:00-20:00, sa 20:00-02:00`, or `always`. A span that ends before it
/// begins goes on after midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningHours {
    /// By day, Monday first, and by their begin. Boxed: most sites are always open.
    days: Option<Box<[Vec<Span>; 7]>>,
}

impl OpeningHours {
    /// Day and night, the whole week.
    pub const ALWAYS: Self = Self { days: None };

    /// Day and night, the whole week.
    pub fn is_always(&self) -> bool {
        self.days.is_none()
    }

    /// Spans that begin on a day, 0 for Monday.
    pub fn on(&self, day: usize) -> &[Span] {
        const WHOLE: &[Span] = &[Span { from: 0, until: DAY }];
        match &self.days {
            None => WHOLE,
            Some(days) => days.get(day).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    fn checked(mut days: [Vec<Span>; 7]) -> Result<Self, SiteError> {
        let mut week = Vec::new();
        for (day, spans) in days.iter_mut().enumerate() {
            spans.sort();
            if spans.len() > SPANS_MAX {
                return Err(SiteError::TooManySpans(DAYS[day]));
            }
            let start = u32::try_from(day).unwrap_or_default() * u32::from(DAY);
            week.extend(spans.iter().map(|span| (start + u32::from(span.from), start + u32::from(span.until), day)));
        }
        let Some(first) = week.first().copied() else { return Err(SiteError::Entry(1)) };
        // The night of Sunday ends on Monday.
        let around = 7 * u32::from(DAY);
        let next = week.iter().skip(1).copied().chain([(first.0 + around, first.1 + around, first.2)]);
        if let Some((before, _)) = week.iter().zip(next).find(|(before, next)| before.1 > next.0) {
            return Err(SiteError::Overlap(DAYS[before.2]));
        }
        let is_whole = days.iter().all(|spans| *spans == [Span { from: 0, until: DAY }]);
        Ok(if is_whole { Self::ALWAYS } else { Self { days: Some(Box::new(days)) } })
    }
}

impl Default for OpeningHours {
    fn default() -> Self {
        Self::ALWAYS
    }
}

impl FromStr for OpeningHours {
    type Err = SiteError;

    fn from_str(text: &str) -> Result<Self, SiteError> {
        if text.len() > HOURS_MAX {
            return Err(SiteError::TooLong);
        }
        if text.trim() == ALWAYS {
            return Ok(Self::ALWAYS);
        }
        let mut days: [Vec<Span>; 7] = Default::default();
        for (at, entry) in (1..).zip(text.split(',')) {
            let mut words = entry.split_whitespace();
            let named = words.next().and_then(parse_days).ok_or(SiteError::Entry(at))?;
            let spans = words.map(|word| parse_span(word, at)).collect::<Result<Vec<Span>, SiteError>>()?;
            if spans.is_empty() {
                return Err(SiteError::Entry(at));
            }
            named.into_iter().for_each(|day| days[day].extend(&spans));
        }
        Self::checked(days)
    }
}

/// `mo` or `fr-su`, also around the end of the week.
fn parse_days(text: &str) -> Option<Vec<usize>> {
    let day = |text: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    match text.split_once('-') {
        None => Some(vec![day(text)?]),
        Some((first, last)) => {
            let (first, last) = (day(first)?, day(last)?);
            let count = (last + DAYS.len() - first) % DAYS.len();
            (count > 0).then(|| (first..=first + count).map(|day| day % DAYS.len()).collect())
        }
    }
}

fn parse_span(text: &str, at: usize) -> Result<Span, SiteError> {
    let times = text.split_once('-').and_then(|(from, until)| Some((parse_time(from)?, parse_time(until)?)));
    let (from, until) = times.filter(|(from, _)| *from < DAY).ok_or(SiteError::Entry(at))?;
    match until {
        _ if until == from => Err(SiteError::NoLength(at)),
        _ if until > from => Ok(Span { from, until }),
        // A night that ends at midnight has the same moment two names.
        0 => Ok(Span { from, until: DAY }),
        _ => Ok(Span { from, until: until + DAY }),
    }
}

/// `07:00`, up to `24:00`.
fn parse_time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two =
        |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok());
    let (hours, minutes): (u16, u16) = (two(hours)??, two(minutes)??);
    let time = hours * 60 + minutes;
    (minutes < 60 && time <= DAY).then_some(time)
}

impl fmt::Display for OpeningHours {
    /// Days that follow one another and have the same spans are one entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(days) = &self.days else { return f.write_str(ALWAYS) };
        let mut first = 0;
        let mut is_first_entry = true;
        while first < days.len() {
            let spans = &days[first];
            let count = days[first..].iter().take_while(|other| *other == spans).count();
            if !spans.is_empty() {
                f.write_str(if is_first_entry { "" } else { ", " })?;
                is_first_entry = false;
                f.write_str(DAYS[first])?;
                if count > 1 {
                    write!(f, "-{}", DAYS[first + count - 1])?;
                }
                spans.iter().try_for_each(|span| write!(f, " {span}"))?;
            }
            first += count;
        }
        Ok(())
    }
}

as_text!(OpeningHours);

/// A date by a site's calendar, `2026-12-25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalDate(pub Date);

impl fmt::Display for LocalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LocalDate {
    type Err = SiteError;

    fn from_str(text: &str) -> Result<Self, SiteError> {
        // The parser of the library takes whole times too, and signs.
        let shape = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
        let fits = text.len() == 10 && text.bytes().enumerate().all(shape);
        fits.then(|| text.parse().ok()).flatten().map(Self).ok_or(SiteError::Date)
    }
}

as_text!(LocalDate);

/// Dates on which a site does not open, at most [`CLOSED_MAX`]. A night that began on the day before goes on to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<LocalDate>")]
pub struct ClosedDates(BTreeSet<LocalDate>);

impl ClosedDates {
    pub fn has(&self, date: Date) -> bool {
        self.0.contains(&LocalDate(date))
    }

    pub fn iter(&self) -> impl Iterator<Item = LocalDate> {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<LocalDate>> for ClosedDates {
    type Error = SiteError;

    fn try_from(dates: Vec<LocalDate>) -> Result<Self, SiteError> {
        if dates.len() > CLOSED_MAX {
            return Err(SiteError::TooManyDates);
        }
        let count = dates.len();
        let different: BTreeSet<LocalDate> = dates.into_iter().collect();
        if different.len() == count { Ok(Self(different)) } else { Err(SiteError::DateTwice) }
    }
}

/// A site as the fleet knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteDetail {
    pub site: SiteId,
    pub cabinets: u32,
    /// Left out: nobody has set it, and messages name no local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// This version of the fleet has no such zone: times there are in UTC until another one is set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zone_unknown: bool,
    pub hours: OpeningHours,
    pub closed: ClosedDates,
    /// Whether it is open now.
    pub open: bool,
    /// What the clock on the wall there shows now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Identity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Rfc3339>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePage {
    pub sites: Vec<SiteDetail>,
    /// More sites follow behind the last one.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Result<String, String> {
        text.parse::<OpeningHours>().map(|hours| hours.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn opening_hours_read_and_print_in_one_form() {
        for (given, printed) in [
            ("always", "always"),
            (" mo-su 00:00-24:00 ", "always"),
            ("mo-fr 07:00-20:00, sa 08:00-18:00", "mo-fr 07:00-20:00, sa 08:00-18:00"),
            ("Sa 8:00-18:00", ""),
            ("sa 13:00-18:00 08:00-12:00,MO 07:00-20:00", "mo 07:00-20:00, sa 08:00-12:00 13:00-18:00"),
            ("mo 07:00-12:00, mo 13:00-20:00", "mo 07:00-12:00 13:00-20:00"),
            ("fr-mo 20:00-02:00", "mo 20:00-02:00, fr-su 20:00-02:00"),
            ("mo 20:00-00:00, tu 00:00-05:00", "mo 20:00-24:00, tu 00:00-05:00"),
            ("mo 00:00-24:00", "mo 00:00-24:00"),
        ] {
            if printed.is_empty() {
                assert!(hours(given).is_err(), "{given}");
                continue;
            }
            assert_eq!(hours(given).as_deref(), Ok(printed));
            assert_eq!(hours(printed).as_deref(), Ok(printed), "what is printed reads back");
        }
    }

    #[test]
    fn opening_hours_that_are_none_are_refused_with_the_entry_or_the_day() {
        for (text, named) in [
            ("", "entry 1"),
            ("mo-fr", "entry 1"),
            ("mo 07:00-20:00,", "entry 2"),
            ("mo 07:00-20:00, xx 07:00-20:00", "entry 2"),
            ("mo-mo 07:00-20:00", "entry 1"),
            ("07:00-20:00", "entry 1"),
            ("mo 7:00-20:00", "entry 1"),
            ("mo 07:60-20:00", "entry 1"),
            ("mo 07:00-24:01", "entry 1"),
            ("mo 24:00-07:00", "entry 1"),
            ("mo +7:00-20:00", "entry 1"),
            ("mo 07:00", "entry 1"),
            ("always, mo 07:00-20:00", "entry 1"),
            ("mo 08:00-08:00", "no length"),
            ("mo 01:00-02:00 03:00-04:00 05:00-06:00 07:00-08:00 09:00-10:00", "more than 4 spans on mo"),
            ("mo 07:00-12:00 11:00-13:00", "overlap, on mo"),
            ("fr 20:00-02:00, sa 01:00-05:00", "overlap, on fr"),
            ("su 20:00-02:00, mo 01:00-05:00", "overlap, on su"),
            ("mo 20:00-19:00, tu 07:00-08:00", "overlap, on mo"),
        ] {
            let error = hours(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
        assert!(hours(&format!("mo {}07:00-20:00", " ".repeat(500))).unwrap_err().contains("500 bytes"));
    }

    #[test]
    fn a_span_that_ends_before_it_begins_goes_on_after_midnight() {
        let hours: OpeningHours = "sa 20:00-02:30".parse().unwrap();
        let spans: Vec<_> = hours.on(5).iter().map(|span| (span.from(), span.until())).collect();
        assert_eq!((spans, hours.on(6)), (vec![(20 * 60, 26 * 60 + 30)], &[][..]));
        assert_eq!(OpeningHours::ALWAYS.on(6), [Span { from: 0, until: DAY }]);
    }

    #[test]
    fn closed_dates_are_dates_each_named_once_and_not_too_many() {
        let read = |json: &str| serde_json::from_str::<ClosedDates>(json).map_err(|error| error.to_string());
        let dates = read(r#"["2026-12-26","2026-12-25"]"#).unwrap();
        assert_eq!(serde_json::to_string(&dates).unwrap(), r#"["2026-12-25","2026-12-26"]"#);
        assert!(read(r#"["2026-12-25","2026-12-25"]"#).unwrap_err().contains("twice"));
        for bad in ["2026-02-29", "2026-12-25T00:00", "20261225", "26-12-25", "+026-12-25", "heiligabend"] {
            assert!(read(&format!(r#"["{bad}"]"#)).unwrap_err().contains("is written as"), "{bad}");
        }
        let many: Vec<String> = (0..=CLOSED_MAX).map(|n| format!(r#""20{:02}-01-01""#, n + 10)).collect();
        assert!(read(&format!("[{}]", many.join(","))).unwrap_err().contains("more than 60"));
    }

    #[test]
    fn a_zone_is_a_name_and_nothing_that_is_a_path() {
        for good in ["Europe/Berlin", "UTC", "Etc/GMT+10", "America/Argentina/Buenos_Aires"] {
            assert_eq!(good.parse::<ZoneName>().unwrap().as_str(), good);
        }
        for bad in ["", "../etc/passwd", "Europe Berlin", "Zürich", &"x".repeat(65)] {
            assert_eq!(bad.parse::<ZoneName>(), Err(SiteError::Zone), "{bad}");
        }
    }
}
