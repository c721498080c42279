//! The file of a store on a disk that may fill up or fail.
//!
//! A file that grows on demand stops its owner from writing as soon as somebody else has filled the disk. Here the blocks
//! behind the highest page that was ever written are taken from the file system ahead of time: they are the reserve. As
//! long as there is room, the reserve moves on with the file; when there is none, it is used up, and filled again as soon
//! as there is room. Blocks that the file has are never asked for again, so pages inside it can always be written.
//!
//! This holds on file systems that write in place (ext4, XFS, tmpfs). One that copies on write may need room for any page.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::{Advice, FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// How far the reserve is moved on at once, at most.
const STEP_MAX: u64 = 1024 * 1024;

/// A store's file with its reserve. Copies are the same file.
#[derive(Debug, Clone)]
pub(crate) struct StoreFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Reads, writes and locks as redb does it by itself.
    plain: FileBackend,
    /// The same open file, for what `plain` does not offer.
    file: File,
    reserve: u64,
    space: Mutex<Space>,
}

/// What is known about the blocks of the file.
#[derive(Debug, Default)]
struct Space {
    /// The reserve is kept. Not before the store is open and this process holds its lock.
    kept: bool,
    /// End of the highest page that was written.
    written: u64,
    /// All blocks before this byte are the file's own.
    owned: u64,
    /// The last attempt to move the reserve on failed.
    short: bool,
}

impl StoreFile {
    /// Takes a file for a store. The kernel forgets what it remembers of it first: after a sync that failed it may show
    /// pages that never reached the disk, and a store that builds on those is lost with the next power cut.
    pub(crate) fn new(file: File, reserve: u64) -> io::Result<Self> {
        file.sync_data()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        let plain = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        Ok(Self(Arc::new(Inner { plain, file, reserve, space: Mutex::default() })))
    }

    /// Makes the reserve, now that the store is open. A disk without room for it is no error.
    pub(crate) fn keep_reserve(&self) -> io::Result<()> {
        if self.0.reserve > 0 {
            let mut space = self.0.space();
            space.written = end_of_data(&self.0.file)?;
            space.kept = true;
            self.0.move_on(&mut space);
        }
        Ok(())
    }

    /// Whether the reserve is in use or could not be made. Tries to make it whole first.
    pub(crate) fn is_low(&self) -> bool {
        let mut space = self.0.space();
        if space.short {
            self.0.move_on(&mut space);
        }
        space.short
    }
}

impl Inner {
    fn space(&self) -> MutexGuard<'_, Space> {
        // Each field is valid by itself, and a stale one only costs a call.
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Owns the blocks of the reserve, if they are not all owned and there is room for those that are missing. A piece of
    /// it is not worth the last room of everybody else.
    fn move_on(&self, space: &mut Space) {
        if !space.kept || space.owned >= space.written + self.reserve {
            space.short = false;
            return;
        }
        // A small reserve is not worth a step that is larger than itself.
        let wanted = space.written + self.reserve + STEP_MAX.min(self.reserve / 4);
        space.short = !self.has_room(wanted) || self.own(space.owned, wanted).is_err();
        if !space.short {
            space.owned = wanted;
        }
    }

    fn has_room(&self, wanted: u64) -> bool {
        let Ok(owned) = self.file.metadata().map(|found| found.blocks() * 512) else { return false };
        let Ok(disk) = rustix::fs::fstatvfs(&self.file) else { return false };
        disk.f_bavail.saturating_mul(disk.f_frsize) >= wanted.saturating_sub(owned)
    }

    /// Takes blocks for these bytes; those that are the file's already stay as they are.
    fn own(&self, from: u64, to: u64) -> rustix::io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, to - from) {
                Err(Errno::INTR) => {}
                done => return done,
            }
        }
    }

    /// Before `from..to` is written: beyond what is owned the blocks are taken now, because a page that is only in the
    /// kernel's memory can be refused later, when nobody can be told.
    fn before_write(&self, from: u64, to: u64) -> io::Result<()> {
        let mut space = self.space();
        if !space.kept {
            return Ok(());
        }
        space.written = space.written.max(to);
        if !space.short {
            self.move_on(&mut space);
        }
        if to > space.owned {
            match self.own(from, to) {
                // A file system that cannot do it: the write itself finds out whether there is room.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                done => done?,
            }
            if from <= space.owned {
                space.owned = to;
            }
        }
        Ok(())
    }
}

/// The end of the last data in the file; blocks that were never written are no data.
fn end_of_data(file: &File) -> io::Result<u64> {
    let mut end = 0;
    loop {
        match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(data) => end = rustix::fs::seek(file, SeekFrom::Hole(data))?,
            Err(Errno::NXIO) => return Ok(end),
            Err(error) => return Err(error.into()),
        }
    }
}

impl StorageBackend for StoreFile {
    fn len(&self) -> io::Result<u64> {
        self.0.plain.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.plain.read(offset, out)
    }

    /// Growing takes no blocks: redb doubles its file, of which it may never use the most. Shrinking, or setting the length
    /// that the file has, gives those behind the end away.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut space = self.0.space();
        let before = self.0.plain.len()?;
        if len != before {
            self.0.plain.set_len(len)?;
        }
        if len < before {
            space.written = space.written.min(len);
            space.owned = space.owned.min(len);
            self.0.move_on(&mut space);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.plain.sync_data()?;
        let mut space = self.0.space();
        self.0.move_on(&mut space);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.before_write(offset, offset + data.len() as u64)?;
        self.0.plain.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.plain.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.plain.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.plain.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.plain.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.plain.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.plain.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.plain.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSliceMut, Write as _};

    use rustix::fs::fstatfs;
    use rustix::io::ReadWriteFlags;

    use super::*;

    const TMPFS: u32 = 0x0102_1994;

    /// Whether the kernel can answer without asking the disk.
    fn is_remembered(file: &File) -> bool {
        let mut byte = [0];
        let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT);
        match read {
            Ok(_) => true,
            Err(Errno::AGAIN) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_kernel_forgets_the_pages_of_a_file_that_is_opened() {
        let mut made = tempfile::NamedTempFile::new().unwrap();
        if fstatfs(&made).unwrap().f_type as u32 == TMPFS {
            return println!("skipped: temporary files are kept in memory here");
        }
        made.write_all(&[7; 8192]).unwrap();
        let file = File::options().read(true).write(true).open(made.path()).unwrap();
        assert!(is_remembered(&file));
        let opened = StoreFile::new(file.try_clone().unwrap(), 0).unwrap();
        assert!(!is_remembered(&file));
        let mut bytes = [0; 8192];
        opened.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 8192]);
    }

    #[test]
    fn data_ends_where_something_was_written_last() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(end_of_data(&file).unwrap(), 0);
        file.set_len(1 << 20).unwrap();
        assert_eq!(end_of_data(&file).unwrap(), 0);
        let plain = FileBackend::new(file.try_clone().unwrap()).unwrap();
        for at in [0, 1 << 16] {
            plain.write(at, &[1; 4096]).unwrap();
        }
        assert_eq!(end_of_data(&file).unwrap(), (1 << 16) + 4096);
        rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
        file.sync_data().unwrap();
        assert_eq!(end_of_data(&file).unwrap(), (1 << 16) + 4096);
    }
}
