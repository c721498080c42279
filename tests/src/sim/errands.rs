//! Orders that somebody has loaded and taken out from afar, with a person at the door who is told what to do.

use schemas::api::OrderState;
use schemas::messages::{Action, Command, Compartment, OrderKey};

use super::ledger::{Cab, Content, OrderTruth};
use super::people::Attendant;
use super::world::World;

impl World {
    /// An operator wants something done at a door: mostly what can be done, and what is asked there.
    pub(super) fn operator_sends_somebody(&mut self, cab: Cab) {
        match self.dice.below(5) {
            0 | 1 => self.operator_has_loaded(),
            2 | 3 => self.operator_has_taken_out(),
            _ => self.operator_says_what_is_inside(cab),
        }
    }

    fn pick_order(&mut self, is: fn(&OrderTruth) -> bool) -> Option<OrderKey> {
        let any = self.dice.one_in(6);
        let orders = self.ledger.orders.iter().filter(|(_, truth)| any || is(truth));
        let orders: Vec<OrderKey> = orders.map(|(order, _)| self.ledger.named(order)).collect();
        self.dice.pick(&orders).cloned()
    }

    fn operator_has_loaded(&mut self) {
        let to_load = |truth: &OrderTruth| truth.told.state.is_some_and(OrderState::is_to_be_loaded);
        let Some(order) = self.pick_order(to_load) else { return };
        let more = match self.dice.below(6) {
            0 => format!(r#","compartment":{}"#, self.dice.between(1, 6)),
            1 => r#","size":"M""#.to_owned(),
            _ => String::new(),
        };
        self.tell(|| format!("the operator has {order} loaded"));
        self.ask(format!(r#"{{"op":"order.load","order":"{order}"{more}}}"#));
    }

    fn operator_has_taken_out(&mut self) {
        let unwanted =
            |truth: &OrderTruth| matches!(truth.told.state, Some(OrderState::Recalled | OrderState::Quarantined));
        let Some(order) = self.pick_order(unwanted) else { return };
        self.tell(|| format!("the operator has {order} taken out"));
        self.ask(format!(r#"{{"op":"order.retrieve","order":"{order}"}}"#));
    }

    /// What whoever stands there tells him, which is true. Some say it of a door that nobody asks about.
    fn operator_says_what_is_inside(&mut self, cab: Cab) {
        let at = self.some_door(cab);
        let asked = self.asks(cab, at);
        let Some(content) = self.ledger.contents.get(&(cab, at)).cloned() else { return };
        let several = self.ledger.is_shared(&(cab, at));
        let order = self.asked_about(cab, at).filter(|_| several).unwrap_or_else(|| content.order().clone());
        // Of an order in several compartments he cannot say which part he means.
        if self.ledger.is_whole(&order) || !asked && !self.dice.one_in(3) {
            return;
        }
        let retrieving = matches!(content, Content::Stored(_));
        let inside = self.is_inside(cab, at);
        self.tell(|| format!("the operator says of {order} in {at} of cabinet {cab}: inside {inside}"));
        let said = format!(r#""inside":{inside},"retrieving":{retrieving}"#);
        self.ask(format!(r#"{{"op":"order.confirm","order":"{order}",{said}}}"#));
    }

    /// The door is being opened: whoever was sent there stands before it.
    pub(super) fn somebody_was_sent(&mut self, cab: Cab, at: Compartment, command: &Command) {
        let meant = command.action.order().map(|order| self.ledger.parts_of(order)).unwrap_or_default();
        let Some(first) = self.ledger.contents.get(&(cab, at)).map(|content| content.order().clone()) else { return };
        let order = self.ledger.orders_in(&(cab, at)).find(|order| meant.contains(order)).cloned().unwrap_or(first);
        let attendant = match &command.action {
            Action::Unlock(_) | Action::Confirm(_) => return,
            Action::Load(_) => Attendant::Loader { order },
            Action::Retrieve(_) => Attendant::Retriever { order },
        };
        self.doubt_if_just_closed(cab, at);
        self.stand_at(cab, at, attendant);
    }
}
