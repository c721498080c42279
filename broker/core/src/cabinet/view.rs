//! What people see of a cabinet.

use schemas::api::{AlarmSeen, CabinetDetail, CabinetHealth, CabinetSummary, CompartmentDetail, Rfc3339};
use schemas::messages::{CompartmentInfo, DoorState, Occupancy};

use crate::cabinet::Cabinet;
use crate::cabinet::records::Inside;

impl Cabinet {
    pub(crate) fn summary(&self) -> CabinetSummary {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        CabinetSummary {
            cabinet: self.at.cabinet.clone(),
            site: self.registration.site.clone(),
            place: self.registration.place.clone(),
            online: self.is_online(),
            last_seen: self.progress.last_seen.map(Rfc3339),
            compartments: count(self.said.compartments.len()),
            free: count(self.free()),
            agent: self.said.agent.clone(),
        }
    }

    pub(crate) fn health(&self, alarm: Option<AlarmSeen>) -> CabinetHealth {
        CabinetHealth {
            cabinet: self.at.cabinet.clone(),
            online: self.is_online(),
            last_seen: self.progress.last_seen.map(Rfc3339),
            agent: self.said.agent.clone(),
            book_wanted: self.book_wanted(),
            book_held: self.progress.held,
            keyset_held: self.said.keyset,
            disk_low: self.disk_low,
            alarm,
        }
    }

    /// What is still at the signer will be in the next version: until then not everything is in force.
    fn book_wanted(&self) -> u64 {
        self.progress.wanted + u64::from(self.lacks_verifiers())
    }

    pub(crate) fn detail(&self) -> CabinetDetail {
        CabinetDetail {
            summary: self.summary(),
            instance: self.registration.instance,
            book_wanted: self.book_wanted(),
            book_held: self.progress.held,
            keyset_held: self.said.keyset,
            events: self.progress.high_water,
            compartments: self.said.compartments.iter().map(|info| self.compartment_detail(info)).collect(),
            wipe: self.wipe_detail(),
        }
    }

    /// The order is the one inside, or else the one that the compartment is kept for.
    fn compartment_detail(&self, info: &CompartmentInfo) -> CompartmentDetail {
        let (door, occupancy) =
            self.doors.get(&info.number).copied().unwrap_or((DoorState::Unknown, Occupancy::Unknown));
        CompartmentDetail {
            number: info.number,
            size: info.size,
            attributes: info.attributes.into(),
            in_service: info.in_service
                && self.inside.get(&info.number).is_none_or(|inside| inside.withdrawn != Some(true)),
            door,
            occupancy,
            order: self.inside(info.number).cloned().or_else(|| self.kept_for(info.number)),
            beside: self.inside.get(&info.number).and_then(|inside| inside.beside.clone()).unwrap_or_default(),
            audit_required: self.inside.get(&info.number).is_some_and(Inside::needs_look),
            needs_cleaning: self.inside.get(&info.number).is_some_and(|inside| inside.needs_cleaning == Some(true)),
            fault: self.faulty.contains(&info.number),
        }
    }
}
