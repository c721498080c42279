//! Staff look into a compartment, and say what they find: the step of the audit round.

use schemas::ids::Name;
use schemas::messages::{Audited, Cleaning, Compartment, Finding, Occupancy};

use crate::core::CabinetCore;
use crate::records::{Content, Fault, LookUse};
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{DoorSeen, ScreenNote, SessionId, StaffRefusal};

impl CabinetCore {
    pub(crate) fn handle_look(&mut self, turn: &mut Turn, session: SessionId, compartment: Compartment) {
        let looker = self.staff(session, turn.now).and_then(|staff| {
            let bay = self.bays.get(&compartment).ok_or(StaffRefusal::UnknownCompartment)?;
            let idle = bay.active.is_none() && bay.content.may_be_looked_into();
            idle.then(|| (staff, bay.content.order().cloned())).ok_or(StaffRefusal::Busy)
        });
        match looker {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok((staff, order)) => {
                turn.note(ScreenNote::Looking { session, compartment, order });
                self.start_use(turn, compartment, LookUse { staff }.into(), turn.now + PERSON_MILLIS, 1);
            }
        }
    }

    pub(crate) fn handle_cleaning(&mut self, turn: &mut Turn, session: SessionId, at: Compartment, needed: bool) {
        if let Some(staff) = self.changed_by(turn, session, at, |bay| &mut bay.needs_cleaning, needed) {
            self.record(turn, Cleaning { compartment: at, staff, needed });
        }
    }

    /// The door was unlocked for somebody who looks inside. Until it is known what they found, nothing is loaded there.
    pub(crate) fn looks(&mut self, turn: &mut Turn, compartment: Compartment, staff: Name) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        (bay.looker, bay.found) = (Some(staff), 0);
        let blind = bay.seen == DoorSeen::Unknown;
        self.save_bay(turn, compartment);
        if blind {
            self.ask_found(turn, compartment);
        }
    }

    /// Whoever looked has closed the door. A sensor's word for an empty compartment is theirs as well; about an order only
    /// they can say that it is the right one.
    pub(crate) fn looked(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get(&compartment) else { return };
        let Some(staff) = bay.looker.clone() else { return };
        match (&bay.content, bay.occupancy) {
            (Content::Free(_), Occupancy::Empty) => self.audited(turn, compartment, Finding::AsBooked, staff),
            (Content::Free(_), Occupancy::Occupied) => self.audited(turn, compartment, Finding::Occupied, staff),
            (content, occupancy) => {
                let gone = content.order().filter(|_| occupancy == Occupancy::Empty).cloned();
                if gone.is_some() {
                    self.require_audit(turn, compartment, gone);
                }
                self.ask_found(turn, compartment);
            }
        }
    }

    fn ask_found(&self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get(&compartment) else { return };
        let order = bay.content.order().cloned();
        self.name_others(turn, compartment);
        turn.note(ScreenNote::AskFound { compartment, order });
    }

    /// One of several orders is missing: whoever looked says of each of the others whether it is there.
    fn look_for_the_others(&mut self, turn: &mut Turn, compartment: Compartment, staff: Name, found: u32) {
        let Some(bay) = self.bays.get_mut(&compartment).filter(|bay| !bay.is_free()) else { return };
        if usize::try_from(found).is_ok_and(|found| found >= bay.orders().count()) {
            // They have said so of all that are left.
            return self.audited_as_booked(turn, compartment, staff);
        }
        (bay.looker, bay.found) = (Some(staff), found);
        let order = bay.content.order().cloned();
        self.save_bay(turn, compartment);
        self.require_audit(turn, compartment, order);
        self.ask_found(turn, compartment);
    }

    /// The word of staff. A doubt may end by it alone, unless a sensor contradicts; who says that the book is wrong must
    /// have had the door opened.
    pub(crate) fn confirm_found(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        inside: bool,
        staff: Name,
    ) -> Result<(), StaffRefusal> {
        let bay = self.bays.get(&compartment).ok_or(StaffRefusal::UnknownCompartment)?;
        let found = match (bay.is_free(), inside) {
            (true, false) | (false, true) => Finding::AsBooked,
            (true, true) => Finding::Occupied,
            (false, false) => Finding::Missing,
        };
        let asked = bay.looker.is_some() || bay.audit && found == Finding::AsBooked;
        let contrary = if inside { Occupancy::Empty } else { Occupancy::Occupied };
        if !asked {
            return Err(StaffRefusal::UnknownOrder);
        }
        if found == Finding::AsBooked && bay.occupancy == contrary {
            return Err(StaffRefusal::SensorDisagrees);
        }
        self.audited(turn, compartment, found, staff);
        Ok(())
    }

    /// What is inside is what the book says, all of it.
    pub(crate) fn audited_as_booked(&mut self, turn: &mut Turn, compartment: Compartment, staff: Name) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let orders: Vec<_> = if bay.is_free() { vec![None] } else { bay.orders().cloned().map(Some).collect() };
        (bay.looker, bay.found, bay.audit) = (None, 0, false);
        bay.fault = bay.fault.filter(|fault| *fault != Fault::PutBack);
        self.save_bay(turn, compartment);
        for order in orders {
            self.record(turn, Audited { compartment, staff: staff.clone(), found: Finding::AsBooked, order });
        }
        turn.note(ScreenNote::Audited { compartment, found: Finding::AsBooked });
    }

    fn audited(&mut self, turn: &mut Turn, compartment: Compartment, found: Finding, staff: Name) {
        match found {
            // Of several orders they say it one by one.
            Finding::AsBooked => match self.ask_about_next(turn, compartment, &staff) {
                Some(_) => self.ask_found(turn, compartment),
                None => self.audited_as_booked(turn, compartment, staff),
            },
            Finding::Occupied | Finding::Missing => self.audited_otherwise(turn, compartment, found, staff),
        }
    }

    fn audited_otherwise(&mut self, turn: &mut Turn, compartment: Compartment, found: Finding, staff: Name) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let (order, before) = (bay.content.order().cloned(), bay.found);
        bay.looker = None;
        bay.audit = found == Finding::Occupied;
        if found != Finding::Occupied && !bay.is_shared() {
            bay.fault = bay.fault.filter(|fault| *fault != Fault::PutBack);
        }
        self.record(turn, Audited { compartment, staff: staff.clone(), found, order: order.clone() });
        turn.note(ScreenNote::Audited { compartment, found });
        match order.filter(|_| found == Finding::Missing) {
            Some(order) => {
                self.book.set_missing(turn, &order, true);
                let content = self.left_behind(compartment);
                self.set_content(turn, compartment, content);
                self.doubt_what_is_left(turn, compartment, None);
                self.look_for_the_others(turn, compartment, staff, before);
            }
            None => self.save_bay(turn, compartment),
        }
    }
}
