//! Orders that nobody is to get, and orders that a person ends because they hang.

use schemas::api::{ClosedAs, Intervened, OrderQuarantine, OrderState, RejectReason, Rfc3339, parse};
use schemas::cbor_map;
use schemas::ids::{Identity, Name, Role, TenantId};
use schemas::messages::{FleetMillis, OrderKey, TakeBack};

use crate::config::Config;
use crate::intents::{Close, Intent, Revoke, Unwant};
use crate::order::{Happened, Orders};
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
        let Some(order) = self.rows.get(at) else {
            self.reject(turn, at, RejectReason::UnknownOrder, None);
            return Err(RejectReason::UnknownOrder);
        };
        let refusal = match order.state {
            OrderState::Quarantined => return Ok(()),
            OrderState::Stored | OrderState::Overdue => None,
            OrderState::Created | OrderState::Ready | OrderState::Reserved | OrderState::Loading => {
                Some(RejectReason::NoCodeYet)
            }
            OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            | OrderState::Disputed => Some(RejectReason::TooLate),
        };
        if let Some(reason) = refusal {
            self.refuse(turn, at, reason);
            return Err(reason);
        }
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        turn.alarm_of(&cabinet, format!("order {} is in quarantine by {by}: {reason}", at.order));
        self.change(turn, at, |order, now| {
            order.quarantine = Some(Box::new(Intervention { by, reason, at: now }));
        });
        self.enter(turn, config, at, OrderState::Quarantined, Happened::now(turn));
        turn.send(Intent::to_cabinet(&cabinet, Revoke { order: at.order.clone() }));
        turn.send(Intent::to_cabinet(&cabinet, Unwant { order: at.order.clone(), why: TakeBack::Quarantined }));
        Ok(())
    }

    /// An order in quarantine may be handed out after all: with another code, and with the end that it had.
    pub(crate) fn release(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        (by, reason): (&Identity, &str),
    ) -> Result<(), RejectReason> {
        let Some(order) = self.rows.get(at) else { return Err(RejectReason::UnknownOrder) };
        let window = order.window.clone().filter(|_| order.state == OrderState::Quarantined);
        let Some(window) = window else { return Err(RejectReason::TooLate) };
        if window.expires().is_some_and(|expires| expires <= turn.now) {
            return Err(RejectReason::TooLate);
        }
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        turn.alarm_of(&cabinet, format!("order {} is released from quarantine by {by}: {reason}", at.order));
        self.change(turn, at, |order, _| order.quarantine = None);
        self.enter(turn, config, at, OrderState::Stored, Happened::now(turn));
        self.issue_again(turn, at, &window);
        Ok(())
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
        let Some(order) = self.rows.get(at) else { return Err(RejectReason::UnknownOrder) };
        let end = match closed_as {
            ClosedAs::Collected => OrderState::Collected,
            ClosedAs::Retrieved => OrderState::Retrieved,
            ClosedAs::Cancelled => OrderState::Cancelled,
        };
        match order.state {
            OrderState::Loading
            | OrderState::Collecting
            | OrderState::Disputed
            | OrderState::Quarantined
            | OrderState::Recalled
            | OrderState::Overdue => {}
            state if state == end && order.closed.is_some() => return Ok(()),
            // It does not hang: it can be cancelled, or is over.
            OrderState::Created
            | OrderState::Ready
            | OrderState::Reserved
            | OrderState::Stored
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved => return Err(RejectReason::TooLate),
        }
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
        Ok(())
    }
}
