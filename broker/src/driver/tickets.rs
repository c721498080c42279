//! Questions under way: who asked the core, and what the signer was asked for.

use std::collections::HashMap;

use bytes::Bytes;
use schemas::ids::Name;

use crate::gate::ConnId;

/// Where a reply goes.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) conn: ConnId,
    pub(super) correlation: Option<Bytes>,
}

/// What an answer of the signer is for.
pub(super) enum Purpose {
    /// The core's own ticket.
    Core(u64),
    Pin {
        asker: Asker,
        name: Name,
    },
    /// A row of a stream is to be shown.
    Row,
}

#[derive(Default)]
pub(super) struct Tickets {
    next: u64,
    askers: HashMap<u64, Asker>,
    signer: HashMap<u64, Purpose>,
}

impl Tickets {
    pub(super) fn asked(&mut self, asker: Asker) -> u64 {
        self.next += 1;
        self.askers.insert(self.next, asker);
        self.next
    }

    /// The core answered; each ticket is answered once.
    pub(super) fn replied(&mut self, ticket: u64) -> Option<Asker> {
        self.askers.remove(&ticket)
    }

    pub(super) fn ask(&mut self, purpose: Purpose) -> u64 {
        self.next += 1;
        self.signer.insert(self.next, purpose);
        self.next
    }

    pub(super) fn answered(&mut self, ticket: u64) -> Option<Purpose> {
        self.signer.remove(&ticket)
    }
}
