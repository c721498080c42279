//! Bundles: several orders under one credential, for a driver who takes them all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{CabinetId, Name, OrderId};
use crate::messages::{BUNDLE_ORDERS_MAX, Compartment, OrderKey};

use super::{OrderState, Recipient, Rfc3339};

/// Payload of `orders/bundle`: makes one credential for these orders, whose own codes die. Repeating it does nothing; the same
/// id with other content is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundlePut {
    pub bundle: OrderId,
    /// Own orders, at one cabinet or at several.
    pub orders: BundleOrders,
    /// Who takes them.
    #[serde(default)]
    pub recipient: Recipient,
    /// The integration whose `notifications` stream gets the credential, a delivery platform. Left out: the own one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_to: Option<Name>,
}

/// 1 to [`BUNDLE_ORDERS_MAX`] orders, each named once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<OrderId>")]
pub struct BundleOrders(Vec<OrderId>);

impl BundleOrders {
    pub fn iter(&self) -> std::slice::Iter<'_, OrderId> {
        self.0.iter()
    }
}

impl TryFrom<Vec<OrderId>> for BundleOrders {
    type Error = String;
    fn try_from(orders: Vec<OrderId>) -> Result<Self, String> {
        if !(1..=BUNDLE_ORDERS_MAX).contains(&orders.len()) {
            return Err(format!("a bundle has 1 to {BUNDLE_ORDERS_MAX} orders"));
        }
        let different: BTreeSet<&OrderId> = orders.iter().collect();
        if different.len() == orders.len() { Ok(Self(orders)) } else { Err("an order is named twice".into()) }
    }
}

/// Payload of `orders/unbundle`: the credential dies, and each order that is still inside gets a code of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleNamed {
    pub bundle: OrderId,
}

/// One order of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledOrder {
    pub order: OrderId,
    pub state: OrderState,
    pub cabinet: CabinetId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<Compartment>,
    /// The cabinet holds the bundle's credential for it.
    pub ready: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Rfc3339>,
}

/// The answer to `bundle.show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleDetail {
    pub bundle: OrderKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_to: Option<Name>,
    pub orders: Vec<BundledOrder>,
    /// Messages with its credential so far.
    pub messages: u32,
}

/// Where an order of a bundle waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleDoor {
    pub order: OrderId,
    pub cabinet: CabinetId,
    pub compartment: Compartment,
    pub place: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Rfc3339>,
    /// The same by the clock on the wall of the door's site, and the IANA name of its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_local: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}
