//! The first message of a connection: what the cabinet is and what it holds.

use crate::cbor::{Blob, Known};
use crate::cbor_map;

use super::{Attributes, BootId, Challenge, CommandId, Compartment, Epoch, Instance, Salt, Size};

cbor_map! {
    /// One compartment of the cabinet's inventory.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CompartmentInfo {
        1 => number: Compartment,
        2 => size: Size,
        3 => attributes: Attributes,
        4 => in_service: bool,
    }
}

cbor_map! {
    /// The cabinet's pepper, sealed to the codes signer (crypto::seal), with the salt of its verifiers.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PepperOffer {
        /// Grows with each new pepper of this instance.
        1 => version: u32,
        2 => salt: Salt,
        3 => sealed: Blob,
    }
}

cbor_map! {
    /// Sent first on each connection, QoS 1. The fleet answers with [`Welcome`](super::Welcome).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Hello {
        /// Minor version of the protocol.
        1 => minor: u16,
        /// The agent's version, for people.
        2 => agent: String,
        3 => instance: Instance,
        4 => boot: BootId,
        5 => challenge: Challenge,
        6 => epoch: Epoch,
        /// Number of the newest event in the cabinet's outbox or history, 0 for none.
        7 => newest: u64,
        /// Number of the oldest event that the cabinet can still send, `newest + 1` for none.
        8 => oldest: u64,
        /// Version of the book that is in force, 0 for none.
        9 => book: u64,
        10 => keyset: u64,
        11 => compartments: Known<CompartmentInfo>,
        /// Left out until a keyset with a key of the codes signer is held.
        12 opt => pepper: Option<PepperOffer>,
        /// Commands that are journalled and have no outcome yet.
        13 => open_commands: Vec<CommandId>,
        /// True: its screen shows tokens, and an order is opened by one ([`OpenOrder`](super::OpenOrder)).
        20 opt => app: Option<bool>,
        /// True: it takes commands to load an order and to take it out ([`Action`](super::Action)).
        60 opt => errands: Option<bool>,
        /// True: couriers may be in its book ([`PutCourier`](super::PutCourier)).
        70 opt => couriers: Option<bool>,
        /// True: it puts orders that share beside one another ([`PutOrder`](super::PutOrder)).
        80 opt => shares: Option<bool>,
    }
}
