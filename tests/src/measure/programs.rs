//! The agent in the two ways in which it is built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::Binaries;

/// The agent's program files.
pub(super) struct AgentPrograms {
    /// As it is put on cabinets: profile `cabinet`.
    pub(super) cabinet: PathBuf,
    /// Of the release build of the whole workspace, with the features that its other packages ask for.
    pub(super) release: PathBuf,
    pub(super) broker: PathBuf,
}

impl AgentPrograms {
    /// Builds them first, below `cargo run`.
    pub(super) fn find() -> anyhow::Result<Self> {
        ensure!(!cfg!(debug_assertions), "figures of an unoptimised build mean nothing; use `cargo run --release`");
        let Binaries { agent: release, broker, .. } = Binaries::find()?;
        let target = release.parent().and_then(Path::parent).context("the programs are in no target folder")?;
        let cabinet = target.join("cabinet").join("cabinet-agent");
        if let Some(cargo) = env::var_os("CARGO") {
            eprintln!("building the agent as it is put on cabinets …");
            let status = Command::new(cargo)
                .args(["build", "--quiet", "--profile", "cabinet", "--package", "cabinet-agent", "--target-dir"])
                .arg(target)
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .stdin(Stdio::null())
                .status()
                .context("run cargo")?;
            ensure!(status.success(), "cargo could not build the agent");
        }
        ensure!(cabinet.exists(), "build the agent first: cargo build --profile cabinet -p cabinet-agent");
        Ok(Self { cabinet, release, broker })
    }
}
