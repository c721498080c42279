//! Staff exchange two stored orders: both doors open, and nothing counts until both are closed and staff have said what they did.

use schemas::ids::Name;
use schemas::messages::{Audited, Compartment, Finding, Occupancy, OrderKey, Swapped};

use crate::bay::Bay;
use crate::core::CabinetCore;
use crate::entry::DOOR_MILLIS;
use crate::records::{Content, Stored, SwapUse, Swapping};
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{DoorSeen, ScreenNote, SessionId, StaffRefusal};

impl CabinetCore {
    pub(crate) fn handle_swap(&mut self, turn: &mut Turn, session: SessionId, one: Compartment, other: Compartment) {
        let pair = self.staff(session, turn.now).and_then(|staff| {
            let orders = (self.swappable(one, other)?, self.swappable(other, one)?);
            Ok((staff, orders))
        });
        match pair {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok((staff, (order, other_order))) => {
                turn.note(ScreenNote::Swapping { session, compartments: [one, other] });
                for (ahead, (at, with, order)) in (0..).zip([(one, other, order), (other, one, other_order)]) {
                    self.end_offer(turn, at);
                    // From here on neither code opens: whose goods lie where is staff's knowledge alone.
                    let swapping = Swapping { order: order.clone(), with, staff: staff.clone(), opened: false };
                    self.set_content(turn, at, swapping);
                    let purpose = SwapUse { staff: staff.clone(), order }.into();
                    self.start_use(turn, at, purpose, turn.now + PERSON_MILLIS + ahead * DOOR_MILLIS, 1);
                }
            }
        }
    }

    /// The order in `from`, if nothing speaks against having it in `to`.
    fn swappable(&self, from: Compartment, to: Compartment) -> Result<OrderKey, StaffRefusal> {
        let [bay, room] = self.both(from, to)?;
        let Content::Stored(held) = &bay.content else { return Err(StaffRefusal::UnknownOrder) };
        if bay.active.is_some() {
            return Err(StaffRefusal::Busy);
        }
        if bay.is_in_doubt() {
            return Err(StaffRefusal::InDoubt);
        }
        if bay.is_shared() {
            return Err(StaffRefusal::Shared);
        }
        let row = self.book.orders.get(&held.order).ok_or(StaffRefusal::UnknownOrder)?;
        let fits = room.size() >= row.size && room.info().attributes.satisfies(row.wants);
        if fits { Ok(held.order.clone()) } else { Err(StaffRefusal::NoFittingCompartment) }
    }

    fn both(&self, one: Compartment, other: Compartment) -> Result<[&Bay; 2], StaffRefusal> {
        match (self.bays.get(&one), self.bays.get(&other)) {
            (Some(first), Some(second)) if one != other => Ok([first, second]),
            (Some(_), Some(_)) | (None, _) | (_, None) => Err(StaffRefusal::UnknownCompartment),
        }
    }

    pub(crate) fn handle_confirm_swap(&mut self, turn: &mut Turn, session: SessionId, at: Compartment, swapped: bool) {
        let done = self.staff(session, turn.now).and_then(|staff| {
            if swapped {
                let (other, orders) = self.swapped(at)?;
                return Ok((staff, other, Some(orders)));
            }
            Ok((staff, self.not_swapped(at)?, None))
        });
        match done {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok((staff, other, Some([one_order, other_order]))) => {
                self.store_swapped(turn, at, other_order.clone());
                self.store_swapped(turn, other, one_order.clone());
                let fact = Swapped { one: one_order, one_in: other, other: other_order, other_in: at, staff };
                self.record(turn, fact);
                turn.note(ScreenNote::SwapOver { compartments: [at, other], swapped });
            }
            Ok((staff, other, None)) => {
                if self.bays.get(&other).and_then(Bay::swaps_with) == Some(at) {
                    self.store_unswapped(turn, other, staff.clone());
                }
                self.store_unswapped(turn, at, staff);
                turn.note(ScreenNote::SwapOver { compartments: [at, other], swapped });
            }
        }
    }

    /// Both are in the middle of it, both were opened and are closed, and no sensor misses anything.
    fn swapped(&self, at: Compartment) -> Result<(Compartment, [OrderKey; 2]), StaffRefusal> {
        let bay = self.bays.get(&at).ok_or(StaffRefusal::UnknownCompartment)?;
        let Content::Swapping(mine) = &bay.content else { return Err(StaffRefusal::UnknownOrder) };
        let [bay, partner] = self.both(at, mine.with)?;
        let Content::Swapping(theirs) = &partner.content else { return Err(StaffRefusal::UnknownOrder) };
        if theirs.with != at || !mine.opened || !theirs.opened {
            return Err(StaffRefusal::UnknownOrder);
        }
        for bay in [bay, partner] {
            is_at_rest(bay)?;
            if bay.occupancy == Occupancy::Empty {
                return Err(StaffRefusal::SensorDisagrees);
            }
        }
        Ok((mine.with, [mine.order.clone(), theirs.order.clone()]))
    }

    /// This one is in the middle of it and was opened. The other one may have been given up, because its door sticks.
    fn not_swapped(&self, at: Compartment) -> Result<Compartment, StaffRefusal> {
        let bay = self.bays.get(&at).ok_or(StaffRefusal::UnknownCompartment)?;
        let Content::Swapping(mine) = &bay.content else { return Err(StaffRefusal::UnknownOrder) };
        is_at_rest(bay)?;
        if let Some(partner) = self.bays.get(&mine.with).filter(|partner| partner.swaps_with() == Some(at)) {
            is_at_rest(partner)?;
        }
        Ok(mine.with)
    }

    fn store_swapped(&mut self, turn: &mut Turn, compartment: Compartment, order: OrderKey) {
        if let Some(bay) = self.bays.get_mut(&compartment) {
            bay.audit = false;
        }
        self.set_content(turn, compartment, Stored { order });
    }

    /// As it was before, by the word of staff, which also ends a doubt; but for a sensor that misses the order.
    fn store_unswapped(&mut self, turn: &mut Turn, compartment: Compartment, staff: Name) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let Content::Swapping(Swapping { order, .. }) = bay.content.clone() else { return };
        let empty = bay.occupancy == Occupancy::Empty;
        let confirmed = !empty && std::mem::take(&mut bay.audit);
        self.set_content(turn, compartment, Stored { order: order.clone() });
        if confirmed {
            self.record(turn, Audited { compartment, staff, found: Finding::AsBooked, order: Some(order) });
        } else if empty {
            self.require_audit(turn, compartment, Some(order));
        }
    }

    /// A run ended in the middle: nobody knows by now which order lies where, or whether both do.
    pub(crate) fn doubt_swaps(&mut self, turn: &mut Turn) {
        let swapping = self.bays.values().filter(|bay| bay.swaps_with().is_some());
        let doubtful: Vec<_> = swapping.map(|bay| (bay.number(), bay.content.order().cloned())).collect();
        doubtful.into_iter().for_each(|(compartment, order)| self.require_audit(turn, compartment, order));
    }

    /// One of the two doors has closed: once both have, staff are asked.
    pub(crate) fn ask_swapped(&self, turn: &mut Turn, at: Compartment) {
        if let Ok((with, _)) = self.swapped(at) {
            turn.note(ScreenNote::AskSwapped { compartments: [at, with] });
        }
    }
}

fn is_at_rest(bay: &Bay) -> Result<(), StaffRefusal> {
    match bay.seen {
        _ if bay.active.is_some() => Err(StaffRefusal::Busy),
        DoorSeen::Open => Err(StaffRefusal::DoorOpen),
        DoorSeen::Closed | DoorSeen::Unknown => Ok(()),
    }
}
