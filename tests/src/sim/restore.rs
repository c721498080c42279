//! Stores that come back older than they were: a restored fleet, a cabinet with a new disk, a cabinet whose disk was put
//! back. What such a store cannot know any more the ledger forgets with it, and nothing else.

use std::collections::BTreeMap;

use cabinet_core::EVENTS;
use schemas::cbor;
use schemas::cbor_map;
use schemas::messages::Epoch;
use schemas::step::{RESTORED, Store as _, Table, Write, number_of_key};

use super::ledger::{Cab, CabinetPart, FleetPart};
use super::sabotage::Sabotage;
use super::store::MemStore;
use super::world::{CABS, Happening, SHOPS, World};

/// Copies that are kept of each store, the newest ones.
const COPIES: usize = 4;

cbor_map! {
    /// What this simulation reads of a cabinet's row `identity`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) struct IdentityRow { 2 => epoch: Epoch }
}

/// A store as it was, and what the ledger knew of it then.
#[derive(Debug, Clone)]
struct Copied<P> {
    store: MemStore,
    part: P,
    /// By the owner's clock.
    at: u64,
}

#[derive(Debug, Default)]
pub(super) struct Copies {
    fleet: Vec<Copied<FleetPart>>,
    cabinets: BTreeMap<Cab, Vec<Copied<CabinetPart>>>,
}

fn keep<P>(copies: &mut Vec<Copied<P>>, copied: Copied<P>) {
    if copies.len() == COPIES {
        copies.remove(0);
    }
    copies.push(copied);
}

impl World {
    /// Backups are written while everything works on.
    pub(super) fn copies_are_made(&mut self) {
        if !self.rough {
            return;
        }
        let wait = self.draw_wait(60_000, 900_000);
        self.later(wait, Happening::CopiesAreMade);
        let at = self.fleet.time.says(self.now);
        let (table, key) = RESTORED;
        // A store that was put back is copied once its owner has seen that it was.
        if self.fleet.store.get(table, key.as_bytes()).is_none() {
            let store = self.fleet.store.clone();
            keep(&mut self.copies.fleet, Copied { store, part: self.ledger.fleet_part(self.fleet.pin.clone()), at });
        }
        for cab in 0..CABS {
            let copied = Copied { store: self.cabs[cab].store.clone(), part: self.ledger.cabinet_part(cab), at };
            keep(self.copies.cabinets.entry(cab).or_default(), copied);
        }
    }

    pub(super) fn fleet_is_restored(&mut self) {
        if self.copies.fleet.is_empty() {
            return;
        }
        let chosen = self.dice.index(self.copies.fleet.len());
        let Copied { mut store, part, at } = self.copies.fleet[chosen].clone();
        // That was not old enough, or not the right one: the next one is the same, or from before it.
        self.copies.fleet.truncate(chosen + 1);
        self.crash_fleet();
        self.coverage.count("faults", "fleet restored");
        self.tell(|| format!("fault: the fleet is restored to its state at {at}"));
        store.set_full(false);
        let (table, key) = RESTORED;
        let told = self.sabotage != Some(Sabotage::RestoreUntold);
        if told && store.commit(&[Write::put(table, key, cbor::encode(&at))]).is_err() {
            unreachable!("the disk is not full");
        }
        self.fleet.store = store;
        if self.fleet.pin != part.pin {
            // Staff that were added since the backup have to be added again.
            self.fleet.pin = None;
            let wait = self.draw_wait(10_000, 600_000);
            self.later(wait, Happening::StaffAreAddedAgain);
        }
        self.ledger.fleet_put_back(part);
        // A code may be told again only once the cabinet holds it by a book of this life; that of several compartments may be
        // known since before.
        self.note_held();
        self.signer.forget_books(None);
    }

    fn note_held(&mut self) {
        for ((cabinet, order), first) in &self.signer.books {
            let cab = self.cab_of(cabinet);
            let holds = |cab: &Cab| self.ledger.applied.get(cab).is_some_and(|held| first <= held);
            if let Some(cab) = cab.filter(holds) {
                self.ledger.held_before.insert((cab, order.clone()));
            }
        }
    }

    /// The old disk is gone: an empty store, and the same settings.
    pub(super) fn cabinet_gets_a_new_disk(&mut self, cab: Cab) {
        if !self.cabs[cab].is_up() {
            return;
        }
        self.crash_cabinet(cab, true);
        self.coverage.count("faults", "cabinet with a new disk");
        self.tell(|| format!("fault: cabinet {cab} gets a new disk"));
        let mut store = MemStore::default();
        if self.sabotage == Some(Sabotage::EpochReused) {
            self.cabs[cab].store.copy_rows(Table("meta"), &[b"format", b"identity"], &mut store);
        }
        self.cabs[cab].store = store;
        self.ledger.cabinet_put_back(cab, CabinetPart::default());
        self.rekey(cab);
        self.doubt_all(cab);
    }

    /// Salt and pepper are others: no book that was signed before holds a code.
    fn rekey(&mut self, cab: Cab) {
        let name = self.name_of(cab);
        self.signer.forget_books(Some(&name));
        self.ledger.held_before.retain(|(of, _)| *of != cab);
        self.ledger.unsure.insert(cab);
    }

    /// The disk as it was, also one that was in the machine before a new one came.
    pub(super) fn cabinet_is_put_back(&mut self, cab: Cab) {
        let epoch = self.ledger.epochs.get(&cab).copied();
        let copies = self.copies.cabinets.entry(cab).or_default();
        if copies.is_empty() || !self.cabs[cab].is_up() {
            return;
        }
        let chosen = self.dice.index(copies.len());
        copies.truncate(chosen + 1);
        let Some(Copied { mut store, part, at }) = copies.pop() else { return };
        self.crash_cabinet(cab, true);
        self.finish_batch();
        self.coverage.count("faults", "cabinet put back");
        self.tell(|| format!("fault: the disk of cabinet {cab} is put back to its state at {at}"));
        store.set_full(false);
        self.cabs[cab].store = store;
        if part.epoch != epoch {
            self.rekey(cab);
        } else if self.ledger.has_applied_since(cab, &part) {
            self.ledger.held_before.retain(|(of, _)| *of != cab);
            self.ledger.unsure.insert(cab);
        }
        self.ledger.cabinet_put_back(cab, part);
        self.doubt_all(cab);
    }

    /// What a cabinet says of its compartments is of the past; what it has still in memory will not be copied again.
    fn doubt_all(&mut self, cab: Cab) {
        let all: Vec<_> = self.cabs[cab].doors.keys().map(|at| (cab, *at)).collect();
        self.ledger.unnoticed.extend(all.iter().copied());
        self.ledger.wrong_doors.extend(all);
    }

    /// A cabinet's store begins to count under another epoch: its events are those that it holds now.
    pub(super) fn see_epoch(&mut self, cab: Cab, writes: &[Write]) {
        let identity = writes.iter().find(|write| write.table.0 == "meta" && write.key == b"identity");
        let row = identity.and_then(|write| cbor::decode::<IdentityRow>(write.value.as_ref()?).ok());
        let Some(IdentityRow { epoch }) = row else { return };
        let new: Vec<_> = writes.iter().filter(|write| write.table == EVENTS).map(|write| &write.key).collect();
        let held = self.cabs[cab].store.rows(EVENTS).unwrap_or_default();
        let held = held.into_iter().filter(|(key, _)| !new.contains(&key));
        let held = held.filter_map(|(key, record)| Some((number_of_key(&key)?, record))).collect();
        self.ledger.begin_epoch(cab, epoch, held);
    }

    /// The sabotage of a cabinet that begins an epoch without need, and so tells everything once more.
    pub(super) fn tell_history_again(&mut self, cab: Cab) {
        let meta = Table("meta");
        let Some(mut row) = self.cabs[cab].store.get(meta, b"identity").cloned() else { return };
        let Ok(IdentityRow { epoch: Epoch(old) }) = cbor::decode::<IdentityRow>(&row) else { return };
        let Some(at) = row.windows(old.len()).position(|bytes| bytes == old) else { return };
        row[at..at + old.len()].copy_from_slice(&self.dice.bytes::<8>());
        let writes = [Write::put(meta, "identity", row)];
        if self.cabs[cab].store.commit(&writes).is_ok() {
            self.see_epoch(cab, &writes);
        }
    }

    /// After a restore backends put their orders again, those that the fleet has forgotten as well; some do not.
    pub(super) fn forgotten_orders_are_put_again(&mut self) {
        for shop in 0..SHOPS.len() {
            for order in self.shops[shop].orders.clone() {
                let forgotten = self.ledger.orders.get(&order).is_some_and(|truth| truth.told.state.is_none());
                if forgotten && !self.dice.one_in(3) {
                    self.publish(&order, true);
                }
            }
        }
        for order in self.answers.keys().cloned().collect::<Vec<_>>() {
            if self.ledger.orders.get(&order).is_some_and(|truth| truth.told.state.is_none()) {
                self.publish(&order, true);
            }
        }
    }
}
