//! What backends ask for: putting and cancelling.

use schemas::api::{HoldMinutes, OrderCancel, OrderPut, OrderState, PHONE_MAX, RejectReason, parse};
use schemas::ids::{Name, OrderId, TenantId};
use schemas::messages::{DepositKind, OrderKey, Prompt, TakeBack};
use sha2::{Digest as _, Sha256};

use crate::cabinet::Cabinets;
use crate::config::Config;
use crate::intents::{Find, Intent, Release, Revoke, Unwant};
use crate::jobs::Job;
use crate::order::deposit::Brought;
use crate::order::parts::{check_parts, parts_of};
use crate::order::place::first_of;
use crate::order::{Happened, Order, Orders};
use crate::rows::{StatusRow, json};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

impl Orders {
    /// `orders/put` of an integration.
    pub(crate) fn put_payload(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        payload: &[u8],
        cabinets: &Cabinets<'_>,
    ) {
        match parse::<OrderPut>(payload) {
            Err(error) => turn.refuse(error.to_string()),
            Ok(put) => match check_put(&put) {
                Err(text) => turn.refuse(text),
                Ok(()) => {
                    // The stream tells the outcome; a publisher gets no other answer.
                    let _ = self.put(turn, config, (tenant, integration), put, cabinets);
                }
            },
        }
    }

    /// Creates an order, repeats it, or marks it ready. Whatever is not done is told in the status stream, too.
    pub(crate) fn put(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        put: OrderPut,
        cabinets: &Cabinets<'_>,
    ) -> Result<(), RejectReason> {
        let at = OrderRef { tenant, order: OrderKey { integration, order: put.order.clone() } };
        let content = content_hash(&put, put.second_factor.as_ref().map(|factor| factor.prompt));
        if let Some(order) = self.rows.get(&at) {
            if order.content != content || order.is_further_part() {
                let content = Some([order.content.clone(), content]);
                self.reject(turn, &at, RejectReason::OtherContent, content);
                return Err(RejectReason::OtherContent);
            }
            self.compare_answer(turn, config, &at, &put)?;
            let Some(order) = self.rows.get(&at) else { return Err(RejectReason::UnknownOrder) };
            // A rejected order is tried anew; one that waits for its backend may be ready now.
            match self.whole(&at).map_or(order.state, |(state, _)| state) {
                OrderState::Rejected => self.check_quota(turn, config, &at)?,
                // It may have gone to another cabinet since it was put.
                OrderState::Created if put.ready => {
                    self.parts(&at).iter().for_each(|part| self.make_ready(turn, part));
                    return Ok(());
                }
                OrderState::Created
                | OrderState::Ready
                | OrderState::Reserved
                | OrderState::Loading
                | OrderState::Stored
                | OrderState::Collecting
                | OrderState::Collected
                | OrderState::CollectedUnconfirmed
                | OrderState::Cancelled
                | OrderState::Retrieved
                | OrderState::Recalled
                | OrderState::Disputed
                | OrderState::Overdue
                | OrderState::PartlyCollected
                | OrderState::Quarantined => return Ok(()),
            }
        } else {
            self.check_quota(turn, config, &at)?;
        }
        self.begin(turn, config, at, put, content, cabinets)
    }

    /// Counts an order that is new, or tried anew. One that is repeated costs nothing.
    fn check_quota(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef) -> Result<(), RejectReason> {
        let integration = at.integration();
        let (kept, open) = self.counts_of(&integration);
        let full = kept >= config.orders_per_integration && !self.rows.contains_key(at);
        if full || self.quotas.put(&config.quota, integration, open, turn.now).is_err() {
            self.reject(turn, at, RejectReason::Quota, None);
            return Err(RejectReason::Quota);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: OrderRef,
        put: OrderPut,
        content: String,
        cabinets: &Cabinets<'_>,
    ) -> Result<(), RejectReason> {
        let parts = parts_of(&at.order, &put);
        let further = parts.iter().filter_map(|part| Some(at.sibling(&part.id()?).order));
        let keys: Vec<OrderKey> = std::iter::once(at.order.clone()).chain(further).collect();
        let Some((cabinet, route)) = first_of(&put, (&at.tenant, &at.order.integration), &keys, cabinets) else {
            self.reject(turn, &at, RejectReason::UnknownSite, None);
            return Err(RejectReason::UnknownSite);
        };
        if !self.has_names_for(&at, &parts) {
            // An order or a bundle of this integration has one of their names.
            self.reject(turn, &at, RejectReason::OtherContent, None);
            return Err(RejectReason::OtherContent);
        }
        let factor = match &put.second_factor {
            None => None,
            Some(came) => match self.seal_factor(turn, &at, came) {
                Ok(sealed) => Some(sealed.into()),
                Err(reason) => {
                    self.reject(turn, &at, reason, None);
                    return Err(reason);
                }
            },
        };
        if factor.is_some() {
            turn.want(Job::Answer(at.clone()));
        }
        let order = Order {
            order: at.order.clone(),
            cabinet: cabinet.clone(),
            size: put.size,
            category: put.category,
            wants: put.wants.into(),
            recipient: Some(put.recipient.into()),
            content,
            state: OrderState::Created,
            since: turn.now,
            compartment: None,
            history: Vec::new(),
            notified: false,
            reason: None,
            window: None,
            asked: None,
            hold: put.hold_minutes.map(HoldMinutes::millis),
            pending: None,
            quarantine: None,
            closed: None,
            bundle: None,
            walk_in: None,
            opening: None,
            staff_release: put.staff_release.then_some(true),
            factor,
            deposit: put.deposit.map(Brought::awaited),
            courier: None,
            route,
            part: None,
            shares: put.shares.clone().map(Box::new),
        };
        if parts.is_empty() {
            self.replace(&at, order);
        } else {
            self.begin_parts(turn, &at, order, parts);
        }
        if !cabinets.has(&CabinetRef::new(at.tenant.clone(), cabinet.clone())) {
            self.enter_rejected(turn, config, &at, RejectReason::UnknownCabinet);
            return Err(RejectReason::UnknownCabinet);
        }
        if put.ready {
            self.parts(&at).iter().for_each(|part| self.make_ready(turn, part));
            return Ok(());
        }
        let anywhere = put.site.map(|site| cabinets.offers(&at.tenant, &site, &[])).unwrap_or_else(|| vec![cabinet]);
        self.each_part(
            turn,
            &at,
            |_| true,
            |_, _, _| Ok(()),
            |orders, turn, part| {
                orders.enter(turn, config, part, OrderState::Created, Happened::now(turn));
                for cabinet in &anywhere {
                    let cabinet = CabinetRef::new(part.tenant.clone(), cabinet.clone());
                    turn.send(Intent::to_cabinet(&cabinet, Find { order: part.order.clone() }));
                }
            },
        )
    }

    /// Asks the cabinet for a compartment. The backend hears of the answer, not of the question.
    pub(super) fn make_ready(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        let Some(order) = self.rows.get_mut(at) else {
            return;
        };
        order.state = OrderState::Ready;
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        let reserve = order.reserve();
        self.put_row(turn, at);
        turn.send(Intent::to_cabinet(&cabinet, reserve));
    }

    pub(super) fn enter_rejected(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, reason: RejectReason) {
        if let Some(order) = self.rows.get_mut(at) {
            order.reason = Some(reason);
        }
        let when = Happened::now(turn);
        self.enter(turn, config, at, OrderState::Rejected, when);
    }

    /// `orders/cancel` of an integration.
    pub(crate) fn cancel_payload(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        payload: &[u8],
    ) {
        match parse::<OrderCancel>(payload) {
            Err(error) => turn.refuse(error.to_string()),
            Ok(OrderCancel { order }) => {
                let at = OrderRef { tenant, order: OrderKey { integration, order } };
                // The stream tells the outcome; a publisher gets no other answer.
                let _ = self.cancel(turn, config, &at);
            }
        }
    }

    /// Cancels an order that is not loaded, recalls one that is stored.
    pub(crate) fn cancel(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
    ) -> Result<OrderState, RejectReason> {
        if let Some((state @ (OrderState::Cancelled | OrderState::Recalled), _)) =
            self.named(at).and_then(|_| self.whole(at))
        {
            return Ok(state);
        }
        // A part that somebody has taken is theirs; one that was rejected has nothing to keep.
        let open = |order: &Order| !order.state.is_final();
        self.each_part(
            turn,
            at,
            open,
            |_, _, order| order.may_be_cancelled(),
            |orders, turn, part| {
                orders.cancel_part(turn, config, part);
            },
        )?;
        self.whole(at).map(|(state, _)| state).ok_or(RejectReason::UnknownOrder)
    }

    fn cancel_part(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef) {
        let Some(order) = self.rows.get(at) else { return };
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        let when = Happened::now(turn);
        if matches!(order.state, OrderState::Stored | OrderState::Overdue | OrderState::Quarantined) {
            self.enter(turn, config, at, OrderState::Recalled, when);
            // In this order: beside others, one without a code goes along unless the book says that it must not.
            turn.send(Intent::to_cabinet(&cabinet, Unwant { order: at.order.clone(), why: TakeBack::Recalled }));
            turn.send(Intent::to_cabinet(&cabinet, Revoke { order: at.order.clone() }));
        } else if order.state != OrderState::Recalled {
            let booked = order.state != OrderState::Created && order.state != OrderState::Rejected;
            self.clear_compartment(at);
            self.enter(turn, config, at, OrderState::Cancelled, when);
            if booked {
                turn.send(Intent::to_cabinet(&cabinet, Release { order: at.order.clone() }));
            }
        }
    }

    pub(super) fn clear_compartment(&mut self, at: &OrderRef) {
        if let Some(order) = self.rows.get_mut(at) {
            (order.compartment, order.reason) = (None, None);
        }
    }

    /// Tells an integration that its wish is not done. The order, if there is one, stays as it is.
    pub(super) fn reject(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        reason: RejectReason,
        content: Option<[String; 2]>,
    ) {
        let order: OrderId = at.order.order.clone();
        let row = StatusRow {
            n: 0,
            order,
            state: OrderState::Rejected,
            at: turn.now,
            time_unverified: false,
            cabinet: None,
            compartment: None,
            reason: Some(reason),
            content,
            until: None,
            bundle: None,
            walk_in: None,
            parts: None,
            courier: None,
        };
        self.tell(turn, at, row);
    }

    /// Takes a new order, or the new try of a rejected one.
    pub(super) fn replace(&mut self, at: &OrderRef, mut order: Order) {
        if let Some(old) = self.rows.remove(at) {
            self.finished.remove(old.since, at);
            (order.history, order.bundle) = (old.history, old.bundle);
            self.rows.insert(at.clone(), order);
        } else {
            self.restore(at.clone(), order);
        }
    }
}

impl Order {
    fn may_be_cancelled(&self) -> Result<(), RejectReason> {
        match self.state {
            // A dispute is ended by whoever knows what became of it.
            OrderState::Created
            | OrderState::Ready
            | OrderState::Reserved
            | OrderState::Rejected
            | OrderState::Disputed
            | OrderState::Stored
            | OrderState::Overdue
            | OrderState::Quarantined
            | OrderState::Cancelled
            | OrderState::Recalled => Ok(()),
            OrderState::Loading
            | OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::PartlyCollected
            | OrderState::Retrieved => Err(RejectReason::TooLate),
        }
    }
}

/// What its JSON alone cannot say.
pub(crate) fn check_put(put: &OrderPut) -> Result<(), String> {
    if !put.recipient.fits() {
        return Err(too_long());
    }
    if put.cabinet.is_some() == put.site.is_some() {
        return Err("an order is put for a cabinet or for a site: name one of them".into());
    }
    if let Some(factor) = &put.second_factor {
        factor.check()?;
        if put.deposit == Some(DepositKind::DropOff) {
            return Err("second_factor: nobody collects what a customer drops off".into());
        }
        if !put.more.is_empty() {
            return Err("second_factor: an order that asks for something fills one compartment".into());
        }
    }
    check_shares(put)?;
    check_parts(put)
}

/// What is handed out with something more than its code, or brought by a stranger, lies alone.
fn check_shares(put: &OrderPut) -> Result<(), String> {
    let alone = put.staff_release || put.second_factor.is_some() || put.deposit.is_some() || !put.more.is_empty();
    if put.shares.is_some() && alone {
        return Err("shares: not with staff_release, second_factor, deposit or more".into());
    }
    Ok(())
}

pub(crate) fn too_long() -> String {
    format!("recipient: a field is longer than {PHONE_MAX} bytes")
}

/// SHA-256 of what the order is. `ready` is no part of it: putting the same order again with `ready` marks it ready. Of a second
/// factor only what is asked for is: whoever knows the hash could try every answer.
pub(super) fn content_hash(put: &OrderPut, prompt: Option<Prompt>) -> String {
    #[derive(serde::Serialize)]
    struct Asking {
        #[serde(flatten)]
        put: OrderPut,
        second_factor: Prompt,
    }
    let put = OrderPut { ready: true, second_factor: None, ..put.clone() };
    match prompt {
        None => hash(&put),
        Some(second_factor) => hash(&Asking { put, second_factor }),
    }
}

/// SHA-256 of a content in hexadecimal.
pub(super) fn hash<T: serde::Serialize>(content: &T) -> String {
    let hash: [u8; 32] = Sha256::digest(json(content)).into();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
