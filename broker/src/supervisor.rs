//! What systemd is told, if it started this process: that it is ready, and that it still works. Elsewhere nothing happens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::warn;

/// Everything is open; who waits for this process may go on.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd cannot be told how this process is");
    }
}

/// The sign of life that the watchdog of systemd waits for. Whoever does the work gives it, so that a process that hangs is
/// started again.
pub(crate) struct Pulse {
    every: Option<Duration>,
    due: Instant,
}

impl Pulse {
    /// As often as systemd says; never if it does not.
    pub(crate) fn start() -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|within| within / 3), due: Instant::now() }
    }

    /// When the next sign is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.every.map(|_| self.due)
    }

    /// Gives the sign if it is due.
    pub(crate) fn beat(&mut self) {
        if let Some(every) = self.every
            && self.due <= Instant::now()
        {
            tell(NotifyState::Watchdog);
            self.due = Instant::now() + every;
        }
    }
}
