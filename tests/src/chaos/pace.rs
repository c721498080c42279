//! When people act: busily, only to finish what they began, or not at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};
use tokio::time::sleep;

use crate::sim::Dice;

/// What everybody is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Busy,
    /// Nothing new is begun; what is there is brought to its end.
    Finishing,
    /// Everybody goes home.
    Over,
}

/// The pace of a run. Everybody has a clone.
#[derive(Clone)]
pub(super) struct Pace {
    mode: Arc<watch::Sender<Mode>>,
    /// Read while somebody acts; written while nobody may.
    acting: Arc<RwLock<()>>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { mode: Arc::new(watch::Sender::new(Mode::Busy)), acting: Arc::new(RwLock::new(())) }
    }

    pub(super) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits for up to `longest`, then until acting is allowed; `None` when it is over. Hold the guard while acting.
    pub(super) async fn next(&self, dice: &mut Dice, longest: u64) -> Option<OwnedRwLockReadGuard<()>> {
        let pause = Duration::from_millis(dice.between(longest / 8, longest));
        let mut mode = self.mode.subscribe();
        tokio::select! {
            () = sleep(pause) => {}
            // The sender lives as long as `self`.
            _ = mode.wait_for(|mode| *mode == Mode::Over) => return None,
        }
        let guard = Arc::clone(&self.acting).read_owned().await;
        (self.mode() != Mode::Over).then_some(guard)
    }

    /// Waits until nobody acts; nobody does while the guard is held.
    pub(super) async fn still(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.acting).write_owned().await
    }
}
