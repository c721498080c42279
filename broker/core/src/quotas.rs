//! How much one integration may ask for: a backend that runs wild must not fill the store, nor the cabinets for others.
//!
//! Each integration is counted for itself. What has been used is not in the store: a broker that starts begins to count anew.

use std::collections::BTreeMap;

use schemas::api::{QuotaDetail, QuotaLimits, QuotaOverrides, ReplyError, RequestErrorCode};
use schemas::cbor_map;
use schemas::ids::{Name, TenantId};
use schemas::messages::FleetMillis;

use crate::requests::error;
use crate::tables::QUOTAS;
use crate::turn::Turn;

pub(crate) const MINUTE: u64 = 60 * 1_000;
const DAY: u64 = 24 * 60 * MINUTE;

cbor_map! {
    /// Limits that an operator gave to one integration. What is left out is as in the settings.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct QuotaRow {
        1 opt => orders_per_minute: Option<u32>,
        2 opt => orders_per_day: Option<u32>,
        3 opt => open_orders: Option<u32>,
        4 opt => requests_per_minute: Option<u32>,
    }
}

type Key = (TenantId, Name);

#[derive(Default)]
pub(crate) struct Quotas {
    rows: BTreeMap<Key, QuotaRow>,
    used: BTreeMap<Key, Used>,
}

/// Of this run only.
#[derive(Default)]
struct Used {
    minute: Bucket,
    day: Bucket,
    requests: Bucket,
    orders_refused: u64,
    requests_refused: u64,
}

/// An integration has reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached;

impl Quotas {
    pub(crate) fn restore(&mut self, tenant: TenantId, integration: Name, row: QuotaRow) {
        self.rows.insert((tenant, integration), row);
    }

    /// Counts an order that is put, of an integration that has so many open ones.
    pub(crate) fn put(
        &mut self,
        defaults: &QuotaLimits,
        key: Key,
        open: usize,
        now: FleetMillis,
    ) -> Result<(), Reached> {
        let limits = self.limits(defaults, &key);
        let used = self.used.entry(key).or_default();
        let fits = open < limits.open_orders as usize
            && used.minute.has(limits.orders_per_minute, MINUTE, now)
            && used.day.has(limits.orders_per_day, DAY, now);
        if !fits {
            used.orders_refused += 1;
            return Err(Reached);
        }
        used.minute.take(limits.orders_per_minute, MINUTE, now);
        used.day.take(limits.orders_per_day, DAY, now);
        Ok(())
    }

    /// Counts a request.
    pub(crate) fn request(&mut self, defaults: &QuotaLimits, key: Key, now: FleetMillis) -> Result<(), ReplyError> {
        let limit = self.limits(defaults, &key).requests_per_minute;
        let used = self.used.entry(key).or_default();
        if used.requests.has(limit, MINUTE, now) {
            used.requests.take(limit, MINUTE, now);
            return Ok(());
        }
        used.requests_refused += 1;
        let text = format!("quota: more than {limit} requests in a minute");
        let hint = "ask less often; an operator can raise it with `fleet integration quota`";
        Err(error(RequestErrorCode::Unavailable, text, hint))
    }

    /// Gives an integration limits of its own, or with none named takes them away.
    pub(crate) fn set(&mut self, turn: &mut Turn<'_>, tenant: &TenantId, integration: &Name, set: &QuotaOverrides) {
        let key = (tenant.clone(), integration.clone());
        let at = format!("{tenant}/{integration}");
        if *set == QuotaOverrides::default() {
            self.rows.remove(&key);
            return turn.remove(QUOTAS, at);
        }
        let QuotaOverrides { orders_per_minute, orders_per_day, open_orders, requests_per_minute } = *set;
        let row = QuotaRow { orders_per_minute, orders_per_day, open_orders, requests_per_minute };
        turn.put(QUOTAS, at, &row);
        self.rows.insert(key, row);
    }

    pub(crate) fn detail(&self, defaults: &QuotaLimits, key: Key, open: usize) -> QuotaDetail {
        let used = self.used.get(&key);
        QuotaDetail {
            limits: self.limits(defaults, &key),
            own: self.rows.contains_key(&key),
            open_orders: u32::try_from(open).unwrap_or(u32::MAX),
            orders_refused: used.map_or(0, |used| used.orders_refused),
            requests_refused: used.map_or(0, |used| used.requests_refused),
            integration: key.1,
        }
    }

    fn limits(&self, defaults: &QuotaLimits, key: &Key) -> QuotaLimits {
        let Some(row) = self.rows.get(key) else { return *defaults };
        QuotaLimits {
            orders_per_minute: row.orders_per_minute.unwrap_or(defaults.orders_per_minute),
            orders_per_day: row.orders_per_day.unwrap_or(defaults.orders_per_day),
            open_orders: row.open_orders.unwrap_or(defaults.open_orders),
            requests_per_minute: row.requests_per_minute.unwrap_or(defaults.requests_per_minute),
        }
    }
}

/// Fills evenly over its period. Counts what is gone, in parts of which `period` make one, so that nothing is rounded.
#[derive(Default)]
pub(crate) struct Bucket {
    gone: u64,
    at: FleetMillis,
}

impl Bucket {
    /// Whether there is one more. A limit that was lowered meanwhile counts from now on.
    pub(crate) fn has(&mut self, limit: u32, period: u64, now: FleetMillis) -> bool {
        let full = u64::from(limit) * period;
        let gained = now.saturating_sub(self.at).saturating_mul(limit.into());
        self.gone = self.gone.min(full).saturating_sub(gained);
        // A clock that goes back gives nothing, and takes nothing away.
        self.at = self.at.max(now);
        self.gone + period <= full
    }

    pub(crate) fn take(&mut self, limit: u32, period: u64, now: FleetMillis) {
        if self.has(limit, period, now) {
            self.gone += period;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, limit: u32, tries: u32, now: FleetMillis) -> u32 {
        let took = |bucket: &mut Bucket| {
            let has = bucket.has(limit, MINUTE, now);
            bucket.take(limit, MINUTE, now);
            u32::from(has)
        };
        (0..tries).map(|_| took(bucket)).sum()
    }

    #[test]
    fn as_many_as_the_limit_at_once_and_then_evenly() {
        let mut bucket = Bucket::default();
        let start = 1_800_000_000_000;
        assert_eq!(taken(&mut bucket, 6, 100, start), 6);
        assert_eq!(taken(&mut bucket, 6, 100, start + 9_999), 0);
        assert_eq!(taken(&mut bucket, 6, 100, start + 10_000), 1);
        assert_eq!(taken(&mut bucket, 6, 100, start + 10_000 + MINUTE), 6);
        assert_eq!(taken(&mut bucket, 6, 100, start), 0, "the clock went back");
        assert_eq!(taken(&mut bucket, 0, 100, start + DAY), 0);
    }

    #[test]
    fn a_limit_that_is_changed_counts_at_once() {
        let mut bucket = Bucket::default();
        let start = 1_800_000_000_000;
        assert_eq!(taken(&mut bucket, 100, 100, start), 100);
        assert_eq!(taken(&mut bucket, 2, 100, start), 0);
        assert_eq!(taken(&mut bucket, 2, 100, start + MINUTE), 2);
        assert_eq!(taken(&mut bucket, 5, 100, start + MINUTE), 3);
        assert_eq!(taken(&mut bucket, u32::MAX, 1_000, start + DAY), 1_000);
    }
}
