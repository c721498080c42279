//! A folder that appears whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use certs::ensure_private_dir;

use super::SetupError;

/// A folder that is being made beside its place. Dropped before [`Making::finish`], it is removed again.
pub(super) struct Making {
    path: PathBuf,
    place: PathBuf,
}

impl Making {
    /// Begins a folder that is to be at `place`, where nothing or an empty folder is.
    pub(super) fn at(place: &Path) -> Result<Self, SetupError> {
        // `.` and `x/..` have no name to make a temporary one from.
        let place = std::path::absolute(place).map_err(|source| failed("find the place of", place, source))?;
        let name = place.file_name().ok_or_else(|| SetupError::NotEmpty(place.clone()))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{:016x}.partial", getrandom::u64()?));
        let path = place.with_file_name(temporary);
        ensure_private_dir(&path)?;
        Ok(Self { path, place })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the folder to its place.
    pub(super) fn finish(mut self) -> Result<(), SetupError> {
        // Takes the place of an empty folder, never of one with something in it.
        fs::rename(&self.path, &self.place).map_err(|source| failed("move the new folder to", &self.place, source))?;
        let place = std::mem::take(&mut self.place);
        self.path = PathBuf::new();
        if let Some(parent) = place.parent() {
            File::open(parent)
                .and_then(|folder| folder.sync_all())
                .map_err(|source| failed("write folder", parent, source))?;
        }
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // The error that brought us here matters more; what is left has `.partial` in its name.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> SetupError {
    SetupError::Io { what, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let making = Making::at(&folder.path().join("fleet")).unwrap();
        fs::write(making.path().join("a.key"), "x").unwrap();
        drop(making);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_folder_gives_way_and_a_full_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("fleet");
        fs::create_dir(&place).unwrap();
        let making = Making::at(&place).unwrap();
        fs::write(making.path().join("new"), "x").unwrap();
        making.finish().unwrap();
        assert!(place.join("new").exists());
        assert!(Making::at(&place).unwrap().finish().is_err());
        assert!(place.join("new").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
