//! A relay between agent and broker that counts bytes. TLS goes through it unopened; of a record only the length is read.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Type, version and length of a TLS record (RFC 8446, 5.1).
const HEADER: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// One TLS record that went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) direction: Direction,
    /// Header included: bytes of TCP payload.
    pub(super) size: usize,
}

pub(super) struct Relay {
    port: u16,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    records: Vec<Record>,
    last: Option<Instant>,
    /// A side sent what is not TLS.
    spoilt: bool,
}

impl Relay {
    pub(super) async fn start(broker: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("open the relay's port")?;
        let port = listener.local_addr().context("read the relay's port")?.port();
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = Arc::clone(&log);
        let task = tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                if let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)).await {
                    pass_on(agent, broker, &shared);
                }
            }
        });
        Ok(Self { port, log, task })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How many records there are; what comes now is behind that.
    pub(super) fn mark(&self) -> usize {
        self.log().records.len()
    }

    /// Waits until at least `count` records came behind `mark` and then nothing for as long as `quiet`; returns them.
    pub(super) async fn settled(&self, mark: usize, count: usize, quiet: Duration) -> anyhow::Result<Vec<Record>> {
        let until = Instant::now() + fleet_cli::stage::PATIENCE;
        loop {
            {
                let log = self.log();
                ensure!(!log.spoilt, "something else than TLS went through the relay");
                let records = log.records.get(mark..).unwrap_or_default();
                if records.len() >= count && log.last.is_none_or(|last| last.elapsed() >= quiet) {
                    return Ok(records.to_vec());
                }
                ensure!(Instant::now() < until, "only {} of {count} records came", records.len());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    // Every change under the lock is complete in itself.
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass_on(agent: TcpStream, broker: TcpStream, log: &Arc<Mutex<Log>>) {
    // Without it the relay would delay what it measures; where it cannot be set, it only does that.
    let _ = (agent.set_nodelay(true), broker.set_nodelay(true));
    let (from_agent, to_agent) = agent.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::spawn(one_way(from_agent, to_broker, Direction::Up, Arc::clone(log)));
    tokio::spawn(one_way(from_broker, to_agent, Direction::Down, Arc::clone(log)));
}

/// Ends with either side; dropping its half tells the other.
async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: Direction, log: Arc<Mutex<Log>>) {
    let mut chunk = vec![0; 16 * 1024];
    let mut waiting = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let bytes = &chunk[..length];
        waiting.extend_from_slice(bytes);
        {
            let mut log = lock(&log);
            match take_records(&mut waiting) {
                Some(sizes) => log.records.extend(sizes.into_iter().map(|size| Record { direction, size })),
                None => log.spoilt = true,
            }
            log.last = Some(Instant::now());
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// Takes the whole records from the front; `None` if these are not TLS records.
fn take_records(waiting: &mut Vec<u8>) -> Option<Vec<usize>> {
    let (mut taken, mut sizes) = (0, Vec::new());
    while let Some(&[kind, major, _, high, low]) = waiting[taken..].first_chunk::<HEADER>() {
        // change_cipher_spec to application_data, of any version 3.x.
        if !(20..=23).contains(&kind) || major != 3 {
            return None;
        }
        let size = HEADER + usize::from(u16::from_be_bytes([high, low]));
        if waiting.len() < taken + size {
            break;
        }
        sizes.push(size);
        taken += size;
    }
    waiting.drain(..taken);
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_whole_wherever_the_network_cuts_them() {
        let stream = [23, 3, 3, 0, 2, 9, 9, 22, 3, 1, 0, 0, 23, 3, 3, 0, 1];
        let mut waiting = Vec::new();
        let mut seen = Vec::new();
        for byte in stream {
            waiting.push(byte);
            seen.extend(take_records(&mut waiting).unwrap());
        }
        assert_eq!((seen, waiting.len()), (vec![7, 5], 5));
    }

    #[test]
    fn what_is_not_tls_is_noticed() {
        assert_eq!(take_records(&mut b"HTTP/1.1".to_vec()), None);
    }
}
