//! What the fleet sends to a cabinet. Only what is signed can change anything at a cabinet.

use crate::cbor::Blob;
use crate::{cbor_map, cbor_union};

use super::Epoch;

cbor_map! {
    /// Answer to `hello`: events up to `high_water` of `epoch` are on the fleet's disk.
    ///
    /// Not signed. Whoever forges it can make a cabinet send again what it still has, or skip what it then keeps in
    /// its history; it cannot open a door or remove an event from the cabinet's history.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Welcome {
        1 => epoch: Epoch,
        2 => high_water: u64,
    }
}

cbor_map! {
    /// A COSE_Sign1 with a command or a message of the codes key (crypto::envelope).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Signed {
        1 => envelope: Blob,
    }
}

cbor_map! {
    /// Asks for a current challenge. Not signed; the cabinet answers at most once a second.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Ask {}
}

cbor_map! {
    /// A newer keyset, signed by a pinned root.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct KeysetUpdate {
        1 => envelope: Blob,
    }
}

cbor_map! {
    /// A command that a person has signed with a key of their own.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PersonalCommand {
        /// Purpose `unlock`: a [`Command`](super::Command).
        1 => envelope: Blob,
        /// Purpose `admin`, for the whole tenant: a [`Delegation`](super::Delegation) of that key.
        2 => delegation: Blob,
    }
}

cbor_map! {
    /// A COSE_Sign1 with a command of the config key.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ConfigEnvelope {
        1 => envelope: Blob,
    }
}

cbor_union! {
    /// Payload of the cabinet's `down` topic.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Down {
        1 => Welcome(Welcome),
        /// Purpose `unlock`: a [`Command`](super::Command).
        2 => Command(Signed),
        /// Purpose `codes`: a [`CodesMessage`](super::CodesMessage).
        3 => Codes(CodesEnvelope),
        4 => Ask(Ask),
        5 => Keyset(KeysetUpdate),
        6 => Personal(PersonalCommand),
        /// Purpose `config`: a [`ConfigCommand`](super::ConfigCommand).
        7 => Config(ConfigEnvelope),
    }
}

cbor_map! {
    /// A COSE_Sign1 with a message of the codes key.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CodesEnvelope {
        1 => envelope: Blob,
    }
}
