//! Backends, staff, customers and an operator, who do what such people do in no particular order.

use std::collections::BTreeSet;

use cabinet_core::{DepositWish, Input, SessionId};
use schemas::api::OrderState;
use schemas::crypto::codes::Secret;
use schemas::messages::{Category, Compartment, OrderKey, Size};
use schemas::topics::OrderChange;

use super::cabinet::Door;
use super::changes::FIVE;
use super::couriers::{Keypad, is_for_courier};
use super::factors::asks_for_more;
use super::ledger::{Cab, Content, OrderTruth};
use super::schedule::Pace;
use super::screen::Entry;
use super::wholes::{is_for_site, whole_name};
use super::world::{CABS, Happening, SHOPS, World, constant};

/// Orders of one backend in a schedule.
const ORDERS_MAX: u64 = 9;

/// Who stands at a door and what they came for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attendant {
    Loader {
        order: OrderKey,
    },
    Retriever {
        order: OrderKey,
    },
    Collector {
        order: OrderKey,
    },
    /// Exchanges what is inside with what another compartment holds.
    Swapper {
        with: Compartment,
    },
    Looker,
}

impl World {
    pub(super) fn somebody_acts(&mut self) {
        if !self.rough {
            return;
        }
        let rest = if self.pace == Pace::Busy { 25 } else { 6 };
        let wait = if self.dice.one_in(rest) { self.draw_wait(10_000, 900_000) } else { self.draw_wait(50, 12_000) };
        self.later(wait, Happening::SomebodyActs);
        let cab = self.dice.index(CABS);
        let (what, act): (&'static str, fn(&mut Self, Cab)) = match self.dice.below(24) {
            0..=2 => ("backend puts", |world, _| world.backend_puts()),
            3 if self.now % 2 == 1 => ("backend bundles", |world, _| world.backend_bundles()),
            3 if self.now % 4 == 2 => ("an order is held back", |world, _| world.holds_back()),
            3 => ("backend cancels", |world, _| world.backend_cancels()),
            4..=8 => ("staff act", Self::staff_acts),
            9..=14 => ("customer comes", |world, _| world.customer_comes()),
            15 => ("somebody guesses", |world, cab| {
                // Some stay, until nobody may type any more.
                let tries = if world.dice.one_in(4) { world.dice.between(5, 40) } else { 1 };
                world.guesses(cab, tries);
            }),
            16 => ("operator unlocks", Self::operator_unlocks),
            17 => ("somebody tries again", |world, cab| {
                let at = world.some_door(cab);
                world.tries_again(cab, at);
            }),
            18 => ("a lock begins to stick", |world, cab| {
                let at = world.some_door(cab);
                let until = world.now + world.dice.between(10_000, 300_000);
                world.cabs[cab].stuck.insert(at, until);
            }),
            20 => ("staff err", Self::staff_errs),
            21 if self.now % 4 == 2 => ("backend moves", |world, _| world.backend_moves()),
            21 if self.now % 2 == 1 => ("backend has a wish", |world, _| world.backend_wishes()),
            21 => ("backend errs", |world, _| world.backend_errs()),
            22 if self.now % 2 == 1 => ("somebody misses an order", |world, cab| {
                let at = (world.now % 4 == 1).then(|| world.some_door(cab));
                world.misses(cab, at);
            }),
            22 => ("operator errs", Self::operator_errs),
            19 => ("a tick comes early", |world, cab| {
                world.tick_cabinet_early(cab);
                world.tick_fleet_early();
            }),
            23 if self.now % 4 == 1 && self.scans => ("staff carry", Self::staff_carry),
            23 if self.now % 2 == 1 => ("staff look", Self::staff_look),
            _ => ("staff log out", |world, cab| {
                if let Some(session) = world.cabs[cab].session.take() {
                    world.take_cabinet(cab, Input::StaffLogout { session }, None);
                }
            }),
        };
        if self.decides(what) {
            act(self, cab);
        }
    }

    pub(super) fn some_door(&mut self, cab: Cab) -> Compartment {
        let doors: Vec<_> = self.cabs[cab].doors.keys().copied().collect();
        doors[self.dice.index(doors.len())]
    }

    /// A new order, or one again: whoever got no acknowledgement repeats, and some repeat anyway.
    fn backend_puts(&mut self) {
        let shop = self.dice.index(SHOPS.len());
        if self.shops[shop].put < ORDERS_MAX && !self.dice.one_in(4) {
            let order = OrderKey {
                integration: self.shops[shop].name.clone(),
                order: constant(&format!("A{}", self.shops[shop].put)),
            };
            self.shops[shop].put += 1;
            self.shops[shop].orders.push(order.clone());
            let category = match self.dice.below(10) {
                0 => Category::Food,
                1 => Category::Pharmacy,
                2 => Category::Laundry,
                _ => Category::Retail,
            };
            let truth = OrderTruth::new(self.dice.index(CABS), category);
            self.ledger.orders.insert(order, truth);
        }
        let orders = self.shops[shop].orders.clone();
        let Some(order) = self.dice.pick(&orders[orders.len().saturating_sub(3)..]).cloned() else { return };
        let ready = !self.dice.one_in(8);
        self.publish(&order, ready);
    }

    /// The same content each time, but for `ready`.
    pub(super) fn publish(&mut self, order: &OrderKey, ready: bool) {
        let Some(truth) = self.ledger.orders.get(order) else { return };
        let (cabinet, category) = (self.name_of(truth.cab), truth.category);
        let place =
            if is_for_site(order) { r#""site":"mall""#.to_owned() } else { format!(r#""cabinet":"{cabinet}""#) };
        let restricted = if is_restricted(order) { r#","staff_release":true"# } else { "" };
        let deposit = if is_brought(order) { r#","deposit":"courier""# } else { "" };
        if asks_for_more(order) {
            self.fleet_gets_keyset();
        }
        let more = self.more_of(order) + &self.shares_of(order);
        let (content, factor) = (self.content_of(order), self.factor_of(order));
        let payload = format!(
            r#"{{"order":"{}",{place},{content}{more},"category":"{category}","ready":{ready}{deposit}{restricted}{factor}}}"#,
            order.order
        );
        self.tell(|| format!("backend puts {order}"));
        self.put_order(order, payload.into_bytes());
    }

    fn backend_cancels(&mut self) {
        let orders: Vec<_> = self.ledger.orders.keys().cloned().collect();
        let Some(order) = self.dice.pick(&orders).cloned() else { return };
        if !self.fleet.is_up() {
            return;
        }
        let order = self.ledger.named(&order);
        self.ledger.each_part(&order, |truth| truth.cancelled = true);
        self.tell(|| format!("backend cancels {order}"));
        self.cancel_order(&order);
    }

    /// A driver is to take some orders, or is not to come after all.
    fn backend_bundles(&mut self) {
        let may = |order: &&OrderKey| {
            let truth = self.ledger.orders.get(*order);
            let free = |truth: &OrderTruth| truth.bundle.is_none() && truth.whole.is_none();
            truth.is_some_and(|truth| truth.told.accepted && !truth.cancelled && !truth.gone && free(truth))
        };
        let shop = self.dice.index(SHOPS.len());
        let mut free: Vec<OrderKey> = self.shops[shop].orders.iter().filter(may).cloned().collect();
        let made = self.bundles.len();
        if !self.fleet.is_up() || free.len() < 2 || made > 0 && self.dice.one_in(4) {
            if made > 0 {
                let which = self.dice.index(made);
                self.unbundle(which);
            }
            return;
        }
        // What is inside already comes first: bundles of orders that nobody ever loads say little.
        let inside = |order: &OrderKey| self.ledger.orders.get(order).is_some_and(|truth| truth.told.was_stored);
        free.sort_by_key(|order| !inside(order));
        free.truncate(self.dice.between(2, 3) as usize);
        let members = free;
        for order in &members {
            if let Some(truth) = self.ledger.orders.get_mut(order) {
                truth.bundle = Some(members.clone());
            }
        }
        self.tell(|| format!("backend bundles {members:?}"));
        self.bundle(members);
    }

    pub(super) fn some_stored(&mut self) -> Option<OrderKey> {
        let inside = |truth: &OrderTruth| matches!(truth.told.state, Some(OrderState::Stored | OrderState::Overdue));
        let orders = self.ledger.orders.iter().filter(|(_, truth)| inside(truth));
        let orders: Vec<OrderKey> = orders.map(|(order, _)| order.clone()).collect();
        self.dice.pick(&orders).cloned()
    }

    /// Mostly for an order that is inside: more time, its code once more, or another one.
    fn backend_wishes(&mut self) {
        let orders: Vec<OrderKey> = self.ledger.orders.keys().cloned().collect();
        let any = self.dice.pick(&orders).cloned();
        let order = if self.dice.one_in(4) { any } else { self.some_stored() };
        let Some(order) = order.filter(|_| self.fleet.is_up()) else { return };
        let order = self.ledger.named(&order);
        self.ledger.each_part(&order, |truth| truth.renewed = true);
        let change = match self.dice.below(4) {
            0 => OrderChange::Extend,
            1 => OrderChange::Resend,
            _ => OrderChange::Reissue,
        };
        self.tell(|| format!("backend wants {} of {order}", change.as_str()));
        self.wish(&order, change);
    }

    /// Mostly what nobody has loaded yet.
    fn backend_moves(&mut self) {
        let to_load = |truth: &OrderTruth| truth.told.state.is_some_and(OrderState::is_to_be_loaded);
        let waiting = self.ledger.orders.iter().filter(|(_, truth)| to_load(truth));
        let waiting: Vec<OrderKey> = waiting.map(|(order, _)| order.clone()).collect();
        let any = self.some_stored();
        let order = self.dice.pick(&waiting).cloned().filter(|_| self.now % 16 != 2).or(any);
        let Some(order) = order.filter(|_| self.fleet.is_up()) else { return };
        let order = self.ledger.named(&order);
        self.ledger.each_part(&order, |truth| (truth.renewed, truth.moved) = (true, true));
        self.tell(|| format!("backend wants {order} at another cabinet"));
        self.wish(&order, OrderChange::Move);
    }

    /// An order is not to be handed out for now, or is again.
    fn holds_back(&mut self) {
        let held = |truth: &OrderTruth| truth.told.state == Some(OrderState::Quarantined);
        let held: Vec<OrderKey> =
            self.ledger.orders.iter().filter(|(_, truth)| held(truth)).map(|(order, _)| order.clone()).collect();
        if let Some(order) = self.dice.pick(&held).cloned()
            && self.dice.one_in(2)
        {
            return self.hands_out_again(&order);
        }
        let Some(order) = self.some_stored().filter(|_| self.fleet.is_up()) else { return };
        let order = self.ledger.named(&order);
        self.ledger.each_part(&order, |truth| truth.renewed = true);
        self.tell(|| format!("{order} is held back"));
        self.wish(&order, OrderChange::Quarantine);
    }

    fn hands_out_again(&mut self, order: &OrderKey) {
        let order = self.ledger.named(order);
        self.ask(format!(r#"{{"op":"order.release","order":"{order}","reason":"it is good"}}"#));
    }

    /// Nothing is held back any more. Which code is the newest of an order that had several a restored fleet may not know:
    /// each gets one more.
    pub(super) fn codes_are_made_anew(&mut self) {
        let of = |world: &Self, state: fn(OrderState) -> bool| -> Vec<OrderKey> {
            let renewed = |truth: &OrderTruth| truth.renewed && truth.told.state.is_some_and(state);
            let found = world.ledger.orders.iter().filter(|(_, truth)| renewed(truth));
            let mut named: Vec<OrderKey> = found.map(|(order, _)| world.ledger.named(order)).collect();
            named.dedup();
            named
        };
        for order in of(self, |state| state == OrderState::Quarantined) {
            self.hands_out_again(&order);
        }
        self.settle();
        for order in of(self, |state| matches!(state, OrderState::Stored | OrderState::Overdue)) {
            self.wish(&order, OrderChange::Reissue);
        }
    }

    /// Bundles are released; what a restored fleet does not know any more is given another code.
    pub(super) fn drivers_do_not_come(&mut self) {
        (0..self.bundles.len()).for_each(|which| self.unbundle(which));
        self.settle();
        let stored = |truth: &OrderTruth| {
            truth.bundle.is_some() && matches!(truth.told.state, Some(OrderState::Stored | OrderState::Overdue))
        };
        let orders: Vec<OrderKey> =
            self.ledger.orders.iter().filter(|(_, truth)| stored(truth)).map(|(order, _)| order.clone()).collect();
        let first = self.bundles.len();
        orders.into_iter().for_each(|order| self.bundle(vec![order]));
        self.settle();
        (first..self.bundles.len()).for_each(|which| self.unbundle(which));
    }

    /// Staff log in, load what waits, or take something back.
    pub(super) fn staff_acts(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session.filter(|_| self.rough) else { return self.log_in(cab) };
        // Mistakes are noticed soon or not at all.
        if self.now % 8 == 5 {
            return self.staff_undo(cab);
        }
        if self.dice.one_in(6) {
            let held: Vec<_> = self
                .ledger
                .all_held()
                .filter(|((of, _), _)| *of == cab)
                .map(|(_, held)| held.order().clone())
                .collect();
            if let Some(order) = self.dice.pick(&held).cloned() {
                self.tell(|| format!("staff take {order} back at cabinet {cab}"));
                self.take_cabinet(cab, Input::Retrieve { session, order }, None);
            }
            return;
        }
        let waiting = self.cabs[cab].core().map(|core| core.waiting(session)).unwrap_or_default();
        let Some(waiting) = self.dice.pick(&waiting).cloned() else { return };
        // Whoever loads has the goods in their hands.
        let larger = waiting.loading || self.dice.one_in(10);
        let order = waiting.order;
        if self.goods_are_somewhere(&order) {
            return;
        }
        self.tell(|| format!("staff load {order} at cabinet {cab}"));
        self.take_cabinet(cab, Input::Load { session, order, larger }, None);
        let wait = self.dice.between(5_000, 40_000);
        self.later(wait, Happening::StaffActs(cab));
    }

    /// The audit round: a door after another.
    fn staff_look(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        for _ in 0..self.dice.between(1, 3) {
            let compartment = self.some_door(cab);
            self.tell(|| format!("staff look into {compartment} of cabinet {cab}"));
            self.take_cabinet(cab, Input::Look { session, compartment }, None);
        }
    }

    /// What was loaded last was a mistake, and is taken out again.
    fn staff_undo(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        let stored = self.ledger.all_held().filter(|((of, _), held)| {
            *of == cab && matches!(held, Content::Stored(order) if !self.ledger.is_beyond_knowing(order))
        });
        let stored: Vec<OrderKey> = stored.map(|(_, held)| held.order().clone()).collect();
        for order in stored {
            self.ledger.each_part(&order, |truth| truth.renewed = true);
            self.tell(|| format!("staff undo the loading of {order} at cabinet {cab}"));
            self.take_cabinet(cab, Input::Undo { session, order }, None);
        }
    }

    /// Somebody says that what was behind a door is not theirs, or that nothing was.
    pub(super) fn misses(&mut self, cab: Cab, compartment: Option<Compartment>) {
        self.tell(|| format!("somebody misses an order at {compartment:?} of cabinet {cab}"));
        self.take_cabinet(cab, Input::Report { compartment }, None);
    }

    /// Somebody presses what makes no sense, or has no session.
    fn staff_errs(&mut self, cab: Cab) {
        let orders: Vec<_> = self.ledger.orders.keys().cloned().collect();
        let unknown = OrderKey { integration: constant("shop"), order: constant("X") };
        let order = self.dice.pick(&orders).cloned().unwrap_or_else(|| unknown.clone());
        let order = if self.dice.one_in(4) { unknown } else { order };
        let session = self.cabs[cab].session.filter(|_| !self.dice.one_in(4)).unwrap_or(SessionId(7));
        self.tell(|| format!("staff err about {order} at cabinet {cab}"));
        let input = match self.dice.below(3) {
            0 => Input::Load { session, order, larger: false },
            1 => Input::Retrieve { session, order },
            _ => {
                // Nothing is inside of a door that does not ask.
                let compartment = self.some_door(cab);
                if self.asks(cab, compartment) {
                    return;
                }
                Input::ConfirmLoaded { session, compartment, inside: true }
            }
        };
        self.take_cabinet(cab, input, None);
    }

    /// A put that is refused, whatever else is going on.
    fn backend_errs(&mut self) {
        let taken = |order: &&OrderKey| self.ledger.orders.get(order).is_some_and(|truth| truth.told.accepted);
        let orders: Vec<_> = self.shops[0].orders.iter().filter(taken).cloned().collect();
        let known = self.dice.pick(&orders).map(|order| order.order.to_string());
        let (order, cabinet, size) = match self.dice.below(3) {
            0 => ("X".to_owned(), "east", "S"),
            1 => match known {
                Some(known) => (known, "north", "XL"),
                // There is room for it in some schedules.
                None => ("X".to_owned(), if self.ledger.layout == FIVE { "north" } else { "east" }, "XL"),
            },
            _ => ("X".to_owned(), "north", "?"),
        };
        let payload =
            format!(r#"{{"order":"{order}","cabinet":"{cabinet}","size":"{size}","category":"food","ready":true}}"#);
        if let Some(known) = orders.iter().find(|known| known.order.as_str() == order) {
            // One that was rejected may become this.
            self.ledger.says(known, Size::Xl, Category::Food, false, None);
        }
        self.tell(|| format!("backend errs about {order}"));
        self.put_strange(payload.into_bytes());
    }

    fn operator_errs(&mut self, cab: Cab) {
        let cabinet = self.name_of(cab);
        let (who, request) = match self.dice.below(5) {
            0 => ("operator:acme:eve", "nonsense".to_owned()),
            1 => ("operator:acme:eve", r#"{"op":"cabinet.show","cabinet":"east"}"#.to_owned()),
            2 => {
                // The PIN that was told dies with this, whether the answer comes or not.
                self.fleet.pin = None;
                ("operator:acme:eve", r#"{"op":"staff.add","name":"ann"}"#.to_owned())
            }
            3 => {
                let unlock = format!(r#"{{"op":"unlock","cabinet":"{cabinet}","compartment":9,"reason":"a mistake"}}"#);
                ("operator:acme:eve", unlock)
            }
            _ => {
                let unlock = format!(r#"{{"op":"unlock","cabinet":"{cabinet}","compartment":1,"reason":"mine"}}"#);
                ("integration:acme:shop", unlock)
            }
        };
        self.ask_as(who, request);
    }

    /// The operator has a PIN made for staff who have none. Until he is answered he does not know whether it was.
    pub(super) fn staff_are_added_again(&mut self) {
        if self.fleet.pin.is_none() {
            self.ask(r#"{"op":"staff.add","name":"ann"}"#.to_owned());
        }
    }

    /// Staff come to somebody whose order they have to release, and most of them know the PIN already.
    pub(super) fn staff_release(&mut self, cab: Cab) {
        let Some(asked) = self.cabs[cab].core().map(|core| core.asked_releases()).filter(|asked| !asked.is_empty())
        else {
            return;
        };
        let Some(session) = self.cabs[cab].session else {
            self.log_in(cab);
            let wait = if self.rough { self.dice.between(2_000, 60_000) } else { 3_000 };
            return self.later(wait, Happening::StaffRelease(cab));
        };
        for asked in asked {
            self.tell(|| format!("staff release {} at cabinet {cab}", asked.order));
            self.take_cabinet(cab, Input::Release { session, order: asked.order }, None);
        }
    }

    pub(super) fn log_in(&mut self, cab: Cab) {
        let Some(secret) = self.fleet.pin.as_ref().and_then(|pin| Secret::parse(pin).ok()) else { return };
        self.tell(|| format!("staff log in at cabinet {cab}"));
        let entry = Entry { member: Some(Keypad::Staff), ..Entry::of(&secret, true) };
        self.enter(cab, secret, entry);
    }

    /// One courier for each order, who comes some time after the first word.
    pub(super) fn deposit_code_told(&mut self, order: OrderKey, codes: [String; 2]) {
        let Some(truth) = self.ledger.orders.get_mut(&order) else { return };
        truth.deposit_codes.push(codes);
        if truth.deposit_codes.len() == 1 {
            let wait = self.dice.between(2_000, 200_000);
            self.later(wait, Happening::CourierComes { order });
        }
    }

    /// A courier was told a deposit code, and comes with the goods unless staff were faster. Some come again later.
    pub(super) fn courier_comes(&mut self, order: &OrderKey) {
        if !self.rough {
            return;
        }
        let wait = self.draw_wait(30_000, 900_000);
        self.later(wait, Happening::CourierComes { order: order.clone() });
        let Some(truth) = self.ledger.orders.get(order) else { return };
        let (cab, codes) = (truth.at(), truth.deposit_codes.clone());
        if self.goods_are_somewhere(order) && !self.dice.one_in(8) {
            return;
        }
        let Some([code, qr]) = self.dice.pick(&codes).cloned() else { return };
        let typed = self.dice.one_in(2);
        let Ok(secret) = Secret::parse(if typed { &code } else { &qr }) else { return };
        self.tell(|| format!("a courier brings {order} to cabinet {cab} (typed: {typed})"));
        let entry = Entry { deposit: Some(order.clone()), ..Entry::of(&secret, false) };
        self.enter(cab, secret, entry);
    }

    /// Whoever brings an order has a door before them: it is for that order, and something may be wrong with it.
    pub(super) fn depositor_stands_at(&mut self, cab: Cab, at: Compartment, order: OrderKey) {
        self.stand_at(cab, at, Attendant::Loader { order });
        if self.dice.one_in(5) {
            let wish = [DepositWish::TooSmall, DepositWish::NotEmpty, DepositWish::Again][self.dice.index(3)];
            let wait = self.dice.between(1_000, 12_000);
            self.later(wait, Happening::DepositorSays { cab, at, wish });
        }
    }

    /// Says it about an empty compartment only: whoever has put the order in does not ask for another one.
    pub(super) fn depositor_says(&mut self, cab: Cab, at: Compartment, wish: DepositWish) {
        let Some((session, order)) = self.cabs[cab].depositor.clone() else { return };
        let here = self.ledger.contents.get(&(cab, at)).is_some_and(|content| *content.order() == order);
        let full = !self.cabs[cab].doors[&at].goods.is_empty();
        if !here || full && wish != DepositWish::Inside {
            return;
        }
        self.tell(|| format!("whoever brings {order} says {wish:?} at {at} of cabinet {cab}"));
        self.take_cabinet(cab, Input::Deposit { session, wish }, None);
    }

    /// The screen asks what is inside: answered truthfully, or not at all.
    pub(super) fn depositor_is_asked(&mut self, cab: Cab, at: Compartment) {
        if self.dice.one_in(4) {
            return;
        }
        let inside = !self.cabs[cab].doors[&at].goods.is_empty();
        let otherwise = if self.dice.one_in(2) { DepositWish::GiveUp } else { DepositWish::Again };
        let wish = if inside { DepositWish::Inside } else { otherwise };
        let wait = self.dice.between(1_000, 30_000);
        self.later(wait, Happening::DepositorSays { cab, at, wish });
    }

    pub(super) fn goods_are_somewhere(&self, order: &OrderKey) -> bool {
        let taken = self.ledger.orders.get(order).is_some_and(|truth| truth.gone);
        taken || self.cabs.iter().flat_map(|cabinet| cabinet.doors.values()).any(|door| door.goods.contains(order))
    }

    /// A customer who was told a code types or scans it, at the right cabinet or at another.
    fn customer_comes(&mut self) {
        let told: Vec<_> = self
            .ledger
            .orders
            .iter()
            .filter(|(_, truth)| !truth.codes.is_empty())
            .map(|(order, _)| order.clone())
            .collect();
        let Some(order) = self.dice.pick(&told).cloned() else { return };
        let typed = self.dice.one_in(2);
        let wrong = self.dice.one_in(15);
        self.collect(&order, typed, wrong);
    }

    pub(super) fn collect(&mut self, order: &OrderKey, typed: bool, other_cabinet: bool) {
        let Some(truth) = self.ledger.orders.get(order) else { return };
        let cab = if other_cabinet { (truth.at() + 1) % CABS } else { truth.at() };
        let bundle = truth.bundle.clone().or_else(|| truth.whole.clone());
        let renewed = truth.renewed || truth.codes.len() > 1;
        // Whoever was told twice has two codes, and takes any; at the end that of the last word.
        let told = if self.rough { self.dice.pick(&truth.codes) } else { truth.codes.last() };
        let Some([code, qr]) = told else { return };
        let Ok(secret) = Secret::parse(if typed { code } else { qr }) else { return };
        let orders = bundle.clone().unwrap_or_else(|| vec![order.clone()]);
        let theirs = |(at, door): (&Compartment, &Door)| {
            let goods = door.goods.iter().find(|goods| orders.contains(goods))?;
            Some((*at, goods.clone(), !door.open && self.is_free_for(goods, cab, *at)))
        };
        let doors: Vec<_> = self.cabs[cab].doors.iter().filter_map(theirs).collect();
        if doors.iter().any(|(_, _, free)| !free) {
            // It is open, or staff work at it: the customer waits, and comes again.
            return;
        }
        self.tell(|| format!("customer of {order} at cabinet {cab} (typed: {typed})"));
        // Which of several rights is good just now nobody outside can tell.
        let several = bundle.is_some() || renewed;
        let right = (!other_cabinet && (!several || !self.rough)).then(|| (order.clone(), typed));
        let entry = Entry { orders, right, ..Entry::of(&secret, false) };
        self.enter(cab, secret, entry);
        for (at, order, _) in doors {
            self.stand_at(cab, at, Attendant::Collector { order });
        }
    }

    /// Whoever only looks at this door, or is the same customer, makes room.
    pub(super) fn is_free_for(&self, order: &OrderKey, cab: Cab, at: Compartment) -> bool {
        match &self.cabs[cab].doors[&at].attendant {
            None | Some(Attendant::Looker) => true,
            Some(Attendant::Collector { order: same }) => same == order,
            Some(Attendant::Loader { .. } | Attendant::Retriever { .. } | Attendant::Swapper { .. }) => false,
        }
    }

    /// The holder of a bundle leaves something for the next time.
    fn leaves(&mut self, cab: Cab, at: Compartment) -> bool {
        // At the end everybody takes what is theirs.
        let leaves = self.may_stay(cab, at) && self.dice.one_in(3) && self.rough;
        if !leaves || self.cabs[cab].asleep_until > self.now {
            return false;
        }
        self.tell(|| format!("what is in {at} of cabinet {cab} stays"));
        self.take_cabinet(cab, Input::NotTaken { compartment: at }, None);
        if !self.cabs[cab].is_up() {
            // Whether it was heard nobody knows.
            self.ledger.unnoticed.insert((cab, at));
        }
        true
    }

    fn may_stay(&self, cab: Cab, at: Compartment) -> bool {
        let view = self.cabs[cab].core().map(|core| core.view());
        view.is_some_and(|view| view.compartments.iter().any(|one| one.number == at && one.may_stay))
    }

    pub(super) fn guesses(&mut self, cab: Cab, tries: u64) {
        if tries > 1 && self.rough {
            let wait = self.dice.between(1_000, 60_000);
            self.later(wait, Happening::Guesses { cab, tries: tries - 1 });
        }
        let digits = if self.dice.one_in(9) { 6 } else { 8 };
        let text: String =
            (0..digits).map(|_| char::from(b'0' + u8::try_from(self.dice.below(10)).unwrap_or(0))).collect();
        let secret =
            if self.dice.one_in(5) { Ok(Secret::token_from(&self.dice.bytes())) } else { Secret::parse(&text) };
        let Ok(secret) = secret else { return };
        let staff = self.dice.one_in(4);
        self.tell(|| format!("somebody guesses at cabinet {cab}"));
        let entry = Entry::of(&secret, staff);
        self.enter(cab, secret, entry);
    }

    fn operator_unlocks(&mut self, cab: Cab) {
        if !self.fleet.is_up() {
            return;
        }
        let at = self.some_door(cab);
        let cabinet = self.name_of(cab);
        self.tell(|| format!("the operator unlocks {at} of cabinet {cab}"));
        self.ask(format!(
            r#"{{"op":"unlock","cabinet":"{cabinet}","compartment":{at},"reason":"customer on the phone"}}"#
        ));
        let door = &self.cabs[cab].doors[&at];
        if door.attendant.is_none() && !door.open {
            self.stand_at(cab, at, Attendant::Looker);
        }
    }

    /// Somebody waits for a door, some minutes at most.
    pub(super) fn stand_at(&mut self, cab: Cab, at: Compartment, attendant: Attendant) {
        let Some(door) = self.cabs[cab].doors.get_mut(&at) else { return };
        door.visit += 1;
        let visit = door.visit;
        if door.open {
            // It is open already: they do at once what they came for.
            door.remote = false;
            self.later(1_500, Happening::Attends { cab, at });
        } else {
            self.later(400_000, Happening::DoorCloses { cab, at, visit });
        }
        if let Some(door) = self.cabs[cab].doors.get_mut(&at) {
            door.attendant = Some(attendant);
        }
    }

    pub(super) fn door_opens(&mut self, cab: Cab, at: Compartment) {
        let Some(door) = self.cabs[cab].doors.get_mut(&at).filter(|door| !door.open) else { return };
        (door.open, door.noticed) = (true, false);
        // Whoever waited for it does so no more.
        door.visit += 1;
        if self.cabs[cab].bus.is_doubtful(at) {
            self.ledger.unnoticed.insert((cab, at));
        }
        self.coverage.count("doors", "opened");
        self.tell(|| format!("door {at} of cabinet {cab} springs open"));
        self.door_moved(cab, at);
        let wait = self.dice.between(1_000, 15_000);
        self.later(wait, Happening::Attends { cab, at });
    }

    /// Whoever stands there does what they came for, then closes the door.
    pub(super) fn attends(&mut self, cab: Cab, at: Compartment) {
        let Some(attendant) = self.cabs[cab].doors.get(&at).filter(|door| door.open).map(|door| door.attendant.clone())
        else {
            return;
        };
        match attendant {
            Some(Attendant::Loader { order }) => {
                if !self.cabs[cab].is_up() {
                    return self.later(5_000, Happening::Attends { cab, at });
                }
                // The screen says which order belongs here; one in ten has the wrong thing in hand.
                let asked = self.ledger.contents.get(&(cab, at)) == Some(&Content::Loading(order.clone()));
                let beside = self.ledger.beside.get(&(cab, at));
                let known = |goods: &OrderKey| beside.is_some_and(|beside| beside.contains(goods));
                let as_booked = self.cabs[cab].doors[&at].goods.iter().all(known);
                if asked && as_booked && !self.goods_are_somewhere(&order) && !self.dice.one_in(10) {
                    self.tell(|| format!("staff put {order} into {at} of cabinet {cab}"));
                    self.put_goods(cab, at, order);
                }
            }
            Some(Attendant::Collector { ref order } | Attendant::Retriever { ref order }) => {
                // Nobody takes anything out of a door that somebody else had opened.
                let theirs = self.ledger.orders.get(order).is_some_and(|truth| truth.opened || truth.retrieved);
                if theirs
                    && !self.cabs[cab].doors[&at].remote
                    && self.cabs[cab].doors[&at].goods.contains(order)
                    && !self.leaves(cab, at)
                {
                    if matches!(attendant, Some(Attendant::Collector { .. })) {
                        self.takes_all(cab, at, order);
                    } else {
                        self.tell(|| format!("{order} is taken out of {at} of cabinet {cab}"));
                        self.take_goods(cab, at, order);
                    }
                }
                if self.rough && self.now % 6 == 1 {
                    self.misses(cab, Some(at));
                }
            }
            Some(Attendant::Swapper { with }) => self.exchanges(cab, at, with),
            Some(Attendant::Looker) => self.carries(cab, at),
            None => {}
        }
        let forgets = self.strikes("a door is left open", 15);
        if forgets {
            self.coverage.count("doors", "left open");
        }
        let wait = if forgets { self.dice.between(300_000, 1_500_000) } else { self.dice.between(500, 20_000) };
        let visit = self.cabs[cab].doors[&at].visit;
        self.later(wait, Happening::DoorCloses { cab, at, visit });
    }

    pub(super) fn set_goods(&mut self, cab: Cab, at: Compartment, goods: BTreeSet<OrderKey>) {
        if let Some(door) = self.cabs[cab].doors.get_mut(&at) {
            door.goods = goods;
        }
    }

    fn put_goods(&mut self, cab: Cab, at: Compartment, order: OrderKey) {
        if let Some(door) = self.cabs[cab].doors.get_mut(&at) {
            door.goods.insert(order);
        }
    }

    pub(super) fn take_goods(&mut self, cab: Cab, at: Compartment, order: &OrderKey) {
        if let Some(door) = self.cabs[cab].doors.get_mut(&at) {
            door.goods.remove(order);
        }
    }

    pub(super) fn door_closes(&mut self, cab: Cab, at: Compartment, visit: u64) {
        let Some(door) = self.cabs[cab].doors.get_mut(&at).filter(|door| door.visit == visit) else { return };
        door.attendant = None;
        let unnoticed = door.open && !door.noticed;
        let lied = door.open && self.cabs[cab].bus.is_doubtful(at);
        let Some(door) = self.cabs[cab].doors.get_mut(&at) else { return };
        if std::mem::take(&mut door.open) {
            if unnoticed || lied {
                // A pulse in the last moment of a run, or no word of the door: the cabinet cannot know.
                self.coverage.count("doors", "opened and closed while nobody looked");
                self.ledger.unnoticed.insert((cab, at));
            }
            self.tell(|| format!("door {at} of cabinet {cab} is closed"));
            self.door_moved(cab, at);
        }
    }

    pub(super) fn tries_again(&mut self, cab: Cab, at: Compartment) {
        self.take_cabinet(cab, Input::TryAgain { compartment: at }, None);
    }

    /// Staff say what is inside, truthfully.
    pub(super) fn staff_answers(&mut self, cab: Cab, at: Compartment) {
        let Some(session) = self.cabs[cab].session else {
            self.log_in(cab);
            if self.rough {
                self.later(5_000, Happening::StaffAnswers { cab, at });
            }
            return;
        };
        let door = &self.cabs[cab].doors[&at];
        if door.open {
            return;
        }
        if let Some(order) = self.finds_another(cab, at) {
            self.tell(|| format!("staff scan {order} at {at} of cabinet {cab}"));
            self.take_cabinet(cab, Input::Found { session, compartment: at, order }, None);
            return;
        }
        if !self.asks(cab, at) {
            return;
        }
        let inside = self.is_inside(cab, at);
        self.tell(|| format!("staff say about {at} of cabinet {cab}: inside {inside}"));
        self.take_cabinet(cab, Input::ConfirmLoaded { session, compartment: at, inside }, None);
    }

    pub(super) fn asks(&self, cab: Cab, at: Compartment) -> bool {
        let view = self.cabs[cab].core().map(|core| core.view());
        view.is_some_and(|view| view.compartments.iter().any(|one| one.number == at && one.asks))
    }
}

/// Orders that staff have to release; always the same ones, too.
pub(super) fn is_restricted(order: &OrderKey) -> bool {
    !order.is_walk_in() && whole_name(order).ends_with('5')
}

/// Orders that couriers bring: always the same ones, so that no other draw of a schedule changes.
fn is_brought(order: &OrderKey) -> bool {
    order.order.as_str().starts_with('A') && order.order.as_str().ends_with('4') || is_for_courier(order)
}
