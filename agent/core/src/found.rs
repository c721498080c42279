//! Staff scan what they have found behind a door: where the book says another order, or none, it is corrected. The same puts an
//! order into another compartment: out of one, into the other, and scanned there.

use schemas::ids::Name;
use schemas::messages::{Attributes, Audited, Compartment, Finding, Found as FoundFact, Occupancy, OrderKey};

use crate::core::CabinetCore;
use crate::records::{Content, Fault, Stored};
use crate::turn::Turn;
use crate::{DoorSeen, ScreenNote, SessionId, StaffRefusal};

impl CabinetCore {
    pub(crate) fn handle_found(&mut self, turn: &mut Turn, session: SessionId, at: Compartment, order: &OrderKey) {
        let done = self.staff(session, turn.now).and_then(|staff| {
            let order = &self.part_found(at, order)?;
            if self.bays.get(&at).is_some_and(|bay| !bay.is_free() && bay.content.order() == Some(order)) {
                return self.take_word(turn, staff, at, true);
            }
            let from = self.found_from(&staff, at, order)?;
            self.found(turn, at, order, from, staff);
            Ok(())
        });
        if let Err(reason) = done {
            turn.note(ScreenNote::StaffRefused { session, reason });
        }
    }

    /// All parts of an order have one label: the one that is booked there, or else one that is nowhere here.
    fn part_found(&self, at: Compartment, label: &OrderKey) -> Result<OrderKey, StaffRefusal> {
        let booked = self.part_meant(label, |part| self.compartment_of(part) == Some(at));
        if self.compartment_of(&booked) == Some(at) {
            return Ok(booked);
        }
        let meant = self.part_meant(label, |part| self.compartment_of(part).is_none());
        let is_part = self.book.orders.get(&meant).is_some_and(|row| row.part.is_some());
        if is_part && self.compartment_of(&meant).is_some() { Err(StaffRefusal::AlreadyHere) } else { Ok(meant) }
    }

    /// Where the book has the order that is in `at`, if anywhere. Only who has looked says so, or who names what nobody had an
    /// explanation for.
    fn found_from(&self, staff: &Name, at: Compartment, order: &OrderKey) -> Result<Option<Compartment>, StaffRefusal> {
        let bay = self.bays.get(&at).ok_or(StaffRefusal::UnknownCompartment)?;
        let looked = bay.looker.as_ref() == Some(staff) || bay.is_free() && bay.audit;
        match &bay.content {
            _ if bay.active.is_some() => return Err(StaffRefusal::Busy),
            _ if bay.seen == DoorSeen::Open => return Err(StaffRefusal::DoorOpen),
            _ if bay.is_shared() => return Err(StaffRefusal::Shared),
            Content::Free(_) | Content::Stored(_) if looked => {}
            Content::Free(_) | Content::Stored(_) => return Err(StaffRefusal::UnknownOrder),
            Content::Loading(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Retrieving(_)
            | Content::Swapping(_)
            | Content::Depositing(_) => return Err(StaffRefusal::Busy),
        }
        if bay.occupancy == Occupancy::Empty {
            return Err(StaffRefusal::SensorDisagrees);
        }
        let row = self.book.orders.get(order);
        // Behind a door of the wrong kind it would be handed out spoilt, or not at all.
        let wants = row.map_or(Attributes::default(), |row| row.wants);
        if !bay.in_service() || !bay.info().attributes.satisfies(wants) {
            return Err(StaffRefusal::NoFittingCompartment);
        }
        let Some(from) = self.compartment_of(order) else {
            let row = row.ok_or(StaffRefusal::UnknownOrder)?;
            return if row.over { Err(StaffRefusal::Over) } else { Ok(None) };
        };
        let other = self.bays.get(&from).ok_or(StaffRefusal::UnknownCompartment)?;
        if other.is_shared() {
            return Err(StaffRefusal::Shared);
        }
        let idle = other.active.is_none() && matches!(other.content, Content::Stored(_));
        if idle { Ok(Some(from)) } else { Err(StaffRefusal::Busy) }
    }

    fn found(&mut self, turn: &mut Turn, at: Compartment, order: &OrderKey, from: Option<Compartment>, staff: Name) {
        let Some(bay) = self.bays.get_mut(&at) else { return };
        let (missed, doubtful) = (bay.content.order().cloned(), std::mem::take(&mut bay.audit));
        bay.fault = bay.fault.filter(|fault| *fault != Fault::PutBack);
        if let Some(missed) = missed {
            self.book.set_missing(turn, &missed, true);
            self.record(
                turn,
                Audited { compartment: at, staff: staff.clone(), found: Finding::Missing, order: Some(missed) },
            );
        }
        if let Some(from) = from {
            let content = self.left_behind(from);
            self.set_content(turn, from, content);
        }
        self.set_content(turn, at, Stored { order: order.clone() });
        self.book.set_missing(turn, order, false);
        self.book.end_deposits(turn, order);
        self.record(turn, FoundFact { order: order.clone(), compartment: at, from, staff: staff.clone() });
        turn.note(ScreenNote::Found { order: order.clone(), compartment: at, from });
        if doubtful {
            let found = Finding::AsBooked;
            self.record(turn, Audited { compartment: at, staff: staff.clone(), found, order: Some(order.clone()) });
        }
        if let Some(from) = from {
            self.left_by_scan(turn, from, staff);
        }
    }

    /// Nobody has looked into the compartment that the book had the order in, but perhaps a sensor.
    fn left_by_scan(&mut self, turn: &mut Turn, from: Compartment, staff: Name) {
        let Some(bay) = self.bays.get_mut(&from) else { return };
        if bay.occupancy == Occupancy::Empty {
            bay.audit = false;
            self.save_bay(turn, from);
            self.record(turn, Audited { compartment: from, staff, found: Finding::AsBooked, order: None });
        } else {
            self.require_audit(turn, from, None);
        }
    }
}
