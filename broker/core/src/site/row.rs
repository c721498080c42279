//! Sites as they lie in the store.

use schemas::api::{ClosedDates, LocalDate, OpeningHours, ZoneName};
use schemas::cbor_map;
use schemas::ids::Identity;
use schemas::messages::FleetMillis;

cbor_map! {
    /// What was said of a site last. Each text in the form in which it is shown.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct SiteRow {
        1 => zone: String,
        2 => hours: String,
        3 => closed: Vec<String>,
        4 => by: Identity,
        5 => at: FleetMillis,
    }
}

/// What a row says, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) zone: ZoneName,
    pub(super) hours: OpeningHours,
    pub(super) closed: ClosedDates,
}

impl SiteRow {
    pub(super) fn new(said: &Said, by: Identity, at: FleetMillis) -> Self {
        let Said { zone, hours, closed } = said;
        let closed = closed.iter().map(|date| date.to_string()).collect();
        Self { zone: zone.to_string(), hours: hours.to_string(), closed, by, at }
    }

    /// None where a text is none of its kind: nobody but this fleet writes rows, so the row is damaged.
    pub(super) fn said(&self) -> Option<Said> {
        let dates: Option<Vec<LocalDate>> = self.closed.iter().map(|date| date.parse().ok()).collect();
        Some(Said {
            zone: self.zone.parse().ok()?,
            hours: self.hours.parse().ok()?,
            closed: ClosedDates::try_from(dates?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use schemas::cbor;

    use super::*;

    #[test]
    fn a_site_reads_back_from_the_store_and_a_damaged_row_does_not() {
        let dates: Vec<LocalDate> = vec!["2026-12-25".parse().unwrap(), "2027-01-01".parse().unwrap()];
        let said = Said {
            zone: "Europe/Berlin".parse().unwrap(),
            hours: "mo-fr 07:00-20:00, sa 20:00-02:00".parse().unwrap(),
            closed: ClosedDates::try_from(dates).unwrap(),
        };
        let row = SiteRow::new(&said, "operator:acme:eve".parse().unwrap(), 7);
        let read: SiteRow = cbor::decode(&cbor::encode(&row)).unwrap();
        assert_eq!((read.said(), &read), (Some(said), &row));
        for spoil in [
            (|row: &mut SiteRow| row.zone = "Europe Berlin".into()) as fn(&mut SiteRow),
            |row| row.hours = "mo".into(),
            |row| row.closed = vec!["2026-12-32".into()],
        ] {
            let mut row = row.clone();
            spoil(&mut row);
            assert_eq!(row.said(), None);
        }
    }
}
