//! Signed commands that move something: verify, journal, act, tell.

use crate::{cbor_map, cbor_union};

use super::{Challenge, CommandId, Compartment, FleetMillis, OrderKey, Size};

/// Oldest challenge that a command may name, in milliseconds of the cabinet's boot clock, checked when the command is
/// verified and again immediately before the pulse.
pub const COMMAND_AGE_MAX_MILLIS: u64 = 30_000;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ExpectEmpty {}
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ExpectOrder { 1 => order: OrderKey }
}

cbor_union! {
    /// What the compartment must hold by the cabinet's own book, or the command is refused: the signer need not
    /// believe the carrier about where an order lies.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Expect {
        1 => Empty(ExpectEmpty),
        2 => Order(ExpectOrder),
    }
}

impl Expect {
    pub fn empty() -> Self {
        Self::Empty(ExpectEmpty {})
    }

    pub fn order(order: OrderKey) -> Self {
        Self::Order(ExpectOrder { order })
    }

    /// From the order that is in the compartment, if any.
    pub fn of(content: Option<&OrderKey>) -> Self {
        content.map_or_else(Self::empty, |order| Self::order(order.clone()))
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Unlock {
        1 => compartment: Compartment,
        2 => expects: Expect,
    }
}

cbor_map! {
    /// Open a compartment for an order that is to be loaded. The cabinet chooses it, and goes on as with staff at its screen.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LoadOrder {
        1 => order: OrderKey,
        /// This one, if it is free and the order fits.
        2 opt => compartment: Option<Compartment>,
        /// One of this size at least, because what is to be loaded is larger than was said. Not beside a compartment.
        3 opt => size: Option<Size>,
    }
}

cbor_map! {
    /// What staff say at the screen where no sensor can: whether the order is inside, now that the door is closed. Opens nothing.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ConfirmOrder {
        1 => order: OrderKey,
        2 => inside: bool,
        /// True: about an order that is being taken out. False: about one that is being loaded.
        3 => retrieving: bool,
    }
}

cbor_map! {
    /// Open the compartment of an order that is to be taken out. From then on its code is refused.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RetrieveOrder { 1 => order: OrderKey }
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Action {
        1 => Unlock(Unlock),
        60 => Load(LoadOrder),
        61 => Confirm(ConfirmOrder),
        62 => Retrieve(RetrieveOrder),
    }
}

impl Action {
    /// The order that it is about, but for an unlock, which is about a door.
    pub fn order(&self) -> Option<&OrderKey> {
        match self {
            Self::Unlock(_) => None,
            Self::Load(load) => Some(&load.order),
            Self::Confirm(word) => Some(&word.order),
            Self::Retrieve(retrieve) => Some(&retrieve.order),
        }
    }
}

cbor_map! {
    /// Payload of a COSE_Sign1 with purpose `unlock`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Command {
        1 => id: CommandId,
        2 => challenge: Challenge,
        3 => issued: FleetMillis,
        4 => action: Action,
        /// The identity that asked for it, for the record: `operator:acme:eve`.
        5 => requester: String,
    }
}

cbor_map! {
    /// Forget everything: the book, the codes, the journal, the keys. The last of the cabinet's words is a [`Receipt`](super::Receipt).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Wipe {}
}

cbor_union! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ConfigAction {
        1 => Wipe(Wipe),
    }
}

cbor_map! {
    /// Payload of a COSE_Sign1 with purpose `config`. As fresh as an unlock, and taken once.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ConfigCommand {
        1 => id: CommandId,
        2 => challenge: Challenge,
        3 => issued: FleetMillis,
        4 => action: ConfigAction,
        /// The identity that asked for it, for the record: `operator:acme:eve`.
        5 => requester: String,
    }
}
