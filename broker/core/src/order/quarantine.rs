//! Orders that nobody is to get, and orders that a person ends because they hang.

use schemas::api::{ClosedAs, Intervened, OrderQuarantine, OrderState, RejectReason, Rfc3339, parse};
use schemas::cbor_map;
use schemas::ids::{Identity, Name, Role, TenantId};
use schemas::messages::{FleetMillis, OrderKey, TakeBack};

use crate::config::Config;
use crate::intents::{Close, Intent, Revoke, Unwant};
use crate::order::{Happened, Order, Orders};
use crate::requests::check_text;
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

cbor_map! {
    /// Who has done something with an order out of turn, and why.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Intervention {
        1 => by: Identity,
        2 => reason: String,
        3 => at: FleetMillis,
    }
}

impl Intervention {
    pub(super) fn shown(&self) -> Intervened {
        Intervened { by: self.by.to_string(), reason: self.reason.clone(), at: Rfc3339(self.at) }
    }
}

impl Orders {
    /// `orders/quarantine` of an integration.
    pub(super) fn quarantine_payload(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        payload: &[u8],
    ) {
        let asked = match parse::<OrderQuarantine>(payload) {
            Err(error) => return turn.refuse(error.to_string()),
            Ok(asked) => asked,
        };
        if let Err(error) = check_text("reason", &asked.reason) {
            return turn.refuse(error.message);
        }
        let by = Identity::new(Role::Integration, tenant.clone(), integration.clone());
        let at = OrderRef { tenant, order: OrderKey { integration, order: asked.order } };
        // The stream tells the outcome; a publisher gets no other answer.
        let _ = self.quarantine(turn, config, &at, by, asked.reason);
    }

    /// Nobody is to get a stored order.
    pub(crate) fn quarantine(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        by: Identity,
        reason: String,
    ) -> Result<(), RejectReason> {
        let parts = self.named(at).map(|_| self.parts(at)).unwrap_or_default();
        let state = |part: &OrderRef| self.rows.get(part).map(|order| order.state);
        if !parts.is_empty() && parts.iter().all(|part| state(part) == Some(OrderState::Quarantined)) {
            return Ok(());
        }
        let inside = |order: &Order| matches!(order.state, OrderState::Stored | OrderState::Overdue);
        let may = |_: &Self, _: &OrderRef, order: &Order| order.has_to_be_inside(RejectReason::NoCodeYet);
        self.each_part(turn, at, inside, may, |orders, turn, part| {
            orders.quarantine_part(turn, config, part, by.clone(), reason.clone());
        })
    }

    fn quarantine_part(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, by: Identity, reason: String) {
        let Some(order) = self.rows.get(at) else { return };
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        turn.alarm_of(&cabinet, format!("order {} is in quarantine by {by}: {reason}", at.order));
        self.change(turn, at, |order, now| {
            order.quarantine = Some(Box::new(Intervention { by, reason, at: now }));
        });
        self.enter(turn, config, at, OrderState::Quarantined, Happened::now(turn));
        // In this order: see `cancel_part`.
        turn.send(Intent::to_cabinet(&cabinet, Unwant { order: at.order.clone(), why: TakeBack::Quarantined }));
        turn.send(Intent::to_cabinet(&cabinet, Revoke { order: at.order.clone() }));
    }

    /// An order in quarantine may be handed out after all: with another code, and with the end that it had.
    pub(crate) fn release(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        (by, reason): (&Identity, &str),
    ) -> Result<(), RejectReason> {
        let now = turn.now;
        let held = |order: &Order| order.state == OrderState::Quarantined;
        let parts = self.named(at).map(|_| self.parts(at)).unwrap_or_default();
        let parts: Vec<OrderRef> = parts.into_iter().filter(|part| self.rows.get(part).is_some_and(held)).collect();
        let may = |part: &OrderRef| self.rows.get(part).is_some_and(|order| order.may_be_released(now));
        if parts.is_empty() || !parts.iter().all(may) {
            return Err(RejectReason::TooLate);
        }
        self.each_part(
            turn,
            at,
            held,
            |_, _, _| Ok(()),
            |orders, turn, part| {
                orders.release_part(turn, config, part, (by, reason));
            },
        )
    }

    fn release_part(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, (by, reason): (&Identity, &str)) {
        let Some((cabinet, Some(window))) =
            self.rows.get(at).map(|order| (order.cabinet.clone(), order.window.clone()))
        else {
            return;
        };
        let cabinet = CabinetRef::new(at.tenant.clone(), cabinet);
        turn.alarm_of(&cabinet, format!("order {} is released from quarantine by {by}: {reason}", at.order));
        self.change(turn, at, |order, _| order.quarantine = None);
        self.enter(turn, config, at, OrderState::Stored, Happened::now(turn));
        // The number of a walk-in may have been read meanwhile.
        self.may_tell(turn, config, at);
        self.issue_again(turn, at, &window);
    }

    /// Ends an order that hangs. Closed twice as the same, it stays as it is.
    pub(crate) fn close(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        closed_as: ClosedAs,
        (by, reason): (Identity, String),
    ) -> Result<(), RejectReason> {
        let end = end_of(closed_as);
        let (Some(order), Some((state, _))) = (self.named(at), self.whole(at)) else {
            return Err(RejectReason::UnknownOrder);
        };
        if state == end && order.closed.is_some() {
            return Ok(());
        }
        // Whoever wants a stored order no more has it taken out: it is cancelled.
        let ends = |order: &Order| order.hangs() && (order.state, end) != (OrderState::Stored, OrderState::Cancelled);
        if !self.parts(at).iter().any(|part| self.rows.get(part).is_some_and(ends)) {
            return Err(RejectReason::TooLate);
        }
        self.each_part(
            turn,
            at,
            ends,
            |_, _, _| Ok(()),
            |orders, turn, part| {
                orders.close_part(turn, config, part, end, (by.clone(), reason.clone()));
            },
        )
    }

    fn close_part(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        end: OrderState,
        (by, reason): (Identity, String),
    ) {
        let Some(order) = self.rows.get(at) else { return };
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        turn.alarm_of(
            &cabinet,
            format!("order {} was {} and is closed as {end} by {by}: {reason}", at.order, order.state),
        );
        self.change(turn, at, |order, now| {
            order.closed = Some(Box::new(Intervention { by, reason, at: now }));
            order.reason = Some(RejectReason::ForceClosed);
        });
        self.enter(turn, config, at, end, Happened::now(turn));
        turn.send(Intent::to_cabinet(&cabinet, Close { order: at.order.clone() }));
    }
}

fn end_of(closed_as: ClosedAs) -> OrderState {
    match closed_as {
        ClosedAs::Collected => OrderState::Collected,
        ClosedAs::Retrieved => OrderState::Retrieved,
        ClosedAs::Cancelled => OrderState::Cancelled,
    }
}

impl Order {
    /// Whether somebody could still come for it in time.
    fn may_be_released(&self, now: FleetMillis) -> bool {
        let expires = self.window.as_ref().map(|window| window.expires());
        expires.is_some_and(|expires| expires.is_none_or(|expires| expires > now))
    }

    /// It has begun to be handed over, as far as the fleet knows, and is not over: somebody may have helped its recipient.
    fn hangs(&self) -> bool {
        match self.state {
            OrderState::Loading
            | OrderState::Collecting
            | OrderState::Disputed
            | OrderState::Quarantined
            | OrderState::Recalled
            | OrderState::PartlyCollected
            | OrderState::Stored
            | OrderState::Overdue => true,
            OrderState::Created
            | OrderState::Ready
            | OrderState::Reserved
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved => false,
        }
    }
}
