//! The fleet's cabinets, for whoever asks which of them there are.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemas::ids::{CabinetId, SiteId, TenantId};
use schemas::messages::OrderKey;

use crate::cabinet::Cabinet;
use crate::intents::Reserve;
use crate::tables::CabinetRef;

/// A look at all of them.
#[derive(Clone, Copy)]
pub(crate) struct Cabinets<'a>(pub(crate) &'a BTreeMap<CabinetRef, Cabinet>);

impl Cabinets<'_> {
    pub(crate) fn has(&self, at: &CabinetRef) -> bool {
        self.0.contains_key(at)
    }

    pub(crate) fn is_at(&self, at: &CabinetRef, site: &SiteId) -> bool {
        self.0.get(at).is_some_and(|cabinet| cabinet.registration.site == *site)
    }

    /// The first of these where the order finds others that it may lie with, and a place.
    pub(crate) fn with_group(&self, tenant: &TenantId, among: &[CabinetId], wish: &Reserve) -> Option<CabinetId> {
        let at = |cabinet: &CabinetId| self.0.get(&CabinetRef::new(tenant.clone(), cabinet.clone()));
        among.iter().find(|one| at(one).is_some_and(|held| held.has_of_group(wish))).cloned()
    }

    /// Whether one of these orders is inside of this cabinet, by its word.
    pub(crate) fn has_inside(&self, tenant: &TenantId, cabinet: &CabinetId, orders: &[OrderKey]) -> bool {
        let at = CabinetRef::new(tenant.clone(), cabinet.clone());
        self.0.get(&at).is_some_and(|cabinet| cabinet.has_inside(orders))
    }

    /// Cabinets of a site in the order in which they are asked for room: first whoever has one of these orders inside by its own
    /// word (a restored fleet has forgotten them), then the connected ones, then whoever has the most.
    pub(crate) fn offers(&self, tenant: &TenantId, site: &SiteId, orders: &[OrderKey]) -> Vec<CabinetId> {
        let own = self.0.iter().filter(|(at, cabinet)| at.tenant == *tenant && cabinet.registration.site == *site);
        let mut own: Vec<_> = own
            .map(|(at, cabinet)| {
                let rank = (!cabinet.has_inside(orders), !cabinet.is_online(), Reverse(cabinet.free()));
                (rank, at.cabinet.clone())
            })
            .collect();
        own.sort();
        own.into_iter().map(|(.., cabinet)| cabinet).collect()
    }
}
