//! Staff take a compartment out of service and back, and work at the doors with a mechanical key.

use schemas::ids::Name;
use schemas::messages::{Compartment, DoorOpened, Maintenance as MaintenanceFact, Service};

use crate::bay::Bay;
use crate::core::CabinetCore;
use crate::records::{LookUse, Purpose};
use crate::turn::Turn;
use crate::{ScreenNote, SessionId, StaffRefusal};

/// Somebody works at the doors: what opens without a pulse was opened by them. Ends with the run, too: whoever goes on behind a
/// power cut says so again.
#[derive(Debug)]
pub(crate) struct Maintenance {
    staff: Name,
    until: u64,
}

impl CabinetCore {
    /// Closed for new loads; what is inside can be collected as ever.
    pub(crate) fn handle_service(&mut self, turn: &mut Turn, session: SessionId, at: Compartment, in_service: bool) {
        if let Some(staff) = self.changed_by(turn, session, at, |bay| &mut bay.withdrawn, !in_service) {
            self.record(turn, Service { compartment: at, staff, in_service });
        }
    }

    /// What staff say of a compartment. Returns who they are, where it was otherwise before.
    pub(crate) fn changed_by(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        at: Compartment,
        of: impl FnOnce(&mut Bay) -> &mut bool,
        said: bool,
    ) -> Option<Name> {
        let known = self
            .staff(session, turn.now)
            .and_then(|staff| self.bays.get_mut(&at).map(|bay| (staff, bay)).ok_or(StaffRefusal::UnknownCompartment));
        match known {
            Err(reason) => {
                turn.note(ScreenNote::StaffRefused { session, reason });
                None
            }
            Ok((staff, bay)) => {
                let changed = std::mem::replace(of(bay), said) != said;
                if changed {
                    self.save_bay(turn, at);
                }
                changed.then_some(staff)
            }
        }
    }

    /// `minutes`: from now on; 0 ends it.
    pub(crate) fn handle_maintenance(&mut self, turn: &mut Turn, session: SessionId, minutes: MaintenanceMinutes) {
        match self.staff(session, turn.now) {
            Err(reason) => turn.note(ScreenNote::StaffRefused { session, reason }),
            Ok(_) if minutes.0 == 0 && self.maintained(turn.now).is_none() => {}
            Ok(staff) => {
                let until = turn.now + u64::from(minutes.0) * 60_000;
                self.maintenance = (minutes.0 > 0).then(|| Maintenance { staff: staff.clone(), until });
                self.record(turn, MaintenanceFact { staff, minutes: u32::from(minutes.0) });
            }
        }
    }

    /// Who works at the doors, and until when.
    pub(crate) fn maintained(&self, now: u64) -> Option<(&Name, u64)> {
        let held = self.maintenance.as_ref().filter(|held| now < held.until)?;
        Some((&held.staff, held.until))
    }

    /// Whoever opened a door by a key is asked what they found as if the lock had opened it for them.
    pub(crate) fn opened_by_key(&mut self, turn: &mut Turn, compartment: Compartment, staff: Name) {
        if let Some(bay) = self.bays.get_mut(&compartment) {
            bay.reopens = None;
        }
        let look = Purpose::from(LookUse { staff });
        self.record(turn, DoorOpened { compartment, by: look.actor() });
        turn.note(ScreenNote::Opened { compartment });
        self.unlocked(turn, compartment, &look, true);
        if self.bays.get(&compartment).is_some_and(|bay| bay.looker.is_none()) {
            self.doubt_unseen(turn, compartment);
        }
    }
}

/// How long somebody may work with a key before they say so again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "u8")]
pub struct MaintenanceMinutes(u8);

impl MaintenanceMinutes {
    pub const MAX: u8 = 240;
}

impl TryFrom<u8> for MaintenanceMinutes {
    type Error = String;

    fn try_from(minutes: u8) -> Result<Self, String> {
        if minutes <= Self::MAX {
            Ok(Self(minutes))
        } else {
            Err(format!("{minutes} minutes, where at most {} can be asked for", Self::MAX))
        }
    }
}
