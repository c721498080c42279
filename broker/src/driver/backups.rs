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

/// Where backups are written, and whether one is under way. Cheap to clone.
#[derive(Clone)]
pub struct Backups {
    folder: PathBuf,
    under_way: Arc<Mutex<()>>,
}

impl Backups {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, under_way: Arc::default() }
    }

    /// Begins to write `snapshot`; `tell` gets the answer for whoever asked.
    pub(super) fn start(&self, snapshot: Snapshot, taken: FleetMillis, tell: impl FnOnce(Reply) + Send + 'static) {
        let Self { folder, under_way } = self.clone();
        let work = move || {
            let Ok(_one) = under_way.try_lock() else {
                return tell(unavailable("a backup is under way", "ask again when it is done"));
            };
            match write(&snapshot, &folder, taken) {
                Ok(made) => {
                    info!(file = made.file, rows = made.rows, "backup written");
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
    let path = folder.join(format!("fleet-{}.backup", at.to_string().replace([':', '.'], "-")));
    let seal = snapshot.write_to(&path, taken)?;
    let path = fs::canonicalize(&path).unwrap_or(path);
    Ok(BackupMade {
        file: path.display().to_string(),
        taken: at,
        rows: seal.rows,
        sha256: HEXLOWER.encode(&seal.digest.0),
    })
}
