//! The dispatcher: one input in, one step out.

use schemas::cbor::CborError;
use schemas::ids::{CabinetId, Name, TenantId};
use schemas::messages::FleetMillis;
use schemas::step::{Step, Store, StoreError};
use schemas::topics::Stream;

use crate::config::Config;
use crate::effect::Effect;
use crate::input::{Input, Moment};
use crate::tables::META;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read the store")]
    Store(#[from] StoreError),
    #[error("the store has format {found}; this version reads format {known}: use the version that wrote it")]
    Format { found: u64, known: u64 },
    #[error("row {key} of table {table} cannot be read")]
    Row {
        table: &'static str,
        key: String,
        #[source]
        source: CborError,
    },
}

/// The fleet's state and rules.
pub struct FleetCore {
    config: Config,
}

impl FleetCore {
    /// Reads the state from `store`.
    pub fn open(config: Config, store: &dyn Store) -> Result<Self, OpenError> {
        store.rows(META)?;
        Ok(Self { config })
    }

    /// Takes one fact.
    pub fn handle(&mut self, _input: Input, _moment: &Moment) -> Step<Effect> {
        let _ = &self.config;
        Step::default()
    }

    /// When [`Input::Tick`] is due.
    pub fn poll_timeout(&self) -> Option<FleetMillis> {
        None
    }

    /// Registered cabinets, for the gate's admission.
    pub fn cabinets(&self) -> impl Iterator<Item = (&TenantId, &CabinetId)> {
        std::iter::empty()
    }

    /// Cursor (newest acknowledged row) and newest row of a stream; 0 for none.
    pub fn heads(&self, _tenant: &TenantId, _integration: &Name, _stream: Stream) -> (u64, u64) {
        (0, 0)
    }
}
