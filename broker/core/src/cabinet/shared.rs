//! Orders that may lie in one compartment: what is inside by the cabinet's word, and where there is room beside others.
//!
//! An order gets a compartment of its own while there is one: whether two fit into one door only staff can see. Where there is
//! none, it is booked for the compartment of the others.

use schemas::ids::OrderId;
use schemas::messages::{
    Attributes, Category, Compartment, CompartmentInfo, LoadingBeside, OrderKey, SHARED_MAX, Size,
};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::cabinet::records::{Booked, Inside};
use crate::intents::{OrderFact, Reserve};
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
            return Self { audit_required: self.audit_required, claimed: self.claimed, ..Self::default() };
        };
        left.retain(|held| *held != main);
        if self.order.as_ref() == Some(order) {
            return Self { order: Some(main), stored: true, by_command: None, ..self.clone() }.beside(left);
        }
        self.clone().beside(left)
    }

    pub(super) fn beside(self, others: Vec<OrderKey>) -> Self {
        Self { beside: Some(others).filter(|others| !others.is_empty()), ..self }
    }
}

/// What an order says of itself to lie with others.
#[derive(Clone, Copy)]
pub(super) struct Sharing<'a> {
    order: &'a OrderKey,
    word: &'a OrderId,
    category: Category,
}

impl<'a> Sharing<'a> {
    /// None for one that lies alone.
    pub(super) fn of(order: &'a OrderKey, category: Category, shares: Option<&'a OrderId>) -> Option<Self> {
        Some(Self { order, word: shares?, category })
    }

    fn is_of(&self, booked: &Booked) -> bool {
        booked.order.integration == self.order.integration
            && booked.shares.as_ref() == Some(self.word)
            && booked.category == self.category
            && booked.guarded().is_none()
            && booked.take_back.is_none()
    }
}

impl Booked {
    pub(super) fn sharing(&self) -> Option<Sharing<'_>> {
        let alone = self.guarded().is_some() || self.take_back.is_some();
        Sharing::of(&self.order, self.category, self.shares.as_ref()).filter(|_| !alone)
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
        let sharing = sharing.filter(|_| self.takes_orders())?;
        let open = self.said.compartments.iter().filter(|info| self.takes_beside(info, size, wants, sharing));
        open.min_by_key(|info| (info.size, info.number)).map(|info| info.number)
    }

    /// It is made for such an order, something is in it or kept for it, all of that may lie with the order, and there is no doubt
    /// about it.
    fn takes_beside(&self, info: &CompartmentInfo, size: Size, wants: Attributes, sharing: Sharing<'_>) -> bool {
        let inside = self.inside.get(&info.number);
        let sound = inside.is_none_or(|inside| !inside.needs_look() && inside.takes_loads());
        let kept = self.all_kept_for(info.number);
        let held = inside.into_iter().flat_map(Inside::orders).chain(&kept).filter(|held| *held != sharing.order);
        let mut count = 0;
        let alike = held.map(|order| self.booked.get(order)).all(|booked| {
            count += 1;
            booked.is_some_and(|booked| sharing.is_of(booked))
        });
        let made = info.size >= size && info.attributes.satisfies(wants) && info.in_service;
        self.said.shares == Some(true) && made && sound && alike && (1..SHARED_MAX).contains(&count)
    }

    /// Whether the order may stay booked for a compartment in which others are.
    pub(super) fn stays_beside(&self, booked: &Booked, compartment: Compartment) -> bool {
        let info = self.info(compartment);
        let open = |sharing| info.is_some_and(|info| self.takes_beside(info, booked.size, booked.wants, sharing));
        booked.sharing().is_some_and(open)
    }

    pub(super) fn all_kept_for(&self, compartment: Compartment) -> Vec<OrderKey> {
        let kept = |booked: &&Booked| booked.reserved.as_ref().is_some_and(|kept| kept.compartment == compartment);
        self.booked.values().filter(kept).map(|booked| booked.order.clone()).collect()
    }

    /// Staff put an order beside others, which stay. Of those that the fleet does not know there it has missed the news.
    pub(super) fn loaded_beside(&mut self, turn: &mut Turn<'_>, when: When, load: LoadingBeside) {
        let LoadingBeside { order, compartment, others, .. } = load;
        let known = |order: &OrderKey| self.holder_of(order).is_some_and(|(at, _)| at == compartment);
        let unknown: Vec<OrderKey> = others.iter().filter(|other| !known(other)).cloned().collect();
        for other in &unknown {
            self.took_from_elsewhere(turn, other, compartment);
        }
        let inside = Inside { order: Some(order.clone()), ..Inside::default() }.beside(others);
        self.is_in(turn, when, &order, compartment, (inside, (OrderFact::Loading, None)));
        for other in unknown {
            self.is_known_in(turn, when, &other, compartment, (OrderFact::Stored, None));
        }
    }

    /// What is there besides an order that is stored: what was there with it before. Where the fleet has missed that it was put
    /// beside others that it may lie with, they are taken to be there still, until somebody has looked.
    pub(super) fn left_beside(
        &self,
        order: &OrderKey,
        compartment: Compartment,
        stored: bool,
    ) -> (Vec<OrderKey>, bool) {
        let Some(inside) = self.inside.get(&compartment) else { return (Vec::new(), false) };
        let others = || inside.orders().filter(|held| *held != order).cloned().collect::<Vec<_>>();
        if inside.holds(order) {
            return (others(), false);
        }
        // A doubt about the compartment is what such a gap begins with, and says nothing against it.
        let sharing = self.booked.get(order).and_then(Booked::sharing).filter(|_| stored);
        let alike = |other| self.booked.get(other).is_some_and(|booked| sharing.is_some_and(|one| one.is_of(booked)));
        if inside.order.is_some() && inside.orders().all(alike) { (others(), true) } else { (Vec::new(), false) }
    }

    pub(super) fn holds_more_than(&self, order: &OrderKey, compartment: Compartment) -> bool {
        self.inside.get(&compartment).is_some_and(|inside| inside.orders().any(|held| held != order))
    }

    /// The agent is of a version again that knows nothing of orders beside one another: its disk may name one of them only.
    pub(super) fn doubt_what_shares(&mut self, turn: &mut Turn<'_>) {
        let doubtful = self.inside.iter().filter(|(_, inside)| inside.beside.is_some() && !inside.audit_required);
        for (at, inside) in doubtful.map(|(at, inside)| (*at, inside.clone())).collect::<Vec<_>>() {
            self.set_inside(turn, at, Inside { audit_required: true, ..inside });
            let text = "holds several orders, of which its agent knows only one now";
            turn.alarm_of(&self.at, format!("cabinet {}: compartment {at} {text}", self.at));
        }
    }

    /// Whether an order would find others of its group here, and a place.
    pub(super) fn has_of_group(&self, wish: &Reserve) -> bool {
        let Some(sharing) = Sharing::of(&wish.order, wish.category, wish.shares.as_ref()) else { return false };
        let Reserve { size, wants, .. } = *wish;
        let room = || self.fitting(size, wants).or_else(|| self.room_beside(size, wants, Some(sharing)));
        self.said.shares == Some(true) && self.booked.values().any(|booked| sharing.is_of(booked)) && room().is_some()
    }
}
