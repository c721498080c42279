//! Policies as they lie in the store.

use schemas::api::{Grace, Minutes, Percent, Policies, Policy};
use schemas::cbor_map;
use schemas::ids::Identity;
use schemas::messages::FleetMillis;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct RulesRow {
        /// Spans in minutes.
        1 => window: u32,
        2 opt => refrigerated: Option<u32>,
        3 => reminders: Vec<u8>,
        /// Left out: until staff begin to take the order back. 0 for none.
        4 opt => grace: Option<u32>,
        5 => longest: u32,
        6 => pauses: bool,
        7 => needs_time: bool,
        30 opt => ends_when_open: Option<bool>,
        31 opt => reminds_when_open: Option<bool>,
    }
}

cbor_map! {
    /// The newest policies of a tenant.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct PolicyRow {
        1 => version: u64,
        2 => at: FleetMillis,
        3 => by: Identity,
        4 => retail: RulesRow,
        5 => food: RulesRow,
        6 => laundry: RulesRow,
        7 => pharmacy: RulesRow,
        8 => repair: RulesRow,
        9 => courier: RulesRow,
        /// Orders that are stored already are to follow it, too.
        10 => live: bool,
    }
}

impl PolicyRow {
    pub(crate) fn new(version: u64, at: FleetMillis, by: Identity, policies: &Policies, live: bool) -> Self {
        let Policies { retail, food, laundry, pharmacy, repair, courier } = policies;
        Self {
            version,
            at,
            by,
            retail: retail.into(),
            food: food.into(),
            laundry: laundry.into(),
            pharmacy: pharmacy.into(),
            repair: repair.into(),
            courier: courier.into(),
            live,
        }
    }

    /// None where a number is out of its range: nobody but this fleet writes rows, so the row is damaged.
    pub(crate) fn policies(&self) -> Option<Policies> {
        let read = Policies {
            retail: self.retail.rules()?,
            food: self.food.rules()?,
            laundry: self.laundry.rules()?,
            pharmacy: self.pharmacy.rules()?,
            repair: self.repair.rules()?,
            courier: self.courier.rules()?,
        };
        // Those of a version before opening hours leave something out.
        Some(read.filled())
    }
}

impl From<&Policy> for RulesRow {
    fn from(rules: &Policy) -> Self {
        Self {
            window: rules.window_minutes.count(),
            refrigerated: rules.cooled_window_minutes.map(Minutes::count),
            reminders: rules.reminders_percent.iter().map(|share| share.count()).collect(),
            grace: match rules.grace {
                Grace::None => Some(0),
                Grace::Minutes(minutes) => Some(minutes.count()),
                Grace::UntilRetrieved => None,
            },
            longest: rules.longest_minutes.count(),
            pauses: rules.pauses,
            needs_time: rules.needs_time,
            ends_when_open: rules.ends_when_open,
            reminds_when_open: rules.reminds_when_open,
        }
    }
}

impl RulesRow {
    fn rules(&self) -> Option<Policy> {
        let cooled = match self.refrigerated {
            Some(minutes) => Some(Minutes::new(minutes)?),
            None => None,
        };
        Some(Policy {
            window_minutes: Minutes::new(self.window)?,
            cooled_window_minutes: cooled,
            reminders_percent: self.reminders.iter().map(|share| Percent::new(*share)).collect::<Option<_>>()?,
            grace: match self.grace {
                Some(0) => Grace::None,
                Some(minutes) => Grace::Minutes(Minutes::new(minutes)?),
                None => Grace::UntilRetrieved,
            },
            longest_minutes: Minutes::new(self.longest)?,
            pauses: self.pauses,
            needs_time: self.needs_time,
            ends_when_open: self.ends_when_open,
            reminds_when_open: self.reminds_when_open,
        })
    }
}

#[cfg(test)]
mod tests {
    use schemas::cbor;

    use super::*;

    #[test]
    fn policies_read_back_from_the_store_as_they_were_put() {
        let mut policies = Policies::default();
        policies.courier.grace = Grace::Minutes(Minutes::new(90).unwrap());
        policies.repair.reminders_percent.clear();
        let row = PolicyRow::new(3, 5, "operator:acme:eve".parse().unwrap(), &policies, true);
        let read: PolicyRow = cbor::decode(&cbor::encode(&row)).unwrap();
        assert_eq!((read.policies(), &read), (Some(policies), &row));
    }

    #[test]
    fn a_row_of_a_version_before_opening_hours_reads_as_the_defaults() {
        let by = "operator:acme:eve".parse().unwrap();
        let mut row = PolicyRow::new(3, 5, by, &Policies::default(), true);
        let PolicyRow { retail, food, laundry, pharmacy, repair, courier, .. } = &mut row;
        for rules in [retail, food, laundry, pharmacy, repair, courier] {
            (rules.ends_when_open, rules.reminds_when_open) = (None, None);
        }
        assert_eq!(row.policies(), Some(Policies::default()));
    }

    #[test]
    fn a_row_with_a_number_out_of_its_range_is_damaged() {
        let row = PolicyRow::new(1, 0, "operator:acme:eve".parse().unwrap(), &Policies::default(), false);
        for spoil in [
            (|row: &mut PolicyRow| row.food.window = 0) as fn(&mut PolicyRow),
            |row| row.retail.reminders = vec![100],
            |row| row.laundry.longest = u32::MAX,
            |row| row.pharmacy.refrigerated = Some(0),
        ] {
            let mut row = row.clone();
            spoil(&mut row);
            assert_eq!(row.policies(), None);
        }
    }
}
