//! Several orders in one compartment, where their backend says so: they lie together and they go together.

use std::collections::BTreeSet;

use cabinet_core::Input;
use schemas::api::OrderState;
use schemas::cbor;
use schemas::cbor_map;
use schemas::messages::{Category, Compartment, Event, Fact, OrderKey, SHARED_MAX, TakeBack};
use schemas::step::Table;
use schemas::topics::OrderChange;

use super::invariants::{Verdict, ensure};
use super::ledger::{At, Cab, Content, Ledger, OrderTruth, Seen};
use super::sabotage::Sabotage;
use super::world::{CABS, Happening, SHOPS, World, constant};

/// Orders of one backend in a schedule that may lie with others.
const SHARING_MAX: u64 = 5;
/// How often staff come back to them.
const ROUNDS: u64 = 16;
/// By which backends say which of them.
const WORDS: [&str; 2] = ["house-7", "house-8"];

cbor_map! {
    /// What this simulation reads of a row of a cabinet's compartments: what something is being done with.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct BayRow { 1 => content: (u64, HeldRow) }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct HeldRow { 1 opt => order: Option<OrderKey> }
}

cbor_map! {
    /// And of a row of its orders.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct BookedRow {
        5 => over: bool,
        7 opt => take_back: Option<TakeBack>,
    }
}

impl Ledger {
    /// Orders that a compartment holds, or is being loaded with, by its cabinet's word.
    pub(super) fn orders_in<'a>(&'a self, at: &At) -> impl Iterator<Item = &'a OrderKey> + use<'a> {
        self.contents.get(at).map(Content::order).into_iter().chain(self.beside.get(at).into_iter().flatten())
    }

    pub(super) fn lies_in(&self, at: &At, order: &OrderKey) -> bool {
        self.orders_in(at).any(|held| held == order)
    }

    pub(super) fn is_shared(&self, at: &At) -> bool {
        self.beside.contains_key(at)
    }

    /// All orders that cabinets have, each with its place.
    pub(super) fn all_held(&self) -> impl Iterator<Item = (At, Content)> {
        let beside = self.beside.iter().flat_map(|(at, orders)| orders.iter().map(|order| (*at, order.clone())));
        let main = self.contents.iter().map(|(at, content)| (*at, content.clone()));
        main.chain(beside.map(|(at, order)| (at, Content::Stored(order))))
    }

    pub(super) fn place_of(&self, order: &OrderKey) -> Option<(At, Content)> {
        self.all_held().find(|(_, held)| held.order() == order)
    }

    /// The same at this cabinet.
    pub(super) fn place_at(&self, cab: Cab, order: &OrderKey) -> Option<(At, Content)> {
        self.all_held().find(|((of, _), held)| *of == cab && held.order() == order)
    }

    pub(super) fn loaded_beside(&mut self, at: At, order: OrderKey, others: &[OrderKey]) {
        self.contents.insert(at, Content::Loading(order));
        self.beside.insert(at, others.iter().cloned().collect());
    }

    /// It is there no more; what lay beside it is.
    pub(super) fn taken_out(&mut self, at: At, order: &OrderKey) {
        let mut beside = self.beside.remove(&at).unwrap_or_default();
        if !beside.remove(order) {
            self.contents.remove(&at);
            if let Some(next) = beside.pop_first() {
                self.contents.insert(at, Content::Stored(next));
            }
        }
        if !beside.is_empty() {
            self.beside.insert(at, beside);
        }
    }

    /// Their backend says of both that they may.
    pub(super) fn may_lie_together(&self, one: &OrderKey, other: &OrderKey) -> bool {
        let (Some(first), Some(second)) = (self.orders.get(one), self.orders.get(other)) else { return false };
        let alike = first.shares == second.shares && self.may_be_of_one_category(one, other);
        first.shares.is_some() && alike && one.integration == other.integration
    }

    /// Orders of which nobody has said anything but that they are there.
    fn is_plain(&self, order: &OrderKey) -> bool {
        let lasting = |truth: &OrderTruth| !truth.ends;
        let untouched = |truth: &OrderTruth| {
            !(truth.cancelled || truth.retrieved || truth.renewed || truth.ended || truth.moved || truth.missed)
        };
        let plain = |truth: &OrderTruth| lasting(truth) && untouched(truth) && truth.bundle.is_none();
        self.orders.get(order).is_some_and(plain) && !self.is_beyond_knowing(order)
    }

    /// Whether something beside this order may be a reason to send its customer to staff, and something to let them wait.
    pub(super) fn hindered_by_others(&self, at: &At, order: &OrderKey) -> (bool, bool) {
        let loading = matches!(self.contents.get(at), Some(Content::Loading(other)) if other != order);
        let plain = self.orders_in(at).filter(|other| *other != order).all(|other| self.is_plain(other));
        (!plain || loading, loading)
    }
}

/// Staff put an order only beside others that say so, and the cabinet names exactly those; they are exchanged with nothing.
pub(super) fn invariant_only_what_says_so_lies_together(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::EventWritten { cab, record, .. } = seen else { return Ok(()) };
    match cbor::decode::<Event>(record).map(|event| event.fact) {
        Ok(Fact::LoadingBeside(load)) => {
            let (at, order) = ((*cab, load.compartment), &load.order);
            let held: BTreeSet<&OrderKey> = ledger.orders_in(&at).collect();
            let named: BTreeSet<&OrderKey> = load.others.iter().collect();
            ensure(!held.is_empty() && held == named && named.len() == load.others.len(), || {
                format!("{order} is put beside {named:?} in {at:?}, where {held:?} are")
            })?;
            let stored = matches!(ledger.contents.get(&at), Some(Content::Stored(_)));
            ensure(stored, || format!("{order} is put into {at:?}, which is being loaded"))?;
            ensure(held.len() < SHARED_MAX, || format!("{order} is put beside {} orders in {at:?}", held.len()))?;
            let strange = held.iter().find(|other| !ledger.may_lie_together(order, other));
            ensure(strange.is_none(), || format!("{order} is put beside {strange:?} in {at:?}"))
        }
        Ok(Fact::Swapped(said)) => {
            let shared = [said.one_in, said.other_in].into_iter().find(|at| ledger.is_shared(&(*cab, *at)));
            ensure(shared.is_none(), || format!("one of several orders in {shared:?} is exchanged"))
        }
        _ => Ok(()),
    }
}

/// Whoever takes one of several orders takes all, by one credential, or none.
pub(super) fn invariant_what_lies_together_goes_together(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::TakenTogether { at, orders, credentials } => {
            let left: Vec<_> = ledger.orders_in(at).collect();
            ensure(left.is_empty(), || format!("{orders:?} are collected in {at:?}, and {left:?} are not"))?;
            ensure(*credentials == 1, || format!("{orders:?} in {at:?} are collected by {credentials} credentials"))
        }
        _ => Ok(()),
    }
}

/// What is seen of them.
impl World {
    /// Orders in a compartment that must not be handed out, by the book of their cabinet.
    pub(super) fn held_back_in(&self, cab: Cab, at: Compartment) -> Vec<OrderKey> {
        let may_go = |order: &OrderKey| {
            let row = self.cabs[cab].store.get(Table("orders"), order.to_string().as_bytes());
            let row = row.and_then(|row| cbor::decode::<BookedRow>(row).ok());
            row.is_some_and(|row| !row.over && matches!(row.take_back, None | Some(TakeBack::Overdue)))
        };
        self.ledger.orders_in(&(cab, at)).filter(|order| !may_go(order)).cloned().collect()
    }

    /// A step is on the disk in which these facts are: what was collected in one compartment, and by how many credentials.
    pub(super) fn see_collections(&mut self, cab: Cab, facts: &[Fact]) {
        let mut seen = BTreeSet::new();
        for fact in facts {
            match fact {
                Fact::LoadingBeside(_) => self.coverage.count("sharing", "loaded beside"),
                Fact::NotTaken(left) if self.ledger.is_shared(&(cab, left.compartment)) => {
                    self.coverage.count("sharing", "stayed together");
                }
                Fact::Collected(taken) => {
                    seen.insert(taken.compartment);
                }
                _ => {}
            }
        }
        for compartment in seen {
            let taken: Vec<_> = facts
                .iter()
                .filter_map(|fact| match fact {
                    Fact::Collected(taken) if taken.compartment == compartment => Some(taken.clone()),
                    _ => None,
                })
                .collect();
            if taken.len() > 1 {
                self.coverage.count("sharing", "collected together");
            }
            let credentials = taken.iter().map(|taken| taken.credential).collect::<BTreeSet<_>>().len();
            let orders = taken.into_iter().map(|taken| taken.order).collect();
            self.see(Seen::TakenTogether { at: (cab, compartment), orders, credentials });
        }
    }

    /// Which order the screen asks about at a door, of several.
    pub(super) fn asked_about(&self, cab: Cab, at: Compartment) -> Option<OrderKey> {
        let row = self.cabs[cab].store.get(Table("bays"), &at.number().to_be_bytes())?;
        cbor::decode::<BayRow>(row).ok()?.content.1.order
    }

    /// What whoever has looked into a compartment answers, truthfully.
    pub(super) fn is_inside(&self, cab: Cab, at: Compartment) -> bool {
        let goods = &self.cabs[cab].doors[&at].goods;
        match self.asked_about(cab, at).filter(|_| self.ledger.is_shared(&(cab, at))) {
            Some(order) => goods.contains(&order),
            None => !goods.is_empty(),
        }
    }

    /// Whoever has come for this order takes what may lie with it as well.
    pub(super) fn takes_all(&mut self, cab: Cab, at: Compartment, order: &OrderKey) {
        let Some(door) = self.cabs[cab].doors.get(&at) else { return };
        let goes = |goods: &&OrderKey| *goods == order || self.ledger.may_lie_together(order, goods);
        let gone: Vec<OrderKey> = door.goods.iter().filter(goes).cloned().collect();
        for order in gone {
            self.tell(|| format!("{order} is taken out of {at} of cabinet {cab}"));
            self.take_goods(cab, at, &order);
            if let Some(truth) = self.ledger.orders.get_mut(&order).filter(|truth| truth.shares.is_some()) {
                truth.gone = true;
            }
        }
    }
}

/// What people do with them.
impl World {
    /// The word of an order that may lie with others, as it is in JSON.
    pub(super) fn shares_of(&self, order: &OrderKey) -> String {
        let word = self.ledger.orders.get(order).and_then(|truth| truth.shares);
        let word = word.map(|word| if self.sabotage == Some(Sabotage::OneWord) { WORDS[0] } else { word });
        word.map(|word| format!(r#","shares":"{word}""#)).unwrap_or_default()
    }

    pub(super) fn somebody_shares(&mut self, cab: Cab) {
        match self.dice.below(8) {
            0..=3 => self.backend_puts_sharing(),
            4 | 5 => self.staff_load_sharing(cab),
            6 => self.customer_of_several_comes(),
            _ => self.backend_changes_sharing(),
        }
    }

    /// Staff who were told of several orders load them one after another; some of their customers do not wait until all are in.
    pub(super) fn staff_share(&mut self, cab: Cab, rounds: u64) {
        if !self.rough || rounds == 0 {
            return;
        }
        let wait = self.dice.between(2_000, 9_000);
        self.later(wait, Happening::StaffShare { cab, rounds: rounds - 1 });
        let what = self.dice.below(8);
        if !self.decides("staff load what shares") {
            return;
        }
        match what {
            0 => self.customer_of_several_comes(),
            1 => self.backend_puts_rejected(),
            _ => self.staff_load_sharing(cab),
        }
    }

    /// There was no room, and there may be some now.
    fn backend_puts_rejected(&mut self) {
        let orders = self.sharing(|_, truth| truth.told.state == Some(OrderState::Rejected));
        if let Some(order) = self.dice.pick(&orders).cloned() {
            self.publish(&order, true);
        }
    }

    fn sharing(&self, is: impl Fn(&OrderKey, &OrderTruth) -> bool) -> Vec<OrderKey> {
        let orders = self.ledger.orders.iter().filter(|(order, truth)| truth.shares.is_some() && is(order, truth));
        orders.map(|(order, _)| order.clone()).collect()
    }

    /// Some for the same customer, or one again.
    fn backend_puts_sharing(&mut self) {
        let shop = self.dice.index(SHOPS.len());
        // Mostly for one customer, at one cabinet.
        let cab = (shop + usize::from(self.dice.one_in(5))) % CABS;
        let (word, many) = (WORDS[usize::from(self.dice.one_in(5))], self.dice.between(2, 3));
        let again = self.dice.one_in(4);
        if again || self.shops[shop].put_sharing >= SHARING_MAX {
            let orders = self.sharing(|_, _| true);
            let Some(order) = self.dice.pick(&orders).cloned().filter(|_| again) else { return };
            return self.publish(&order, true);
        }
        for _ in 0..many {
            if self.shops[shop].put_sharing == SHARING_MAX {
                break;
            }
            let name = self.shops[shop].name.clone();
            let order = OrderKey { integration: name, order: constant(&format!("H{}", self.shops[shop].put_sharing)) };
            self.shops[shop].put_sharing += 1;
            self.shops[shop].orders.push(order.clone());
            // Who says so of another category shares nothing.
            let category = if self.dice.one_in(6) { Category::Laundry } else { Category::Retail };
            let truth = OrderTruth { shares: Some(word), ..OrderTruth::new(cab, category) };
            self.ledger.orders.insert(order.clone(), truth);
            self.publish(&order, true);
        }
        self.later(3_000, Happening::StaffShare { cab, rounds: ROUNDS });
    }

    /// One that may lie with what is inside already, or the first of those.
    fn staff_load_sharing(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        let waiting = self.cabs[cab].core().map(|core| core.waiting(session)).unwrap_or_default();
        let loading = |order: &OrderKey| {
            let mut held = self.ledger.contents.iter().filter(|((of, _), _)| *of == cab);
            held.any(|(_, held)| matches!(held, Content::Loading(other) if self.ledger.may_lie_together(order, other)))
        };
        let may = |order: &OrderKey| {
            self.ledger.orders.get(order).is_some_and(|truth| truth.shares.is_some())
                && !self.goods_are_somewhere(order)
                && !loading(order)
        };
        let theirs: Vec<OrderKey> = waiting.into_iter().map(|waiting| waiting.order).filter(may).collect();
        let Some(order) = self.dice.pick(&theirs).cloned() else { return };
        self.tell(|| format!("staff load {order} at cabinet {cab}"));
        self.take_cabinet(cab, Input::Load { session, order, larger: false }, None);
    }

    fn customer_of_several_comes(&mut self) {
        let together = |order: &OrderKey, truth: &OrderTruth| {
            let place = self.ledger.place_of(order);
            !truth.codes.is_empty() && place.is_some_and(|(at, _)| self.ledger.is_shared(&at))
        };
        let orders = self.sharing(together);
        let Some(order) = self.dice.pick(&orders).cloned() else { return };
        let typed = self.dice.one_in(2);
        self.collect(&order, typed, false);
    }

    /// What opens one of them opens all, so none may ask for more than its code.
    fn backend_changes_sharing(&mut self) {
        let orders = self.sharing(|_, truth| truth.told.accepted);
        let Some(order) = self.dice.pick(&orders).cloned().filter(|_| self.fleet.is_up()) else { return };
        self.tell(|| format!("backend wants a second factor for {order}"));
        let change = r#"{"second_factor":{"prompt":"pin","answer":"4711"}}"#;
        let payload = format!(r#"{{"order":"{}","change":{change}}}"#, order.order);
        self.change_orders(order.integration, OrderChange::Content, payload);
    }
}
