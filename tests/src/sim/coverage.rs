//! What schedules have reached, so that a silent simulation is not taken for a good one.

use std::collections::BTreeMap;
use std::fmt;

/// How often something was seen, by group and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<(&'static str, String), u64>);

impl Coverage {
    pub(super) fn count(&mut self, group: &'static str, name: impl Into<String>) {
        *self.0.entry((group, name.into())).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    /// How often `name` of `group` was seen.
    pub fn of(&self, group: &str, name: &str) -> u64 {
        self.0.iter().find(|((of, what), _)| *of == group && what == name).map_or(0, |(_, count)| *count)
    }

    /// How many different things of a group were seen.
    pub fn distinct(&self, group: &str) -> usize {
        self.0.keys().filter(|(of, _)| *of == group).count()
    }

    pub fn total(&self, group: &str) -> u64 {
        self.0.iter().filter(|((of, _), _)| *of == group).map(|(_, count)| count).sum()
    }
}

/// One line for each group.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = "";
        for ((of, name), count) in &self.0 {
            if *of != group {
                write!(f, "{}{of}:", if group.is_empty() { "" } else { "\n" })?;
                group = of;
            }
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}
