//! What is asked for a stored order: more time, its code once more, another code.

use schemas::api::{NotificationKind, OrderExtend, OrderNamed, OrderState, RejectReason, parse};
use schemas::ids::{Name, OrderId, TenantId};
use schemas::messages::{FleetMillis, OrderKey};
use schemas::topics::OrderChange;

use crate::cabinet::Cabinets;
use crate::config::Config;
use crate::intents::{Intent, Reissue};
use crate::order::window::Window;
use crate::order::{Happened, Order, Orders};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

/// A change that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The same code until then.
    Extend(FleetMillis),
    /// The same code in another message.
    Resend,
    /// Another code; the old one works until the cabinet holds it.
    Reissue,
}

impl Wish {
    fn is_for_a_code(self) -> bool {
        match self {
            Self::Resend | Self::Reissue => true,
            Self::Extend(_) => false,
        }
    }
}

impl Orders {
    /// What an integration asks for by topic, besides putting and cancelling.
    pub(crate) fn wish_payload(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        change: OrderChange,
        payload: &[u8],
        cabinets: &Cabinets<'_>,
    ) {
        let named = |order: OrderId, wish| (order, wish);
        let read = match change {
            OrderChange::Extend => {
                parse::<OrderExtend>(payload).map(|asked| named(asked.order, Wish::Extend(asked.until.0)))
            }
            OrderChange::Resend => parse::<OrderNamed>(payload).map(|asked| named(asked.order, Wish::Resend)),
            OrderChange::Reissue => parse::<OrderNamed>(payload).map(|asked| named(asked.order, Wish::Reissue)),
            OrderChange::Move => return self.move_payload(turn, (tenant, integration), payload, cabinets),
            OrderChange::Bundle => return self.bundle_payload(turn, config, (tenant, integration), payload),
            OrderChange::Unbundle => return self.unbundle_payload(turn, (tenant, integration), payload),
            OrderChange::Quarantine => return self.quarantine_payload(turn, config, (tenant, integration), payload),
            OrderChange::Open => return self.open_payload(turn, config, (tenant, integration), payload),
            OrderChange::Content => return self.update_payload(turn, config, (tenant, integration), payload),
        };
        match read {
            Err(error) => turn.refuse(error.to_string()),
            Ok((order, wish)) => {
                let at = OrderRef { tenant, order: OrderKey { integration, order } };
                // The stream tells the outcome; a publisher gets no other answer.
                let _ = self.wish(turn, config, &at, wish);
            }
        }
    }

    /// Does what is asked for, or tells the integration why not. The order stays as it is then.
    pub(crate) fn wish(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        wish: Wish,
    ) -> Result<(), RejectReason> {
        let now = turn.now;
        let waits = |order: &Order| matches!(order.state, OrderState::Stored | OrderState::Overdue);
        match wish {
            Wish::Extend(until) => {
                let may = |orders: &Self, at: &OrderRef, order: &Order| {
                    order.may_be_asked(config, now, wish)?;
                    orders.extended(at, until, now).map(|_| ())
                };
                self.each_part(turn, at, waits, may, |orders, turn, part| orders.extend(turn, config, part, until))
            }
            Wish::Resend | Wish::Reissue => {
                let may = |orders: &Self, _: &OrderRef, order: &Order| {
                    order.may_be_asked(config, now, wish)?;
                    orders.may_ask_for_whole(config, at)
                };
                // One code opens all parts, so it is asked for once.
                self.each_part(turn, at, waits, may, |_, _, _| {})?;
                if wish == Wish::Resend {
                    self.resend(turn, at)
                } else {
                    self.reissue(turn, at)
                }
                Ok(())
            }
        }
    }

    /// The window with another end. None where it has that one.
    fn extended(&self, at: &OrderRef, until: FleetMillis, now: FleetMillis) -> Result<Option<Window>, RejectReason> {
        let Some(order) = self.rows.get(at) else { return Err(RejectReason::UnknownOrder) };
        let policy = self.policies.of(&at.tenant);
        let rules = policy.policies.of(order.category);
        let site = self.site_of(at);
        let mut window = order.window.clone().unwrap_or_else(|| {
            Window::begin(policy, rules, order.since, order.wants.refrigerated, site.as_deref()).into()
        });
        if window.ends == until && until > now {
            // The same wish again.
            return Ok(None);
        }
        window.extend(until, now, rules, site.as_deref())?;
        Ok(Some(*window))
    }

    fn extend(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, until: FleetMillis) {
        let Ok(Some(window)) = self.extended(at, until, turn.now) else { return };
        let was_overdue = self.rows.get(at).is_some_and(|order| order.state == OrderState::Overdue);
        self.change(turn, at, |order, _| {
            order.window = Some(Box::new(window.clone()));
            order.asked = Some(order.asked() + 1);
        });
        let when = Happened::now(turn);
        if was_overdue {
            self.enter(turn, config, at, OrderState::Stored, when);
        } else {
            self.tell_again(turn, at);
        }
        self.issue_again(turn, at, &window);
    }

    fn resend(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        let Some(asked) = self.count_wish(turn, at) else { return };
        if self.rows.get(at).is_some_and(|order| order.part.is_some()) {
            return self.tell_whole_again(turn, at, NotificationKind::PickupCode);
        }
        if self.rows.get(at).is_some_and(Order::waits_for_deposit) {
            return self.ask_shown(
                turn,
                at,
                NotificationKind::DepositCode,
                format!("deposit-code/{}/again-{asked}", at.order),
            );
        }
        self.ask_shown(turn, at, NotificationKind::PickupCode, format!("pickup-code/{}/again-{asked}", at.order));
    }

    pub(super) fn reissue(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        if self.count_wish(turn, at).is_none() {
            return;
        }
        if let Some(order) = self.rows.get(at) {
            if order.part.is_some() {
                return self.reissue_whole(turn, at);
            }
            let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
            turn.send(Intent::to_cabinet(&cabinet, Reissue { order: at.order.clone() }));
        }
    }

    fn count_wish(&mut self, turn: &mut Turn<'_>, at: &OrderRef) -> Option<u32> {
        let order = self.rows.get_mut(at)?;
        let asked = order.asked() + 1;
        order.asked = Some(asked);
        self.put_row(turn, at);
        Some(asked)
    }

    /// Tells the integration that something was not done to an order, and how far the order is.
    pub(super) fn refuse(&mut self, turn: &mut Turn<'_>, at: &OrderRef, reason: RejectReason) {
        if let Some(order) = self.rows.get(at) {
            let row = crate::rows::StatusRow { reason: Some(reason), ..Self::status_of(order, Happened::now(turn)) };
            self.tell(turn, at, row);
        }
    }
}

impl Order {
    pub(super) fn asked(&self) -> u32 {
        self.asked.unwrap_or(0)
    }

    /// Whether the order is inside for its recipient. Nobody has stored it yet: `not_yet`.
    pub(super) fn has_to_be_inside(&self, not_yet: RejectReason) -> Result<(), RejectReason> {
        match self.state {
            OrderState::Stored | OrderState::Overdue => Ok(()),
            OrderState::Created | OrderState::Ready | OrderState::Reserved | OrderState::Loading => Err(not_yet),
            OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            | OrderState::PartlyCollected
            | OrderState::Disputed => Err(RejectReason::TooLate),
            OrderState::Quarantined => Err(RejectReason::Quarantined),
        }
    }

    /// Whether the order is where something can be done for it.
    fn may_be_asked(&self, config: &Config, now: FleetMillis, wish: Wish) -> Result<(), RejectReason> {
        if self.waits_for_deposit() && wish.is_for_a_code() {
            return if self.asked() < config.wishes_per_order { Ok(()) } else { Err(RejectReason::TooOften) };
        }
        self.has_to_be_inside(RejectReason::NoCodeYet)?;
        if self.asked() >= config.wishes_per_order {
            return Err(RejectReason::TooOften);
        }
        match wish {
            Wish::Extend(_) => Ok(()),
            Wish::Resend | Wish::Reissue if self.bundle.is_some() && self.part.is_none() => Err(RejectReason::InBundle),
            Wish::Resend | Wish::Reissue if !self.notified => Err(RejectReason::NoCodeYet),
            Wish::Resend | Wish::Reissue => self.may_have_a_code(now),
        }
    }

    /// Behind the end of its code the cabinet refuses it, and would refuse another one.
    fn may_have_a_code(&self, now: FleetMillis) -> Result<(), RejectReason> {
        let expires = self.window.as_ref().and_then(|window| window.expires());
        if expires.is_some_and(|expires| expires <= now) { Err(RejectReason::TooLate) } else { Ok(()) }
    }

    /// Whether the code that somebody was told can still be replaced by another one.
    pub(super) fn may_be_told_anew(&self, config: &Config, now: FleetMillis) -> Result<(), RejectReason> {
        if self.asked() >= config.wishes_per_order {
            return Err(RejectReason::TooOften);
        }
        self.may_have_a_code(now)
    }
}
