//! What every connection's task has in common.

use std::sync::{Arc, PoisonError, RwLock};

use schemas::ids::Role;
use tokio::sync::{mpsc, watch};
use tokio_rustls::rustls::ServerConfig;

use super::counters::Counters;
use super::half_open::HalfOpen;
use super::limits::GateSettings;
use super::port::{Admission, GateInput, Identify};
use super::table::Table;

pub(super) struct Shared {
    pub(super) settings: GateSettings,
    pub(super) identify: Identify,
    pub(super) admission: Arc<dyn Admission>,
    pub(super) inputs: mpsc::Sender<GateInput>,
    pub(super) table: Table,
    pub(super) counters: Counters,
    pub(super) half_open: Arc<HalfOpen>,
    pub(super) stop: watch::Sender<bool>,
    tls: RwLock<Arc<ServerConfig>>,
}

impl Shared {
    pub(super) fn new(
        settings: GateSettings,
        tls: Arc<ServerConfig>,
        identify: Identify,
        admission: Arc<dyn Admission>,
        inputs: mpsc::Sender<GateInput>,
    ) -> Self {
        Self {
            half_open: Arc::new(HalfOpen::new(&settings)),
            settings,
            identify,
            admission,
            inputs,
            table: Table::new(),
            counters: Counters::new(),
            stop: watch::Sender::new(false),
            tls: RwLock::new(tls),
        }
    }

    pub(super) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_tls(&self, tls: Arc<ServerConfig>) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// Largest packet that this role may send.
    pub(super) fn packet_max(&self, role: Role) -> usize {
        if role == Role::Cabinet { self.settings.cabinet_packet_max } else { self.settings.session_packet_max }
    }
}
