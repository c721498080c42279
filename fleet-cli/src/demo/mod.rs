//! A whole fleet on this machine, to look at.

use std::process::ExitCode;

/// How the demo runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoOptions {
    /// Keep everything running after the tour, until Ctrl-C.
    pub stay: bool,
}

/// Runs the demo.
pub fn run(_options: DemoOptions) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the demo is not built yet")
}
