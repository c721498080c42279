//! Staff of a tenant: one PIN and perhaps one badge for all its cabinets, made by the signer and derived for each cabinet.

use std::collections::BTreeMap;

use schemas::api::{Reply, ReplyError, RequestErrorCode, Rfc3339, StaffDetail};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{CabinetId, Name, TenantId};
use schemas::messages::{BREAK_GLASS_NAME, BY_COMMAND_NAME, CredentialKind, FleetMillis};

use crate::deadlines::Deadline;
use crate::effect::{Effect, SecretOf};
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
/// Cabinets that are named as pending, of each member.
const PENDING_SHOWN: usize = 20;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Staff {
        1 => name: Name,
        /// Grows with each PIN and each badge of this person; 0 before the first.
        2 => serial: u32,
        3 opt => sealed: Option<Blob>,
        /// A new PIN is to be made.
        4 => wanted: bool,
        5 opt => until: Option<FleetMillis>,
        6 opt => badge: Option<Blob>,
        /// A new badge is to be made.
        7 opt => badge_wanted: Option<bool>,
    }
}

/// Whose secret of which kind.
type SecretKey = (TenantId, Name, CredentialKind);

#[derive(Default)]
pub(crate) struct StaffList {
    rows: BTreeMap<(TenantId, Name), Staff>,
    /// Who waits for a PIN or a badge; of this run only.
    tickets: BTreeMap<SecretKey, u64>,
}

impl StaffList {
    pub(crate) fn restore(&mut self, tenant: TenantId, staff: Staff) {
        self.rows.insert((tenant, staff.name.clone()), staff);
    }

    /// Secrets that were to be made when the last run ended.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Job> {
        self.rows.iter().flat_map(|((tenant, name), staff)| {
            let kinds = [CredentialKind::Digits, CredentialKind::Qr];
            let wanted = kinds.into_iter().filter(|kind| staff.wants(*kind));
            wanted.map(|kind| Job::Pin(tenant.clone(), name.clone(), kind))
        })
    }

    /// What a new cabinet of the tenant has to know.
    pub(crate) fn of(&self, tenant: &TenantId) -> Vec<Employ> {
        let own = self.rows.iter().filter(|((of, _), _)| of == tenant);
        own.filter_map(|(_, staff)| staff.employ()).collect()
    }

    /// `staff.add`. For a name that is known it makes a new PIN, and the old one dies: who lost the first answer can
    /// ask again. A badge stays.
    pub(crate) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        until: Option<FleetMillis>,
        ticket: u64,
    ) -> Result<(), ReplyError> {
        let key = (tenant.clone(), name.clone());
        if name.as_str() == BREAK_GLASS_NAME {
            let text = format!("{name} is the name of whoever comes in by a break-glass code");
            return Err(error(RequestErrorCode::Malformed, text, "take the person's name"));
        }
        if name.as_str() == BY_COMMAND_NAME {
            let text = format!("{name} is the name of whoever has an order loaded from afar");
            return Err(error(RequestErrorCode::Malformed, text, "take the person's name"));
        }
        self.check_free(tenant, name, CredentialKind::Digits)?;
        let members = self.rows.keys().filter(|(of, _)| of == tenant).count();
        if members >= STAFF_MAX && !self.rows.contains_key(&key) {
            let text = format!("the tenant has {STAFF_MAX} members of staff");
            return Err(error(RequestErrorCode::Conflict, text, "that is the most a cabinet's book takes"));
        }
        if until.is_some_and(|until| until <= turn.now) {
            let text = "the end of the PIN is over already".to_owned();
            return Err(error(RequestErrorCode::Malformed, text, "`staff.revoke` ends what somebody has"));
        }
        let staff = self.rows.entry(key).or_insert_with(|| Staff::new(name.clone()));
        staff.wanted = true;
        staff.until = until;
        self.want(turn, tenant, name, CredentialKind::Digits, ticket);
        Ok(())
    }

    /// `staff.badge`. An earlier badge dies.
    pub(crate) fn add_badge(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        ticket: u64,
    ) -> Result<(), ReplyError> {
        self.check_free(tenant, name, CredentialKind::Qr)?;
        let staff = self.rows.get_mut(&(tenant.clone(), name.clone())).ok_or_else(|| unknown(name))?;
        staff.badge_wanted = Some(true);
        self.want(turn, tenant, name, CredentialKind::Qr, ticket);
        Ok(())
    }

    /// `staff.revoke`: forgets somebody, whose secrets die at each cabinet with its next book.
    pub(crate) fn revoke(&mut self, turn: &mut Turn<'_>, tenant: &TenantId, name: &Name) -> Result<(), ReplyError> {
        self.rows.remove(&(tenant.clone(), name.clone())).ok_or_else(|| unknown(name))?;
        turn.remove(STAFF, row_key(tenant, name));
        for kind in [CredentialKind::Digits, CredentialKind::Qr] {
            turn.not_due(&Deadline::Pin(tenant.clone(), name.clone(), kind));
            if let Some(ticket) = self.tickets.remove(&(tenant.clone(), name.clone(), kind)) {
                let text = format!("{name} was revoked meanwhile");
                let reply = Reply::Error(error(RequestErrorCode::Conflict, text, "`fleet staff add` employs again"));
                turn.effect(Effect::Reply { ticket, reply });
            }
        }
        Ok(())
    }

    /// `staff.list`, from the members of the tenant and what its cabinets do not hold yet: whose it is, and whether it is
    /// their end.
    pub(crate) fn list<'a>(
        &self,
        tenant: &TenantId,
        pending: impl Iterator<Item = (&'a CabinetId, &'a Name, bool)>,
    ) -> Vec<StaffDetail> {
        let own = self.rows.iter().filter(|((of, _), _)| of == tenant);
        let mut all: BTreeMap<Name, StaffDetail> =
            own.map(|((_, name), staff)| (name.clone(), staff.detail())).collect();
        for (cabinet, name, gone) in pending {
            let member = all.entry(name.clone()).or_insert_with(|| Staff::new(name.clone()).detail());
            member.revoked = gone && !self.rows.contains_key(&(tenant.clone(), name.clone()));
            member.pending_count = member.pending_count.saturating_add(1);
            if member.pending.len() < PENDING_SHOWN {
                member.pending.push(cabinet.clone());
            }
        }
        all.into_values().collect()
    }

    fn check_free(&self, tenant: &TenantId, name: &Name, kind: CredentialKind) -> Result<(), ReplyError> {
        if !self.tickets.contains_key(&(tenant.clone(), name.clone(), kind)) {
            return Ok(());
        }
        let text = format!("a {} for {name} is being made", called(kind));
        Err(error(RequestErrorCode::Conflict, text, "wait for its answer"))
    }

    fn want(&mut self, turn: &mut Turn<'_>, tenant: &TenantId, name: &Name, kind: CredentialKind, ticket: u64) {
        if let Some(staff) = self.rows.get(&(tenant.clone(), name.clone())) {
            turn.put(STAFF, row_key(tenant, name), staff);
        }
        self.tickets.insert((tenant.clone(), name.clone(), kind), ticket);
        let deadline = Deadline::Pin(tenant.clone(), name.clone(), kind);
        turn.due(deadline, turn.now.saturating_add(PIN_WITHIN_MILLIS));
        turn.want(Job::Pin(tenant.clone(), name.clone(), kind));
    }

    pub(crate) fn next_secret(&self, tenant: &TenantId, name: &Name, kind: CredentialKind) -> Option<SignerRequest> {
        self.rows.get(&(tenant.clone(), name.clone())).filter(|staff| staff.wants(kind))?;
        let digits = if kind.is_typed() { PIN_DIGITS } else { 0 };
        Some(MakeSealed { tenant: tenant.clone(), kind, digits }.into())
    }

    /// The signer made a PIN or a badge. Returns what the tenant's cabinets have to know.
    pub(crate) fn secret_made(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        kind: CredentialKind,
        sealed: Blob,
    ) -> Option<Employ> {
        let staff = self.rows.get_mut(&(tenant.clone(), name.clone())).filter(|staff| staff.wants(kind))?;
        staff.serial = staff.serial.saturating_add(1);
        if kind.is_typed() {
            (staff.sealed, staff.wanted) = (Some(sealed.clone()), false);
        } else {
            (staff.badge, staff.badge_wanted) = (Some(sealed.clone()), None);
        }
        turn.put(STAFF, row_key(tenant, name), staff);
        turn.not_due(&Deadline::Pin(tenant.clone(), name.clone(), kind));
        if let Some(ticket) = self.tickets.remove(&(tenant.clone(), name.clone(), kind)) {
            let of = if kind.is_typed() { SecretOf::Pin(name.clone()) } else { SecretOf::Badge(name.clone()) };
            turn.effect(Effect::ReplySecret { ticket, tenant: tenant.clone(), of, sealed });
        }
        staff.employ()
    }

    /// No secret came in time. It is made all the same; asking again shows a new one.
    pub(crate) fn secret_late(&mut self, turn: &mut Turn<'_>, tenant: TenantId, name: Name, kind: CredentialKind) {
        if let Some(ticket) = self.tickets.remove(&(tenant, name, kind)) {
            let text = format!("the signer has not made the {} in time", called(kind));
            let reply = Reply::Error(error(RequestErrorCode::Timeout, text, "ask again once the signer works"));
            turn.effect(Effect::Reply { ticket, reply });
        }
    }
}

impl Staff {
    fn new(name: Name) -> Self {
        Self { name, serial: 0, sealed: None, wanted: false, until: None, badge: None, badge_wanted: None }
    }

    fn wants(&self, kind: CredentialKind) -> bool {
        if kind.is_typed() { self.wanted } else { self.badge_wanted == Some(true) }
    }

    fn employ(&self) -> Option<Employ> {
        let Self { name, serial, until, badge, .. } = self.clone();
        Some(Employ { name, serial, sealed: self.sealed.clone()?, until, badge })
    }

    fn detail(&self) -> StaffDetail {
        StaffDetail {
            name: self.name.clone(),
            until: self.until.map(Rfc3339),
            badge: self.badge.is_some(),
            revoked: false,
            pending_count: 0,
            pending: Vec::new(),
        }
    }
}

fn called(kind: CredentialKind) -> &'static str {
    if kind.is_typed() { "PIN" } else { "badge" }
}

fn unknown(name: &Name) -> ReplyError {
    let text = format!("{name} is no member of staff");
    error(RequestErrorCode::Unknown, text, "`fleet staff list` shows all of them")
}

fn row_key(tenant: &TenantId, name: &Name) -> String {
    format!("{tenant}/{name}")
}
