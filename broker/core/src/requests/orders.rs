//! Requests about orders, and about how long they are kept.

use schemas::api::{
    ClosedAs, ContentHash, OrderContent, OrderPut, OrderState, Policies, RejectReason, Reply, ReplyError,
    RequestErrorCode,
};
use schemas::ids::{CabinetId, Name};
use schemas::messages::{Action, ConfirmOrder, LoadOrder, OrderKey, PresenceToken, RetrieveOrder};

use super::{Asker, check_text, error};
use crate::cabinet::Cabinets;
use crate::core::FleetCore;
use crate::order::{Asked, Order, Wish, check_content, check_put};
use crate::tables::OrderRef;
use crate::turn::Turn;

impl FleetCore {
    pub(super) fn policy(&self, asker: &Asker) -> Reply {
        Reply::Policy(Box::new(self.orders.policies.detail(&asker.who.tenant)))
    }

    pub(super) fn put_policies(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        replaces: u64,
        policies: Policies,
        live: bool,
    ) -> Result<Reply, ReplyError> {
        self.orders.policies.put(turn, &asker.who, replaces, policies, live)?;
        self.orders.sweep(turn, &self.config, &asker.who.tenant);
        Ok(self.policy(asker))
    }

    pub(super) fn put_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        integration: Name,
        put: OrderPut,
    ) -> Result<Reply, ReplyError> {
        check_put(&put).map_err(|text| error(RequestErrorCode::Malformed, text, "asyncapi.yaml shows the fields"))?;
        let at = asker.order(OrderKey { integration: integration.clone(), order: put.order.clone() });
        let tenant = asker.who.tenant.clone();
        let cabinets = Cabinets(&self.cabinets);
        let taken = self.orders.put(turn, &self.config, (tenant, integration), put, &cabinets);
        taken.map_err(rejected)?;
        // The cabinet answers within this turn; then the order says whether it got a compartment.
        self.deliver(turn);
        let refused = |order: &&Order| order.state == OrderState::Rejected;
        match self.orders.find(&at).filter(refused).and_then(|order| order.reason) {
            Some(reason) => Err(rejected(reason)),
            None => Ok(Reply::Done),
        }
    }

    pub(super) fn move_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
        to: CabinetId,
    ) -> Result<Reply, ReplyError> {
        let at = self.known_order(asker, order)?;
        self.orders.send_to(turn, &at, to.clone(), &Cabinets(&self.cabinets)).map_err(refused)?;
        // The cabinet answers within this turn.
        self.deliver(turn);
        match self.orders.find(&at).is_some_and(|order| order.cabinet == to) {
            true => Ok(Reply::Done),
            false => Err(refused(RejectReason::NoFittingCompartment)),
        }
    }

    pub(super) fn show_order(&self, asker: &Asker, order: OrderKey) -> Result<Reply, ReplyError> {
        let covered = asker.covers(&order.integration);
        let at = asker.order(order);
        let found = covered.then(|| self.orders.detail(&at)).flatten();
        let mut detail = found.ok_or_else(|| unknown_order(&at.order))?;
        let cabinet = self.cabinets.get(&asker.cabinet(detail.summary.cabinet.clone()));
        detail.revoke_pending = cabinet.is_some_and(|cabinet| cabinet.is_revoke_pending(&at.order));
        Ok(Reply::Order(Box::new(detail)))
    }

    /// An order that the asker may touch. Asked for by a person, an unknown one is no news for the integration's stream.
    fn known_order(&self, asker: &Asker, order: OrderKey) -> Result<OrderRef, ReplyError> {
        let covered = asker.covers(&order.integration);
        let at = asker.order(order);
        if covered && self.orders.find(&at).is_some() { Ok(at) } else { Err(unknown_order(&at.order)) }
    }

    /// The answer shows whether the cabinet has heard of it.
    pub(super) fn quarantine_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
        reason: String,
    ) -> Result<Reply, ReplyError> {
        check_text("reason", &reason)?;
        let at = self.known_order(asker, order)?;
        self.orders.quarantine(turn, &self.config, &at, asker.who.clone(), reason).map_err(refused)?;
        self.deliver(turn);
        self.show_order(asker, at.order)
    }

    pub(super) fn release_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
        reason: &str,
    ) -> Result<Reply, ReplyError> {
        check_text("reason", reason)?;
        let at = self.known_order(asker, order)?;
        self.orders.release(turn, &self.config, &at, (&asker.who, reason)).map_err(refused)?;
        self.show_order(asker, at.order)
    }

    pub(super) fn close_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
        closed_as: ClosedAs,
        reason: String,
    ) -> Result<Reply, ReplyError> {
        check_text("reason", &reason)?;
        let at = self.known_order(asker, order)?;
        let by = (asker.who.clone(), reason);
        self.orders.close(turn, &self.config, &at, closed_as, by).map_err(refused)?;
        self.show_order(asker, at.order)
    }

    pub(super) fn cancel_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
    ) -> Result<Reply, ReplyError> {
        let at = self.known_order(asker, order)?;
        self.orders.cancel(turn, &self.config, &at).map(|_| Reply::Done).map_err(rejected)
    }

    /// The answer shows the order as it is then, with the hash that a next change may name.
    pub(super) fn change_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
        replaces: Option<&ContentHash>,
        change: &OrderContent,
    ) -> Result<Reply, ReplyError> {
        check_content(change)
            .map_err(|text| error(RequestErrorCode::Malformed, text, "asyncapi.yaml shows the fields"))?;
        let at = self.known_order(asker, order)?;
        let wanted = self.orders.update(turn, &self.config, &at, replaces, change).map_err(refused)?;
        // The cabinet answers within this turn; then the order says whether there is room for it.
        self.deliver(turn);
        match self.orders.find(&at) {
            Some(Order { state: OrderState::Rejected, reason: Some(reason), .. }) => Err(rejected(*reason)),
            Some(order) if order.content != wanted => Err(refused(RejectReason::NoFittingCompartment)),
            Some(_) | None => self.show_order(asker, at.order),
        }
    }

    /// `None` when the cabinet is asked: what becomes of it comes later.
    pub(super) fn open_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
        token: PresenceToken,
    ) -> Result<Option<Reply>, ReplyError> {
        let at = self.known_order(asker, order)?;
        match self.orders.open(turn, &self.config, &at, asker.who.clone(), token).map_err(refused)? {
            Asked::Before => self.show_order(asker, at.order).map(Some),
            Asked::Cabinet(command) => {
                let cabinet = self.orders.find(&at).map(|order| asker.cabinet(order.cabinet.clone()));
                if let Some(cabinet) = cabinet.and_then(|at| self.cabinets.get_mut(&at)) {
                    cabinet.await_opening(command, asker.ticket);
                }
                Ok(None)
            }
        }
    }

    /// Has the order's cabinet do something about it. The answer comes by the asker's ticket.
    pub(super) fn errand_for(&mut self, turn: &mut Turn<'_>, asker: Asker, action: Action) -> Result<(), ReplyError> {
        let Some(order) = action.order().cloned() else { return Ok(()) };
        let at = self.known_order(&asker, order)?;
        let cabinet = self.orders.find(&at).map(|order| asker.cabinet(order.cabinet.clone()));
        let cabinet = cabinet.ok_or_else(|| unknown_order(&at.order))?;
        let action = self.about_a_part(&at, action);
        self.cabinet(&cabinet)?.errand(turn, (asker.ticket, asker.who), action)
    }

    /// The same, about the part of the order that is meant.
    pub(super) fn about_a_part(&self, at: &OrderRef, action: Action) -> Action {
        let part = self.orders.part_for(at, &action).order;
        match action {
            Action::Unlock(unlock) => unlock.into(),
            Action::Load(load) => LoadOrder { order: part, ..load }.into(),
            Action::Confirm(word) => ConfirmOrder { order: part, ..word }.into(),
            Action::Retrieve(_) => RetrieveOrder { order: part }.into(),
        }
    }

    pub(super) fn wish_for(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        order: OrderKey,
        wish: Wish,
    ) -> Result<Reply, ReplyError> {
        let at = self.known_order(asker, order)?;
        self.orders.wish(turn, &self.config, &at, wish).map(|()| Reply::Done).map_err(refused)
    }
}

fn unknown_order(order: &OrderKey) -> ReplyError {
    error(RequestErrorCode::Unknown, format!("there is no order {order}"), "`fleet order list` shows the newest ones")
}

fn rejected(reason: RejectReason) -> ReplyError {
    let (code, hint) = way_out(reason);
    error(code, format!("the order is rejected: {reason}"), hint)
}

/// Something was not done to an order; it stays as it is.
fn refused(reason: RejectReason) -> ReplyError {
    let (code, hint) = way_out(reason);
    error(code, format!("nothing was changed: {reason}"), hint)
}

pub(crate) fn way_out(reason: RejectReason) -> (RequestErrorCode, &'static str) {
    match reason {
        RejectReason::NoFittingCompartment => {
            (RequestErrorCode::Refused, "put it again when a compartment is free, or at another cabinet")
        }
        RejectReason::UnknownCabinet => (RequestErrorCode::Unknown, "`fleet cabinet list` shows all of them"),
        RejectReason::OtherContent => (
            RequestErrorCode::Conflict,
            "`fleet order show` tells which content it has; `fleet order change` gives it another one",
        ),
        RejectReason::NotCollected => {
            (RequestErrorCode::Refused, "what a customer drops off is taken out by staff; leave it out of the bundle")
        }
        RejectReason::UnknownSite => {
            (RequestErrorCode::Unknown, "`fleet cabinet list` shows which sites have cabinets")
        }
        RejectReason::UnknownOrder => (RequestErrorCode::Unknown, "`fleet order list` shows the newest ones"),
        RejectReason::TooLate => (RequestErrorCode::Conflict, "`fleet order show` tells how far it is"),
        RejectReason::Malformed => (RequestErrorCode::Malformed, "asyncapi.yaml shows the fields"),
        RejectReason::Quota => {
            (RequestErrorCode::Unavailable, "`fleet integration quota` shows its limits, and changes them")
        }
        RejectReason::TooOften => (
            RequestErrorCode::Refused,
            "the order was extended, sent again, given another code or put into a bundle too often",
        ),
        RejectReason::DeadlineNotLater => {
            (RequestErrorCode::Refused, "name an end that is in the future and behind the one that there is")
        }
        RejectReason::DeadlineTooFar => {
            (RequestErrorCode::Refused, "`fleet policy show` tells how long an order of its category may be kept")
        }
        RejectReason::InBundle => (RequestErrorCode::Conflict, "release its bundle first: `fleet bundle release`"),
        RejectReason::SharesCompartment => (
            RequestErrorCode::Conflict,
            "what opens one of the orders in a compartment opens all: put it without `shares`",
        ),
        RejectReason::SeveralCompartments => (
            RequestErrorCode::Refused,
            "it is for orders in one compartment only: cancel the order, and put it anew, under another id",
        ),
        RejectReason::Quarantined => {
            (RequestErrorCode::Conflict, "`fleet order release` lets it be handed out, `fleet order close` ends it")
        }
        RejectReason::ForceClosed => (RequestErrorCode::Conflict, "`fleet order show` tells who has ended it, and why"),
        RejectReason::NotEnabled => (
            RequestErrorCode::Refused,
            "`orders.open_by_app` in broker.toml and `screen.app_token` in the cabinet's agent.toml switch it on",
        ),
        RejectReason::NoSuchToken => {
            (RequestErrorCode::Refused, "read the token that the screen shows now; each is good for one opening")
        }
        RejectReason::CabinetOffline => {
            (RequestErrorCode::CabinetOffline, "ask again when it is back (`fleet cabinet list`); codes work meanwhile")
        }
        RejectReason::NotInside => (RequestErrorCode::Conflict, "`fleet order show` tells how far it is"),
        RejectReason::NotOpened => (RequestErrorCode::Refused, "`fleet unlocks` tells what became of it; codes work"),
        RejectReason::OtherAnswer => {
            (RequestErrorCode::Conflict, "`fleet order change --second-factor` gives it another answer")
        }
        RejectReason::HasSecondFactor => {
            (RequestErrorCode::Refused, "leave it out of the bundle: its recipient is asked for something at its door")
        }
        RejectReason::NoSealingKey => (
            RequestErrorCode::Refused,
            "`fleet keys push` gives the fleet its keyset, with the key that answers are sealed to",
        ),
        RejectReason::NoCodeYet => {
            (RequestErrorCode::Conflict, "an order has a code once it is stored and its cabinet holds the code")
        }
    }
}
