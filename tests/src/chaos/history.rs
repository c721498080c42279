//! What everybody was told, in the order in which they heard it: the only thing that the stores are held against.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemas::api::{RequestErrorCode, Status};
use schemas::ids::{CabinetId, Name, OrderId};
use schemas::messages::{Compartment, OrderKey, UnlockOutcome};
use tokio::sync::watch;
use tokio::time::timeout;

/// Milliseconds since the history began.
pub(super) type At = u64;
/// A thing that somebody tried: an entry at a screen, an unlock.
pub(super) type Try = u64;

/// A process that can be killed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Broker,
    Signer,
    Agent(CabinetId),
}

/// What staff ask of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Load,
    Retrieve,
}

/// What a screen said to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    Opening(Vec<u16>),
    Refused(String),
    /// The agent went away before it answered: it may have opened.
    Nothing,
}

/// What an operator heard of an unlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Outcome(UnlockOutcome),
    Error(RequestErrorCode),
    /// The connection was lost, or nobody waited any longer.
    Nothing,
}

/// One thing that somebody did or heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happening {
    PutAsked {
        order: OrderKey,
    },
    PutAcknowledged {
        order: OrderKey,
    },
    CancelAsked {
        order: OrderKey,
    },
    /// A row of the stream `status`.
    StatusTold {
        integration: Name,
        row: Status,
    },
    /// A row of the stream `notifications`, without its code.
    NotificationTold {
        integration: Name,
        n: u64,
        order: OrderId,
    },
    /// A code was typed or scanned where its order is said to be.
    Entered {
        id: Try,
        cabinet: CabinetId,
        order: OrderKey,
        compartment: Compartment,
    },
    Answered {
        id: Try,
        shown: Shown,
    },
    /// "Try again" was pressed behind an entry or an errand of staff.
    Pressed {
        id: Try,
    },
    StaffAsked {
        id: Try,
        cabinet: CabinetId,
        order: OrderKey,
        errand: Errand,
    },
    UnlockAsked {
        id: Try,
        cabinet: CabinetId,
        compartment: Compartment,
    },
    UnlockReplied {
        id: Try,
        heard: Heard,
    },
    /// Somebody stood before an open door, and there was not what should have been.
    Surprised {
        cabinet: CabinetId,
        compartment: Compartment,
        text: String,
    },
    Killed {
        victim: Victim,
    },
    Started {
        victim: Victim,
    },
}

impl Happening {
    /// What a report counts it as.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::PutAsked { .. } => "puts",
            Self::PutAcknowledged { .. } => "puts acknowledged",
            Self::CancelAsked { .. } => "cancels",
            Self::StatusTold { .. } => "statuses",
            Self::NotificationTold { .. } => "codes told",
            Self::Entered { .. } => "codes entered",
            Self::Answered { shown: Shown::Opening(_), .. } => "entries opened",
            Self::Answered { shown: Shown::Refused(_), .. } => "entries refused",
            Self::Answered { shown: Shown::Nothing, .. } => "entries unanswered",
            Self::Pressed { .. } => "presses of try again",
            Self::StaffAsked { errand: Errand::Load, .. } => "loads",
            Self::StaffAsked { errand: Errand::Retrieve, .. } => "retrievals",
            Self::UnlockAsked { .. } => "unlocks",
            Self::UnlockReplied { heard: Heard::Outcome(_), .. } => "unlocks with an outcome",
            Self::UnlockReplied { heard: Heard::Error(_), .. } => "unlocks refused",
            Self::UnlockReplied { heard: Heard::Nothing, .. } => "unlocks unanswered",
            Self::Surprised { .. } => "surprises",
            Self::Killed { .. } => "kills",
            Self::Started { .. } => "starts",
        }
    }
}

/// A happening and when it was noted. What is asked is noted before it is sent, what is heard after it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) what: Happening,
}

/// The history of a run. Clones write into the same one.
#[derive(Clone)]
pub(super) struct History {
    shared: Arc<Shared>,
}

struct Shared {
    began: Instant,
    entries: Mutex<Vec<Entry>>,
    length: watch::Sender<usize>,
    tries: Mutex<Try>,
}

impl History {
    pub(super) fn begin() -> Self {
        let shared = Shared {
            began: Instant::now(),
            entries: Mutex::new(Vec::new()),
            length: watch::Sender::new(0),
            tries: Mutex::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    fn entries_mut(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, what: Happening) {
        let mut entries = self.entries_mut();
        entries.push(Entry { at: self.at(Instant::now()), what });
        let length = entries.len();
        drop(entries);
        self.shared.length.send_replace(length);
    }

    /// A number for something that is tried.
    pub(super) fn next_try(&self) -> Try {
        let mut tries = self.shared.tries.lock().unwrap_or_else(PoisonError::into_inner);
        *tries += 1;
        *tries
    }

    pub(super) fn at(&self, moment: Instant) -> At {
        u64::try_from(moment.saturating_duration_since(self.shared.began).as_millis()).unwrap_or(At::MAX)
    }

    pub(super) fn now(&self) -> At {
        self.at(Instant::now())
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries_mut().clone()
    }

    pub(super) fn len(&self) -> usize {
        self.entries_mut().len()
    }

    /// Waits until something of this kind was noted behind the first `from` entries; false if it took longer.
    pub(super) async fn until(&self, from: usize, limit: Duration, wanted: impl Fn(&Happening) -> bool) -> bool {
        let mut length = self.shared.length.subscribe();
        let wait = async {
            let mut looked = from;
            loop {
                length.mark_unchanged();
                let found = {
                    let entries = self.entries_mut();
                    let found = entries.iter().skip(looked).any(|entry| wanted(&entry.what));
                    looked = entries.len().max(looked);
                    found
                };
                // The sender lives as long as `self`.
                if found || length.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, wait).await.is_ok()
    }
}
