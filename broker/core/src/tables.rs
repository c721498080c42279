//! Where the rows of the core are kept, and how their keys are made.

use schemas::ids::{CabinetId, Name, OrderId, TenantId};
use schemas::messages::{Epoch, OrderKey};
use schemas::step::{Table, numbered_key};
use schemas::topics::Stream;

/// `format` → version of everything below.
pub const META: Table = Table("meta");
/// Cabinet → how it was registered.
pub const CABINETS: Table = Table("cabinets");
/// Cabinet → what its last `hello` said.
pub const SAID: Table = Table("said");
/// Cabinet → how far its events and its book are.
pub const PROGRESS: Table = Table("progress");
/// Cabinet and compartment number → what is in it.
pub const COMPARTMENTS: Table = Table("compartments");
/// Cabinet and order → the order in the cabinet's book, with its credentials.
pub const BOOKED: Table = Table("booked");
/// Cabinet and book version → changes that the cabinet has not confirmed.
pub const BOOK: Table = Table("book");
/// Cabinet and bundle → its credential there.
pub(crate) const BUNDLES_AT: Table = Table("bundles_at");
/// Cabinet and staff → the verifier of the PIN there.
pub const STAFF_AT: Table = Table("staff_at");
/// Cabinet and courier → the verifier of the PIN there. Apart from staff, for whom an older version would take them.
pub(crate) const COURIERS_AT: Table = Table("couriers_at");
/// Cabinet and command id → a signed command without a known outcome.
pub const COMMANDS: Table = Table("commands");
/// Cabinet and number, the newest first → who opened a door, and what became of it.
pub const UNLOCKS: Table = Table("unlocks");
/// Cabinet, epoch and number → an event as it came.
pub const EVENTS: Table = Table("events");
/// Tenant and order → the order.
pub const ORDERS: Table = Table("orders");
/// Tenant and bundle → the bundle.
pub(crate) const BUNDLES: Table = Table("bundles");
/// Integration and stream → cursor and newest row.
pub const STREAMS: Table = Table("streams");
/// Integration, stream and number → a row.
pub const STREAM: Table = Table("stream");
/// Cabinet → the newest right to enrol it.
pub const OFFERS: Table = Table("offers");
/// Cabinet and number → a certificate that was issued to it.
pub const ISSUED: Table = Table("issued");
/// Cabinet → its break-glass code, and who was shown one.
pub(crate) const BREAK_GLASS: Table = Table("break_glass");
/// Cabinet → that it is to be wiped, or was.
pub(crate) const WIPES: Table = Table("wipes");
/// Tenant and name → a member of staff.
pub const STAFF: Table = Table("staff");
/// Tenant and name → a courier who comes again and again.
pub(crate) const COURIERS: Table = Table("couriers");
/// Tenant and version → a keyset that its cabinets have to take.
pub const KEYSETS: Table = Table("keysets");
/// Tenant, role and name → certificates that were seen, and those that are void.
pub const IDENTITIES: Table = Table("identities");
/// Tenant and integration → limits of its own.
pub const QUOTAS: Table = Table("quotas");
/// Tenant → its newest policies of time.
pub(crate) const POLICIES: Table = Table("policies");
/// Tenant and site → its time zone and opening hours.
pub(crate) const SITES: Table = Table("sites");
/// Tenant and name → a channel by which messages go to people.
pub(crate) const CHANNELS: Table = Table("channels");
/// Tenant, kind and language → what a message says.
pub(crate) const TEMPLATES: Table = Table("templates");
/// Tenant and id → a message to a person.
pub const MESSAGES: Table = Table("messages");
/// Receiver and number → a message from one aggregate to another that is not taken yet.
pub const INTENTS: Table = Table("intents");

/// Version of the rows.
pub(crate) const FORMAT: u64 = 1;
pub(crate) const FORMAT_KEY: &str = "format";
/// Where the newest leap of the streams' numbers ended.
pub(crate) const LANDED_KEY: &str = "landed";

/// A cabinet of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CabinetRef {
    pub(crate) tenant: TenantId,
    pub(crate) cabinet: CabinetId,
}

impl CabinetRef {
    pub(crate) fn new(tenant: TenantId, cabinet: CabinetId) -> Self {
        Self { tenant, cabinet }
    }

    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.tenant, self.cabinet)
    }

    pub(crate) fn key_of(&self, part: &str) -> String {
        format!("{}/{}/{part}", self.tenant, self.cabinet)
    }

    pub(crate) fn numbered(&self, n: u64) -> Vec<u8> {
        numbered_key(&self.key(), n)
    }
}

impl std::fmt::Display for CabinetRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.tenant, self.cabinet)
    }
}

/// An order of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderRef {
    pub(crate) tenant: TenantId,
    pub(crate) order: OrderKey,
}

impl OrderRef {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.tenant, self.order)
    }

    /// An order, or a bundle, of the same integration.
    pub(crate) fn sibling(&self, order: &OrderId) -> Self {
        let integration = self.order.integration.clone();
        Self { tenant: self.tenant.clone(), order: OrderKey { integration, order: order.clone() } }
    }

    /// Whose it is.
    pub(crate) fn integration(&self) -> (TenantId, Name) {
        (self.tenant.clone(), self.order.integration.clone())
    }
}

/// A stream of an integration of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamRef {
    pub(crate) tenant: TenantId,
    pub(crate) integration: Name,
    pub(crate) stream: Stream,
}

impl StreamRef {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.integration, self.stream)
    }
}

/// Key of row `n` of a stream in table [`STREAM`].
pub fn stream_key(tenant: &TenantId, integration: &Name, stream: Stream, n: u64) -> Vec<u8> {
    numbered_key(&format!("{tenant}/{integration}/{stream}"), n)
}

/// Key of event `n` of a cabinet in table [`EVENTS`].
pub fn event_key(tenant: &TenantId, cabinet: &CabinetId, epoch: Epoch, n: u64) -> Vec<u8> {
    numbered_key(&format!("{tenant}/{cabinet}/{epoch}"), n)
}
