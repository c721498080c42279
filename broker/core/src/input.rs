//! What can happen to the fleet.

use std::fmt;

use schemas::api::CertificateId;
use schemas::ids::{CabinetId, Identity, Name, TenantId};
use schemas::messages::FleetMillis;
use schemas::topics::{OrderChange, Stream, Up};

use crate::enrolment::{Issue, Right};
use crate::notify::{Outcome, Receipt};
use crate::signing::SignerReply;

/// When an input is handled, and randomness for what it makes. The entropy is fresh for each call, never reused.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now: FleetMillis,
    pub entropy: [u8; 32],
}

/// Shows no entropy: ids of commands come from it.
impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moment({})", self.now)
    }
}

/// A certificate that somebody was let in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateSeen {
    pub id: CertificateId,
    pub issued: FleetMillis,
    pub expires: FleetMillis,
}

/// A fact that the shell hands in. Identities come from certificates, never from a payload.
#[derive(Clone, PartialEq, Eq)]
pub enum Input {
    /// The deadline of [`FleetCore::poll_timeout`](crate::FleetCore::poll_timeout) has come.
    Tick,
    /// The gate let somebody in. Comes before anything else of the connection.
    Admitted {
        who: Identity,
        certificate: CertificateSeen,
    },
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
    OrderChange {
        tenant: TenantId,
        integration: Name,
        change: OrderChange,
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
    /// What became of a try to send a message, as [`Effect::Notify`](crate::Effect::Notify) asked for it.
    Notified {
        tenant: TenantId,
        id: String,
        attempt: u32,
        outcome: Outcome,
    },
    /// What a gateway says about a message that it has accepted under a name, as [`Effect::AskReceipt`](crate::Effect::AskReceipt)
    /// asked for it.
    Receipt {
        tenant: TenantId,
        id: String,
        reference: String,
        receipt: Receipt,
    },
    /// A device asks for a certificate of a cabinet.
    Enrol {
        tenant: TenantId,
        cabinet: CabinetId,
        right: Right,
        issue: Issue,
    },
}

/// Payloads show their size only: an order holds personal data.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => f.write_str("Tick"),
            Self::Admitted { who, .. } => write!(f, "Admitted({who})"),
            Self::CabinetConnected { tenant, cabinet } => write!(f, "CabinetConnected({tenant}/{cabinet})"),
            Self::CabinetGone { tenant, cabinet, reason } => write!(f, "CabinetGone({tenant}/{cabinet}: {reason})"),
            Self::CabinetUp { tenant, cabinet, up, payload } => {
                write!(f, "CabinetUp({tenant}/{cabinet} {}, {} bytes)", up.as_str(), payload.len())
            }
            Self::OrderPut { tenant, integration, payload } => {
                write!(f, "OrderPut({tenant}/{integration}, {} bytes)", payload.len())
            }
            Self::OrderCancel { tenant, integration, payload } => {
                write!(f, "OrderCancel({tenant}/{integration}, {} bytes)", payload.len())
            }
            Self::OrderChange { tenant, integration, change, payload } => {
                write!(f, "OrderChange({tenant}/{integration} {}, {} bytes)", change.as_str(), payload.len())
            }
            Self::Request { ticket, who, payload } => write!(f, "Request({ticket}, {who}, {} bytes)", payload.len()),
            Self::RowAcked { tenant, integration, stream, n } => {
                write!(f, "RowAcked({tenant}/{integration}/{stream} {n})")
            }
            Self::Signer { ticket, reply } => write!(f, "Signer({ticket}, {reply:?})"),
            Self::Notified { tenant, id, attempt, outcome } => {
                write!(f, "Notified({tenant}/{id}, try {attempt}: {outcome:?})")
            }
            Self::Receipt { tenant, id, receipt, .. } => write!(f, "Receipt({tenant}/{id}: {receipt:?})"),
            Self::Enrol { tenant, cabinet, issue, .. } => write!(f, "Enrol({tenant}/{cabinet}, {})", issue.ticket),
        }
    }
}
