//! What can happen to the fleet.

use schemas::ids::{CabinetId, Identity, Name, TenantId};
use schemas::messages::FleetMillis;
use schemas::topics::{Stream, Up};

use crate::signing::SignerReply;

/// When an input is handled, and randomness for what it makes. The entropy is fresh for each call, never reused.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now: FleetMillis,
    pub entropy: [u8; 32],
}

/// Shows no entropy: ids of commands come from it.
impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Moment({})", self.now)
    }
}

/// A fact that the shell hands in. Identities come from certificates, never from a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The deadline of [`FleetCore::poll_timeout`](crate::FleetCore::poll_timeout) has come.
    Tick,
    CabinetConnected {
        tenant: TenantId,
        cabinet: CabinetId,
    },
    CabinetGone {
        tenant: TenantId,
        cabinet: CabinetId,
        reason: String,
    },
    CabinetUp {
        tenant: TenantId,
        cabinet: CabinetId,
        up: Up,
        payload: Vec<u8>,
    },
    OrderPut {
        tenant: TenantId,
        integration: Name,
        payload: Vec<u8>,
    },
    OrderCancel {
        tenant: TenantId,
        integration: Name,
        payload: Vec<u8>,
    },
    /// A request of a person or an integration. The answer comes as an effect with the same ticket, perhaps later.
    Request {
        ticket: u64,
        who: Identity,
        payload: Vec<u8>,
    },
    /// The integration acknowledged row `n`, and with it all rows before.
    RowAcked {
        tenant: TenantId,
        integration: Name,
        stream: Stream,
        n: u64,
    },
    Signer {
        ticket: u64,
        reply: SignerReply,
    },
}
