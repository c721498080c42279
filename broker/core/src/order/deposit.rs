//! Orders that somebody who is no staff puts in: a courier for the recipient, or a customer for the business.

use schemas::api::{NotificationKind, OrderState, RejectReason};
use schemas::cbor_map;
use schemas::messages::{DepositKind, FleetMillis, TakeBack};

use crate::intents::{CabinetIntent, Intent, Invite, Invited, Issue, Shown, Unwant};
use crate::order::{Order, Orders};
use crate::rows::{NotificationRow, RecipientRow};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

cbor_map! {
    /// How somebody who is no staff puts an order in.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Brought {
        1 => kind: DepositKind,
        /// Until when they can, since a compartment was first kept for it.
        2 opt => ends: Option<FleetMillis>,
        /// Codes that were announced: each has a message of its own.
        3 => codes: u32,
    }
}

impl Brought {
    pub(crate) fn awaited(kind: DepositKind) -> Self {
        Self { kind, ends: None, codes: 0 }
    }
}

impl Order {
    /// A compartment was kept for it, and nobody has put it in.
    pub(super) fn waits_for_deposit(&self) -> bool {
        let kept = self.deposit.is_some_and(|brought| brought.ends.is_some());
        kept && matches!(self.state, OrderState::Ready | OrderState::Reserved)
    }

    /// A customer leaves it for the business, whose staff take it out.
    pub(super) fn is_dropped_off(&self) -> bool {
        self.deposit.is_some_and(|brought| brought.kind == DepositKind::DropOff)
    }

    /// Who hears of the code to put it in: the customer who brings it. Which courier comes only the backend knows.
    fn depositor(&self) -> RecipientRow {
        match self.deposit.map(|brought| brought.kind) {
            Some(DepositKind::DropOff) => self.recipient.clone().unwrap_or_default(),
            Some(DepositKind::Courier) | None => RecipientRow::default(),
        }
    }
}

impl Orders {
    /// A compartment is kept for the order: whoever brings it gets a code, for as long as couriers' orders are kept.
    pub(super) fn invite(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        let window = self.policies.of(&at.tenant).policies.courier.window_minutes.millis();
        let Some(order) = self.rows.get_mut(at) else { return };
        let Some(brought) = &mut order.deposit else { return };
        let expires = *brought.ends.get_or_insert_with(|| turn.now.saturating_add(window));
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        self.put_row(turn, at);
        turn.send(Intent::to_cabinet(&cabinet, Invite { order: at.order.clone(), expires }));
    }

    /// It is not waited for any more: should it be later, then anew, and with another code.
    pub(super) fn await_again(&mut self, at: &OrderRef) {
        if let Some(brought) = self.rows.get_mut(at).and_then(|order| order.deposit.as_mut()) {
            brought.ends = None;
        }
    }

    /// The cabinet holds the code: whoever brings the order may hear of it, unless it is inside or over by now.
    pub(super) fn invited(&mut self, turn: &mut Turn<'_>, at: &OrderRef, invited: Invited) {
        let Invited { place, code, qr, until } = invited;
        let Some(order) = self.rows.get_mut(at).filter(|order| order.waits_for_deposit()) else { return };
        let Some(brought) = &mut order.deposit else { return };
        brought.codes = brought.codes.saturating_add(1);
        let id = format!("deposit-code/{}/{}", at.order, brought.codes);
        self.put_row(turn, at);
        self.notify_depositor(turn, at, |row| NotificationRow { id, place, code, qr, until, ..row });
    }

    pub(super) fn deposit_code_shown(&mut self, turn: &mut Turn<'_>, at: &OrderRef, shown: Shown) {
        let Shown { id, place, code, qr, .. } = shown;
        self.notify_depositor(turn, at, |row| NotificationRow { id, place, code, qr, ..row });
    }

    fn notify_depositor(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        complete: impl FnOnce(NotificationRow) -> NotificationRow,
    ) {
        let Some(order) = self.rows.get(at).filter(|order| order.waits_for_deposit()) else { return };
        let row = NotificationRow {
            // Whoever brings it may get another door than the one that is kept for it.
            compartment: None,
            recipient: order.depositor(),
            kind: Some(NotificationKind::DepositCode),
            until: order.deposit.and_then(|brought| brought.ends),
            ..Self::message(order, turn.now)
        };
        self.notify(turn, at, complete(row));
    }

    /// Whoever came with the order was sent away: its backend may send them elsewhere.
    pub(super) fn full(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        if self.rows.get(at).is_some_and(Order::waits_for_deposit) {
            self.refuse(turn, at, RejectReason::NoFittingCompartment);
        }
    }

    /// What its cabinet is to do for an order that is stored: hold a code for the recipient, or, where a customer has left it
    /// for the business, have staff take it out.
    pub(super) fn right(&self, at: &OrderRef, issue: Issue) -> CabinetIntent {
        match self.rows.get(at).and_then(|order| order.deposit).map(|brought| brought.kind) {
            Some(DepositKind::DropOff) => Unwant { order: at.order.clone(), why: TakeBack::DroppedOff }.into(),
            Some(DepositKind::Courier) | None => issue.into(),
        }
    }
}
