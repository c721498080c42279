//! What a cabinet says of its own end.

use crate::cbor_map;
use crate::ids::{CabinetId, TenantId};

use super::{CommandId, FleetMillis, Instance};

cbor_map! {
    /// Payload of a COSE_Sign1 with the key of the cabinet's certificate (crypto::receipt): what was erased there, and for
    /// whom.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Receipt {
        1 => tenant: TenantId,
        2 => cabinet: CabinetId,
        3 => instance: Instance,
        /// The command that asked for it.
        4 => command: CommandId,
        /// Who asked, as the command said.
        5 => requester: String,
        /// Fleet time, if the cabinet knew it.
        6 opt => at: Option<FleetMillis>,
        /// Orders in the book.
        7 => orders: u64,
        /// Codes and QR codes, used ones included.
        8 => credentials: u64,
        /// Members of staff with a PIN.
        9 => staff: u64,
        /// Events in the journal.
        10 => events: u64,
        /// Events among these that the fleet never acknowledged.
        11 => unsent: u64,
    }
}
