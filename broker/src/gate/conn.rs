//! What a connection shares with the rest of the process: its queues, its owed PUBACKs and the wish to close it.
//!
//! The connection's own task is the only one that touches the socket. Everybody else leaves something here under a short
//! lock and wakes the task, so a peer that does not read can never hold anybody up.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use certs::Fingerprint;
use schemas::api::ContentType;
use schemas::ids::{Identity, SessionSuffix};
use schemas::topics::Stream;
use tokio::sync::Notify;

use super::codec::encode;
use super::lock;
use super::port::{ConnId, DownToken, Gone, Holder, Receipt, SendError};
use super::rule::{Offence, Rule};

/// The shared half of a connection.
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) claim: Claim,
    pub(super) terms: Terms,
    /// Takeovers in a row that led to this connection.
    pub(super) takeovers: u32,
    wake: Notify,
    state: Mutex<State>,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) who: Arc<Identity>,
    pub(super) suffix: Option<SessionSuffix>,
    pub(super) fingerprint: Fingerprint,
    /// When the certificate was issued.
    pub(super) issued: SystemTime,
    pub(super) peer: SocketAddr,
}

/// What the client asked for in its CONNECT.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// PUBLISHes that may wait for the client's PUBACK, and rows of each stream that may be on their way.
    pub(super) window: u16,
    /// The client's Maximum Packet Size.
    pub(super) packet_max: usize,
    /// The client wants reason strings everywhere.
    pub(super) problem_info: bool,
}

/// What waits for the connection's task.
struct State {
    /// The first reason wins. Set also when the session is over: nothing is taken any more.
    closing: Option<Gone>,
    acks: VecDeque<Owed>,
    /// Place of the front of `acks`.
    first_place: u64,
    durable: VecDeque<Durable>,
    live: VecDeque<Arc<LiveMessage>>,
    subscribed: Subscribed,
    /// Rows queued or in flight, by stream.
    rows: [u16; Stream::ALL.len()],
    heard: Instant,
}

/// Which of its exact topics the client has subscribed to.
#[derive(Debug, Clone, Copy, Default)]
struct Subscribed {
    down: bool,
    response: bool,
    streams: [bool; Stream::ALL.len()],
    /// In which form rows of an open stream go.
    rows_as: [ContentType; Stream::ALL.len()],
}

/// A PUBACK that the client waits for; they leave in this order.
struct Owed {
    pkid: u16,
    receipt: Option<Receipt>,
}

/// A QoS 1 message to the client.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) kind: DurableKind,
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) content_type: Option<Box<str>>,
    pub(super) correlation: Option<Bytes>,
    pub(super) queued: Instant,
}

impl Durable {
    /// How it goes out.
    pub(super) fn publish(&self, pkid: Option<u16>) -> encode::Publish<'_> {
        let n = match self.kind {
            DurableKind::Row { n, .. } => Some(n),
            DurableKind::Down(_) | DurableKind::Response => None,
        };
        encode::Publish {
            pkid,
            topic: &self.topic,
            payload: &self.payload,
            content_type: self.content_type.as_deref(),
            correlation: self.correlation.as_ref(),
            n,
        }
    }
}

/// What a QoS 1 message is, and so who hears of its PUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DurableKind {
    Down(DownToken),
    Row { stream: Stream, n: u64 },
    Response,
}

/// A QoS 0 message, shared by all its readers.
#[derive(Debug)]
pub(super) struct LiveMessage {
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

/// A topic of its own that a client can subscribe to; filters below `live/` are kept by the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnTopic {
    Down,
    Response,
    Stream(Stream),
}

impl Conn {
    pub(super) fn new(id: ConnId, claim: Claim, terms: Terms) -> Self {
        let state = State {
            closing: None,
            acks: VecDeque::new(),
            first_place: 0,
            durable: VecDeque::new(),
            live: VecDeque::new(),
            subscribed: Subscribed::default(),
            rows: [0; Stream::ALL.len()],
            heard: Instant::now(),
        };
        Self { id, claim, terms, takeovers: 0, wake: Notify::new(), state: Mutex::new(state) }
    }

    pub(super) fn holder(&self) -> Holder {
        Holder { conn: self.id, peer: self.claim.peer, fingerprint: self.claim.fingerprint }
    }

    /// Asks the connection's task to end it. The first reason wins.
    pub(super) fn close(&self, reason: Gone) {
        self.state().closing.get_or_insert(reason);
        self.wake.notify_one();
    }

    pub(super) fn closing(&self) -> Option<Gone> {
        self.state().closing
    }

    /// Waits until somebody left something here.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Notes a whole packet from the client.
    pub(super) fn hear(&self, now: Instant) {
        self.state().heard = now;
    }

    pub(super) fn heard(&self) -> Instant {
        self.state().heard
    }

    // ---- PUBACKs that the client waits for

    /// Books a PUBACK; `settle` with the returned place redeems it.
    pub(super) fn owe(&self, pkid: u16, receive_maximum: u16) -> Result<u64, Offence> {
        let mut state = self.state();
        if state.acks.iter().any(|owed| owed.pkid == pkid) {
            return Err(Offence::new(Rule::PacketIdInUse, "packet identifier is in use"));
        }
        if state.acks.len() >= usize::from(receive_maximum) {
            return Err(Offence::new(Rule::ReceiveMaximum, "more than receive maximum unacknowledged"));
        }
        state.acks.push_back(Owed { pkid, receipt: None });
        Ok(state.first_place + state.acks.len() as u64 - 1)
    }

    pub(super) fn settle(&self, place: u64, receipt: Receipt) {
        let mut state = self.state();
        let Some(index) = place.checked_sub(state.first_place) else { return };
        let Some(owed) = usize::try_from(index).ok().and_then(|index| state.acks.get_mut(index)) else { return };
        owed.receipt = Some(receipt);
        drop(state);
        if index == 0 {
            self.wake.notify_one();
        }
    }

    /// The next PUBACK in PUBLISH order, if it is due.
    pub(super) fn next_receipt(&self) -> Option<(u16, Receipt)> {
        let mut state = self.state();
        state.acks.front()?.receipt.as_ref()?;
        let owed = state.acks.pop_front()?;
        state.first_place += 1;
        owed.receipt.map(|receipt| (owed.pkid, receipt))
    }

    // ---- messages to the client

    /// Queues a QoS 1 message. Commands wait for the cabinet's SUBSCRIBE; rows and responses need theirs first.
    pub(super) fn queue(&self, message: Durable, bounds: QueueBounds) -> Result<(), SendError> {
        let mut state = self.state();
        if state.closing.is_some() {
            return Err(SendError::NotConnected);
        }
        match message.kind {
            DurableKind::Down(_) => {
                if state.durable.len() >= bounds.downs {
                    return Err(SendError::QueueFull);
                }
            }
            DurableKind::Response => {
                if !state.subscribed.response {
                    return Err(SendError::NotConnected);
                }
                let waiting = state.durable.iter().filter(|other| other.kind == DurableKind::Response).count();
                if waiting >= bounds.responses {
                    return Err(SendError::QueueFull);
                }
            }
            DurableKind::Row { stream, .. } => {
                if !state.subscribed.streams[stream as usize] {
                    return Err(SendError::NotConnected);
                }
                let rows = &mut state.rows[stream as usize];
                if *rows >= self.terms.window {
                    return Err(SendError::QueueFull);
                }
                *rows += 1;
            }
        }
        state.durable.push_back(message);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// The next QoS 1 message that may be sent.
    pub(super) fn next_durable(&self) -> Option<Durable> {
        let mut state = self.state();
        if matches!(state.durable.front()?.kind, DurableKind::Down(_)) && !state.subscribed.down {
            return None;
        }
        state.durable.pop_front()
    }

    /// Since when the oldest command waits here.
    pub(super) fn oldest_command(&self) -> Option<Instant> {
        let state = self.state();
        state.durable.iter().find(|message| matches!(message.kind, DurableKind::Down(_))).map(|message| message.queued)
    }

    /// A row left the window. False: its stream has been closed meanwhile.
    pub(super) fn row_done(&self, stream: Stream) -> bool {
        let mut state = self.state();
        let rows = &mut state.rows[stream as usize];
        *rows = rows.saturating_sub(1);
        state.subscribed.streams[stream as usize]
    }

    /// Queues a QoS 0 message. False: the reader is too slow and loses it.
    pub(super) fn queue_live(&self, message: Arc<LiveMessage>, max: usize) -> bool {
        let mut state = self.state();
        if state.closing.is_some() || state.live.len() >= max {
            return false;
        }
        state.live.push_back(message);
        drop(state);
        self.wake.notify_one();
        true
    }

    pub(super) fn next_live(&self) -> Option<Arc<LiveMessage>> {
        self.state().live.pop_front()
    }

    // ---- subscriptions

    /// A stream that is open keeps its form: rows of it are on their way.
    pub(super) fn may_open(&self, stream: Stream, content: ContentType) -> bool {
        let subscribed = self.state().subscribed;
        !subscribed.streams[stream as usize] || subscribed.rows_as[stream as usize] == content
    }

    /// Says whether this changed anything. `content`: of the rows, if it is a stream.
    pub(super) fn subscribe(&self, topic: OwnTopic, content: ContentType) -> bool {
        let mut state = self.state();
        if let OwnTopic::Stream(stream) = topic {
            state.subscribed.rows_as[stream as usize] = content;
        }
        !std::mem::replace(state.subscribed.flag(topic), true)
    }

    /// Says whether there was a subscription. Queued messages for it are dropped.
    pub(super) fn unsubscribe(&self, topic: OwnTopic) -> bool {
        let mut state = self.state();
        let had = std::mem::replace(state.subscribed.flag(topic), false);
        let before = state.durable.len();
        match topic {
            // Commands stay: the cabinet has to take them or be called unreachable.
            OwnTopic::Down => {}
            OwnTopic::Response => state.durable.retain(|message| message.kind != DurableKind::Response),
            OwnTopic::Stream(closed) => {
                state
                    .durable
                    .retain(|message| !matches!(message.kind, DurableKind::Row { stream, .. } if stream == closed));
                let dropped = u16::try_from(before - state.durable.len()).unwrap_or(u16::MAX);
                let rows = &mut state.rows[closed as usize];
                *rows = rows.saturating_sub(dropped);
            }
        }
        had
    }

    /// Ends the shared half: nothing is queued any more. Says which streams were open.
    pub(super) fn finish(&self, reason: Gone) -> impl Iterator<Item = Stream> + use<> {
        let mut state = self.state();
        state.closing.get_or_insert(reason);
        state.durable = VecDeque::new();
        state.live = VecDeque::new();
        let open = std::mem::take(&mut state.subscribed).streams;
        Stream::ALL.iter().copied().filter(move |stream| open[*stream as usize])
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// How much may wait for one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueBounds {
    pub(super) downs: usize,
    pub(super) responses: usize,
}

impl Subscribed {
    fn flag(&mut self, topic: OwnTopic) -> &mut bool {
        match topic {
            OwnTopic::Down => &mut self.down,
            OwnTopic::Response => &mut self.response,
            OwnTopic::Stream(stream) => &mut self.streams[stream as usize],
        }
    }
}
