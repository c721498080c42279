//! The rules of time that orders follow: one set per tenant, with a version that grows.

mod row;

use std::collections::BTreeMap;

use schemas::api::{Policies, PolicyDetail, ReplyError, RequestErrorCode, Rfc3339};
use schemas::ids::{Identity, TenantId};

use crate::requests::error;
use crate::tables::{OrderRef, POLICIES};
use crate::turn::Turn;

pub(crate) use row::PolicyRow;

/// Policies in force, with the version that orders remember.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    /// 0: the defaults.
    pub(crate) version: u64,
    pub(crate) policies: &'a Policies,
}

struct Kept {
    row: PolicyRow,
    policies: Policies,
}

#[derive(Default)]
pub(crate) struct PolicyBook {
    defaults: Policies,
    kept: BTreeMap<TenantId, Kept>,
    /// Tenants whose stored orders are being moved to the newest policies, and the order that was looked at last.
    sweeps: BTreeMap<TenantId, Option<OrderRef>>,
}

impl PolicyBook {
    pub(crate) fn restore(&mut self, tenant: TenantId, row: PolicyRow, policies: Policies) {
        self.kept.insert(tenant, Kept { row, policies });
    }

    pub(crate) fn of(&self, tenant: &TenantId) -> InForce<'_> {
        match self.kept.get(tenant) {
            Some(kept) => InForce { version: kept.row.version, policies: &kept.policies },
            None => InForce { version: 0, policies: &self.defaults },
        }
    }

    pub(crate) fn detail(&self, tenant: &TenantId) -> PolicyDetail {
        let InForce { version, policies } = self.of(tenant);
        let row = self.kept.get(tenant).map(|kept| &kept.row);
        PolicyDetail {
            version,
            by: row.map(|row| row.by.clone()),
            at: row.map(|row| Rfc3339(row.at)),
            policies: policies.clone(),
        }
    }

    /// Takes policies in the place of version `replaces`. The same again is taken as said once: its answer was lost.
    pub(crate) fn put(
        &mut self,
        turn: &mut Turn<'_>,
        by: &Identity,
        replaces: u64,
        policies: Policies,
        live: bool,
    ) -> Result<(), ReplyError> {
        let policies = checked(policies)?;
        let held = self.of(&by.tenant).version;
        if let Some(kept) = self.kept.get(&by.tenant)
            && kept.row == PolicyRow::new(replaces.saturating_add(1), kept.row.at, by.clone(), &policies, live)
        {
            return Ok(());
        }
        if replaces != held {
            let text = format!("the policies are at version {held}, these would replace version {replaces}");
            let hint = "`fleet policy show` writes the newest ones: make the change there";
            return Err(error(RequestErrorCode::Conflict, text, hint));
        }
        if self.sweeps.contains_key(&by.tenant) {
            let text = format!("stored orders are being moved to version {held}");
            return Err(error(RequestErrorCode::Conflict, text, "ask again in a minute"));
        }
        let row = PolicyRow::new(held.saturating_add(1), turn.now, by.clone(), &policies, live);
        turn.put(POLICIES, by.tenant.as_str(), &row);
        self.kept.insert(by.tenant.clone(), Kept { row, policies });
        if live {
            self.begin_sweep(&by.tenant);
        }
        Ok(())
    }

    /// The version that stored orders of the tenant have to follow, if they have to.
    pub(crate) fn live_version(&self, tenant: &TenantId) -> Option<u64> {
        self.kept.get(tenant).filter(|kept| kept.row.live).map(|kept| kept.row.version)
    }

    pub(crate) fn begin_sweep(&mut self, tenant: &TenantId) {
        self.sweeps.insert(tenant.clone(), None);
    }

    /// The order that was looked at last, if a sweep goes on.
    pub(crate) fn swept_to(&self, tenant: &TenantId) -> Option<Option<OrderRef>> {
        self.sweeps.get(tenant).cloned()
    }

    pub(crate) fn sweep_on(&mut self, tenant: &TenantId, last: OrderRef) {
        self.sweeps.insert(tenant.clone(), Some(last));
    }

    pub(crate) fn end_sweep(&mut self, tenant: &TenantId) {
        self.sweeps.remove(tenant);
    }

    pub(crate) fn sweeping(&self) -> impl Iterator<Item = &TenantId> {
        self.sweeps.keys()
    }
}

/// Policies with nothing left out, unless they contradict themselves.
pub(crate) fn checked(policies: Policies) -> Result<Policies, ReplyError> {
    let hint = "`fleet policy show` writes some that hold together";
    let policies = policies.filled();
    policies.check().map_err(|why| error(RequestErrorCode::Malformed, why.to_string(), hint))?;
    Ok(policies)
}
