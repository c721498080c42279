//! A store in memory: what is committed survives every crash of the simulation.

use std::collections::BTreeMap;

use schemas::step::{Row, Store, StoreError, Table, Write};

#[derive(Debug, Clone, Default)]
pub(super) struct MemStore {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl MemStore {
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<&Vec<u8>> {
        self.rows.get(&(table, key.to_vec()))
    }
}

pub(super) fn contains(value: &[u8], needle: &[u8]) -> bool {
    value.windows(needle.len()).any(|window| window == needle)
}

impl Store for MemStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        for write in writes {
            let at = (write.table, write.key.clone());
            match &write.value {
                Some(value) => self.rows.insert(at, value.clone()),
                None => self.rows.remove(&at),
            };
        }
        Ok(())
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.range((table, from.to_vec())..).take_while(|((held, _), _)| *held == table);
        Ok(rows.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}
