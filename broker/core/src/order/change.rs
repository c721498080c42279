//! What a backend makes of an order that it has put: another size, another recipient …

use schemas::api::{ContentHash, HoldMinutes, OrderContent, OrderPut, OrderState, OrderUpdate, RejectReason, parse};
use schemas::cbor_map;
use schemas::ids::{Name, TenantId};
use schemas::messages::{Attributes, Category, Compartment, OrderKey, Prompt, Size};

use crate::config::Config;
use crate::intents::{Alter, Intent, Release};
use crate::order::put::{content_hash, too_long};
use crate::order::{Happened, Order, Orders};
use crate::rows::{RecipientRow, StatusRow};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

cbor_map! {
    /// A content that takes the place of the one that there is once the cabinet has room for it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Pending {
        1 => size: Size,
        2 => category: Category,
        3 => wants: Attributes,
        4 => recipient: RecipientRow,
        5 opt => hold: Option<u64>,
        /// SHA-256 in hexadecimal.
        6 => content: String,
    }
}

impl Pending {
    fn of(put: &OrderPut, prompt: Option<Prompt>) -> Self {
        Self {
            size: put.size,
            category: put.category,
            wants: put.wants.into(),
            recipient: put.recipient.clone().into(),
            hold: put.hold_minutes.map(HoldMinutes::millis),
            content: content_hash(put, prompt),
        }
    }

    /// Whether a cabinet would book the order otherwise than now.
    pub(super) fn is_booked_otherwise(&self, order: &Order) -> bool {
        (self.size, self.category, self.wants, self.hold) != (order.size, order.category, order.wants, order.hold)
    }

    /// Whether messages would go elsewhere than now.
    pub(super) fn has_other_contact(&self, order: &Order) -> bool {
        let contact = |one: &RecipientRow| (one.phone.clone(), one.email.clone());
        order.recipient.as_ref().map(contact) != Some(contact(&self.recipient))
    }
}

impl Order {
    /// The order as its backend would put it now, but for the answer of a second factor.
    pub(super) fn as_put(&self) -> OrderPut {
        let minutes = |hold: u64| HoldMinutes::try_from(u32::try_from(hold / 60_000).ok()?).ok();
        let (cabinet, site) = self.put_for();
        OrderPut {
            order: self.order.order.clone(),
            cabinet,
            site,
            size: self.size,
            more: self.more(),
            category: self.category,
            wants: self.wants.into(),
            recipient: self.recipient.clone().unwrap_or_default().into(),
            ready: true,
            hold_minutes: self.hold.and_then(minutes),
            deposit: self.deposit.map(|brought| brought.kind),
            staff_release: self.staff_release == Some(true),
            second_factor: None,
            shares: self.shares.as_deref().cloned(),
        }
    }

    fn with(&self, change: &OrderContent) -> Pending {
        let OrderContent { size, category, wants, recipient, ready: _, hold_minutes, second_factor: _ } =
            change.clone();
        let mut put = self.as_put();
        put.size = size.unwrap_or(put.size);
        put.category = category.unwrap_or(put.category);
        put.wants = wants.unwrap_or(put.wants);
        put.recipient = recipient.unwrap_or(put.recipient);
        put.hold_minutes = hold_minutes.or(put.hold_minutes);
        Pending::of(&put, self.prompt())
    }

    fn apply(&mut self, next: Pending) {
        let Pending { size, category, wants, recipient, hold, content } = next;
        (self.size, self.category, self.wants, self.hold) = (size, category, wants, hold);
        (self.recipient, self.content) = (Some(recipient), content);
        if self.factor.is_some() {
            // It may ask for something else by now.
            self.content = content_hash(&self.as_put(), self.prompt());
        }
    }

    /// Whether this much may be another in its state.
    fn may_become(&self, next: &Pending, ready: Option<bool>) -> Result<(), RejectReason> {
        match self.state {
            // What staff began at the cabinet is as they said.
            _ if self.walk_in.is_some() => Err(RejectReason::TooLate),
            OrderState::Created | OrderState::Ready | OrderState::Reserved => Ok(()),
            // Whoever comes for it may be another one; what lies inside is what it is.
            OrderState::Loading
            | OrderState::Stored
            | OrderState::Overdue
            | OrderState::Disputed
            | OrderState::Quarantined
                if !next.is_booked_otherwise(self) && ready != Some(false) =>
            {
                Ok(())
            }
            OrderState::Loading
            | OrderState::Stored
            | OrderState::Overdue
            | OrderState::Disputed
            | OrderState::Quarantined
            | OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::PartlyCollected
            | OrderState::Retrieved
            | OrderState::Recalled => Err(RejectReason::TooLate),
        }
    }
}

impl Orders {
    /// `orders/change` of an integration.
    pub(super) fn update_payload(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        (tenant, integration): (TenantId, Name),
        payload: &[u8],
    ) {
        match parse::<OrderUpdate>(payload) {
            Err(error) => turn.refuse(error.to_string()),
            Ok(update) => match check_content(&update.change) {
                Err(text) => turn.refuse(text),
                Ok(()) => {
                    let at = OrderRef { tenant, order: OrderKey { integration, order: update.order } };
                    // The stream tells the outcome; a publisher gets no other answer.
                    let _ = self.update(turn, config, &at, update.replaces.as_ref(), &update.change);
                }
            },
        }
    }

    /// Gives an order another content, or tells its integration why not. Returns the hash of the content that it has, or gets
    /// if its cabinet has room.
    pub(crate) fn update(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        replaces: Option<&ContentHash>,
        change: &OrderContent,
    ) -> Result<String, RejectReason> {
        if let Some(came) = &change.second_factor {
            return self.change_factor(turn, config, at, replaces, came);
        }
        let Some(order) = self.named(at) else {
            self.reject(turn, at, RejectReason::UnknownOrder, None);
            return Err(RejectReason::UnknownOrder);
        };
        let next = order.with(change);
        let wanted = next.content.clone();
        let state = self.whole(at).map_or(order.state, |(state, _)| state);
        let begins = state == OrderState::Created && change.ready == Some(true);
        let ends = matches!(state, OrderState::Ready | OrderState::Reserved) && change.ready == Some(false);
        if next.content == order.content && !begins && !ends {
            // It is so already, be it by this very change.
            return Ok(wanted);
        }
        if let Some(other) = replaces.filter(|hash| hash.as_str() != order.content) {
            let content = Some([order.content.clone(), other.as_str().to_owned()]);
            self.tell_content(turn, at, Some(RejectReason::OtherContent), content);
            return Err(RejectReason::OtherContent);
        }
        if order.part.is_some() {
            return self.update_whole(turn, config, at, next, change.ready).map(|()| wanted);
        }
        // What opens a bundle belongs to whoever holds that.
        let new_code = order.notified && order.bundle.is_none() && next.has_other_contact(order);
        let granted = order.may_become(&next, change.ready).and_then(|()| match new_code {
            true => order.may_be_told_anew(config, turn.now),
            false => Ok(()),
        });
        if let Err(reason) = granted {
            self.refuse(turn, at, reason);
            return Err(reason);
        }
        if order.is_offered() && !ends && next.is_booked_otherwise(order) {
            self.ask_room(turn, at, next);
            return Ok(wanted);
        }
        let is_another = self.rows.get(at).is_some_and(|order| next.has_other_contact(order));
        self.take_content(turn, at, next);
        if is_another {
            // Who was to be told before is not to come any more.
            self.outbox.drop_of(turn, at);
        }
        if begins {
            self.make_ready(turn, at);
        } else if ends {
            self.take_back(turn, config, at);
        } else if new_code {
            self.reissue(turn, at);
        }
        Ok(wanted)
    }

    /// The cabinet moves the reservation first: an order never has a content that there is no room for.
    fn ask_room(&mut self, turn: &mut Turn<'_>, at: &OrderRef, next: Pending) {
        let Some(order) = self.rows.get_mut(at) else { return };
        let Pending { size, category, wants, hold, .. } = next;
        order.pending = Some(Box::new(next));
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        self.put_row(turn, at);
        turn.send(Intent::to_cabinet(&cabinet, Alter { order: at.order.clone(), size, category, wants, hold }));
    }

    /// The cabinet has booked the order with the content that it was asked for.
    pub(super) fn altered(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        compartment: Option<Compartment>,
    ) {
        let Some(next) = self.rows.get_mut(at).and_then(|order| order.pending.take()) else { return };
        let waited = self.change(turn, at, |order, _| {
            order.compartment = compartment;
            order.state == OrderState::Ready
        });
        self.take_content(turn, at, *next);
        if waited == Some(true) && compartment.is_some() {
            self.enter(turn, config, at, OrderState::Reserved, Happened::now(turn));
        }
    }

    /// There is no room: the order stays as it is.
    pub(super) fn unaltered(&mut self, turn: &mut Turn<'_>, at: &OrderRef) {
        if self.rows.get_mut(at).and_then(|order| order.pending.take()).is_some() {
            self.put_row(turn, at);
            self.refuse(turn, at, RejectReason::NoFittingCompartment);
        }
    }

    /// Staff are not to load it for now.
    pub(super) fn take_back(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef) {
        let Some(order) = self.rows.get(at) else { return };
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        self.clear_compartment(at);
        self.await_again(at);
        self.enter(turn, config, at, OrderState::Created, Happened::now(turn));
        turn.send(Intent::to_cabinet(&cabinet, Release { order: at.order.clone() }));
    }

    /// Writes the other content, and tells which one it was and is.
    pub(super) fn take_content(&mut self, turn: &mut Turn<'_>, at: &OrderRef, next: Pending) {
        let hashes = self.change(turn, at, |order, _| {
            let before = std::mem::take(&mut order.content);
            order.apply(next);
            [before, order.content.clone()]
        });
        self.put_row(turn, at);
        if let Some(hashes) = hashes.filter(|[before, now]| before != now) {
            self.tell_content(turn, at, None, Some(hashes));
        }
    }

    pub(super) fn tell_content(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        reason: Option<RejectReason>,
        content: Option<[String; 2]>,
    ) {
        if let Some(order) = self.rows.get(at) {
            let row = StatusRow { reason, content, ..Self::status_of(order, Happened::now(turn)) };
            self.tell(turn, at, row);
        }
    }
}

impl Order {
    /// Staff may load it, and have not begun to.
    fn is_offered(&self) -> bool {
        matches!(self.state, OrderState::Ready | OrderState::Reserved)
    }
}

/// What no order can be asked for.
pub(crate) fn check_content(change: &OrderContent) -> Result<(), String> {
    if change.is_empty() {
        return Err("change: names nothing to change".into());
    }
    if change.recipient.as_ref().is_some_and(|recipient| !recipient.fits()) {
        return Err(too_long());
    }
    if let Some(factor) = &change.second_factor {
        factor.check()?;
        let alone = OrderContent { second_factor: Some(factor.clone()), ..OrderContent::default() };
        if *change != alone {
            return Err("change: nothing else is changed together with second_factor".into());
        }
    }
    Ok(())
}
