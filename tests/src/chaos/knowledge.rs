//! What the people around the fleet know of each order, from what they were told, and where its goods really are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::api::{Notification, OrderState, Status};
use schemas::ids::{CabinetId, Name};
use schemas::messages::{Compartment, OrderKey};

use crate::sim::Dice;

/// Where the goods of an order are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goods {
    /// In the hands of staff.
    Staff,
    Inside(Compartment),
    Recipient,
    /// Taken back by staff.
    Back,
}

/// What somebody who wants to collect knows.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) digits: String,
    pub(super) qr: String,
    pub(super) compartment: Compartment,
}

/// An order as its people know it.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) cabinet: CabinetId,
    pub(super) size: &'static str,
    pub(super) acknowledged: bool,
    pub(super) cancelled: bool,
    /// Number of its newest row and what that said.
    pub(super) newest: u64,
    pub(super) state: Option<OrderState>,
    pub(super) compartment: Option<Compartment>,
    pub(super) code: Option<Code>,
    pub(super) goods: Goods,
}

impl Known {
    /// Its backend has nothing more to hear.
    pub(super) fn is_over(&self) -> bool {
        self.acknowledged && self.state.is_some_and(OrderState::is_final)
    }
}

/// All orders of a run.
#[derive(Clone, Default)]
pub(super) struct Knowledge {
    orders: Arc<Mutex<BTreeMap<OrderKey, Known>>>,
}

impl Knowledge {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<OrderKey, Known>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new order of `integration`, with the next number.
    pub(super) fn order_made(
        &self,
        integration: &Name,
        cabinet: CabinetId,
        size: &'static str,
    ) -> anyhow::Result<OrderKey> {
        let mut orders = self.lock();
        let number = orders.keys().filter(|order| order.integration == *integration).count() + 1;
        let order = OrderKey { integration: integration.clone(), order: format!("A{number}").parse()? };
        let known = Known {
            cabinet,
            size,
            acknowledged: false,
            cancelled: false,
            newest: 0,
            state: None,
            compartment: None,
            code: None,
            goods: Goods::Staff,
        };
        orders.insert(order.clone(), known);
        Ok(order)
    }

    pub(super) fn change(&self, order: &OrderKey, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.lock().get_mut(order) {
            change(known);
        }
    }

    pub(super) fn status_told(&self, order: &OrderKey, row: &Status) {
        self.change(order, |known| {
            // A row that comes again tells nothing new, an answer to what came too late is no state.
            if row.n > known.newest && (row.reason.is_none() || row.state == OrderState::Rejected) {
                known.newest = row.n;
                known.state = Some(row.state);
                known.compartment = row.compartment;
            }
        });
    }

    pub(super) fn code_told(&self, order: &OrderKey, told: &Notification) {
        // What staff load has no code but for its recipient.
        let Some(compartment) = told.compartment else { return };
        let code = Code { digits: told.code.clone(), qr: told.qr.clone(), compartment };
        self.change(order, |known| known.code = Some(code));
    }

    pub(super) fn get(&self, order: &OrderKey) -> Option<Known> {
        self.lock().get(order).cloned()
    }

    /// Those that `wanted` picks.
    pub(super) fn all(&self, wanted: impl Fn(&OrderKey, &Known) -> bool) -> Vec<(OrderKey, Known)> {
        let orders = self.lock();
        orders.iter().filter(|(order, known)| wanted(order, known)).map(|(o, k)| (o.clone(), k.clone())).collect()
    }

    pub(super) fn any(&self, dice: &mut Dice, wanted: impl Fn(&OrderKey, &Known) -> bool) -> Option<(OrderKey, Known)> {
        dice.pick(&self.all(wanted)).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// What is in a compartment by nobody's word but its own.
    pub(super) fn goods_in(&self, cabinet: &CabinetId, compartment: Compartment) -> Option<OrderKey> {
        let orders = self.lock();
        let mut inside =
            orders.iter().filter(|(_, known)| known.cabinet == *cabinet && known.goods == Goods::Inside(compartment));
        inside.next().map(|(order, _)| order.clone())
    }

    /// Moves goods if they are where `from` says; false otherwise.
    pub(super) fn move_goods(&self, order: &OrderKey, from: Goods, to: Goods) -> bool {
        let mut orders = self.lock();
        let Some(known) = orders.get_mut(order).filter(|known| known.goods == from) else { return false };
        known.goods = to;
        true
    }
}
