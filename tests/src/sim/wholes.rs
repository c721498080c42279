//! Orders in several compartments: to their cabinet each part is an order of its own, to their backend there is one.

use std::collections::{BTreeMap, BTreeSet};

use cabinet_core::Input;
use schemas::api::{BundleDoor, OrderState, Status};
use schemas::cbor;
use schemas::cbor_map;
use schemas::ids::CabinetId;
use schemas::messages::{Category, Compartment, OrderKey, Size};
use schemas::topics::OrderChange;

use super::invariants::{Verdict, ensure};
use super::ledger::{Cab, Ledger, OrderTruth, Seen};
use super::sabotage::Sabotage;
use super::walk_ins::key_of_status;
use super::world::{CABS, SHOPS, Shop, World, constant};

/// Orders in several compartments of one backend in a schedule.
const WHOLES_MAX: u64 = 3;
/// More of one backend that are put for a site.
const SITES_MAX: u64 = 3;

cbor_map! {
    /// What this simulation reads of a row of the fleet's orders.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct PartRow {
        1 => order: OrderKey,
        2 => cabinet: CabinetId,
        8 => state: OrderState,
        10 opt => compartment: Option<Compartment>,
    }
}

/// What a backend was told of an order in several compartments.
#[derive(Debug, Clone, Default)]
pub(super) struct Whole {
    told: Option<Status>,
    /// What its code was last said to open.
    doors: Option<BTreeSet<Compartment>>,
}

/// Put for whichever cabinet of its site has room.
pub(super) fn is_for_site(order: &OrderKey) -> bool {
    order.order.as_str().starts_with('S') && !order.is_walk_in()
}

/// The name that its backend has given, of an order or of a part.
pub(super) fn whole_name(order: &OrderKey) -> &str {
    let name = order.order.as_str();
    name.split_once('.').map_or(name, |(whole, _)| whole)
}

/// It is in its compartment, and its code may open that.
fn waits(state: Option<OrderState>) -> bool {
    matches!(state, Some(OrderState::Stored | OrderState::Overdue | OrderState::Collecting))
}

fn is_to_come(state: Option<OrderState>) -> bool {
    state.is_some_and(|state| state.is_to_be_loaded() || state == OrderState::Loading)
}

impl Ledger {
    /// What its backend calls an order, or the order that this is a part of.
    pub(super) fn named(&self, order: &OrderKey) -> OrderKey {
        self.parts_of(order).swap_remove(0)
    }

    /// All parts of the order that this is one of; itself where it fills one compartment.
    pub(super) fn parts_of(&self, order: &OrderKey) -> Vec<OrderKey> {
        let whole = self.orders.get(order).and_then(|truth| truth.whole.clone());
        whole.unwrap_or_else(|| vec![order.clone()])
    }

    pub(super) fn each_part(&mut self, order: &OrderKey, mut act: impl FnMut(&mut OrderTruth)) {
        for part in self.parts_of(order) {
            if let Some(truth) = self.orders.get_mut(&part) {
                act(truth);
            }
        }
    }

    /// It fills several compartments.
    pub(super) fn is_whole(&self, order: &OrderKey) -> bool {
        self.orders.get(order).is_some_and(|truth| truth.whole.is_some())
    }

    /// No other part of it is still to come, so its recipient has heard of it.
    pub(super) fn is_complete(&self, order: &OrderKey) -> bool {
        let comes = |part: &OrderKey| self.orders.get(part).is_some_and(|truth| is_to_come(truth.told.state));
        !self.parts_of(order).iter().any(comes)
    }

    fn truths(&self, order: &OrderKey) -> Vec<&OrderTruth> {
        self.parts_of(order).iter().filter_map(|part| self.orders.get(part)).collect()
    }

    pub(super) fn part_told(
        &mut self,
        order: &OrderKey,
        state: OrderState,
        cab: Option<Cab>,
        compartment: Option<Compartment>,
    ) {
        let Some(told) = self.orders.get_mut(order).map(|truth| &mut truth.told) else { return };
        let collected = |state: OrderState| matches!(state, OrderState::Collected | OrderState::CollectedUnconfirmed);
        told.collected += u32::from(collected(state) && !told.state.is_some_and(collected));
        (told.state, told.cab, told.compartment) = (Some(state), cab, compartment);
        told.was_stored |= state == OrderState::Stored;
    }

    pub(super) fn whole_told(&mut self, order: OrderKey, status: &Status) {
        self.wholes.entry(order).or_default().told = Some(status.clone());
    }

    pub(super) fn whole_announced(&mut self, order: &OrderKey, doors: BTreeMap<Compartment, Option<u64>>) {
        self.each_part(order, |truth| {
            truth.told.outdated &= truth.told.notified == 0;
            truth.told.notified += 1;
        });
        self.wholes.entry(order.clone()).or_default().doors = Some(doors.into_keys().collect());
    }
}

/// A backend hears of the whole what its parts are, and the same not twice.
pub(super) fn invariant_whole_told_as_its_parts(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::StatusWritten { integration, status, .. } = seen else { return Ok(()) };
    if status.parts.is_empty() {
        return Ok(());
    }
    let key = key_of_status(integration, status);
    let states: Vec<OrderState> = status.parts.iter().map(|part| part.state).collect();
    ensure(states.len() == ledger.parts_of(&key).len(), || format!("{key} has the parts {states:?}"))?;
    ensure(agrees(status.state, &states), || format!("{key} is {} with the parts {states:?}", status.state))?;
    let before = ledger.wholes.get(&key).and_then(|whole| whole.told.as_ref());
    let says_more = status.reason.is_some() || status.content.is_some();
    let news = before.is_none_or(|before| (before.state, before.until) != (status.state, status.until));
    ensure(news || says_more, || format!("the backend of {key} hears twice that it is {}", status.state))
}

/// Whether an order with these parts may be said to be in this state.
fn agrees(whole: OrderState, parts: &[OrderState]) -> bool {
    let any = |wanted: OrderState| parts.contains(&wanted);
    let over = parts.iter().all(|part| part.is_final());
    let to_come = parts.iter().any(|part| part.is_to_be_loaded());
    match whole {
        OrderState::Stored => parts.iter().all(|part| *part == OrderState::Stored),
        OrderState::Loading => !over && (any(OrderState::Loading) || to_come && any(OrderState::Stored)),
        OrderState::PartlyCollected => {
            let rest = parts.iter().filter(|part| !part.is_final());
            !over
                && parts.iter().any(|part| part.is_final())
                && rest.into_iter().all(|part| *part == OrderState::Stored)
        }
        OrderState::Created | OrderState::Ready | OrderState::Reserved => {
            any(whole) && !any(OrderState::Stored) && !any(OrderState::Loading)
        }
        OrderState::Collected
        | OrderState::CollectedUnconfirmed
        | OrderState::Retrieved
        | OrderState::Cancelled
        | OrderState::Rejected => over && any(whole),
        OrderState::Collecting
        | OrderState::Overdue
        | OrderState::Disputed
        | OrderState::Quarantined
        | OrderState::Recalled => !over && any(whole),
    }
}

/// The code goes out once, when all parts are inside and the cabinet holds it for each of them; again only for a reason.
pub(super) fn invariant_whole_announced_once_when_all_is_inside(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::WholeAnnounced { order, cab, doors } = seen else { return Ok(()) };
    let truths = ledger.truths(order);
    if truths.iter().any(|truth| truth.astray || truth.unheard) {
        return Ok(());
    }
    let before = ledger.wholes.get(order).and_then(|whole| whole.doors.clone());
    let now: BTreeSet<Compartment> = doors.keys().copied().collect();
    let renewed = truths.iter().any(|truth| truth.renewed);
    let outdated = truths.iter().any(|truth| truth.told.outdated);
    ensure(before.as_ref() != Some(&now) || renewed || outdated, || {
        format!("a second message with the code of {order}")
    })?;
    let behind = |is: fn(Option<OrderState>) -> bool| -> BTreeSet<Compartment> {
        truths.iter().filter(|truth| is(truth.told.state)).filter_map(|truth| truth.told.compartment).collect()
    };
    let inside = behind(waits);
    ensure(now.is_subset(&inside), || format!("the code of {order} is said to open {now:?}, inside: {inside:?}"))?;
    // Whoever collects has the code already, of a life of the fleet that is lost.
    let waiting = behind(|state| waits(state) && state != Some(OrderState::Collecting));
    let states: Vec<_> = truths.iter().map(|truth| truth.told.state).collect();
    let all = waiting.is_subset(&now) && !states.iter().any(|state| is_to_come(*state));
    ensure(before.is_some() || all, || format!("the code of {order} is told for {now:?}, its parts are {states:?}"))?;
    let held = ledger.applied.get(cab).copied().unwrap_or(0);
    let again = renewed && truths.iter().all(|truth| truth.told.notified > 0);
    for (door, book) in doors {
        let good = book.is_some_and(|first| first <= held) || book.is_none() && again;
        ensure(good, || format!("the code of {order} for {door} is in book {book:?}, the cabinet has {held}"))?;
    }
    Ok(())
}

/// What is seen of them.
impl World {
    pub(super) fn see_part(&mut self, row: &[u8]) {
        let Ok(PartRow { order, cabinet, state, compartment }) = cbor::decode::<PartRow>(row) else { return };
        if self.ledger.is_whole(&order) {
            let cab = self.cab_of(&cabinet);
            self.see(Seen::PartWritten { order, state, cab, compartment });
        }
    }

    pub(super) fn see_whole_announced(&mut self, order: OrderKey, cab: Cab, doors: &[BundleDoor]) {
        let mut told = BTreeMap::new();
        let known = !self.ledger.parts_of(&order).iter().any(|part| self.ledger.is_beyond_knowing(part));
        let elsewhere = doors.iter().find(|door| self.cab_of(&door.cabinet) != Some(cab));
        // Whoever speaks in a cabinet's name can have a part of it loaded there.
        if let Some(other) = elsewhere.filter(|_| known && !self.adversary.was_believed) {
            let text = format!("the code of {order} opens doors of two cabinets, {}'s, too", other.cabinet);
            return self.break_off("whole_announced_once_when_all_is_inside", text);
        }
        for door in doors {
            let behind = self.ledger.parts_of(&order).into_iter().find(|part| {
                let truth = self.ledger.orders.get(part);
                truth.is_some_and(|truth| waits(truth.told.state) && truth.told.compartment == Some(door.compartment))
            });
            let name = self.name_of(cab);
            let before = |part: &OrderKey| self.ledger.held_before.contains(&(cab, part.clone()));
            let first = match behind {
                Some(part) if before(&part) => Some(0),
                Some(part) => self.signer.books.get(&(name, part)).copied(),
                None => None,
            };
            told.insert(door.compartment, first);
        }
        if self.sabotage == Some(Sabotage::HalfAWhole) {
            told.pop_last();
        }
        self.see(Seen::WholeAnnounced { order, cab, doors: told });
    }

    /// Once everything is quiet: what the backend was told last is how it is.
    pub(super) fn check_wholes(&mut self) {
        for (order, whole) in self.ledger.wholes.clone() {
            let parts = self.ledger.parts_of(&order);
            let truths = self.ledger.truths(&order);
            let states: Vec<OrderState> = truths.iter().filter_map(|truth| truth.told.state).collect();
            let unknown = parts.iter().any(|part| self.ledger.is_beyond_knowing(part));
            let Some(told) = whole.told.filter(|_| !unknown && states.len() == parts.len()) else { continue };
            if !agrees(told.state, &states) {
                let text = format!("{order} is {} for its backend, with the parts {states:?}", told.state);
                return self.break_off("whole_told_as_its_parts", text);
            }
        }
    }
}

/// What people do with them.
impl World {
    /// What an order is put with besides its first compartment, as it is in JSON.
    pub(super) fn more_of(&self, order: &OrderKey) -> String {
        let sizes: Vec<&str> = self.ledger.parts_of(order).iter().skip(1).map(|_| r#""S""#).collect();
        if sizes.is_empty() { String::new() } else { format!(r#","more":[{}]"#, sizes.join(",")) }
    }

    /// A new one, or one again.
    pub(super) fn backend_puts_whole(&mut self) {
        let shop = self.dice.index(SHOPS.len());
        let (cab, most) = (self.dice.index(CABS), self.dice.between(2, 3));
        let anew = self.dice.one_in(3);
        let order = if self.shops[shop].put_wholes < WHOLES_MAX && !anew {
            Some(self.begin_whole(shop, cab, ("B", most)))
        } else {
            let wholes = self.wholes(|_| true);
            self.dice.pick(&wholes).cloned().filter(|_| anew)
        };
        let Some(order) = order else { return };
        let ready = !self.dice.one_in(8);
        self.publish(&order, ready);
    }

    fn begin_whole(&mut self, shop: usize, cab: Cab, (letter, compartments): (&str, u64)) -> OrderKey {
        let Shop { name, put_wholes, orders, .. } = &mut self.shops[shop];
        let whole = format!("{letter}{put_wholes}");
        let named = |part: u64| OrderKey {
            integration: name.clone(),
            order: constant(&if part == 1 { whole.clone() } else { format!("{whole}.{part}") }),
        };
        let (order, parts) = (named(1), (1..=compartments).map(named).collect::<Vec<_>>());
        *put_wholes += 1;
        orders.push(order.clone());
        for part in &parts {
            // Of an order for a site two cabinets may have it in their books for a while.
            let (whole, moved) = ((compartments > 1).then(|| parts.clone()), is_for_site(&order));
            let truth = OrderTruth { whole, moved, ..OrderTruth::new(cab, Category::Retail) };
            self.ledger.orders.insert(part.clone(), truth);
        }
        order
    }

    /// Whichever cabinet has room gets it; some are for a site that there is not.
    pub(super) fn backend_puts_for_site(&mut self) {
        let shop = self.dice.index(SHOPS.len());
        let (cab, most) = (self.dice.index(CABS), self.dice.between(1, 3));
        if self.dice.one_in(8) {
            let payload = r#"{"order":"X","site":"nowhere","size":"S","category":"retail","ready":true}"#;
            return self.put_strange(payload.into());
        }
        let again = self.shops[shop].put_wholes >= WHOLES_MAX + SITES_MAX;
        let order = if again || self.dice.one_in(4) {
            let orders: Vec<OrderKey> =
                self.shops[shop].orders.iter().filter(|order| is_for_site(order)).cloned().collect();
            self.dice.pick(&orders).cloned()
        } else {
            Some(self.begin_whole(shop, cab, ("S", most)))
        };
        let Some(order) = order else { return };
        self.publish(&order, true);
    }

    /// Orders in several compartments with a part like this, by the name that their backends know.
    fn wholes(&self, is: fn(&OrderTruth) -> bool) -> Vec<OrderKey> {
        let parts = self.ledger.orders.iter().filter(|(_, truth)| truth.whole.is_some() && is(truth));
        let named: BTreeSet<OrderKey> = parts.map(|(order, _)| self.ledger.named(order)).collect();
        named.into_iter().collect()
    }

    /// Another recipient, or what such an order cannot be: of another size, in a bundle, with one part alone.
    pub(super) fn backend_changes_whole(&mut self) {
        let wholes = self.wholes(|_| true);
        let Some(order) = self.dice.pick(&wholes).cloned().filter(|_| self.fleet.is_up()) else { return };
        let change = match self.dice.below(4) {
            0 => r#"{"size":"L"}"#.to_owned(),
            1 => return self.bundle(vec![order]),
            2 => {
                let ready = self.dice.one_in(2);
                format!(r#"{{"ready":{ready}}}"#)
            }
            _ => {
                let phone = format!("+4917000{:05}", self.dice.below(100_000));
                for part in self.ledger.parts_of(&order) {
                    self.ledger.says(&part, Size::S, Category::Retail, false, Some(phone.clone()));
                }
                format!(r#"{{"recipient":{{"phone":"{phone}"}}}}"#)
            }
        };
        self.ledger.each_part(&order, |truth| truth.renewed = true);
        self.tell(|| format!("backend changes {order} to {change}"));
        let payload = format!(r#"{{"order":"{}","change":{change}}}"#, order.order);
        self.change_orders(order.integration, OrderChange::Content, payload);
    }

    pub(super) fn customer_of_whole_comes(&mut self) {
        let told = self.wholes(|truth| !truth.codes.is_empty());
        let Some(order) = self.dice.pick(&told).cloned() else { return };
        let parts = self.ledger.parts_of(&order);
        let Some(part) = self.dice.pick(&parts).cloned() else { return };
        let typed = self.dice.one_in(2);
        self.collect(&part, typed, false);
    }

    /// Staff have all parts with them, and load one after another.
    pub(super) fn staff_load_wholes(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        let waiting = self.cabs[cab].core().map(|core| core.waiting(session)).unwrap_or_default();
        let parts: Vec<OrderKey> = waiting.into_iter().map(|waiting| waiting.order).collect();
        for order in parts {
            if !self.ledger.is_whole(&order) || self.goods_are_somewhere(&order) {
                continue;
            }
            self.tell(|| format!("staff load {order} at cabinet {cab}"));
            self.take_cabinet(cab, Input::Load { session, order, larger: false }, None);
        }
    }
}
