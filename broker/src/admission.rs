//! Who may connect: registered cabinets, and everyone whom the operators' CA vouches for; nobody with a certificate that
//! is revoked.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemas::api::{Rfc3339, Scope};
use schemas::ids::{CabinetId, Identity, Role, SiteId, TenantId};
use schemas::messages::FleetMillis;

use crate::gate::{Admission, Peer, Refused};

/// What the core told about cabinets and certificates. The gate asks it on every CONNECT.
#[derive(Default)]
pub struct Registry {
    /// And where each stands.
    cabinets: RwLock<BTreeMap<(TenantId, CabinetId), SiteId>>,
    /// Certificates that were issued to an identity up to this moment are void.
    revoked: RwLock<BTreeMap<Identity, FleetMillis>>,
    /// Of those people who have not the whole tenant.
    scopes: RwLock<BTreeMap<Identity, Scope>>,
}

impl Registry {
    pub fn register(&self, tenant: TenantId, cabinet: CabinetId, site: SiteId) {
        self.cabinets.write().unwrap_or_else(PoisonError::into_inner).insert((tenant, cabinet), site);
    }

    /// What somebody sees from now on.
    pub fn scope(&self, identity: Identity, scope: Scope) {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        if scope.is_tenant() {
            scopes.remove(&identity);
        } else {
            scopes.insert(identity, scope);
        }
    }

    /// Every certificate of `identity` that was issued up to `until` is void from now on; an earlier word never takes
    /// back a later one.
    pub fn revoke(&self, identity: Identity, until: FleetMillis) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        let held = revoked.entry(identity).or_insert(until);
        *held = until.max(*held);
    }

    fn knows(&self, tenant: &TenantId, cabinet: &CabinetId) -> bool {
        let cabinets = self.cabinets.read().unwrap_or_else(PoisonError::into_inner);
        cabinets.contains_key(&(tenant.clone(), cabinet.clone()))
    }

    /// Until when certificates of `identity` are void, if that reaches to `issued`.
    fn void_until(&self, identity: &Identity, issued: SystemTime) -> Option<FleetMillis> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.get(identity).copied().filter(|until| issued <= moment(*until))
    }
}

/// A moment of the fleet's clock as the machine's type.
pub(crate) fn moment(at: FleetMillis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at)
}

/// A moment before 1970 counts as 1970.
pub(crate) fn millis(at: SystemTime) -> FleetMillis {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    FleetMillis::try_from(since.as_millis()).unwrap_or(FleetMillis::MAX)
}

impl Admission for Registry {
    fn admit(&self, peer: &Peer) -> Result<(), Refused> {
        let identity = &peer.identity;
        if let Some(until) = self.void_until(identity, peer.issued) {
            let until = Rfc3339(until);
            let reason = format!("certificates of {identity} issued up to {until} are revoked; ask for a new one");
            return Err(Refused { reason });
        }
        match (identity.role, &identity.as_cabinet()) {
            (Role::Cabinet, Some(cabinet)) if self.knows(&identity.tenant, cabinet) => Ok(()),
            (Role::Cabinet, _) => {
                Err(Refused { reason: "this cabinet is not registered; add it with `fleet cabinet add`".into() })
            }
            (Role::Server, _) => Err(Refused { reason: "a server does not connect to the gate".into() }),
            (
                Role::Integration | Role::Operator | Role::Staff | Role::Support | Role::Technician | Role::Auditor,
                _,
            ) => Ok(()),
        }
    }

    fn sees(&self, who: &Identity, cabinet: &CabinetId) -> bool {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(scope) = scopes.get(who) else { return true };
        let cabinets = self.cabinets.read().unwrap_or_else(PoisonError::into_inner);
        scope.covers(cabinet, cabinets.get(&(who.tenant.clone(), cabinet.clone())))
    }
}

#[cfg(test)]
mod tests {
    use certs::Fingerprint;

    use super::*;

    const REVOKED_AT: FleetMillis = 1_795_378_500_700;

    fn peer(identity: &str, issued: FleetMillis) -> Peer {
        let issued = moment(issued);
        let expires = issued + Duration::from_secs(86_400);
        Peer { identity: identity.parse().unwrap(), fingerprint: Fingerprint([0; 32]), issued, expires }
    }

    #[test]
    fn only_registered_cabinets_and_people_are_admitted() {
        let registry = Registry::default();
        registry.register("acme".parse().unwrap(), "c1".parse().unwrap(), "mall".parse().unwrap());
        for (identity, admitted) in [
            ("cabinet:acme:c1", true),
            ("cabinet:acme:c2", false),
            ("cabinet:umbra:c1", false),
            ("operator:acme:eve", true),
            ("integration:acme:shop", true),
            ("server:acme:s1", false),
        ] {
            assert_eq!(registry.admit(&peer(identity, REVOKED_AT)).is_ok(), admitted, "{identity}");
        }
    }

    #[test]
    fn certificates_issued_up_to_a_revocation_are_void_and_a_later_one_works() {
        let registry = Registry::default();
        registry.register("acme".parse().unwrap(), "c1".parse().unwrap(), "mall".parse().unwrap());
        for identity in ["cabinet:acme:c1", "operator:acme:eve", "integration:acme:shop"] {
            registry.revoke(identity.parse().unwrap(), REVOKED_AT);
            // The seconds of a certificate: one that was issued within the same second counts as before.
            for (issued, admitted) in [
                (REVOKED_AT - 86_400_000, false),
                (REVOKED_AT - 700, false),
                (REVOKED_AT, false),
                (REVOKED_AT + 300, true),
            ] {
                assert_eq!(registry.admit(&peer(identity, issued)).is_ok(), admitted, "{identity} {issued}");
            }
        }
        let refused = registry.admit(&peer("operator:acme:eve", REVOKED_AT)).unwrap_err();
        assert!(refused.reason.contains("operator:acme:eve") && refused.reason.contains("2026-11-22T"), "{refused}");
        assert!(registry.admit(&peer("operator:acme:bob", REVOKED_AT)).is_ok(), "somebody else was shut out");
        assert!(registry.admit(&peer("support:acme:eve", REVOKED_AT)).is_ok(), "the name in another role is another");
    }

    #[test]
    fn an_earlier_revocation_takes_nothing_back_of_a_later_one() {
        let registry = Registry::default();
        registry.revoke("operator:acme:eve".parse().unwrap(), REVOKED_AT);
        registry.revoke("operator:acme:eve".parse().unwrap(), REVOKED_AT - 5_000);
        assert!(registry.admit(&peer("operator:acme:eve", REVOKED_AT - 1_000)).is_err());
    }

    #[test]
    fn a_scope_leaves_out_cabinets_until_it_is_widened() {
        let registry = Registry::default();
        for (cabinet, site) in [("c1", "mall"), ("c2", "port")] {
            registry.register("acme".parse().unwrap(), cabinet.parse().unwrap(), site.parse().unwrap());
        }
        let (tom, tim): (Identity, Identity) =
            ("technician:acme:tom".parse().unwrap(), "technician:acme:tim".parse().unwrap());
        let seen = |who: &Identity| ["c1", "c2", "c3"].map(|cabinet| registry.sees(who, &cabinet.parse().unwrap()));
        assert_eq!(seen(&tom), [true; 3]);
        registry.scope(tom.clone(), Scope::Sites(vec!["mall".parse().unwrap()]));
        assert_eq!((seen(&tom), seen(&tim)), ([true, false, false], [true; 3]));
        registry.scope(tom.clone(), Scope::Cabinets(vec!["c3".parse().unwrap()]));
        assert_eq!(seen(&tom), [false, false, true]);
        registry.scope(tom.clone(), Scope::Tenant);
        assert_eq!(seen(&tom), [true; 3]);
    }
}
