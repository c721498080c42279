//! The end of a schedule: no more faults, everybody finishes, and what must become true eventually is checked.

use schemas::api::{CabinetDetail, OrderState, Reply};
use schemas::messages::{Compartment, OrderKey};
use schemas::topics::Stream;

use super::ledger::{Cab, Content};
use super::world::{CABS, Happening, SHOPS, World};

/// Names of the checks that are made once everything is quiet, besides the invariants that they complete.
pub(super) const NAMES: [&str; 4] =
    ["outbox_empties", "fleet_book_held", "stored_orders_are_collectable", "same_seed_same_history"];

impl World {
    /// Heals everything and waits until people and processes have finished.
    pub(super) fn heal(&mut self) {
        self.rough = false;
        self.tell(|| "everything is healed".to_owned());
        self.signer.works = true;
        self.fleet.store.set_full(false);
        self.set_fleet_clock(0);
        self.blocked = [false; CABS];
        for cab in 0..CABS {
            self.cabs[cab].asleep_until = self.now;
            self.cabs[cab].stuck.clear();
            self.mend_boards(cab);
            self.cabs[cab].store.set_full(false);
            self.later(1_000, Happening::CabinetStarts(cab));
            // Messages that were held back are only missed at the next hello.
            if let Some(conn) = self.cabs[cab].conn {
                self.cut(conn, 100, 100);
            }
            self.later(30_000, Happening::Connects(cab));
        }
        self.later(500, Happening::FleetStarts);
        for shop in 0..SHOPS.len() {
            self.later(20_000, Happening::ShopOpens { shop });
        }
        self.pass(1_800_000);
        for _ in 0..4 {
            self.staff_finish();
        }
    }

    fn pass(&mut self, millis: u64) {
        self.run_until(self.now + millis);
    }

    /// Staff answer what the screens ask, and look into what is in doubt.
    fn staff_finish(&mut self) {
        for cab in 0..CABS {
            self.log_in(cab);
            self.pass(2_000);
            let asked: Vec<Compartment> = self.cabs[cab].doors.keys().copied().collect();
            for at in asked {
                self.staff_answers(cab, at);
            }
            self.pass(60_000);
        }
    }

    pub(super) fn check_quiet(&mut self) {
        self.check_outboxes();
        self.check_rows();
        for id in self.ledger.without_outcome() {
            self.break_off("every_accepted_command_has_one_outcome", format!("command {id} has no outcome"));
        }
        for cab in 0..CABS {
            let Some(detail) = self.detail(cab) else {
                return self.break_off("fleet_book_held", format!("the fleet does not show cabinet {cab}"));
            };
            self.check_cabinet(cab, &detail);
        }
        self.check_orders();
    }

    fn check_outboxes(&mut self) {
        for cab in 0..CABS {
            let Some(core) = self.cabs[cab].core() else {
                return self.break_off("outbox_empties", format!("cabinet {cab} is not running"));
            };
            let (waiting, online) = (core.view().outbox, core.view().online);
            let written = self.ledger.written.get(&cab).map_or(0, |rows| rows.len() as u64);
            let stored = self.ledger.stored.get(&cab).copied().unwrap_or(0);
            if waiting != 0 || written != stored || !online {
                let text =
                    format!("cabinet {cab} wrote {written}, the fleet has {stored}, {waiting} wait, online {online}");
                self.break_off("outbox_empties", text);
            }
        }
    }

    fn check_rows(&mut self) {
        for shop in 0..SHOPS.len() {
            for stream in [Stream::Status, Stream::Notifications] {
                let Some((cursor, newest)) = self.heads(shop, stream) else { continue };
                let name = self.shops[shop].name.clone();
                let received = self.ledger.rows.get(&(name.clone(), stream)).map_or(0, |rows| rows.len() as u64);
                if received != newest || cursor != newest {
                    let text = format!("{name} {stream}: {newest} rows, {received} received, cursor {cursor}");
                    self.break_off("rows_in_order_without_gaps", text);
                }
            }
        }
    }

    pub(super) fn detail(&mut self, cab: Cab) -> Option<CabinetDetail> {
        let cabinet = self.name_of(cab);
        let ticket = self.ask(format!(r#"{{"op":"cabinet.show","cabinet":"{cabinet}"}}"#));
        self.pass(100);
        match self.fleet.replies.remove(&ticket)? {
            Reply::Cabinet(detail) => Some(*detail),
            _ => None,
        }
    }

    fn check_cabinet(&mut self, cab: Cab, detail: &CabinetDetail) {
        if detail.book_held != detail.book_wanted {
            let text = format!("cabinet {cab} holds book {}, {} is wanted", detail.book_held, detail.book_wanted);
            self.break_off("fleet_book_held", text);
        }
        for shown in &detail.compartments {
            let at = (cab, shown.number);
            let held = self.ledger.contents.get(&at).map(|held| held.order().clone());
            let really = self.cabs[cab].doors.get(&shown.number).and_then(|door| door.goods.clone());
            let doubtful =
                shown.audit_required || self.ledger.audits.contains(&at) || self.ledger.unnoticed.contains(&at);
            if let (Some(goods), false) = (&really, doubtful)
                && held.as_ref() != Some(goods)
            {
                self.break_off("no_order_lost", format!("{goods} lies in {at:?}, where the cabinet has {held:?}"));
            }
            if let (Some(Content::Stored(order)), None, false) = (self.ledger.contents.get(&at), &really, doubtful) {
                let text = format!("{order} is stored in {at:?} by the cabinet's word, and nothing is there");
                self.break_off("no_order_lost", text);
            }
            if let Some(order) = &held
                && shown.order.as_ref() != Some(order)
            {
                let text = format!("the cabinet has {order} in {at:?}, the fleet {:?}", shown.order);
                self.break_off("no_order_lost", text);
            }
        }
    }

    fn check_orders(&mut self) {
        let orders: Vec<_> = self.ledger.orders.iter().map(|(key, truth)| (key.clone(), truth.clone())).collect();
        for (order, truth) in orders {
            // `ready` without a row: it asks for a compartment within the same turn.
            if truth.accepted && truth.state.is_none() {
                self.break_off("no_order_lost", format!("{order} was acknowledged and has no state"));
            }
            let held = self.ledger.contents.iter().find(|(_, content)| *content.order() == order);
            let stored = held.is_some_and(|(_, content)| matches!(content, Content::Stored(_)));
            let fits = match truth.state {
                Some(OrderState::Stored | OrderState::Recalled) => stored || truth.collected > 0,
                Some(OrderState::Collecting) => stored,
                Some(OrderState::Loading) => held.is_some(),
                Some(OrderState::Disputed) => true,
                Some(
                    OrderState::Created
                    | OrderState::Ready
                    | OrderState::Reserved
                    | OrderState::Collected
                    | OrderState::CollectedUnconfirmed
                    | OrderState::Cancelled
                    | OrderState::Rejected
                    | OrderState::Retrieved,
                )
                | None => held.is_none(),
            };
            if !fits {
                let text = format!("{order} is {:?} for the fleet, and {held:?} for the cabinet", truth.state);
                self.break_off("no_order_lost", text);
            }
            if truth.state == Some(OrderState::Stored) && truth.notified == 0 {
                self.break_off("stored_orders_are_collectable", format!("{order} is stored and no code was sent"));
            }
        }
    }

    /// Customers come, one after another, and everyone gets what is theirs.
    pub(super) fn collect_all(&mut self) {
        let stored: Vec<OrderKey> = self.collectable();
        for order in stored {
            if self.broken.is_some() {
                return;
            }
            self.collect(&order, false, false);
            self.pass(180_000);
            let Some(truth) = self.ledger.orders.get(&order) else { continue };
            let (state, collected) = (truth.state, truth.collected);
            if collected != 1 || state != Some(OrderState::Collected) {
                let text = format!("{order} is {state:?} after its customer came, {collected} times collected");
                return self.break_off("stored_orders_are_collectable", text);
            }
        }
    }

    fn collectable(&self) -> Vec<OrderKey> {
        let stored = self.ledger.orders.iter().filter(|(order, truth)| {
            let doubtful = |at: &(Cab, Compartment)| {
                let ledger = &self.ledger;
                [&ledger.audits, &ledger.unnoticed, &ledger.wrong_doors].iter().any(|doubts| doubts.contains(at))
            };
            let sound = self.ledger.contents.iter().any(|(at, held)| held.order() == *order && !doubtful(at));
            let lasting =
                !matches!(truth.category, schemas::messages::Category::Food | schemas::messages::Category::Pharmacy);
            truth.state == Some(OrderState::Stored) && sound && lasting
        });
        stored.map(|(order, _)| order.clone()).collect()
    }
}
