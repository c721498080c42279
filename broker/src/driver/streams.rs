//! Delivery of durable rows: in order, a window at a time, from the cursor on, to the one consumer of each stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fleet_core::signing::{Reveal, SignerReply};
use fleet_core::{STREAM, render_row, sealed_in_row, stream_key};
use schemas::cbor::Blob;
use schemas::crypto::codes::Secret;
use schemas::ids::{Identity, Name, TenantId};
use schemas::step::Store;
use schemas::topics::Stream;
use tracing::{debug, error, warn};

use crate::gate::{CloseReason, ConnId, GateHandle, SendError};
use crate::signer::SignerClient;

use super::tickets::{Purpose, Tickets};
use super::{DriverError, JSON};

type Key = (TenantId, Name, Stream);

/// A signer that is away answers at once that it is: asking again at once would be a busy loop.
const REVEAL_AGAIN_AFTER: Duration = Duration::from_secs(1);
const REVEAL_AGAIN_MAX: Duration = Duration::from_secs(60);

/// The open streams.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<Key, Consumer>,
}

struct Consumer {
    conn: ConnId,
    window: u64,
    /// All rows up to here are acknowledged.
    cursor: u64,
    /// Acknowledged rows behind one that is not.
    acked: BTreeSet<u64>,
    /// All rows up to here were sent on this connection.
    sent: u64,
    newest: u64,
    revealing: Option<Revealing>,
    /// The signer could not reveal a secret: not asked again before this.
    rests_until: Option<Instant>,
    /// How long it rested last.
    rests: Duration,
}

/// The row behind `sent`, whose secrets the signer is revealing.
struct Revealing {
    row: Vec<u8>,
    /// Ticket → sealed, while it is asked for.
    asked: BTreeMap<u64, Blob>,
    known: Vec<(Blob, Secret)>,
}

/// The signer did not reveal a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signer has not revealed it")]
struct NotRevealed;

impl Streams {
    pub(super) fn opened(
        &mut self,
        conn: ConnId,
        integration: Identity,
        stream: Stream,
        window: u16,
        cursor: u64,
        newest: u64,
    ) {
        let consumer = Consumer {
            conn,
            window: window.into(),
            cursor,
            acked: BTreeSet::new(),
            sent: cursor,
            newest,
            revealing: None,
            rests_until: None,
            rests: Duration::ZERO,
        };
        self.open.insert((integration.tenant, integration.name, stream), consumer);
    }

    pub(super) fn closed(&mut self, conn: ConnId, integration: &Identity, stream: Stream) {
        let key = (integration.tenant.clone(), integration.name.clone(), stream);
        if self.open.get(&key).is_some_and(|consumer| consumer.conn == conn) {
            self.open.remove(&key);
        }
    }

    /// Takes an acknowledgement. They may come out of order within the window, and the core's cursor covers all rows
    /// before it: returns the new cursor when it moves.
    pub(super) fn acked(&mut self, conn: ConnId, integration: &Identity, stream: Stream, n: u64) -> Option<u64> {
        let key = (integration.tenant.clone(), integration.name.clone(), stream);
        let consumer = self.open.get_mut(&key).filter(|consumer| consumer.conn == conn)?;
        let before = consumer.cursor;
        if n > before {
            consumer.acked.insert(n);
        }
        while consumer.acked.remove(&(consumer.cursor + 1)) {
            consumer.cursor += 1;
        }
        // Acknowledged on an earlier subscription of this connection, and not sent on this one.
        consumer.sent = consumer.sent.max(consumer.cursor);
        (consumer.cursor > before).then_some(consumer.cursor)
    }

    pub(super) fn grew(&mut self, tenant: &TenantId, integration: &Name, stream: Stream, newest: u64) {
        if let Some(consumer) = self.open.get_mut(&(tenant.clone(), integration.clone(), stream)) {
            consumer.newest = consumer.newest.max(newest);
        }
    }

    /// The signer answered for a row.
    pub(super) fn revealed(&mut self, ticket: u64, reply: SignerReply) {
        for ((tenant, integration, stream), consumer) in &mut self.open {
            let Some(revealing) = &mut consumer.revealing else { continue };
            let Some(sealed) = revealing.asked.remove(&ticket) else { continue };
            let secret = match &reply {
                SignerReply::Revealed(revealed) => Secret::parse(&revealed.text).ok(),
                SignerReply::Failed(failed) => {
                    let n = consumer.sent + 1;
                    warn!(%tenant, %integration, %stream, n, reason = failed.reason, "a code is not revealed; asked again");
                    None
                }
                SignerReply::Envelope(_) | SignerReply::Secrets(_) | SignerReply::Sealed(_) => None,
            };
            match secret {
                Some(secret) => revealing.known.push((sealed, secret)),
                None => {
                    consumer.revealing = None;
                    consumer.rests = (consumer.rests * 2).clamp(REVEAL_AGAIN_AFTER, REVEAL_AGAIN_MAX);
                    consumer.rests_until = Some(Instant::now() + consumer.rests);
                }
            }
            return;
        }
    }

    /// When a stream that rests wants to be pumped again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.open.values().filter_map(|consumer| consumer.rests_until).min()
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = ConnId> {
        self.open.values().map(|consumer| consumer.conn)
    }

    /// Sends what the windows allow.
    pub(super) fn pump(
        &mut self,
        store: &impl Store,
        gate: &GateHandle,
        signer: &SignerClient,
        tickets: &mut Tickets,
    ) -> Result<(), DriverError> {
        let now = Instant::now();
        for ((tenant, integration, stream), consumer) in &mut self.open {
            if consumer.rests_until.is_some_and(|until| until > now) {
                continue;
            }
            consumer.rests_until = None;
            while consumer.sent < consumer.newest.min(consumer.cursor + consumer.window) {
                if consumer.revealing.is_none() {
                    let from = stream_key(tenant, integration, *stream, consumer.sent + 1);
                    let row = store.scan(STREAM, &from, 1)?.pop().filter(|(key, _)| *key == from);
                    let Some((_, row)) = row else {
                        error!(%tenant, %integration, %stream, n = consumer.sent + 1, "a row is missing; the stream waits");
                        break;
                    };
                    consumer.begin(row, tenant, *stream, signer, tickets);
                }
                if !consumer.finish(*stream, gate) {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Consumer {
    /// Takes up the next row and asks for its secrets, if it has any.
    fn begin(&mut self, row: Vec<u8>, tenant: &TenantId, stream: Stream, signer: &SignerClient, tickets: &mut Tickets) {
        let sealed = sealed_in_row(stream, &row).unwrap_or_default();
        let mut asked = BTreeMap::new();
        for sealed in sealed {
            let ticket = signer.ask(Reveal { tenant: tenant.clone(), sealed: sealed.clone() }.into());
            tickets.expect(ticket, Purpose::Row);
            asked.insert(ticket, sealed);
        }
        self.revealing = Some(Revealing { row, asked, known: Vec::new() });
    }

    /// Sends the row that was taken up, if it is ready. False: wait.
    fn finish(&mut self, stream: Stream, gate: &GateHandle) -> bool {
        let Some(revealing) = self.revealing.take_if(|revealing| revealing.asked.is_empty()) else {
            return false;
        };
        let n = self.sent + 1;
        let known = |sealed: &Blob| {
            revealing
                .known
                .iter()
                .find(|(known, _)| known == sealed)
                .map(|(_, secret)| secret.clone())
                .ok_or(NotRevealed)
        };
        let payload = match render_row(stream, &revealing.row, known) {
            Ok(payload) => payload,
            Err(error) => {
                error!(%stream, n, %error, "a row cannot be shown; the stream waits");
                return false;
            }
        };
        match gate.row(self.conn, stream, n, payload.into(), JSON) {
            Ok(()) => {
                self.rests = Duration::ZERO;
                self.sent = n;
                true
            }
            Err(SendError::NotConnected) => false,
            Err(SendError::QueueFull) => {
                debug!(%stream, n, "window is full");
                false
            }
            Err(SendError::TooLarge) => {
                warn!(%stream, n, "a row is larger than the consumer's maximum packet size");
                gate.close_conn(self.conn, CloseReason::Administrative);
                false
            }
        }
    }
}
