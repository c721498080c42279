//! What was measured, and the table of it.

use anyhow::{Context as _, ensure};

use super::samples::Samples;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Millis,
    Bytes,
    /// 10⁶ bytes.
    Megabytes,
    /// 2²⁰ bytes.
    Mebibytes,
    None,
}

/// One quantity of one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    what: &'static str,
    unit: Unit,
    value: f64,
    /// At most this much, in the same unit.
    goal: Option<f64>,
}

impl Figure {
    pub(super) fn millis(what: &'static str, value: f64) -> Self {
        Self { what, unit: Unit::Millis, value, goal: None }
    }

    pub(super) fn bytes(what: &'static str, value: f64) -> Self {
        Self { what, unit: Unit::Bytes, value, goal: None }
    }

    pub(super) fn megabytes(what: &'static str, bytes: f64) -> Self {
        Self { what, unit: Unit::Megabytes, value: bytes / 1e6, goal: None }
    }

    pub(super) fn mebibytes(what: &'static str, kibibytes: u64) -> Self {
        Self { what, unit: Unit::Mebibytes, value: kibibytes as f64 / 1024.0, goal: None }
    }

    pub(super) fn plain(what: &'static str, value: f64) -> Self {
        Self { what, unit: Unit::None, value, goal: None }
    }

    pub(super) fn at_most(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }
}

/// The figures of all runs.
#[derive(Debug, Default)]
pub(super) struct Figures {
    runs: Vec<Vec<Figure>>,
}

impl Figures {
    /// Every run measures the same things in the same order.
    pub(super) fn add_run(&mut self, run: Vec<Figure>) -> anyhow::Result<()> {
        let what = |run: &[Figure]| run.iter().map(|figure| figure.what).collect::<Vec<_>>();
        if let Some(first) = self.runs.first() {
            ensure!(what(first) == what(&run), "a run measured something else than the first");
        }
        self.runs.push(run);
        Ok(())
    }

    /// Each figure with the least, the median and the greatest of the runs.
    pub(super) fn table(&self) -> String {
        let mut text = "| what | goal | min | median | max |\n|---|--:|--:|--:|--:|\n".to_owned();
        for index in 0..self.runs.first().map_or(0, Vec::len) {
            // `add_run` has seen that every run has it.
            if let Ok(row) = self.row(index) {
                text.push_str(&row);
            }
        }
        text
    }

    /// The figures of the only run.
    pub(super) fn list(&self) -> String {
        let mut text = "| what | figure |\n|---|--:|\n".to_owned();
        for Figure { what, unit, value, .. } in self.runs.iter().flatten() {
            text.push_str(&format!("| {what} | {} |\n", unit.show(*value)));
        }
        text
    }

    fn row(&self, index: usize) -> anyhow::Result<String> {
        let runs = self.runs.iter().filter_map(|run| run.get(index));
        let values = Samples::new(runs.clone().map(|figure| figure.value)).context("a figure without a value")?;
        let Figure { what, unit, goal, .. } = runs.clone().next().context("no run")?;
        let show = |value| unit.show(value);
        let goal = goal.map_or_else(String::new, |goal| format!("≤ {}", show(goal)));
        let (min, median, max) = (show(values.min()), show(values.median()), show(values.max()));
        Ok(format!("| {what} | {goal} | {min} | **{median}** | {max} |\n"))
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Millis if value < 0.1 => format!("{:.2} µs", value * 1e3),
            Self::Millis => format!("{value:.1} ms"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Megabytes => format!("{value:.2} MB"),
            Self::Mebibytes => format!("{value:.2} MiB"),
            Self::None => format!("{value:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_the_spread_of_the_runs_beside_the_goal() {
        let mut figures = Figures::default();
        for kibibytes in [6 * 1024, 5 * 1024, 7 * 1024] {
            figures.add_run(vec![Figure::mebibytes("memory", kibibytes).at_most(6.0)]).unwrap();
        }
        let table = figures.table();
        assert!(table.ends_with("| memory | ≤ 6.00 MiB | 5.00 MiB | **6.00 MiB** | 7.00 MiB |\n"), "{table}");
    }

    #[test]
    fn runs_that_measured_different_things_are_not_put_together() {
        let mut figures = Figures::default();
        figures.add_run(vec![Figure::bytes("command", 1.0)]).unwrap();
        assert!(figures.add_run(vec![Figure::bytes("event", 1.0)]).is_err());
    }
}
