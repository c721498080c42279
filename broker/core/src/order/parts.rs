//! Orders that fill several compartments.
//!
//! Each compartment is a part, and to its cabinet an order of its own: reserved, loaded and emptied for itself. The first part
//! has the order's own id, the others ids made of it that nobody can ask for. One credential opens all of them, that of a bundle
//! that nobody sees. Integrations and people are told of the whole, once for what happens to all of its parts at once.

use schemas::api::{OrderPut, OrderState, PartStatus, RejectReason};
use schemas::cbor_map;
use schemas::ids::OrderId;
use schemas::messages::{Action, FleetMillis, OrderKey, PARTS_MAX, PartOf, Size};

use crate::config::Config;
use crate::intents::{Intent, Release};
use crate::order::change::Pending;
use crate::order::window::Window;
use crate::order::{Happened, Order, Orders};
use crate::rows::{PartRow, StatusRow};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

cbor_map! {
    /// That an order row is one of several compartments.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Part {
        /// Which part of which order.
        1 => of: PartOf,
        /// Of all parts, the first one's first.
        2 => sizes: Vec<Size>,
        /// What the integration was told of the whole last. Kept with the first part.
        3 opt => told: Option<ToldWhole>,
    }
}

cbor_map! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct ToldWhole {
        1 => state: OrderState,
        2 opt => until: Option<FleetMillis>,
    }
}

/// The id of a part. None where it would be too long.
fn name_of(whole: &OrderId, number: u32) -> Option<OrderId> {
    if number == 1 { Some(whole.clone()) } else { format!("{whole}.{number}").parse().ok() }
}

/// What its JSON alone cannot say of the parts of an order.
pub(super) fn check_parts(put: &OrderPut) -> Result<(), String> {
    let parts = put.more.len() + 1;
    if parts > PARTS_MAX {
        return Err(format!("more: an order fills {PARTS_MAX} compartments at most"));
    }
    if parts > 1 && put.deposit.is_some() {
        return Err("more: who is no staff puts an order into one compartment".into());
    }
    match u32::try_from(parts).ok().and_then(|last| name_of(&put.order, last)) {
        Some(_) => Ok(()),
        None => Err("order: its id is too long for an order of several compartments".into()),
    }
}

/// The parts that an order is put with; none where it fills one compartment.
pub(super) fn parts_of(whole: &OrderKey, put: &OrderPut) -> Vec<Part> {
    if put.more.is_empty() {
        return Vec::new();
    }
    let sizes: Vec<Size> = std::iter::once(put.size).chain(put.more.iter().copied()).collect();
    let of = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
    let part = |number| {
        let of = PartOf { whole: whole.clone(), number, of };
        Part { of, sizes: sizes.clone(), told: None }
    };
    (1..=of).map(part).collect()
}

impl Part {
    pub(super) fn size(&self) -> Option<Size> {
        self.sizes.get(usize::try_from(self.of.number.checked_sub(1)?).ok()?).copied()
    }

    pub(super) fn id(&self) -> Option<OrderId> {
        name_of(&self.of.whole.order, self.of.number)
    }
}

impl Order {
    /// One that nobody can ask for by its id.
    pub(super) fn is_further_part(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.of.number > 1)
    }

    /// Sizes of the compartments that it fills besides its own.
    pub(super) fn more(&self) -> Vec<Size> {
        self.part.as_ref().map(|part| part.sizes.iter().skip(1).copied().collect()).unwrap_or_default()
    }
}

impl Orders {
    /// All parts of the order that this is one of, the first one first. One that fills one compartment is its only part.
    pub(super) fn parts(&self, at: &OrderRef) -> Vec<OrderRef> {
        let Some(part) = self.rows.get(at).and_then(|order| order.part.as_ref()) else { return vec![at.clone()] };
        let whole = &part.of.whole;
        let named = (1..=part.of.of).filter_map(|number| name_of(&whole.order, number)).map(|id| at.sibling(&id));
        let is_of = |at: &OrderRef| {
            let part = self.rows.get(at).and_then(|order| order.part.as_ref());
            part.is_some_and(|part| part.of.whole == *whole)
        };
        named.filter(is_of).collect()
    }

    fn rows_of(&self, at: &OrderRef) -> Vec<&Order> {
        self.parts(at).iter().filter_map(|part| self.rows.get(part)).collect()
    }

    /// The order by the id that a person or a backend has given.
    pub(super) fn named(&self, at: &OrderRef) -> Option<&Order> {
        self.rows.get(at).filter(|order| !order.is_further_part())
    }

    /// How far the whole order is, and when the window of what waits ends.
    pub(super) fn whole(&self, at: &OrderRef) -> Option<(OrderState, Option<FleetMillis>)> {
        let order = self.rows.get(at)?;
        let ends = |order: &Order| order.window.as_ref().map(|window| window.ends);
        if order.part.is_none() {
            return Some((order.state, ends(order)));
        }
        let parts = self.rows_of(at);
        let state = state_of(&parts.iter().map(|part| part.state).collect::<Vec<_>>());
        Some((state, parts.iter().filter_map(|part| ends(part)).min()))
    }

    pub(super) fn part_statuses(&self, at: &OrderRef) -> Vec<PartStatus> {
        self.part_rows(at).into_iter().map(PartStatus::from).collect()
    }

    fn part_rows(&self, at: &OrderRef) -> Vec<PartRow> {
        let row = |part: &&Order| PartRow { size: part.size, state: part.state, compartment: part.compartment };
        self.rows_of(at).iter().filter(|part| part.part.is_some()).map(row).collect()
    }

    /// Whether the names of these parts, and that of their bundle, are not those of something else.
    pub(super) fn has_names_for(&self, at: &OrderRef, parts: &[Part]) -> bool {
        let is_free = |part: &Part| {
            let held = part.id().and_then(|id| self.rows.get(&at.sibling(&id)));
            held.is_none_or(|held| {
                part.of.number == 1 || held.part.as_ref().is_some_and(|held| held.of.whole == part.of.whole)
            })
        };
        parts.iter().all(is_free) && (parts.is_empty() || self.bundles.is_free_for_whole(at))
    }

    /// Takes a new order in several compartments, or the new try of one.
    pub(super) fn begin_parts(&mut self, turn: &mut Turn<'_>, at: &OrderRef, order: Order, parts: Vec<Part>) {
        let recipient = order.recipient.clone().unwrap_or_default();
        self.begin_whole_bundle(turn, at, &parts, order.content.clone(), recipient);
        for part in parts {
            let (Some(id), Some(size)) = (part.id(), part.size()) else { continue };
            let named = at.sibling(&id);
            // Whom to tell is kept once.
            let recipient = order.recipient.clone().filter(|_| part.of.number == 1);
            let key = named.order.clone();
            let row = Order { order: key, size, recipient, part: Some(Box::new(part)), ..order.clone() };
            self.replace(&named, row);
            self.join_whole(&named, at);
        }
    }

    /// What the integration hears of a part: how the whole order is now, unless that is what it was told last.
    pub(super) fn row_of_whole(&mut self, turn: &mut Turn<'_>, at: &OrderRef, row: StatusRow) -> Option<StatusRow> {
        if self.rows.get(at).is_none_or(|order| order.part.is_none()) {
            return Some(row);
        }
        if self.together {
            return None;
        }
        // Of a wish that was not done.
        if row.cabinet.is_none() {
            return Some(row);
        }
        let first = self.parts(at).into_iter().next()?;
        let (state, until) = self.whole(at)?;
        let parts = Some(self.part_rows(at));
        let timed = matches!(state, OrderState::Stored | OrderState::Overdue | OrderState::PartlyCollected);
        let told = ToldWhole { state, until: until.filter(|_| timed) };
        let says_more = row.reason.is_some() || row.content.is_some();
        let order = self.rows.get_mut(&first)?;
        let part = order.part.as_mut()?;
        // That it is to be loaded is told with its compartments.
        let known = part.told == Some(told) || state == OrderState::Ready && part.told.is_none();
        if known && !says_more {
            return None;
        }
        part.told = Some(told);
        let (cabinet, compartment) = (Some(order.cabinet.clone()), order.compartment);
        self.put_row(turn, &first);
        let (order, until) = (first.order.order, told.until);
        Some(StatusRow { order, state, cabinet, compartment, until, bundle: None, parts, ..row })
    }

    /// Does something to all parts of an order that it is for, or to none; the integration hears of the whole once.
    ///
    /// # Errors
    /// Why it cannot be done to one of them. The integration is told that, too.
    pub(super) fn each_part(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        concerns: impl Fn(&Order) -> bool,
        may: impl Fn(&Self, &OrderRef, &Order) -> Result<(), RejectReason>,
        mut act: impl FnMut(&mut Self, &mut Turn<'_>, &OrderRef),
    ) -> Result<(), RejectReason> {
        let Some(named) = self.named(at) else {
            self.reject(turn, at, RejectReason::UnknownOrder, None);
            return Err(RejectReason::UnknownOrder);
        };
        let several = named.part.is_some();
        let mut parts = self.parts(at);
        if several && parts.iter().filter_map(|part| self.rows.get(part)).any(&concerns) {
            parts.retain(|part| self.rows.get(part).is_some_and(&concerns));
        } else {
            parts.truncate(1);
        }
        let refused = parts.iter().find_map(|part| may(self, part, self.rows.get(part)?).err());
        if let Some(reason) = refused {
            self.refuse(turn, at, reason);
            return Err(reason);
        }
        self.together = several;
        parts.iter().for_each(|part| act(self, turn, part));
        self.together = false;
        if several {
            self.tell_again(turn, at);
            self.look_at_bundle(turn, at);
        }
        Ok(())
    }

    /// One of the parts is rejected: so is the whole order.
    pub(super) fn reject_whole(&mut self, turn: &mut Turn<'_>, at: &OrderRef, when: Happened) {
        let reason = self.rows.get(at).and_then(|order| order.reason);
        for part in self.parts(at).into_iter().filter(|part| part != at) {
            let Some(order) = self.rows.get_mut(&part).filter(|order| order.state.is_to_be_loaded()) else { continue };
            let cabinet = CabinetRef::new(part.tenant.clone(), order.cabinet.clone());
            (order.compartment, order.reason) = (None, reason);
            order.pass(OrderState::Rejected, turn.now, when);
            self.finished.insert(turn.now, &part);
            self.put_row(turn, &part);
            turn.send(Intent::to_cabinet(&cabinet, Release { order: part.order.clone() }));
        }
    }

    /// The parts of an order stay together: where one finds no room, all go on to the next cabinet.
    pub(super) fn all_ask_next(&mut self, turn: &mut Turn<'_>, at: &OrderRef, before: &CabinetRef) {
        let Some(next) = self.rows.get(at).map(|order| (order.cabinet.clone(), order.route.clone())) else { return };
        let there = CabinetRef::new(at.tenant.clone(), next.0.clone());
        for part in self.parts(at).into_iter().filter(|part| part != at) {
            let Some(order) = self.rows.get_mut(&part).filter(|order| order.state.is_to_be_loaded()) else { continue };
            (order.cabinet, order.route) = next.clone();
            (order.compartment, order.state) = (None, OrderState::Ready);
            let reserve = order.reserve();
            self.put_row(turn, &part);
            turn.send(Intent::to_cabinet(before, Release { order: part.order.clone() }));
            turn.send(Intent::to_cabinet(&there, reserve));
        }
    }

    /// The last part of an order is stored: only now does its recipient hear of it, and so its time begins.
    pub(super) fn complete_whole(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef, window: &Window) {
        let others: Vec<OrderRef> = self.parts(at).into_iter().filter(|part| part != at).collect();
        let waits = |part: &OrderRef| {
            let state = self.rows.get(part).map(|order| order.state);
            matches!(state, Some(OrderState::Stored | OrderState::Overdue))
        };
        if others.is_empty() || !others.iter().all(waits) || self.is_announced(at) {
            return;
        }
        self.together = true;
        for part in others {
            self.change(turn, &part, |order, _| order.window = Some(Box::new(window.clone())));
            self.enter(turn, config, &part, OrderState::Stored, Happened::now(turn));
            self.issue_again(turn, &part, window);
        }
        self.together = false;
    }

    /// What goes off goes off where it is not cooled, and all parts have one end.
    pub(super) fn other_parts_are_cooled(&self, at: &OrderRef) -> bool {
        let window = |part: &OrderRef| self.rows.get(part).and_then(|order| order.window.as_ref());
        let mut others = self.parts(at).into_iter().filter(|part| part != at);
        others.all(|part| window(&part).is_none_or(|window| window.refrigerated))
    }

    /// What is asked for the code of all parts is counted with the first of them, also when that is out already.
    pub(super) fn may_ask_for_whole(&self, config: &Config, at: &OrderRef) -> Result<(), RejectReason> {
        match self.rows.get(at).filter(|order| order.part.is_some()) {
            Some(first) if first.asked() >= config.wishes_per_order => Err(RejectReason::TooOften),
            // One that is on its way to the cabinet is announced by itself.
            Some(_) if !self.is_announced(at) => Err(RejectReason::NoCodeYet),
            Some(_) | None => Ok(()),
        }
    }

    /// The part of an order that somebody who is not at its cabinet means: the next one that this can be done to.
    pub(crate) fn part_for(&self, at: &OrderRef, action: &Action) -> OrderRef {
        let is_meant = |part: &OrderRef| {
            let state = self.rows.get(part).map(|order| order.state);
            state.is_some_and(|state| match action {
                Action::Unlock(_) => false,
                Action::Load(_) => state.is_to_be_loaded(),
                Action::Confirm(word) if !word.retrieving => state == OrderState::Loading,
                Action::Confirm(_) | Action::Retrieve(_) => !state.is_final() && !state.is_to_be_loaded(),
            })
        };
        self.parts(at).into_iter().find(is_meant).unwrap_or_else(|| at.clone())
    }

    /// Whether reminders of the whole order go out with this part.
    pub(super) fn reminds(&self, at: &OrderRef) -> bool {
        let waits = |part: &&OrderRef| self.rows.get(part).is_some_and(|order| order.state == OrderState::Stored);
        self.parts(at).iter().find(waits) == Some(at)
    }

    /// Gives an order another recipient, or lets staff load it or not. Its compartments stay what they are.
    pub(super) fn update_whole(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        next: Pending,
        ready: Option<bool>,
    ) -> Result<(), RejectReason> {
        let (Some(order), Some((state, _))) = (self.rows.get(at), self.whole(at)) else {
            return Err(RejectReason::UnknownOrder);
        };
        let new_code = order.notified && next.has_other_contact(order);
        let granted = match state {
            _ if next.is_booked_otherwise(order) => Err(RejectReason::SeveralCompartments),
            OrderState::Created | OrderState::Ready | OrderState::Reserved => Ok(()),
            OrderState::Loading | OrderState::Stored | OrderState::Overdue | OrderState::Quarantined
                if ready != Some(false) && order.recipient.is_some() =>
            {
                if new_code {
                    order.may_be_told_anew(config, turn.now)
                } else {
                    Ok(())
                }
            }
            OrderState::Loading
            | OrderState::Stored
            | OrderState::Overdue
            | OrderState::Quarantined
            | OrderState::Disputed
            | OrderState::PartlyCollected
            | OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled => Err(RejectReason::TooLate),
        };
        if let Err(reason) = granted {
            self.refuse(turn, at, reason);
            return Err(reason);
        }
        self.address_whole(turn, at, next.recipient.clone());
        self.take_content(turn, at, next);
        let booked = matches!(state, OrderState::Ready | OrderState::Reserved);
        match ready {
            Some(true) if state == OrderState::Created => {
                self.parts(at).iter().for_each(|part| self.make_ready(turn, part));
                Ok(())
            }
            Some(false) if booked => self.each_part(
                turn,
                at,
                |_| true,
                |_, _, _| Ok(()),
                |orders, turn, part| {
                    orders.take_back(turn, config, part);
                },
            ),
            Some(_) | None => {
                if new_code {
                    // Who was told before is not to come any more.
                    self.outbox.drop_of(turn, at);
                    self.reissue(turn, at);
                }
                Ok(())
            }
        }
    }
}

/// The state of an order by those of its parts: what has to be heard of comes first.
fn state_of(parts: &[OrderState]) -> OrderState {
    use OrderState::{
        Cancelled, Collected, CollectedUnconfirmed, Collecting, Created, Disputed, Loading, Overdue, PartlyCollected,
        Quarantined, Ready, Recalled, Rejected, Reserved, Retrieved, Stored,
    };
    let any = |state: OrderState| parts.contains(&state);
    let to_come = parts.iter().any(|state| state.is_to_be_loaded());
    if parts.iter().all(|state| state.is_final()) {
        return [CollectedUnconfirmed, Retrieved, Collected, Cancelled]
            .into_iter()
            .find(|state| any(*state))
            .unwrap_or(Rejected);
    }
    if let Some(state) = [Disputed, Quarantined, Recalled, Collecting].into_iter().find(|state| any(*state)) {
        return state;
    }
    if any(Loading) || to_come && any(Stored) {
        return Loading;
    }
    if let Some(state) = [Overdue, Created, Ready, Reserved].into_iter().find(|state| any(*state)) {
        return state;
    }
    if parts.iter().any(|state| state.is_final()) { PartlyCollected } else { Stored }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_what_has_to_be_heard_of() {
        use OrderState::{
            Cancelled, Collected, CollectedUnconfirmed, Collecting, Created, Disputed, Loading, Overdue,
            PartlyCollected, Quarantined, Ready, Recalled, Rejected, Reserved, Retrieved, Stored,
        };
        for (parts, whole) in [
            ([Created, Created], Created),
            ([Ready, Reserved], Ready),
            ([Reserved, Reserved], Reserved),
            ([Stored, Reserved], Loading),
            ([Loading, Ready], Loading),
            ([Overdue, Reserved], Overdue),
            ([Stored, Stored], Stored),
            ([Stored, Overdue], Overdue),
            ([Collecting, Stored], Collecting),
            ([Collected, Stored], PartlyCollected),
            ([Collected, Overdue], Overdue),
            ([Collected, Collecting], Collecting),
            ([Collected, Collected], Collected),
            ([Collected, CollectedUnconfirmed], CollectedUnconfirmed),
            ([Collected, Retrieved], Retrieved),
            ([Recalled, Cancelled], Recalled),
            ([Retrieved, Cancelled], Retrieved),
            ([Cancelled, Cancelled], Cancelled),
            ([Rejected, Rejected], Rejected),
            ([Disputed, Collected], Disputed),
            ([Quarantined, Stored], Quarantined),
        ] {
            assert_eq!(state_of(&parts), whole, "{parts:?}");
            let turned = [parts[1], parts[0]];
            assert_eq!(state_of(&turned), whole, "{turned:?}");
        }
    }

    #[test]
    fn an_order_of_too_many_compartments_or_with_too_long_an_id_is_refused() {
        let put = |order: &str, more: usize| -> OrderPut {
            let more = vec!["S"; more];
            let json =
                serde_json::json!({"order": order, "cabinet": "c1", "size": "M", "more": more, "category": "retail"});
            serde_json::from_value(json).unwrap()
        };
        let longest = "a".repeat(schemas::ids::ORDER_ID_MAX);
        assert!(check_parts(&put("A17", 7)).is_ok() && check_parts(&put(&longest, 0)).is_ok());
        assert!(check_parts(&put("A17", 8)).unwrap_err().contains("8 compartments at most"));
        assert!(check_parts(&put(&longest, 1)).unwrap_err().contains("too long"));
        let whole: OrderKey = "shop/A17".parse().unwrap();
        assert!(parts_of(&whole, &put("A17", 0)).is_empty());
        let ids: Vec<_> = parts_of(&whole, &put("A17", 2)).iter().map(|part| part.id().unwrap().to_string()).collect();
        assert_eq!(ids, ["A17", "A17.2", "A17.3"]);
    }
}
