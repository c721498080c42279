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

use super::dispatch::{Dispatch, Outcome};
use super::row::{Content, MessageRef, MessageRow};
use super::settings::{Channels, Templates, Written};
use super::template::Fields;
use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::quotas::{Bucket, MINUTE};
use crate::requests::error;
use crate::rows::{DoorRow, NotificationRow, RecipientRow, instruction};
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
/// While channels are busy.
const BUSY: FleetMillis = 1_000;
/// The shell always answers before: an answer that is lost is an unknown outcome.
const SENDING_LONGEST: FleetMillis = 10 * 60 * 1_000;
/// How long a message is listed that was accepted, and one that will not be sent.
const ACCEPTED_KEPT: FleetMillis = 24 * 60 * 60 * 1_000;
const UNDELIVERED_KEPT: FleetMillis = 14 * 24 * 60 * 60 * 1_000;
const PAGE: usize = 50;
const REFERENCE_MAX: usize = 128;

/// The order, or with true the bundle, and the id of a message.
type Open = (OrderRef, bool, String);

/// What waits for the same channel, and with none what is only kept for the list.
type Lane = (TenantId, Option<Name>);

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
    /// Messages that wait or are being sent, by order.
    open: BTreeSet<Open>,
    waiting: BTreeMap<TenantId, usize>,
    sending: BTreeMap<(TenantId, Name), usize>,
    /// Of this run only.
    rates: BTreeMap<TenantId, Bucket>,
    /// Some wait for a channel that is busy: not looked at before this moment.
    busy_until: FleetMillis,
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
        self.due.values().filter_map(|lane| lane.first()).map(|(at, _)| *at).min()
    }

    /// The store is an earlier one: what waited in it may have been sent since, and its code replaced.
    pub(crate) fn put_back(&mut self, turn: &mut Turn<'_>) {
        let open: Vec<_> = self.rows.iter().filter(|(_, row)| row.is_open()).map(|(at, _)| at.clone()).collect();
        for at in open {
            self.give_up(turn, &at, UndeliveredReason::Restored);
        }
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
        let Written { text, subject } = self.templates.write(tenant, kind, language.as_ref(), &fields(kind, row));
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
        };
        let at = MessageRef { tenant: tenant.clone(), id };
        self.insert(at.clone(), message);
        match dead {
            Some(reason) => self.give_up(turn, &at, reason),
            None => self.write(turn, &at),
        }
        self.busy_until = 0;
        self.watch(turn);
    }

    /// Messages of the same order with another code, or of the same kind, are not sent any more: this one says what counts.
    fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        (order, is_bundle): (&OrderRef, bool),
        kind: NotificationKind,
        code: &Blob,
    ) {
        for at in self.open_of(order, is_bundle) {
            let replaced = |row: &MessageRow| {
                let other = row.content.as_ref().is_none_or(|content| content.row.code != *code);
                row.state == MessageState::Queued && (other || row.kind == kind)
                    || row.state == MessageState::Sending && other
            };
            if self.rows.get(&at).is_some_and(replaced) {
                self.forget(turn, &at);
            }
        }
    }

    /// What waits for the recipient of an order is not sent: it is somebody else from now on.
    pub(crate) fn drop_of(&mut self, turn: &mut Turn<'_>, order: &OrderRef) {
        for at in self.open_of(order, false) {
            self.forget(turn, &at);
        }
        self.watch(turn);
    }

    fn open_of(&self, order: &OrderRef, is_bundle: bool) -> Vec<MessageRef> {
        let all = self.open.range((order.clone(), is_bundle, String::new())..);
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
        if self.first_due().is_none_or(|at| at > turn.now) || self.busy_until > turn.now {
            return self.watch(turn);
        }
        let (mut begun, mut held_up) = (0, false);
        for lane in self.lanes_due(turn.now) {
            held_up |= self.send_lane(turn, &lane, per_minute, &mut begun, &worth);
        }
        self.busy_until = if held_up { turn.now.saturating_add(BUSY) } else { 0 };
        self.watch(turn);
    }

    /// The one that has waited longest first: they share what a tenant may send in a minute.
    fn lanes_due(&self, now: FleetMillis) -> Vec<Lane> {
        let first = |(lane, due): (&Lane, &BTreeSet<(FleetMillis, MessageRef)>)| Some((due.first()?.0, lane.clone()));
        let mut lanes: Vec<_> = self.due.iter().filter_map(first).filter(|(at, _)| *at <= now).collect();
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
        for at in due {
            let Some(row) = self.rows.get(&at) else { continue };
            match row.state {
                MessageState::Accepted | MessageState::Delivered | MessageState::Undelivered => self.forget(turn, &at),
                MessageState::Sending => {
                    let outcome = Outcome::Unknown { detail: "no answer".to_owned() };
                    let attempt = row.attempt;
                    self.outcome(turn, &at, attempt, outcome);
                }
                MessageState::Queued => match worth(&at.tenant, row) {
                    Worth::Nothing => self.forget(turn, &at),
                    Worth::Sending if *begun >= AT_ONCE || self.is_busy(&at, turn.now, per_minute) => return true,
                    Worth::Sending => {
                        *begun += 1;
                        self.begin(turn, &at);
                    }
                },
            }
        }
        more
    }

    /// Whether the channel of a message, or the tenant, has enough to do. Counts the message where it has not.
    fn is_busy(&mut self, at: &MessageRef, now: FleetMillis, per_minute: u32) -> bool {
        let channel = self.rows.get(at).and_then(|row| row.channel.clone());
        let sending = channel.and_then(|name| self.sending.get(&(at.tenant.clone(), name)));
        if sending.is_some_and(|sending| *sending >= SENDING_MAX) {
            return true;
        }
        let rate = self.rates.entry(at.tenant.clone()).or_default();
        if !rate.has(per_minute, MINUTE, now) {
            return true;
        }
        rate.take(per_minute, MINUTE, now);
        false
    }

    fn begin(&mut self, turn: &mut Turn<'_>, at: &MessageRef) {
        let Some(row) = self.rows.get(at) else { return };
        if self.fallback_at(&at.tenant, row).is_some_and(|until| until <= turn.now) {
            return self.next_channel(turn, at);
        }
        let own = self.channels.of(&at.tenant, &row.integration);
        let found =
            own.iter().find(|channel| Some(&channel.name) == row.channel.as_ref()).map(|channel| (*channel).clone());
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
        self.busy_until = 0;
        let Some(row) = self.rows.get(at).filter(|row| row.is_open()) else { return self.watch(turn) };
        let is_current = row.state == MessageState::Sending && row.attempt == attempt;
        match outcome {
            Outcome::Accepted { reference } => {
                let reference = reference.map(|text| text.chars().take(REFERENCE_MAX).collect());
                let next = turn.now.saturating_add(ACCEPTED_KEPT);
                self.update(turn, at, |row| {
                    (row.state, row.reference, row.next) = (MessageState::Accepted, reference, next);
                    (row.content, row.detail) = (None, None);
                });
            }
            Outcome::NotRevealed if is_current => {
                let next = turn.now.saturating_add(LOOK_AGAIN);
                self.update(turn, at, |row| {
                    (row.state, row.next, row.attempt) = (MessageState::Queued, next, row.attempt.saturating_sub(1));
                });
            }
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
        self.update(turn, at, |row| (row.state, row.next) = (MessageState::Queued, next));
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
        });
    }

    fn give_up(&mut self, turn: &mut Turn<'_>, at: &MessageRef, reason: UndeliveredReason) {
        let next = turn.now.saturating_add(UNDELIVERED_KEPT);
        self.update(turn, at, |row| {
            (row.state, row.reason, row.next) = (MessageState::Undelivered, Some(reason), next);
            row.content = None;
        });
        if let Some(row) = self.rows.get(at) {
            let order = &row.order;
            turn.alarm(format!(
                "the recipient of order {order} gets no message ({reason}): `fleet notify list --undelivered`"
            ));
        }
    }

    fn update(&mut self, turn: &mut Turn<'_>, at: &MessageRef, change: impl FnOnce(&mut MessageRow)) {
        let Some(mut row) = self.take_out(at) else { return };
        change(&mut row);
        self.insert(at.clone(), row);
        self.write(turn, at);
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
            self.open.insert(open_of(&at, &row));
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
        if row.is_open() {
            self.open.remove(&open_of(at, &row));
            if let Some(waiting) = self.waiting.get_mut(&at.tenant) {
                *waiting = waiting.saturating_sub(1);
            }
        }
        if let Some(count) = sending_by(at, &row).and_then(|key| self.sending.get_mut(&key)) {
            *count = count.saturating_sub(1);
        }
        Some(row)
    }

    fn watch(&self, turn: &mut Turn<'_>) {
        match self.first_due() {
            Some(at) => turn.due(Deadline::Messages, at.max(self.busy_until)),
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
        let Written { mut text, subject } = self.templates.write(tenant, kind, None, &fields(kind, &row));
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

fn open_of(at: &MessageRef, row: &MessageRow) -> Open {
    let order = OrderRef { tenant: at.tenant.clone(), order: row.order.clone() };
    (order, row.bundle.is_some(), at.id.clone())
}

fn lane_of(at: &MessageRef, row: &MessageRow) -> Lane {
    (at.tenant.clone(), row.channel.clone().filter(|_| row.is_open()))
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

fn fields(kind: NotificationKind, row: &NotificationRow) -> Fields {
    let doors = row.doors.as_deref().unwrap_or_default();
    let until = row.until_local.clone().or_else(|| row.until.map(|until| Rfc3339(until).to_string()));
    let compartment = row.compartment.filter(|_| doors.is_empty());
    Fields {
        place: row.place.clone(),
        compartment: compartment.map(|door| door.to_string()).unwrap_or_default(),
        until: until.unwrap_or_default(),
        order: row.bundle.as_ref().unwrap_or(&row.order).to_string(),
        instruction: instruction(kind, row),
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
