use jiff::civil::DateTime;
use proptest::prelude::*;
use schemas::api::LocalDate;

use super::super::zones::Zones;
use super::*;

const HOUR: u64 = 60 * 60_000;
const WEEK: &str = "mo-fr 07:00-20:00, sa 08:00-18:00";

fn clock(zone: &str, hours: &str, closed: &[&str]) -> SiteClock {
    let (name, zone) = Zones::default().find(zone).unwrap();
    let closed: Vec<LocalDate> = closed.iter().map(|date| date.parse().unwrap()).collect();
    SiteClock { name, zone, hours: hours.parse().unwrap(), closed: ClosedDates::try_from(closed).unwrap() }
}

fn at(text: &str) -> u64 {
    let at: Timestamp = text.parse().unwrap();
    u64::try_from(at.as_millisecond()).unwrap()
}

/// Where a window ends that would end then, and may last for ten days more.
fn ends(clock: &SiteClock, planned: &str) -> String {
    let planned = at(planned);
    clock.shows(clock.end_when_open(planned, planned + 240 * HOUR))
}

#[test]
fn a_clock_shows_letters_where_the_zone_has_some_and_its_distance_from_utc_where_not() {
    for (zone, shown) in [
        ("Europe/Berlin", "2026-11-25 20:00 CET"),
        ("America/New_York", "2026-11-25 14:00 EST"),
        ("Asia/Kolkata", "2026-11-26 00:30 IST"),
        ("Australia/Lord_Howe", "2026-11-26 06:00 UTC+11:00"),
        ("America/Sao_Paulo", "2026-11-25 16:00 UTC-03:00"),
        ("Pacific/Marquesas", "2026-11-25 09:30 UTC-09:30"),
        ("UTC", "2026-11-25 19:00 UTC"),
    ] {
        assert_eq!(clock(zone, "always", &[]).shows(at("2026-11-25T19:00:59.999Z")), shown);
    }
    let berlin = clock("Europe/Berlin", "always", &[]);
    let twice = [at("2026-10-25T00:30Z"), at("2026-10-25T01:30Z")].map(|at| berlin.shows(at));
    assert_eq!(twice, ["2026-10-25 02:30 CEST", "2026-10-25 02:30 CET"]);
    assert!(berlin.shows(u64::MAX).starts_with("9999-"), "a moment that no calendar has is still shown");
}

#[test]
fn an_end_while_the_site_is_open_stays_and_any_other_is_that_of_the_next_opening() {
    let site = clock("Europe/Berlin", WEEK, &["2026-12-25"]);
    for (planned, ends_at) in [
        ("2026-11-25T15:00+01:00", "2026-11-25 15:00 CET"),
        ("2026-11-25T20:00+01:00", "2026-11-25 20:00 CET"),
        ("2026-11-25T20:01+01:00", "2026-11-26 20:00 CET"),
        ("2026-11-26T06:59+01:00", "2026-11-26 20:00 CET"),
        // A minute behind the opening is no better than a minute before.
        ("2026-11-26T07:01+01:00", "2026-11-26 20:00 CET"),
        ("2026-11-26T07:59+01:00", "2026-11-26 20:00 CET"),
        ("2026-11-26T08:00+01:00", "2026-11-26 08:00 CET"),
        ("2026-11-27T21:00+01:00", "2026-11-28 18:00 CET"),
        ("2026-11-28T18:30+01:00", "2026-11-30 20:00 CET"),
        // Christmas is a Friday.
        ("2026-12-24T22:00+01:00", "2026-12-26 18:00 CET"),
        ("2026-12-25T12:00+01:00", "2026-12-26 18:00 CET"),
    ] {
        assert_eq!(ends(&site, planned), ends_at, "{planned}");
    }
    let moved = site.end_when_open(at("2026-11-25T21:00+01:00"), u64::MAX);
    assert_eq!(site.end_when_open(moved, u64::MAX), moved, "an end that was moved stays");
}

#[test]
fn a_site_that_is_always_open_moves_nothing_and_one_that_is_closed_for_long_moves_to_the_bound() {
    assert_eq!(clock("UTC", "always", &[]).end_when_open(7, u64::MAX), 7);
    let around = clock("Europe/Berlin", "always", &["2026-12-25", "2026-12-26"]);
    assert_eq!(ends(&around, "2026-12-24T23:59+01:00"), "2026-12-24 23:59 CET");
    // The opening behind it goes on for ever: a day of it is enough.
    assert_eq!(ends(&around, "2026-12-25T09:00+01:00"), "2026-12-28 00:00 CET");
    assert!(!around.is_open(at("2026-12-26T22:59:59.999Z")) && around.is_open(at("2026-12-26T23:00Z")));
    let mondays = clock("Europe/Berlin", "mo 09:00-12:00", &["2026-11-30", "2026-12-07"]);
    assert_eq!(ends(&mondays, "2026-11-24T10:00+01:00"), "2026-12-04 10:00 CET", "ten days are all that there is");
    let planned = at("2026-11-24T10:00+01:00");
    assert_eq!(mondays.end_when_open(planned, planned), planned);
    assert_eq!(mondays.end_when_open(planned, planned - 1), planned, "a bound makes no window shorter");
    assert_eq!(mondays.shows(mondays.end_when_open(planned, planned + 500 * HOUR)), "2026-12-14 12:00 CET");
}

#[test]
fn a_night_goes_on_after_midnight_also_into_a_date_on_which_the_site_is_closed() {
    let bar = clock("Europe/Berlin", "fr-sa 20:00-02:00", &["2026-11-28"]);
    assert!(bar.is_open(at("2026-11-28T01:59+01:00")) && !bar.is_open(at("2026-11-28T02:00+01:00")));
    assert!(!bar.is_open(at("2026-11-28T22:00+01:00")));
    assert_eq!(ends(&bar, "2026-11-27T23:00+01:00"), "2026-11-27 23:00 CET");
    assert_eq!(ends(&bar, "2026-11-27T19:00+01:00"), "2026-11-28 02:00 CET");
}

#[test]
fn two_spans_that_follow_one_another_are_one_opening() {
    let site = clock("Europe/Berlin", "mo 18:00-24:00, tu 00:00-04:00 12:00-13:00", &[]);
    assert_eq!(ends(&site, "2026-11-24T00:10+01:00"), "2026-11-24 00:10 CET", "it opened in the evening before");
    assert_eq!(ends(&site, "2026-11-23T18:10+01:00"), "2026-11-24 04:00 CET");
}

/// When a site is open around a night, to the minute.
fn open_minutes(site: &SiteClock, from: &str, until: &str) -> Vec<String> {
    let minutes = (at(from)..at(until)).step_by(60_000);
    let edges = minutes.filter(|at| site.is_open(*at) != site.is_open(*at - 60_000));
    edges.map(|at| site.shows(at)[11..].to_owned()).collect()
}

#[test]
fn days_of_23_and_25_hours_open_and_close_by_the_clock_on_the_wall() {
    let berlin = clock("Europe/Berlin", "mo-su 07:00-20:00", &[]);
    let around = |from, until| open_minutes(&berlin, from, until);
    assert_eq!(around("2026-03-28T23:00Z", "2026-03-29T22:00Z"), ["07:00 CEST", "20:00 CEST"]);
    assert_eq!(around("2026-10-24T22:00Z", "2026-10-25T23:00Z"), ["07:00 CET", "20:00 CET"]);
    assert_eq!(ends(&berlin, "2026-10-24T21:00+02:00"), "2026-10-25 20:00 CET");
    let new_york = clock("America/New_York", "mo-su 07:00-20:00", &[]);
    assert_eq!(ends(&new_york, "2026-03-07T21:00-05:00"), "2026-03-08 20:00 EDT");
    assert_eq!(ends(&new_york, "2026-10-31T21:00-04:00"), "2026-11-01 20:00 EST");
    // A whole day that has 25 hours, and one that has 23.
    let whole = clock("Europe/Berlin", "su 00:00-24:00", &[]);
    for (from, until, hours) in
        [("2026-10-24T22:00Z", "2026-10-25T23:00Z", 25), ("2026-03-28T23:00Z", "2026-03-29T22:00Z", 23)]
    {
        assert_eq!(at(until) - at(from), hours * HOUR);
        assert!(whole.is_open(at(from)) && !whole.is_open(at(from) - 1));
        assert!(whole.is_open(at(until) - 1) && !whole.is_open(at(until)));
    }
}

#[test]
fn a_time_that_does_not_exist_is_the_moment_of_the_change() {
    // In Berlin 02:00 is 03:00 on that night.
    let night = |hours| open_minutes(&clock("Europe/Berlin", hours, &[]), "2026-03-28T20:00Z", "2026-03-29T10:00Z");
    assert_eq!(night("su 02:30-05:00"), ["03:00 CEST", "05:00 CEST"]);
    assert_eq!(night("su 01:00-02:30"), ["01:00 CET", "03:00 CEST"]);
    assert_eq!(night("su 02:10-02:50"), [""; 0], "there is no such time");
    assert_eq!(night("sa 23:00-02:30, su 02:30-04:00"), ["23:00 CET", "04:00 CEST"]);
    // On Lord Howe 02:00 is 02:30.
    let howe = clock("Australia/Lord_Howe", "su 02:15-02:45", &[]);
    let night = open_minutes(&howe, "2026-10-03T12:00Z", "2026-10-03T18:00Z");
    assert_eq!(night, ["02:30 UTC+11:00", "02:45 UTC+11:00"]);
}

#[test]
fn of_a_time_that_exists_twice_a_site_opens_at_the_first_and_closes_at_the_second() {
    let night = |hours| open_minutes(&clock("Europe/Berlin", hours, &[]), "2026-10-24T20:00Z", "2026-10-25T10:00Z");
    assert_eq!(night("su 02:30-05:00"), ["02:30 CEST", "05:00 CET"]);
    assert_eq!(night("su 01:00-02:30"), ["01:00 CEST", "02:30 CET"]);
    assert_eq!(night("su 02:00-02:30"), ["02:00 CEST", "02:30 CET"]);
    assert_eq!(night("su 01:00-02:00"), ["01:00 CEST", "02:00 CEST"], "the first 02:00 is behind 01:59 already");
    assert_eq!(night("su 03:00-04:00"), ["03:00 CET", "04:00 CET"]);
    let howe = clock("Australia/Lord_Howe", "su 01:00-01:45", &[]);
    let night = open_minutes(&howe, "2027-04-03T12:00Z", "2027-04-03T18:00Z");
    assert_eq!(night, ["01:00 UTC+11:00", "01:45 UTC+10:30"]);
}

/// The minutes of some days around a moment, one after another, and whether the site is open in each: by the sentence at the
/// head of the module, and by nothing else.
struct Reference {
    from: u64,
    open: Vec<bool>,
}

impl Reference {
    fn new(site: &SiteClock, around: u64) -> Self {
        let from = (around - 72 * HOUR) / 60_000 * 60_000;
        let minutes: Vec<DateTime> =
            (0..8 * 24 * 60).map(|n| site.zone.to_datetime(timestamp(from + n * 60_000))).collect();
        let mut open = vec![false; minutes.len()];
        let mut date = minutes[0].date();
        while date <= minutes[minutes.len() - 1].date() {
            let spans = if site.closed.has(date) {
                &[]
            } else {
                site.hours.on(date.weekday().to_monday_zero_offset() as usize)
            };
            for span in spans {
                let time = |minutes: u16| date.at(0, 0, 0, 0) + SignedDuration::from_mins(minutes.into());
                let (begin, end) = (time(span.from()), time(span.until()));
                let within = |shown: &DateTime| (begin..end).contains(shown);
                let (first, last) = (minutes.iter().position(within), minutes.iter().rposition(within));
                if let (Some(first), Some(last)) = (first, last) {
                    open[first..=last].fill(true);
                }
            }
            date = date.tomorrow().unwrap();
        }
        Self { from, open }
    }

    fn is_open(&self, at: u64) -> bool {
        self.open[usize::try_from((at - self.from) / 60_000).unwrap()]
    }

    fn when_open(&self, at: u64, end: u64) -> u64 {
        let minutes = (at..end).step_by(60_000).take_while(|at| (at - self.from) / 60_000 < self.open.len() as u64);
        minutes.into_iter().find(|at| self.is_open(*at)).unwrap_or(at)
    }

    fn end_when_open(&self, planned: u64, latest: u64) -> u64 {
        let moment = |minute: usize| self.from + 60_000 * minute as u64;
        let mut minute = 0;
        while let Some(begin) = (minute..self.open.len()).find(|at| self.open[*at]) {
            let end = (begin..self.open.len()).find(|at| !self.open[*at]).unwrap_or(self.open.len());
            if moment(end) >= planned {
                return match moment(begin) + HOUR <= planned {
                    true => planned,
                    false => moment(end).min(moment(begin) + 24 * HOUR).min(latest),
                };
            }
            minute = end;
        }
        latest
    }
}

fn any_hours() -> impl Strategy<Value = OpeningHours> {
    let time = |minutes: u32| format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
    // Some at the hours at which clocks are changed, in quarters of an hour.
    let begin = prop_oneof![0..96u32, 4..14u32];
    let span = (0..7usize, begin, 1..80u32)
        .prop_map(move |(day, begin, length)| (day, time(begin * 15), time((begin + length) * 15)));
    proptest::collection::vec(span, 1..8).prop_filter_map("they overlap", |spans| {
        const DAYS: [&str; 7] = ["mo", "tu", "we", "th", "fr", "sa", "su"];
        let entries: Vec<_> = spans.iter().map(|(day, from, until)| format!("{} {from}-{until}", DAYS[*day])).collect();
        entries.join(", ").parse().ok()
    })
}

fn any_site() -> impl Strategy<Value = (SiteClock, u64)> {
    // A night in which the clocks there are changed.
    let zones = [
        ("Europe/Berlin", "2026-10-25T01:00Z"),
        ("Europe/Berlin", "2027-03-28T01:00Z"),
        ("America/New_York", "2026-11-01T06:00Z"),
        ("America/New_York", "2027-03-14T07:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
        ("Australia/Lord_Howe", "2027-04-03T15:00Z"),
        ("Asia/Kolkata", "2026-11-23T12:00Z"),
        ("America/Santiago", "2026-09-06T04:00Z"),
    ];
    let closed = proptest::collection::btree_set(-2..4i64, 0..3);
    (proptest::sample::select(zones.to_vec()), any_hours(), closed).prop_map(|((zone, night), hours, closed)| {
        let mut site = clock(zone, "always", &[]);
        let date = site.date_of(i64::try_from(at(night)).unwrap());
        let closed = closed.into_iter().map(|days| LocalDate(date + jiff::Span::new().days(days)));
        site.closed = ClosedDates::try_from(closed.collect::<Vec<_>>()).unwrap();
        site.hours = hours;
        (site, at(night))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn openings_are_those_of_a_clock_that_is_looked_at_every_minute(
        (site, night) in any_site(),
        planned in -2160..2880i64,
        more in 0..4320u64,
    ) {
        let planned = night.checked_add_signed(planned * 60_000).unwrap();
        let reference = Reference::new(&site, night);
        prop_assert_eq!(site.is_open(planned), reference.is_open(planned), "{}", site.shows(planned));
        let latest = planned + more * 60_000;
        let (ends, expected) = (site.end_when_open(planned, latest), reference.end_when_open(planned, latest));
        let (opens, first) = (site.when_open(planned, latest), reference.when_open(planned, latest));
        prop_assert_eq!(opens, first, "{} for {} by {}", site.shows(opens), site.shows(first), site.hours);
        prop_assert_eq!(ends, expected, "{} for {} by {}", site.shows(ends), site.shows(expected), site.hours);
    }
}
