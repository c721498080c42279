//! The life of one connection after its CONNACK: packets in, packets out, deadlines.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::ids::Identity;
use schemas::topics::Stream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::codec::encode::{self, EncodeError};
use super::codec::{self, Inbound, Phase};
use super::conn::{Conn, DurableKind};
use super::counters::Count;
use super::handle::live_publish;
use super::port::{GateInput, Gone};
use super::quota::Quota;
use super::rule::{Offence, Rule};
use super::shared::Shared;
use super::wire::{Turn, Wire};

/// Bytes in the outbox from which no more is read from, and no more made for, this client.
const OUTBOX_HIGH: usize = 32 * 1024;
/// Broken rules of one connection that are logged one by one; all of them are counted.
const LOGGED_REFUSALS: u32 = 20;

/// One connection's task.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) conn: Arc<Conn>,
    pub(super) quota: Arc<Quota>,
    /// Not yet taken by the driver; while there are any, nothing is read.
    inputs: VecDeque<GateInput>,
    outbox: Outbox,
    packet_max: usize,
    silence_max: Duration,
    held_until: Option<Instant>,
    refusals: u32,
}

/// The sending half of a session: what is in flight and which packet id is next.
struct Outbox {
    in_flight: VecDeque<InFlight>,
    next_pkid: u16,
}

/// A QoS 1 message that the client has not acknowledged yet.
struct InFlight {
    pkid: u16,
    kind: DurableKind,
    since: Instant,
}

/// Why a session's loop ends.
pub(super) enum End {
    Gone(Gone),
    Offence(Offence),
}

impl From<Offence> for End {
    fn from(offence: Offence) -> Self {
        Self::Offence(offence)
    }
}

impl From<EncodeError> for End {
    fn from(error: EncodeError) -> Self {
        tracing::error!(%error, "a packet of our own could not be written");
        Self::Gone(Gone::PeerClosed)
    }
}

impl Session {
    /// `first` goes to the driver before anything the client sends.
    pub(super) fn new(
        shared: Arc<Shared>,
        conn: Arc<Conn>,
        quota: Arc<Quota>,
        keep_alive: u16,
        first: impl IntoIterator<Item = GateInput>,
    ) -> Self {
        let packet_max = shared.packet_max(conn.claim.who.role);
        Self {
            shared,
            conn,
            quota,
            inputs: first.into_iter().collect(),
            outbox: Outbox { in_flight: VecDeque::new(), next_pkid: 1 },
            packet_max,
            silence_max: Duration::from_millis(u64::from(keep_alive) * 1_500),
            held_until: None,
            refusals: 0,
        }
    }

    /// Runs until the connection is over, and tells the driver.
    pub(super) async fn run(mut self, mut wire: Wire) {
        let gone = match self.serve(&mut wire).await {
            End::Gone(gone) => gone,
            End::Offence(offence) => {
                self.note_refusal(offence.rule, offence.detail);
                Gone::Misbehaved(offence.rule)
            }
        };
        self.shared.table.remove(&self.conn);
        let open_streams = self.conn.finish(gone);
        self.note_end(gone);
        for stream in open_streams {
            self.inputs.push_back(self.stream_closed(stream));
        }
        self.inputs.extend(self.cabinet_gone(gone));
        // Neither a peer that lingers nor a driver that is behind holds up the other.
        let farewell = say_farewell(gone, wire, self.shared.settings.close_linger);
        let news = tell_all(self.inputs, &self.shared.inputs);
        tokio::join!(farewell, news);
    }

    async fn serve(&mut self, wire: &mut Wire) -> End {
        let sleep = tokio::time::sleep_until(self.deadline(wire).into());
        tokio::pin!(sleep);
        loop {
            if let Err(end) = self.work(wire) {
                return end;
            }
            let deadline = self.deadline(wire).into();
            if sleep.is_elapsed() || deadline < sleep.deadline() {
                sleep.as_mut().reset(deadline);
            }
            let read = self.reads(wire);
            tokio::select! {
                // Deadlines first: a peer that always has something to say must not outrun them.
                biased;
                () = &mut sleep => {
                    if let Some(gone) = self.expired(wire) {
                        return End::Gone(gone);
                    }
                }
                turn = wire.turn(read) => match turn {
                    Ok(Turn::Received | Turn::Drained) => {}
                    Ok(Turn::Ended) | Err(_) => return End::Gone(Gone::PeerClosed),
                },
                permit = self.shared.inputs.reserve(), if !self.inputs.is_empty() => {
                    let Ok(permit) = permit else { return End::Gone(Gone::ShuttingDown) };
                    if let Some(input) = self.inputs.pop_front() {
                        permit.send(input);
                    }
                }
                () = self.conn.woken() => {}
            }
        }
    }

    /// Whether the client may be heard now: not while the driver, the client itself or its quota holds things up.
    fn reads(&self, wire: &Wire) -> bool {
        self.inputs.is_empty() && self.held_until.is_none() && wire.outbox.len() < OUTBOX_HIGH
    }

    /// Does everything that can be done without waiting.
    fn work(&mut self, wire: &mut Wire) -> Result<(), End> {
        let now = Instant::now();
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        while self.reads(wire) {
            let Some(packet) = codec::take(&mut wire.inbox, Phase::Open, self.packet_max)? else { break };
            self.conn.hear(now);
            self.hold_up(&packet, now);
            self.receive(packet, wire)?;
        }
        self.send(wire, now)
    }

    /// Books a packet on its sender's quota. A PUBACK is free: there are never more of them than our own messages.
    fn hold_up(&mut self, packet: &Inbound, now: Instant) {
        let lossy = match packet {
            Inbound::PubAck { .. } => return,
            Inbound::Publish(publish) => publish.pkid.is_none(),
            Inbound::Connect(_)
            | Inbound::Subscribe { .. }
            | Inbound::Unsubscribe { .. }
            | Inbound::Ping
            | Inbound::Disconnect => false,
        };
        // What may be lost is dropped instead, where it is received.
        if lossy {
            return;
        }
        let wait = self.quota.book(now);
        if !wait.is_zero() {
            self.shared.counters.add(Count::Throttled);
            self.held_until = Some(now + wait);
        }
    }

    fn receive(&mut self, packet: Inbound, wire: &mut Wire) -> Result<(), End> {
        match packet {
            Inbound::Publish(publish) => self.receive_publish(publish),
            Inbound::PubAck { pkid, taken } => self.receive_puback(pkid, taken),
            Inbound::Subscribe { pkid, wishes, rows_as } => self.receive_subscribe(pkid, wishes, rows_as, wire),
            Inbound::Unsubscribe { pkid, filters } => self.receive_unsubscribe(pkid, &filters, wire),
            Inbound::Ping => Ok(encode::pingresp(&mut wire.outbox)?),
            Inbound::Disconnect => Err(End::Gone(Gone::Left)),
            Inbound::Connect(_) => Err(Offence::new(Rule::UnexpectedPacket, "second CONNECT").into()),
        }
    }

    fn receive_puback(&mut self, pkid: u16, taken: bool) -> Result<(), End> {
        let Some(message) = self.outbox.acknowledged(pkid) else {
            return Err(Offence::new(Rule::UnawaitedPuback, "nothing in flight has this packet identifier").into());
        };
        match message.kind {
            DurableKind::Down(token) => {
                if let Some(cabinet) = self.conn.claim.who.as_cabinet() {
                    let tenant = self.conn.claim.who.tenant.clone();
                    self.tell(GateInput::CabinetAcked { conn: self.conn.id, tenant, cabinet, token, taken });
                }
            }
            DurableKind::Row { stream, n } => {
                let open = self.conn.row_done(stream);
                if !taken {
                    return Err(Offence::new(Rule::RowRefused, "a row was refused; it comes again").into());
                }
                if open {
                    let integration = Identity::clone(&self.conn.claim.who);
                    self.tell(GateInput::StreamAcked { conn: self.conn.id, integration, stream, n });
                }
            }
            DurableKind::Response => {}
        }
        Ok(())
    }

    /// Hands a fact to the driver, in order; if the driver is behind, this connection is not read until it has it.
    pub(super) fn tell(&mut self, input: GateInput) {
        if !self.inputs.is_empty() {
            self.inputs.push_back(input);
            return;
        }
        match self.shared.inputs.try_send(input) {
            Ok(()) => {}
            Err(TrySendError::Full(input) | TrySendError::Closed(input)) => self.inputs.push_back(input),
        }
    }

    /// Counts a broken rule and logs it, within reason.
    pub(super) fn note_refusal(&mut self, rule: Rule, detail: &str) {
        self.shared.counters.add_broken(rule);
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals <= LOGGED_REFUSALS {
            let claim = &self.conn.claim;
            tracing::warn!(who = %claim.who, peer = %claim.peer, conn = %self.conn.id, %rule, detail, "refused");
        }
    }

    // ---- sending

    fn send(&mut self, wire: &mut Wire, now: Instant) -> Result<(), End> {
        while let Some((pkid, receipt)) = self.conn.next_receipt() {
            let text = receipt.text.as_deref().filter(|_| self.conn.terms.problem_info);
            encode::puback(&mut wire.outbox, pkid, receipt.reason, text)?;
        }
        if let Some(gone) = self.conn.closing() {
            return Err(End::Gone(gone));
        }
        while wire.outbox.len() < OUTBOX_HIGH && self.outbox.in_flight.len() < usize::from(self.conn.terms.window) {
            let Some(message) = self.conn.next_durable() else { break };
            let pkid = self.outbox.book(message.kind, now);
            encode::publish(&mut wire.outbox, &message.publish(Some(pkid)))?;
        }
        while wire.outbox.len() < OUTBOX_HIGH {
            let Some(message) = self.conn.next_live() else { break };
            encode::publish(&mut wire.outbox, &live_publish(&message))?;
        }
        Ok(())
    }

    // ---- deadlines

    /// The next moment at which something expires, if nothing happens before.
    fn deadline(&self, wire: &Wire) -> Instant {
        let mut deadline = self.conn.heard() + self.silence_max;
        if let Some(since) = self.oldest_command() {
            deadline = deadline.min(since + self.shared.settings.downlink_timeout);
        }
        if let Some(since) = wire.stalled_since() {
            deadline = deadline.min(since + self.shared.settings.write_stall);
        }
        self.held_until.map_or(deadline, |until| deadline.min(until))
    }

    /// Since when the oldest command waits for its PUBACK, or for the cabinet's SUBSCRIBE. Behind a full window the
    /// clock of those in flight counts, so a long queue alone does not make a cabinet unreachable.
    fn oldest_command(&self) -> Option<Instant> {
        let in_flight = self.outbox.in_flight.iter().find(|message| matches!(message.kind, DurableKind::Down(_)));
        in_flight.map(|message| message.since).or_else(|| self.conn.oldest_command())
    }

    fn expired(&self, wire: &Wire) -> Option<Gone> {
        let now = Instant::now();
        let settings = &self.shared.settings;
        if wire.stalled_since().is_some_and(|since| since + settings.write_stall <= now) {
            return Some(Gone::WriteStalled);
        }
        if self.oldest_command().is_some_and(|since| since + settings.downlink_timeout <= now) {
            return Some(Gone::Unreachable);
        }
        if self.conn.heard() + self.silence_max > now {
            return None;
        }
        if self.reads(wire) {
            return Some(Gone::KeepaliveExpired);
        }
        // We did not listen: the client is not to blame.
        self.conn.hear(now);
        None
    }

    // ---- the end

    fn note_end(&self, gone: Gone) {
        let count = match gone {
            Gone::KeepaliveExpired => Count::KeepaliveExpired,
            Gone::Unreachable => Count::Unreachable,
            Gone::TakenOver => Count::TakenOver,
            Gone::NotStored => Count::NotStored,
            Gone::WriteStalled => Count::WriteStalled,
            Gone::Left | Gone::PeerClosed | Gone::Misbehaved(_) | Gone::Closed(_) | Gone::ShuttingDown => return,
        };
        self.shared.counters.add(count);
        tracing::info!(who = %self.conn.claim.who, conn = %self.conn.id, reason = count.name(), "connection closed");
    }

    pub(super) fn stream_closed(&self, stream: Stream) -> GateInput {
        let integration = Identity::clone(&self.conn.claim.who);
        GateInput::StreamClosed { conn: self.conn.id, integration, stream }
    }

    fn cabinet_gone(&self, reason: Gone) -> Option<GateInput> {
        let who = &self.conn.claim.who;
        let cabinet = who.as_cabinet()?;
        Some(GateInput::CabinetGone { conn: self.conn.id, tenant: who.tenant.clone(), cabinet, reason })
    }
}

async fn say_farewell(gone: Gone, mut wire: Wire, linger: Duration) {
    let Some((code, text)) = gone.farewell() else { return };
    if encode::disconnect(&mut wire.outbox, code, text).is_ok() {
        wire.finish(linger).await;
    }
}

/// Ends early when the driver is gone: then nobody wants to know.
async fn tell_all(inputs: VecDeque<GateInput>, driver: &mpsc::Sender<GateInput>) {
    for input in inputs {
        if driver.send(input).await.is_err() {
            return;
        }
    }
}

impl Outbox {
    /// Books a message as in flight and gives it a packet id that no other has.
    fn book(&mut self, kind: DurableKind, since: Instant) -> u16 {
        while self.in_flight.iter().any(|message| message.pkid == self.next_pkid) {
            self.step();
        }
        let pkid = self.next_pkid;
        self.step();
        self.in_flight.push_back(InFlight { pkid, kind, since });
        pkid
    }

    fn step(&mut self) {
        self.next_pkid = self.next_pkid.checked_add(1).unwrap_or(1);
    }

    fn acknowledged(&mut self, pkid: u16) -> Option<InFlight> {
        let index = self.in_flight.iter().position(|message| message.pkid == pkid)?;
        self.in_flight.remove(index)
    }
}
