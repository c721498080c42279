//! Who was seen with which certificate, whose certificates are void, and what of the tenant a person sees.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use schemas::api::{
    CertificateDetail, CertificateId, IdentityDetail, IdentityPage, ReplyError, RequestErrorCode, RevocationDetail,
    Rfc3339, Scope,
};
use schemas::cbor_map;
use schemas::ids::{CabinetId, Identity, Name, Role, SiteId, TenantId};
use schemas::messages::FleetMillis;

use crate::effect::Effect;
use crate::input::CertificateSeen;
use crate::requests::error;
use crate::tables::IDENTITIES;
use crate::turn::Turn;

/// Identities that are remembered. The one that was away for longest makes room, but never one that is revoked or has a
/// scope.
const IDENTITIES_MAX: usize = 100_000;
/// Certificates of one identity that are remembered.
const CERTIFICATES_MAX: usize = 4;
/// When a certificate was last seen is written at most this often: a storm of reconnections costs no commits.
const SEEN_EVERY_MILLIS: u64 = 24 * 60 * 60 * 1_000;
/// Sites or cabinets of one person's scope.
const SCOPE_MAX: usize = 200;
/// Identities in an answer to `identity.list`.
const PAGE: usize = 100;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Certificate {
        1 => id: CertificateId,
        2 => issued: FleetMillis,
        3 => expires: FleetMillis,
        4 => first_seen: FleetMillis,
        5 => last_seen: FleetMillis,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Revocation {
        1 => until: FleetMillis,
        2 => at: FleetMillis,
        3 => by: Identity,
        4 => reason: String,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct IdentityRow {
        1 => certificates: Vec<Certificate>,
        2 opt => revocation: Option<Revocation>,
        /// At most one of the two; neither is the whole tenant.
        3 opt => sites: Option<Vec<SiteId>>,
        4 opt => cabinets: Option<Vec<CabinetId>>,
    }
}

#[derive(Default)]
pub(crate) struct Identities {
    known: BTreeMap<Identity, Known>,
}

struct Known {
    row: IdentityRow,
    /// When the row was last written, as far as this run knows.
    written: FleetMillis,
}

impl Identities {
    pub(crate) fn restore(&mut self, identity: Identity, row: IdentityRow) {
        let written = row.last_seen();
        self.known.insert(identity, Known { row, written });
    }

    /// Up to when certificates are void, by identity.
    pub(crate) fn revocations(&self) -> impl Iterator<Item = (&Identity, FleetMillis)> {
        self.known.iter().filter_map(|(identity, known)| Some((identity, known.row.revocation.as_ref()?.until)))
    }

    /// Up to when certificates of `identity` are void, 0 for none.
    pub(crate) fn void_until(&self, identity: &Identity) -> FleetMillis {
        let revocation = self.known.get(identity).and_then(|known| known.row.revocation.as_ref());
        revocation.map_or(0, |revocation| revocation.until)
    }

    /// Whether nobody can be `identity` any more. What it asked just before its connection was cut is not done.
    pub(crate) fn is_shut_out(&self, identity: &Identity) -> bool {
        let Some(Known { row, .. }) = self.known.get(identity) else { return false };
        row.revocation.as_ref().is_some_and(|revocation| row.newest_issue() <= Some(revocation.until))
    }

    pub(crate) fn knows(&self, identity: &Identity) -> bool {
        self.known.contains_key(identity)
    }

    /// The integration of a tenant, if there is one only.
    pub(crate) fn only_integration(&self, tenant: &TenantId) -> Option<Name> {
        let own = self.known.keys().filter(|one| one.role == Role::Integration && one.tenant == *tenant);
        let mut live = own.filter(|one| !self.is_shut_out(one));
        match (live.next(), live.next()) {
            (Some(only), None) => Some(only.name.clone()),
            (Some(_) | None, _) => None,
        }
    }

    /// Tenants of which an integration is known.
    pub(crate) fn tenants_with_integrations(&self) -> BTreeSet<TenantId> {
        let integrations = self.known.keys().filter(|one| one.role == Role::Integration);
        integrations.map(|one| one.tenant.clone()).collect()
    }

    /// What each person who has not the whole tenant sees.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = (&Identity, Scope)> {
        let scoped = self.known.iter().map(|(identity, known)| (identity, known.row.scope()));
        scoped.filter(|(_, scope)| !scope.is_tenant())
    }

    pub(crate) fn scope(&self, identity: &Identity) -> Scope {
        self.known.get(identity).map(|known| known.row.scope()).unwrap_or_default()
    }

    /// Somebody was let in with this certificate.
    pub(crate) fn admitted(&mut self, turn: &mut Turn<'_>, who: Identity, seen: CertificateSeen) {
        let now = turn.now;
        let Some(known) = self.remember(turn, &who) else { return };
        let is_new = known.row.see(seen, now);
        if is_new || now.saturating_sub(known.written) >= SEEN_EVERY_MILLIS {
            known.write(turn, &who);
        }
    }

    /// `identity.revoke`.
    pub(crate) fn revoke(
        &mut self,
        turn: &mut Turn<'_>,
        by: &Identity,
        identity: Identity,
        reason: String,
    ) -> Result<IdentityDetail, ReplyError> {
        check_revocable(by, &identity)?;
        // The clock that issues may be ahead of the fleet's: a certificate that was seen is void in any case.
        let seen = self.known.get(&identity).and_then(|known| known.row.newest_issue()).unwrap_or(0);
        let until = turn.now.max(seen);
        self.void(turn, by, identity, reason, until)
    }

    /// What was issued to `identity` up to `until` is void; an earlier word takes back nothing of a later one.
    pub(crate) fn void(
        &mut self,
        turn: &mut Turn<'_>,
        by: &Identity,
        identity: Identity,
        reason: String,
        until: FleetMillis,
    ) -> Result<IdentityDetail, ReplyError> {
        let known = self.remember(turn, &identity).ok_or_else(full)?;
        let until = known.row.revocation.as_ref().map_or(until, |before| before.until.max(until));
        known.row.revocation = Some(Revocation { until, at: turn.now, by: by.clone(), reason });
        known.write(turn, &identity);
        turn.effect(Effect::Revoked { identity: identity.clone(), until });
        Ok(known.row.detail(&identity))
    }

    /// `person.scope`.
    pub(crate) fn set_scope(
        &mut self,
        turn: &mut Turn<'_>,
        by: &Identity,
        identity: Identity,
        scope: Scope,
    ) -> Result<IdentityDetail, ReplyError> {
        check_scopable(by, &identity)?;
        check_scope(&scope)?;
        let known = self.remember(turn, &identity).ok_or_else(full)?;
        (known.row.sites, known.row.cabinets) = match scope.clone() {
            Scope::Tenant => (None, None),
            Scope::Sites(sites) => (Some(sites), None),
            Scope::Cabinets(cabinets) => (None, Some(cabinets)),
        };
        known.write(turn, &identity);
        turn.effect(Effect::Scoped { identity: identity.clone(), scope });
        Ok(known.row.detail(&identity))
    }

    /// `identity.list`.
    pub(crate) fn page(&self, tenant: &TenantId, role: Option<Role>, after: Option<&Identity>) -> IdentityPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.known.range::<Identity, _>((from, Bound::Unbounded));
        let asked =
            behind.filter(|(identity, _)| identity.tenant == *tenant && role.is_none_or(|role| identity.role == role));
        let mut identities: Vec<_> = asked.take(PAGE + 1).map(|(identity, known)| known.row.detail(identity)).collect();
        let more = identities.len() > PAGE;
        identities.truncate(PAGE);
        IdentityPage { identities, more }
    }

    /// The row of `identity`, a new one if there is none; `None` if there is no room for it.
    fn remember(&mut self, turn: &mut Turn<'_>, identity: &Identity) -> Option<&mut Known> {
        if !self.known.contains_key(identity) && !self.make_room(turn) {
            return None;
        }
        let fresh = || Known { row: IdentityRow::default(), written: turn.now };
        Some(self.known.entry(identity.clone()).or_insert_with(fresh))
    }

    /// Forgets whoever was away for longest, if there are too many; false if nobody may be forgotten.
    fn make_room(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.known.len() < IDENTITIES_MAX {
            return true;
        }
        let idle =
            self.known.iter().filter(|(_, known)| known.row.revocation.is_none() && known.row.scope().is_tenant());
        let Some(idle) = idle.min_by_key(|(_, known)| known.row.last_seen()).map(|(identity, _)| identity.clone())
        else {
            return false;
        };
        turn.remove(IDENTITIES, row_key(&idle));
        self.known.remove(&idle);
        true
    }
}

impl Known {
    fn write(&mut self, turn: &mut Turn<'_>, identity: &Identity) {
        self.written = turn.now;
        turn.put(IDENTITIES, row_key(identity), &self.row);
    }
}

impl IdentityRow {
    fn last_seen(&self) -> FleetMillis {
        self.certificates.iter().map(|certificate| certificate.last_seen).max().unwrap_or(0)
    }

    fn scope(&self) -> Scope {
        match (&self.sites, &self.cabinets) {
            (Some(sites), _) => Scope::Sites(sites.clone()),
            (None, Some(cabinets)) => Scope::Cabinets(cabinets.clone()),
            (None, None) => Scope::Tenant,
        }
    }

    fn newest_issue(&self) -> Option<FleetMillis> {
        self.certificates.iter().map(|certificate| certificate.issued).max()
    }

    /// True if the certificate was not known.
    fn see(&mut self, seen: CertificateSeen, now: FleetMillis) -> bool {
        if let Some(known) = self.certificates.iter_mut().find(|known| known.id == seen.id) {
            known.last_seen = now;
            return false;
        }
        let CertificateSeen { id, issued, expires } = seen;
        self.certificates.push(Certificate { id, issued, expires, first_seen: now, last_seen: now });
        self.certificates.sort_by_key(|certificate| std::cmp::Reverse((certificate.issued, certificate.id)));
        // The oldest one goes, but not the one that is in use now.
        if self.certificates.len() > CERTIFICATES_MAX
            && let Some(oldest) = self.certificates.iter().rposition(|certificate| certificate.id != id)
        {
            self.certificates.remove(oldest);
        }
        true
    }

    fn detail(&self, identity: &Identity) -> IdentityDetail {
        let until = self.revocation.as_ref().map(|revocation| revocation.until);
        let certificate = |known: &Certificate| CertificateDetail {
            certificate: known.id,
            issued: Rfc3339(known.issued),
            expires: Rfc3339(known.expires),
            first_seen: Rfc3339(known.first_seen),
            last_seen: Rfc3339(known.last_seen),
            revoked: Some(known.issued) <= until,
        };
        IdentityDetail {
            identity: identity.clone(),
            certificates: self.certificates.iter().map(certificate).collect(),
            revocation: self.revocation.as_ref().map(Revocation::detail),
            scope: self.scope(),
        }
    }
}

impl Revocation {
    fn detail(&self) -> RevocationDetail {
        RevocationDetail {
            until: Rfc3339(self.until),
            at: Rfc3339(self.at),
            by: self.by.clone(),
            reason: self.reason.clone(),
        }
    }
}

fn check_revocable(by: &Identity, identity: &Identity) -> Result<(), ReplyError> {
    check_tenant(by, identity)?;
    if identity.role == Role::Server {
        let text = "a server's certificate is not revoked here: clients ask nobody about it".to_owned();
        return Err(error(RequestErrorCode::Refused, text, "replace its key, and trust another root if it was stolen"));
    }
    // So the last operator cannot be revoked: whoever is revoked leaves the one who asked.
    if identity == by {
        let text = "an operator cannot revoke himself: the fleet could be left without one".to_owned();
        return Err(error(RequestErrorCode::Refused, text, "ask another operator"));
    }
    Ok(())
}

fn check_tenant(by: &Identity, identity: &Identity) -> Result<(), ReplyError> {
    if identity.tenant == by.tenant {
        return Ok(());
    }
    let text = format!("{identity} is of another tenant");
    Err(error(RequestErrorCode::Forbidden, text, "ask an operator of that tenant"))
}

fn check_scopable(by: &Identity, identity: &Identity) -> Result<(), ReplyError> {
    check_tenant(by, identity)?;
    if !identity.role.is_person() {
        let text = format!("{identity} is no person");
        return Err(error(RequestErrorCode::Refused, text, "a machine sees what is its own"));
    }
    // So there is always an operator for the whole tenant.
    if identity == by {
        let text = "an operator cannot limit himself: nobody could be left for the whole tenant".to_owned();
        return Err(error(RequestErrorCode::Refused, text, "ask another operator"));
    }
    Ok(())
}

pub(crate) fn check_scope(scope: &Scope) -> Result<(), ReplyError> {
    let count = match scope {
        Scope::Tenant => return Ok(()),
        Scope::Sites(sites) => sites.len(),
        Scope::Cabinets(cabinets) => cabinets.len(),
    };
    if (1..=SCOPE_MAX).contains(&count) {
        return Ok(());
    }
    let text = format!("a scope names 1 to {SCOPE_MAX} sites or cabinets");
    Err(error(
        RequestErrorCode::Malformed,
        text,
        "revoke whoever is to see nothing; name sites instead of many cabinets",
    ))
}

fn full() -> ReplyError {
    let text = format!("{IDENTITIES_MAX} identities are revoked or have a scope");
    error(RequestErrorCode::Unavailable, text, "give some the whole tenant again")
}

fn row_key(identity: &Identity) -> String {
    format!("{}/{}/{}", identity.tenant, identity.role, identity.name)
}
