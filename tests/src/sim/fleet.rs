//! The fleet's process: its core, its store, the gate and the consumers of the streams, as the broker's driver does it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fleet_core::signing::{SignerReply, SignerRequest};
use fleet_core::{
    CodeForm, Config, EVENTS, Effect, FleetCore, Input, Moment, ORDERS, STREAM, SecretOf, render_row, stream_key,
};
use schemas::api::{Notification, NotificationKind, OrderState, Reply, Rfc3339, Status};
use schemas::cbor_map;
use schemas::ids::{Identity, Name};
use schemas::messages::{Compartment, Down, OrderKey};
use schemas::step::{Store as _, Write, number_of_key};
use schemas::topics::{OrderChange, Stream, Up};

use super::crash::Place;
use super::factors::asks_for_more;
use super::ledger::{Cab, OrderTruth, Seen, moves};
use super::sabotage::Sabotage;
use super::store::MemStore;
use super::time::FleetTime;
use super::walk_ins::{key_of, key_of_status};
use super::world::{CABS, Happening, Mark, SHOPS, World, constant};

/// Rows on their way to one consumer.
const WINDOW: u64 = 32;

/// Whom an acknowledgement goes to once the batch is on disk.
#[derive(Debug, Clone)]
pub(super) enum Owed {
    Up { conn: u64, mark: Mark },
    Put { order: OrderKey },
}

pub(super) struct Decided {
    /// What the fleet's clock said.
    now: u64,
    /// Name of the input.
    pub(super) kind: &'static str,
    pub(super) writes: Vec<Write>,
    pub(super) effects: Vec<Effect>,
    owed: Option<Owed>,
    /// The message that was accepted, where the input says so.
    heard: Option<String>,
}

cbor_map! {
    /// What this simulation reads of a row of the fleet's events.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct GapRow { 4 opt => lost_to: Option<u64> }
}

struct Consumer {
    conn: u64,
    /// Sent and not acknowledged.
    under_way: VecDeque<u64>,
    sent: u64,
    newest: u64,
}

#[derive(Default)]
pub(super) struct Fleet {
    core: Option<FleetCore>,
    pub(super) store: MemStore,
    pub(super) run: u64,
    batch: Vec<Decided>,
    conns: [Option<u64>; CABS],
    unacked: BTreeSet<(u64, u64)>,
    packets: u64,
    consumers: BTreeMap<(usize, Stream), Consumer>,
    next_consumer: u64,
    ticket: u64,
    pub(super) time: FleetTime,
    /// Answers to requests, by ticket.
    pub(super) replies: BTreeMap<u64, Reply>,
    /// The PIN of the staff, as the operator was told.
    pub(super) pin: Option<String>,
}

impl Fleet {
    /// Which cabinets have a connection.
    pub(super) fn connected(&self) -> [bool; CABS] {
        self.conns.map(|conn| conn.is_some())
    }

    pub(super) fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// What it has decided is not on disk yet.
    pub(super) fn is_deciding(&self) -> bool {
        !self.batch.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.core.as_ref()?.poll_timeout()
    }

    /// What was decided last has heard that a message was accepted.
    pub(super) fn heard(&mut self, accepted: Option<String>) {
        if let Some(decided) = self.batch.last_mut() {
            decided.heard = accepted;
        }
    }

    pub(super) fn packet_acked(&mut self, conn: u64, packet: u64) {
        self.unacked.remove(&(conn, packet));
    }

    pub(super) fn is_unacked(&self, conn: u64, packet: u64) -> bool {
        self.unacked.contains(&(conn, packet))
    }
}

impl World {
    pub(super) fn start_fleet(&mut self) {
        if self.fleet.is_up() {
            return;
        }
        if self.fleet.store.is_full() {
            return self.later(1_000, Happening::FleetStarts);
        }
        if self.fleet.time.ends_a_start() {
            self.coverage.count("faults", "fleet does not start with such a clock");
            return self.later(5_000, Happening::FleetStarts);
        }
        self.fleet.run += 1;
        self.fleet.time.read(self.now);
        self.ledger.misled |= self.fleet.time.is_misled();
        // The setting is changed with each start; what is out keeps its form.
        let code_form = if self.fleet.run.is_multiple_of(2) { CodeForm::Letters } else { CodeForm::Digits };
        // Walk-ins are told to the first backend.
        let config = Config {
            break_glass: self.has_glass,
            code_form,
            walk_in: Some(constant(SHOPS[0])),
            open_by_app: self.apps,
            ..Config::default()
        };
        match FleetCore::open(config, &self.fleet.store) {
            Ok(core) => self.fleet.core = Some(core),
            Err(error) => return self.see(Seen::Opened(Err(format!("the fleet's store does not open: {error:?}")))),
        }
        self.tell(|| "the fleet starts".to_owned());
        self.take_fleet(Input::Tick, None);
        for shop in 0..SHOPS.len() {
            let wait = self.dice.between(10, 5_000);
            self.later(wait, Happening::ShopOpens { shop });
        }
    }

    pub(super) fn crash_fleet(&mut self) {
        if self.end_fleet_process("fleet crash") {
            self.crashes += 1;
        }
    }

    pub(super) fn end_fleet_process(&mut self, what: &'static str) -> bool {
        let wait = self.dice.between(100, 60_000);
        self.fleet.time.forget();
        self.end_fleet(what, wait)
    }

    /// A commit failed: the batch and the core are thrown away, every connection is cut, and a second later both are
    /// built again from the store.
    fn fleet_store_failed(&mut self) {
        let wait = self.dice.between(1_000, 1_500);
        self.end_fleet("fleet store failed", wait);
    }

    fn end_fleet(&mut self, what: &'static str, again_after: u64) -> bool {
        if self.fleet.core.take().is_none() {
            return false;
        }
        self.coverage.count("faults", what);
        self.tell(|| what.to_owned());
        self.fleet.batch.clear();
        self.fleet.consumers.clear();
        self.fleet.unacked.clear();
        for conn in std::mem::take(&mut self.fleet.conns).into_iter().flatten() {
            let notices = self.dice.below(30_000);
            self.cut(conn, 0, notices);
        }
        self.later(again_after, Happening::FleetStarts);
        true
    }

    pub(super) fn tick_fleet(&mut self) {
        if self.sabotage != Some(Sabotage::NoTicks) || self.now < 600_000 {
            self.take_fleet(Input::Tick, None);
        }
        let (now, next) = (self.fleet.time.says(self.now), self.fleet.deadline());
        if self.fleet.is_up() {
            self.see(Seen::Ticked { who: "the fleet".into(), now, next });
        }
    }

    /// Somebody's timer fires before its time.
    pub(super) fn tick_fleet_early(&mut self) {
        let moment = Moment { now: self.fleet.time.says(self.now), entropy: self.dice.bytes() };
        let is_early = |core: &FleetCore| core.poll_timeout().is_none_or(|due| moment.now < due);
        if let Some(core) = self.fleet.core.as_mut().filter(|core| is_early(core)) {
            let step = core.handle(Input::Tick, &moment);
            let (writes, effects) = (step.writes.len(), step.effects.len());
            self.see(Seen::TickedEarly { who: "the fleet".into(), writes, effects });
        }
    }

    /// Decides; the commit follows within a few milliseconds, shared with whatever else comes until then.
    pub(super) fn take_fleet(&mut self, input: Input, owed: Option<Owed>) {
        let Some(core) = &mut self.fleet.core else { return };
        let moment = Moment { now: self.fleet.time.read(self.now), entropy: self.dice.bytes() };
        let kind = kind_of(&input);
        let routine = matches!(kind, "telemetry" | "row acknowledged");
        let line =
            (self.shows && !routine).then(|| if kind == "tick" { kind.to_owned() } else { format!("{input:?}") });
        let step = core.handle(input, &moment);
        self.note_step(kind, &step);
        if let Some(line) = line.filter(|_| !step.is_empty()) {
            self.tell(|| format!("fleet <- {line}: {} writes, {:?}", step.writes.len(), Brief(&step.effects)));
        }
        if self.sabotage == Some(Sabotage::AckBeforeCommit)
            && let Some(owed) = owed.clone()
        {
            self.acknowledge(owed, true);
        }
        if self.fleet.batch.is_empty() {
            let (wait, run) = (self.dice.below(6), self.fleet.run);
            self.later(wait, Happening::FleetCommits { run });
        }
        self.fleet.batch.push(Decided {
            now: moment.now,
            kind,
            writes: step.writes,
            effects: step.effects,
            owed,
            heard: None,
        });
    }

    /// What the fleet has decided is on disk before anybody can exchange a disk elsewhere: that takes minutes.
    pub(super) fn finish_batch(&mut self) {
        self.commit_fleet(self.fleet.run);
    }

    /// One transaction, then the effects of each input and its acknowledgement. A crash can come before, behind or
    /// between any of them.
    pub(super) fn commit_fleet(&mut self, run: u64) {
        if run != self.fleet.run || !self.fleet.is_up() {
            return;
        }
        let mut batch = std::mem::take(&mut self.fleet.batch);
        let effects: usize = batch.iter().map(|decided| decided.effects.len() + 1).sum();
        let dies = self.strikes("the fleet dies in a step", 150).then(|| self.dice.index(effects + 2));
        let fails = self.strikes("a commit of the fleet fails", 400);
        let ends = dies.is_some() || fails || self.fleet.store.is_full();
        let shape = if ends { self.fleet_shape(&batch) } else { 0 };
        if dies == Some(0) {
            self.process_ends("fleet", Place::BeforeCommit, shape);
            self.crash_fleet();
            return;
        }
        if let Some(Sabotage::FleetForgets(table)) = self.sabotage {
            let dice = &mut self.dice;
            for decided in &mut batch {
                decided.writes.retain(|write| write.table.0 != table || !dice.one_in(10));
            }
        }
        let writes: Vec<Write> = batch.iter().flat_map(|decided| decided.writes.iter().cloned()).collect();
        if dies == Some(1) || fails {
            return self.cut_fleet_commit(&batch, &writes, shape, fails);
        }
        if self.fleet.store.commit(&writes).is_err() {
            self.process_ends("fleet", Place::DiskFull, shape);
            return self.fleet_store_failed();
        }
        self.see_fleet_batch(&batch);
        self.act_on_batch(batch, dies.map(|dies| dies - 2), shape);
    }

    /// The end comes in the middle of a commit: the batch may be on the disk or not; none of it is said or done.
    fn cut_fleet_commit(&mut self, batch: &[Decided], writes: &[Write], shape: u64, fails: bool) {
        let reached = self.dice.one_in(2);
        self.fleet.store.begin(writes);
        self.fleet.store.break_off(reached);
        if reached {
            self.see_fleet_batch(batch);
        }
        self.process_ends("fleet", if reached { Place::CommitKept } else { Place::CommitLost }, shape);
        if fails {
            self.fleet_store_failed();
        } else {
            self.crash_fleet();
        }
    }

    fn act_on_batch(&mut self, batch: Vec<Decided>, dies: Option<usize>, shape: u64) {
        let mut done = 0;
        let mut next = |world: &mut Self, place: Place| {
            let ends = dies == Some(done);
            if ends {
                world.process_ends("fleet", place, shape);
                world.crash_fleet();
            }
            done += 1;
            ends
        };
        let mut acted = 0;
        for decided in batch {
            let refused = decided.effects.iter().any(|effect| matches!(effect, Effect::Refuse { .. }));
            for effect in decided.effects {
                if next(self, Place::BeforeEffect(acted)) {
                    return;
                }
                acted += 1;
                self.act_fleet(effect);
            }
            if next(self, Place::BeforeAcknowledgement) {
                return;
            }
            if let Some(owed) = decided.owed {
                self.acknowledge(owed, !refused);
            }
        }
    }

    fn see_fleet_batch(&mut self, batch: &[Decided]) {
        for decided in batch {
            self.ends_told.clear();
            self.notifications = 0;
            self.see_fleet_writes(decided.now, &decided.writes);
            self.see_messages(&decided.writes, self.notifications);
            if let Some(id) = decided.heard.clone() {
                self.see(Seen::MessageAccepted { id });
            }
            self.fleet_stepped(&decided.effects);
            self.contents_stepped();
        }
    }

    fn see_fleet_writes(&mut self, now: u64, writes: &[Write]) {
        for (nth, write) in writes.iter().enumerate() {
            let is_last = |other: &Write| (other.table, &other.key) != (write.table, &write.key);
            let is_last = writes[nth + 1..].iter().all(is_last);
            match (write.table, &write.value) {
                (EVENTS, Some(row)) => self.see_stored(&write.key, row),
                (ORDERS, None) => {
                    let key = String::from_utf8_lossy(&write.key);
                    let order = key.split_once('/').and_then(|(_, order)| order.parse().ok());
                    if let Some(order) = order {
                        self.see(Seen::OrderRemoved { order });
                    }
                }
                (ORDERS, Some(row)) => {
                    self.see_part(row);
                    self.see_timed(now, row);
                    // What is written over in the same step nobody ever sees.
                    if is_last {
                        self.see_content(row);
                    }
                }
                (table, Some(row)) if table.0 == "policies" => self.see_policies(row),
                (table, Some(row)) if table.0 == "sites" => self.see_site(row),
                (STREAM, Some(row)) => self.see_row(&write.key, row),
                _ => {}
            }
        }
    }

    fn see_stored(&mut self, key: &[u8], row: &[u8]) {
        let text = String::from_utf8_lossy(key.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        let mut parts = text.split('/').skip(1);
        let (Some(cabinet), Some(epoch), Some(n)) = (parts.next(), parts.next(), number_of_key(key)) else { return };
        let Some(cab) = self.cab_of(&constant(cabinet)) else { return };
        let epoch = epoch.to_owned();
        match schemas::cbor::decode::<GapRow>(row).ok().and_then(|row| row.lost_to) {
            Some(to) => {
                self.coverage.count("events", "passed over");
                self.see(Seen::GapAccepted { cab, epoch, from: n, to });
            }
            None => self.see(Seen::EventStored { cab, epoch, n, row: row.to_vec() }),
        }
    }

    fn see_row(&mut self, key: &[u8], row: &[u8]) {
        let text = String::from_utf8_lossy(key);
        let mut parts = text.split(['/', '\0']).skip(1);
        let (Some(integration), Some(stream)) = (parts.next(), parts.next()) else { return };
        let integration: Name = constant(integration);
        let stream: Stream = constant(stream);
        let signer = &self.signer;
        let Ok(json) = render_row(stream, row, |sealed| signer.reveal(sealed)) else {
            return self.break_off("rows_in_order_without_gaps", format!("a row of {integration} cannot be rendered"));
        };
        match stream {
            Stream::Status => {
                if let Ok(mut status) = schemas::api::parse::<Status>(&json) {
                    if self.sabotage == Some(Sabotage::OneCompartment) {
                        status.compartment = status.compartment.and(Compartment::new(1));
                    }
                    if self.sabotage == Some(Sabotage::WholeTooSoon)
                        && status.parts.iter().any(|part| part.state == OrderState::Stored)
                    {
                        status.state = OrderState::Stored;
                    }
                    self.count_state(&integration, &status);
                    if let Some(reason) = status.reason {
                        self.coverage.count("rejections", reason.as_str());
                    }
                    self.ledger.grown(integration.clone(), stream, status.n);
                    if let (Some(hashes), None) = (&status.content, status.reason)
                        && self.sabotage != Some(Sabotage::ChangesUntold)
                    {
                        self.contents_told.push((key_of_status(&integration, &status), hashes.clone()));
                    }
                    if let Some(until) = status.until.filter(|_| status.parts.is_empty()) {
                        self.ends_told.insert(key_of_status(&integration, &status), until.0);
                    }
                    let cab = status.cabinet.as_ref().and_then(|cabinet| self.cab_of(cabinet));
                    self.see(Seen::StatusWritten { integration, status, cab });
                }
            }
            Stream::Notifications => {
                if let Ok(told) = schemas::api::parse::<Notification>(&json) {
                    self.ledger.grown(integration.clone(), stream, told.n);
                    self.ledger.messages.told(&integration, &told);
                    self.notifications += 1;
                    let order = key_of(&integration, told.order.clone(), told.walk_in);
                    self.see_code_told(&order, &told);
                    self.see_local(&order, told.until, [told.until_local.as_ref(), told.zone.as_ref()]);
                    let at = (told.cabinet.clone(), order.clone());
                    let first_book = self.signer.books.get(&at).copied();
                    let first_deposit = self.signer.deposit_books.get(&at).copied();
                    let cab = self.cab_of(&told.cabinet).unwrap_or(CABS);
                    self.coverage.count("notifications", told.kind.as_str());
                    if told.kind == NotificationKind::PickupCode && self.ledger.is_whole(&order) {
                        return self.see_whole_announced(order, cab, &told.doors);
                    }
                    match told.kind {
                        NotificationKind::PickupCode => {
                            self.see(Seen::NotificationWritten { order, cab, first_book });
                        }
                        NotificationKind::Reminder => self.see(Seen::ReminderWritten { order }),
                        NotificationKind::DepositCode => {
                            self.see(Seen::DepositCodeWritten { order, cab, first_book: first_deposit });
                        }
                        NotificationKind::BundleCode | NotificationKind::BundleChanged => {
                            for door in told.doors {
                                let order = OrderKey { integration: order.integration.clone(), order: door.order };
                                let first_book = self.signer.books.get(&(door.cabinet.clone(), order.clone())).copied();
                                let cab = self.cab_of(&door.cabinet).unwrap_or(CABS);
                                self.see(Seen::BundleWritten { order, cab, first_book });
                            }
                        }
                    }
                }
            }
        }
    }

    fn count_state(&mut self, integration: &Name, status: &Status) {
        self.coverage.count("order states", status.state.as_str());
        let key = key_of_status(integration, status);
        let truth = self.ledger.orders.get(&key);
        let before = truth.and_then(|truth| truth.told.state);
        // A row may only tell of its bundle, or that another answer is asked for.
        let same = |truth: &OrderTruth| truth.bundle.is_some() || asks_for_more(&key) || status.content.is_some();
        let again = before == Some(status.state) && truth.is_some_and(same);
        if moves(status) && !again {
            let before = before.map_or("new", |state| state.as_str());
            self.coverage.count("order transitions", format!("{before}>{}", status.state));
        }
    }

    fn acknowledge(&mut self, owed: Owed, taken: bool) {
        match owed {
            Owed::Up { conn, mark } => {
                let Some(cab) = self.wires.get(&conn).map(|wire| wire.cab) else { return };
                if let (Mark::Event { n, epoch }, true) = (mark, taken) {
                    let key = fleet_core::event_key(&self.tenant, &self.cabs[cab].id, epoch, n);
                    let on_disk = self.fleet.store.get(EVENTS, &key).is_some();
                    self.see(Seen::EventAcked { cab, n, on_disk });
                }
                if mark != Mark::Telemetry && mark != Mark::Double {
                    let delay = self.dice.between(5, 200);
                    if let Some(wire) = self.wires.get_mut(&conn) {
                        let at = wire.down(self.now, delay);
                        self.at(at, Happening::UpAcked { conn, mark, taken });
                    }
                }
            }
            Owed::Put { order } => {
                if taken {
                    let key = format!("acme/{order}").into_bytes();
                    let on_disk = self.fleet.store.get(ORDERS, &key).is_some();
                    self.see(Seen::PutAcked { order, on_disk });
                }
            }
        }
    }

    fn act_fleet(&mut self, effect: Effect) {
        match effect {
            Effect::Down { cabinet, payload, .. } => {
                let Some(cab) = self.cab_of(&cabinet) else { return };
                self.send_down(cab, payload);
            }
            Effect::CloseCabinet { cabinet, reason, .. } => {
                let reason = reason.split(|c: char| c.is_ascii_digit()).next().unwrap_or("").trim().to_owned();
                self.coverage.count("connections closed", reason);
                if let Some(conn) = self.cab_of(&cabinet).and_then(|cab| self.fleet.conns[cab]) {
                    let notices = self.dice.below(500);
                    self.cut(conn, 0, notices);
                }
            }
            Effect::Signer { ticket, request } => {
                let reply = self.signer.answer(&request, &mut self.dice);
                self.note_signed(&request, &reply);
                let (wait, run) = (self.dice.between(1, 400), self.fleet.run);
                self.later(wait, Happening::SignerAnswers { run, ticket, reply });
            }
            Effect::RowsGrew { integration, stream, newest, .. } => {
                let shop = self.shops.iter().position(|shop| shop.name == integration);
                if let Some(consumer) = shop.and_then(|shop| self.fleet.consumers.get_mut(&(shop, stream))) {
                    consumer.newest = consumer.newest.max(newest);
                }
                self.pump();
            }
            Effect::Issued { .. } => self.coverage.count("certificates", "issued"),
            Effect::NotIssued { refusal, .. } => self.coverage.count("certificates", format!("{refusal:?}")),
            Effect::Reply { ticket, reply } => {
                if let Reply::Error(error) = &reply {
                    self.coverage.count("requests refused", error.code.as_str());
                }
                self.fleet.replies.insert(ticket, reply);
            }
            Effect::ReplySecret { sealed, of, .. } => {
                let told = self.signer.reveal(&sealed).ok().map(|secret| secret.reveal().to_owned());
                match of {
                    SecretOf::Pin(_) => self.fleet.pin = told,
                    SecretOf::CourierPin(name) | SecretOf::Badge(name) => self.badge_told(&name, told),
                    SecretOf::BreakGlass(cabinet) => {
                        if let Some(cab) = self.cab_of(&cabinet) {
                            self.glass_told(cab, told);
                        }
                    }
                }
            }
            Effect::Alarm { text } => {
                let kind: String = text
                    .split(':')
                    .next_back()
                    .unwrap_or("")
                    .chars()
                    .filter(|c| !c.is_ascii_digit())
                    .take(40)
                    .collect();
                self.coverage.count("alarms", kind.trim().to_owned());
            }
            Effect::Notify(dispatch) => self.gateway_takes(&dispatch),
            Effect::ReplyRows { .. }
            | Effect::ReplyUnlocks { .. }
            | Effect::ReplyStatus { .. }
            | Effect::Backup { .. }
            | Effect::Live { .. }
            | Effect::Refuse { .. }
            | Effect::Registered { .. }
            | Effect::Scoped { .. }
            // Webhooks have no receipts.
            | Effect::AskReceipt(_)
            | Effect::ReplyTested { .. }
            | Effect::Revoked { .. } => {}
        }
    }

    fn note_signed(&mut self, request: &SignerRequest, reply: &SignerReply) {
        if let (SignerRequest::SignBook(asked), SignerReply::Envelope(_)) = (request, reply)
            && let Some(cab) = self.cab_of(&asked.cabinet)
        {
            self.ledger.signed_books.insert((cab, asked.book.version));
        }
        if let (SignerRequest::SignCommand(asked), SignerReply::Envelope(_)) = (request, reply)
            && let Some(cab) = self.cab_of(&asked.cabinet)
        {
            self.ledger.signed_commands.insert(asked.command.id, (cab, asked.command.clone()));
        }
    }

    fn send_down(&mut self, cab: Cab, payload: Vec<u8>) {
        let Some(conn) = self.fleet.conns[cab] else { return };
        self.mix(&payload);
        let (delay, held) = self.adversary_sees(cab, &payload);
        self.fleet.packets += 1;
        let packet = self.fleet.packets;
        let is_book = matches!(schemas::cbor::decode::<Down>(&payload), Ok(Down::Codes(_)));
        if self.sabotage == Some(Sabotage::BookClaimed) && is_book && self.dice.one_in(2) {
            return;
        }
        if self.sabotage == Some(Sabotage::BooksLost) && is_book && self.now > 1_800_000 {
            return;
        }
        if held {
            // Whoever owns the bus acknowledges in the cabinet's place.
            return;
        }
        self.fleet.unacked.insert((conn, packet));
        self.later(10_000, Happening::DownLate { conn, packet });
        let double = self.fails("downlink doubled", 15);
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        let at = wire.down(self.now, delay);
        self.at(at, Happening::DownArrives { conn, payload: payload.clone(), packet: Some(packet) });
        if double {
            self.at(at, Happening::DownArrives { conn, payload, packet: None });
        }
    }

    pub(super) fn fleet_connected(&mut self, cab: Cab, conn: u64) {
        if let Some(old) = self.fleet.conns[cab].replace(conn) {
            self.cut(old, 0, 100);
        }
        let (tenant, cabinet) = (self.tenant.clone(), self.name_of(cab));
        self.take_fleet(Input::CabinetConnected { tenant, cabinet }, None);
    }

    pub(super) fn fleet_notices(&mut self, conn: u64) {
        let Some(cab) = (0..CABS).find(|cab| self.fleet.conns[*cab] == Some(conn)) else { return };
        self.fleet.conns[cab] = None;
        let (tenant, cabinet) = (self.tenant.clone(), self.name_of(cab));
        self.take_fleet(Input::CabinetGone { tenant, cabinet, reason: "gone".into() }, None);
    }

    pub(super) fn up_arrives(&mut self, conn: u64, up: Up, mut payload: Vec<u8>, mark: Mark) {
        let Some(cab) = self.wires.get(&conn).filter(|wire| wire.up).map(|wire| wire.cab) else { return };
        if self.fleet.conns[cab] != Some(conn) {
            return;
        }
        if self.sabotage == Some(Sabotage::BookClaimed) {
            let signed = self.signer.newest.get(&self.cabs[cab].id).copied().unwrap_or(0);
            payload = claim_book(payload, up, signed);
        }
        let (tenant, cabinet) = (self.tenant.clone(), self.name_of(cab));
        self.take_fleet(Input::CabinetUp { tenant, cabinet, up, payload }, Some(Owed::Up { conn, mark }));
    }

    /// Somebody speaks in a cabinet's name.
    pub(super) fn cabinet_says(&mut self, cab: Cab, up: Up, payload: Vec<u8>) {
        let (tenant, cabinet) = (self.tenant.clone(), self.name_of(cab));
        self.take_fleet(Input::CabinetUp { tenant, cabinet, up, payload }, None);
    }

    pub(super) fn signer_answers(&mut self, run: u64, ticket: u64, reply: SignerReply) {
        if matches!(reply, SignerReply::Failed(_)) {
            self.coverage.count("faults", "signer failed");
        }
        // Mostly the answer to a dead process is lost, sometimes it comes to the next one.
        if run == self.fleet.run || self.dice.one_in(2) {
            self.take_fleet(Input::Signer { ticket, reply }, None);
        }
    }

    /// A backend publishes. Without an acknowledgement it will publish again.
    pub(super) fn put_order(&mut self, order: &OrderKey, payload: Vec<u8>) {
        let input = Input::OrderPut { tenant: self.tenant.clone(), integration: order.integration.clone(), payload };
        self.take_fleet(input, Some(Owed::Put { order: order.clone() }));
    }

    /// Of an order that is nobody's.
    pub(super) fn put_strange(&mut self, payload: Vec<u8>) {
        let input = Input::OrderPut { tenant: self.tenant.clone(), integration: constant("shop"), payload };
        self.take_fleet(input, None);
    }

    /// The backend asks for one credential for these orders.
    pub(super) fn bundle(&mut self, orders: Vec<OrderKey>) {
        let Some(first) = orders.first() else { return };
        let names: Vec<String> = orders.iter().map(|order| format!("\"{}\"", order.order)).collect();
        let payload = format!(r#"{{"bundle":"R{}","orders":[{}]}}"#, self.bundles.len(), names.join(","));
        let integration = first.integration.clone();
        self.bundles.push(integration.clone());
        self.change_orders(integration, OrderChange::Bundle, payload);
    }

    pub(super) fn unbundle(&mut self, which: usize) {
        let Some(integration) = self.bundles.get(which).cloned() else { return };
        self.change_orders(integration, OrderChange::Unbundle, format!(r#"{{"bundle":"R{which}"}}"#));
    }

    /// What a backend may want of one order. More time: an hour more than there is by the clock.
    pub(super) fn wish(&mut self, order: &OrderKey, change: OrderChange) {
        let until = Rfc3339(self.fleet.time.says(self.now).saturating_add(3_600_000));
        self.ledger.asked_ends.insert(until.0);
        let id = &order.order;
        let payload = match change {
            OrderChange::Extend => format!(r#"{{"order":"{id}","until":"{until}"}}"#),
            OrderChange::Move => {
                let to = self.ledger.orders.get(order).map_or(0, |truth| (truth.at() + 1) % CABS);
                format!(r#"{{"order":"{id}","to":"{}"}}"#, self.name_of(to))
            }
            OrderChange::Quarantine => format!(r#"{{"order":"{id}","reason":"a spoilt smell"}}"#),
            _ => format!(r#"{{"order":"{id}"}}"#),
        };
        if order.is_walk_in() {
            return self.operator_wishes(order, change, until);
        }
        self.change_orders(order.integration.clone(), change, payload);
    }

    pub(super) fn extend_to(&mut self, order: &OrderKey, until: u64) {
        self.ledger.asked_ends.insert(until);
        let until = Rfc3339(until);
        if order.is_walk_in() {
            return self.operator_wishes(order, OrderChange::Extend, until);
        }
        let payload = format!(r#"{{"order":"{}","until":"{until}"}}"#, order.order);
        self.change_orders(order.integration.clone(), OrderChange::Extend, payload);
    }

    /// The same of an order that staff began: no backend can name it.
    fn operator_wishes(&mut self, order: &OrderKey, change: OrderChange, until: Rfc3339) {
        let to = self.name_of(self.ledger.orders.get(order).map_or(0, |truth| (truth.at() + 1) % CABS));
        let more = match change {
            OrderChange::Extend => format!(r#","until":"{until}""#),
            OrderChange::Move => format!(r#","to":"{to}""#),
            OrderChange::Quarantine => r#","reason":"a spoilt smell""#.to_owned(),
            _ => String::new(),
        };
        self.ask(format!(r#"{{"op":"order.{}","order":"{order}"{more}}}"#, change.as_str()));
    }

    pub(super) fn change_orders(&mut self, integration: Name, change: OrderChange, payload: String) {
        let (tenant, payload) = (self.tenant.clone(), payload.into_bytes());
        self.take_fleet(Input::OrderChange { tenant, integration, change, payload }, None);
    }

    pub(super) fn cancel_order(&mut self, order: &OrderKey) {
        if order.is_walk_in() {
            self.ask(format!(r#"{{"op":"order.cancel","order":"{order}"}}"#));
            return;
        }
        let payload = format!(r#"{{"order":"{}"}}"#, order.order).into_bytes();
        let input = Input::OrderCancel { tenant: self.tenant.clone(), integration: order.integration.clone(), payload };
        self.take_fleet(input, None);
    }

    /// The operator asks for something; returns the ticket of the answer.
    pub(super) fn ask(&mut self, payload: String) -> u64 {
        self.ask_as("operator:acme:eve", payload)
    }

    pub(super) fn ask_as(&mut self, who: &str, payload: String) -> u64 {
        self.fleet.ticket += 1;
        let ticket = self.fleet.ticket;
        let who: Identity = constant(who);
        self.take_fleet(Input::Request { ticket, who, payload: payload.into_bytes() }, None);
        ticket
    }

    pub(super) fn shop_opens(&mut self, shop: usize) {
        for stream in [Stream::Status, Stream::Notifications] {
            let Some(core) = &self.fleet.core else { return };
            if self.fleet.consumers.contains_key(&(shop, stream)) {
                continue;
            }
            let (cursor, newest) = core.heads(&self.tenant, &self.shops[shop].name, stream);
            self.fleet.next_consumer += 1;
            let conn = self.fleet.next_consumer;
            self.fleet
                .consumers
                .insert((shop, stream), Consumer { conn, under_way: VecDeque::new(), sent: cursor, newest });
        }
        self.pump();
    }

    fn pump(&mut self) {
        let mut sent = Vec::new();
        for ((shop, stream), consumer) in &mut self.fleet.consumers {
            while consumer.sent < consumer.newest && (consumer.under_way.len() as u64) < WINDOW {
                let from = stream_key(&self.tenant, &self.shops[*shop].name, *stream, consumer.sent + 1);
                let row = self.fleet.store.scan(STREAM, &from, 1).ok().and_then(|mut rows| rows.pop());
                let Some((key, row)) = row.filter(|(key, _)| key.starts_with(&from[..from.len() - 8])) else { break };
                let Some(n) = number_of_key(&key) else { break };
                let signer = &self.signer;
                let Ok(payload) = render_row(*stream, &row, |sealed| signer.reveal(sealed)) else { break };
                consumer.sent = n;
                consumer.under_way.push_back(n);
                sent.push((consumer.conn, *shop, *stream, n, payload));
            }
        }
        for (conn, shop, stream, n, payload) in sent {
            self.mix(&payload);
            if self.sabotage == Some(Sabotage::SkipRow) && self.dice.one_in(20) {
                continue;
            }
            self.later(20, Happening::RowArrives { conn, shop, stream, n, payload });
        }
    }

    pub(super) fn row_arrives(&mut self, conn: u64, shop: usize, stream: Stream, n: u64, payload: Vec<u8>) {
        if self.fleet.consumers.get(&(shop, stream)).is_none_or(|consumer| consumer.conn != conn) {
            return;
        }
        if self.fails("backend dies before its ack", 25) {
            self.fleet.consumers.remove(&(shop, stream));
            let wait = self.dice.between(100, 120_000);
            return self.later(wait, Happening::ShopOpens { shop });
        }
        let integration = self.shops[shop].name.clone();
        self.see(Seen::RowReceived { integration: integration.clone(), stream, n, payload: payload.clone() });
        if stream == Stream::Notifications
            && let Ok(told) = schemas::api::parse::<Notification>(&payload)
        {
            if told.kind == NotificationKind::DepositCode {
                let order = OrderKey { integration: integration.clone(), order: told.order.clone() };
                self.deposit_code_told(order, [told.code.clone(), told.qr.clone()]);
                return self.later(20, Happening::RowAcked { conn, shop, stream, n });
            }
            let single = told.doors.is_empty().then_some(told.order);
            for order in told.doors.into_iter().map(|door| door.order).chain(single) {
                let order = key_of(&integration, order, told.walk_in);
                let codes = [told.code.clone(), told.qr.clone()];
                // The doors of an order in several compartments all name it.
                let again = |truth: &OrderTruth| truth.whole.is_some() && truth.codes.last() == Some(&codes);
                self.ledger.each_part(&order, |truth| {
                    if !again(truth) {
                        truth.codes.push(codes.clone());
                    }
                });
            }
        }
        self.later(20, Happening::RowAcked { conn, shop, stream, n });
    }

    pub(super) fn row_acked(&mut self, conn: u64, shop: usize, stream: Stream, n: u64) {
        let Some(consumer) = self.fleet.consumers.get_mut(&(shop, stream)).filter(|one| one.conn == conn) else {
            return;
        };
        consumer.under_way.retain(|sent| *sent > n);
        let (tenant, integration) = (self.tenant.clone(), self.shops[shop].name.clone());
        self.take_fleet(Input::RowAcked { tenant, integration, stream, n }, None);
        self.pump();
    }

    /// Cursor and newest row of a stream.
    pub(super) fn heads(&self, shop: usize, stream: Stream) -> Option<(u64, u64)> {
        Some(self.fleet.core.as_ref()?.heads(&self.tenant, &self.shops[shop].name, stream))
    }
}

/// Rewrites a hello: the newest book that was signed is in force.
fn claim_book(payload: Vec<u8>, up: Up, signed: u64) -> Vec<u8> {
    if up != Up::Hello {
        return payload;
    }
    match schemas::cbor::decode::<schemas::messages::Hello>(&payload) {
        Ok(hello) => schemas::cbor::encode(&schemas::messages::Hello { book: signed, ..hello }),
        Err(_) => payload,
    }
}

fn kind_of(input: &Input) -> &'static str {
    match input {
        Input::Tick => "tick",
        Input::Admitted { .. } => "admitted",
        Input::CabinetConnected { .. } => "connected",
        Input::CabinetGone { .. } => "gone",
        Input::CabinetUp { up, .. } => up.as_str(),
        Input::OrderPut { .. } => "put",
        Input::OrderCancel { .. } => "cancel",
        Input::OrderChange { change, .. } => change.as_str(),
        Input::Request { .. } => "request",
        Input::RowAcked { .. } => "row acknowledged",
        Input::Signer { .. } => "signer",
        Input::Enrol { .. } => "enrol",
        Input::Notified { .. } => "notified",
        Input::Receipt { .. } => "receipt",
    }
}

/// Effects by name: payloads hold codes.
struct Brief<'a>(&'a [Effect]);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for effect in self.0 {
            match effect {
                Effect::Live { .. } => {}
                Effect::Signer { .. } => f.write_str("Signer ")?,
                other => write!(f, "{other:?} ")?,
            }
        }
        Ok(())
    }
}
