//! The driver: takes what the gate, the signer and the clock say, lets the core decide, commits, then acts.
//!
//! It is a thread of its own, because a commit blocks. Whatever has queued up meanwhile goes into one transaction
//! (group commit); acknowledgements and effects of a batch follow its commit. If a commit fails, the batch and the core
//! are thrown away, every connection is cut, and both are built again from the store.

mod backups;
mod batch;
mod clock;
mod messages;
mod streams;
mod tickets;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_core::enrolment::Issue;
use fleet_core::signing::{Reveal, SignerReply};
use fleet_core::{
    CertificateSeen, Config, Dispatch, Effect, FleetCore, Input, Moment, OpenError, Outcome, ROWS_PAGE, STREAM,
    UNLOCKS, UNLOCKS_PAGE, status_page, stream_key, unlock_key, unlock_page,
};
use fleet_store::{Reserved, Snapshots};
use schemas::api::{CertificateId, ContentType, MessageTested, Reply, ReplyError, RequestErrorCode, Rfc3339, as_json};
use schemas::ids::{CabinetId, Identity, Name, TenantId};
use schemas::messages::FleetMillis;
use schemas::step::{Store, StoreError};
use schemas::topics::Stream;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::admission::{Registry, millis, moment};
use crate::bus::{Bus, LivePacket};
use crate::enrolment::EnrolmentAsk;
use crate::gate::{Ack, AckRefusal, CloseReason, ConnId, DownToken, GateHandle, GateInput, Gone};
use crate::notifier::{Heard, Notifier, Sent};
use crate::signer::{SignerAnswer, SignerClient};
use crate::supervisor::Pulse;

pub use backups::Backups;
use batch::Batch;
pub use clock::Clock;
use messages::{Messages, Revealed};
use streams::Streams;
use tickets::{Asker, Purpose, Tickets};

/// Inputs that share one commit, at most.
const BATCH_MAX: usize = 512;
/// Two connections of one certificate that both speak within this are two places.
const HEARD_JUST_NOW: Duration = Duration::from_secs(5);

/// What the driver speaks to.
#[derive(Clone)]
pub struct Surroundings {
    pub gate: GateHandle,
    pub bus: Arc<dyn Bus>,
    pub registry: Arc<Registry>,
    pub signer: SignerClient,
    pub backups: Backups,
    pub notifier: Notifier,
    pub clock: Clock,
}

impl Surroundings {
    /// Nobody gets in with a certificate of `identity` that was issued up to `until`, and whoever is in is cut.
    fn shut_out(&self, identity: &Identity, until: FleetMillis) {
        self.registry.revoke(identity.clone(), until);
        let cut = self.gate.close_revoked(identity, moment(until));
        if cut > 0 {
            info!(%identity, cut, "sessions with a revoked certificate are cut");
        }
    }
}

/// What the driver takes its work from. Outlives it.
pub struct Sources {
    pub gate: mpsc::Receiver<GateInput>,
    pub signer: mpsc::UnboundedReceiver<SignerAnswer>,
    pub enrolment: mpsc::Receiver<EnrolmentAsk>,
    /// What became of messages to people.
    pub heard: mpsc::UnboundedReceiver<Heard>,
    /// Given from here: a driver that hangs is what a watchdog is for.
    pub(crate) pulse: Pulse,
}

/// Why the driver stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("open the fleet's state")]
    Open(#[from] OpenError),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("no random numbers from the operating system")]
    Random,
}

/// Core, store and surroundings while all goes well. Ends with an error when a commit failed.
pub struct Driver<S> {
    core: FleetCore,
    store: S,
    out: Surroundings,
    cabinets: HashMap<(TenantId, CabinetId), ConnId>,
    tickets: Tickets,
    streams: Streams,
    messages: Messages,
    /// Rows were added by what is being acted on.
    pump_due: bool,
    next_token: u64,
    disk_low: bool,
    /// Why the signer did not do what it was asked last.
    signer_failed: Option<String>,
}

impl<S: Store + Snapshots + Reserved> Driver<S> {
    pub fn open(config: Config, store: S, out: Surroundings) -> Result<Self, DriverError> {
        let core = FleetCore::open(config, &store)?;
        for (tenant, cabinet, site) in core.cabinets() {
            out.registry.register(tenant.clone(), cabinet.clone(), site.clone());
        }
        for (identity, scope) in core.scopes() {
            out.registry.scope(identity.clone(), scope);
        }
        for (identity, until) in core.revocations() {
            out.shut_out(identity, until);
        }
        Ok(Self {
            core,
            store,
            out,
            cabinets: HashMap::new(),
            tickets: Tickets::default(),
            streams: Streams::default(),
            messages: Messages::default(),
            pump_due: false,
            next_token: 0,
            disk_low: false,
            signer_failed: None,
        })
    }

    /// Works until `stop`, and then on what has come in before it (`Ok`), or until the store fails.
    pub async fn run(&mut self, sources: &mut Sources, stop: impl Future<Output = ()>) -> Result<(), DriverError> {
        let mut stop = std::pin::pin!(stop);
        let Sources { gate, signer, enrolment, heard, pulse } = sources;
        // What was under way with the signer when the last run ended is asked again by the core.
        self.work(vec![Work::Tick])?;
        loop {
            pulse.beat();
            let mut batch = Vec::new();
            let due = self.until_due();
            tokio::select! {
                biased;
                Some(input) = gate.recv() => batch.push(Work::Gate(Box::new(input))),
                Some(answer) = signer.recv() => batch.push(Work::Signer(answer)),
                Some(ask) = enrolment.recv() => batch.push(Work::Enrolment(ask)),
                Some(news) = heard.recv() => batch.push(Work::Heard(news)),
                () = rested(due) => batch.push(Work::Tick),
                () = rested(self.streams.wakes_at()) => {
                    self.pump_streams()?;
                    continue;
                }
                () = rested(pulse.due()) => continue,
                () = &mut stop => return Ok(()),
            }
            while batch.len() < BATCH_MAX {
                if let Ok(answer) = signer.try_recv() {
                    batch.push(Work::Signer(answer));
                } else if let Ok(input) = gate.try_recv() {
                    batch.push(Work::Gate(Box::new(input)));
                } else if let Ok(ask) = enrolment.try_recv() {
                    batch.push(Work::Enrolment(ask));
                } else if let Ok(news) = heard.try_recv() {
                    batch.push(Work::Heard(news));
                } else {
                    break;
                }
            }
            // Under a steady load the branches above that wait for a time are never taken.
            if self.core.poll_timeout().is_some_and(|at| at <= self.out.clock.now()) {
                batch.push(Work::Tick);
            }
            // What the batch brings is decided first: a stream that opened in it would be lost with a store that fails now.
            self.pump_due |= self.streams.wakes_at().is_some_and(|at| at <= Instant::now());
            self.work(batch)?;
        }
    }

    /// When the core is to be asked again. The clock may be set meanwhile: at least once a minute.
    fn until_due(&self) -> Option<Instant> {
        let wait = self.core.poll_timeout()?.saturating_sub(self.out.clock.now()).min(60_000);
        Some(Instant::now() + Duration::from_millis(wait))
    }

    /// Decides on all of `work`, commits once, then acts and acknowledges in order.
    fn work(&mut self, work: Vec<Work>) -> Result<(), DriverError> {
        let mut batch = Batch::default();
        for item in work {
            match item {
                Work::Tick => self.decide(Input::Tick, None, &mut batch)?,
                Work::Heard(Heard::Sent(sent)) => self.take_outcome(sent, &mut batch)?,
                Work::Heard(Heard::Receipt { tenant, id, reference, receipt }) => {
                    self.decide(Input::Receipt { tenant, id, reference, receipt }, None, &mut batch)?;
                }
                Work::Signer(answer) => self.take_answer(answer, &mut batch)?,
                Work::Enrolment(ask) => {
                    let EnrolmentAsk { tenant, cabinet, right, key, reply } = ask;
                    let issue = Issue { ticket: self.tickets.enrolling(reply), key };
                    self.decide(Input::Enrol { tenant, cabinet, right, issue }, None, &mut batch)?;
                }
                Work::Gate(input) => self.take_input(*input, &mut batch)?,
            }
        }
        self.store.commit(&batch.writes)?;
        let low = self.store.is_low();
        if std::mem::replace(&mut self.disk_low, low) != low {
            let state = if low { "is full, the store lives on its reserve" } else { "has room again" };
            warn!("alarm: the disk {state}");
        }
        for decided in batch.decided {
            self.act(decided)?;
        }
        let due = std::mem::take(&mut self.pump_due);
        if batch.pump || due { self.pump_streams() } else { Ok(()) }
    }

    fn decide(&mut self, input: Input, owed: Option<Ack>, batch: &mut Batch) -> Result<(), DriverError> {
        self.decide_from(None, input, owed, batch)
    }

    fn decide_from(
        &mut self,
        conn: Option<ConnId>,
        input: Input,
        owed: Option<Ack>,
        batch: &mut Batch,
    ) -> Result<(), DriverError> {
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy).map_err(|_| DriverError::Random)?;
        let step = self.core.handle(input, &Moment { now: self.out.clock.now(), entropy });
        batch.add(step, conn, owed);
        Ok(())
    }

    fn take_answer(&mut self, answer: SignerAnswer, batch: &mut Batch) -> Result<(), DriverError> {
        self.signer_failed = match &answer.reply {
            SignerReply::Failed(failed) => Some(failed.reason.clone()),
            SignerReply::Envelope(_)
            | SignerReply::Secrets(_)
            | SignerReply::Sealed(_)
            | SignerReply::Revealed(_)
            | SignerReply::PhoneOpened(_)
            | SignerReply::AnswerKept(_)
            | SignerReply::Certificate(_) => None,
        };
        match self.tickets.answered(answer.ticket) {
            Some(Purpose::Core(ticket)) => self.decide(Input::Signer { ticket, reply: answer.reply }, None, batch),
            Some(Purpose::Secret { asker, of }) => {
                let reply = match answer.reply {
                    SignerReply::Revealed(revealed) => of.reply(revealed.text.clone()),
                    SignerReply::Envelope(_)
                    | SignerReply::Secrets(_)
                    | SignerReply::Sealed(_)
                    | SignerReply::Certificate(_)
                    | SignerReply::PhoneOpened(_)
                    | SignerReply::AnswerKept(_)
                    | SignerReply::Failed(_) => {
                        unavailable("the signer did not show the secret", "ask again once the signer works")
                    }
                };
                self.respond(&asker, &reply);
                Ok(())
            }
            Some(Purpose::Message { key, index }) => match self.messages.revealed(key, index, &answer.reply) {
                Revealed::Ready(dispatch, codes) => {
                    self.out.notifier.send(*dispatch, codes);
                    Ok(())
                }
                Revealed::Lost(dispatch) => {
                    let Dispatch { tenant, id, attempt, .. } = *dispatch;
                    self.take_outcome(Sent { tenant, id, attempt, outcome: Outcome::NotRevealed }, batch)
                }
                Revealed::Waiting => Ok(()),
            },
            Some(Purpose::Row) => {
                self.streams.revealed(answer.ticket, answer.reply);
                batch.pump = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take_outcome(&mut self, sent: Sent, batch: &mut Batch) -> Result<(), DriverError> {
        let Sent { tenant, id, attempt, outcome } = sent;
        self.decide(Input::Notified { tenant, id, attempt, outcome }, None, batch)
    }

    fn take_input(&mut self, input: GateInput, batch: &mut Batch) -> Result<(), DriverError> {
        match input {
            GateInput::Admitted { peer, .. } => {
                let certificate = CertificateSeen {
                    id: CertificateId(peer.fingerprint.0),
                    issued: millis(peer.issued),
                    expires: millis(peer.expires),
                };
                self.decide(Input::Admitted { who: peer.identity, certificate }, None, batch)
            }
            GateInput::CabinetConnected { conn, tenant, cabinet, peer, .. } => {
                // Two came at once, and the one that was taken over is told last.
                if self.cabinets.get(&(tenant.clone(), cabinet.clone())).is_some_and(|newer| *newer > conn) {
                    return Ok(());
                }
                info!(%tenant, %cabinet, %peer, "cabinet connected");
                self.cabinets.insert((tenant.clone(), cabinet.clone()), conn);
                self.decide(Input::CabinetConnected { tenant, cabinet }, None, batch)
            }
            GateInput::CabinetGone { conn, tenant, cabinet, reason } => {
                info!(%tenant, %cabinet, ?reason, "cabinet gone");
                if !self.is_current(&tenant, &cabinet, conn) {
                    return Ok(());
                }
                self.cabinets.remove(&(tenant.clone(), cabinet.clone()));
                let reason = spoken(reason);
                self.decide(Input::CabinetGone { tenant, cabinet, reason }, None, batch)
            }
            GateInput::CabinetUp { conn, tenant, cabinet, up, payload, ack } => {
                // The end of a connection that was taken over: the new one sends again what is not acknowledged.
                if !self.is_current(&tenant, &cabinet, conn) {
                    return Ok(());
                }
                let input = Input::CabinetUp { tenant, cabinet, up, payload: payload.to_vec() };
                self.decide_from(Some(conn), input, ack, batch)
            }
            GateInput::CabinetAcked { tenant, cabinet, taken, .. } => {
                if !taken {
                    warn!(%tenant, %cabinet, "cabinet refused a packet");
                }
                Ok(())
            }
            GateInput::DuplicateIdentity { tenant, cabinet, old, new, old_silent_for, in_a_row } => {
                // A cabinet that lost its network comes back like this too: its old connection was silent for a while.
                if old_silent_for < HEARD_JUST_NOW || in_a_row > 1 {
                    warn!(%tenant, %cabinet, old = %old.peer, new = %new.peer, in_a_row, "one certificate in two places");
                } else {
                    info!(%tenant, %cabinet, "cabinet came back before its old connection was given up");
                }
                Ok(())
            }
            GateInput::OrderPut { integration, payload, content_type, ack, .. } => {
                let Some((payload, ack)) = document(content_type.as_deref(), &payload, ack) else { return Ok(()) };
                let Identity { tenant, name, .. } = integration;
                self.decide(Input::OrderPut { tenant, integration: name, payload }, Some(ack), batch)
            }
            GateInput::OrderCancel { integration, payload, content_type, ack, .. } => {
                let Some((payload, ack)) = document(content_type.as_deref(), &payload, ack) else { return Ok(()) };
                let Identity { tenant, name, .. } = integration;
                self.decide(Input::OrderCancel { tenant, integration: name, payload }, Some(ack), batch)
            }
            GateInput::OrderChange { integration, change, payload, content_type, ack, .. } => {
                let Some((payload, ack)) = document(content_type.as_deref(), &payload, ack) else { return Ok(()) };
                let Identity { tenant, name, .. } = integration;
                self.decide(Input::OrderChange { tenant, integration: name, change, payload }, Some(ack), batch)
            }
            GateInput::Request { conn, who, payload, content_type, correlation, ack, .. } => {
                debug!(%who, "request");
                let Some((payload, ack)) = document(content_type.as_deref(), &payload, ack) else { return Ok(()) };
                // Known, or its payload had been refused.
                let content = ContentType::named(content_type.as_deref()).unwrap_or_default();
                let ticket = self.tickets.asked(Asker { conn, correlation, content });
                self.decide(Input::Request { ticket, who, payload }, Some(ack), batch)
            }
            GateInput::StreamOpened { conn, integration, stream, window, content } => {
                let (cursor, newest) = self.core.heads(&integration.tenant, &integration.name, stream);
                self.streams.opened(conn, integration, stream, (window, content), cursor, newest);
                batch.pump = true;
                Ok(())
            }
            GateInput::StreamAcked { conn, integration, stream, n } => {
                batch.pump = true;
                let Some(n) = self.streams.acked(conn, &integration, stream, n) else { return Ok(()) };
                let Identity { tenant, name, .. } = integration;
                self.decide(Input::RowAcked { tenant, integration: name, stream, n }, None, batch)
            }
            GateInput::StreamClosed { conn, integration, stream } => {
                self.streams.closed(conn, &integration, stream);
                Ok(())
            }
        }
    }

    fn is_current(&self, tenant: &TenantId, cabinet: &CabinetId, conn: ConnId) -> bool {
        self.cabinets.get(&(tenant.clone(), cabinet.clone())) == Some(&conn)
    }
}

/// Something to decide on.
enum Work {
    Tick,
    Gate(Box<GateInput>),
    Signer(SignerAnswer),
    Heard(Heard),
    Enrolment(EnrolmentAsk),
}

/// Acting after the commit.
impl<S: Store + Snapshots + Reserved> Driver<S> {
    fn act(&mut self, decided: batch::Decided) -> Result<(), DriverError> {
        let mut refused = None;
        for effect in decided.effects {
            if let Some(reason) = self.carry_out(effect, decided.conn)? {
                refused = Some(reason);
            }
        }
        match (decided.owed, refused) {
            (Some(ack), Some(reason)) => {
                info!(reason, "message refused");
                ack.refuse(AckRefusal::PayloadInvalid, &reason);
            }
            (Some(ack), None) => ack.done(),
            (None, Some(reason)) => info!(reason, "message refused"),
            (None, None) => {}
        }
        Ok(())
    }

    /// Returns the reason when the effect is a refusal of the input itself.
    fn carry_out(&mut self, effect: Effect, from: Option<ConnId>) -> Result<Option<String>, DriverError> {
        match effect {
            Effect::Down { tenant, cabinet, payload } => {
                self.next_token += 1;
                let sent = self.out.gate.down(&tenant, &cabinet, payload.into(), DownToken(self.next_token));
                if let Err(error) = sent {
                    debug!(%tenant, %cabinet, %error, "downlink not sent; the next hello tells what is missing");
                }
            }
            Effect::CloseCabinet { tenant, cabinet, reason } => {
                warn!(%tenant, %cabinet, reason, "close cabinet");
                if let Some(conn) = from.or_else(|| self.cabinets.get(&(tenant, cabinet)).copied()) {
                    self.out.gate.close_conn(conn, CloseReason::Resynchronise);
                }
            }
            Effect::Signer { ticket, request } => {
                let asked = self.out.signer.ask(request);
                self.tickets.expect(asked, Purpose::Core(ticket));
            }
            Effect::RowsGrew { tenant, integration, stream, newest } => {
                self.streams.grew(&tenant, &integration, stream, newest);
                self.pump_due = true;
            }
            Effect::Reply { ticket, reply } => {
                if let Some(asker) = self.tickets.replied(ticket) {
                    self.respond(&asker, &reply);
                }
            }
            Effect::ReplySecret { ticket, tenant, of, sealed } => {
                if let Some(asker) = self.tickets.replied(ticket) {
                    let asked = self.out.signer.ask(Reveal { tenant, sealed }.into());
                    self.tickets.expect(asked, Purpose::Secret { asker, of });
                }
            }
            Effect::ReplyRows { ticket, tenant, integration, after } => {
                if let Some(asker) = self.tickets.replied(ticket) {
                    let reply = self.rows(&tenant, &integration, after)?;
                    self.respond(&asker, &reply);
                }
            }
            Effect::ReplyUnlocks { ticket, tenant, cabinet, before } => {
                if let Some(asker) = self.tickets.replied(ticket) {
                    let reply = self.unlocks(&tenant, &cabinet, before)?;
                    self.respond(&asker, &reply);
                }
            }
            Effect::ReplyStatus { ticket, mut status } => {
                if let Some(asker) = self.tickets.replied(ticket) {
                    status.disk_low = self.disk_low;
                    status.signer_failed = self.out.signer.trouble().or_else(|| self.signer_failed.clone());
                    status.backup = self.out.backups.newest().map(Rfc3339);
                    self.respond(&asker, &Reply::Status(status));
                }
            }
            Effect::Backup { ticket } => {
                if let Some(asker) = self.tickets.replied(ticket) {
                    let gate = self.out.gate.clone();
                    let snapshot = self.store.snapshot()?;
                    self.out.backups.start(snapshot, self.out.clock.now(), move |reply| respond(&gate, &asker, &reply));
                }
            }
            Effect::Notify(dispatch) => self.messages.begin(*dispatch, &self.out.signer, &mut self.tickets),
            Effect::AskReceipt(ask) => self.out.notifier.ask_receipt(*ask),
            Effect::ReplyTested { ticket, dispatch } => {
                if let Some(asker) = self.tickets.replied(ticket) {
                    let gate = self.out.gate.clone();
                    let done = move |dispatch: &Dispatch, outcome| respond(&gate, &asker, &tested(dispatch, outcome));
                    self.out.notifier.test(*dispatch, done);
                }
            }
            Effect::Live { tenant, cabinet, live, payload } => {
                let packet = LivePacket { tenant, cabinet, live, payload: Bytes::from(payload) };
                if let Err(error) = self.out.bus.publish(packet) {
                    debug!(%error, "live packet dropped");
                }
            }
            Effect::Issued { ticket, certificate } => self.tickets.enrolled(ticket, Ok(certificate)),
            Effect::NotIssued { ticket, refusal } => self.tickets.enrolled(ticket, Err(refusal)),
            Effect::Registered { tenant, cabinet, site } => self.out.registry.register(tenant, cabinet, site),
            Effect::Scoped { identity, scope } => self.out.registry.scope(identity, scope),
            Effect::Revoked { identity, until } => self.out.shut_out(&identity, until),
            Effect::Alarm { text } => warn!(text, "alarm"),
            Effect::Refuse { reason } => return Ok(Some(reason)),
        }
        Ok(None)
    }

    fn rows(&self, tenant: &TenantId, integration: &Name, after: u64) -> Result<Reply, DriverError> {
        let from = stream_key(tenant, integration, Stream::Status, after.saturating_add(1));
        let prefix = from[..from.len() - 8].to_vec();
        let mut rows = self.store.scan(STREAM, &from, ROWS_PAGE)?;
        rows.retain(|(key, _)| key.starts_with(&prefix));
        let (_, newest) = self.core.heads(tenant, integration, Stream::Status);
        Ok(status_page(&rows, newest).unwrap_or_else(|error| {
            error!(%tenant, %integration, %error, "status rows cannot be read");
            unavailable("the rows cannot be read", "restore the fleet's store from a backup")
        }))
    }

    fn unlocks(&self, tenant: &TenantId, cabinet: &CabinetId, before: Option<u64>) -> Result<Reply, DriverError> {
        let from = unlock_key(tenant, cabinet, before);
        let prefix = &from[..from.len() - 8];
        let mut rows = self.store.scan(UNLOCKS, &from, UNLOCKS_PAGE + 1)?;
        rows.retain(|(key, _)| key.starts_with(prefix));
        Ok(unlock_page(&rows).unwrap_or_else(|error| {
            error!(%tenant, %cabinet, %error, "records of unlocks cannot be read");
            unavailable("the records cannot be read", "restore the fleet's store from a backup")
        }))
    }

    fn respond(&self, asker: &Asker, reply: &Reply) {
        respond(&self.out.gate, asker, reply);
    }

    fn pump_streams(&mut self) -> Result<(), DriverError> {
        self.streams.pump(&self.store, &self.out.gate, &self.out.signer, &mut self.tickets)
    }

    /// Cuts every cabinet and integration that this core knew, and everyone who waits for its reply, for a core that
    /// starts again from the store.
    pub fn cut_all(&self) {
        let streams = self.streams.connections().chain(self.tickets.waiting());
        for conn in self.cabinets.values().copied().chain(streams) {
            self.out.gate.close_conn(conn, CloseReason::Resynchronise);
        }
    }

    /// The surroundings, for the next driver.
    pub fn into_surroundings(self) -> Surroundings {
        self.out
    }
}

fn respond(gate: &GateHandle, asker: &Asker, reply: &Reply) {
    let json = serde_json::to_vec(reply).unwrap_or_else(|error| unreachable!("replies always encode: {error}"));
    let payload = asker.content.render(json);
    if let Err(error) = gate.respond(asker.conn, payload.into(), asker.correlation.clone(), asker.content.as_str()) {
        info!(conn = %asker.conn, %error, "a reply did not find its asker");
    }
}

/// What somebody has published, as JSON; refused at once if it cannot be that.
fn document(content_type: Option<&str>, payload: &[u8], ack: Ack) -> Option<(Vec<u8>, Ack)> {
    match as_json(content_type, payload) {
        Ok(json) => Some((json.into_owned(), ack)),
        Err(error) => {
            ack.refuse(AckRefusal::PayloadInvalid, &error.to_string());
            None
        }
    }
}

fn tested(dispatch: &Dispatch, outcome: Outcome) -> Reply {
    let (accepted, detail, reference) = match outcome {
        Outcome::Accepted { reference } => (true, None, reference),
        Outcome::Refused { detail } | Outcome::Failed { detail } | Outcome::Unknown { detail } => {
            (false, Some(detail), None)
        }
        Outcome::NotRevealed => (false, None, None),
    };
    Reply::Tested(MessageTested { channel: dispatch.channel.name.clone(), accepted, detail, reference })
}

fn unavailable(message: &str, hint: &str) -> Reply {
    Reply::Error(ReplyError {
        code: RequestErrorCode::Unavailable,
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    })
}

/// How the end of a connection reads in `fleet watch`.
fn spoken(reason: Gone) -> String {
    match reason {
        Gone::Left => "said goodbye".into(),
        Gone::PeerClosed => "connection lost".into(),
        Gone::KeepaliveExpired => "silent".into(),
        Gone::Unreachable => "does not answer".into(),
        Gone::TakenOver => "connected again".into(),
        Gone::NotStored => "store failed".into(),
        Gone::Misbehaved(rule) => format!("broke the rule {rule:?}"),
        Gone::Closed(reason) => format!("closed: {reason:?}"),
        Gone::ShuttingDown => "the broker is stopping".into(),
        Gone::WriteStalled => "takes no data".into(),
    }
}

pub(crate) async fn rested(until: Option<Instant>) {
    match until {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
