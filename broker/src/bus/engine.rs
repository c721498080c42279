//! Runs a bus over links that may die: one thread sends, one receives, one supervises and makes the next link.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Link, LinkError, LinkFactory, LinkReceive, LinkSend};
use super::state::State;
use super::{BusError, Counts, Health, LivePacket, Sink};

/// Called once when replacing the router has failed too often, so that `main` can end the process.
pub type OnFatal = Box<dyn FnOnce() + Send>;

/// When the watchdog probes, and when it loses patience.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// An idle link is probed this often.
    pub heartbeat: Duration,
    /// A frame that has not come back for this long proves that the link is dead. Also the limit for making a link.
    pub limit: Duration,
    /// Pause before a link that died is replaced. Doubles with each failure in a row, with jitter.
    pub first_pause: Duration,
    /// Longest pause between attempts. A link that lives for less counts as a failure.
    pub longest_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            limit: Duration::from_secs(5),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// How a kind of bus treats its links.
pub(super) struct Policy {
    /// For thread names and logs.
    pub(super) name: &'static str,
    pub(super) timing: Timing,
    /// Give the bus up after so many failures in a row. `None`: never.
    pub(super) give_up_after: Option<u32>,
    /// Other processes write to the same bus.
    pub(super) shared_with_others: bool,
}

/// A running bus. Ends when it is dropped.
pub(super) struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    pub(super) fn start(policy: Policy, factory: LinkFactory, sink: Sink, on_fatal: OnFatal) -> io::Result<Self> {
        let origin = getrandom::u64().map_err(io::Error::from)?;
        let state = State::new(origin, policy.shared_with_others, Instant::now());
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            watch: Condvar::new(),
            delivery: Mutex::new(()),
            made: Mutex::new(None),
            policy,
            factory,
            sink,
        });
        let supervised = Arc::clone(&shared);
        spawn(shared.policy.name, "watch", move || supervise(&supervised, on_fatal))?;
        Ok(Self { shared })
    }

    pub(super) fn publish(&self, packet: &LivePacket) -> Result<(), BusError> {
        self.shared.lock().enqueue(packet)?;
        self.shared.work.notify_one();
        Ok(())
    }

    pub(super) fn health(&self) -> Health {
        self.shared.lock().health
    }

    pub(super) fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    pub(super) fn shutdown(&self) {
        self.shared.lock().health = Health::Closed;
        self.shared.notify();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown();
    }
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the sender: something to send, room in the window, or the end.
    work: Condvar,
    /// Wakes the supervisor: a link is made or has died, or the end.
    watch: Condvar,
    /// Held while the sink runs, so that an old link's last delivery cannot overtake the first of the next.
    delivery: Mutex<()>,
    /// The link that a maker thread has made, or why it could not. Locked after `state`, never before.
    made: Mutex<Option<Result<Link, LinkError>>>,
    policy: Policy,
    factory: LinkFactory,
    sink: Sink,
}

impl Shared {
    /// Nothing that runs under the lock calls out of this module, so a poisoned state is whole all the same.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.work.notify_all();
        self.watch.notify_all();
    }

    /// Waits on `watch` until `until`, and checks after each wake-up.
    fn watch_until<T>(&self, until: Instant, mut check: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = check(&mut state) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.watch.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn spawn(bus: &str, task: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(format!("{bus}-{task}")).spawn(body).map(drop)
}

/// Keeps one link alive until the bus ends.
fn supervise(shared: &Arc<Shared>, on_fatal: OnFatal) {
    let mut failures = 0;
    loop {
        let end = make_link(shared).and_then(|link| run_link(shared, link));
        if shared.lock().ended() {
            return;
        }
        failures = match end {
            Ok(Died { settled: true }) => 0,
            Ok(Died { settled: false }) | Err(_) => failures + 1,
        };
        note_end(shared, &end, failures);
        shared.work.notify_all();
        if shared.policy.give_up_after.is_some_and(|most| failures >= most) {
            tracing::error!(bus = shared.policy.name, failures, "bus link could not be replaced, giving up");
            shared.lock().health = Health::Dead;
            shared.notify();
            return on_fatal();
        }
        if shared.watch_until(Instant::now() + pause(&shared.policy.timing, failures), ended).is_some() {
            return;
        }
    }
}

fn ended(state: &mut State) -> Option<()> {
    state.ended().then_some(())
}

/// A link ran and is dead now, or the bus ended.
struct Died {
    /// It had brought frames back for a while. A link that works and dies again at once is no success: a frame that
    /// kills each router, or a second client with our id, would otherwise keep the bus busy for ever.
    settled: bool,
}

/// Turns the state to the next link, counts, and says so.
fn note_end(shared: &Shared, end: &Result<Died, LinkError>, failures: u32) {
    let bus = shared.policy.name;
    let mut state = shared.lock();
    state.give_up_link();
    match end {
        Ok(_) => {
            state.counts.replacements += 1;
            let replacements = state.counts.replacements;
            tracing::warn!(bus, replacements, failures, "bus link died and is being replaced");
        }
        Err(error) => {
            state.counts.failed_links += 1;
            tracing::warn!(bus, failures, error = %chain(error), "bus link could not be made");
        }
    }
}

/// Makes a link on a thread of its own: a router that hangs while it accepts a link must not hang its supervisor.
fn make_link(shared: &Arc<Shared>) -> Result<Link, LinkError> {
    let generation = shared.lock().generation;
    // A link that came too late for the attempt before. From here on no maker of an older generation adds one.
    let late = shared.made.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(late);
    let maker = Arc::clone(shared);
    let make = move || {
        let made = (maker.factory)();
        let state = maker.lock();
        // Too late: dropping the link here says good-bye to its router.
        if state.generation == generation && !state.ended() {
            *maker.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            maker.watch.notify_all();
        }
    };
    spawn(shared.policy.name, "make", make).map_err(LinkError::Thread)?;
    let until = Instant::now() + shared.policy.timing.limit;
    let take = |state: &mut State| {
        let made = shared.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        made.or_else(|| state.ended().then_some(Err(LinkError::Gone)))
    };
    shared.watch_until(until, take).unwrap_or(Err(LinkError::NotAnswered("a new link")))
}

/// Runs `link` until it dies or the bus ends.
fn run_link(shared: &Arc<Shared>, link: Link) -> Result<Died, LinkError> {
    let generation = shared.lock().generation;
    let Link { sender, receiver } = link;
    let (sending, receiving) = (Mourner::new(shared, generation), Mourner::new(shared, generation));
    spawn(shared.policy.name, "send", move || send_all(&sending, sender)).map_err(LinkError::Thread)?;
    spawn(shared.policy.name, "receive", move || receive_all(&receiving, receiver)).map_err(LinkError::Thread)?;
    let Timing { limit, longest_pause, .. } = shared.policy.timing;
    let started = Instant::now();
    loop {
        let look = |state: &mut State| {
            let over = state.ended() || state.link_died || state.overdue(Instant::now(), limit);
            over.then(|| Died { settled: state.proved && started.elapsed() >= longest_pause })
        };
        if let Some(end) = shared.watch_until(Instant::now() + limit / 4, look) {
            return Ok(end);
        }
    }
}

/// Reports the end of a link's thread to the supervisor, also when the thread panicked.
struct Mourner {
    shared: Arc<Shared>,
    generation: u64,
}

impl Mourner {
    fn new(shared: &Arc<Shared>, generation: u64) -> Self {
        Self { shared: Arc::clone(shared), generation }
    }

    fn is_over(&self, state: &State) -> bool {
        state.ended() || state.generation != self.generation
    }
}

impl Drop for Mourner {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.generation == self.generation {
            state.link_died = true;
            self.shared.watch.notify_all();
        }
    }
}

fn send_all(link: &Mourner, mut sender: Box<dyn LinkSend>) {
    while let Some((shard, frame)) = next_frame(link) {
        if let Err(error) = sender.send(shard, frame) {
            tracing::warn!(bus = link.shared.policy.name, error = %chain(&error), "bus link failed to send");
            return;
        }
    }
}

/// Waits for a frame that may be sent over `link`. `None`: the link is not the current one any more.
fn next_frame(link: &Mourner) -> Option<(super::Shard, bytes::Bytes)> {
    let shared = &*link.shared;
    let heartbeat = shared.policy.timing.heartbeat;
    let mut state = shared.lock();
    loop {
        if link.is_over(&state) {
            return None;
        }
        let now = Instant::now();
        if let Some(next) = state.next_to_send(now, heartbeat) {
            return Some(next);
        }
        state = match state.until_heartbeat(now, heartbeat) {
            Some(left) => shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            None => shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

fn receive_all(link: &Mourner, mut receiver: Box<dyn LinkReceive>) {
    let shared = &*link.shared;
    loop {
        match receiver.receive(shared.policy.timing.heartbeat) {
            Ok(Some(received)) => deliver(shared, link.generation, received),
            Ok(None) => {}
            Err(error) => {
                if !link.is_over(&shared.lock()) {
                    tracing::warn!(bus = shared.policy.name, error = %chain(&error), "bus link failed to receive");
                }
                return;
            }
        }
        if link.is_over(&shared.lock()) {
            return;
        }
    }
}

fn deliver(shared: &Shared, generation: u64, received: super::Received) {
    let _one_at_a_time = shared.delivery.lock().unwrap_or_else(PoisonError::into_inner);
    let packet = shared.lock().receive(generation, received, Instant::now());
    shared.work.notify_one();
    if let Some(packet) = packet {
        let _clock_goes_on = Delivered { shared };
        (shared.sink)(packet);
    }
}

/// Lets the link's clock go on after the sink, also when the sink panicked.
struct Delivered<'a> {
    shared: &'a Shared,
}

impl Drop for Delivered<'_> {
    fn drop(&mut self) {
        self.shared.lock().delivered(Instant::now());
    }
}

/// The pause before the attempt that follows `failures` failed ones: between half and all of an exponential step.
fn pause(timing: &Timing, failures: u32) -> Duration {
    let step = timing.first_pause.saturating_mul(1 << failures.min(16)).min(timing.longest_pause);
    // Without randomness the pause is whole: late, never hasty.
    let share = getrandom::u32().map_or(1.0, |random| 0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0);
    step.mul_f64(share)
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_are_spread() {
        let timing = Timing { first_pause: Duration::from_millis(100), ..Timing::default() };
        for (failures, whole) in [(0, 100), (1, 200), (4, 1600), (20, 30_000), (u32::MAX, 30_000)] {
            let (pause, whole) = (pause(&timing, failures), Duration::from_millis(whole));
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} after {failures}");
        }
    }
}
