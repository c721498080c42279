//! Another start of a cabinet's machine, on this one: the agent reads another boot id.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fleet_tests::{World, program, usable};

/// Words before an agent's program; `boot` numbers the starts of the machine.
pub(crate) fn started_again(world: &World, boot: u32) -> anyhow::Result<Vec<OsString>> {
    let file: PathBuf = world.stage.folder().join(format!("boot_id.{boot}"));
    std::fs::write(&file, format!("{boot:08x}-2222-4333-8444-555555555555\n"))?;
    let bind = r#"mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@""#;
    let mut words: Vec<OsString> = ["unshare", "--mount", "sh", "-c", bind, "sh"].map(OsString::from).into();
    words.push(file.into());
    Ok(words)
}

/// Whether a test can do so here.
pub(crate) fn can_be_started_again() -> anyhow::Result<bool> {
    let may_mount = std::process::Command::new("unshare").args(["--mount", "true"]).status();
    usable(may_mount.is_ok_and(|status| status.success()), "a right to a mount namespace")
}

/// The library that fakes the wall clock.
pub(crate) fn faketime() -> anyhow::Result<Option<PathBuf>> {
    let found = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .map(|folder| Path::new(folder).join("faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| path.exists());
    usable(found.is_some(), "libfaketime")?;
    Ok(found)
}

/// Whether a program of this name can be started here.
pub(crate) fn tool(name: &str) -> anyhow::Result<bool> {
    usable(program(name).is_some(), name)
}

/// Whether a test may start programs as other users here.
pub(crate) fn root() -> anyhow::Result<bool> {
    usable(rustix::process::geteuid().is_root(), "right to be another user")
}
