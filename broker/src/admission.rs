//! Who may connect: registered cabinets, and everyone whom the operators' CA vouches for.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use certs::Fingerprint;
use schemas::ids::{CabinetId, Identity, Role, TenantId};

use crate::gate::{Admission, Refused};

/// The registered cabinets, as the core told.
#[derive(Default)]
pub struct Registry {
    cabinets: RwLock<BTreeSet<(TenantId, CabinetId)>>,
}

impl Registry {
    pub fn register(&self, tenant: TenantId, cabinet: CabinetId) {
        self.cabinets.write().unwrap_or_else(PoisonError::into_inner).insert((tenant, cabinet));
    }

    fn knows(&self, tenant: &TenantId, cabinet: &CabinetId) -> bool {
        let cabinets = self.cabinets.read().unwrap_or_else(PoisonError::into_inner);
        cabinets.contains(&(tenant.clone(), cabinet.clone()))
    }
}

impl Admission for Registry {
    fn admit(&self, identity: &Identity, _fingerprint: &Fingerprint) -> Result<(), Refused> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_cabinets_and_people_are_admitted() {
        let registry = Registry::default();
        registry.register("acme".parse().unwrap(), "c1".parse().unwrap());
        let print = Fingerprint([0; 32]);
        for (identity, admitted) in [
            ("cabinet:acme:c1", true),
            ("cabinet:acme:c2", false),
            ("cabinet:umbra:c1", false),
            ("operator:acme:eve", true),
            ("integration:acme:shop", true),
            ("server:acme:s1", false),
        ] {
            assert_eq!(registry.admit(&identity.parse().unwrap(), &print).is_ok(), admitted, "{identity}");
        }
    }
}
