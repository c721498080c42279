//! The tables of a cabinet's store and the keys of their rows.

use schemas::ids::Name;
use schemas::messages::{Compartment, CredentialId, OrderKey};
use schemas::step::{Table, numbered_key};

/// Single rows: format, identity, marks and counters.
pub(crate) const META: Table = Table("meta");
/// Encoded `Event` records by number.
pub const EVENTS: Table = Table("events");
/// Ids of accepted commands by number of acceptance.
pub(crate) const COMMANDS: Table = Table("commands");
/// Journalled uses of an authority that have no outcome yet, by compartment.
pub(crate) const USES: Table = Table("uses");
/// What each compartment holds, by its number.
pub(crate) const BAYS: Table = Table("bays");
/// The book.
pub(crate) const ORDERS: Table = Table("orders");
pub(crate) const CREDENTIALS: Table = Table("credentials");
pub(crate) const STAFF: Table = Table("staff");
/// Apart from staff: an older agent that is put back takes nobody for staff who is a courier.
pub(crate) const COURIERS: Table = Table("couriers");

/// All of them, for stores that create tables first and for tests that search a disk.
pub const TABLES: [Table; 9] = [META, EVENTS, COMMANDS, USES, BAYS, ORDERS, CREDENTIALS, STAFF, COURIERS];

/// Key of event `n` in [`EVENTS`].
pub fn event_key(n: u64) -> Vec<u8> {
    numbered_key("", n)
}

pub(crate) fn command_key(n: u64) -> Vec<u8> {
    numbered_key("", n)
}

pub(crate) fn bay_key(compartment: Compartment) -> Vec<u8> {
    compartment.number().to_be_bytes().to_vec()
}

pub(crate) fn bay_of_key(key: &[u8]) -> Option<Compartment> {
    Compartment::new(u16::from_be_bytes(key.try_into().ok()?))
}

pub(crate) fn order_key(order: &OrderKey) -> Vec<u8> {
    order.to_string().into_bytes()
}

pub(crate) fn credential_key(id: &CredentialId) -> Vec<u8> {
    id.0.to_vec()
}

pub(crate) fn staff_key(name: &Name) -> Vec<u8> {
    name.as_str().as_bytes().to_vec()
}
