//! Orders, each keyed (tenant, integration, the backend's id), and the streams that tell their integrations.

mod adopt;
mod bundle;
mod change;
mod deposit;
mod due;
mod factor;
mod message;
mod open;
mod parts;
mod pause;
mod place;
mod progress;
mod put;
mod quarantine;
mod report;
mod view;
mod walk_in;
mod window;
mod wishes;

pub(crate) use bundle::Bundle;
pub(crate) use change::check_content;
pub(crate) use factor::sealing_key;
pub(crate) use open::Asked;
pub(crate) use put::{check_put, too_long};
pub(crate) use wishes::Wish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::api::{OrderState, RejectReason};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{CabinetId, Name, OrderId, TenantId};
use schemas::messages::{Attributes, Category, Compartment, FleetMillis, OrderKey, Size};
use schemas::topics::Stream;

use crate::config::Config;
use crate::deadlines::Deadline;
use crate::intents::Reserve;
use crate::notify::Outbox;
use crate::order::bundle::{Bundles, InBundle};
use crate::order::change::Pending;
use crate::order::deposit::Brought;
use crate::order::factor::{SealedFactor, SealingKeys};
use crate::order::open::Opening;
use crate::order::parts::Part;
use crate::order::place::Route;
use crate::order::quarantine::Intervention;
use crate::order::walk_in::{WalkIn, WalkIns};
use crate::order::window::Window;
use crate::policy::PolicyBook;
use crate::quotas::Quotas;
use crate::rows::{NotificationRow, RecipientRow, StatusRow};
use crate::site::{SiteClock, Sites};
use crate::streams::Streams;
use crate::tables::{CabinetRef, ORDERS, OrderRef, StreamRef};
use crate::turn::Turn;

/// States of an order's history that are kept, the newest ones.
const HISTORY_MAX: usize = 64;
/// Orders forgotten in one step at most.
const FORGOTTEN_AT_ONCE: usize = 100;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Passed {
        1 => state: OrderState,
        2 => at: FleetMillis,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Order {
        1 => order: OrderKey,
        2 => cabinet: CabinetId,
        3 => size: Size,
        4 => category: Category,
        5 => wants: Attributes,
        /// Left out once the order is over.
        6 opt => recipient: Option<RecipientRow>,
        /// SHA-256 of the content in hexadecimal.
        7 => content: String,
        8 => state: OrderState,
        /// When the fleet took the state.
        9 => since: FleetMillis,
        10 opt => compartment: Option<Compartment>,
        11 => history: Vec<Passed>,
        12 => notified: bool,
        /// Why it is rejected.
        13 opt => reason: Option<RejectReason>,
        /// Since it was stored, as long as it is inside and its code is good. Most orders that are kept are over: boxed, so that
        /// it costs them nothing.
        14 opt => window: Option<Box<Window>>,
        /// How often it was extended, sent again or given another code.
        15 opt => asked: Option<u32>,
        /// How long its compartment is safe from other orders, in milliseconds.
        16 opt => hold: Option<u64>,
        /// Another content that its cabinet has still to make room for.
        17 opt => pending: Option<Box<Pending>>,
        /// Nobody is to get it, until somebody releases it.
        18 opt => quarantine: Option<Box<Intervention>>,
        /// Who has ended it.
        19 opt => closed: Option<Box<Intervention>>,
        /// Staff began it at the cabinet. Few are: boxed.
        20 opt => walk_in: Option<Box<WalkIn>>,
        /// True: staff have to release it when somebody comes with its code.
        21 opt => staff_release: Option<bool>,
        /// Somebody who is no staff puts it in.
        23 opt => deposit: Option<Brought>,
        /// It is collected with others. Boxed: most are not.
        25 opt => bundle: Option<Box<InBundle>>,
        /// It was put for a site, or for another cabinet than it is at now.
        26 opt => route: Option<Box<Route>>,
        /// Its door was asked for by the app. Boxed: few are.
        27 opt => opening: Option<Box<Opening>>,
        /// It is one of several compartments of an order. Boxed: few are.
        28 opt => part: Option<Box<Part>>,
        /// What its recipient is asked for behind the code. Left out once the order is over. Boxed: few have one.
        50 opt => factor: Option<Box<SealedFactor>>,
        /// Who has brought it, where that was a courier with a PIN of their own. Boxed: most were not.
        70 opt => courier: Option<Box<Name>>,
        /// It may lie with others of its integration that have the same word. Boxed: few may.
        80 opt => shares: Option<Box<OrderId>>,
    }
}

/// When a status happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happened {
    pub(crate) at: FleetMillis,
    pub(crate) unverified: bool,
}

impl Happened {
    fn now(turn: &Turn<'_>) -> Self {
        Self { at: turn.now, unverified: false }
    }
}

impl Order {
    /// What a cabinet is asked.
    fn reserve(&self) -> Reserve {
        let Self { order, size, category, wants, hold, staff_release, deposit, .. } = self;
        let (size, category, wants, deposit) = (*size, *category, *wants, deposit.map(|brought| brought.kind));
        let (staff_release, factor) = (*staff_release, self.factor_set());
        let part = self.part.as_ref().map(|part| part.of.clone());
        let (order, hold, shares) = (order.clone(), *hold, self.shares.as_deref().cloned());
        Reserve { order, size, category, wants, hold, staff_release, deposit, part, factor, shares }
    }

    fn pass(&mut self, state: OrderState, now: FleetMillis, when: Happened) {
        self.state = state;
        self.since = now;
        self.history.push(Passed { state, at: when.at });
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
        if state.is_final() {
            // Personal data of an order that is over. A rejected one that is put again brings its recipient again.
            (self.recipient, self.pending, self.factor) = (None, None, None);
        }
        if state.is_final() || matches!(state, OrderState::Ready | OrderState::Recalled) {
            self.window = None;
        }
        let inside = matches!(state, OrderState::Stored | OrderState::Overdue | OrderState::Collecting);
        if let Some(bundle) = self.bundle.as_mut().filter(|_| !inside) {
            bundle.ready = None;
        }
    }
}

#[derive(Default)]
pub(crate) struct Orders {
    rows: BTreeMap<OrderRef, Order>,
    counts: BTreeMap<(TenantId, Name), usize>,
    finished: Finished,
    age: Age,
    /// Orders with something to come of their windows, by its moment.
    due: BTreeSet<(FleetMillis, OrderRef)>,
    walk_ins: WalkIns,
    pub(crate) policies: PolicyBook,
    pub(crate) sites: Sites,
    pub(crate) bundles: Bundles,
    sealing_keys: SealingKeys,
    pub(crate) streams: Streams,
    pub(crate) outbox: Outbox,
    pub(crate) quotas: Quotas,
    /// Something is being done to all parts of an order: its integration hears of the whole behind that. Never between two steps.
    together: bool,
}

/// Orders that are over, by the moment when they were.
#[derive(Default)]
struct Finished {
    by_age: BTreeSet<(FleetMillis, OrderRef)>,
    counts: BTreeMap<(TenantId, Name), usize>,
}

impl Finished {
    fn insert(&mut self, since: FleetMillis, at: &OrderRef) {
        if self.by_age.insert((since, at.clone())) {
            *self.counts.entry(at.integration()).or_default() += 1;
        }
    }

    fn remove(&mut self, since: FleetMillis, at: &OrderRef) {
        if self.by_age.remove(&(since, at.clone())) {
            self.gone(at);
        }
    }

    fn first(&self) -> Option<FleetMillis> {
        self.by_age.first().map(|(since, _)| *since)
    }

    fn pop_first(&mut self) -> Option<OrderRef> {
        let (_, at) = self.by_age.pop_first()?;
        self.gone(&at);
        Some(at)
    }

    fn gone(&mut self, at: &OrderRef) {
        if let Some(count) = self.counts.get_mut(&at.integration()) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The time by which orders grow old. It goes on from the newest time in the store and not from the clock: a clock that was
/// wrong when the fleet started must not make it forget.
#[derive(Default)]
struct Age {
    /// Newest time that an order has.
    newest: FleetMillis,
    /// Fleet time of the first step of this run.
    started: Option<FleetMillis>,
}

impl Age {
    fn at(&self, now: FleetMillis) -> FleetMillis {
        let passed = now.saturating_sub(self.started.unwrap_or(now));
        if self.newest == 0 { now } else { self.newest.saturating_add(passed).min(now) }
    }
}

impl Orders {
    /// Called at each step: the first one is where this run's time begins.
    pub(crate) fn see(&mut self, now: FleetMillis) {
        self.age.started.get_or_insert(now);
    }

    pub(crate) fn restore(&mut self, at: OrderRef, order: Order) {
        self.age.newest = self.age.newest.max(order.since);
        self.count(&at, &order);
        self.due.extend(order.due().map(|due| (due, at.clone())));
        self.walk_ins.see(&at, &order);
        self.rows.insert(at, order);
    }

    pub(crate) fn find(&self, at: &OrderRef) -> Option<&Order> {
        self.named(at)
    }

    /// The clock of the site where an order is, if that has one.
    fn site_of(&self, at: &OrderRef) -> Option<Arc<SiteClock>> {
        let cabinet = CabinetRef::new(at.tenant.clone(), self.rows.get(at)?.cabinet.clone());
        self.sites.clock_of(&cabinet)
    }

    /// When the order that was finished first may be forgotten.
    pub(crate) fn retention_ends(&self, config: &Config) -> Option<FleetMillis> {
        self.finished.first().map(|since| since.saturating_add(config.order_retention_millis))
    }

    /// Forgets orders that were finished long ago.
    pub(crate) fn forget_finished(&mut self, turn: &mut Turn<'_>, config: &Config) {
        let age = self.age.at(turn.now);
        for _ in 0..FORGOTTEN_AT_ONCE {
            if self.retention_ends(config).is_none_or(|at| at > age) {
                break;
            }
            if let Some(at) = self.finished.pop_first() {
                if self.whole(&at).is_some_and(|(state, _)| !state.is_final()) {
                    // Another part of it is not over.
                    self.keep_on(turn, &at, age);
                    continue;
                }
                turn.remove(ORDERS, at.key());
                if let Some(order) = self.rows.remove(&at) {
                    self.forget_bundled(turn, &at, &order);
                }
                if let Some(count) = self.counts.get_mut(&at.integration()) {
                    *count = count.saturating_sub(1);
                }
            }
        }
        self.watch_retention(turn, config);
    }

    /// Keeps an order as if it had been finished at that moment.
    fn keep_on(&mut self, turn: &mut Turn<'_>, at: &OrderRef, since: FleetMillis) {
        if let Some(order) = self.rows.get_mut(at) {
            order.since = since;
            self.put_row(turn, at);
            self.finished.insert(since, at);
        }
    }

    fn count(&mut self, at: &OrderRef, order: &Order) {
        *self.counts.entry(at.integration()).or_default() += 1;
        if order.state.is_final() {
            self.finished.insert(order.since, at);
        }
    }

    /// Orders of an integration that are kept, and how many of them are not over.
    pub(crate) fn counts_of(&self, integration: &(TenantId, Name)) -> (usize, usize) {
        let of = |counts: &BTreeMap<(TenantId, Name), usize>| counts.get(integration).copied().unwrap_or(0);
        let kept = of(&self.counts);
        (kept, kept.saturating_sub(of(&self.finished.counts)))
    }

    fn watch_retention(&self, turn: &mut Turn<'_>, config: &Config) {
        match self.retention_ends(config) {
            // What is left over from a large batch takes the next tick.
            Some(at) => {
                let wait = at.saturating_sub(self.age.at(turn.now)).max(1);
                turn.due(Deadline::Retention, turn.now.saturating_add(wait));
            }
            None => turn.not_due(&Deadline::Retention),
        }
    }

    /// Moves an order to a state and tells its integration.
    fn enter(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, state: OrderState, when: Happened) {
        let Some(order) = self.rows.get(at) else {
            return;
        };
        self.finished.remove(order.since, at);
        let row = self.change(turn, at, |order, now| {
            order.pass(state, now, when);
            Self::status_of(order, when)
        });
        let Some(row) = row else { return };
        if state.is_final() {
            self.finished.insert(turn.now, at);
        }
        self.watch_retention(turn, config);
        self.put_row(turn, at);
        if state == OrderState::Rejected {
            self.reject_whole(turn, at, when);
        }
        self.tell(turn, at, row);
        self.look_at_bundle(turn, at);
    }

    /// Most of a message about an order as it is; its kind, its id, and the place and the code that a cabinet knows are to come.
    fn message(order: &Order, now: FleetMillis) -> NotificationRow {
        NotificationRow {
            n: 0,
            id: String::new(),
            order: order.order.order.clone(),
            at: now,
            cabinet: order.cabinet.clone(),
            compartment: order.compartment,
            place: String::new(),
            code: Blob::default(),
            qr: Blob::default(),
            recipient: order.recipient.clone().unwrap_or_default(),
            kind: None,
            until: order.window.as_ref().map(|window| window.ends),
            bundle: None,
            doors: None,
            walk_in: order.walk_in.is_some().then_some(true),
            second_factor: order.prompt(),
            until_local: None,
            zone: None,
        }
    }

    /// Writes an order whose state stays, and tells its integration how it is now.
    fn tell_again(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        let Some(order) = self.rows.get(at) else { return };
        let row = Self::status_of(order, Happened::now(turn));
        self.put_row(turn, at);
        self.tell(turn, at, row);
    }

    fn put_row(&self, turn: &mut Turn<'_>, at: &OrderRef) {
        if let Some(order) = self.rows.get(at) {
            turn.put(ORDERS, at.key(), order);
        }
    }

    /// What the integration is told of an order as it is.
    fn status_of(order: &Order, when: Happened) -> StatusRow {
        let timed = matches!(order.state, OrderState::Stored | OrderState::Overdue);
        StatusRow {
            n: 0,
            order: order.order.order.clone(),
            state: order.state,
            at: when.at,
            time_unverified: when.unverified,
            cabinet: Some(order.cabinet.clone()),
            compartment: order.compartment,
            reason: order.reason,
            content: None,
            until: order.window.as_ref().filter(|_| timed).map(|window| window.ends),
            bundle: order.bundle.as_ref().map(|of| of.bundle.clone()),
            walk_in: order.walk_in.is_some().then_some(true),
            parts: None,
            courier: order.courier.as_deref().cloned(),
        }
    }

    fn tell(&mut self, turn: &mut Turn<'_>, at: &OrderRef, row: StatusRow) {
        let Some(row) = self.row_of_whole(turn, at, row) else { return };
        if let Some(stream) = self.stream(at, Stream::Status) {
            self.streams.add(turn, stream, |n| StatusRow { n, ..row });
        }
    }

    /// Where an order is told of: to its integration, or to the one that tells the recipients of walk-ins.
    fn stream(&self, at: &OrderRef, stream: Stream) -> Option<StreamRef> {
        let integration = match self.rows.get(at).and_then(|order| order.walk_in.as_ref()) {
            Some(walk_in) => walk_in.teller.clone()?,
            None => at.order.integration.clone(),
        };
        Some(StreamRef { tenant: at.tenant.clone(), integration, stream })
    }
}
