//! Which of the two certificates the next connection tries, and what its success or failure means.

use std::sync::{Arc, Mutex, PoisonError};

use certs::{ClientClock, LoadError, ServerRoots, Summary, TlsIdentity, client_config_without_time};
use rustls::ClientConfig;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::slots::{Slot, Slots};

/// Connections in a row that the next certificate may fail while the current one works. A network that is away counts for
/// neither.
const FAILURES_MAX: u32 = 5;

/// The settings of one attempt to connect.
#[derive(Clone)]
pub struct Attempt {
    pub slot: Slot,
    pub tls: Arc<ClientConfig>,
}

/// Key and certificate in use, and those on trial.
pub struct Credentials {
    slots: Slots,
    servers: ServerRoots,
    clock: Arc<dyn ClientClock>,
    state: Mutex<State>,
    /// The fleet said that the certificate in use has ended.
    ended: Notify,
}

struct State {
    current: Held,
    next: Option<Held>,
    /// The attempt before this one was with the next certificate, and failed.
    next_failed: bool,
    failures: u32,
}

struct Held {
    tls: Arc<ClientConfig>,
    summary: Summary,
}

impl Credentials {
    /// Reads both places. One that is not there or cannot be read is passed over, if the other can be.
    pub fn open(slots: Slots, servers: ServerRoots, clock: Arc<dyn ClientClock>) -> Result<Self, LoadError> {
        let hold = |own: TlsIdentity| Held::new(&own, &servers, &clock);
        let next = if slots.path(Slot::Next).exists() { Some(slots.read(Slot::Next).and_then(hold)) } else { None };
        let (current, next) = match (slots.read(Slot::Current).and_then(hold), next) {
            (Ok(current), Some(Ok(next))) => (current, Some(next)),
            (Ok(current), None) => (current, None),
            (Ok(current), Some(Err(error))) => {
                warn!(error = %format!("{:#}", anyhow::Error::new(error)), "the next certificate cannot be used");
                (current, None)
            }
            (Err(error), Some(Ok(next))) => {
                warn!(error = %format!("{:#}", anyhow::Error::new(error)), "the current certificate cannot be used");
                // A renewal must not write over the only one that works.
                slots.promote()?;
                (next, None)
            }
            (Err(error), _) => return Err(error),
        };
        let state = State { current, next, next_failed: false, failures: 0 };
        Ok(Self { slots, servers, clock, state: Mutex::new(state), ended: Notify::new() })
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(super) fn servers(&self) -> &ServerRoots {
        &self.servers
    }

    pub(super) fn clock(&self) -> Arc<dyn ClientClock> {
        Arc::clone(&self.clock)
    }

    /// What the certificate in use says.
    pub fn current(&self) -> Summary {
        self.state().current.summary.clone()
    }

    /// The next one first; after a failure of it the current one, so that the cabinet is never away for long.
    pub fn attempt(&self) -> Attempt {
        let state = self.state();
        match &state.next {
            Some(next) if !state.next_failed => Attempt { slot: Slot::Next, tls: Arc::clone(&next.tls) },
            Some(_) | None => Attempt { slot: Slot::Current, tls: Arc::clone(&state.current.tls) },
        }
    }

    /// A connection with this certificate was welcomed by the fleet.
    pub fn worked(&self, slot: Slot) {
        let mut state = self.state();
        match slot {
            Slot::Next => {
                let Some(next) = state.next.take() else { return };
                // On failure it stays on trial: it gets its place with the next connection.
                if let Err(error) = self.slots.promote() {
                    warn!(error = %format!("{:#}", anyhow::Error::new(error)), "keep the new certificate");
                    state.next = Some(next);
                    return;
                }
                info!(not_after = ?next.summary.not_after, "the new certificate works and is in use");
                tidy(&self.slots);
                state.current = next;
                (state.next_failed, state.failures) = (false, 0);
            }
            Slot::Current => {
                if state.next.is_none() {
                    return;
                }
                state.next_failed = false;
                state.failures += 1;
                if state.failures >= FAILURES_MAX {
                    warn!(
                        "the new certificate was refused {FAILURES_MAX} times while the former one works; it is given up"
                    );
                    state.next = None;
                    state.failures = 0;
                    if let Err(error) = self.slots.drop_next() {
                        warn!(error = %format!("{:#}", anyhow::Error::new(error)), "remove the new certificate");
                    }
                    tidy(&self.slots);
                }
            }
        }
    }

    /// A connection with this certificate was not welcomed, for whatever reason.
    pub fn failed(&self, slot: Slot) {
        let mut state = self.state();
        // Then the other one, in turn.
        state.next_failed = slot == Slot::Next;
    }

    /// The fleet refused the certificate because it has ended.
    pub fn has_ended(&self) {
        self.ended.notify_one();
    }

    pub(super) async fn until_ended(&self) {
        self.ended.notified().await;
    }

    /// Puts a certificate on trial.
    pub(super) fn try_next(&self, own: &TlsIdentity) -> Result<(), LoadError> {
        let held = Held::new(own, &self.servers, &self.clock)?;
        let mut state = self.state();
        state.next = Some(held);
        (state.next_failed, state.failures) = (false, 0);
        Ok(())
    }

    /// Removes what an end in the middle has left in the token.
    pub(super) fn tidy(&self) {
        tidy(&self.slots);
    }

    pub(super) fn is_trying(&self) -> bool {
        self.state().next.is_some()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stays in the token does no harm and goes the next time.
fn tidy(slots: &Slots) {
    match slots.tidy() {
        Ok(0) => {}
        Ok(keys) => info!(keys, "keys that are not used any more are removed from the token"),
        Err(error) => {
            warn!(error = %format!("{:#}", anyhow::Error::new(error)), "remove unused keys from the token");
        }
    }
}

impl Held {
    fn new(own: &TlsIdentity, servers: &ServerRoots, clock: &Arc<dyn ClientClock>) -> Result<Self, LoadError> {
        let tls = Arc::new(client_config_without_time(own, servers, Arc::clone(clock))?);
        Ok(Self { tls, summary: own.summary().clone() })
    }
}
