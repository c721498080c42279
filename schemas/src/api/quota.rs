//! How much one integration may ask for.

use serde::{Deserialize, Serialize};

use crate::ids::Name;

/// The limits that are in force for an integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaLimits {
    /// Orders that it puts in a minute. The same order again is none.
    pub orders_per_minute: u32,
    pub orders_per_day: u32,
    /// Orders that are not over.
    pub open_orders: u32,
    /// Requests that it asks in a minute.
    pub requests_per_minute: u32,
}

impl Default for QuotaLimits {
    /// Far above what a shop does, and far below what would fill a disk overnight.
    fn default() -> Self {
        Self { orders_per_minute: 6_000, orders_per_day: 200_000, open_orders: 100_000, requests_per_minute: 6_000 }
    }
}

/// Limits of one integration's own. What is left out is as in the settings of the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaOverrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders_per_day: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_orders: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// An integration's limits, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaDetail {
    pub integration: Name,
    pub limits: QuotaLimits,
    /// Some of these are its own.
    pub own: bool,
    pub open_orders: u32,
    /// Since the broker was started.
    pub orders_refused: u64,
    pub requests_refused: u64,
}
