//! Orders that may lie in one compartment: what is inside by the cabinet's word, and where there is room beside others.
//!
//! An order gets a compartment of its own while there is one: whether two fit into one door only staff can see. Where there is
//! none, it is booked for the compartment of the others.

use schemas::ids::{Name, OrderId};
use schemas::messages::{
    Attributes, Category, Compartment, CompartmentInfo, LoadingBeside, OrderKey, SHARED_MAX, Size,
};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::cabinet::records::{Booked, Inside};
use crate::intents::OrderFact;
use crate::turn::Turn;

impl Inside {
    pub(super) fn orders(&self) -> impl Iterator<Item = &OrderKey> {
        self.order.iter().chain(self.beside.iter().flatten())
    }

    pub(super) fn holds(&self, order: &OrderKey) -> bool {
        self.orders().any(|held| held == order)
    }

    /// Whether its door was closed on this one.
    pub(super) fn has_stored(&self, order: &OrderKey) -> bool {
        self.holds(order) && (self.stored || self.order.as_ref() != Some(order))
    }

    /// What is left without this one. A doubt about the compartment stays.
    pub(super) fn without(&self, order: &OrderKey) -> Self {
        let mut left: Vec<OrderKey> = self.orders().filter(|held| *held != order).cloned().collect();
        let Some(main) = self.order.clone().filter(|main| main != order).or_else(|| left.first().cloned()) else {
            return Self { audit_required: self.audit_required, ..Self::default() };
        };
        left.retain(|held| *held != main);
        let stored = self.stored || self.order.as_ref() == Some(order);
        Self { order: Some(main), stored, ..self.clone() }.beside(left)
    }

    pub(super) fn beside(self, others: Vec<OrderKey>) -> Self {
        Self { beside: Some(others).filter(|others| !others.is_empty()), ..self }
    }
}

/// What an order says of itself to lie with others.
#[derive(Clone, Copy)]
pub(super) struct Sharing<'a> {
    integration: &'a Name,
    word: &'a OrderId,
    category: Category,
}

impl<'a> Sharing<'a> {
    /// None for one that lies alone.
    pub(super) fn of(order: &'a OrderKey, category: Category, shares: Option<&'a OrderId>) -> Option<Self> {
        Some(Self { integration: &order.integration, word: shares?, category })
    }

    fn is_of(&self, booked: &Booked) -> bool {
        booked.order.integration == *self.integration
            && booked.shares.as_ref() == Some(self.word)
            && booked.category == self.category
            && booked.guarded().is_none()
            && booked.take_back.is_none()
    }
}

impl Booked {
    pub(super) fn sharing(&self) -> Option<Sharing<'_>> {
        Sharing::of(&self.order, self.category, self.shares.as_ref()).filter(|_| self.guarded().is_none())
    }
}

impl Cabinet {
    /// Where an order is by the cabinet's word.
    pub(super) fn holder_of(&self, order: &OrderKey) -> Option<(Compartment, &Inside)> {
        self.inside.iter().find(|(_, inside)| inside.holds(order)).map(|(compartment, inside)| (*compartment, inside))
    }

    /// A compartment of others that this order may lie with, if the agent there knows how: the smallest that is large enough.
    pub(super) fn room_beside(
        &self,
        size: Size,
        wants: Attributes,
        sharing: Option<Sharing<'_>>,
    ) -> Option<Compartment> {
        let sharing = sharing.filter(|_| self.said.shares == Some(true))?;
        let fits = |info: &&CompartmentInfo| info.size >= size && info.attributes.satisfies(wants) && info.in_service;
        let open = self.said.compartments.iter().filter(fits);
        let open = open.filter(|info| self.is_of_such_orders(info.number, sharing));
        open.min_by_key(|info| (info.size, info.number)).map(|info| info.number)
    }

    /// Something is in it or kept for it, all of that may lie with such an order, and there is no doubt about it.
    fn is_of_such_orders(&self, compartment: Compartment, sharing: Sharing<'_>) -> bool {
        let inside = self.inside.get(&compartment);
        let sound = inside.is_none_or(|inside| !inside.audit_required && inside.needs_cleaning != Some(true));
        let kept = self.all_kept_for(compartment);
        let held = inside.into_iter().flat_map(Inside::orders).chain(kept.iter());
        let mut count = 0;
        let alike = held.map(|order| self.booked.get(order)).all(|booked| {
            count += 1;
            booked.is_some_and(|booked| sharing.is_of(booked))
        });
        sound && alike && (1..SHARED_MAX).contains(&count)
    }

    /// Whether the order may stay booked for a compartment in which others are.
    pub(super) fn stays_beside(&self, booked: &Booked, compartment: Compartment) -> bool {
        let of = |order: &OrderKey| self.booked.get(order).zip(booked.sharing()).is_some_and(|(one, by)| by.is_of(one));
        let inside = self.inside.get(&compartment).filter(|inside| inside.order.is_some());
        inside.is_some_and(|inside| !inside.audit_required && inside.orders().all(of))
    }

    pub(super) fn all_kept_for(&self, compartment: Compartment) -> Vec<OrderKey> {
        let kept = |booked: &&Booked| booked.reserved.as_ref().is_some_and(|kept| kept.compartment == compartment);
        self.booked.values().filter(kept).map(|booked| booked.order.clone()).collect()
    }

    /// Staff put an order beside others, which stay.
    pub(super) fn loaded_beside(&mut self, turn: &mut Turn<'_>, when: When, load: LoadingBeside) {
        let LoadingBeside { order, compartment, others, .. } = load;
        self.loaded(turn, when, &order, compartment, OrderFact::Loading);
        let inside = self.inside.get(&compartment).cloned().unwrap_or_default();
        self.set_inside(turn, compartment, inside.beside(others));
    }

    /// Whether an order of this group is here, or is to come.
    pub(super) fn has_of_group(&self, integration: &Name, word: &OrderId) -> bool {
        let of = |booked: &Booked| booked.order.integration == *integration && booked.shares.as_ref() == Some(word);
        self.said.shares == Some(true) && self.booked.values().any(of)
    }
}
