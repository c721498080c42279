//! Backups of the fleet's store: one at a time, on a thread of its own, while the driver goes on.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;
use fleet_store::{BackupError, Snapshot};
use schemas::api::{BackupMade, Reply, Rfc3339};
use schemas::messages::FleetMillis;
use tracing::{info, warn};

use super::unavailable;

/// Around the time in the name of a backup's file. The names sort by it.
const PREFIX: &str = "fleet-";
const SUFFIX: &str = ".backup";

/// Where backups are written, and whether one is under way. Cheap to clone.
#[derive(Clone)]
pub struct Backups {
    folder: PathBuf,
    /// The newest ones that stay.
    kept: u16,
    under_way: Arc<Mutex<()>>,
}

impl Backups {
    pub fn new(folder: PathBuf, kept: u16) -> Self {
        Self { folder, kept, under_way: Arc::default() }
    }

    /// When the newest backup that lies in the folder was taken.
    pub(super) fn newest(&self) -> Option<FleetMillis> {
        taken(names(&self.folder).ok()?.last()?)
    }

    /// Begins to write `snapshot`; `tell` gets the answer for whoever asked.
    pub(super) fn start(&self, snapshot: Snapshot, taken: FleetMillis, tell: impl FnOnce(Reply) + Send + 'static) {
        let Self { folder, kept, under_way } = self.clone();
        let work = move || {
            let Ok(_one) = under_way.try_lock() else {
                return tell(unavailable("a backup is under way", "ask again when it is done"));
            };
            match write(&snapshot, &folder, taken) {
                Ok(made) => {
                    info!(file = made.file, rows = made.rows, "backup written");
                    if let Err(error) = remove_oldest(&folder, kept) {
                        warn!(%error, folder = %folder.display(), "old backups are still there");
                    }
                    tell(Reply::Backup(made));
                }
                Err(error) => {
                    let why = format!("{:#}", anyhow::Error::new(error));
                    warn!(why, "no backup");
                    tell(unavailable(&format!("no backup was written: {why}"), "see the broker's log and its disk"));
                }
            }
        };
        // Without a thread the asker hears nothing and asks again.
        if let Err(error) = std::thread::Builder::new().name("backup".into()).spawn(work) {
            warn!(%error, "no thread for a backup");
        }
    }
}

fn write(snapshot: &Snapshot, folder: &Path, taken: FleetMillis) -> Result<BackupMade, BackupError> {
    let cannot = |source: std::io::Error| BackupError::Write { path: folder.to_owned(), source: Box::new(source) };
    // Orders and sealed codes are in it: for the owner alone.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot)?;
    let at = Rfc3339(taken);
    let path = folder.join(format!("{PREFIX}{}{SUFFIX}", at.to_string().replace([':', '.'], "-")));
    let seal = snapshot.write_to(&path, taken)?;
    let path = fs::canonicalize(&path).unwrap_or(path);
    Ok(BackupMade {
        file: path.display().to_string(),
        taken: at,
        rows: seal.rows,
        sha256: HEXLOWER.encode(&seal.digest.0),
    })
}

/// Removes all but the newest backups. What somebody else has put there stays.
fn remove_oldest(folder: &Path, kept: u16) -> std::io::Result<()> {
    let names = names(folder)?;
    let old = names.len().saturating_sub(kept.into());
    names.iter().take(old).try_for_each(|name| fs::remove_file(folder.join(name)))
}

/// Names of backups, the oldest first.
fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let ours = |name: &String| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
        if entry.file_type()?.is_file() {
            names.extend(entry.file_name().into_string().ok().filter(ours));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The time in the name of a backup.
fn taken(name: &str) -> Option<FleetMillis> {
    // `2026-11-22T03-00-00-000Z`
    let (day, time) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('T')?;
    let (seconds, millis) = time.rsplit_once('-')?;
    let text = format!("{day}T{}.{millis}", seconds.replace('-', ":"));
    serde_json::from_value::<Rfc3339>(text.into()).ok().map(|at| at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_backups_stay_and_so_does_what_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let backup = |day: u32| format!("fleet-2026-11-{day:02}T03-00-00-000Z.backup");
        let others = ["fleet.redb".to_owned(), "fleet-notes.txt".to_owned(), "old.backup".to_owned()];
        for name in (1..=5).map(backup).chain(others.clone()) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join(backup(0))).unwrap();
        remove_oldest(folder.path(), 2).unwrap();
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        left.sort_unstable();
        let mut expected: Vec<String> = [backup(0), backup(4), backup(5)].into_iter().chain(others).collect();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn the_name_of_a_backup_says_when_it_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let backups = Backups::new(folder.path().to_owned(), 2);
        assert_eq!(backups.newest(), None);
        for name in ["fleet-2026-11-22T03-00-00-007Z.backup", "fleet-2026-11-21T03-00-00-000Z.backup"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(backups.newest(), Some(1_795_316_400_007));
        assert_eq!(taken("fleet-2026-11-22.backup"), None);
        assert_eq!(Backups::new(folder.path().join("none"), 2).newest(), None);
    }
}
