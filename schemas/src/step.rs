//! What a core decides: rows to write, then effects to carry out, in this order and never the other way round.

/// A table of a store. Declared by the core that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// One row to put (`value` is some) or to remove (`value` is none).
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl Write {
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: Vec<u8>) -> Self {
        Self { table, key: key.into(), value: Some(value) }
    }

    pub fn remove(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: None }
    }
}

/// Values may hold what must not reach a log.
impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key: String = self.key.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
        match &self.value {
            Some(value) => write!(f, "put {}[{key}] {} bytes", self.table.0, value.len()),
            None => write!(f, "remove {}[{key}]", self.table.0),
        }
    }
}

/// The answer of a core to one input. The shell commits `writes` in one transaction, and only then runs `effects`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<E> {
    pub writes: Vec<Write>,
    pub effects: Vec<E>,
}

impl<E> Default for Step<E> {
    fn default() -> Self {
        Self { writes: Vec::new(), effects: Vec::new() }
    }
}

impl<E> Step<E> {
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.effects.is_empty()
    }

    /// What `later` decided happens after this.
    pub fn extend(&mut self, later: Self) {
        self.writes.extend(later.writes);
        self.effects.extend(later.effects);
    }
}

/// A store failed; what it holds now is unknown until it is opened again.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct StoreError {
    pub context: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Where the rows of a core are kept. What [`Store::commit`] returned `Ok` for survives a power cut.
pub trait Store {
    /// Writes all rows in one durable transaction, or none.
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// Rows of `table` with `from <= key`, ascending, at most `limit`.
    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// All rows of `table`, ascending.
    fn rows(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.scan(table, &[], usize::MAX)
    }
}

/// Table and key of the row that a restore leaves: the moment of the backup. The fleet's core takes it away at its first
/// step, and compares every cabinet.
pub const RESTORED: (Table, &str) = (Table("meta"), "restored");

/// Key of a numbered row below a text: sorts by text, then by number.
pub fn numbered_key(prefix: &str, n: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + 9);
    key.extend_from_slice(prefix.as_bytes());
    key.push(0);
    key.extend_from_slice(&n.to_be_bytes());
    key
}

/// The number at the end of a [`numbered_key`].
pub fn number_of_key(key: &[u8]) -> Option<u64> {
    let (_, tail) = key.split_at_checked(key.len().checked_sub(8)?)?;
    Some(u64::from_be_bytes(tail.try_into().ok()?))
}
