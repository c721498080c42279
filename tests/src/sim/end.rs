//! The end of a schedule: no more faults, everybody finishes, and what must become true eventually is checked.

use std::collections::BTreeSet;

use schemas::api::{CabinetDetail, OrderState, Reply};
use schemas::messages::{Compartment, OrderKey};
use schemas::topics::Stream;

use super::invariants::Holds;
use super::ledger::{Cab, Content};
use super::world::{CABS, Happening, SHOPS, World};

/// The checks that are made once everything is quiet, besides the invariants that they complete.
pub(super) const CHECKS: [(&str, Holds); 5] = [
    ("outbox_empties", Holds::WithoutAnAdversary),
    ("fleet_book_held", Holds::WithoutAnAdversary),
    ("stored_orders_are_collectable", Holds::WithoutAnAdversary),
    ("message_reaches_or_is_listed", Holds::WithoutAnAdversary),
    ("same_seed_same_history", Holds::Always),
];

/// The longest time that a core waits before it does something by itself, and is not waited for here: typing that is
/// locked, a collection that nobody confirms, a hold of a door, the time that is told anew.
const QUIET_MILLIS: u64 = 100_000;
const SETTLE_MAX_MILLIS: u64 = 2_400_000;

impl World {
    /// Heals everything and waits until people and processes have finished.
    pub(super) fn heal(&mut self) {
        self.rough = false;
        self.tell(|| "everything is healed".to_owned());
        self.signer.works = true;
        self.fleet.store.set_full(false);
        self.set_fleet_clock(0);
        self.operator_restarts_fleet();
        self.blocked = [false; CABS];
        for cab in 0..CABS {
            self.wake(cab);
            self.cabs[cab].stuck.clear();
            self.mend_boards(cab);
            self.set_disk_low(cab, false);
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
        self.settle();
        if self.fleet.pin.is_none() {
            self.staff_are_added_again();
            self.settle();
        }
        self.forgotten_orders_are_put_again();
        self.settle();
        self.drivers_do_not_come();
        self.settle();
        self.codes_are_made_anew();
        self.settle();
        for _ in 0..4 {
            self.staff_finish();
        }
    }

    /// Waits until nothing has happened for a while. Who never comes to rest is found by the checks.
    pub(super) fn settle(&mut self) {
        let since = self.now;
        for _ in 0..SETTLE_MAX_MILLIS / 10_000 {
            let quiet = self.now >= self.ledger.active_at.max(since) + QUIET_MILLIS;
            if self.broken.is_some() || quiet && self.everybody_is_done() {
                return;
            }
            self.pass(10_000);
        }
    }

    fn everybody_is_done(&self) -> bool {
        // A retry that was set while the clock was ahead by as much as is still believed.
        let soon = self.now + 2 * fleet_core::JUMP_MILLIS;
        let rests = self.fleet.deadline().is_none_or(|at| self.when_fleet_says(at) > soon);
        rests
            && !self.fleet.is_deciding()
            && self.cabs.iter().enumerate().all(|(cab, cabinet)| {
                let told = cabinet.core().map(|core| core.view()).is_some_and(|view| view.online && view.outbox == 0);
                let alive = cabinet.conn.and_then(|conn| self.wires.get(&conn)).is_some_and(|wire| !wire.is_over());
                told && alive
                    && self.fleet.connected()[cab]
                    && cabinet.doors.values().all(|door| !door.open && door.attendant.is_none())
            })
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.run_until(self.now + millis);
    }

    /// Staff answer what the screens ask.
    fn staff_finish(&mut self) {
        for cab in 0..CABS {
            let doors: Vec<Compartment> = self.cabs[cab].doors.keys().copied().collect();
            for at in doors {
                if self.swaps_with(cab, at).is_some() {
                    self.log_in(cab);
                    self.pass(2_000);
                    self.staff_answer_swap(cab, at);
                    self.settle();
                }
            }
            let asked: Vec<Compartment> =
                self.cabs[cab].doors.keys().copied().filter(|at| self.asks(cab, *at)).collect();
            if asked.is_empty() {
                continue;
            }
            self.log_in(cab);
            self.pass(2_000);
            for at in asked {
                self.staff_answers(cab, at);
            }
            self.settle();
        }
    }

    pub(super) fn check_quiet(&mut self) {
        for id in self.ledger.without_outcome() {
            self.break_off("every_accepted_command_has_one_outcome", format!("command {id} has no outcome"));
        }
        if self.adversary.was_believed {
            return;
        }
        self.check_outboxes();
        self.check_rows();
        for cab in 0..CABS {
            let Some(detail) = self.detail(cab) else {
                return self.break_off("fleet_book_held", format!("the fleet does not show cabinet {cab}"));
            };
            self.check_cabinet(cab, &detail);
        }
        self.check_orders();
        self.check_wholes();
        self.check_terms();
        self.check_messages();
        if self.broken.is_none() {
            self.check_couriers();
        }
    }

    fn check_outboxes(&mut self) {
        for cab in 0..CABS {
            let Some(core) = self.cabs[cab].core() else {
                return self.break_off("outbox_empties", format!("cabinet {cab} is not running"));
            };
            let (waiting, online) = (core.view().outbox, core.view().online);
            let written = self.ledger.newest_written(cab);
            let stored = self.ledger.stored.get(&(cab, self.ledger.epoch(cab))).copied().unwrap_or(0);
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
                let Some((cursor, newest)) = self.heads(shop, stream).filter(|ends| *ends != (0, 0)) else { continue };
                let name = self.shops[shop].name.clone();
                let at = (name.clone(), stream);
                let heard = self.ledger.heard.get(&at).copied().unwrap_or(0);
                // Behind a restore without a new row the newest number is one that was left out.
                let part = self.ledger.stream(&at);
                if part.next(heard) != part.newest + 1 || part.next(cursor) != part.newest + 1 {
                    let text = format!("{name} {stream}: {newest} rows, {heard} received, cursor {cursor}");
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
            let held: BTreeSet<OrderKey> = self.ledger.orders_in(&at).cloned().collect();
            let really = self.cabs[cab].doors.get(&shown.number).map(|door| door.goods.clone()).unwrap_or_default();
            let doubtful =
                shown.audit_required || self.ledger.audits.contains(&at) || self.ledger.unnoticed.contains(&at);
            if let (Some(goods), false) = (really.difference(&held).next(), doubtful) {
                self.break_off("no_order_lost", format!("{goods} lies in {at:?}, where the cabinet has {held:?}"));
            }
            let stored = |order: &&OrderKey| self.ledger.contents.get(&at) != Some(&Content::Loading((*order).clone()));
            if let (Some(order), false) = (held.difference(&really).find(stored), doubtful) {
                let text = format!("{order} is stored in {at:?} by the cabinet's word, and {really:?} are there");
                self.break_off("no_order_lost", text);
            }
            let view = self.cabs[cab].core().map(|core| core.view());
            let view = view.iter().flat_map(|view| &view.compartments).find(|one| one.number == shown.number);
            if view.is_some_and(|one| one.allocated == held.is_empty()) {
                self.break_off("no_order_lost", format!("{held:?} are in {at:?}, which is as good as free, or is not"));
            }
            let by_fleet: BTreeSet<OrderKey> = shown.order.iter().chain(&shown.beside).cloned().collect();
            for order in held.difference(&by_fleet) {
                // A cabinet that has lost what it knew is not believed without a look.
                let truth = self.ledger.orders.get(order);
                let (astray, unheard) = truth.map_or((false, false), |truth| (truth.astray, truth.unheard));
                if !(astray && shown.audit_required || unheard) {
                    let text = format!("the cabinet has {order} in {at:?}, the fleet {by_fleet:?}");
                    self.break_off("no_order_lost", text);
                    break;
                }
            }
        }
    }

    fn check_orders(&mut self) {
        let orders: Vec<_> = self.ledger.orders.iter().map(|(key, truth)| (key.clone(), truth.clone())).collect();
        for (order, truth) in orders {
            let told = &truth.told;
            // `ready` without a row: it asks for a compartment within the same turn.
            if told.accepted && told.state.is_none() {
                self.break_off("no_order_lost", format!("{order} was acknowledged and has no state"));
            }
            let held = self.ledger.place_of(&order);
            let unknown = self.ledger.is_beyond_knowing(&order);
            // Its backend has ended the dispute with it, and staff have still to look whether it is there.
            let to_be_looked_for = truth.missed
                && told.state == Some(OrderState::Cancelled)
                && held.as_ref().is_some_and(|(at, _)| self.ledger.audits.contains(at));
            // Of what an operator has ended the cabinet may know better.
            let unknown = unknown || truth.ended || to_be_looked_for;
            // What is to be taken out, and is missing, an operator has to end.
            let unknown = unknown || truth.missing && told.state == Some(OrderState::Recalled);
            if !unknown
                && !fits(told.state, held.as_ref().map(|(_, content)| content), self.ledger.has_collected(&order))
            {
                let text = format!("{order} is {:?} for the fleet, and {held:?} for the cabinet", told.state);
                self.break_off("no_order_lost", text);
            }
            let complete = self.ledger.is_complete(&order);
            if told.state == Some(OrderState::Stored) && told.notified == 0 && !unknown && complete {
                self.break_off("stored_orders_are_collectable", format!("{order} is stored and no code was sent"));
            }
        }
    }

    /// Customers come, one after another, and everyone gets what is theirs.
    pub(super) fn collect_all(&mut self) {
        if self.adversary.was_believed {
            return;
        }
        let stored: Vec<OrderKey> = self.collectable();
        for order in stored {
            if self.broken.is_some() {
                return;
            }
            let cab = self.ledger.orders.get(&order).map_or(0, |truth| truth.at());
            if self.ledger.bars_answers(cab, &order, self.now) {
                continue;
            }
            self.collect(&order, false, false);
            self.settle();
            let Some(truth) = self.ledger.orders.get(&order) else { continue };
            let (state, collected) = (truth.told.state, self.ledger.collected.get(&order).copied().unwrap_or(0));
            // A fleet that once started with a clock that was months off forgets it at once.
            let forgotten = state.is_none() && self.ledger.misled;
            if collected != 1 || state != Some(OrderState::Collected) && !forgotten {
                let text = format!("{order} is {state:?} after its customer came, {collected} times collected");
                return self.break_off("stored_orders_are_collectable", text);
            }
        }
        self.check_wholes();
    }

    fn collectable(&self) -> Vec<OrderKey> {
        let stored = self.ledger.orders.iter().filter(|(order, truth)| {
            let doubtful = |at: &(Cab, Compartment)| {
                let ledger = &self.ledger;
                [&ledger.audits, &ledger.unnoticed, &ledger.wrong_doors, &ledger.swapping]
                    .iter()
                    .any(|doubts| doubts.contains(at))
            };
            let Some((at, _)) = self.ledger.place_of(order).filter(|(at, _)| !doubtful(at)) else { return false };
            // With it goes what lies beside it, or nothing.
            let may_go = |order: &OrderKey| {
                let truth = self.ledger.orders.get(order);
                truth.is_some_and(|truth| {
                    let inside = matches!(truth.told.state, Some(OrderState::Stored | OrderState::Overdue));
                    inside && !truth.astray && !truth.unheard
                })
            };
            !truth.ends && self.ledger.orders_in(&at).all(may_go) && self.ledger.is_complete(order)
        });
        stored.map(|(order, _)| order.clone()).collect()
    }
}

/// Whether the fleet's word of an order agrees with what its cabinet has on record. An order that a restored fleet does
/// not know may be anywhere.
fn fits(state: Option<OrderState>, held: Option<&Content>, collected: bool) -> bool {
    let stored = matches!(held, Some(Content::Stored(_)));
    match state {
        Some(OrderState::Stored | OrderState::Collecting | OrderState::Overdue) => stored && !collected,
        Some(OrderState::Recalled | OrderState::Quarantined) => stored || collected,
        // Of an order in several compartments, and of none of its parts.
        Some(OrderState::PartlyCollected) => false,
        Some(OrderState::Loading) => held.is_some(),
        Some(OrderState::Disputed) | None => true,
        Some(
            OrderState::Created
            | OrderState::Ready
            | OrderState::Reserved
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved,
        ) => held.is_none(),
    }
}
