//! Samples: may be lost, never change anything at the fleet but what people see.

use crate::cbor::Known;
use crate::{cbor_code, cbor_map};

use super::{Challenge, Compartment, Occupancy, Stamp};

cbor_code! {
    pub enum DoorState {
        0 => Unknown = "unknown",
        1 => Closed = "closed",
        2 => Open = "open",
        3 => HeldOpen = "held_open",
        4 => Forced = "forced",
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CompartmentState {
        1 => number: Compartment,
        2 => door: DoorState,
        3 => occupancy: Occupancy,
        /// An order is booked into it.
        4 => allocated: bool,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Telemetry {
        1 => challenge: Challenge,
        2 => at: Stamp,
        3 => compartments: Known<CompartmentState>,
        4 => boards_silent: u32,
        /// Events written and not yet acknowledged.
        5 => outbox: u64,
        6 => book: u64,
        /// Wrong codes of the current day.
        7 => wrong_codes_today: u32,
        /// True: the disk is so full that the store lives on its reserve. Left out otherwise.
        8 opt => disk_low: Option<bool>,
    }
}
