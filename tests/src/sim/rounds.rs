//! What staff do on their rounds: they exchange orders, clean compartments, and open all doors in an emergency.

use std::collections::BTreeSet;

use cabinet_core::Input;
use schemas::messages::{Compartment, DoorState, OrderKey};

use super::ledger::{At, Cab, Cause, Content, Ledger};
use super::people::Attendant;
use super::world::{Happening, World};

impl Ledger {
    fn stored_in(&self, at: &At) -> Option<OrderKey> {
        match self.contents.get(at) {
            Some(Content::Stored(order)) => Some(order.clone()),
            Some(Content::Loading(_)) | None => None,
        }
    }

    /// Two orders have changed places by the word of staff.
    pub(super) fn swapped(&mut self, cab: Cab, one: (&OrderKey, Compartment), other: (&OrderKey, Compartment)) {
        for (order, at) in [one, other] {
            self.contents.insert((cab, at), Content::Stored(order.clone()));
        }
        self.swapped.insert([one.0.clone(), other.0.clone()]);
        self.swapped.insert([other.0.clone(), one.0.clone()]);
    }
}

impl World {
    pub(super) fn staff_swap(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        let doors: Vec<Compartment> = self.cabs[cab].doors.keys().copied().collect();
        let full: Vec<Compartment> =
            doors.iter().copied().filter(|at| self.ledger.stored_in(&(cab, *at)).is_some()).collect();
        let from = if full.len() < 2 || self.dice.one_in(6) { doors } else { full };
        let one = from[self.dice.index(from.len())];
        let other = from[self.dice.index(from.len())];
        self.tell(|| format!("staff exchange what is in {one} and {other} of cabinet {cab}"));
        self.take_cabinet(cab, Input::Swap { session, one, other }, None);
    }

    /// By which orders two doors are opened whose contents are to be exchanged.
    pub(super) fn swapped_by(&self, cab: Cab, doors: [Compartment; 2]) -> Cause {
        Cause::Swap(doors.iter().filter_map(|at| self.ledger.stored_in(&(cab, *at))).collect())
    }

    pub(super) fn swap_begins(&mut self, cab: Cab, doors: [Compartment; 2]) {
        let [one, other] = doors;
        for (at, with) in [(one, other), (other, one)] {
            self.ledger.swapping.insert((cab, at));
            self.cabs[cab].exchanged.remove(&at);
            self.doubt_if_just_closed(cab, at);
            self.stand_at(cab, at, Attendant::Swapper { with });
        }
    }

    /// Once both doors are open: what was in one is put into the other. Some find that it does not fit.
    pub(super) fn exchanges(&mut self, cab: Cab, at: Compartment, with: Compartment) {
        let doors = &mut self.cabs[cab].doors;
        let theirs = |door: Compartment, other: Compartment| {
            let door = doors.get(&door)?;
            (door.open && door.attendant == Some(Attendant::Swapper { with: other })).then(|| door.goods.clone())
        };
        let (Some(mine), Some(other)) = (theirs(at, with), theirs(with, at)) else { return };
        // Whoever has exchanged them does not do so again when the other door has its turn.
        if self.cabs[cab].exchanged.contains(&at) || self.dice.one_in(4) {
            return;
        }
        self.cabs[cab].exchanged.extend([at, with]);
        self.tell(|| format!("what is in {at} and in {with} of cabinet {cab} is exchanged"));
        self.set_goods(cab, at, other);
        self.set_goods(cab, with, mine);
    }

    /// Staff say whether they have exchanged them, truthfully.
    pub(super) fn staff_answer_swap(&mut self, cab: Cab, at: Compartment) {
        let Some(with) = self.swaps_with(cab, at) else { return };
        let Some(session) = self.cabs[cab].session else {
            self.log_in(cab);
            if self.rough {
                self.later(5_000, Happening::StaffAnswersSwap { cab, at });
            }
            return;
        };
        if [at, with].iter().any(|at| self.cabs[cab].doors[at].open) {
            return;
        }
        let booked: BTreeSet<OrderKey> = self.ledger.stored_in(&(cab, at)).into_iter().collect();
        let swapped = self.cabs[cab].doors[&at].goods != booked && self.cabs[cab].exchanged.contains(&at);
        self.tell(|| format!("staff say of {at} and {with} of cabinet {cab}: exchanged {swapped}"));
        self.take_cabinet(cab, Input::ConfirmSwap { session, compartment: at, swapped }, None);
    }

    pub(super) fn swaps_with(&self, cab: Cab, at: Compartment) -> Option<Compartment> {
        let view = self.cabs[cab].core()?.view();
        view.compartments.iter().find(|one| one.number == at)?.swaps_with
    }

    pub(super) fn swap_over(&mut self, cab: Cab, doors: [Compartment; 2]) {
        for at in doors {
            self.ledger.swapping.remove(&(cab, at));
            self.cabs[cab].exchanged.remove(&at);
        }
    }

    /// Staff have two doors opened, to carry an order from one into the other.
    pub(super) fn staff_carry(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        let nothing = |at: &Compartment| !self.ledger.contents.contains_key(&(cab, *at));
        let doors = self.cabs[cab].doors.iter();
        let free = doors.filter(|(at, door)| nothing(at) && door.goods.is_empty()).map(|(at, _)| *at).next();
        let stored: Vec<_> =
            self.cabs[cab].doors.keys().filter(|at| self.ledger.stored_in(&(cab, **at)).is_some()).copied().collect();
        let (Some(to), Some(from)) = (free, self.dice.pick(&stored).copied()) else { return };
        self.cabs[cab].carrying = Some([from, to]);
        self.tell(|| format!("staff want to carry what is in {from} of cabinet {cab} to {to}"));
        for compartment in [from, to] {
            self.take_cabinet(cab, Input::Look { session, compartment }, None);
        }
    }

    /// Once they have both doors open.
    pub(super) fn carries(&mut self, cab: Cab, at: Compartment) {
        let Some([from, to]) = self.cabs[cab].carrying.filter(|doors| doors.contains(&at)) else { return };
        let doors = &self.cabs[cab].doors;
        let looks =
            |at: &Compartment| doors.get(at).is_some_and(|door| door.open && door.attendant == Some(Attendant::Looker));
        if !looks(&from) || !looks(&to) || !doors[&to].goods.is_empty() {
            return;
        }
        let goods = doors[&from].goods.clone();
        self.tell(|| format!("what is in {from} of cabinet {cab} is carried to {to}"));
        self.cabs[cab].carrying = None;
        self.set_goods(cab, from, BTreeSet::new());
        self.set_goods(cab, to, goods);
    }

    /// The one order that staff see behind this door, where it is another one than the book says.
    pub(super) fn finds_another(&self, cab: Cab, at: Compartment) -> Option<OrderKey> {
        let view = self.cabs[cab].core()?.view();
        let shown = view.compartments.iter().find(|one| one.number == at)?;
        let mut goods = self.cabs[cab].doors[&at].goods.iter();
        let (Some(order), None) = (goods.next(), goods.next()) else { return None };
        let asked = shown.asks || shown.audit_required && !shown.allocated;
        let other = !self.ledger.orders_in(&(cab, at)).any(|held| held == order);
        (self.scans && asked && other).then(|| order.clone())
    }

    pub(super) fn staff_clean(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session else { return self.log_in(cab) };
        let (compartment, needed) = (self.some_door(cab), self.dice.one_in(2));
        match self.now % 4 {
            0 if self.scans => {
                self.tell(|| format!("staff say of {compartment} of cabinet {cab}: out of service {needed}"));
                return self.take_cabinet(cab, Input::Service { session, compartment, in_service: !needed }, None);
            }
            1 if self.scans => {
                let minutes = if needed { 5u8 } else { 0 };
                let Ok(minutes) = minutes.try_into() else { return };
                self.tell(|| format!("staff work at the doors of cabinet {cab} with a key: {minutes:?}"));
                return self.take_cabinet(cab, Input::Maintenance { session, minutes }, None);
            }
            _ => {}
        }
        self.tell(|| format!("staff say of {compartment} of cabinet {cab}: needs cleaning {needed}"));
        self.take_cabinet(cab, Input::Cleaning { session, compartment, needed }, None);
    }

    pub(super) fn staff_open_all(&mut self, cab: Cab) {
        let Some(session) = self.cabs[cab].session.filter(|_| self.dice.one_in(2)) else { return };
        self.tell(|| format!("staff open all doors of cabinet {cab}"));
        self.take_cabinet(cab, Input::OpenAll { session }, None);
    }

    pub(super) fn all_are_opened(&mut self, cab: Cab, compartments: &[Compartment]) {
        self.cabs[cab].emergency = compartments.iter().copied().collect();
    }

    /// What moves the core to pulse this door: the doors of an emergency open whatever the input is.
    pub(super) fn cause_of_pulse(&mut self, cab: Cab, at: Compartment, cause: &Cause) -> Cause {
        let ledger = &self.ledger;
        let inside = |is: &dyn Fn(&OrderKey) -> bool| ledger.orders_in(&(cab, at)).any(is);
        let meant = match cause {
            Cause::Command(command) => {
                let meant = |order: &OrderKey| inside(&|held| ledger.parts_of(order).contains(held));
                command.action.order().is_none_or(meant)
            }
            Cause::Entry { orders, .. } => {
                let cabinet = &self.cabs[cab];
                let again = ledger.reopens(&(cab, at), orders, cabinet.boot(), cabinet.boot_millis(self.now));
                again || inside(&|held| orders.contains(held))
            }
            Cause::Swap(orders) => inside(&|held| orders.contains(held)),
            Cause::Staff(order) | Cause::Release(order) | Cause::Deposit(order) => inside(&|held| held == order),
            // In the same step the next door of an emergency may have its turn.
            Cause::Retry { pulse } => {
                let first = ledger.pulses.get(&(cab, self.cabs[cab].boot(), *pulse));
                first.is_some_and(|first| first.at == at)
            }
            Cause::Again | Cause::Look => true,
            Cause::Answer { order, .. } => inside(&|held| held == order),
            Cause::App(open) => inside(&|held| *held == open.order),
            Cause::Courier(name) => ledger.couriers.is_bringing((cab, at), name),
            Cause::Begins | Cause::Brings | Cause::Nobody(_) => false,
        };
        if !meant && self.cabs[cab].emergency.remove(&at) { Cause::Look } else { cause.clone() }
    }

    /// A door of which the cabinet has heard that it is open.
    pub(super) fn is_heard_open(&self, cab: Cab, at: Compartment) -> bool {
        let view = self.cabs[cab].core().map(|core| core.view());
        view.is_some_and(|view| view.compartments.iter().any(|one| one.number == at && one.door == DoorState::Open))
    }
}
