//! What cabinets tell about orders.

use schemas::api::{OrderState, RejectReason};
use schemas::messages::{Category, FleetMillis};
use schemas::topics::Stream;

use crate::config::Config;
use crate::intents::{Doubt, Intent, Issue, Issued, OrderFact, OrderIntent, Release, Reserve, Revoke, Told};
use crate::order::{Happened, Order, Orders};
use crate::rows::NotificationRow;
use crate::tables::{CabinetRef, OrderRef, StreamRef};
use crate::turn::Turn;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

impl Orders {
    /// Takes an intent of the cabinet `from`.
    pub(crate) fn take(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        from: &CabinetRef,
        intent: OrderIntent,
    ) {
        let Some(order) = self.rows.get(at).filter(|order| order.cabinet == from.cabinet) else {
            return stranger(turn, at, from, &intent);
        };
        let state = order.state;
        let when = Happened::now(turn);
        match intent {
            OrderIntent::Reserved(reserved) if state == OrderState::Ready || state == OrderState::Reserved => {
                if let Some(order) = self.rows.get_mut(at) {
                    order.compartment = Some(reserved.compartment);
                }
                self.enter(turn, config, at, OrderState::Reserved, when);
            }
            OrderIntent::NoRoom(_) if state == OrderState::Ready => {
                self.enter_rejected(turn, config, at, RejectReason::NoFittingCompartment);
            }
            OrderIntent::Displaced(_) if state == OrderState::Reserved => {
                self.clear_compartment(at);
                self.enter(turn, config, at, OrderState::Ready, when);
            }
            // What the cabinet said of a reservation is of no use once staff have loaded or the backend has cancelled.
            OrderIntent::Reserved(_) | OrderIntent::NoRoom(_) | OrderIntent::Displaced(_) => {}
            OrderIntent::Told(told) => self.told(turn, config, at, from, &told),
            OrderIntent::Issued(issued) => self.issued(turn, at, issued),
        }
    }

    /// The cabinet's facts win, also over a cancelling that it did not hear of in time.
    fn told(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, from: &CabinetRef, told: &Told) {
        let Some(order) = self.rows.get_mut(at) else {
            return;
        };
        let Some(next) = next_state(order.state, told.fact) else {
            return;
        };
        // Ready in the time between a backup and now: the cabinet has it in its book, the fleet has not.
        let forgotten = order.state == OrderState::Created && matches!(next, OrderState::Loading | OrderState::Stored);
        let (size, category, wants) = (order.size, order.category, order.wants);
        order.reason = None;
        order.compartment = match next {
            OrderState::Ready => None,
            OrderState::Created
            | OrderState::Reserved
            | OrderState::Loading
            | OrderState::Stored
            | OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            | OrderState::Disputed => Some(told.compartment),
        };
        let issue = (next == OrderState::Stored).then(|| issue(order, told));
        let when = Happened { at: told.at, unverified: told.time_unverified };
        self.enter(turn, config, at, next, when);
        if forgotten {
            turn.send(Intent::to_cabinet(from, Reserve { order: at.order.clone(), size, category, wants }));
        }
        if let Some(issue) = issue {
            turn.send(Intent::to_cabinet(from, issue));
        } else if next.is_final() {
            turn.send(Intent::to_cabinet(from, Release { order: at.order.clone() }));
        } else if next == OrderState::Recalled {
            turn.send(Intent::to_cabinet(from, Revoke { order: at.order.clone() }));
        }
    }

    /// The cabinet holds the code: the recipient may hear of it. Never twice, and not once the order is out.
    fn issued(&mut self, turn: &mut Turn<'_>, at: &OrderRef, issued: Issued) {
        let here =
            |order: &&mut Order| !order.notified && !order.state.is_final() && order.state != OrderState::Recalled;
        let Some(order) = self.rows.get_mut(at).filter(here) else {
            return;
        };
        order.notified = true;
        let row = NotificationRow {
            n: 0,
            id: format!("pickup-code/{}", at.order),
            order: at.order.order.clone(),
            at: turn.now,
            cabinet: order.cabinet.clone(),
            compartment: issued.compartment,
            place: issued.place,
            code: issued.code,
            qr: issued.qr,
            recipient: order.recipient.clone().unwrap_or_default(),
        };
        self.put_row(turn, at);
        let stream = StreamRef {
            tenant: at.tenant.clone(),
            integration: at.order.integration.clone(),
            stream: Stream::Notifications,
        };
        self.streams.add(turn, stream, |n| NotificationRow { n, ..row });
    }
}

/// A cabinet speaks of an order that is not booked there: a restored fleet, or a cabinet that lies.
fn stranger(turn: &mut Turn<'_>, at: &OrderRef, from: &CabinetRef, intent: &OrderIntent) {
    if let OrderIntent::Told(told) = intent
        && matches!(told.fact, OrderFact::Loading | OrderFact::Stored)
    {
        turn.send(Intent::to_cabinet(from, Doubt { order: at.order.clone(), compartment: told.compartment }));
    }
}

/// Where a fact moves an order, if anywhere.
fn next_state(state: OrderState, fact: OrderFact) -> Option<OrderState> {
    use OrderState::{Collected, CollectedUnconfirmed, Collecting, Loading, Ready, Recalled, Retrieved, Stored};
    let taken_out = matches!(state, Collected | CollectedUnconfirmed | Retrieved);
    match fact {
        OrderFact::Loading => (!state.is_final() && !matches!(state, Recalled | Loading)).then_some(Loading),
        // Loaded although it is over for its backend: staff have to take it back.
        OrderFact::Stored if state.is_final() => Some(Recalled),
        OrderFact::Stored => (!matches!(state, Recalled | Stored)).then_some(Stored),
        OrderFact::LoadAborted => (state == Loading).then_some(Ready),
        OrderFact::Opened => (state == Stored).then_some(Collecting),
        OrderFact::Collected => (!taken_out).then_some(Collected),
        OrderFact::CollectedUnconfirmed => (!taken_out).then_some(CollectedUnconfirmed),
        OrderFact::Retrieved => (!taken_out).then_some(Retrieved),
    }
}

/// The right that a stored order gives (product.md, Windows by default). Categories with a grace keep their code
/// until staff take the order back; food and pharmacy end with their window, and need the time to be known.
fn issue(order: &Order, told: &Told) -> Issue {
    let window = match order.category {
        Category::Food if told.refrigerated => Some(2 * HOUR),
        Category::Food => Some(30 * MINUTE),
        Category::Pharmacy => Some(48 * HOUR),
        Category::Retail | Category::Laundry | Category::Repair | Category::Courier => None,
    };
    let expires: Option<FleetMillis> = window.map(|window| told.at.saturating_add(window));
    Issue { order: order.order.clone(), expires, needs_time: window.is_some() }
}
