//! Where the other two binaries are, and how they come to be there.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::Context as _;

/// The programs beside `fleet`.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub broker: PathBuf,
    pub agent: PathBuf,
    pub fleet: PathBuf,
}

impl Binaries {
    /// Finds them beside this program. Below `cargo run` or `cargo test` they are built first, so that they are those
    /// of the same sources: cargo itself builds only what it was asked to run.
    pub fn find() -> anyhow::Result<Self> {
        static FOUND: OnceLock<Result<Binaries, String>> = OnceLock::new();
        FOUND.get_or_init(|| locate().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
    }
}

fn locate() -> anyhow::Result<Binaries> {
    let own = env::current_exe().context("where is this program?")?;
    let mut folder = own.parent().context("this program has no folder")?;
    // Test programs and examples are one folder deeper.
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder = folder.parent().context("this program has no folder")?;
    }
    if let Some(cargo) = env::var_os("CARGO") {
        build(Path::new(&cargo), folder)?;
    }
    let find = |name: &str| {
        let path = folder.join(name);
        anyhow::ensure!(
            path.exists(),
            "`{}` is missing; put fleet-broker, cabinet-agent and fleet into one folder",
            path.display()
        );
        Ok(path)
    };
    Ok(Binaries { broker: find("fleet-broker")?, agent: find("cabinet-agent")?, fleet: find("fleet")? })
}

/// Builds the three programs with the same profile and features as this one, so that nothing of it is compiled twice.
fn build(cargo: &Path, folder: &Path) -> anyhow::Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package has no workspace")?;
    if !workspace.join("Cargo.toml").exists() {
        // Run by cargo, but not from the sources that it was built of.
        return Ok(());
    }
    let mut command = Command::new(cargo);
    command
        .args(["build", "--workspace", "--bin=fleet-broker", "--bin=cabinet-agent", "--bin=fleet", "--quiet"])
        .current_dir(workspace)
        .stdin(Stdio::null());
    if cfg!(feature = "pkcs11") {
        command.arg("--features=cabinet-agent/pkcs11,fleet-cli/pkcs11");
    }
    if folder.ends_with("release") {
        command.arg("--release");
    }
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    eprintln!("building the broker and the agent; this takes some minutes the first time …");
    let status = command.status().context("run cargo")?;
    anyhow::ensure!(status.success(), "cargo could not build the broker and the agent");
    Ok(())
}
