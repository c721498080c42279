//! What the demo prints: a line a step, with the time since the start.

use std::time::Instant;

/// Prints as the story goes on.
pub(super) struct Timeline {
    start: Instant,
    /// What is being done now, for the case that it fails.
    step: String,
    steps: usize,
}

impl Timeline {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), step: "start".into(), steps: 0 }
    }

    pub(super) fn title(&self, text: &str) {
        say(&format!("\n{text}\n"));
    }

    /// A part of the story begins.
    pub(super) fn part(&self, text: &str) {
        say(&format!("\n  {text}"));
    }

    /// Names what comes next; nothing is printed unless it fails.
    pub(super) fn begin(&mut self, step: &str) {
        self.step = step.to_owned();
    }

    /// The step was observed.
    pub(super) fn saw(&mut self, who: &str, what: &str) {
        self.steps += 1;
        let seconds = self.start.elapsed().as_secs_f64();
        say(&format!("  {seconds:>7.2} s  {who:<12} {what}"));
    }

    pub(super) fn done(&self) {
        let seconds = self.start.elapsed().as_secs_f64();
        say(&format!("\n  All {} steps were observed, in {seconds:.1} s.\n", self.steps));
    }

    pub(super) fn failed(&self, error: &anyhow::Error) {
        let seconds = self.start.elapsed().as_secs_f64();
        say(&format!("  {seconds:>7.2} s  FAILED       {}", self.step));
        eprintln!("\nerror: step failed: {}\n{error:#}", self.step);
    }
}

#[allow(clippy::print_stdout, reason = "the demo's output")]
pub(super) fn say(text: &str) {
    println!("{text}");
}
