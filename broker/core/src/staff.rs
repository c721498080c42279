//! Staff and couriers of a tenant: one PIN and perhaps one badge for each, made by the signer and derived for each cabinet.
//! They are two lists of the same form: nobody of one is ever taken for somebody of the other.

use std::collections::BTreeMap;

use schemas::api::{CourierDetail, Reply, ReplyError, RequestErrorCode, Rfc3339, Scope, StaffDetail};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::ids::{CabinetId, Name, SiteId, TenantId};
use schemas::messages::{BREAK_GLASS_NAME, BY_COMMAND_NAME, BY_COURIER_NAME, CredentialKind, FleetMillis};
use schemas::step::Table;

use crate::deadlines::Deadline;
use crate::effect::{Effect, SecretOf};
use crate::identities::check_scope;
use crate::intents::{CabinetIntent, Disengage, Dismiss, Employ, Engage};
use crate::jobs::Job;
use crate::requests::error;
use crate::signing::{MakeSealed, SignerRequest};
use crate::tables::{COURIERS, STAFF};
use crate::turn::Turn;

/// Members of staff of one tenant, and as many couriers.
const MEMBERS_MAX: usize = 200;
const PIN_DIGITS: u8 = 8;
const PIN_WITHIN_MILLIS: u64 = 40_000;
/// Cabinets that are named as pending, of each member.
const PENDING_SHOWN: usize = 20;

/// Which of the two lists somebody is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Crew {
    Staff,
    Couriers,
}

impl Crew {
    fn table(self) -> Table {
        match self {
            Self::Staff => STAFF,
            Self::Couriers => COURIERS,
        }
    }

    /// What a cabinet has to know of somebody.
    pub(crate) fn hire(self, who: Employ) -> CabinetIntent {
        match self {
            Self::Staff => who.into(),
            Self::Couriers => Engage { who }.into(),
        }
    }

    /// Somebody is gone.
    pub(crate) fn fire(self, name: Name) -> CabinetIntent {
        match self {
            Self::Staff => Dismiss { name }.into(),
            Self::Couriers => Disengage { name }.into(),
        }
    }

    fn unknown(self, name: &Name) -> ReplyError {
        let (text, hint) = match self {
            Self::Staff => (format!("{name} is no member of staff"), "`fleet staff list` shows all of them"),
            Self::Couriers => (format!("{name} is no courier"), "`fleet courier list` shows all of them"),
        };
        error(RequestErrorCode::Unknown, text, hint)
    }

    fn full(self) -> ReplyError {
        let text = match self {
            Self::Staff => format!("the tenant has {MEMBERS_MAX} members of staff"),
            Self::Couriers => format!("the tenant has {MEMBERS_MAX} couriers"),
        };
        error(RequestErrorCode::Conflict, text, "that is the most a cabinet's book takes")
    }

    fn pin_of(self, name: Name) -> SecretOf {
        match self {
            Self::Staff => SecretOf::Pin(name),
            Self::Couriers => SecretOf::CourierPin(name),
        }
    }
}

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
        /// At the cabinets of these sites, or at these cabinets; with neither at all of the tenant. Staff are at all.
        70 opt => sites: Option<Vec<SiteId>>,
        71 opt => cabinets: Option<Vec<CabinetId>>,
    }
}

/// Whose secret of which kind.
type SecretKey = (TenantId, Name, CredentialKind);

pub(crate) struct StaffList {
    crew: Crew,
    rows: BTreeMap<(TenantId, Name), Staff>,
    /// Who waits for a PIN or a badge; of this run only.
    tickets: BTreeMap<SecretKey, u64>,
}

impl StaffList {
    pub(crate) fn new(crew: Crew) -> Self {
        Self { crew, rows: BTreeMap::new(), tickets: BTreeMap::new() }
    }

    pub(crate) fn restore(&mut self, tenant: TenantId, staff: Staff) {
        self.rows.insert((tenant, staff.name.clone()), staff);
    }

    /// Secrets that were to be made when the last run ended.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Job> {
        self.rows.iter().flat_map(|((tenant, name), staff)| {
            let kinds = [CredentialKind::Digits, CredentialKind::Qr];
            let wanted = kinds.into_iter().filter(|kind| staff.wants(*kind));
            wanted.map(|kind| Job::Pin(self.crew, tenant.clone(), name.clone(), kind))
        })
    }

    /// What a new cabinet of the tenant at this site has to know.
    pub(crate) fn of(&self, tenant: &TenantId, cabinet: &CabinetId, site: &SiteId) -> Vec<CabinetIntent> {
        let own = self.rows.iter().filter(|((of, _), _)| of == tenant);
        let here = own.filter(|(_, staff)| staff.scope().covers(cabinet, Some(site)));
        here.filter_map(|(_, staff)| staff.employ()).map(|who| self.crew.hire(who)).collect()
    }

    /// Whether somebody is to be known at this cabinet.
    pub(crate) fn covers(&self, tenant: &TenantId, name: &Name, cabinet: &CabinetId, site: &SiteId) -> bool {
        let staff = self.rows.get(&(tenant.clone(), name.clone()));
        staff.is_some_and(|staff| staff.scope().covers(cabinet, Some(site)))
    }

    /// `courier.add`: as [`Self::add`], with the cabinets where the courier comes.
    pub(crate) fn add_at(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        (until, scope): (Option<FleetMillis>, Scope),
        ticket: u64,
    ) -> Result<(), ReplyError> {
        check_scope(&scope)?;
        self.check_addable(turn, tenant, name, until)?;
        let staff = self.rows.entry((tenant.clone(), name.clone())).or_insert_with(|| Staff::new(name.clone()));
        (staff.sites, staff.cabinets) = match scope {
            Scope::Tenant => (None, None),
            Scope::Sites(sites) => (Some(sites), None),
            Scope::Cabinets(cabinets) => (None, Some(cabinets)),
        };
        self.add(turn, tenant, name, until, ticket)
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
        self.check_addable(turn, tenant, name, until)?;
        let staff = self.rows.entry((tenant.clone(), name.clone())).or_insert_with(|| Staff::new(name.clone()));
        staff.wanted = true;
        staff.until = until;
        self.want(turn, tenant, name, CredentialKind::Digits, ticket);
        Ok(())
    }

    fn check_addable(
        &self,
        turn: &Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        until: Option<FleetMillis>,
    ) -> Result<(), ReplyError> {
        let reserved = match name.as_str() {
            BREAK_GLASS_NAME => Some("whoever comes in by a break-glass code"),
            BY_COMMAND_NAME => Some("whoever has an order loaded from afar"),
            BY_COURIER_NAME => Some("couriers where staff stand else"),
            _ => None,
        };
        if let Some(whose) = reserved {
            let text = format!("{name} is the name of {whose}");
            return Err(error(RequestErrorCode::Malformed, text, "take the person's name"));
        }
        self.check_free(tenant, name, CredentialKind::Digits)?;
        let members = self.rows.keys().filter(|(of, _)| of == tenant).count();
        if members >= MEMBERS_MAX && !self.rows.contains_key(&(tenant.clone(), name.clone())) {
            return Err(self.crew.full());
        }
        if until.is_some_and(|until| until <= turn.now) {
            let text = "the end of the PIN is over already".to_owned();
            let hint = match self.crew {
                Crew::Staff => "`staff.revoke` ends what somebody has",
                Crew::Couriers => "`courier.remove` ends what somebody has",
            };
            return Err(error(RequestErrorCode::Malformed, text, hint));
        }
        Ok(())
    }

    /// `staff.badge` and `courier.badge`. An earlier badge dies.
    pub(crate) fn add_badge(
        &mut self,
        turn: &mut Turn<'_>,
        tenant: &TenantId,
        name: &Name,
        ticket: u64,
    ) -> Result<(), ReplyError> {
        self.check_free(tenant, name, CredentialKind::Qr)?;
        let staff = self.rows.get_mut(&(tenant.clone(), name.clone())).ok_or_else(|| self.crew.unknown(name))?;
        staff.badge_wanted = Some(true);
        self.want(turn, tenant, name, CredentialKind::Qr, ticket);
        Ok(())
    }

    /// `staff.revoke` and `courier.remove`: forgets somebody, whose secrets die at each cabinet with its next book.
    pub(crate) fn revoke(&mut self, turn: &mut Turn<'_>, tenant: &TenantId, name: &Name) -> Result<(), ReplyError> {
        self.rows.remove(&(tenant.clone(), name.clone())).ok_or_else(|| self.crew.unknown(name))?;
        turn.remove(self.crew.table(), row_key(tenant, name));
        for kind in [CredentialKind::Digits, CredentialKind::Qr] {
            turn.not_due(&Deadline::Pin(self.crew, tenant.clone(), name.clone(), kind));
            if let Some(ticket) = self.tickets.remove(&(tenant.clone(), name.clone(), kind)) {
                let (text, hint) = match self.crew {
                    Crew::Staff => (format!("{name} was revoked meanwhile"), "`fleet staff add` employs again"),
                    Crew::Couriers => (format!("{name} was removed meanwhile"), "`fleet courier add` takes them back"),
                };
                let reply = Reply::Error(error(RequestErrorCode::Conflict, text, hint));
                turn.effect(Effect::Reply { ticket, reply });
            }
        }
        Ok(())
    }

    /// `staff.list` and `courier.list`, from the members of the tenant and what its cabinets do not hold yet: whose it is, and whether it is
    /// their end.
    pub(crate) fn list<'a>(
        &self,
        tenant: &TenantId,
        pending: impl Iterator<Item = (&'a CabinetId, &'a Name, bool)>,
    ) -> Vec<CourierDetail> {
        let own = self.rows.iter().filter(|((of, _), _)| of == tenant);
        let mut all: BTreeMap<Name, CourierDetail> =
            own.map(|((_, name), staff)| (name.clone(), staff.detail())).collect();
        for (cabinet, name, gone) in pending {
            let member = all.entry(name.clone()).or_insert_with(|| Staff::new(name.clone()).detail());
            member.removed = gone && !self.rows.contains_key(&(tenant.clone(), name.clone()));
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
            turn.put(self.crew.table(), row_key(tenant, name), staff);
        }
        self.tickets.insert((tenant.clone(), name.clone(), kind), ticket);
        let deadline = Deadline::Pin(self.crew, tenant.clone(), name.clone(), kind);
        turn.due(deadline, turn.now.saturating_add(PIN_WITHIN_MILLIS));
        turn.want(Job::Pin(self.crew, tenant.clone(), name.clone(), kind));
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
        turn.put(self.crew.table(), row_key(tenant, name), staff);
        turn.not_due(&Deadline::Pin(self.crew, tenant.clone(), name.clone(), kind));
        if let Some(ticket) = self.tickets.remove(&(tenant.clone(), name.clone(), kind)) {
            let of = if kind.is_typed() { self.crew.pin_of(name.clone()) } else { SecretOf::Badge(name.clone()) };
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
        Self {
            name,
            serial: 0,
            sealed: None,
            wanted: false,
            until: None,
            badge: None,
            badge_wanted: None,
            sites: None,
            cabinets: None,
        }
    }

    fn wants(&self, kind: CredentialKind) -> bool {
        if kind.is_typed() { self.wanted } else { self.badge_wanted == Some(true) }
    }

    fn employ(&self) -> Option<Employ> {
        let Self { name, serial, until, badge, .. } = self.clone();
        Some(Employ { name, serial, sealed: self.sealed.clone()?, until, badge })
    }

    fn scope(&self) -> Scope {
        match (&self.sites, &self.cabinets) {
            (Some(sites), _) => Scope::Sites(sites.clone()),
            (None, Some(cabinets)) => Scope::Cabinets(cabinets.clone()),
            (None, None) => Scope::Tenant,
        }
    }

    fn detail(&self) -> CourierDetail {
        CourierDetail {
            name: self.name.clone(),
            until: self.until.map(Rfc3339),
            badge: self.badge.is_some(),
            scope: self.scope(),
            removed: false,
            pending_count: 0,
            pending: Vec::new(),
        }
    }
}

fn called(kind: CredentialKind) -> &'static str {
    if kind.is_typed() { "PIN" } else { "badge" }
}

/// What `staff.list` tells of a member of staff.
pub(crate) fn as_staff(member: CourierDetail) -> StaffDetail {
    let CourierDetail { name, until, badge, scope: _, removed, pending_count, pending } = member;
    StaffDetail { name, until, badge, revoked: removed, pending_count, pending }
}

fn row_key(tenant: &TenantId, name: &Name) -> String {
    format!("{tenant}/{name}")
}
