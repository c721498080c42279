//! What a cabinet journalled, and what the fleet has of it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use fleet_store::RedbStore;
use schemas::cbor::{self, Blob};
use schemas::cbor_map;
use schemas::messages::{Event, Fact};
use schemas::step::{Store as _, number_of_key};

use crate::site::Site;
use crate::until::{Look, until};
use crate::world::World;

cbor_map! {
    /// The part of an event's row in the fleet's store that came from the cabinet.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct EventRow { 3 => record: Blob, 4 opt => lost_to: Option<u64> }
}

impl World {
    /// Waits until the fleet has acknowledged all that the cabinet wrote down, stops both and compares what is on their
    /// disks: the fleet has every record from 1 on without a gap, and those that the cabinet still has under the same
    /// numbers. Returns the facts in their order.
    pub async fn same_journals(&mut self, site: &mut Site, fleet: &Path, cabinet: &Path) -> anyhow::Result<Vec<Fact>> {
        until("the fleet has every event", async || {
            let view = site.screen()?.view(Some(&site.session().await?)).await?;
            let waiting = view["staff"]["outbox"].clone();
            Ok(Look::at((waiting == 0).then_some(()), || format!("{waiting} events wait")))
        })
        .await?;
        site.cabinet.stop_agent().await?;
        self.stage.stop_broker().await?;
        let mut held = numbered(cabinet, cabinet_core::EVENTS)?;
        let mut known = BTreeMap::new();
        for (n, row) in numbered(fleet, fleet_core::EVENTS)? {
            let row: EventRow = cbor::decode(&row).context("an event of the fleet")?;
            ensure!(row.lost_to.is_none(), "the fleet counts events from {n} on as lost");
            known.insert(n, row.record.0);
        }
        ensure!(known.keys().copied().eq(1..=known.len() as u64), "a gap in {:?}", known.keys());
        let newest = |rows: &BTreeMap<u64, Vec<u8>>| rows.last_key_value().map(|(n, _)| *n);
        ensure!(
            newest(&held) == newest(&known),
            "the cabinet has events up to {:?}, the fleet to {:?}",
            newest(&held),
            newest(&known)
        );
        held.retain(|n, record| known.get(n) != Some(record));
        ensure!(held.is_empty(), "the fleet has other events under {:?}", held.keys());
        let fact = |record: &Vec<u8>| Ok(cbor::decode::<Event>(record).context("an event of the cabinet")?.fact);
        known.values().map(fact).collect()
    }
}

/// The rows of a table by the number at the end of their keys, each once.
fn numbered(store: &Path, table: schemas::step::Table) -> anyhow::Result<BTreeMap<u64, Vec<u8>>> {
    let store = RedbStore::reopen(store).with_context(|| format!("open {}", store.display()))?;
    let mut rows = BTreeMap::new();
    for (key, value) in store.rows(table)? {
        let n = number_of_key(&key).context("an event without a number")?;
        ensure!(rows.insert(n, value).is_none(), "event {n} is there twice");
    }
    Ok(rows)
}
