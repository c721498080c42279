//! How a fleet is: what `fleet doctor` asks for.

use serde::{Deserialize, Serialize};

use crate::ids::CabinetId;

use super::Rfc3339;

/// The newest alarm about a cabinet since the broker was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmSeen {
    pub at: Rfc3339,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CabinetHealth {
    pub cabinet: CabinetId,
    pub online: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Rfc3339>,
    /// Version of the agent, empty before its first hello.
    pub agent: String,
    /// Version of the book that the fleet wants there, and of the one that is in force there.
    pub book_wanted: u64,
    pub book_held: u64,
    pub keyset_held: u64,
    pub disk_low: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmSeen>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// The fleet's time.
    pub now: Rfc3339,
    /// Version of the broker.
    pub version: String,
    /// The disk of the fleet's store is full: it lives on its reserve.
    pub disk_low: bool,
    /// Version of the newest keyset, 0 for none.
    pub keyset: u64,
    /// Why the signer did not do what it was asked last; left out where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_failed: Option<String>,
    /// When the newest backup on the broker's host was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Rfc3339>,
    /// Messages that their recipients do not get, about orders that still wait.
    #[serde(default)]
    pub undelivered: u64,
    pub cabinets: Vec<CabinetHealth>,
    /// More cabinets follow behind the last one.
    pub more: bool,
}
