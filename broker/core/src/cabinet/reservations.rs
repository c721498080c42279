//! Which compartment is kept for which order.
//!
//! A reservation is an intent: the cabinet decides where an order really goes. It needs no timer: it is safe for as long as
//! its backend has said, or for [`Config::reservation_millis`](crate::Config), and afterwards lasts until an order comes that finds no other
//! compartment. The displaced order stays in the book and gets the next compartment that is free.

use std::collections::BTreeSet;

use schemas::messages::{
    Attributes, BookChange, Compartment, CompartmentInfo, DropCredential, DropOrder, OrderKey, Size, TakeBack,
};

use crate::cabinet::Cabinet;
use crate::cabinet::events::When;
use crate::cabinet::records::{Booked, ForDeposit, Inside, Reservation};
use crate::cabinet::shared::Sharing;
use crate::config::Config;
use crate::intents::{Alter, Altered, Displaced, Intent, NoRoom, Reserve, Reserved, Unaltered};
use crate::tables::BOOKED;
use crate::turn::Turn;

/// Orders of one book, waiting ones included: a cabinet takes no more.
pub(super) const BOOKED_MAX: usize = 1_000;

impl Cabinet {
    /// Books an order. Taken twice, it changes nothing the second time.
    pub(super) fn reserve(&mut self, turn: &mut Turn<'_>, config: &Config, wish: Reserve) {
        if self.booked.contains_key(&wish.order) {
            // It may ask for something else than when it was booked.
            return wish.factor.into_iter().for_each(|factor| self.set_factor(turn, factor));
        }
        let held = self.holder_of(&wish.order);
        if let Some((compartment, inside)) = held.map(|(compartment, inside)| (compartment, inside.clone())) {
            return self.adopt(turn, wish, compartment, inside);
        }
        let Some(compartment) = self.find_room(turn, config, &wish) else {
            return turn.send(Intent::to_order(&self.at, &wish.order, NoRoom {}));
        };
        let order = wish.order.clone();
        self.book(turn, wish);
        self.keep(turn, &order, compartment);
    }

    /// Books an order with another content, all of it or nothing. Taken twice, it changes nothing the second time.
    pub(super) fn alter(&mut self, turn: &mut Turn<'_>, config: &Config, alter: Alter) {
        let Some(before) = self.booked.get(&alter.order).filter(|booked| booked.loaded.is_none()).cloned() else {
            return turn.send(Intent::to_order(&self.at, &alter.order, Unaltered {}));
        };
        let order = alter.order.clone();
        let kept = if (before.size, before.wants) == (alter.size, alter.wants) {
            before.reserved.clone()
        } else {
            let Some(kept) = self.room_for_other(turn, config, &alter) else {
                return turn.send(Intent::to_order(&self.at, &order, Unaltered {}));
            };
            Some(kept)
        };
        let Alter { size, category, wants, hold, .. } = alter;
        let compartment = kept.as_ref().map(|kept| kept.compartment);
        let booked = Booked { size, category, wants, hold, reserved: kept, ..before.clone() };
        let (put, change) = (booked.change(), booked.change() != before.change());
        self.booked.insert(order.clone(), booked);
        self.put_booked(turn, &order);
        if change {
            self.append(turn, vec![put]);
        }
        turn.send(Intent::to_order(&self.at, &order, Altered { compartment }));
        if change || compartment != before.reserved.map(|kept| kept.compartment) {
            self.drop_lost_reservations(turn);
        }
    }

    /// Where an order goes whose size or wants are others now. Its own compartment counts as free, and is kept if none that
    /// is smaller would do.
    fn room_for_other(&mut self, turn: &mut Turn<'_>, config: &Config, alter: &Alter) -> Option<Reservation> {
        let own = self.booked.get_mut(&alter.order)?.reserved.take();
        let before = self.booked.get(&alter.order).map(|booked| Booked { category: alter.category, ..booked.clone() });
        let found = self.fitting(alter.size, alter.wants);
        let size = |compartment| self.info(compartment).map(|info| info.size);
        let stays = |own: &&Reservation| {
            self.fits(own.compartment, alter.size, alter.wants) && found.and_then(size) == size(own.compartment)
        };
        let kept = match own.as_ref().filter(stays) {
            Some(own) => Some(own.clone()),
            None => found
                .or_else(|| self.room_beside(alter.size, alter.wants, before.as_ref().and_then(Booked::sharing)))
                .or_else(|| self.displace_for(turn, config, alter.size, alter.wants))
                .map(|compartment| Reservation { compartment, since: turn.now }),
        };
        if let Some(booked) = self.booked.get_mut(&alter.order) {
            booked.reserved = own;
        }
        kept
    }

    /// Tells an order that is here by the cabinet's word, and that the fleet has in no book.
    pub(super) fn find(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        if let (Some((compartment, inside)), None) = (self.holder_of(order), self.booked.get(order)) {
            self.tell_order(turn, When::heard_at(turn.now), order, compartment, inside.fact(order));
        }
    }

    /// The order is here already, by the cabinet's word: the fleet was restored, and its backend has put it again.
    fn adopt(&mut self, turn: &mut Turn<'_>, wish: Reserve, compartment: Compartment, inside: Inside) {
        let order = wish.order.clone();
        let fact = inside.fact(&order);
        self.book(turn, wish);
        self.occupied(turn, &order, compartment);
        self.set_inside(turn, compartment, Inside { audit_required: false, claimed: None, ..inside });
        let change = self.booked.get(&order).map(Booked::change);
        self.append(turn, change.into_iter().collect());
        self.tell_order(turn, When::heard_at(turn.now), &order, compartment, fact);
    }

    pub(super) fn book(&mut self, turn: &mut Turn<'_>, wish: Reserve) {
        let Reserve { order, size, category, wants, hold, staff_release, deposit, part, factor, shares } = wish;
        let booked = Booked {
            order: order.clone(),
            size,
            category,
            wants,
            since: turn.now,
            reserved: None,
            loaded: None,
            grant: None,
            withdrawn: None,
            next: None,
            missing: None,
            told: None,
            hold,
            take_back: None,
            part,
            staff_release,
            bundled: None,
            opened_by: None,
            factor: None,
            shares,
            deposit: deposit.map(|kind| ForDeposit { kind, invitation: None, last: None, over: None }),
        };
        self.booked.insert(order, booked);
        factor.into_iter().for_each(|factor| self.set_factor(turn, factor));
    }

    fn find_room(&mut self, turn: &mut Turn<'_>, config: &Config, wish: &Reserve) -> Option<Compartment> {
        if self.booked.len() >= BOOKED_MAX {
            return None;
        }
        let Reserve { size, wants, .. } = *wish;
        let sharing = Sharing::of(&wish.order, wish.category, wish.shares.as_ref());
        let found = self.fitting(size, wants).or_else(|| self.room_beside(size, wants, sharing));
        found.or_else(|| self.displace_for(turn, config, size, wants))
    }

    /// Says whether staff are to take an order out, and why.
    pub(super) fn want_back(&mut self, turn: &mut Turn<'_>, order: &OrderKey, why: Option<TakeBack>) {
        let Some(booked) = self.booked.get_mut(order).filter(|booked| booked.take_back != why) else { return };
        booked.take_back = why;
        let change = booked.change();
        self.put_booked(turn, order);
        self.append(turn, vec![change]);
        // What was to lie beside it may not any more.
        self.drop_lost_reservations(turn);
    }

    /// A person has ended an order, whatever the cabinet says of it: staff have to look where it was last.
    pub(super) fn close_order(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        let held: Vec<_> = self.inside.iter().filter(|(_, inside)| inside.holds(order)).map(|(at, _)| *at).collect();
        for compartment in held {
            let inside = self.inside.get(&compartment).cloned().unwrap_or_default();
            self.set_inside(turn, compartment, Inside { audit_required: true, ..inside });
        }
        self.release(turn, order);
        self.drop_lost_reservations(turn);
    }

    /// Whether codes of the order are withdrawn that the cabinet may still hold.
    pub(crate) fn is_revoke_pending(&self, order: &OrderKey) -> bool {
        let withdrawn: BTreeSet<_> =
            self.booked.get(order).into_iter().flat_map(|booked| booked.withdrawn.iter().flatten()).collect();
        let mut changes = self.sets.values().flat_map(|set| &set.changes);
        changes.any(|change| matches!(change, BookChange::DropCredential(gone) if withdrawn.contains(&gone.id)))
    }

    /// Forgets an order that is over. Taken twice, it changes nothing the second time.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        let Some(booked) = self.booked.remove(order) else {
            return;
        };
        turn.remove(BOOKED, self.at.key_of(&order.to_string()));
        let mut changes: Vec<_> = booked
            .codes()
            .flat_map(|grant| &grant.credentials)
            .map(|credential| DropCredential { id: credential.id }.into())
            .collect();
        changes.push(DropOrder { order: order.clone() }.into());
        self.append(turn, changes);
        self.left_bundle(turn, &booked);
        self.fill_waiting(turn);
    }

    /// Gives compartments that are free to the orders that wait, the oldest first.
    pub(super) fn fill_waiting(&mut self, turn: &mut Turn<'_>) {
        let mut waiting: Vec<_> =
            self.booked.values().filter(|booked| booked.waits()).map(|one| (one.since, one.order.clone())).collect();
        waiting.sort();
        for (_, order) in waiting {
            let found = self.booked.get(&order).and_then(|booked| {
                let Booked { size, wants, .. } = *booked;
                self.fitting(size, wants).or_else(|| self.room_beside(size, wants, booked.sharing()))
            });
            if let Some(compartment) = found {
                self.keep(turn, &order, compartment);
            }
        }
    }

    /// Takes reservations away that the cabinet can no longer honour.
    pub(super) fn drop_lost_reservations(&mut self, turn: &mut Turn<'_>) {
        let lost: Vec<OrderKey> = self
            .booked
            .values()
            .filter(|booked| {
                booked.reserved.as_ref().is_some_and(|kept| {
                    let usable = self.info(kept.compartment).is_some_and(|info| self.usable(info));
                    !usable && !self.stays_beside(booked, kept.compartment)
                })
            })
            .map(|booked| booked.order.clone())
            .collect();
        lost.iter().for_each(|order| self.displace(turn, order));
        self.fill_waiting(turn);
    }

    /// An order is now in `compartment`, whoever it was kept for.
    pub(super) fn occupied(&mut self, turn: &mut Turn<'_>, order: &OrderKey, compartment: Compartment) {
        if let Some(booked) = self.booked.get_mut(order) {
            booked.reserved = None;
            booked.loaded = Some(compartment);
            booked.missing = None;
            // The next message about its code names where it is now.
            booked.grants_mut().for_each(|grant| grant.compartment = compartment);
            self.put_booked(turn, order);
        }
        for other in self.all_kept_for(compartment) {
            if !self.booked.get(&other).is_some_and(|booked| self.stays_beside(booked, compartment)) {
                self.displace(turn, &other);
            }
        }
        self.fill_waiting(turn);
    }

    /// An order is no longer in a compartment, and not over: it waits for the next one.
    pub(super) fn unloaded(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        if let Some(booked) = self.booked.get_mut(order) {
            booked.loaded = None;
            self.put_booked(turn, order);
        }
    }

    /// An order is not where it should be. It waits for nothing: nobody can load it.
    pub(super) fn missing(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        if let Some(booked) = self.booked.get_mut(order) {
            (booked.loaded, booked.missing) = (None, Some(true));
            self.put_booked(turn, order);
        }
    }

    /// Number of compartments that a new order could get.
    pub(super) fn free(&self) -> usize {
        self.free_compartments().count()
    }

    pub(super) fn kept_for(&self, compartment: Compartment) -> Option<OrderKey> {
        self.all_kept_for(compartment).into_iter().next()
    }

    fn keep(&mut self, turn: &mut Turn<'_>, order: &OrderKey, compartment: Compartment) {
        let Some(booked) = self.booked.get_mut(order) else {
            return;
        };
        booked.reserved = Some(Reservation { compartment, since: turn.now });
        let change = booked.change();
        self.put_booked(turn, order);
        self.append(turn, vec![change]);
        turn.send(Intent::to_order(&self.at, order, Reserved { compartment }));
    }

    fn displace(&mut self, turn: &mut Turn<'_>, order: &OrderKey) {
        let Some(booked) = self.booked.get_mut(order) else {
            return;
        };
        booked.reserved = None;
        let change = booked.change();
        self.put_booked(turn, order);
        self.append(turn, vec![change]);
        turn.send(Intent::to_order(&self.at, order, Displaced {}));
    }

    /// Takes the compartment of the oldest reservation past its time that fits.
    fn displace_for(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        size: Size,
        wants: Attributes,
    ) -> Option<Compartment> {
        let over = |kept: &Reservation, booked: &Booked| {
            kept.since.saturating_add(booked.hold.unwrap_or(config.reservation_millis)) <= turn.now
        };
        // One that is safe keeps the compartment for all that are booked there beside one another.
        let all_over = |compartment: Compartment| {
            let kept = self.booked.values().filter_map(|booked| Some((booked.reserved.as_ref()?, booked)));
            kept.filter(|(kept, _)| kept.compartment == compartment).all(|(kept, booked)| over(kept, booked))
        };
        let (_, _, compartment) = self
            .booked
            .values()
            .filter_map(|booked| Some((booked.reserved.as_ref()?, booked)))
            .filter(|(kept, _)| all_over(kept.compartment) && self.fits(kept.compartment, size, wants))
            .map(|(kept, booked)| (kept.since, booked.order.clone(), kept.compartment))
            .min()?;
        self.all_kept_for(compartment).iter().for_each(|order| self.displace(turn, order));
        Some(compartment)
    }

    fn fits(&self, compartment: Compartment, size: Size, wants: Attributes) -> bool {
        self.info(compartment)
            .is_some_and(|info| info.size >= size && info.attributes.satisfies(wants) && self.usable(info))
    }

    /// The smallest free compartment that fits, the lowest number of these.
    pub(super) fn fitting(&self, size: Size, wants: Attributes) -> Option<Compartment> {
        self.free_compartments()
            .filter(|info| info.size >= size && info.attributes.satisfies(wants))
            .min_by_key(|info| (info.size, info.number))
            .map(|info| info.number)
    }

    pub(super) fn free_compartments(&self) -> impl Iterator<Item = &CompartmentInfo> {
        let kept: BTreeSet<Compartment> =
            self.booked.values().filter_map(|booked| booked.reserved.as_ref()).map(|kept| kept.compartment).collect();
        let takes = self.takes_orders();
        self.said.compartments.iter().filter(move |info| takes && self.usable(info) && !kept.contains(&info.number))
    }

    /// In service, with a sound lock, empty by the cabinet's word, and not to be looked at or cleaned by a person first.
    fn usable(&self, info: &CompartmentInfo) -> bool {
        let inside = self.inside.get(&info.number);
        info.in_service && !self.faulty.contains(&info.number) && inside.is_none_or(Inside::is_usable)
    }
}
