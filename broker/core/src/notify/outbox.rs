//! The outbox: what is to be sent next by which channel, and what follows from each outcome.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::{
    Channel, Language, MessageDetail, MessagePage, MessageState, Needs, NotificationKind, ReplyError, RequestErrorCode,
    Rfc3339, UndeliveredReason,
};
use schemas::cbor::Blob;
use schemas::ids::{Name, TenantId};
use schemas::messages::{Compartment, FleetMillis, OrderKey};
use schemas::phone::Phone;

use super::dispatch::{Dispatch, Outcome, Receipt, ReceiptAsk};
use super::instructions::instruction;
use super::row::{Content, MessageRef, MessageRow};
use super::settings::{Channels, Templates, Written};
use super::template::Fields;
use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::quotas::{Bucket, MINUTE};
use crate::requests::error;
use crate::rows::{DoorRow, NotificationRow, RecipientRow};
use crate::tables::{MESSAGES, OrderRef};
use crate::turn::Turn;

/// Messages of a tenant that wait to be sent, at most.
const WAITING_MAX: usize = 20_000;
/// Messages that begin to be sent in one step, at most.
const AT_ONCE: usize = 64;
/// Messages of one lane that are looked at for that in one step, at most.
const LOOKED_AT: usize = 32;
/// Messages that one channel is sending at the same time, at most.
const SENDING_MAX: usize = 8;
/// Tries by one channel of which nobody knows what became: each may be one more message to somebody.
const ATTEMPTS_MAX: u32 = 12;
/// Tries when the last one was certainly not taken: a day.
const CERTAIN_MAX: u32 = 56;
const RETRY_FIRST: FleetMillis = 5_000;
const RETRY_MAX: FleetMillis = 30 * 60 * 1_000;
/// Until the signer is asked again for a code that it did not show.
const LOOK_AGAIN: FleetMillis = 60_000;
/// A code that the signer has not shown for so long will not be shown.
const REVEAL_LONGEST: FleetMillis = 24 * 60 * 60 * 1_000;
/// While a channel is busy.
const BUSY: FleetMillis = 1_000;
/// The shell always answers before: an answer that is lost is an unknown outcome.
const SENDING_LONGEST: FleetMillis = 10 * 60 * 1_000;
/// How long a message is listed that was accepted, and one that will not be sent.
const ACCEPTED_KEPT: FleetMillis = 24 * 60 * 60 * 1_000;
const UNDELIVERED_KEPT: FleetMillis = 14 * 24 * 60 * 60 * 1_000;
/// Messages of a tenant that are listed and will not be sent any more, at most; the oldest are forgotten.
const KEPT_MAX: usize = 20_000;
/// When a gateway is first asked whether a message was delivered; each time it is twice as long until the next.
const RECEIPT_FIRST: FleetMillis = 10_000;
const RECEIPT_MAX: FleetMillis = 30 * 60 * 1_000;
/// For how long it is asked.
const RECEIPT_LONGEST: FleetMillis = 4 * 60 * 60 * 1_000;
/// How often one channel is asked in a minute.
const RECEIPTS_PER_MINUTE: u32 = 30;
/// How many questions to one channel begin in one step: the notifier asks no more at the same time.
const RECEIPTS_AT_ONCE: usize = 4;
/// Messages of a tenant whose address is kept because a gateway is asked about them, at most.
const RECEIPTS_WAITING: usize = 2_000;
const PAGE: usize = 50;
const REFERENCE_MAX: usize = 128;

/// The order, or with true the bundle, and the id of a message.
type ByOrder = (OrderRef, bool, String);

/// What waits for the same.
type Lane = (TenantId, Waits);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Waits {
    /// To be sent by this channel; with none, to be given up.
    ToBeSent(Option<Name>),
    /// Accepted by this channel, which is asked whether it was delivered.
    ForReceipt(Name),
    /// Only listed, until it is forgotten.
    Kept,
}

/// Whether a message is still to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    Sending,
    Nothing,
}

#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) channels: Channels,
    pub(crate) templates: Templates,
    rows: BTreeMap<MessageRef, MessageRow>,
    /// Each message once, by its `next`. In lanes, so that a gateway that is slow holds up no other one.
    due: BTreeMap<Lane, BTreeSet<(FleetMillis, MessageRef)>>,
    /// Messages that wait, are being sent, are asked about or were given up, by order.
    by_order: BTreeSet<ByOrder>,
    waiting: BTreeMap<TenantId, usize>,
    sending: BTreeMap<(TenantId, Name), usize>,
    /// Of this run only.
    rates: BTreeMap<Lane, Bucket>,
    /// Lanes that have enough to do: not looked at before this moment.
    rests: BTreeMap<Lane, FleetMillis>,
}

impl Outbox {
    /// What was being sent when the last run ended may have been sent.
    pub(crate) fn restore(&mut self, tenant: TenantId, mut row: MessageRow) {
        if row.state == MessageState::Sending {
            row.state = MessageState::Queued;
            row.next = 0;
        }
        let at = MessageRef { tenant, id: row.id.clone() };
        self.insert(at, row);
    }

    pub(crate) fn first_due(&self) -> Option<FleetMillis> {
        self.lanes().map(|(at, _)| at).min()
    }

    /// When something of each lane is to be looked at.
    fn lanes(&self) -> impl Iterator<Item = (FleetMillis, &Lane)> {
        self.due.iter().filter_map(|(lane, due)| {
            let rests = self.rests.get(lane).copied().unwrap_or(0);
            Some((due.first()?.0.max(rests), lane))
        })
    }

    /// The store is an earlier one: what waited in it may have been sent since, and its code replaced.
    pub(crate) fn put_back(&mut self, turn: &mut Turn<'_>) {
        let held: Vec<_> =
            self.rows.iter().filter(|(_, row)| row.content.is_some()).map(|(at, _)| at.clone()).collect();
        let mut given_up: BTreeMap<TenantId, usize> = BTreeMap::new();
        for at in held {
            if self.rows.get(&at).is_some_and(MessageRow::is_open) {
                self.end(turn, &at, UndeliveredReason::Restored);
                *given_up.entry(at.tenant).or_default() += 1;
            } else {
                self.settle(turn, &at, MessageState::Accepted);
            }
        }
        for (tenant, count) in given_up {
            turn.alarm(format!(
                "{count} messages of {tenant} are not sent, because the fleet's store was restored: `fleet notify list --undelivered`"
            ));
        }
        self.watch(turn);
    }

    /// Another server would be asked under names that the former one gave: what that took stays as it is.
    pub(crate) fn put_channel(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        channel: Channel,
    ) -> Result<(), ReplyError> {
        let name = channel.name.clone();
        let same = self.channels.find(tenant, &name).is_ok_and(|former| former.via == channel.via);
        self.channels.put(turn, tenant, channel)?;
        if !same {
            self.ask_no_more(turn, tenant, &name);
        }
        Ok(())
    }

    pub(crate) fn remove_channel(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
    ) -> Result<(), ReplyError> {
        self.channels.remove(turn, tenant, name)?;
        self.ask_no_more(turn, tenant, name);
        self.rates.remove(&(tenant.clone(), Waits::ToBeSent(Some(name.clone()))));
        Ok(())
    }

    fn ask_no_more(&mut self, turn: &mut Turn<'_>, tenant: &TenantId, name: &Name) {
        let lane = (tenant.clone(), Waits::ForReceipt(name.clone()));
        let asked: Vec<_> = self.due.get(&lane).into_iter().flatten().map(|(_, at)| at.clone()).collect();
        asked.iter().for_each(|at| self.settle(turn, at, MessageState::Accepted));
        self.rates.remove(&lane);
        self.watch(turn);
    }

    /// Takes a notification that was just written for an integration's stream: of order `of`, for its recipient.
    pub(crate) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        integration: &Name,
        of: &OrderKey,
        row: &NotificationRow,
    ) {
        let channels = self.channels.of(tenant, integration);
        // A webhook may know somebody by the order alone.
        let is_nobody = row.recipient.phone.is_none() && row.recipient.email.is_none();
        if channels.is_empty() || is_nobody && channels.iter().all(|channel| channel.needs() != Needs::Nothing) {
            return;
        }
        let kind = row.kind.unwrap_or(NotificationKind::PickupCode);
        let order = OrderRef { tenant: tenant.clone(), order: of.clone() };
        let id = format!("msg_{}", data(&turn.draw::<16>()));
        let first = channels.iter().find(|channel| address(channel, &row.recipient).is_ok());
        let channel = first.map(|channel| channel.name.clone());
        let no_address = channels.iter().find_map(|channel| address(channel, &row.recipient).err());
        let full = self.waiting.get(tenant).copied().unwrap_or(0) >= WAITING_MAX;
        let dead = match (&channel, full) {
            (None, _) => Some(no_address.unwrap_or(UndeliveredReason::NoAddress)),
            (Some(_), true) => Some(UndeliveredReason::TooMany),
            (Some(_), false) => None,
        };
        self.replace(turn, (&order, row.bundle.is_some()), kind, &row.code);
        let language = row.recipient.language.as_deref().and_then(|tag| tag.parse::<Language>().ok());
        let fields = |language: &str| fields(language, kind, row);
        let Written { text, subject } = self.templates.write(tenant, kind, language.as_ref(), fields);
        let message = MessageRow {
            id: id.clone(),
            order: of.clone(),
            kind,
            cabinet: row.cabinet.clone(),
            created: turn.now,
            state: MessageState::Queued,
            attempt: 0,
            next: turn.now,
            channel,
            since: Some(turn.now),
            tried: None,
            reference: None,
            reason: None,
            detail: None,
            bundle: row.bundle.clone(),
            content: Some(Content { row: row.clone(), text, subject }),
            integration: integration.clone(),
            accepted: None,
            asked: None,
            unrevealed: None,
        };
        let at = MessageRef { tenant: tenant.clone(), id };
        self.insert(at.clone(), message);
        match dead {
            Some(reason) => self.give_up(turn, &at, reason),
            None => self.write(turn, &at),
        }
        self.watch(turn);
    }

    /// Messages of the same order with another code, or of the same kind, are not sent any more, and those that did not arrive are
    /// missed by nobody: this one says what counts.
    fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        (order, is_bundle): (&OrderRef, bool),
        kind: NotificationKind,
        code: &Blob,
    ) {
        for at in self.of_order(order, is_bundle) {
            let Some(row) = self.rows.get(&at) else { continue };
            let other = row.content.as_ref().is_none_or(|content| content.row.code != *code);
            match row.state {
                MessageState::Queued if other || row.kind == kind => self.forget(turn, &at),
                MessageState::Sending if other => self.forget(turn, &at),
                MessageState::Queued | MessageState::Sending => {}
                MessageState::Undelivered => self.forget(turn, &at),
                MessageState::Accepted | MessageState::Delivered => self.settle(turn, &at, row.state),
            }
        }
    }

    /// What waits for the recipient of an order is not sent: it is somebody else from now on.
    pub(crate) fn drop_of(&mut self, turn: &mut Turn<'_>, order: &OrderRef) {
        for at in self.of_order(order, false) {
            match self.rows.get(&at).map(|row| row.state) {
                Some(MessageState::Queued | MessageState::Sending) => self.forget(turn, &at),
                Some(state @ (MessageState::Accepted | MessageState::Delivered)) => self.settle(turn, &at, state),
                Some(MessageState::Undelivered) | None => {}
            }
        }
        self.watch(turn);
    }

    fn of_order(&self, order: &OrderRef, is_bundle: bool) -> Vec<MessageRef> {
        let all = self.by_order.range((order.clone(), is_bundle, String::new())..);
        let all = all.take_while(|(of, bundle, _)| (of, *bundle) == (order, is_bundle));
        all.map(|(.., id)| MessageRef { tenant: order.tenant.clone(), id: id.clone() }).collect()
    }

    /// Begins to send what is due. `worth` looks at the order.
    pub(crate) fn send(
        &mut self,
        turn: &mut Turn<'_>,
        per_minute: u32,
        worth: impl Fn(&TenantId, &MessageRow) -> Worth,
    ) {
        let mut begun = 0;
        for lane in self.lanes_due(turn.now) {
            if self.send_lane(turn, &lane, per_minute, &mut begun, &worth) {
                self.rests.insert(lane, turn.now.saturating_add(BUSY));
            }
        }
        self.watch(turn);
    }

    /// The one that has waited longest first: they share what is begun in a step.
    fn lanes_due(&mut self, now: FleetMillis) -> Vec<Lane> {
        self.rests.retain(|_, until| *until > now);
        let mut lanes: Vec<_> =
            self.lanes().filter(|(at, _)| *at <= now).map(|(at, lane)| (at, lane.clone())).collect();
        lanes.sort();
        lanes.into_iter().map(|(_, lane)| lane).collect()
    }

    /// Returns whether something of the lane is due still.
    fn send_lane(
        &mut self,
        turn: &mut Turn<'_>,
        lane: &Lane,
        per_minute: u32,
        begun: &mut usize,
        worth: &impl Fn(&TenantId, &MessageRow) -> Worth,
    ) -> bool {
        let due = self.due.get(lane).into_iter().flatten().take_while(|(at, _)| *at <= turn.now);
        let due: Vec<_> = due.take(LOOKED_AT).map(|(_, at)| at.clone()).collect();
        let more = due.len() == LOOKED_AT;
        let mut asked = 0;
        for at in due {
            let Some(row) = self.rows.get(&at) else { continue };
            match row.state {
                MessageState::Accepted if row.accepted.is_some() => {
                    let worth = worth(&at.tenant, row);
                    if asked == RECEIPTS_AT_ONCE || self.is_asked_enough(turn, &at, lane, worth) {
                        return true;
                    }
                    asked += 1;
                }
                MessageState::Accepted | MessageState::Delivered | MessageState::Undelivered => self.forget(turn, &at),
                MessageState::Sending => {
                    let outcome = Outcome::Unknown { detail: "no answer".to_owned() };
                    let attempt = row.attempt;
                    self.outcome(turn, &at, attempt, outcome);
                }
                MessageState::Queued => match worth(&at.tenant, row) {
                    Worth::Nothing => self.forget(turn, &at),
                    Worth::Sending if *begun >= AT_ONCE || self.is_busy(lane, turn.now, per_minute) => return true,
                    Worth::Sending => {
                        *begun += 1;
                        self.begin(turn, &at);
                    }
                },
            }
        }
        more
    }

    /// Whether the channel of a lane has enough to do. Counts a message where it has not.
    fn is_busy(&mut self, lane: &Lane, now: FleetMillis, per_minute: u32) -> bool {
        if let (tenant, Waits::ToBeSent(Some(name))) = lane
            && self.sending.get(&(tenant.clone(), name.clone())).is_some_and(|sending| *sending >= SENDING_MAX)
        {
            return true;
        }
        let rate = self.rates.entry(lane.clone()).or_default();
        if !rate.has(per_minute, MINUTE, now) {
            return true;
        }
        rate.take(per_minute, MINUTE, now);
        false
    }

    /// Asks the gateway about a message that it has accepted. True: it has been asked enough for the moment.
    fn is_asked_enough(&mut self, turn: &mut Turn<'_>, at: &MessageRef, lane: &Lane, worth: Worth) -> bool {
        let Some(row) = self.rows.get(at) else { return false };
        let until = row.accepted.unwrap_or(0).saturating_add(RECEIPT_LONGEST);
        let channel = self.channel_of(&at.tenant, row).filter(|channel| channel.asks_receipts()).cloned();
        let (Some(channel), Some(reference), true) = (channel, row.reference.clone(), until > turn.now) else {
            self.settle(turn, at, MessageState::Accepted);
            return false;
        };
        if worth == Worth::Nothing {
            self.settle(turn, at, MessageState::Accepted);
            return false;
        }
        if self.is_busy(lane, turn.now, RECEIPTS_PER_MINUTE) {
            return true;
        }
        // Not written: a broker that starts anew asks once more.
        if let Some(mut row) = self.take_out(at) {
            let asked = row.asked.unwrap_or(0);
            row.asked = Some(asked.saturating_add(1));
            row.next =
                turn.now.saturating_add(RECEIPT_FIRST.saturating_mul(2 << asked.min(16)).min(RECEIPT_MAX)).min(until);
            self.insert(at.clone(), row);
        }
        let (tenant, id) = (at.tenant.clone(), at.id.clone());
        turn.effect(Effect::AskReceipt(Box::new(ReceiptAsk { tenant, id, channel, reference })));
        false
    }

    /// What the gateway says about a message that it has accepted under this name.
    pub(crate) fn receipt(&mut self, turn: &mut Turn<'_>, at: &MessageRef, reference: &str, receipt: Receipt) {
        let awaited = |row: &&MessageRow| {
            row.state == MessageState::Accepted && row.accepted.is_some() && row.reference.as_deref() == Some(reference)
        };
        if self.rows.get(at).filter(awaited).is_none() {
            return;
        }
        match receipt {
            Receipt::Delivered => self.settle(turn, at, MessageState::Delivered),
            Receipt::Undelivered { detail } => {
                self.note(at, detail);
                self.next_channel(turn, at);
            }
            Receipt::NotYet => {}
        }
        self.watch(turn);
    }

    /// Nothing more becomes of a message that was accepted.
    fn settle(&mut self, turn: &mut Turn<'_>, at: &MessageRef, state: MessageState) {
        let now = turn.now;
        self.update(turn, at, |row| {
            row.next = row.accepted.take().unwrap_or(now).saturating_add(ACCEPTED_KEPT);
            (row.state, row.content, row.asked) = (state, None, None);
        });
    }

    /// The channel by which a message goes, if it is still for its integration.
    fn channel_of(&self, tenant: &TenantId, row: &MessageRow) -> Option<&Channel> {
        let own = self.channels.of(tenant, &row.integration);
        own.into_iter().find(|channel| Some(&channel.name) == row.channel.as_ref())
    }

    fn begin(&mut self, turn: &mut Turn<'_>, at: &MessageRef) {
        let Some(row) = self.rows.get(at) else { return };
        if self.fallback_at(&at.tenant, row).is_some_and(|until| until <= turn.now) {
            return self.next_channel(turn, at);
        }
        let found = self.channel_of(&at.tenant, row).cloned();
        let content = row.content.clone();
        let (Some(channel), Some(content)) = (found, content) else { return self.next_channel(turn, at) };
        // The channel may be another one meanwhile.
        let Ok(to) = address(&channel, &content.row.recipient) else { return self.next_channel(turn, at) };
        let next = turn.now.saturating_add(SENDING_LONGEST);
        self.update(turn, at, |row| {
            (row.state, row.next, row.attempt) = (MessageState::Sending, next, row.attempt.saturating_add(1));
        });
        let Some(row) = self.rows.get(at) else { return };
        turn.effect(Effect::Notify(Box::new(Dispatch {
            tenant: at.tenant.clone(),
            id: row.id.clone(),
            attempt: row.attempt,
            channel,
            to,
            is_test: false,
            integration: row.integration.clone(),
            content,
        })));
    }

    /// What became of a try. One that was given up meanwhile counts only if the gateway has the message after all.
    pub(crate) fn outcome(&mut self, turn: &mut Turn<'_>, at: &MessageRef, attempt: u32, outcome: Outcome) {
        let Some(row) = self.rows.get(at).filter(|row| row.is_open()) else { return self.watch(turn) };
        self.rests.remove(&lane_of(at, row));
        let is_current = row.state == MessageState::Sending && row.attempt == attempt;
        match outcome {
            Outcome::Accepted { reference } => self.accept(turn, at, reference, is_current),
            Outcome::NotRevealed if is_current => self.wait_for_signer(turn, at),
            Outcome::Refused { detail } if is_current => {
                self.note(at, detail);
                self.next_channel(turn, at);
            }
            Outcome::Failed { detail } if is_current => {
                self.note(at, detail);
                self.try_again(turn, at, CERTAIN_MAX);
            }
            Outcome::Unknown { detail } if is_current => {
                self.note(at, detail);
                self.try_again(turn, at, ATTEMPTS_MAX);
            }
            Outcome::NotRevealed | Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::Unknown { .. } => {}
        }
        self.watch(turn);
    }

    /// A gateway that will be asked about it may still hand it back, so its address is kept until then.
    fn accept(&mut self, turn: &mut Turn<'_>, at: &MessageRef, reference: Option<String>, is_current: bool) {
        let reference: Option<String> = reference.map(|text| text.chars().take(REFERENCE_MAX).collect());
        let named = reference.as_deref().is_some_and(|text| text.bytes().all(|b| b.is_ascii_alphanumeric()));
        let channel = self.rows.get(at).and_then(|row| self.channel_of(&at.tenant, row));
        let asks = named && is_current && channel.is_some_and(Channel::asks_receipts) && self.has_room_for(&at.tenant);
        let now = turn.now;
        self.update(turn, at, |row| {
            (row.state, row.reference, row.detail, row.unrevealed) = (MessageState::Accepted, reference, None, None);
            row.accepted = Some(now).filter(|_| asks);
            row.next = now.saturating_add(if asks { RECEIPT_FIRST } else { ACCEPTED_KEPT });
            row.content = row.content.take().filter(|_| asks);
        });
    }

    fn has_room_for(&self, tenant: &TenantId) -> bool {
        let own = self.due.iter().filter(|((of, waits), _)| of == tenant && matches!(waits, Waits::ForReceipt(_)));
        own.map(|(_, due)| due.len()).sum::<usize>() < RECEIPTS_WAITING
    }

    /// That costs no try and no time of the channel. One that is never shown does not wait for ever.
    fn wait_for_signer(&mut self, turn: &mut Turn<'_>, at: &MessageRef) {
        let Some(row) = self.rows.get(at) else { return };
        let begun = row.next.saturating_sub(SENDING_LONGEST);
        let since = row.unrevealed.unwrap_or(begun);
        if turn.now.saturating_sub(since) >= REVEAL_LONGEST {
            return self.give_up(turn, at, UndeliveredReason::NoCode);
        }
        let next = turn.now.saturating_add(LOOK_AGAIN);
        self.update(turn, at, |row| {
            (row.state, row.next, row.attempt) = (MessageState::Queued, next, row.attempt.saturating_sub(1));
            row.unrevealed = Some(since);
            row.since = row.since.map(|since| since.saturating_add(next.saturating_sub(begun)));
        });
    }

    fn note(&mut self, at: &MessageRef, detail: String) {
        if let Some(row) = self.rows.get_mut(at) {
            row.detail = Some(detail.chars().take(REFERENCE_MAX).collect());
        }
    }

    /// By the same channel, later; by the next one where this one has had its time.
    fn try_again(&mut self, turn: &mut Turn<'_>, at: &MessageRef, most: u32) {
        let Some(row) = self.rows.get(at) else { return };
        let until = self.fallback_at(&at.tenant, row);
        if row.attempt >= most || until.is_some_and(|until| until <= turn.now) {
            return self.next_channel(turn, at);
        }
        let wait = backoff(row.attempt, u64::from_be_bytes(turn.draw()));
        let next = turn.now.saturating_add(wait).min(until.unwrap_or(FleetMillis::MAX));
        self.update(turn, at, |row| (row.state, row.next, row.unrevealed) = (MessageState::Queued, next, None));
    }

    /// When the next channel has its turn, if there is one and this one says so.
    fn fallback_at(&self, tenant: &TenantId, row: &MessageRow) -> Option<FleetMillis> {
        let channel = self.channels.find(tenant, row.channel.as_ref()?).ok()?;
        let after = channel.fallback_after_minutes?.millis();
        self.successor(tenant, row)?;
        Some(row.since?.saturating_add(after))
    }

    /// The first channel that was not tried and that the recipient has an address for.
    fn successor(&self, tenant: &TenantId, row: &MessageRow) -> Option<Name> {
        let recipient = &row.content.as_ref()?.row.recipient;
        let tried = |name: &Name| row.tried.iter().flatten().chain(&row.channel).any(|tried| tried == name);
        let usable = |channel: &&&Channel| !tried(&channel.name) && address(channel, recipient).is_ok();
        self.channels.of(tenant, &row.integration).iter().find(usable).map(|channel| channel.name.clone())
    }

    fn next_channel(&mut self, turn: &mut Turn<'_>, at: &MessageRef) {
        let Some(row) = self.rows.get(at) else { return };
        let Some(next) = self.successor(&at.tenant, row) else {
            let gone = row.channel.as_ref().is_none_or(|name| self.channels.find(&at.tenant, name).is_err());
            let reason = match (gone, row.attempt >= ATTEMPTS_MAX) {
                _ if row.accepted.is_some() => UndeliveredReason::NotDelivered,
                (true, _) => UndeliveredReason::NoChannel,
                (false, true) => UndeliveredReason::GaveUp,
                (false, false) => UndeliveredReason::Refused,
            };
            return self.give_up(turn, at, reason);
        };
        let now = turn.now;
        self.update(turn, at, |row| {
            row.tried.get_or_insert_default().extend(row.channel.replace(next));
            (row.state, row.attempt, row.next, row.since) = (MessageState::Queued, 0, now, Some(now));
            (row.accepted, row.asked, row.unrevealed, row.reference) = (None, None, None, None);
        });
    }

    fn give_up(&mut self, turn: &mut Turn<'_>, at: &MessageRef, reason: UndeliveredReason) {
        self.end(turn, at, reason);
        if let Some(row) = self.rows.get(at) {
            let order = &row.order;
            turn.alarm(format!(
                "the recipient of order {order} gets no message ({reason}): `fleet notify list --undelivered`"
            ));
        }
    }

    fn end(&mut self, turn: &mut Turn<'_>, at: &MessageRef, reason: UndeliveredReason) {
        let next = turn.now.saturating_add(UNDELIVERED_KEPT);
        self.update(turn, at, |row| {
            (row.state, row.reason, row.next) = (MessageState::Undelivered, Some(reason), next);
            (row.content, row.accepted, row.asked, row.unrevealed) = (None, None, None, None);
        });
    }

    fn update(&mut self, turn: &mut Turn<'_>, at: &MessageRef, change: impl FnOnce(&mut MessageRow)) {
        let Some(mut row) = self.take_out(at) else { return };
        change(&mut row);
        self.insert(at.clone(), row);
        self.write(turn, at);
        self.forget_oldest(turn, &at.tenant);
    }

    fn forget_oldest(&mut self, turn: &mut Turn<'_>, tenant: &TenantId) {
        let Some(kept) = self.due.get(&(tenant.clone(), Waits::Kept)) else { return };
        let oldest: Vec<_> = kept.iter().take(kept.len().saturating_sub(KEPT_MAX)).map(|(_, at)| at.clone()).collect();
        oldest.iter().for_each(|at| self.forget(turn, at));
    }

    fn write(&self, turn: &mut Turn<'_>, at: &MessageRef) {
        if let Some(row) = self.rows.get(at) {
            turn.put(MESSAGES, at.key(), row);
        }
    }

    fn forget(&mut self, turn: &mut Turn<'_>, at: &MessageRef) {
        self.take_out(at);
        turn.remove(MESSAGES, at.key());
    }

    fn insert(&mut self, at: MessageRef, row: MessageRow) {
        self.due.entry(lane_of(&at, &row)).or_default().insert((row.next, at.clone()));
        if row.is_open() {
            *self.waiting.entry(at.tenant.clone()).or_default() += 1;
        }
        if counts_for_order(&row) {
            self.by_order.insert(by_order(&at, &row));
        }
        if let Some(key) = sending_by(&at, &row) {
            *self.sending.entry(key).or_default() += 1;
        }
        self.rows.insert(at, row);
    }

    fn take_out(&mut self, at: &MessageRef) -> Option<MessageRow> {
        let row = self.rows.remove(at)?;
        let lane = lane_of(at, &row);
        if let Some(due) = self.due.get_mut(&lane) {
            due.remove(&(row.next, at.clone()));
            if due.is_empty() {
                self.due.remove(&lane);
            }
        }
        self.by_order.remove(&by_order(at, &row));
        if row.is_open()
            && let Some(waiting) = self.waiting.get_mut(&at.tenant)
        {
            *waiting = waiting.saturating_sub(1);
        }
        if let Some(count) = sending_by(at, &row).and_then(|key| self.sending.get_mut(&key)) {
            *count = count.saturating_sub(1);
        }
        Some(row)
    }

    fn watch(&self, turn: &mut Turn<'_>) {
        match self.first_due() {
            Some(at) => turn.due(Deadline::Messages, at),
            None => turn.not_due(&Deadline::Messages),
        }
    }

    /// A made-up message, for one try.
    pub(crate) fn test(
        &self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        to: &str,
    ) -> Result<Dispatch, ReplyError> {
        let channel = self.channels.find(tenant, name)?.clone();
        let refuse = |text: &str, hint: &str| error(RequestErrorCode::Malformed, text, hint);
        let recipient = match channel.needs() {
            Needs::Phone => RecipientRow { phone: Some(to.to_owned()), ..Default::default() },
            Needs::Email => RecipientRow { email: Some(to.to_owned()), ..Default::default() },
            Needs::Nothing => RecipientRow::default(),
        };
        let to = address(&channel, &recipient).map_err(|_| {
            refuse(
                "the address is none that this channel can send to",
                "a number with + and its country code, or name@example.com",
            )
        })?;
        let row = test_row(turn.now, recipient)
            .ok_or_else(|| refuse("a test message cannot be made", "report this as a fault"))?;
        let kind = NotificationKind::PickupCode;
        let fields = |language: &str| fields(language, kind, &row);
        let Written { mut text, subject } = self.templates.write(tenant, kind, None, fields);
        if let Some(first) = text.first_mut() {
            first.insert_str(0, "TEST: ");
        }
        Ok(Dispatch {
            tenant: tenant.clone(),
            id: format!("msg_{}", data(&turn.draw::<16>())),
            attempt: 1,
            channel,
            to,
            is_test: true,
            integration: row
                .order
                .as_str()
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| refuse("no name", "report this"))?,
            content: Content { row, text, subject: format!("TEST: {subject}") },
        })
    }

    /// How many messages of a tenant are such.
    pub(crate) fn count(&self, tenant: &TenantId, such: impl Fn(&MessageRow) -> bool) -> usize {
        let from = MessageRef { tenant: tenant.clone(), id: String::new() };
        let own = self.rows.range(from..).take_while(|(at, _)| at.tenant == *tenant);
        own.filter(|(_, row)| such(row)).count()
    }

    /// Messages behind `after`, by their ids.
    pub(crate) fn page(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        listed: impl Fn(&MessageRow) -> bool,
    ) -> MessagePage {
        let from = MessageRef { tenant: tenant.clone(), id: after.unwrap_or_default().to_owned() };
        let own = self.rows.range(from..).take_while(|(at, _)| at.tenant == *tenant);
        let mut own = own.filter(|(at, row)| Some(at.id.as_str()) != after && listed(row)).map(|(_, row)| row.detail());
        let messages: Vec<MessageDetail> = own.by_ref().take(PAGE).collect();
        MessagePage { messages, more: own.next().is_some() }
    }
}

/// Another message about its order changes something for it.
fn counts_for_order(row: &MessageRow) -> bool {
    row.is_open() || row.content.is_some() || row.state == MessageState::Undelivered
}

fn by_order(at: &MessageRef, row: &MessageRow) -> ByOrder {
    let order = OrderRef { tenant: at.tenant.clone(), order: row.order.clone() };
    (order, row.bundle.is_some(), at.id.clone())
}

fn lane_of(at: &MessageRef, row: &MessageRow) -> Lane {
    let waits = match &row.channel {
        channel if row.is_open() => Waits::ToBeSent(channel.clone()),
        Some(channel) if row.accepted.is_some() => Waits::ForReceipt(channel.clone()),
        Some(_) | None => Waits::Kept,
    };
    (at.tenant.clone(), waits)
}

fn sending_by(at: &MessageRef, row: &MessageRow) -> Option<(TenantId, Name)> {
    (row.state == MessageState::Sending).then(|| Some((at.tenant.clone(), row.channel.clone()?))).flatten()
}

/// Twice as long each time, and up to a quarter more or less by chance.
fn backoff(attempt: u32, random: u64) -> FleetMillis {
    let wait = RETRY_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(RETRY_MAX);
    wait - wait / 4 + random % (wait / 2 + 1)
}

/// Where a channel reaches somebody.
fn address(channel: &Channel, recipient: &RecipientRow) -> Result<String, UndeliveredReason> {
    match channel.needs() {
        Needs::Nothing => Ok(String::new()),
        Needs::Email => recipient.email.clone().filter(|email| is_mail(email)).ok_or(UndeliveredReason::NoAddress),
        Needs::Phone => {
            let phone = recipient.phone.as_deref().ok_or(UndeliveredReason::NoAddress)?;
            let home = channel.home().map(|home| (home.country_code.as_str(), home.trunk.as_str()));
            let phone = Phone::parse_recorded(phone, home).map_err(|_| UndeliveredReason::BadNumber)?;
            Ok(phone.reveal().to_owned())
        }
    }
}

/// One address and nothing that a mail server could take for more.
fn is_mail(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let graphic = text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"".contains(c));
    text.len() <= schemas::api::ADDRESS_MAX
        && graphic
        && !local.is_empty()
        && !local.contains('@')
        && domain.contains('.')
}

fn fields(language: &str, kind: NotificationKind, row: &NotificationRow) -> Fields {
    let doors = row.doors.as_deref().unwrap_or_default();
    let until = row.until_local.clone().or_else(|| row.until.map(|until| Rfc3339(until).to_string()));
    let compartment = row.compartment.filter(|_| doors.is_empty());
    Fields {
        place: row.place.clone(),
        compartment: compartment.map(|door| door.to_string()).unwrap_or_default(),
        until: until.unwrap_or_default(),
        order: row.bundle.as_ref().unwrap_or(&row.order).to_string(),
        instruction: instruction(language, kind, row),
        doors: door_list(doors),
    }
}

/// `1, 2`; with several places `Hall: 1, 2; Mill: 3`.
fn door_list(doors: &[DoorRow]) -> String {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    doors.iter().for_each(|door| places.entry(&door.place).or_default().push(door.compartment.to_string()));
    places.iter().map(|(place, doors)| format!("{place}: {}", doors.join(", "))).collect::<Vec<_>>().join("; ")
}

fn test_row(now: FleetMillis, recipient: RecipientRow) -> Option<NotificationRow> {
    Some(NotificationRow {
        n: 0,
        id: "test".to_owned(),
        order: "TEST".parse().ok()?,
        at: now,
        cabinet: "test".parse().ok()?,
        compartment: Compartment::new(1),
        place: "Test".to_owned(),
        code: Blob::default(),
        qr: Blob::default(),
        recipient,
        kind: None,
        until: None,
        bundle: None,
        doors: None,
        walk_in: None,
        second_factor: None,
        until_local: None,
        zone: None,
    })
}

fn data(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_further_apart_and_not_at_the_same_moment_for_all() {
        assert_eq!((backoff(1, 0), backoff(1, 2_500)), (3_750, 6_250));
        assert_eq!(backoff(2, 0), 7_500);
        assert_eq!(backoff(12, 0), RETRY_MAX / 4 * 3);
        assert_eq!(backoff(u32::MAX, 7_500), RETRY_MAX / 4 * 3 + 7_500);
    }

    #[test]
    fn a_mail_address_is_one_address() {
        for good in ["a@example.com", "a+b@example.co.uk", "ä@example.com"] {
            assert!(is_mail(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@example.com",
            "a@b",
            "a@example.com,b@example.com",
            "a@example.com\r\nBcc: x",
            "<a@example.com>",
            "a@b@c.de",
        ] {
            assert!(!is_mail(bad), "{bad}");
        }
    }
}
