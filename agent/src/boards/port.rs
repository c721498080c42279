//! The serial port of a bus: opened for one owner, read in bursts, written with a last look at the clock.

use std::fs::{File, TryLockError};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serial2_tokio::SerialPort;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout, timeout_at};

/// A pause that ends a burst. Bytes at 1200 baud are 8 ms apart; USB adapters hand them over every 16 ms.
const QUIET: Duration = Duration::from_millis(30);
/// A port that takes no byte for this long is stuck and has to be opened again.
const WRITE_LIMIT: Duration = Duration::from_millis(100);
/// A burst ends after this even if the line never gets quiet: polls and pulses must go on beside a dripping adapter.
const BURST_TIME: Duration = Duration::from_millis(200);
/// More than any exchange has; a line that babbles is cut into such pieces.
const BURST_MAX: usize = 256;

/// An open port.
#[derive(Debug)]
pub(crate) struct Port {
    serial: SerialPort,
    /// Held for its advisory lock: a second agent on the same bus would pulse between our gaps.
    _owner: File,
}

/// What became of a guarded write.
#[derive(Debug)]
pub(crate) enum Written {
    /// The guard said no; no byte left.
    Refused,
    /// No byte left.
    Failed(io::Error),
    /// At least one byte left.
    Bytes,
}

impl Port {
    /// Opens the port for this process alone, 8N1, raw.
    pub(crate) fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let owner = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        owner.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process owns this port"),
            TryLockError::Error(error) => error,
        })?;
        let serial = SerialPort::open(path, baud)?;
        serial.discard_buffers()?;
        Ok(Self { serial, _owner: owner })
    }

    /// Takes the bytes that came before anybody asked, so that none of them is taken for an answer.
    pub(crate) async fn take_stale(&mut self) -> io::Result<Vec<u8>> {
        let mut stale = vec![0; BURST_MAX];
        let length = match timeout(Duration::ZERO, self.read(&mut stale)).await {
            Ok(length) => length?,
            Err(_) => 0,
        };
        stale.truncate(length);
        self.serial.discard_input_buffer()?;
        Ok(stale)
    }

    /// Writes a request that moves nothing.
    pub(crate) async fn write(&mut self, request: &[u8]) -> io::Result<()> {
        match timeout(WRITE_LIMIT, self.serial.write_all(request)).await {
            Ok(written) => written,
            Err(_) => Err(stuck()),
        }
    }

    /// Writes a request unless `refuse` says no. It is asked immediately before each attempt to hand over the first byte,
    /// however long the port made us wait.
    pub(crate) async fn write_unless(&mut self, request: &[u8], mut refuse: impl FnMut() -> bool) -> Written {
        let first = poll_fn(|context| {
            if refuse() {
                return Poll::Ready(Ok(None));
            }
            Pin::new(&mut self.serial).poll_write(context, request).map_ok(Some)
        });
        match timeout(WRITE_LIMIT, first).await {
            Ok(Ok(None)) => Written::Refused,
            Ok(Ok(Some(0))) => Written::Failed(io::ErrorKind::WriteZero.into()),
            Ok(Ok(Some(length))) => {
                // What a board makes of a torn request is as unknown as the fate of a whole one.
                if let Err(error) = self.write(request.get(length..).unwrap_or_default()).await {
                    tracing::warn!(%error, "only a part of a pulse request was written");
                }
                Written::Bytes
            }
            Ok(Err(error)) => Written::Failed(error),
            Err(_) => Written::Failed(stuck()),
        }
    }

    /// Reads what comes; at least one byte. Safe to cancel.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.serial.read(buffer).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the port hung up")),
            length => Ok(length),
        }
    }

    /// Adds the next burst to `heard`: waits for its first byte until `deadline`, then until the line is quiet. False when
    /// nothing came, or when `heard` is full.
    pub(crate) async fn collect(&self, heard: &mut Vec<u8>, deadline: Instant) -> io::Result<bool> {
        let mut chunk = [0u8; BURST_MAX];
        let mut wait = deadline;
        let end = deadline + BURST_TIME;
        let before = heard.len();
        while heard.len() < BURST_MAX {
            let Ok(length) = timeout_at(wait, self.read(&mut chunk)).await else {
                return Ok(heard.len() > before);
            };
            heard.extend_from_slice(chunk.get(..length?).unwrap_or_default());
            wait = end.min(Instant::now() + QUIET);
        }
        Ok(false)
    }

    /// Forgets bytes that the port took but never sent: they must not come out minutes later.
    pub(crate) fn forget_output(&self) -> io::Result<()> {
        self.serial.discard_output_buffer()
    }
}

fn stuck() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the port takes no bytes")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    const REQUEST: [u8; 5] = [0x8A, 0x01, 0x01, 0x11, 0x9B];

    /// A port whose other end reads only when the test does.
    fn port() -> (Port, OwnedFd) {
        let other = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&other).unwrap();
        unlockpt(&other).unwrap();
        let path = PathBuf::from(ptsname(&other, Vec::new()).unwrap().into_string().unwrap());
        (Port::open(&path, 9600).unwrap(), other)
    }

    /// Writes until the port takes no more, and gives the number of bytes that it took.
    async fn fill(port: &mut Port) -> usize {
        let mut taken = 0;
        loop {
            match timeout(WRITE_LIMIT, port.serial.write(&[0; 64])).await {
                Ok(length) => taken += length.unwrap(),
                Err(_) => return taken,
            }
        }
    }

    #[tokio::test]
    async fn refused_write_leaves_no_byte() {
        let (mut port, other) = port();
        assert!(matches!(port.write_unless(&REQUEST, || true).await, Written::Refused));
        assert!(matches!(port.write_unless(&REQUEST[..1], || false).await, Written::Bytes));
        let mut heard = [0; 16];
        assert_eq!(File::from(other).read(&mut heard).unwrap(), 1);
    }

    #[tokio::test]
    async fn stuck_port_is_a_failure_without_a_byte() {
        let (mut port, other) = port();
        let filled = fill(&mut port).await;
        assert!(matches!(port.write_unless(&REQUEST, || false).await, Written::Failed(_)));
        let mut other = File::from(other);
        let mut heard = vec![0; filled];
        other.read_exact(&mut heard).unwrap();
        assert!(heard.iter().all(|byte| *byte == 0));
    }

    #[tokio::test]
    async fn pulse_that_gets_too_old_while_the_port_is_stuck_is_not_written() {
        let (mut port, other) = port();
        let filled = fill(&mut port).await;
        let mut other = File::from(other);
        let mut looks = 0;
        // Young at the first look, which finds the port full; too old at the second, when there is room again.
        let age = || {
            looks += 1;
            if looks == 1 {
                other.read_exact(&mut vec![0; filled]).unwrap();
            }
            looks > 1
        };
        assert!(matches!(port.write_unless(&REQUEST, age).await, Written::Refused));
        assert_eq!(looks, 2);
    }

    #[tokio::test]
    async fn stale_bytes_are_taken_before_a_request() {
        let (mut port, other) = port();
        rustix::io::write(&other, &REQUEST).unwrap();
        let mut byte = [0];
        // Readable is certain only once a byte was read.
        port.read(&mut byte).await.unwrap();
        assert_eq!(port.take_stale().await.unwrap(), REQUEST[1..]);
        assert!(port.take_stale().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn hung_up_port_is_an_error() {
        let (port, other) = port();
        drop(other);
        assert!(port.read(&mut [0; 8]).await.is_err());
    }

    #[tokio::test]
    async fn babbling_line_is_cut_into_bursts_of_bounded_size() {
        let (port, other) = port();
        for _ in 0..4 {
            rustix::io::write(&other, &[0x8A; 100]).unwrap();
        }
        let mut heard = Vec::new();
        let soon = Instant::now() + Duration::from_secs(10);
        assert!(!port.collect(&mut heard, soon).await.unwrap());
        assert!(heard.len() >= BURST_MAX && heard.len() < 2 * BURST_MAX);
    }
}
