//! What schedules have reached, so that a silent simulation is not taken for a good one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How often something was seen, by group and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<(&'static str, Cow<'static, str>), u64>,
    /// Digests of the crash points (`crash.rs` says what makes two of them distinct).
    crash_points: BTreeSet<u64>,
}

impl Coverage {
    pub(super) fn count(&mut self, group: &'static str, name: impl Into<Cow<'static, str>>) {
        *self.counts.entry((group, name.into())).or_default() += 1;
    }

    pub(super) fn crash_point(&mut self, digest: u64) {
        self.crash_points.insert(digest);
    }

    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(key.clone()).or_default() += count;
        }
        self.crash_points.extend(&other.crash_points);
    }

    pub fn crash_points(&self) -> usize {
        self.crash_points.len()
    }

    /// How often `name` of `group` was seen.
    pub fn of(&self, group: &str, name: &str) -> u64 {
        self.counts.iter().find(|((of, what), _)| *of == group && what == name).map_or(0, |(_, count)| *count)
    }

    /// The names of a group that were seen.
    pub fn names(&self, group: &str) -> impl Iterator<Item = &str> {
        self.counts.keys().filter(move |(of, _)| *of == group).map(|(_, name)| name.as_ref())
    }
}

/// One line for each group.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = "";
        for ((of, name), count) in &self.counts {
            if *of != group {
                write!(f, "{}{of}:", if group.is_empty() { "" } else { "\n" })?;
                group = of;
            }
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}
