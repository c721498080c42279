//! How long orders are kept, by category: what an operator edits with `fleet policy`.

use serde::{Deserialize, Serialize};

use crate::ids::Identity;
use crate::messages::{Category, FleetMillis, OrderKey};

use super::Rfc3339;

/// Longest span of a policy, in minutes: a leap year.
pub const MINUTES_MAX: u32 = 366 * 24 * 60;
/// Most reminders of a window.
pub const REMINDERS_MAX: usize = 5;

/// A span of 1 to [`MINUTES_MAX`] minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct Minutes(u32);

impl Minutes {
    pub fn new(minutes: u32) -> Option<Self> {
        (1..=MINUTES_MAX).contains(&minutes).then_some(Self(minutes))
    }

    /// For the tables of this module: whole days, from 1 to 366.
    const fn days(days: u32) -> Self {
        Self(days * 24 * 60)
    }

    pub fn count(self) -> u32 {
        self.0
    }

    pub fn millis(self) -> FleetMillis {
        FleetMillis::from(self.0) * 60_000
    }
}

impl TryFrom<u32> for Minutes {
    type Error = String;

    fn try_from(minutes: u32) -> Result<Self, String> {
        Self::new(minutes).ok_or_else(|| format!("a span has 1 to {MINUTES_MAX} minutes"))
    }
}

/// A share of a window in percent, from 1 to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8")]
pub struct Percent(u8);

impl Percent {
    pub fn new(percent: u8) -> Option<Self> {
        (1..=99).contains(&percent).then_some(Self(percent))
    }

    pub fn of(self, span: FleetMillis) -> FleetMillis {
        (span / 100) * FleetMillis::from(self.0) + (span % 100) * FleetMillis::from(self.0) / 100
    }

    pub fn count(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(percent: u8) -> Result<Self, String> {
        Self::new(percent).ok_or_else(|| "a reminder comes at 1 to 99 percent of the window".to_owned())
    }
}

/// How long a code works behind the end of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grace {
    /// Not at all.
    None,
    /// Until staff begin to take the order back.
    UntilRetrieved,
    Minutes(Minutes),
}

/// The rules of time of one category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// From storing until the order is overdue.
    pub window_minutes: Minutes,
    /// The same in a compartment that is cooled. Left out: no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooled_window_minutes: Option<Minutes>,
    /// When the recipient is reminded, in percent of the window, ascending.
    pub reminders_percent: Vec<Percent>,
    pub grace: Grace,
    /// From storing until the furthest end that an extension may set.
    pub longest_minutes: Minutes,
    /// The window stands still while the cabinet could not open.
    pub pauses: bool,
    /// A cabinet that does not know the time refuses the code.
    pub needs_time: bool,
    /// A window that would end while the site is closed, or within its first hour of opening, ends when that opening ends. Left
    /// out: yes, but for food, which goes off whatever the hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_when_open: Option<bool>,
    /// A reminder that would come while the site is closed comes when it opens, if the window does not end before. Left out: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminds_when_open: Option<bool>,
}

/// Why policies are not taken. Names the category and the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("{0}: cooled_window_minutes is shorter than window_minutes")]
    CooledIsShorter(Category),
    #[error("{0}: longest_minutes is shorter than a window")]
    LongestIsShorter(Category),
    #[error("{0}: reminders_percent has more than {REMINDERS_MAX} entries")]
    TooManyReminders(Category),
    #[error("{0}: reminders_percent does not ascend")]
    RemindersOutOfOrder(Category),
    #[error("food: pauses is true, but food goes off while a cabinet is down")]
    FoodPauses,
    #[error("food: ends_when_open is true, but food goes off while a site is closed")]
    FoodWaits,
}

impl Policy {
    /// What holds of a category's fields together.
    fn check(&self, category: Category) -> Result<(), PolicyError> {
        let cooled = self.cooled_window_minutes.unwrap_or(self.window_minutes);
        if cooled < self.window_minutes {
            return Err(PolicyError::CooledIsShorter(category));
        }
        if self.longest_minutes < cooled {
            return Err(PolicyError::LongestIsShorter(category));
        }
        if self.reminders_percent.len() > REMINDERS_MAX {
            return Err(PolicyError::TooManyReminders(category));
        }
        if !self.reminders_percent.is_sorted_by(|before, after| before < after) {
            return Err(PolicyError::RemindersOutOfOrder(category));
        }
        if category == Category::Food && self.pauses {
            return Err(PolicyError::FoodPauses);
        }
        if category == Category::Food && self.ends_when_open == Some(true) {
            return Err(PolicyError::FoodWaits);
        }
        Ok(())
    }
}

/// The rules of time of every category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    pub retail: Policy,
    pub food: Policy,
    pub laundry: Policy,
    pub pharmacy: Policy,
    pub repair: Policy,
    pub courier: Policy,
}

impl Policies {
    pub fn of(&self, category: Category) -> &Policy {
        match category {
            Category::Retail => &self.retail,
            Category::Food => &self.food,
            Category::Laundry => &self.laundry,
            Category::Pharmacy => &self.pharmacy,
            Category::Repair => &self.repair,
            Category::Courier => &self.courier,
        }
    }

    /// The same with nothing left out that stands for a default.
    pub fn filled(mut self) -> Self {
        let Self { retail, food, laundry, pharmacy, repair, courier } = &mut self;
        food.ends_when_open.get_or_insert(false);
        for rules in [retail, food, laundry, pharmacy, repair, courier] {
            rules.ends_when_open.get_or_insert(true);
            rules.reminds_when_open.get_or_insert(false);
        }
        self
    }

    /// What a parser of single fields cannot see.
    pub fn check(&self) -> Result<(), PolicyError> {
        Category::ALL.iter().try_for_each(|category| self.of(*category).check(*category))
    }
}

/// What holds for a tenant that has set nothing (product.md, Windows by default).
impl Default for Policies {
    fn default() -> Self {
        let lasting = |days: u32, longest: u32| Policy {
            window_minutes: Minutes::days(days),
            cooled_window_minutes: None,
            reminders_percent: vec![Percent(50), Percent(90)],
            grace: Grace::UntilRetrieved,
            longest_minutes: Minutes::days(longest),
            pauses: true,
            needs_time: false,
            ends_when_open: Some(true),
            reminds_when_open: Some(false),
        };
        Self {
            retail: lasting(3, 30),
            food: Policy {
                window_minutes: Minutes(30),
                cooled_window_minutes: Some(Minutes(120)),
                grace: Grace::None,
                longest_minutes: Minutes(240),
                pauses: false,
                needs_time: true,
                ends_when_open: Some(false),
                ..lasting(1, 1)
            },
            laundry: lasting(7, 60),
            pharmacy: Policy { grace: Grace::None, needs_time: true, ..lasting(2, 14) },
            repair: lasting(7, 60),
            courier: lasting(3, 30),
        }
    }
}

/// The policies that a tenant has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDetail {
    /// 0: the defaults, nobody has set any.
    pub version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Identity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Rfc3339>,
    pub policies: Policies,
}

/// Orders of a category whose end another set of policies would move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    pub category: Category,
    /// How many of the orders that are stored or overdue.
    pub orders: u32,
    /// How many of them would be overdue at once.
    pub overdue: u32,
    /// The first twenty.
    pub first: Vec<OrderKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together_and_read_back_from_json() {
        let policies = Policies::default();
        assert_eq!(policies.check(), Ok(()));
        let json = serde_json::to_vec(&policies).unwrap();
        assert_eq!(crate::api::parse::<Policies>(&json), Ok(policies));
    }

    #[test]
    fn a_share_of_a_window_is_exact_to_the_millisecond() {
        let share = |percent, span| Percent::new(percent).unwrap().of(span);
        let hour = 60 * 60 * 1_000;
        assert_eq!((share(50, 72 * hour), share(90, 72 * hour)), (36 * hour, 64 * hour + hour * 8 / 10));
        assert_eq!((share(99, 101), share(1, 99), share(99, u64::MAX) < u64::MAX), (99, 0, true));
    }

    #[test]
    fn policies_that_contradict_themselves_are_refused_with_category_and_field() {
        let changed = |change: fn(&mut Policies)| {
            let mut policies = Policies::default();
            change(&mut policies);
            policies.check().unwrap_err().to_string()
        };
        let minutes = |minutes| Minutes::new(minutes).unwrap();
        assert!(
            minutes(1) < minutes(MINUTES_MAX) && Minutes::new(0).is_none() && Minutes::new(MINUTES_MAX + 1).is_none()
        );
        for (change, named) in [
            ((|all| all.food.cooled_window_minutes = Minutes::new(29)) as fn(&mut Policies), "food: cooled"),
            (|all| all.laundry.longest_minutes = Minutes::days(6), "laundry: longest"),
            (|all| all.retail.reminders_percent = (1..=6).map(Percent).collect(), "retail: reminders"),
            (|all| all.repair.reminders_percent = vec![Percent(50), Percent(50)], "repair: reminders"),
            (|all| all.food.pauses = true, "food: pauses"),
            (|all| all.food.ends_when_open = Some(true), "food: ends_when_open"),
        ] {
            let error = changed(change);
            assert!(error.starts_with(named), "{error}");
        }
    }

    #[test]
    fn policies_of_a_time_before_opening_hours_say_what_the_defaults_say() {
        let mut older = Policies::default();
        let Policies { retail, food, laundry, pharmacy, repair, courier } = &mut older;
        for rules in [retail, food, laundry, pharmacy, repair, courier] {
            (rules.ends_when_open, rules.reminds_when_open) = (None, None);
        }
        let json = serde_json::to_string(&older).unwrap();
        assert!(!json.contains("when_open"));
        assert_eq!(serde_json::from_str::<Policies>(&json).unwrap().filled(), Policies::default());
        let mut never = Policies::default();
        never.retail.ends_when_open = Some(false);
        assert_eq!(never.clone().filled(), never);
    }

    #[test]
    fn a_field_out_of_its_range_is_refused_by_the_parser() {
        let whole = serde_json::to_string(&Policies::default()).unwrap();
        for (good, bad, named) in [
            (r#""window_minutes":4320"#, r#""window_minutes":0"#, "a span has 1 to 527040 minutes"),
            ("[50,90]", "[50,100]", "a reminder comes at 1 to 99 percent"),
            (r#""grace":"none""#, r#""grace":"never""#, "unknown variant `never`"),
            (r#""pauses":true"#, r#""pause":true"#, "unknown field `pause`"),
            (r#""courier":"#, r#""couriers":"#, "unknown field `couriers`"),
        ] {
            let json = whole.replacen(good, bad, 1);
            assert_ne!(json, whole, "{good}");
            let error = crate::api::parse::<Policies>(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
