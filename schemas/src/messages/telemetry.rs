//! Samples: may be lost. Of what they say the fleet keeps nothing but what people see, and which compartments it offers.

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
        /// True: its lock failed, or another door opened instead: it takes no order until its own pulse has opened it. Left out
        /// otherwise, and by agents that do not tell.
        5 opt => fault: Option<bool>,
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
