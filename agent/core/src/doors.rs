//! What the door sensors say: opened by whom, forced, the wrong one, left open.

use schemas::ids::Name;
use schemas::messages::{
    Compartment, DoorClosed, DoorForced, DoorHeldOpen, DoorOpened, HeldStage, Occupancy, UnlockOutcome, WrongDoor,
};

use crate::bay::{Held, OpenDoor, Phase};
use crate::core::CabinetCore;
use crate::records::{Fault, Purpose};
use crate::turn::Turn;
use crate::{DoorSeen, ScreenNote};

impl CabinetCore {
    pub(crate) fn handle_door(&mut self, turn: &mut Turn, compartment: Compartment, door: DoorSeen, told: Occupancy) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        bay.occupancy = bay.sensed(told);
        bay.seen = door;
        let just_closed = match (bay.was_open, door) {
            (_, DoorSeen::Unknown) => false,
            (Some(true), DoorSeen::Open) => {
                self.stands_open(turn.now, compartment, false);
                false
            }
            (None | Some(false), DoorSeen::Open) => {
                self.opened(turn, compartment);
                false
            }
            (Some(true), DoorSeen::Closed) => {
                self.closed(turn, compartment);
                true
            }
            (None | Some(false), DoorSeen::Closed) => {
                self.found_closed(turn, compartment);
                false
            }
        };
        if door != DoorSeen::Unknown {
            self.settle_former_use(turn, compartment);
        }
        if door == DoorSeen::Closed {
            self.settle_content(turn, compartment, just_closed);
        }
    }

    /// The first certain word of a door after a restart settles what a former run had journalled; if that is that the
    /// door has just opened, `opened` has done it already. A closed door may have been opened and closed meanwhile.
    fn settle_former_use(&mut self, turn: &mut Turn, compartment: Compartment) {
        let recovering = |bay: &crate::bay::Bay| {
            bay.active.as_ref().is_some_and(|active| matches!(active.phase, Phase::Recovering { .. }))
        };
        if self.bays.get(&compartment).is_some_and(recovering) {
            self.settle(turn, compartment, UnlockOutcome::OutcomeUnknown);
        }
    }

    fn opened(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let known_closed = bay.was_open == Some(false);
        bay.was_open = Some(true);
        let active = bay.active.as_ref().map(|active| active.row.purpose.actor());
        let late = bay.late_purpose(turn.now);
        self.save_bay(turn, compartment);
        if let Some(by) = active {
            self.stands_open(turn.now, compartment, false);
            self.record(turn, DoorOpened { compartment, by });
            turn.note(ScreenNote::Opened { compartment });
            self.settle(turn, compartment, UnlockOutcome::Opened);
        } else if let Some(late) = late {
            self.stands_open(turn.now, compartment, false);
            let purpose = self.purpose_of_late_door(turn, compartment, late);
            let wanted = matches!(purpose, Purpose::Command(_)) || self.still_entitled(compartment, &purpose);
            self.record(turn, DoorOpened { compartment, by: purpose.actor() });
            turn.note(ScreenNote::Opened { compartment });
            self.unlocked(turn, compartment, &purpose, true);
            if !wanted {
                // Given up a moment ago; whoever still stands there may do what they came for.
                self.doubt_unseen(turn, compartment);
            }
        } else if let Some(staff) = self.holder_of_key(turn.now).filter(|_| known_closed) {
            self.stands_open(turn.now, compartment, false);
            self.opened_by_key(turn, compartment, staff);
        } else if known_closed {
            self.stands_open(turn.now, compartment, true);
            self.opened_without_right(turn, compartment);
        } else {
            // Never seen before: it may have been open for days.
            self.stands_open(turn.now, compartment, false);
        }
    }

    /// What a door was opened for that opened long behind its pulse. If something else is wanted of it by now, people stand
    /// there for that. Nobody needs another try.
    fn purpose_of_late_door(&mut self, turn: &mut Turn, compartment: Compartment, late: Purpose) -> Purpose {
        let offer = self.take_offer(turn, compartment);
        match offer {
            Some(offer) if !self.still_entitled(compartment, &late) => offer.row.purpose,
            Some(_) | None => late,
        }
    }

    /// The bus has seen it in two polls. If a pulse of ours is waiting for its own door just now, this is its work.
    fn opened_without_right(&mut self, turn: &mut Turn, opened: Compartment) {
        if let Some(bay) = self.bays.get_mut(&opened) {
            bay.reopens = None;
        }
        match self.awaited_door() {
            Some(pulsed) => {
                let active = self.bays.get(&pulsed).and_then(|bay| bay.active.as_ref());
                let by = active.map(|active| active.row.purpose.actor());
                self.record(turn, WrongDoor { pulsed, opened, by });
                for compartment in [pulsed, opened] {
                    if let Some(bay) = self.bays.get_mut(&compartment) {
                        // The next opening ends a wrong door, and only staff end the doubt about what is behind it.
                        bay.fault = bay.fault.filter(|fault| *fault == Fault::PutBack).or(Some(Fault::WrongDoor));
                    }
                    self.save_bay(turn, compartment);
                }
            }
            None => {
                self.record(turn, DoorForced { compartment: opened });
                self.doubt_unseen(turn, opened);
            }
        }
    }

    /// A pulse that waits for its door explains more than a key does.
    fn holder_of_key(&self, now: u64) -> Option<Name> {
        let (staff, _) = self.maintained(now).filter(|_| self.awaited_door().is_none())?;
        Some(staff.clone())
    }

    /// Something may have been taken out or put in, and no sensor will tell.
    pub(crate) fn doubt_unseen(&mut self, turn: &mut Turn, compartment: Compartment) {
        if let Some(bay) = self.bays.get(&compartment).filter(|bay| !bay.sees_inside()) {
            let order = bay.content.order().cloned();
            self.require_audit(turn, compartment, order);
        }
    }

    /// The compartment of the newest pulse that is sent and not yet seen to open its door.
    fn awaited_door(&self) -> Option<Compartment> {
        let sent = self.bays.iter().filter_map(|(compartment, bay)| match bay.active.as_ref()?.phase {
            Phase::Sent { at } => Some((at, *compartment)),
            Phase::Pulsing { .. } | Phase::Recovering { .. } => None,
        });
        sent.max().map(|(_, compartment)| compartment)
    }

    fn closed(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        bay.was_open = Some(false);
        bay.open_door = None;
        // Its pulse has been used: what opens now, opens by another right or by force.
        bay.last_pulse = None;
        let occupancy = bay.occupancy;
        self.save_bay(turn, compartment);
        self.record(turn, DoorClosed { compartment, occupancy });
        turn.note(ScreenNote::Closed { compartment });
        self.closed_under_pulse(turn, compartment);
    }

    /// A door that closes while a sent pulse waits for it was open all the time: nobody can say what the pulse did.
    fn closed_under_pulse(&mut self, turn: &mut Turn, compartment: Compartment) {
        let active = self.bays.get(&compartment).and_then(|bay| bay.active.as_ref());
        if active.is_some_and(|active| matches!(active.phase, Phase::Sent { .. })) {
            self.settle(turn, compartment, UnlockOutcome::OutcomeUnknown);
        }
    }

    fn found_closed(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        if bay.was_open.is_none() {
            bay.was_open = Some(false);
            self.save_bay(turn, compartment);
        }
    }

    fn stands_open(&mut self, now: u64, compartment: Compartment, forced: bool) {
        if let Some(bay) = self.bays.get_mut(&compartment) {
            bay.open_door.get_or_insert(OpenDoor { since: now, held: Held::JustOpen, forced });
        }
    }

    /// Beep, tell staff, tell a technician. Nothing is ever freed by time.
    pub(crate) fn held_due(&mut self, turn: &mut Turn, compartment: Compartment) {
        while let Some(bay) = self.bays.get_mut(&compartment)
            && let Some(door) = &mut bay.open_door
            && let Some((next, after)) = door.held.next()
            && turn.now >= door.since + after
        {
            door.held = next;
            match next {
                Held::Beeped => turn.note(ScreenNote::Beep { compartment }),
                Held::Staff => self.record(turn, DoorHeldOpen { compartment, stage: HeldStage::Staff }),
                Held::Technician => self.record(turn, DoorHeldOpen { compartment, stage: HeldStage::Technician }),
                Held::JustOpen => {}
            }
        }
    }
}
