//! What is on the disks of killed processes, read with declarations of its own from copies of their files.
//!
//! The rows are declared here a second time, with only the keys that matter: a change of the cores' own declarations that
//! would make old disks unreadable is noticed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use fleet_core::{EVENTS as FLEET_EVENTS, INTENTS, ORDERS, STREAM, STREAMS};
use fleet_store::RedbStore;
use schemas::api::OrderState;
use schemas::cbor::{self, Blob};
use schemas::ids::{CabinetId, Name, OrderId};
use schemas::messages::{Compartment, Epoch, OrderKey};
use schemas::step::{Store as _, Table, number_of_key};
use schemas::{cbor_map, cbor_union};
use serde::de::DeserializeOwned;

cbor_map! {
    /// An order of the fleet.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) struct OrderSeen { 1 => order: OrderKey, 2 => cabinet: CabinetId, 8 => state: OrderState }
}
cbor_map! {
    /// A row of the stream `status`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) struct StatusSeen {
        1 => n: u64,
        2 => order: OrderId,
        3 => state: OrderState,
        7 opt => compartment: Option<Compartment>,
        8 opt => reason: Option<schemas::api::RejectReason>,
    }
}
cbor_map! {
    /// A row of the stream `notifications`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) struct NotificationSeen { 1 => n: u64, 3 => order: OrderId }
}
cbor_map! {
    /// Ends of a stream: rows from `oldest` to `newest` are kept, up to `cursor` they were acknowledged.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct HeadSeen { 1 => newest: u64, 2 => cursor: u64, 3 => oldest: u64 }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct EventRow { 3 => record: Blob, 4 opt => lost_to: Option<u64> }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Identity { 2 => epoch: Epoch }
}
cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Bay { 1 => content: Content }
}
/// What a compartment can hold: the kinds of [`Content`].
macro_rules! kinds {
    ($( $name:ident { $($body:tt)* } )*) => {
        $( cbor_map! { #[derive(Debug, Clone, PartialEq, Eq)] pub struct $name { $($body)* } } )*
    };
}

kinds! {
    Free {}
    Loading { 1 => order: OrderKey }
    Stored { 1 => order: OrderKey }
    Collecting { 1 => order: OrderKey }
    Leaving { 1 => order: OrderKey }
    Retrieving { 1 => order: OrderKey }
}

cbor_union! {
    /// What a cabinet knows to be in a compartment.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) enum Content {
        1 => Free(Free),
        2 => Loading(Loading),
        3 => Stored(Stored),
        4 => Collecting(Collecting),
        5 => Leaving(Leaving),
        6 => Retrieving(Retrieving),
    }
}

/// Records by number, in the order of the store.
pub(super) type Numbered = Vec<(u64, Vec<u8>)>;

/// What was in the fleet's store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FleetDisk {
    pub(super) orders: BTreeMap<OrderKey, OrderSeen>,
    pub(super) statuses: BTreeMap<Name, BTreeMap<u64, StatusSeen>>,
    pub(super) notifications: BTreeMap<Name, BTreeMap<u64, NotificationSeen>>,
    /// By integration and name of the stream.
    pub(super) heads: BTreeMap<(Name, String), HeadSeen>,
    /// By cabinet and epoch.
    pub(super) events: BTreeMap<(CabinetId, String), Numbered>,
    /// Messages from one aggregate to another that are not taken yet.
    pub(super) intents: usize,
}

/// What was in a cabinet's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CabinetDisk {
    pub(super) epoch: String,
    pub(super) events: BTreeMap<u64, Vec<u8>>,
    pub(super) bays: BTreeMap<Compartment, Content>,
    /// Uses of an authority without an outcome.
    pub(super) uses: usize,
    /// Pulses that were journalled since the store was made.
    pub(super) pulses: u64,
}

impl CabinetDisk {
    pub(super) fn newest(&self) -> u64 {
        self.events.last_key_value().map_or(0, |(n, _)| *n)
    }
}

/// Opens a copy: opening repairs, and the process that comes back shall find what its predecessor left.
fn open_copy(path: &Path) -> anyhow::Result<(tempfile::TempDir, RedbStore)> {
    let folder = tempfile::tempdir().context("make a folder for a copy")?;
    let copy = folder.path().join("copy.redb");
    std::fs::copy(path, &copy).with_context(|| format!("copy {}", path.display()))?;
    let store = RedbStore::reopen(&copy).with_context(|| format!("open what is left of {}", path.display()))?;
    Ok((folder, store))
}

fn decode<T: DeserializeOwned + serde::Serialize>(table: Table, value: &[u8]) -> anyhow::Result<T> {
    cbor::decode(value).with_context(|| format!("a row of {table:?} cannot be read"))
}

/// Reads the fleet's store at `path`, whose process is dead.
pub(super) fn read_fleet(path: &Path) -> anyhow::Result<FleetDisk> {
    let (_folder, store) = open_copy(path)?;
    let mut disk = FleetDisk { intents: store.rows(INTENTS)?.len(), ..FleetDisk::default() };
    for (_, value) in store.rows(ORDERS)? {
        let order: OrderSeen = decode(ORDERS, &value)?;
        disk.orders.insert(order.order.clone(), order);
    }
    for (key, value) in store.rows(STREAMS)? {
        let parts: Vec<&str> = std::str::from_utf8(&key).context("a key that is no text")?.split('/').collect();
        let [_, integration, stream] = parts.as_slice() else { anyhow::bail!("a stream's key has {parts:?}") };
        disk.heads.insert((integration.parse()?, (*stream).to_owned()), decode(STREAMS, &value)?);
    }
    for (key, value) in store.rows(STREAM)? {
        let parts = parts_of(&key)?;
        let [_, integration, stream] = parts.as_slice() else { anyhow::bail!("a stream's key has {parts:?}") };
        let integration: Name = integration.parse()?;
        if stream == "status" {
            let row: StatusSeen = decode(STREAM, &value)?;
            disk.statuses.entry(integration).or_default().insert(row.n, row);
        } else {
            let row: NotificationSeen = decode(STREAM, &value)?;
            disk.notifications.entry(integration).or_default().insert(row.n, row);
        }
    }
    for (key, value) in store.rows(FLEET_EVENTS)? {
        let parts = parts_of(&key)?;
        let [_, cabinet, epoch] = parts.as_slice() else { anyhow::bail!("an event's key has {parts:?}") };
        let n = number_of_key(&key).context("an event without a number")?;
        let row: EventRow = decode(FLEET_EVENTS, &value)?;
        anyhow::ensure!(row.lost_to.is_none(), "the fleet counts events of {cabinet} from {n} on as lost");
        disk.events.entry((cabinet.parse()?, epoch.clone())).or_default().push((n, row.record.0));
    }
    Ok(disk)
}

/// The text in front of the number of a key, at its slashes.
fn parts_of(key: &[u8]) -> anyhow::Result<Vec<String>> {
    let text = key.len().checked_sub(9).and_then(|end| key.get(..end)).context("a key without a number")?;
    Ok(std::str::from_utf8(text).context("a key that is no text")?.split('/').map(str::to_owned).collect())
}

/// Reads the store of a cabinet whose agent is dead.
pub(super) fn read_cabinet(path: &Path) -> anyhow::Result<CabinetDisk> {
    let (_folder, store) = open_copy(path)?;
    let meta: BTreeMap<Vec<u8>, Vec<u8>> = store.rows(META)?.into_iter().collect();
    let identity = meta.get(&b"identity"[..]).context("a cabinet's store without an identity")?;
    let epoch = decode::<Identity>(META, identity)?.epoch.to_string();
    let pulses = meta.get(&b"pulse"[..]).map_or(Ok(0), |value| decode::<u64>(META, value))?;
    let mut events = BTreeMap::new();
    for (key, value) in store.rows(cabinet_core::EVENTS)? {
        events.insert(number_of_key(&key).context("an event without a number")?, value);
    }
    let mut bays = BTreeMap::new();
    for (key, value) in store.rows(BAYS)? {
        let number = key.as_slice().try_into().map(u16::from_be_bytes).ok().and_then(Compartment::new);
        bays.insert(number.context("a bay without a number")?, decode::<Bay>(BAYS, &value)?.content);
    }
    Ok(CabinetDisk { epoch, events, bays, uses: store.rows(USES)?.len(), pulses })
}

const META: Table = Table("meta");
const USES: Table = Table("uses");
const BAYS: Table = Table("bays");
