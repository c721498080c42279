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
        let before = heard.len();
        while heard.len() < BURST_MAX {
            let Ok(length) = timeout_at(wait, self.read(&mut chunk)).await else {
                return Ok(heard.len() > before);
            };
            heard.extend_from_slice(chunk.get(..length?).unwrap_or_default());
            wait = Instant::now() + QUIET;
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
