//! The running bus: threads that read requests, act on doors and answer in time, and a handle to be the person there.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::termios::{QueueSelector, tcflush};
use tokio::sync::watch;

use crate::board::{Board, Door, NoSuchLock};
use crate::config::{BoardFaults, LockFault, SimConfig};
use crate::frames::{Request, take_request};
use crate::pty::Pty;
use crate::seen::{Direction, Pulse, PulseKind, Snapshot, TimedOut, WireBytes};

/// Default pulse of a real board.
const PULSE: Duration = Duration::from_millis(300);
/// From the end of a request to the start of its reply, as boards do.
const TURNAROUND: Duration = Duration::from_millis(5);
/// After such a pause the boards forget half a request.
const FRAME_PAUSE: Duration = Duration::from_millis(500);
/// Newest entries of the wire log that are kept: a demo runs for days.
const WIRE_LOG: usize = 100_000;

/// A simulated bus; it ends when dropped.
pub struct SimBus {
    shared: Arc<Shared>,
    path: PathBuf,
    link: Option<PathBuf>,
    slave: File,
    threads: Vec<JoinHandle<()>>,
}

impl SimBus {
    /// Starts the boards of `config` on a new pseudo-terminal.
    pub fn start(config: SimConfig) -> io::Result<Self> {
        let pty = Pty::open(config.baud)?;
        let link = config.link.clone();
        if let Some(link) = &link {
            place_link(&pty.path, link)?;
        }
        let shared = Arc::new(Shared::new(config));
        let reader = {
            let (shared, master) = (Arc::clone(&shared), pty.master.try_clone()?);
            std::thread::Builder::new().name("sim-board-read".into()).spawn(move || shared.read_all(master))?
        };
        let actor = {
            let (shared, master) = (Arc::clone(&shared), pty.master);
            std::thread::Builder::new().name("sim-board-act".into()).spawn(move || shared.act(master))?
        };
        Ok(Self { shared, path: pty.path, link, slave: pty.slave, threads: vec![reader, actor] })
    }

    /// The serial port to open: the configured link, or the slave itself.
    pub fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }

    /// The slave's own device file.
    pub fn slave_path(&self) -> &Path {
        &self.path
    }

    /// Pushes a door shut. A latch cannot catch under power: during a pulse the door closes when the pulse ends.
    pub fn close(&self, board: u8, lock: u8) -> Result<(), NoSuchLock> {
        let mut state = self.shared.lock();
        state.board(board, lock)?.lock(lock)?;
        state.close_door(board, lock, Instant::now());
        self.shared.announce(state);
        Ok(())
    }

    /// Forces a door open without a pulse.
    pub fn pry(&self, board: u8, lock: u8) -> Result<(), NoSuchLock> {
        let mut state = self.shared.lock();
        state.board(board, lock)?.lock(lock)?;
        state.move_door(board, lock, Door::Open, Instant::now());
        self.shared.announce(state);
        Ok(())
    }

    /// Makes the board misbehave, or behave again.
    pub fn set_faults(&self, board: u8, faults: BoardFaults) -> Result<(), NoSuchLock> {
        self.shared.lock().board(board, 0)?.config.faults = faults;
        Ok(())
    }

    /// Makes one lock misbehave, or behave again.
    pub fn set_lock_fault(&self, board: u8, lock: u8, fault: LockFault) -> Result<(), NoSuchLock> {
        self.shared.lock().board(board, lock)?.lock_mut(lock)?.fault = fault;
        Ok(())
    }

    /// Turns a channel into an input, for example an occupancy sensor, whose contact is now short or not.
    pub fn set_input(&self, board: u8, channel: u8, short: bool) -> Result<(), NoSuchLock> {
        self.shared.lock().board(board, channel)?.set_input(channel, short)
    }

    /// Switches the adapter's echo.
    pub fn set_echo(&self, echo: bool) {
        self.shared.lock().config.echo = echo;
    }

    /// Hires or dismisses the person who closes doors; doors that are open now stay open.
    pub fn set_person(&self, closes_after: Option<Duration>) {
        self.shared.lock().config.person = closes_after;
    }

    /// Puts bytes on the wire as if some board had sent them unasked.
    pub fn send_raw(&self, bytes: &[u8]) {
        let mut state = self.shared.lock();
        state.plan(Instant::now(), Act::Send(bytes.to_vec()));
        self.shared.announce(state);
    }

    /// What is to be seen now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().snapshot()
    }

    /// Every pulse since the start, oldest first.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.shared.lock().pulses.clone()
    }

    /// The newest bytes on the wire, oldest first; one entry per read or write, not per frame.
    pub fn wire(&self) -> Vec<WireBytes> {
        self.shared.lock().wire.iter().cloned().collect()
    }

    /// How the door stands now.
    pub fn door(&self, board: u8, lock: u8) -> Result<Door, NoSuchLock> {
        Ok(self.shared.lock().board(board, lock)?.lock(lock)?.door)
    }

    /// Blocks until `seen` finds what it looks for.
    pub fn wait_until<T>(&self, limit: Duration, seen: impl Fn(&Snapshot) -> Option<T>) -> Result<T, TimedOut> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            let last = state.snapshot();
            if let Some(found) = seen(&last) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TimedOut { limit, last: Box::new(last) });
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// [`Self::wait_until`] for async callers.
    pub async fn until<T>(&self, limit: Duration, seen: impl Fn(&Snapshot) -> Option<T>) -> Result<T, TimedOut> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut version = self.shared.version.subscribe();
        loop {
            version.mark_unchanged();
            let last = self.snapshot();
            if let Some(found) = seen(&last) {
                return Ok(found);
            }
            // The sender lives as long as `self`, so an error can only be the deadline.
            if tokio::time::timeout_at(deadline, version.changed()).await.is_err() {
                return Err(TimedOut { limit, last: Box::new(last) });
            }
        }
    }

    /// Blocks until there were `count` pulses since the start.
    pub fn wait_for_pulses(&self, count: usize, limit: Duration) -> Result<Vec<Pulse>, TimedOut> {
        self.wait_until(limit, enough_pulses(count))
    }

    /// [`Self::wait_for_pulses`] for async callers.
    pub async fn until_pulses(&self, count: usize, limit: Duration) -> Result<Vec<Pulse>, TimedOut> {
        self.until(limit, enough_pulses(count)).await
    }
}

impl Drop for SimBus {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        self.shared.announce(state);
        // Replies that nobody read must not keep the writer waiting; a byte of our own wakes the reader. Both can only
        // fail when the pty is gone already, and then both threads are ending.
        let _ = tcflush(&self.slave, QueueSelector::IFlush);
        let _ = self.slave.write_all(&[0]);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Somebody may have placed a newer bus under this name.
        if let Some(link) = &self.link
            && fs::read_link(link).is_ok_and(|target| target == self.path)
        {
            let _ = fs::remove_file(link);
        }
    }
}

fn enough_pulses(count: usize) -> impl Fn(&Snapshot) -> Option<Vec<Pulse>> {
    move |seen| (seen.pulses.len() >= count).then(|| seen.pulses.clone())
}

fn place_link(target: &Path, link: &Path) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(found) if found.is_symlink() => fs::remove_file(link)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the port's name is taken by a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::os::unix::fs::symlink(target, link)
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    version: watch::Sender<()>,
}

impl Shared {
    fn new(config: SimConfig) -> Self {
        let boards = config.boards.iter().map(|board| (board.address, Board::new(board.clone()))).collect();
        let state = State {
            config,
            boards,
            plans: Vec::new(),
            pulses: Vec::new(),
            requests: BTreeMap::new(),
            wire: VecDeque::new(),
            stop: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), version: watch::Sender::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.notify_all();
        self.version.send_replace(());
    }

    fn read_all(&self, mut master: File) {
        let mut buffer = Vec::new();
        let mut chunk = [0u8; 256];
        let mut last = Instant::now();
        while let Ok(length) = master.read(&mut chunk) {
            let now = Instant::now();
            let mut state = self.lock();
            if state.stop || length == 0 {
                return;
            }
            if now.duration_since(last) > FRAME_PAUSE {
                buffer.clear();
            }
            last = now;
            let bytes = chunk.get(..length).unwrap_or_default();
            buffer.extend_from_slice(bytes);
            state.heard(bytes, now);
            while let Some(request) = take_request(&mut buffer, |board| state.boards.get(&board).map(Board::mask_len)) {
                state.serve(request, now);
            }
            self.announce(state);
        }
    }

    fn act(&self, mut master: File) {
        let mut state = self.lock();
        while !state.stop {
            let now = Instant::now();
            match state.take_due(now) {
                Some(Act::Send(bytes)) => {
                    state.log(Direction::FromBoards, bytes.clone(), now);
                    // Written without the lock: a reader on the other side may be slow, the person here must not wait.
                    self.announce(state);
                    if master.write_all(&bytes).is_err() {
                        return;
                    }
                    state = self.lock();
                }
                Some(Act::Move { board, lock, door }) => {
                    state.move_door(board, lock, door, now);
                    self.announce(state);
                    state = self.lock();
                }
                None => {
                    let wait = state.next_due().map_or(Duration::from_secs(3600), |due| due.duration_since(now));
                    state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

enum Act {
    Send(Vec<u8>),
    Move { board: u8, lock: u8, door: Door },
}

struct State {
    config: SimConfig,
    boards: BTreeMap<u8, Board>,
    /// In the order in which they were made; equal times run in that order.
    plans: Vec<(Instant, Act)>,
    pulses: Vec<Pulse>,
    requests: BTreeMap<u8, u64>,
    wire: VecDeque<WireBytes>,
    stop: bool,
}

impl State {
    fn board(&mut self, board: u8, lock: u8) -> Result<&mut Board, NoSuchLock> {
        self.boards.get_mut(&board).ok_or(NoSuchLock { board, lock })
    }

    fn snapshot(&self) -> Snapshot {
        let doors =
            self.boards.iter().flat_map(|(board, found)| found.doors().map(|(lock, door)| ((*board, lock), door)));
        Snapshot { pulses: self.pulses.clone(), doors: doors.collect(), requests: self.requests.clone() }
    }

    fn log(&mut self, direction: Direction, bytes: Vec<u8>, at: Instant) {
        if self.wire.len() == WIRE_LOG {
            self.wire.pop_front();
        }
        self.wire.push_back(WireBytes { at, direction, bytes });
    }

    fn heard(&mut self, bytes: &[u8], now: Instant) {
        self.log(Direction::ToBoards, bytes.to_vec(), now);
        if self.config.echo {
            self.plan(now + self.transfer(bytes.len()), Act::Send(bytes.to_vec()));
        }
    }

    fn serve(&mut self, request: Request, now: Instant) {
        let (address, reply) = match request {
            Request::Open { board, lock, seconds } => {
                let length = seconds.map_or(PULSE, |seconds| Duration::from_secs(seconds.into()));
                self.pulse(board, lock, length, PulseKind::One, now);
                (board, self.boards.get(&board).and_then(|board| board.open_reply(lock)))
            }
            Request::OpenAll { board } => {
                self.pulse_each(board, |_| true, PulseKind::All, now);
                (board, None)
            }
            Request::OpenMask { board, mask } => {
                let named = self.boards.get(&board).map(|found| found.locks_of_mask(&mask)).unwrap_or_default();
                self.pulse_each(board, |lock| named.contains(&lock), PulseKind::Mask, now);
                (board, None)
            }
            Request::Hold { board, lock, on } => {
                if on {
                    self.pulse(board, lock, Duration::MAX, PulseKind::Hold, now);
                }
                (board, None)
            }
            Request::QueryOne { board, lock } => {
                (board, self.boards.get(&board).and_then(|board| board.query_one_reply(lock)))
            }
            Request::QueryAll { board } => (board, self.boards.get(&board).map(Board::query_all_reply)),
        };
        *self.requests.entry(address).or_default() += 1;
        if let Some(reply) = reply {
            self.answer(address, reply, now);
        }
    }

    fn pulse_each(&mut self, board: u8, wanted: impl Fn(u8) -> bool, kind: PulseKind, now: Instant) {
        let channels = self.boards.get(&board).map_or(0, |found| found.config.channels);
        for lock in (1..=channels).filter(|lock| wanted(*lock)) {
            self.pulse(board, lock, PULSE, kind, now);
        }
    }

    fn pulse(&mut self, board: u8, lock: u8, length: Duration, kind: PulseKind, now: Instant) {
        let Some(found) = self.boards.get(&board) else { return };
        if found.config.faults.dead || found.lock(lock).is_err() {
            return;
        }
        let moved = found.moved_by_pulse_on(lock);
        self.pulses.push(Pulse { at: now, board, lock, length, kind });
        if let Some(lock) = moved {
            self.plan(now + self.config.spring, Act::Move { board, lock, door: Door::Open });
        }
    }

    fn answer(&mut self, board: u8, mut reply: Vec<u8>, now: Instant) {
        let Some(found) = self.boards.get(&board) else { return };
        let faults = found.config.faults.clone();
        if faults.dead || faults.mute {
            return;
        }
        reply.truncate(reply.len().saturating_sub(faults.drop_tail));
        let reply = [faults.garbage, reply].concat();
        // Every request has five bytes or so; the reply is delivered when its last byte would be.
        let due = now + self.transfer(5) + TURNAROUND + faults.late + self.transfer(reply.len());
        match faults.split {
            Some(pause) if reply.len() > 2 => {
                let (head, tail) = reply.split_at(2);
                self.plan(due, Act::Send(head.to_vec()));
                self.plan(due + pause, Act::Send(tail.to_vec()));
            }
            Some(_) | None => self.plan(due, Act::Send(reply)),
        }
    }

    /// Time of `bytes` at 8N1: ten bits each.
    fn transfer(&self, bytes: usize) -> Duration {
        let bits = u32::try_from(bytes * 10).unwrap_or(u32::MAX);
        Duration::from_secs(1) * bits / self.config.baud.max(1)
    }

    fn close_door(&mut self, board: u8, lock: u8, now: Instant) {
        let powered = |pulse: &&Pulse| pulse.board == board && pulse.lock == lock && now < pulse_end(pulse);
        match self.pulses.iter().rev().find(powered).map(pulse_end) {
            Some(end) => self.plan(end, Act::Move { board, lock, door: Door::Closed }),
            None => self.move_door(board, lock, Door::Closed, now),
        }
    }

    fn move_door(&mut self, board: u8, lock: u8, door: Door, now: Instant) {
        let person = self.config.person;
        let Some(found) = self.boards.get_mut(&board) else { return };
        let Ok(moved) = found.lock_mut(lock) else { return };
        if moved.door == door {
            return;
        }
        moved.door = door;
        let alive = !found.config.faults.dead && !found.config.faults.mute;
        if let Some(frame) = found.push_frame(lock).filter(|_| alive) {
            self.plan(now, Act::Send(frame));
        }
        if let Some(after) = person
            && door == Door::Open
        {
            self.plan(now + after, Act::Move { board, lock, door: Door::Closed });
        }
    }

    fn plan(&mut self, due: Instant, act: Act) {
        self.plans.push((due, act));
    }

    fn next_due(&self) -> Option<Instant> {
        self.plans.iter().map(|(due, _)| *due).min()
    }

    fn take_due(&mut self, now: Instant) -> Option<Act> {
        let next = self.next_due().filter(|due| *due <= now)?;
        let index = self.plans.iter().position(|(due, _)| *due == next)?;
        Some(self.plans.remove(index).1)
    }
}

fn pulse_end(pulse: &Pulse) -> Instant {
    // A hold has no end of its own; a day is for ever here.
    pulse.at + pulse.length.min(Duration::from_secs(86_400))
}
