//! A disk that fails under a running process: strace answers its system calls in the kernel's place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{PATIENCE, Process};
use rustix::process::{Pid, Signal, kill_process};

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// What is written does not reach the medium.
    Sync,
    /// Nothing can be written.
    Write,
    /// The kernel has made the file system read-only.
    ReadOnly,
}

impl DiskFault {
    pub const ALL: [Self; 3] = [Self::Sync, Self::Write, Self::ReadOnly];

    fn injection(self) -> &'static str {
        match self {
            Self::Sync => "inject=fdatasync:error=EIO",
            Self::Write => "inject=pwrite64:error=EIO",
            Self::ReadOnly => "inject=pwrite64,fdatasync,fallocate,ftruncate:error=EROFS",
        }
    }
}

/// The store of a process is on a failing disk as long as this lives.
pub struct FailingDisk {
    strace: Process,
    log: PathBuf,
}

impl FailingDisk {
    /// Whether one process may look into another here. Said and skipped if not, unless `REQUIRE_TOOLS=1`.
    pub async fn is_possible() -> anyhow::Result<bool> {
        let folder = tempfile::tempdir().context("make a folder for a log")?;
        let log = folder.path().join("log");
        let other = Process::start("sleep", Path::new("sleep"), ["600".into()], log.clone())?;
        let id = other.id().context("a process that sleeps has ended")?.to_string();
        let tried = match Process::start("strace", Path::new("strace"), ["-p".into(), id.into()], log) {
            Ok(strace) => strace.wait_for_line("attached", PATIENCE).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &tried {
            ensure!(
                std::env::var_os("REQUIRE_TOOLS").is_none(),
                "strace is required, and the right to use it: {error:#}"
            );
            eprintln!("SKIPPED: there is no strace here, or no right to use it");
        }
        Ok(tried.is_ok())
    }

    /// From now on the disk below `store` fails for this process.
    pub async fn under(process: &Process, store: &Path, fault: DiskFault, log: PathBuf) -> anyhow::Result<Self> {
        let id = process.id().context("the process has ended")?.to_string();
        let store = store.canonicalize().with_context(|| format!("find {}", store.display()))?;
        let mut arguments: Vec<OsString> = ["-f", "-p", &id, "-e", fault.injection(), "-P"].map(Into::into).into();
        arguments.push(store.into());
        let strace = Process::start("strace", Path::new("strace"), arguments, log.clone())?;
        strace.wait_for_line("attached", PATIENCE).await?;
        Ok(Self { strace, log })
    }

    /// The disk works again. It must have failed at least once.
    pub async fn heal(mut self) -> anyhow::Result<()> {
        let id = self.strace.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let failed = self.strace.output().contains("(INJECTED)");
        kill_process(id.context("strace has ended")?, Signal::INT).context("end strace")?;
        self.strace.exit_code(PATIENCE).await?;
        ensure!(failed, "nothing was asked of the failing disk: {}", self.log.display());
        Ok(())
    }
}
