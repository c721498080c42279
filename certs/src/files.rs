//! Files of certificates and keys: private ones are born private, public ones are replaced in one step.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The longest key or certificate file that is read; a bundle of several certificates has a few kilobytes.
const MAX_FILE: u64 = 64 * 1024;

/// Why a file of this crate could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("`{}` does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` exists already and is not overwritten; move it away first", path.display())]
    Exists { path: PathBuf },
    #[error("`{}` is not a plain file", path.display())]
    NotAFile { path: PathBuf },
    #[error("`{}` is longer than {MAX_FILE} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("key `{0}` is open to others than its owner; run `chmod 600 {0}`", path.display())]
    OpenToOthers { path: PathBuf },
    #[error("folder `{0}` is open to others than its owner; run `chmod 700 {0}`", path.display())]
    FolderOpenToOthers { path: PathBuf },
}

/// Writes a file that everyone may read, replacing an older one in one step that a power cut cannot split.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, 0o644, bytes)
}

/// The same for a file that only its owner may read. For keys that can be had anew; others are written with
/// [`create_private`].
pub fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, 0o600, bytes)
}

/// Gives a file its place in one step, over an older one, and leaves nothing under the old name.
pub fn rename_file(from: &Path, to: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: to.into(), source };
    fs::rename(from, to).map_err(failed)?;
    sync_folder(to).map_err(failed)
}

fn replace(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.into(), source };
    let temporary = temporary_beside(path).map_err(failed)?;
    let replaced = create_new(&temporary, mode, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = replaced {
        // The first error is the one that matters.
        let _ = fs::remove_file(&temporary);
        return Err(failed(source));
    }
    sync_folder(path).map_err(failed)
}

/// Writes a file that only its owner may read. An existing file is never overwritten: it may be the only copy of a key.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = match create_new(path, 0o600, bytes) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileError::Exists { path: path.into() });
        }
        other => other,
    };
    written.and_then(|()| sync_folder(path)).map_err(|source| FileError::Write { path: path.into(), source })
}

/// Reads a file that only its owner may read, and refuses one that is open to others.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = open(path)?;
    // The mode is that of the file that is open, not of whatever has its name by then.
    let metadata = file.metadata().map_err(|source| FileError::Read { path: path.into(), source })?;
    if metadata.mode() & 0o077 != 0 {
        return Err(FileError::OpenToOthers { path: path.into() });
    }
    read_limited(path, &file)
}

/// Makes `path` a folder that only its owner may enter, with its parents; an existing wider one is refused.
pub fn ensure_private_dir(path: &Path) -> Result<(), FileError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() && metadata.mode() & 0o077 == 0 => Ok(()),
        Ok(metadata) if metadata.is_dir() => Err(FileError::FolderOpenToOthers { path: path.into() }),
        Ok(_) => Err(FileError::Exists { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| FileError::Write { path: path.into(), source }),
        Err(source) => Err(FileError::Read { path: path.into(), source }),
    }
}

/// Reads a file that may be readable by all.
pub(crate) fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = read_limited(path, &open(path)?)?;
    Ok(std::mem::take(&mut *bytes))
}

fn open(path: &Path) -> Result<File, FileError> {
    let file = File::open(path).map_err(|source| {
        let path = path.into();
        if source.kind() == io::ErrorKind::NotFound {
            FileError::Missing { path }
        } else {
            FileError::Read { path, source }
        }
    })?;
    let metadata = file.metadata().map_err(|source| FileError::Read { path: path.into(), source })?;
    if metadata.is_file() { Ok(file) } else { Err(FileError::NotAFile { path: path.into() }) }
}

fn read_limited(path: &Path, file: &File) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Room for all of it, so that growing leaves no copy of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|source| FileError::Read { path: path.into(), source })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::TooLong { path: path.into() });
    }
    Ok(bytes)
}

/// Creates `path` with `mode` and everything in it on disk, or leaves nothing.
fn create_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file
        .write_all(bytes)
        // A strict umask must not hide a public file from the service that reads it.
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let unique = getrandom::u64().map_err(io::Error::other)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{unique:016x}.tmp"));
    Ok(path.with_file_name(temporary))
}

/// Removes a file that holds no secret; one that is not there is gone already.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path).and_then(|()| sync_folder(path)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FileError::Write { path: path.into(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Overwrites and removes a file; one that is not there is gone already. On flash memory its blocks may outlive that.
pub fn destroy_file(path: &Path) -> Result<(), FileError> {
    match overwrite(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FileError::Write { path: path.into(), source }),
        Ok(()) | Err(_) => remove_file(path),
    }
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.sync_all()
}

/// A new or renamed file is only there for good once its folder is on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_destroyed_file_leaves_nothing_to_whoever_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"secret").unwrap();
        let mut open = File::open(&path).unwrap();
        destroy_file(&path).unwrap();
        let mut left = Vec::new();
        open.read_to_end(&mut left).unwrap();
        assert_eq!(left, [0; 6]);
        assert!(!path.exists());
        destroy_file(&path).unwrap();
        let error = destroy_file(folder.path()).unwrap_err();
        assert!(matches!(error, FileError::Write { .. }), "a folder is none: {error}");
    }

    #[test]
    fn a_private_file_is_for_its_owner_only_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"one").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(create_private(&path, b"two"), Err(FileError::Exists { .. })));
        assert_eq!(&**read_private(&path).unwrap(), b"one");
    }

    #[test]
    fn a_private_file_open_to_group_or_world_is_refused_with_the_command_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"one").unwrap();
        for bad in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(bad)).unwrap();
            let error = read_private(&path).unwrap_err().to_string();
            assert!(error.ends_with(&format!("run `chmod 600 {}`", path.display())), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read_private(&path).is_ok());
    }

    #[test]
    fn a_public_file_is_replaced_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        write_public(&path, b"one").unwrap();
        write_public(&path, b"two").unwrap();
        assert_eq!(read_public(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_keeps_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        fs::create_dir(&path).unwrap();
        assert!(matches!(write_public(&path, b"one"), Err(FileError::Write { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_and_endless_files_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_public(folder.path()), Err(FileError::NotAFile { .. })));
        assert!(matches!(read_public(Path::new("/dev/zero")), Err(FileError::NotAFile { .. })));
        let path = folder.path().join("long");
        fs::write(&path, vec![0; MAX_FILE as usize + 1]).unwrap();
        assert!(matches!(read_public(&path), Err(FileError::TooLong { .. })));
        assert!(matches!(read_public(&folder.path().join("none")), Err(FileError::Missing { .. })));
    }

    #[test]
    fn a_private_folder_is_made_with_parents_and_a_wider_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        ensure_private_dir(&path).unwrap();
        ensure_private_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(ensure_private_dir(&path), Err(FileError::FolderOpenToOthers { .. })));
    }
}
