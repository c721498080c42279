//! The network between a client and the gate: TCP carried byte by byte through weather.
//!
//! TLS passes through unread. What a radio link does to TCP is done here to its bytes: nothing is reordered or lost inside
//! a connection, but a piece may be held up with everything behind it, and a connection may end at any byte.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::sim::Dice;

/// Bytes taken at once: a few packets of MQTT, less than a flight of TLS.
const CHUNK: usize = 1_400;
/// Chunks under way in one direction.
const UNDER_WAY: usize = 64;
/// The longest that one drip of bytes goes on.
const DRIP_BYTES: usize = 48;

/// What the network is like just now. A chance of 0 is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Shortest and longest way of a chunk, in milliseconds.
    pub latency: (u64, u64),
    pub bytes_per_second: Option<u64>,
    /// One chunk in so many is held up, as by a lost packet and its repetition, for these milliseconds.
    pub stall_one_in: u64,
    pub stall: (u64, u64),
    /// One chunk in so many comes byte by byte.
    pub drip_one_in: u64,
    /// One chunk in so many is cut somewhere in its middle, and the connection with it.
    pub cut_one_in: u64,
}

impl Weather {
    pub const CALM: Self =
        Self { latency: (0, 0), bytes_per_second: None, stall_one_in: 0, stall: (0, 0), drip_one_in: 0, cut_one_in: 0 };
    /// Mobile data at the edge of its cell.
    pub const BAD_4G: Self = Self {
        latency: (30, 120),
        bytes_per_second: Some(24_000),
        stall_one_in: 25,
        stall: (200, 1_500),
        drip_one_in: 20,
        cut_one_in: 150,
    };
    /// A link that mostly breaks.
    pub const STORM: Self = Self {
        latency: (1, 30),
        bytes_per_second: None,
        stall_one_in: 40,
        stall: (200, 900),
        drip_one_in: 8,
        cut_one_in: 12,
    };
}

/// What was done to connections so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    pub connections: u64,
    pub cuts: u64,
    pub stalls: u64,
    pub drips: u64,
}

/// A port in front of the gate's port.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: u16,
    weather: Mutex<Weather>,
    dice: Mutex<Dice>,
    connections: AtomicU64,
    cuts: AtomicU64,
    stalls: AtomicU64,
    drips: AtomicU64,
}

/// One piece on its way.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
    drips: bool,
    /// Behind it the connection ends.
    last: bool,
}

impl Proxy {
    /// Starts in front of `target` on 127.0.0.1.
    pub async fn start(target: u16, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("open the proxy's port")?;
        let port = listener.local_addr().context("read the proxy's port")?.port();
        let shared = Arc::new(Shared {
            target,
            weather: Mutex::new(Weather::CALM),
            dice: Mutex::new(Dice::new(seed)),
            connections: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            drips: AtomicU64::new(0),
        });
        let carrying = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let dice = carrying.next_dice();
                tokio::spawn(carry(client, Arc::clone(&carrying), dice));
            }
        });
        Ok(Self { port, shared, task })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From the next chunk on.
    pub fn set_weather(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    pub fn damage(&self) -> Damage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Damage {
            connections: read(&self.shared.connections),
            cuts: read(&self.shared.cuts),
            stalls: read(&self.shared.stalls),
            drips: read(&self.shared.drips),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each connection has chances of its own: what one does moves no other.
    fn next_dice(&self) -> Dice {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Dice::new(self.dice.lock().unwrap_or_else(PoisonError::into_inner).number())
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>, mut dice: Dice) {
    // A gate that is not there: the client is cut off, as a port that nobody listens on would.
    let Ok(gate) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target)).await else { return };
    // Without it the kernel would collect what is to arrive in small pieces. A socket that is gone shows itself below.
    let _ = (client.set_nodelay(true), gate.set_nodelay(true));
    let there = Dice::new(dice.number());
    let (from_client, to_client) = client.into_split();
    let (from_gate, to_gate) = gate.into_split();
    tokio::select! {
        () = direction(from_client, to_gate, &shared, there) => {}
        () = direction(from_gate, to_client, &shared, dice) => {}
    }
}

async fn direction(from: OwnedReadHalf, to: OwnedWriteHalf, shared: &Shared, dice: Dice) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let write = write(to, receiver);
    let mut write = std::pin::pin!(write);
    tokio::select! {
        // What was read before the end still arrives, unless it was cut.
        () = read(from, sender, shared, dice) => write.await,
        () = &mut write => {}
    }
}

async fn read(mut from: OwnedReadHalf, sender: mpsc::Sender<Piece>, shared: &Shared, mut dice: Dice) {
    let mut buffer = [0; CHUNK];
    // Nothing overtakes what is in front of it.
    let mut earliest = Instant::now();
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        let weather = shared.weather();
        let mut bytes = buffer[..length].to_vec();
        let mut wait = dice.between(weather.latency.0, weather.latency.1);
        if chance(&mut dice, weather.stall_one_in) {
            shared.stalls.fetch_add(1, Ordering::Relaxed);
            wait += dice.between(weather.stall.0, weather.stall.1);
        }
        let drips = chance(&mut dice, weather.drip_one_in);
        shared.drips.fetch_add(drips.into(), Ordering::Relaxed);
        let last = chance(&mut dice, weather.cut_one_in);
        if last {
            shared.cuts.fetch_add(1, Ordering::Relaxed);
            bytes.truncate(dice.index(length));
        }
        let transfer = weather.bytes_per_second.map_or(0, |rate| length as u64 * 1_000 / rate);
        earliest = earliest.max(Instant::now() + Duration::from_millis(wait)) + Duration::from_millis(transfer);
        if sender.send(Piece { due: earliest, bytes, drips, last }).await.is_err() || last {
            return;
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut pieces: mpsc::Receiver<Piece>) {
    while let Some(piece) = pieces.recv().await {
        sleep_until(piece.due).await;
        let dripping = if piece.drips { piece.bytes.len().min(DRIP_BYTES) } else { 0 };
        let (slow, rest) = piece.bytes.split_at(dripping);
        for byte in slow {
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
        if to.write_all(rest).await.is_err() || piece.last {
            return;
        }
    }
}

fn chance(dice: &mut Dice, one_in: u64) -> bool {
    one_in > 0 && dice.one_in(one_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `sent` to somebody who sends everything back; returns what came back before the end or the whole.
    async fn echoed(weather: Weather, sent: &[u8]) -> (Vec<u8>, Damage) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.unwrap_or_default();
        });
        let proxy = Proxy::start(target, 7).await.unwrap();
        proxy.set_weather(weather);
        let (mut from, mut to) = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap().into_split();
        let mut came = Vec::new();
        let receive = async {
            let mut buffer = [0; 512];
            while came.len() < sent.len()
                && let Ok(length) = from.read(&mut buffer).await
                && length > 0
            {
                came.extend_from_slice(&buffer[..length]);
            }
        };
        let _ = tokio::join!(receive, to.write_all(sent));
        (came, proxy.damage())
    }

    #[tokio::test]
    async fn bytes_arrive_whole_and_in_order_however_slowly() {
        let sent: Vec<u8> = (0..8_000u32).map(|n| (n % 251) as u8).collect();
        let weather = Weather { stall: (1, 20), stall_one_in: 2, drip_one_in: 2, cut_one_in: 0, ..Weather::BAD_4G };
        let (came, damage) = echoed(weather, &sent).await;
        assert_eq!(came, sent);
        assert!(damage.stalls > 0 && damage.drips > 0 && damage.cuts == 0, "{damage:?}");
    }

    #[tokio::test]
    async fn a_cut_ends_the_connection_within_a_chunk_and_never_changes_a_byte() {
        let sent: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
        let (came, damage) = echoed(Weather { cut_one_in: 3, ..Weather::CALM }, &sent).await;
        assert!(came.len() < sent.len() && sent.starts_with(&came), "{} bytes came", came.len());
        assert!(damage.cuts > 0, "{damage:?}");
    }
}
