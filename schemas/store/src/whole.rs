//! Files that have their name only when they are whole and on disk.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Lets `fill` fill an empty file beside `path`, syncs it and gives it its name. The caller has seen that `path` is free.
pub(crate) fn whole_file<T>(path: &Path, fill: impl FnOnce(&Path) -> Result<T, Failure>) -> Result<T, Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    // What a power cut has left.
    let _ = fs::remove_file(&part);
    // Personal data is in it: for its owner alone, whatever the umask says.
    let made = File::options().write(true).create_new(true).mode(0o600).open(&part);
    let filled = made.map_err(Into::into).and_then(|_| fill(&part)).and_then(|made| {
        File::open(&part)?.sync_all()?;
        fs::rename(&part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(made)
    });
    if filled.is_err() {
        let _ = fs::remove_file(&part);
    }
    filled
}
