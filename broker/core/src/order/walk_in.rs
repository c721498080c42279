//! Walk-ins: orders that staff began at a cabinet with a phone number.
//!
//! The cabinet has sealed the number; the signer opens it. A code is made only once the fleet knows whom to tell, and which
//! integration tells him, and as far as the cabinet has not used up its day: a cabinet in wrong hands must not have
//! messages sent without end.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::OrderState;
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{CabinetId, Name, TenantId};
use schemas::messages::{FleetMillis, Instance};
use schemas::phone::Phone;

use crate::config::Config;
use crate::deadlines::Deadline;
use crate::intents::{Dropped, Intent, Release, WalkedIn};
use crate::jobs::Job;
use crate::order::{Happened, Order, Orders};
use crate::rows::RecipientRow;
use crate::signing::{OpenPhone, SignerRequest};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

const DAY: u64 = 24 * 60 * 60 * 1_000;
/// Walk-ins of one cabinet that are taken within a day, for each whose recipient is told: not all that are begun are loaded.
const TAKEN_PER_TOLD: usize = 5;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct WalkIn {
        /// When the fleet took it.
        1 => taken: FleetMillis,
        /// The phone number as the cabinet has sealed it, until the signer has opened it.
        2 opt => sealed: Option<Blob>,
        /// The installation of the cabinet that sealed it.
        3 => instance: Instance,
        /// The integration that hears of the order and tells its recipient.
        4 opt => teller: Option<Name>,
        /// When it was decided that its recipient is told.
        5 opt => told: Option<FleetMillis>,
        /// Where staff began it and its number was sealed; it may have been moved since. Left out by rows of before this was kept.
        90 opt => from: Option<CabinetId>,
    }
}

impl Order {
    /// The cabinet at which staff began it.
    fn begun_at(&self) -> CabinetId {
        self.walk_in.as_ref().and_then(|walk_in| walk_in.from.clone()).unwrap_or_else(|| self.cabinet.clone())
    }
}

#[derive(Default)]
pub(crate) struct WalkIns {
    /// Nothing says yet that their recipients are told.
    held: BTreeSet<OrderRef>,
    days: BTreeMap<CabinetRef, Days>,
    /// The only integration of a tenant, where there is only one.
    only: BTreeMap<TenantId, Name>,
}

/// Moments within the last day, of one cabinet.
#[derive(Default)]
struct Days {
    taken: Vec<FleetMillis>,
    told: Vec<FleetMillis>,
}

impl Days {
    fn forget_before(&mut self, now: FleetMillis) {
        // A moment that lies ahead of a clock that was put back counts on.
        let recent = |at: &FleetMillis| at.saturating_add(DAY) > now;
        self.taken.retain(recent);
        self.told.retain(recent);
    }
}

impl WalkIns {
    /// Takes over an order that is new, or from the store.
    pub(super) fn see(&mut self, at: &OrderRef, order: &Order) {
        let Some(walk_in) = &order.walk_in else { return };
        let days = self.days_of(at, order);
        days.taken.push(walk_in.taken);
        days.told.extend(walk_in.told);
        if walk_in.told.is_none() && !order.state.is_final() {
            self.held.insert(at.clone());
        }
    }

    fn days_of(&mut self, at: &OrderRef, order: &Order) -> &mut Days {
        self.days.entry(CabinetRef::new(at.tenant.clone(), order.begun_at())).or_default()
    }
}

impl Orders {
    /// Staff began it, or its number was sealed once more, to another key.
    pub(super) fn walked_in(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        from: &CabinetRef,
        began: WalkedIn,
    ) {
        if let Some(order) = self.rows.get_mut(at) {
            let begun_here = order.begun_at() == from.cabinet;
            match &mut order.walk_in {
                Some(walk_in) if begun_here => {
                    if order.recipient.is_none() && !order.state.is_final() {
                        (walk_in.sealed, walk_in.instance) = (Some(began.sealed), began.instance);
                        self.put_row(turn, at);
                        turn.want(Job::Phone(at.clone()));
                    }
                }
                Some(_) | None => turn.alarm_of(from, format!("cabinet {from} began {}, which is another's", at.order)),
            }
            return;
        }
        if !self.takes_walk_in(turn, config, at, from) {
            turn.alarm_of(from, format!("cabinet {from} begins too many orders: {} is not taken", at.order));
            return turn.send(Intent::to_cabinet(from, Release { order: at.order.clone() }));
        }
        let when = Happened { at: began.at, unverified: began.time_unverified };
        let teller = self.teller(config, at);
        if teller.is_none() {
            turn.alarm_of(from, format!("nobody tells the recipient of {}: set `walk_in` in `[orders]`", at.order));
        }
        let order = new_order(turn, at, from, began, teller);
        self.replace(at, order);
        self.enter(turn, config, at, OrderState::Ready, when);
        turn.want(Job::Phone(at.clone()));
    }

    fn takes_walk_in(&mut self, turn: &Turn<'_>, config: &Config, at: &OrderRef, from: &CabinetRef) -> bool {
        let (kept, _) = self.counts_of(&at.integration());
        let days = self.walk_ins.days.entry(from.clone()).or_default();
        days.forget_before(turn.now);
        let most = TAKEN_PER_TOLD.saturating_mul(config.walk_ins_per_day as usize);
        kept < config.orders_per_integration && days.taken.len() < most
    }

    fn teller(&self, config: &Config, at: &OrderRef) -> Option<Name> {
        config.walk_in.clone().or_else(|| self.walk_ins.only.get(&at.tenant).cloned())
    }

    /// Another integration came, or none that comes is the only one any more.
    pub(crate) fn set_only_integration(&mut self, tenant: TenantId, only: Option<Name>) {
        match only {
            Some(only) => self.walk_ins.only.insert(tenant, only),
            None => self.walk_ins.only.remove(&tenant),
        };
    }

    pub(crate) fn holds_walk_ins(&self) -> bool {
        !self.walk_ins.held.is_empty()
    }

    /// Orders whose number the signer is to open.
    pub(crate) fn sealed_phones(&self) -> impl Iterator<Item = &OrderRef> {
        self.walk_ins.held.iter().filter(|at| self.next_phone(at).is_some())
    }

    pub(crate) fn next_phone(&self, at: &OrderRef) -> Option<SignerRequest> {
        let order = self.rows.get(at).filter(|order| !order.state.is_final())?;
        let WalkIn { sealed, instance, .. } = order.walk_in.as_deref()?;
        let (tenant, cabinet) = (at.tenant.clone(), order.begun_at());
        let (instance, sealed) = (*instance, sealed.clone()?);
        Some(OpenPhone { tenant, cabinet, instance, order: at.order.clone(), sealed }.into())
    }

    /// The signer has opened what it was asked to.
    pub(crate) fn phone_opened(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        asked: &OpenPhone,
        phone: Option<&str>,
    ) {
        let Some(order) = self.rows.get_mut(at).filter(|order| !order.state.is_final()) else { return };
        let Some(walk_in) = order.walk_in.as_mut().filter(|walk_in| walk_in.sealed.as_ref() == Some(&asked.sealed))
        else {
            // Sealed once more meanwhile: that one is asked for.
            return turn.want(Job::Phone(at.clone()));
        };
        walk_in.sealed = None;
        let phone = phone.and_then(|text| Phone::parse(text).ok());
        let read = phone.is_some();
        order.recipient =
            phone.map(|phone| RecipientRow { phone: Some(phone.reveal().to_owned()), ..Default::default() });
        self.put_row(turn, at);
        if read {
            self.try_to_tell(turn, config, at);
        } else {
            let from = CabinetRef::new(at.tenant.clone(), asked.cabinet.clone());
            let text = format!("the phone number of {} cannot be read: staff have to take the order out", at.order);
            turn.alarm_of(&from, text);
        }
    }

    /// Whether a code may be made for an order that is stored. Decided once for a walk-in; always so for any other order.
    pub(super) fn may_tell(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef) -> bool {
        let teller = self.teller(config, at);
        let Some(order) = self.rows.get_mut(at) else { return false };
        let reachable = order.recipient.as_ref().is_some_and(|recipient| recipient.phone.is_some());
        let begun_at = order.begun_at();
        let Some(walk_in) = &mut order.walk_in else { return true };
        if walk_in.told.is_some() {
            return true;
        }
        walk_in.teller = walk_in.teller.take().or(teller);
        if !reachable || walk_in.teller.is_none() {
            return false;
        }
        let from = CabinetRef::new(at.tenant.clone(), begun_at);
        let days = self.walk_ins.days.entry(from.clone()).or_default();
        days.forget_before(turn.now);
        if days.told.len() >= config.walk_ins_per_day as usize {
            let next = days.told.iter().min().map_or(turn.now, |first| *first).saturating_add(DAY);
            turn.due(Deadline::WalkIns, next.max(turn.now.saturating_add(1)));
            turn.alarm_of(&from, format!("cabinet {from} has used up its walk-ins of this day: {} waits", at.order));
            return false;
        }
        walk_in.told = Some(turn.now);
        days.told.push(turn.now);
        self.walk_ins.held.remove(at);
        self.put_row(turn, at);
        true
    }

    /// Something has come for which the recipient of a stored walk-in may have been waiting.
    fn try_to_tell(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef) {
        let Some(order) = self.rows.get(at) else { return };
        if order.state.is_final() {
            self.walk_ins.held.remove(at);
            return;
        }
        let stored = matches!(order.state, OrderState::Stored | OrderState::Overdue);
        let Some(window) = order.window.clone().filter(|_| stored) else { return };
        if self.may_tell(turn, config, at) {
            self.issue_again(turn, at, &window);
        }
    }

    /// A start with other settings, another integration, or another day.
    pub(crate) fn walk_ins_due(&mut self, turn: &mut Turn<'_>, config: &Config) {
        let held: Vec<_> = self.walk_ins.held.iter().cloned().collect();
        held.iter().for_each(|at| self.try_to_tell(turn, config, at));
    }

    /// Staff gave it up while it was in no compartment.
    pub(super) fn dropped(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, dropped: &Dropped) {
        let Some(order) = self.rows.get(at).filter(|order| order.walk_in.is_some()) else { return };
        let from = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        match order.state {
            OrderState::Created | OrderState::Ready | OrderState::Reserved | OrderState::Disputed => {}
            OrderState::Loading
            | OrderState::Stored
            | OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            | OrderState::Overdue
            | OrderState::PartlyCollected
            | OrderState::Quarantined => return,
        }
        self.clear_compartment(at);
        let when = Happened { at: dropped.at, unverified: dropped.time_unverified };
        self.enter(turn, config, at, OrderState::Cancelled, when);
        self.walk_ins.held.remove(at);
        turn.send(Intent::to_cabinet(&from, Release { order: at.order.clone() }));
    }
}

fn new_order(turn: &Turn<'_>, at: &OrderRef, from: &CabinetRef, began: WalkedIn, teller: Option<Name>) -> Order {
    let WalkedIn { size, category, wants, sealed, instance, at: _, time_unverified: _ } = began;
    let begun_at = Some(from.cabinet.clone());
    let walk_in = WalkIn { taken: turn.now, sealed: Some(sealed), instance, teller, told: None, from: begun_at };
    Order {
        route: None,
        opening: None,
        order: at.order.clone(),
        cabinet: from.cabinet.clone(),
        size,
        category,
        wants,
        recipient: None,
        content: String::new(),
        state: OrderState::Ready,
        since: turn.now,
        compartment: None,
        history: Vec::new(),
        notified: false,
        reason: None,
        window: None,
        asked: None,
        hold: None,
        pending: None,
        quarantine: None,
        closed: None,
        bundle: None,
        walk_in: Some(Box::new(walk_in)),
        staff_release: None,
        factor: None,
        deposit: None,
        part: None,
        shares: None,
        courier: None,
    }
}
