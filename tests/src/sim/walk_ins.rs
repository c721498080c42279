//! Orders that staff begin at a cabinet, and orders that an operator ends because they hang.

use cabinet_core::{Input, NewWalkIn};
use schemas::api::{OrderState, Status};
use schemas::cbor;
use schemas::ids::{Name, OrderId};
use schemas::messages::{Attributes, Category, Event, Fact, OrderKey, Size};
use schemas::phone::Phone;
use schemas::step::Write;

use super::ledger::{Cab, Cause, OrderTruth};
use super::world::{World, constant};

/// Orders that staff of one cabinet begin in a schedule.
const WALK_INS_MAX: usize = 4;

/// Of which order a row speaks.
pub(super) fn key_of(integration: &Name, order: OrderId, walk_in: bool) -> OrderKey {
    if walk_in { OrderKey::walk_in(order) } else { OrderKey { integration: integration.clone(), order } }
}

pub(super) fn key_of_status(integration: &Name, status: &Status) -> OrderKey {
    key_of(integration, status.order.clone(), status.walk_in)
}

/// What a step of a cabinet writes down.
pub(super) fn facts_in(writes: &[Write]) -> impl DoubleEndedIterator<Item = Fact> {
    let records = writes.iter().filter(|write| write.table == cabinet_core::EVENTS);
    records.filter_map(|write| cbor::decode::<Event>(write.value.as_ref()?).ok()).map(|event| event.fact)
}

/// By what a door is opened in the step in which staff begin an order: that one is on record with it.
pub(super) fn begun_in(writes: &[Write]) -> Cause {
    let mut begun = facts_in(writes).filter_map(|fact| match fact {
        Fact::WalkIn(begun) => Some(begun.order),
        _ => None,
    });
    begun.next_back().map_or(Cause::Nobody("a walk-in that is on no record"), Cause::Staff)
}

/// In a state in which a person may end it.
fn hangs(truth: &OrderTruth) -> bool {
    use OrderState::{Collecting, Disputed, Loading, Overdue, Quarantined, Recalled, Stored};
    matches!(truth.told.state, Some(Loading | Collecting | Disputed | Quarantined | Recalled | Overdue | Stored))
}

impl World {
    /// Somebody comes with something that no backend has announced.
    pub(super) fn staff_begin_walk_in(&mut self, cab: Cab) {
        let begun = self.ledger.orders.iter().filter(|(order, truth)| order.is_walk_in() && truth.cab == cab).count();
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        let Ok(phone) = Phone::parse(&format!("+4917000{:05}", self.dice.below(100_000))) else { return };
        let reference = self.dice.one_in(2).then(|| constant("slip"));
        let size = if self.dice.one_in(3) { Size::M } else { Size::S };
        if begun >= WALK_INS_MAX {
            return;
        }
        self.tell(|| format!("staff begin an order at cabinet {cab}"));
        let order = NewWalkIn { phone, reference, size, category: Category::Retail, wants: Attributes::default() };
        self.take_cabinet(cab, Input::WalkIn { session, order }, None);
    }

    /// What they began is not to be loaded after all; some err.
    pub(super) fn staff_drop_walk_in(&mut self, cab: Cab) {
        let orders: Vec<OrderKey> = self.ledger.orders.keys().filter(|order| order.is_walk_in()).cloned().collect();
        let Some(order) = self.dice.pick(&orders).cloned() else { return };
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        self.tell(|| format!("staff give {order} up at cabinet {cab}"));
        self.take_cabinet(cab, Input::DropWalkIn { session, order }, None);
    }

    /// An operator ends what hangs, as what he believes that it is.
    pub(super) fn operator_closes(&mut self) {
        let hanging = self.ledger.orders.iter().filter(|(_, truth)| hangs(truth));
        let hanging: Vec<OrderKey> = hanging.map(|(order, _)| self.ledger.named(order)).collect();
        let Some(order) = self.dice.pick(&hanging).cloned() else { return };
        let closed_as = ["collected", "retrieved", "cancelled"][self.dice.index(3)];
        self.ledger.each_part(&order, |truth| {
            let stays = truth.told.state == Some(OrderState::Stored) && closed_as == "cancelled";
            if hangs(truth) && !stays {
                (truth.ended, truth.cancelled) = (true, true);
            }
        });
        self.tell(|| format!("the operator ends {order} as {closed_as}"));
        self.ask(format!(r#"{{"op":"order.close","order":"{order}","as":"{closed_as}","reason":"it hangs"}}"#));
    }
}
