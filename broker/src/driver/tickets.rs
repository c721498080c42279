//! Questions under way: who asked the core, and what the signer was asked for.

use std::collections::HashMap;

use bytes::Bytes;
use fleet_core::SecretOf;
use fleet_core::enrolment::EnrolRefusal;
use schemas::api::ContentType;
use tokio::sync::oneshot;

use crate::gate::ConnId;

/// Where a reply goes.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) conn: ConnId,
    pub(super) correlation: Option<Bytes>,
    /// Of the request, and so of its answer.
    pub(super) content: ContentType,
}

/// What an answer of the signer is for.
pub(super) enum Purpose {
    /// The core's own ticket.
    Core(u64),
    /// A secret that a person is to see.
    Secret { asker: Asker, of: SecretOf },
    /// A row of a stream is to be shown.
    Row,
    /// One of the two secrets of a message to a person.
    Message { key: u64, index: usize },
}

#[derive(Default)]
pub(super) struct Tickets {
    next: u64,
    askers: HashMap<u64, Asker>,
    signer: HashMap<u64, Purpose>,
    enrolling: HashMap<u64, oneshot::Sender<Issuance>>,
}

/// A certificate in DER, or why there is none.
type Issuance = Result<Vec<u8>, EnrolRefusal>;

impl Tickets {
    pub(super) fn asked(&mut self, asker: Asker) -> u64 {
        self.next += 1;
        self.askers.insert(self.next, asker);
        self.next
    }

    /// A device waits for its certificate.
    pub(super) fn enrolling(&mut self, reply: oneshot::Sender<Issuance>) -> u64 {
        self.next += 1;
        self.enrolling.insert(self.next, reply);
        self.next
    }

    pub(super) fn enrolled(&mut self, ticket: u64, issuance: Issuance) {
        if let Some(reply) = self.enrolling.remove(&ticket) {
            // A device that has gone asks again, and gets the same certificate.
            let _ = reply.send(issuance);
        }
    }

    /// The core answered; each ticket is answered once.
    pub(super) fn replied(&mut self, ticket: u64) -> Option<Asker> {
        self.askers.remove(&ticket)
    }

    /// The signer was asked; its answer will have this ticket.
    pub(super) fn expect(&mut self, ticket: u64, purpose: Purpose) {
        self.signer.insert(ticket, purpose);
    }

    /// Everyone who waits for a reply.
    pub(super) fn waiting(&self) -> impl Iterator<Item = ConnId> {
        let pins = self.signer.values().filter_map(|purpose| match purpose {
            Purpose::Secret { asker, .. } => Some(asker.conn),
            Purpose::Core(_) | Purpose::Row | Purpose::Message { .. } => None,
        });
        self.askers.values().map(|asker| asker.conn).chain(pins)
    }

    pub(super) fn answered(&mut self, ticket: u64) -> Option<Purpose> {
        self.signer.remove(&ticket)
    }
}
