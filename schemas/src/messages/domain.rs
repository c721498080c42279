//! The words that several messages share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{IdError, Name, OrderId};
use crate::{byte_id, cbor_code, cbor_map};

/// Milliseconds since 1970-01-01T00:00:00Z by the fleet's clock.
pub type FleetMillis = u64;

byte_id! {
    /// Random, new at each start of the agent: what the boot clock and the challenges of a run belong to.
    pub struct BootId([u8; 8]);
}
byte_id! {
    /// Random, made with a cabinet's store: event numbers of another epoch belong to another disk.
    pub struct Epoch([u8; 8]);
}
byte_id! {
    /// Random, made at enrolment: signatures for an earlier installation of the same cabinet do not fit a later one.
    pub struct Instance([u8; 16]);
}
byte_id! {
    /// Random id of a signed command; a cabinet carries one out at most once.
    pub struct CommandId([u8; 16]);
}
byte_id! {
    /// Id of a credential in a cabinet's book.
    pub struct CredentialId([u8; 8]);
}
byte_id! {
    /// Salt of a cabinet's verifiers. Not secret.
    pub struct Salt([u8; 16]);
}
byte_id! {
    /// Random part of a challenge.
    pub struct Nonce([u8; 8]);
}

/// What a typed or scanned secret is compared with (crypto::codes). Debug hides it: it can be guessed against offline
/// by whoever also holds the pepper.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verifier(pub [u8; 32]);

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl Serialize for Verifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Verifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = crate::cbor::Blob::deserialize(deserializer)?;
        bytes.0.try_into().map(Self).map_err(|_| serde::de::Error::custom("verifier of another length"))
    }
}

cbor_map! {
    /// What a cabinet asks to see in a command, so that the command is known to be fresh (RFC 9175, Echo).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Challenge {
        1 => boot: BootId,
        2 => counter: u64,
        3 => nonce: Nonce,
    }
}

cbor_map! {
    /// When something happened at a cabinet.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Stamp {
        1 => boot: BootId,
        /// Milliseconds of the boot clock (CLOCK_BOOTTIME, counts through suspend).
        2 => boot_millis: u64,
        /// Left out while the cabinet does not know the fleet's time (`time_unverified`).
        3 opt => fleet_millis: Option<FleetMillis>,
        /// How far `fleet_millis` can be off, in milliseconds.
        4 opt => uncertainty_millis: Option<u64>,
    }
}

/// A compartment's number as people read it on the door, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Compartment(u16);

impl Compartment {
    pub const MAX: u16 = 999;

    /// `None` outside 1 to [`Self::MAX`]: many boards take lock 0 for "open all".
    pub fn new(number: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Compartment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Compartment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Compartment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for Compartment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("a compartment number is 1 to 999"))
    }
}

cbor_code! {
    /// Size of a compartment and what an order needs at least. Ordered from small to large.
    pub enum Size { 0 => S = "S", 1 => M = "M", 2 => L = "L", 3 => Xl = "XL" }
}

cbor_code! {
    /// Decides the rules of time that an order follows (product.md, Time).
    pub enum Category {
        0 => Retail = "retail",
        1 => Food = "food",
        2 => Laundry = "laundry",
        3 => Pharmacy = "pharmacy",
        4 => Repair = "repair",
        5 => Courier = "courier",
    }
}

cbor_code! {
    /// Who puts an order in, where it is not staff.
    pub enum DepositKind {
        /// A courier, for the recipient, who gets a pickup code once it is stored.
        0 => Courier = "courier",
        /// The customer, for the business: staff take it out.
        1 => DropOff = "drop_off",
    }
}

cbor_code! {
    /// What the screen asks for behind the code of an order with a second factor.
    pub enum Prompt {
        /// Digits that its recipient was told or has chosen elsewhere.
        0 => Pin = "pin",
        /// Day, month and year of birth.
        1 => BirthDate = "birth_date",
        /// Of an identity document, as far as its backend has asked for it.
        2 => DocumentNumber = "document_number",
        3 => Postcode = "postcode",
    }
}

cbor_code! {
    /// What an occupancy sensor says. Most boards have none: `unknown`.
    pub enum Occupancy { 0 => Unknown = "unknown", 1 => Empty = "empty", 2 => Occupied = "occupied" }
}

cbor_map! {
    /// Attributes of a compartment, and what an order may ask for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Attributes {
        1 => refrigerated: bool,
        2 => restricted: bool,
        3 => accessible: bool,
    }
}

impl Attributes {
    /// Whether a compartment with these attributes serves an order that asks for `wanted`.
    pub fn satisfies(self, wanted: Self) -> bool {
        (self.refrigerated || !wanted.refrigerated)
            && (self.restricted || !wanted.restricted)
            && (self.accessible || !wanted.accessible)
    }
}

/// An order within a tenant: `<integration>/<the backend's own id>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    pub integration: Name,
    pub order: OrderId,
}

/// In the place of an integration: orders that staff began at a cabinet's screen. No integration may have this name.
pub const WALK_IN: &str = "walk-in";

impl OrderKey {
    pub fn walk_in(order: OrderId) -> Self {
        let integration = Name::new(WALK_IN).unwrap_or_else(|error| unreachable!("{WALK_IN} is a name: {error}"));
        Self { integration, order }
    }

    /// Staff began it at a cabinet; no backend has announced it.
    pub fn is_walk_in(&self) -> bool {
        self.integration.as_str() == WALK_IN
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.integration, self.order)
    }
}

impl fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrderKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (integration, order) = text.split_once('/').ok_or(IdError::Empty { what: "order" })?;
        Ok(Self { integration: integration.parse()?, order: order.parse()? })
    }
}

impl Serialize for OrderKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrderKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
