//! Shortens a failing schedule to the few decisions that make it fail, and keeps such schedules as files.

use std::fmt;

use super::decisions::{Decision, NotADecision};
use super::schedule::{Failure, Options, Report, run_kept};

/// Leaves out as many decisions as possible, half of them at first and one by one at last, as long as the same invariant
/// breaks. Plays at most `plays` schedules.
pub fn shrink(failure: Failure, options: &Options, plays: usize) -> Failure {
    let mut best = failure;
    let mut left = plays;
    let quiet = Options { rough_millis: Some(best.rough_millis), shown: 0, ..options.clone() };
    let mut chunk = best.decisions.len().div_ceil(2);
    while chunk > 0 {
        let mut shorter = false;
        let mut from = 0;
        while from < best.decisions.len() {
            if left == 0 {
                return shown(best, options);
            }
            left -= 1;
            let kept = best.decisions.iter().enumerate().filter(|(at, _)| !(from..from + chunk).contains(at));
            let kept: Vec<Decision> = kept.map(|(_, decision)| decision.clone()).collect();
            match run_kept(best.seed, &quiet, &kept) {
                Err(found) if found.invariant == best.invariant => {
                    best = found;
                    shorter = true;
                }
                _ => from += chunk,
            }
        }
        if !(shorter && chunk == 1) {
            chunk /= 2;
        }
    }
    shown(best, options)
}

/// The same failure with its history.
fn shown(failure: Failure, options: &Options) -> Failure {
    let options = Options { rough_millis: Some(failure.rough_millis), ..options.clone() };
    run_kept(failure.seed, &options, &failure.decisions).err().unwrap_or(failure)
}

/// A schedule that once broke an invariant because of a mistake: a seed, and the decisions that are kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regression {
    pub seed: u64,
    pub rough_millis: u64,
    pub kept: Vec<Decision>,
}

/// Why a text is no regression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotARegression {
    Lacks(&'static str),
    Number(String),
    Decision(NotADecision),
}

impl Regression {
    pub fn of(failure: &Failure) -> Self {
        Self { seed: failure.seed, rough_millis: failure.rough_millis, kept: failure.decisions.clone() }
    }

    /// Plays it. An error is a broken invariant, or a decision that is not taken any more: such a file proves nothing.
    pub fn play(&self, options: &Options) -> Result<Report, String> {
        let options = Options { rough_millis: Some(self.rough_millis), ..options.clone() };
        let report = run_kept(self.seed, &options, &self.kept).map_err(|failure| failure.to_string())?;
        match self.kept.iter().find(|kept| !report.decisions.contains(kept)) {
            Some(stale) => Err(format!("`{stale}` is not decided any more: find and shrink the schedule anew")),
            None => Ok(report),
        }
    }
}

impl std::str::FromStr for Regression {
    type Err = NotARegression;

    /// Lines that begin with `#` are for people; `seed N` and `millis N` come first, then one decision on each line.
    fn from_str(text: &str) -> Result<Self, NotARegression> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut number = |name: &'static str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)).ok_or(NotARegression::Lacks(name))?;
            line.trim().parse().map_err(|_| NotARegression::Number(line.to_owned()))
        };
        let (seed, rough_millis) = (number("seed ")?, number("millis ")?);
        let kept = lines.map(|line| line.parse().map_err(NotARegression::Decision)).collect::<Result<_, _>>()?;
        Ok(Self { seed, rough_millis, kept })
    }
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}\nmillis {}", self.seed, self.rough_millis)?;
        self.kept.iter().try_for_each(|decision| writeln!(f, "{decision}"))
    }
}

impl fmt::Display for NotARegression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(name) => write!(f, "a line `{name}…` is missing"),
            Self::Number(text) => write!(f, "`{text}` is not a number"),
            Self::Decision(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotARegression {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_reads_as_it_is_written_and_may_hold_words_for_people() {
        let text = "seed 7\nmillis 5400000\n812345 agent crash\n900000 customer comes #1\n";
        let regression: Regression = text.parse().unwrap();
        assert_eq!((regression.seed, regression.kept.len()), (7, 2));
        assert_eq!(regression.to_string(), text);
        assert_eq!(format!("# Why.\n\n{text}").parse::<Regression>(), Ok(regression));
    }

    #[test]
    fn what_is_no_regression_says_why() {
        for (text, error) in [
            ("", NotARegression::Lacks("seed ")),
            ("seed 1", NotARegression::Lacks("millis ")),
            ("seed x\nmillis 1", NotARegression::Number("x".into())),
        ] {
            assert_eq!(text.parse::<Regression>(), Err(error));
        }
        assert!(matches!("seed 1\nmillis 1\nfall".parse::<Regression>(), Err(NotARegression::Decision(_))));
    }
}
