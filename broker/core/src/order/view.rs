//! What people and integrations see of orders.

use std::collections::BTreeSet;

use schemas::api::{OrderDetail, OrderState, OrderSummary, Rfc3339};
use schemas::ids::{CabinetId, Name, TenantId};

use crate::order::{Order, Orders};
use crate::tables::{CabinetRef, OrderRef};

/// Orders in one answer at most, the newest ones: the answer has to stay a message.
const LIST_MAX: usize = 100;

impl Orders {
    /// Newest orders of a tenant, perhaps of one integration only, as far as cabinet and state pass.
    pub(crate) fn list(
        &self,
        tenant: &TenantId,
        integration: Option<&Name>,
        passes: impl Fn(&CabinetId, OrderState) -> bool,
    ) -> Vec<OrderSummary> {
        let listed = self.rows.iter().filter(|(at, order)| {
            at.tenant == *tenant
                && !order.is_further_part()
                && integration.is_none_or(|only| at.order.integration == *only)
                && self.whole(at).is_some_and(|(state, _)| passes(&order.cabinet, state))
        });
        let mut newest = BTreeSet::new();
        for (at, order) in listed {
            newest.insert((order.since, at));
            if newest.len() > LIST_MAX {
                newest.pop_first();
            }
        }
        newest.into_iter().rev().filter_map(|(_, at)| Some(self.summary(at, self.find(at)?))).collect()
    }

    pub(crate) fn detail(&self, at: &OrderRef) -> Option<OrderDetail> {
        self.find(at).map(|order| OrderDetail {
            summary: self.summary(at, order),
            size: order.size,
            parts: self.part_statuses(at),
            history: order.history.iter().map(|passed| (passed.state, Rfc3339(passed.at))).collect(),
            notified: order.notified,
            content: Some(order.content.clone()),
            revoke_pending: false,
            second_factor: order.prompt(),
            staff_release: order.staff_release == Some(true),
            shares: order.shares.as_deref().cloned(),
            courier: order.courier.as_deref().cloned(),
            intervened: order.closed.as_ref().or(order.quarantine.as_ref()).map(|one| one.shown()),
        })
    }

    fn summary(&self, at: &OrderRef, order: &Order) -> OrderSummary {
        let (state, until) = self.whole(at).unwrap_or((order.state, None));
        let cabinet = CabinetRef::new(at.tenant.clone(), order.cabinet.clone());
        OrderSummary {
            order: order.order.clone(),
            state,
            cabinet: order.cabinet.clone(),
            compartment: order.compartment,
            since: Rfc3339(order.since),
            until: until.map(Rfc3339),
            until_local: self.sites.until_local(&cabinet, until),
        }
    }
}
