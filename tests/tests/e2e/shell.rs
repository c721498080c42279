//! The `fleet` command as a person uses it.

use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::PATIENCE;
use fleet_tests::World;
use schemas::ids::Role;
use serde_json::Value;
use tokio::process::Command;

/// One person at a shell.
pub(crate) struct Shell {
    pub(crate) fleet: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Shell {
    pub(crate) fn of(world: &World, role: Role, name: &str) -> anyhow::Result<Self> {
        let folder = world.stage.person(role, name)?.path().to_owned();
        Ok(Self { fleet: world.stage.binaries().fleet.clone(), folder })
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.fleet);
        command.args(arguments).arg("--as").arg(&self.folder).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = self.command(arguments).output();
        tokio::time::timeout(PATIENCE, output)
            .await
            .with_context(|| format!("fleet {arguments:?} hangs"))?
            .context("run")
    }

    /// Succeeds with one JSON document.
    pub(crate) async fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.run(&[arguments, &["--json"]].concat()).await?;
        ensure!(output.status.code() == Some(0), "fleet {arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).with_context(|| format!("fleet {arguments:?}: {output:?}"))
    }

    /// Fails with this code; both what is wrong and nothing else is on stderr.
    pub(crate) async fn fails(&self, arguments: &[&str], code: i32, said: &str) -> anyhow::Result<()> {
        let output = self.run(arguments).await?;
        ensure!(output.status.code() == Some(code), "fleet {arguments:?}: {output:?}");
        ensure!(String::from_utf8_lossy(&output.stderr).contains(said) && output.stdout.is_empty(), "{output:?}");
        Ok(())
    }
}
