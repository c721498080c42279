//! Samples of one quantity and what is told of them.

use std::time::Duration;

/// Not empty, ascending.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// `None` without a sample, or with one that is not a number.
    pub(super) fn new(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        if samples.is_empty() || samples.iter().any(|sample| sample.is_nan()) {
            return None;
        }
        samples.sort_by(f64::total_cmp);
        Some(Self(samples))
    }

    /// In milliseconds.
    pub(super) fn of_durations(samples: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::new(samples.into_iter().map(|sample| sample.as_secs_f64() * 1_000.0))
    }

    pub(super) fn min(&self) -> f64 {
        self.0[0]
    }

    pub(super) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    pub(super) fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The smallest sample that at least `percent` per cent of all do not exceed (nearest rank).
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_that_were_taken() {
        let samples = Samples::new((1..=100).rev().map(f64::from)).unwrap();
        assert_eq!((samples.min(), samples.median(), samples.percentile(99), samples.max()), (1.0, 50.0, 99.0, 100.0));
        let three = Samples::new([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((three.median(), three.percentile(99), three.percentile(1)), (2.0, 3.0, 1.0));
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Samples::new([]), None);
        assert_eq!(Samples::new([1.0, f64::NAN]), None);
    }
}
