//! A child process whose log is read while it runs. It ends with its owner.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at a log.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where this run's part of the log begins.
    log_start: u64,
}

impl Process {
    /// Starts `program`; what it writes is added to `log`.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = OsString>,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&log).context("open a log")?;
        let log_start = file.metadata().context("look at a log")?.len();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share a log")?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log, log_start })
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// What this run has written so far.
    pub fn output(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut bytes = Vec::new();
            File::open(&self.log)?.read_to_end(&mut bytes)?;
            let start = usize::try_from(self.log_start).unwrap_or(usize::MAX).min(bytes.len());
            Ok(String::from_utf8_lossy(&bytes[start..]).into_owned())
        };
        read().unwrap_or_default()
    }

    /// Waits until a line of this run contains `text`.
    pub async fn wait_for_line(&self, text: &str, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        loop {
            let output = self.output();
            if output.contains(text) {
                return Ok(());
            }
            let gone = self.child.id().is_none_or(|id| !alive(id));
            if gone || Instant::now() >= until {
                let what = if gone { "ended" } else { "took too long" };
                bail!("{} {what} before it said `{text}`; it said:\n{}", self.name, tail(&output));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for the end of a program that ends by itself; returns its exit code.
    pub async fn exit_code(&mut self, patience: Duration) -> anyhow::Result<Option<i32>> {
        let status = timeout(patience, self.child.wait())
            .await
            .with_context(|| format!("{} did not end; it said:\n{}", self.name, tail(&self.output())))??;
        Ok(status.code())
    }

    /// SIGHUP: the program reads its settings again.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        let id = id.with_context(|| format!("{} has ended", self.name))?;
        rustix::process::kill_process(id, rustix::process::Signal::HUP)
            .with_context(|| format!("send SIGHUP to {}", self.name))
    }

    /// Waits until a program that ends by itself has done its work.
    pub async fn wait_for_success(mut self, patience: Duration) -> anyhow::Result<()> {
        match self.exit_code(patience).await? {
            Some(0) => Ok(()),
            code => bail!("{} ended with {code:?}; it said:\n{}", self.name, tail(&self.output())),
        }
    }

    /// SIGTERM, then waits for an end in good order.
    pub async fn stop(self, patience: Duration) -> anyhow::Result<()> {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)
                .with_context(|| format!("stop {}", self.name))?;
        }
        self.wait_for_success(patience).await
    }

    /// SIGKILL: no warning, no good order.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }
}

/// A zombie is not alive: it waits for its owner to ask how it ended.
fn alive(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
