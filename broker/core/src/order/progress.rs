//! What cabinets tell about orders.

use schemas::api::{OrderState, RejectReason};
use schemas::messages::TakeBack;
use schemas::topics::Stream;

use crate::cabinet::Cabinets;
use crate::config::Config;
use crate::intents::{Doubt, Intent, Issue, Issued, OrderFact, OrderIntent, Release, Revoke, Told, Unwant};
use crate::order::window::Window;
use crate::order::{Happened, Order, Orders};
use crate::rows::NotificationRow;
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

impl Orders {
    /// Takes an intent of the cabinet `from`.
    pub(crate) fn take(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        from: &CabinetRef,
        intent: OrderIntent,
        cabinets: &Cabinets<'_>,
    ) {
        if let OrderIntent::WalkedIn(began) = intent {
            return self.walked_in(turn, config, at, from, began);
        }
        self.follows(turn, at, from, &intent, cabinets);
        if self.moved(turn, config, at, from, &intent) {
            return;
        }
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
                self.invite(turn, at);
            }
            OrderIntent::NoRoom(_) if state == OrderState::Ready && self.asks_next(turn, at, cabinets) => {}
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
            OrderIntent::Shown(shown) => self.shown(turn, at, shown),
            OrderIntent::Stalled(stalled) => self.stalled(turn, at, stalled.at),
            OrderIntent::Invited(invited) => self.invited(turn, at, invited),
            OrderIntent::Full(_) => self.full(turn, at),
            OrderIntent::Resumed(resumed) => self.resumed(turn, config, at, resumed.at),
            OrderIntent::Gathered(gathered) => self.gathered(turn, at, gathered.place),
            OrderIntent::Reported(said) => self.reported(turn, config, at, &said),
            OrderIntent::WalkedIn(_) => {}
            OrderIntent::Dropped(dropped) => self.dropped(turn, config, at, &dropped),
            OrderIntent::Altered(altered) => self.altered(turn, config, at, altered.compartment),
            OrderIntent::Unaltered(_) => self.unaltered(turn, at),
            OrderIntent::NotOpened(said) => self.not_opened(turn, at, &said),
        }
    }

    /// The cabinet's facts win, also over a cancelling that it did not hear of in time.
    fn told(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, from: &CabinetRef, told: &Told) {
        let Some(order) = self.rows.get_mut(at) else {
            return;
        };
        // A person has ended it: only that it is there after all is news.
        if order.closed.is_some() && told.fact != OrderFact::Stored {
            return;
        }
        let Some(next) = next_state(order.state, told.fact) else {
            return;
        };
        // Loaded once more, it is still not to be handed out.
        let next =
            if next == OrderState::Stored && order.quarantine.is_some() { OrderState::Quarantined } else { next };
        order.closed = None;
        // Ready in the time between a backup and now: the cabinet has it in its book, the fleet has not.
        let forgotten = order.state == OrderState::Created && matches!(next, OrderState::Loading | OrderState::Stored);
        let reserve = order.reserve();
        order.reason = None;
        // What staff say of it afterwards does not change who brought it.
        if told.courier.is_some() || matches!(told.fact, OrderFact::Loading | OrderFact::LoadAborted) {
            order.courier = told.courier.clone().map(Box::new);
        }
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
            | OrderState::Disputed
            | OrderState::Overdue
            | OrderState::PartlyCollected
            | OrderState::Quarantined => Some(told.compartment),
        };
        let undone = next == OrderState::Ready && order.state != OrderState::Loading;
        if undone {
            // It never was there for its recipient: the time begins with the next loading, and with another code.
            self.change(turn, at, |order, _| order.window = None);
            self.await_again(at);
            turn.send(Intent::to_cabinet(from, Revoke { order: at.order.clone() }));
            turn.send(Intent::to_cabinet(from, Unwant { order: at.order.clone(), why: TakeBack::Recalled }));
        }
        let issue = (next == OrderState::Stored).then(|| self.issue(turn, at, told)).flatten();
        if next == OrderState::Stored
            && let Some(window) = self.rows.get(at).and_then(|order| order.window.clone())
        {
            self.complete_whole(turn, config, at, &window);
        }
        let when = Happened { at: told.at, unverified: told.time_unverified };
        self.enter(turn, config, at, next, when);
        if forgotten {
            turn.send(Intent::to_cabinet(from, reserve));
        }
        if let Some(issue) = issue.filter(|_| self.may_tell(turn, config, at)) {
            turn.send(Intent::to_cabinet(from, self.right(at, issue)));
        } else if next.is_final() {
            turn.send(Intent::to_cabinet(from, Release { order: at.order.clone() }));
        } else if next == OrderState::Recalled {
            turn.send(Intent::to_cabinet(from, Revoke { order: at.order.clone() }));
        }
    }

    /// The cabinet holds the code: the recipient may hear of it. Never twice, and not once the order is out.
    fn issued(&mut self, turn: &mut Turn<'_>, at: &OrderRef, issued: Issued) {
        let here = |order: &&mut Order| !order.notified && !order.state.is_final() && !order.state.is_withheld();
        let Some(order) = self.rows.get_mut(at).filter(here) else {
            return;
        };
        order.notified = true;
        let Issued { compartment, place, code, qr } = issued;
        let (id, compartment) = (format!("pickup-code/{}", at.order), Some(compartment));
        let row = NotificationRow { id, compartment, place, code, qr, ..Self::message(order, turn.now) };
        self.put_row(turn, at);
        self.notify(turn, at, row);
    }

    pub(super) fn notify(&mut self, turn: &mut Turn<'_>, at: &OrderRef, row: NotificationRow) {
        let row = self.sites.localised(&at.tenant, row);
        if let Some(stream) = self.stream(at, Stream::Notifications) {
            let of = row.bundle.as_ref().map_or_else(|| at.order.clone(), |bundle| at.sibling(bundle).order);
            self.write_message(turn, stream, &of, row);
        }
    }

    /// The right that a stored order gives. An order whose door was opened, or that staff have put elsewhere, goes on with the
    /// window that it had.
    fn issue(&mut self, turn: &mut Turn<'_>, at: &OrderRef, told: &Told) -> Option<Issue> {
        let policy = self.policies.of(&at.tenant);
        let rules = policy.policies.of(self.rows.get(at)?.category);
        // A cabinet whose clock is ahead gives nobody more time.
        let site = self.site_of(at);
        let cooled = told.refrigerated && self.other_parts_are_cooled(at);
        let begun = Window::begin(policy, rules, told.at.min(turn.now), cooled, site.as_deref());
        let window = self.change(turn, at, |order, _| order.window.get_or_insert_with(|| Box::new(begun)).clone())?;
        self.rows.get(at)?.issue(&window, &self.bundles, at)
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
    use OrderState::{
        Collected, CollectedUnconfirmed, Collecting, Disputed, Loading, Overdue, Quarantined, Ready, Recalled,
        Retrieved, Stored,
    };
    let taken_out = matches!(state, Collected | CollectedUnconfirmed | Retrieved);
    match fact {
        OrderFact::Loading => (!state.is_final() && !state.is_withheld() && state != Loading).then_some(Loading),
        // Loaded although it is over for its backend: staff have to take it back.
        OrderFact::Stored if state.is_final() => Some(Recalled),
        OrderFact::Stored => (!matches!(state, Recalled | Quarantined | Stored | Overdue)).then_some(Stored),
        // Undone: the cancelled order is out, any other one is to be loaded again.
        OrderFact::LoadAborted if state.is_withheld() => Some(Retrieved),
        OrderFact::LoadAborted => matches!(state, Loading | Stored | Overdue).then_some(Ready),
        OrderFact::Opened => matches!(state, Stored | Overdue).then_some(Collecting),
        // The door was closed after somebody said that the order is not there.
        OrderFact::Collected | OrderFact::CollectedUnconfirmed if state == Disputed => None,
        OrderFact::Collected => (!taken_out).then_some(Collected),
        OrderFact::CollectedUnconfirmed => (!taken_out).then_some(CollectedUnconfirmed),
        OrderFact::Retrieved => (!taken_out).then_some(Retrieved),
        OrderFact::NotTaken => (state == Collecting).then_some(Stored),
        // Staff have put right what somebody complained about.
        OrderFact::Moved if state == Disputed => Some(Stored),
        // The same state, behind another door.
        OrderFact::Moved => matches!(state, Stored | Overdue | Collecting | Recalled | Quarantined).then_some(state),
        // Whoever cancelled it wants nothing more of it.
        OrderFact::Missing => (!state.is_final() && !matches!(state, Recalled | Disputed)).then_some(Disputed),
    }
}
