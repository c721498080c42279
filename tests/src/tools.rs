//! Programs that a test needs beside our own.

use std::path::PathBuf;

use anyhow::ensure;

/// Where a program of this name is.
pub fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.exists())
}

/// A test without what it needs is skipped on a laptop and fails where all tools are required.
pub fn usable(found: bool, what: &str) -> anyhow::Result<bool> {
    if !found {
        ensure!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{what} is required");
        eprintln!("SKIPPED: there is no {what} here");
    }
    Ok(found)
}
