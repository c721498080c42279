//! Where an order is to go: to one cabinet, or to any of a site, which are asked one after another; and to another one later.
//!
//! Each cabinet reserves or refuses in its own transaction, and the order remembers whom it has asked: a crash between two
//! offers goes on with the intent that is left. Until it is loaded an order can be in the books of two cabinets, never without
//! its own knowledge; where it is loaded counts.

use schemas::api::{OrderMove, OrderPut, OrderState, RejectReason, parse};
use schemas::cbor_map;
use schemas::ids::{CabinetId, Name, SiteId, TenantId};
use schemas::messages::OrderKey;

use crate::cabinet::Cabinets;
use crate::config::Config;
use crate::intents::{Intent, OrderFact, OrderIntent, Release, Reserve};
use crate::order::{Happened, Order, Orders};
use crate::tables::{CabinetRef, OrderRef};
use crate::turn::Turn;

cbor_map! {
    /// Of an order that was not put for the cabinet where it is.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct Route {
        /// As its backend put it: for any cabinet of this site, or else for this cabinet.
        1 opt => site: Option<SiteId>,
        2 opt => cabinet: Option<CabinetId>,
        /// Cabinets of the site that had no room.
        3 => asked: Vec<CabinetId>,
        /// Where it goes if that has room.
        4 opt => moves_to: Option<CabinetId>,
    }
}

/// Where a new order begins, and what has to be remembered for going on. None where there is nobody to ask. `orders`: itself, or all
/// its parts.
pub(super) fn first_of(
    put: &OrderPut,
    (tenant, integration): (&TenantId, &Name),
    orders: &[OrderKey],
    cabinets: &Cabinets<'_>,
) -> Option<(CabinetId, Option<Box<Route>>)> {
    match (&put.cabinet, &put.site) {
        (Some(cabinet), _) => Some((cabinet.clone(), None)),
        (None, Some(site)) => {
            let offers = cabinets.offers(tenant, site, orders);
            let first = offers.first()?.clone();
            let shares = put.shares.is_some() && !cabinets.has_inside(tenant, &first, orders);
            let beside = shares.then(|| cabinets.with_group(tenant, &offers, &wish_of(put, integration))).flatten();
            let first = beside.unwrap_or(first);
            Some((first, Some(Route { site: Some(site.clone()), ..Route::default() }.into())))
        }
        (None, None) => None,
    }
}

/// What a cabinet would be asked.
fn wish_of(put: &OrderPut, integration: &Name) -> Reserve {
    let order = OrderKey { integration: integration.clone(), order: put.order.clone() };
    let (hold, staff_release, deposit, part, factor) = (None, None, None, None, None);
    let OrderPut { size, category, wants, shares, .. } = put.clone();
    Reserve { order, size, category, wants: wants.into(), hold, staff_release, deposit, part, factor, shares }
}

impl Order {
    /// As it was put.
    pub(super) fn put_for(&self) -> (Option<CabinetId>, Option<SiteId>) {
        match self.route.as_deref() {
            Some(Route { site: Some(site), .. }) => (None, Some(site.clone())),
            Some(Route { cabinet: Some(cabinet), .. }) => (Some(cabinet.clone()), None),
            Some(_) | None => (Some(self.cabinet.clone()), None),
        }
    }

    fn route_mut(&mut self) -> &mut Route {
        let cabinet = self.cabinet.clone();
        self.route.get_or_insert_with(|| Route { cabinet: Some(cabinet), ..Route::default() }.into())
    }

    pub(super) fn moves_to(&self) -> Option<&CabinetId> {
        self.route.as_ref()?.moves_to.as_ref()
    }
}

impl Orders {
    /// The cabinet has no room. Another one of the site may have; true where one is asked.
    pub(super) fn asks_next(&mut self, turn: &mut Turn<'_>, at: &OrderRef, cabinets: &Cabinets<'_>) -> bool {
        let Some(order) = self.rows.get_mut(at) else { return false };
        let refused = order.cabinet.clone();
        let Some(route) = order.route.as_deref_mut() else { return false };
        let Some(site) = route.site.clone() else { return false };
        route.asked.push(refused);
        let next = cabinets.offers(&at.tenant, &site, &[]).into_iter().find(|cabinet| !route.asked.contains(cabinet));
        let Some(next) = next else {
            // Put again, it asks all of them again.
            route.asked.clear();
            return false;
        };
        let before = CabinetRef::new(at.tenant.clone(), std::mem::replace(&mut order.cabinet, next));
        let reserve = order.reserve();
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        self.put_row(turn, at);
        turn.send(Intent::to_cabinet(&cabinet, reserve));
        self.all_ask_next(turn, at, &before);
        true
    }

    /// A cabinet that the order is not booked at tells that it is loaded there. Where a restored fleet does not know better, or
    /// staff have loaded it before they heard that it is to go elsewhere, the goods are there.
    pub(super) fn follows(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        from: &CabinetRef,
        intent: &OrderIntent,
        cabinets: &Cabinets<'_>,
    ) {
        let OrderIntent::Told(told) = intent else { return };
        if !matches!(told.fact, OrderFact::Loading | OrderFact::Stored) {
            return;
        }
        let Some(order) = self.rows.get_mut(at) else { return };
        let of_site = order.route.as_ref().and_then(|route| route.site.as_ref());
        let was_there = order.route.as_ref().and_then(|route| route.cabinet.as_ref()) == Some(&from.cabinet);
        let there = was_there || of_site.is_some_and(|site| cabinets.is_at(from, site));
        if !(order.state.is_to_be_loaded() && there) || order.cabinet == from.cabinet {
            return;
        }
        let before = std::mem::replace(&mut order.cabinet, from.cabinet.clone());
        let also = order.route_mut().moves_to.take();
        order.compartment = None;
        // Its book may say by now that the order is not to come.
        let reserve = order.reserve();
        self.put_row(turn, at);
        turn.send(Intent::to_cabinet(from, reserve));
        for cabinet in std::iter::once(before).chain(also).filter(|cabinet| *cabinet != from.cabinet) {
            let cabinet = CabinetRef::new(at.tenant.clone(), cabinet);
            turn.send(Intent::to_cabinet(&cabinet, Release { order: at.order.clone() }));
        }
    }

    /// `orders/move` of an integration.
    pub(crate) fn move_payload(
        &mut self,
        turn: &mut Turn<'_>,
        (tenant, integration): (TenantId, Name),
        payload: &[u8],
        cabinets: &Cabinets<'_>,
    ) {
        match parse::<OrderMove>(payload) {
            Err(error) => turn.refuse(error.to_string()),
            Ok(OrderMove { order, to }) => {
                let at = OrderRef { tenant, order: OrderKey { integration, order } };
                // The stream tells the outcome; a publisher gets no other answer.
                let _ = self.send_to(turn, &at, to, cabinets);
            }
        }
    }

    /// Lets an order that is not loaded go to another cabinet, if that has room for it; until then it stays where it is.
    pub(crate) fn send_to(
        &mut self,
        turn: &mut Turn<'_>,
        at: &OrderRef,
        to: CabinetId,
        cabinets: &Cabinets<'_>,
    ) -> Result<(), RejectReason> {
        let Some(order) = self.rows.get_mut(at).filter(|order| !order.is_further_part()) else {
            self.reject(turn, at, RejectReason::UnknownOrder, None);
            return Err(RejectReason::UnknownOrder);
        };
        let there = CabinetRef::new(at.tenant.clone(), to);
        let refused = match order.state.is_to_be_loaded() {
            _ if !cabinets.has(&there) => Some(RejectReason::UnknownCabinet),
            // They stay together, and two cabinets cannot be asked for all or nothing.
            _ if order.part.is_some() => Some(RejectReason::SeveralCompartments),
            false => Some(RejectReason::TooLate),
            true => None,
        };
        if let Some(reason) = refused {
            self.refuse(turn, at, reason);
            return Err(reason);
        }
        if order.cabinet == there.cabinet {
            return Ok(());
        }
        if order.state == OrderState::Created {
            // It is in no book yet.
            order.route_mut();
            order.cabinet = there.cabinet;
            self.tell_again(turn, at);
            return Ok(());
        }
        order.route_mut().moves_to = Some(there.cabinet.clone());
        let reserve = order.reserve();
        self.put_row(turn, at);
        turn.send(Intent::to_cabinet(&there, reserve));
        Ok(())
    }

    /// What the cabinet to which an order is to go says. True where it was that one.
    pub(super) fn moved(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Config,
        at: &OrderRef,
        from: &CabinetRef,
        intent: &OrderIntent,
    ) -> bool {
        let waits = |order: &&mut Order| order.moves_to() == Some(&from.cabinet);
        let Some(order) = self.rows.get_mut(at).filter(waits) else { return false };
        if let OrderIntent::Reserved(reserved) = intent {
            order.route_mut().moves_to = None;
            if matches!(order.state, OrderState::Ready | OrderState::Reserved) {
                let before = std::mem::replace(&mut order.cabinet, from.cabinet.clone());
                order.compartment = Some(reserved.compartment);
                let before = CabinetRef::new(at.tenant.clone(), before);
                turn.send(Intent::to_cabinet(&before, Release { order: at.order.clone() }));
                self.enter(turn, config, at, OrderState::Reserved, Happened::now(turn));
                // Whoever brings it has to go there now.
                self.invite(turn, at);
            } else {
                // It was loaded or cancelled meanwhile.
                self.put_row(turn, at);
                turn.send(Intent::to_cabinet(from, Release { order: at.order.clone() }));
            }
        } else if let OrderIntent::NoRoom(_) = intent {
            order.route_mut().moves_to = None;
            self.put_row(turn, at);
            self.refuse(turn, at, RejectReason::NoFittingCompartment);
        } else {
            // Not yet what it was asked for.
            return false;
        }
        true
    }
}
