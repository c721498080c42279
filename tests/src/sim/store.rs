//! A store in memory: what is committed survives every crash, what is being committed may, and a commit can fail.

use std::collections::BTreeMap;
use std::ops::Bound;

use schemas::step::{Row, Store, StoreError, Table, Write};

type Rows = BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>;

#[derive(Debug, Clone, Default)]
pub(super) struct MemStore {
    /// What a restart finds.
    durable: Rows,
    /// A transaction that was written and is not yet known to have reached the disk.
    in_flight: Option<Vec<Write>>,
    /// The disk takes nothing more.
    full: bool,
}

impl MemStore {
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<&Vec<u8>> {
        self.durable.get(&table)?.get(key)
    }

    /// Copies single rows into another store.
    pub(super) fn copy_rows(&self, table: Table, keys: &[&[u8]], to: &mut Self) {
        for key in keys {
            if let Some(value) = self.get(table, key) {
                to.durable.entry(table).or_default().insert(key.to_vec(), value.clone());
            }
        }
    }

    pub(super) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The first half of a commit: everything is written, nothing is certain.
    pub(super) fn begin(&mut self, writes: &[Write]) {
        self.in_flight = Some(writes.to_vec());
    }

    /// The process or the disk failed in the middle of a commit: afterwards all of it is there, or nothing.
    pub(super) fn break_off(&mut self, reached: bool) {
        let written = self.in_flight.take();
        if let Some(written) = written.filter(|_| reached) {
            self.write(&written);
        }
    }

    fn write(&mut self, writes: &[Write]) {
        for write in writes {
            let rows = self.durable.entry(write.table).or_default();
            match &write.value {
                Some(value) => rows.insert(write.key.clone(), value.clone()),
                None => rows.remove(&write.key),
            };
        }
    }
}

pub(super) fn contains(value: &[u8], needle: &[u8]) -> bool {
    value.windows(needle.len()).any(|window| window == needle)
}

impl Store for MemStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if self.full {
            return Err(StoreError { context: "the disk is full".into(), source: None });
        }
        self.write(writes);
        Ok(())
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let from = (Bound::Included(from), Bound::Unbounded);
        let rows = self.durable.get(&table).into_iter().flat_map(|rows| rows.range::<[u8], _>(from));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table("rows");

    #[test]
    fn a_commit_that_is_cut_leaves_the_old_state_or_the_new_one() {
        let mut store = MemStore::default();
        store.commit(&[Write::put(TABLE, "a", vec![1]), Write::put(TABLE, "b", vec![1])]).unwrap();
        let next = [Write::put(TABLE, "a", vec![2]), Write::remove(TABLE, "b")];
        store.begin(&next);
        assert_eq!(store.get(TABLE, b"a"), Some(&vec![1]), "nothing is there before it is certain");
        store.break_off(false);
        assert_eq!((store.get(TABLE, b"a"), store.get(TABLE, b"b")), (Some(&vec![1]), Some(&vec![1])));
        store.begin(&next);
        store.break_off(true);
        assert_eq!((store.get(TABLE, b"a"), store.get(TABLE, b"b")), (Some(&vec![2]), None));
    }

    #[test]
    fn a_full_disk_takes_nothing_and_loses_nothing() {
        let mut store = MemStore::default();
        store.commit(&[Write::put(TABLE, "a", vec![1])]).unwrap();
        store.set_full(true);
        assert!(store.commit(&[Write::put(TABLE, "a", vec![2])]).is_err());
        assert_eq!(store.rows(TABLE).unwrap(), [(b"a".to_vec(), vec![1])]);
    }
}
