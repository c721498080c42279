//! What other policies do to orders that are stored already. Nothing by themselves: an operator says so.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use schemas::api::{OrderState, Policies, PolicyChange};
use schemas::ids::TenantId;
use schemas::messages::{Category, OrderKey};

use crate::config::Config;
use crate::deadlines::Deadline;
use crate::order::window::Window;
use crate::order::{Happened, Order, Orders};
use crate::policy::InForce;
use crate::tables::OrderRef;
use crate::turn::Turn;

/// Orders that are moved in one step at most.
const AT_ONCE: usize = 200;
/// Orders of a category that a preview names.
const NAMED: usize = 20;

impl Orders {
    /// The window that an order would have by these policies, and by the hours that its site has now.
    fn window_under(&self, at: &OrderRef, order: &Order, policy: InForce<'_>, now: u64) -> Option<Window> {
        let (window, site) = (order.window.as_ref()?, self.site_of(at));
        Some(window.under(policy, policy.policies.of(order.category), now, site.as_deref()))
    }

    /// Which stored orders these policies would change. Names orders by their keys, the first ones. One that fills several
    /// compartments is one order, whichever of them would be kept for another time.
    pub(crate) fn preview(&self, turn: &Turn<'_>, tenant: &TenantId, policies: &Policies) -> Vec<PolicyChange> {
        let policy = InForce { version: 0, policies };
        let mut changed: BTreeMap<&OrderKey, (Category, bool)> = BTreeMap::new();
        for (at, order) in self.rows.iter().filter(|(at, _)| at.tenant == *tenant) {
            let (Some(window), Some(next)) = (&order.window, self.window_under(at, order, policy, turn.now)) else {
                continue;
            };
            // Reminders, and whether its code needs a known time, are changes too.
            if (Window { policy: next.policy, ..(**window).clone() }) == next {
                continue;
            }
            let named = order.part.as_ref().map_or(&at.order, |part| &part.of.whole);
            let (_, overdue) = changed.entry(named).or_insert((order.category, false));
            *overdue |= order.state == OrderState::Stored && next.ends <= turn.now;
        }
        let mut changes = BTreeMap::new();
        for (named, (category, overdue)) in changed {
            let none = || PolicyChange { category, orders: 0, overdue: 0, first: Vec::new() };
            let change = changes.entry(category).or_insert_with(none);
            change.orders = change.orders.saturating_add(1);
            change.overdue = change.overdue.saturating_add(u32::from(overdue));
            if change.first.len() < NAMED {
                change.first.push(named.clone());
            }
        }
        changes.into_values().collect()
    }

    /// Tenants with orders that an interrupted run was to move to the newest policies.
    pub(crate) fn find_sweeps(&mut self) {
        let behind = |(at, order): &(&OrderRef, &Order)| {
            let version = self.policies.live_version(&at.tenant);
            version.is_some_and(|version| order.window.as_ref().is_some_and(|window| window.policy < version))
        };
        let tenants: BTreeSet<_> = self.rows.iter().filter(behind).map(|(at, _)| at.tenant.clone()).collect();
        tenants.iter().for_each(|tenant| self.policies.begin_sweep(tenant));
    }

    /// Moves the next stored orders of a tenant to its newest policies.
    pub(crate) fn sweep(&mut self, turn: &mut Turn<'_>, config: &Config, tenant: &TenantId) {
        let (Some(last), Some(version)) = (self.policies.swept_to(tenant), self.policies.live_version(tenant)) else {
            return;
        };
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let own = self.rows.range((from, Bound::Unbounded)).skip_while(|(at, _)| at.tenant != *tenant);
        let own = own.take_while(|(at, _)| at.tenant == *tenant);
        let behind = own.filter(|(_, order)| order.window.as_ref().is_some_and(|window| window.policy < version));
        let batch: Vec<OrderRef> = behind.take(AT_ONCE).map(|(at, _)| at.clone()).collect();
        batch.iter().for_each(|at| self.adopt(turn, config, at));
        match batch.last() {
            Some(last) if batch.len() == AT_ONCE => {
                self.policies.sweep_on(tenant, last.clone());
                turn.due(Deadline::Sweep(tenant.clone()), turn.now.saturating_add(1));
            }
            Some(_) | None => self.policies.end_sweep(tenant),
        }
    }

    fn adopt(&mut self, turn: &mut Turn<'_>, config: &Config, at: &OrderRef) {
        let policy = self.policies.of(&at.tenant);
        let Some(order) = self.rows.get(at) else { return };
        let (Some(window), Some(next)) = (&order.window, self.window_under(at, order, policy, turn.now)) else {
            return;
        };
        let moved = window.ends != next.ends;
        let other_right = (window.expires(), window.needs_time) != (next.expires(), next.needs_time);
        let (state, again) = (order.state, next.ends > turn.now);
        self.change(turn, at, |order, _| order.window = Some(Box::new(next.clone())));
        match state {
            OrderState::Overdue if again => self.enter(turn, config, at, OrderState::Stored, Happened::now(turn)),
            OrderState::Stored if moved && again => self.tell_again(turn, at),
            // An end that has passed is told at once by the timer; the other states say nothing of an end.
            OrderState::Stored
            | OrderState::Overdue
            | OrderState::Created
            | OrderState::Ready
            | OrderState::Reserved
            | OrderState::Loading
            | OrderState::Collecting
            | OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            | OrderState::Disputed
            | OrderState::PartlyCollected
            | OrderState::Quarantined => self.put_row(turn, at),
        }
        if other_right {
            self.issue_again(turn, at, &next);
        }
    }
}
