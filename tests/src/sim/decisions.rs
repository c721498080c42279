//! What chance decided in a schedule: each decision has a name and a moment, so that it can be left out.
//!
//! Chance is drawn anew at each happening, from the seed and the simulated time alone. So a schedule without one of its
//! decisions is the same but for what that decision led to, and a failing one can be shortened to a few of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Something that somebody did or that went wrong, because chance would have it so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// Simulated milliseconds.
    pub at: u64,
    pub what: String,
    /// Counts decisions of one name at one moment.
    pub nth: u32,
}

/// As in a file of a regression: `812345 agent crash`, and `812345 agent crash #1` for a second one.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.what)?;
        if self.nth > 0 { write!(f, " #{}", self.nth) } else { Ok(()) }
    }
}

/// A line that is no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotADecision(String);

impl fmt::Display for NotADecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a decision: milliseconds, a name, and perhaps #1 for a second one", self.0)
    }
}

impl std::error::Error for NotADecision {}

impl FromStr for Decision {
    type Err = NotADecision;

    fn from_str(line: &str) -> Result<Self, NotADecision> {
        let not = || NotADecision(line.to_owned());
        let (at, what) = line.trim().split_once(' ').ok_or_else(not)?;
        let at = at.parse().map_err(|_| not())?;
        let (what, nth) = match what.rsplit_once(" #") {
            Some((what, nth)) => (what, nth.parse().map_err(|_| not())?),
            None => (what, 0),
        };
        if what.is_empty() { Err(not()) } else { Ok(Self { at, what: what.to_owned(), nth }) }
    }
}

/// Which decisions a schedule may take, and which it took.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// Only these, if it is given.
    kept: Option<BTreeSet<Decision>>,
    /// None whose name begins like one of these.
    without: Vec<String>,
    taken: Vec<Decision>,
    /// Names of the decisions at `moment`, those that were left out as well.
    names: Vec<&'static str>,
    moment: u64,
}

impl Decisions {
    pub(super) fn new(kept: Option<&[Decision]>, without: &[String]) -> Self {
        Self { kept: kept.map(|kept| kept.iter().cloned().collect()), without: without.to_vec(), ..Self::default() }
    }

    /// Whether `what` happens now.
    pub(super) fn decide(&mut self, now: u64, what: &'static str) -> bool {
        if self.moment != now {
            self.moment = now;
            self.names.clear();
        }
        let nth = self.names.iter().filter(|name| **name == what).count();
        self.names.push(what);
        let decision = Decision { at: now, what: what.to_owned(), nth: u32::try_from(nth).unwrap_or(u32::MAX) };
        let left_out = self.kept.as_ref().is_some_and(|kept| !kept.contains(&decision))
            || self.without.iter().any(|name| what.starts_with(name.as_str()));
        if !left_out {
            self.taken.push(decision);
        }
        !left_out
    }

    pub(super) fn taken(&self) -> &[Decision] {
        &self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_reads_as_it_is_written() {
        for line in ["812345 agent crash", "0 customer #12"] {
            assert_eq!(line.parse::<Decision>().unwrap().to_string(), line);
        }
        for line in ["", "12", "12 ", "x crash", "12 crash #x", "-1 crash"] {
            assert!(line.parse::<Decision>().is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_not_kept_is_left_out_and_does_not_change_the_others_names() {
        let kept: Vec<Decision> = ["5 fall #1", "6 fall"].iter().map(|line| line.parse().unwrap()).collect();
        let mut decisions = Decisions::new(Some(&kept), &[]);
        assert!(!decisions.decide(5, "fall"));
        assert!(decisions.decide(5, "fall"));
        assert!(decisions.decide(6, "fall"));
        assert_eq!(decisions.taken(), kept);
        let mut decisions = Decisions::new(None, &["fa".into()]);
        assert!(!decisions.decide(5, "fall") && decisions.decide(5, "rise"));
    }
}
