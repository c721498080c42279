//! Where and of what the figures are.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use anyhow::Context as _;

use super::Options;

/// Processes that wanted to run, averaged over the last minute. What is measured adds about 0.1 itself.
pub(super) fn load() -> anyhow::Result<f64> {
    let text = read("/proc/loadavg")?;
    text.split(' ').next().and_then(|first| first.parse().ok()).context("read the load of the machine")
}

/// Two lines for the head of the table of runs.
pub(super) fn describe(options: Options) -> anyhow::Result<String> {
    let Options { runs, unlocks, entries } = options;
    describe_of(&format!(
        "runs: {runs}, each of {unlocks} unlocks and {entries} codes; min, median and max are of the runs"
    ))
}

/// Two lines for the head of a table: the machine, and what was measured on it.
pub(super) fn describe_of(what: &str) -> anyhow::Result<String> {
    let processors = read("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = processors.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "unknown".into());
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{date}, commit {commit}; {count} × {model}, Linux {kernel}\n{what}\n",
        date = date()?,
        commit = commit(),
        kernel = kernel.trim(),
    ))
}

fn date() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    let now = schemas::api::Rfc3339(u64::try_from(now.as_millis())?);
    Ok(now.to_string().split('T').next().unwrap_or_default().to_owned())
}

/// Says when the programs may be of other sources than the commit.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("--no-optional-locks")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "unknown".into() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        Some(_) | None => format!("{commit} with changes"),
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}
