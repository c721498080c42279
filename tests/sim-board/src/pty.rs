//! The pseudo-terminal pair: the master is the boards' end of the wire, the slave the computer's.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Both ends, the slave in raw mode.
pub(crate) struct Pty {
    pub(crate) master: File,
    /// Kept open: without any slave the master would read EIO.
    pub(crate) slave: File,
    pub(crate) path: PathBuf,
}

impl Pty {
    pub(crate) fn open(baud: u32) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut termios = tcgetattr(&slave)?;
        termios.make_raw();
        termios.set_speed(baud)?;
        tcsetattr(&slave, OptionalActions::Now, &termios)?;
        let path = PathBuf::from(OsStr::from_bytes(name.as_bytes()));
        Ok(Self { master: File::from(master), slave: File::from(slave), path })
    }
}
