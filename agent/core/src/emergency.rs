//! All doors, one after another, because of an emergency.
//!
//! Which doors have yet to be opened is kept in memory only: each pulse is journalled like any other, and a run that ends in
//! between leaves the rest closed, because nobody may stand there any more who wants them open.

use std::collections::VecDeque;

use schemas::ids::Name;
use schemas::messages::{Compartment, EmergencyOpened};

use crate::bay::Bay;
use crate::core::CabinetCore;
use crate::records::{Fault, LookUse};
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{DoorSeen, ScreenNote, SessionId, StaffRefusal};

/// Between two doors at least: the supply of a lock board carries one lock at a time.
pub const APART_MILLIS: u64 = 500;

#[derive(Debug, Default)]
pub(crate) struct Emergency {
    staff: Option<Name>,
    waiting: VecDeque<Compartment>,
    next_at: u64,
}

impl Emergency {
    pub(crate) fn deadline(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }

    fn take_due(&mut self, now: u64) -> Option<(Compartment, Name)> {
        let staff = self.staff.clone()?;
        let compartment = if self.next_at <= now { self.waiting.pop_front() } else { None }?;
        self.next_at = now + APART_MILLIS;
        Some((compartment, staff))
    }
}

impl CabinetCore {
    pub(crate) fn handle_open_all(&mut self, turn: &mut Turn, session: SessionId) {
        let staff = match self.staff(session, turn.now) {
            Ok(_) if self.emergency.deadline().is_some() => Err(StaffRefusal::Busy),
            other => other,
        };
        match staff {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok(staff) => {
                let (passed, opened): (Vec<_>, Vec<_>) = self.bays.values().partition(|bay| is_passed_over(bay));
                let [passed_over, compartments] =
                    [passed, opened].map(|bays| bays.into_iter().map(Bay::number).collect::<Vec<_>>());
                self.emergency =
                    Emergency { staff: Some(staff.clone()), waiting: compartments.clone().into(), next_at: turn.now };
                self.record(turn, EmergencyOpened { staff, passed_over: passed_over.clone() });
                turn.note(ScreenNote::OpeningAll { session, compartments, passed_over });
            }
        }
    }

    /// The next door, unless it has been opened meanwhile. What is inside is in doubt from the same step on: nobody watches
    /// so many doors.
    pub(crate) fn emergency_due(&mut self, turn: &mut Turn) {
        let Some((compartment, staff)) = self.emergency.take_due(turn.now) else { return };
        if self.bays.get(&compartment).is_none_or(is_passed_over) {
            return;
        }
        self.end_offer(turn, compartment);
        let order = self.bays.get(&compartment).and_then(|bay| bay.content.order().cloned());
        if order.is_some() {
            self.require_audit(turn, compartment, order);
        }
        self.start_use(turn, compartment, LookUse { staff }.into(), turn.now + PERSON_MILLIS, 1);
    }
}

/// It is open, being opened, or does not open.
fn is_passed_over(bay: &Bay) -> bool {
    let broken = matches!(bay.fault, Some(Fault::Stuck | Fault::WrongDoor));
    bay.seen == DoorSeen::Open || bay.active.is_some() || broken
}
