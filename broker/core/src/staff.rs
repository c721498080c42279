//! Staff of a tenant: one PIN for all its cabinets, made once by the signer and derived for each cabinet.

use std::collections::BTreeMap;

use schemas::api::{Reply, ReplyError, RequestErrorCode};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{Name, TenantId};
use schemas::messages::CredentialKind;

use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::intents::Employ;
use crate::jobs::Job;
use crate::requests::error;
use crate::signing::{MakeSealed, SignerRequest};
use crate::tables::STAFF;
use crate::turn::Turn;

/// Members of staff of one tenant.
const STAFF_MAX: usize = 200;
const PIN_DIGITS: u8 = 8;
const PIN_WITHIN_MILLIS: u64 = 40_000;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Staff {
        1 => name: Name,
        /// Which PIN of this person; 0 before the first.
        2 => serial: u32,
        3 opt => sealed: Option<Blob>,
        /// A new PIN is to be made.
        4 => wanted: bool,
    }
}

#[derive(Default)]
pub(crate) struct StaffList {
    rows: BTreeMap<(TenantId, Name), Staff>,
    /// Who waits for a PIN; of this run only.
    tickets: BTreeMap<(TenantId, Name), u64>,
}

impl StaffList {
    pub(crate) fn restore(&mut self, tenant: TenantId, staff: Staff) {
        self.rows.insert((tenant, staff.name.clone()), staff);
    }

    /// PINs that were to be made when the last run ended.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Job> {
        let wanted = self.rows.iter().filter(|(_, staff)| staff.wanted);
        wanted.map(|((tenant, name), _)| Job::Pin(tenant.clone(), name.clone()))
    }

    /// What a new cabinet of the tenant has to know.
    pub(crate) fn of(&self, tenant: &TenantId) -> Vec<Employ> {
        let own = self.rows.iter().filter(|((of, _), _)| of == tenant);
        own.filter_map(|(_, staff)| staff.employ()).collect()
    }

    /// `staff.add`. For a name that is known it makes a new PIN, and the old one dies: who lost the first answer can
    /// ask again.
    pub(crate) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        ticket: u64,
    ) -> Result<(), ReplyError> {
        let key = (tenant.clone(), name.clone());
        if self.tickets.contains_key(&key) {
            let text = format!("a PIN for {name} is being made");
            return Err(error(RequestErrorCode::Conflict, text, "wait for its answer"));
        }
        let members = self.rows.keys().filter(|(of, _)| of == tenant).count();
        if members >= STAFF_MAX && !self.rows.contains_key(&key) {
            let text = format!("the tenant has {STAFF_MAX} members of staff");
            return Err(error(RequestErrorCode::Conflict, text, "that is the most a cabinet's book takes"));
        }
        let staff = Staff { name: name.clone(), serial: 0, sealed: None, wanted: true };
        let staff = self.rows.entry(key.clone()).or_insert(staff);
        staff.wanted = true;
        turn.put(STAFF, row_key(tenant, name), staff);
        self.tickets.insert(key, ticket);
        turn.due(Deadline::Pin(tenant.clone(), name.clone()), turn.now.saturating_add(PIN_WITHIN_MILLIS));
        turn.want(Job::Pin(tenant.clone(), name.clone()));
        Ok(())
    }

    pub(crate) fn next_pin(&self, tenant: &TenantId, name: &Name) -> Option<SignerRequest> {
        self.rows.get(&(tenant.clone(), name.clone())).filter(|staff| staff.wanted)?;
        Some(MakeSealed { tenant: tenant.clone(), kind: CredentialKind::Digits, digits: PIN_DIGITS }.into())
    }

    /// The signer made a PIN. Returns what the tenant's cabinets have to know.
    pub(crate) fn pin_made(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        sealed: Blob,
    ) -> Option<Employ> {
        let key = (tenant.clone(), name.clone());
        let staff = self.rows.get_mut(&key).filter(|staff| staff.wanted)?;
        staff.serial = staff.serial.saturating_add(1);
        staff.sealed = Some(sealed.clone());
        staff.wanted = false;
        turn.put(STAFF, row_key(tenant, name), staff);
        turn.not_due(&Deadline::Pin(tenant.clone(), name.clone()));
        if let Some(ticket) = self.tickets.remove(&key) {
            turn.effect(Effect::ReplyPin { ticket, tenant: tenant.clone(), name: name.clone(), sealed });
        }
        staff.employ()
    }

    /// No PIN came in time. It is made all the same; asking again shows a new one.
    pub(crate) fn pin_late(&mut self, turn: &mut Turn<'_>, tenant: TenantId, name: Name) {
        if let Some(ticket) = self.tickets.remove(&(tenant, name)) {
            let text = "the signer has not made the PIN in time".to_owned();
            let reply = Reply::Error(error(RequestErrorCode::Timeout, text, "ask again once the signer works"));
            turn.effect(Effect::Reply { ticket, reply });
        }
    }
}

impl Staff {
    fn employ(&self) -> Option<Employ> {
        Some(Employ { name: self.name.clone(), serial: self.serial, sealed: self.sealed.clone()? })
    }
}

fn row_key(tenant: &TenantId, name: &Name) -> String {
    format!("{tenant}/{name}")
}
