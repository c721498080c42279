//! Delivery of durable rows: in order, a window at a time, from the cursor on, to the one consumer of each stream.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fleet_core::signing::{Reveal, SignerReply};
use fleet_core::{LEAP, STREAM, render_row, sealed_in_row, stream_key};
use schemas::api::ContentType;
use schemas::cbor::Blob;
use schemas::crypto::codes::Secret;
use schemas::ids::{Identity, Name, TenantId};
use schemas::step::{Store, number_of_key};
use schemas::topics::Stream;
use tracing::{debug, error, warn};

use crate::gate::{CloseReason, ConnId, GateHandle, SendError};
use crate::signer::SignerClient;

use super::DriverError;
use super::tickets::{Purpose, Tickets};

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
    /// As the consumer has subscribed to it.
    content: ContentType,
    window: u64,
    /// All rows up to here are acknowledged.
    cursor: u64,
    /// Rows behind the cursor that were sent on this connection, in order, and whether each is acknowledged.
    under_way: VecDeque<(u64, bool)>,
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
    n: u64,
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
        (window, content): (u16, ContentType),
        cursor: u64,
        newest: u64,
    ) {
        let consumer = Consumer {
            conn,
            content,
            window: window.into(),
            cursor,
            under_way: VecDeque::new(),
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
        if let Some(row) = consumer.under_way.iter_mut().find(|(sent, _)| *sent == n) {
            row.1 = true;
        }
        let before = consumer.cursor;
        while let Some((first, true)) = consumer.under_way.front().copied() {
            consumer.under_way.pop_front();
            consumer.cursor = first;
        }
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
                    let n = revealing.n;
                    warn!(%tenant, %integration, %stream, n, reason = failed.reason, "a code is not revealed; asked again");
                    None
                }
                SignerReply::Envelope(_)
                | SignerReply::Secrets(_)
                | SignerReply::Sealed(_)
                | SignerReply::PhoneOpened(_)
                | SignerReply::AnswerKept(_)
                | SignerReply::Certificate(_) => None,
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
            while consumer.sent < consumer.newest && consumer.has_room() {
                if consumer.revealing.is_none() {
                    let from = stream_key(tenant, integration, *stream, consumer.sent + 1);
                    let prefix = &from[..from.len() - 8];
                    let row = store.scan(STREAM, &from, 1)?.pop().filter(|(key, _)| key.starts_with(prefix));
                    let row = row.and_then(|(key, row)| Some((number_of_key(&key)?, row)));
                    // Rows follow one another without a gap, but for the leap behind a restore.
                    let next = |(n, _): &(u64, Vec<u8>)| *n == consumer.sent + 1 || *n > consumer.sent + LEAP;
                    let Some((n, row)) = row.filter(next) else {
                        if !consumer.is_behind_leap() {
                            error!(%tenant, %integration, %stream, n = consumer.sent + 1, "a row is missing; the stream waits");
                        }
                        break;
                    };
                    consumer.begin(n, row, tenant, *stream, signer, tickets);
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
    fn has_room(&self) -> bool {
        (self.under_way.len() as u64) < self.window
    }

    /// All rows were sent, and the numbers that a restore left out follow.
    fn is_behind_leap(&self) -> bool {
        self.newest - self.sent >= LEAP
    }

    /// Takes up the next row and asks for its secrets, if it has any.
    fn begin(
        &mut self,
        n: u64,
        row: Vec<u8>,
        tenant: &TenantId,
        stream: Stream,
        signer: &SignerClient,
        tickets: &mut Tickets,
    ) {
        let sealed = sealed_in_row(stream, &row).unwrap_or_default();
        let mut asked = BTreeMap::new();
        for sealed in sealed {
            let ticket = signer.ask(Reveal { tenant: tenant.clone(), sealed: sealed.clone() }.into());
            tickets.expect(ticket, Purpose::Row);
            asked.insert(ticket, sealed);
        }
        self.revealing = Some(Revealing { n, row, asked, known: Vec::new() });
    }

    /// Sends the row that was taken up, if it is ready. False: wait.
    fn finish(&mut self, stream: Stream, gate: &GateHandle) -> bool {
        let Some(revealing) = self.revealing.take_if(|revealing| revealing.asked.is_empty()) else {
            return false;
        };
        let n = revealing.n;
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
        // The same bytes each time that it is sent in this form.
        let payload = self.content.render(payload);
        match gate.row(self.conn, stream, n, payload.into(), self.content.as_str()) {
            Ok(()) => {
                self.rests = Duration::ZERO;
                self.sent = n;
                self.under_way.push_back((n, false));
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
