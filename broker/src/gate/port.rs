//! The boundary between the gate and the driver: facts in, orders out, and the token that a commit redeems.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use certs::{ClientRoots, Fingerprint};
use rumqttd::protocol::{DisconnectReasonCode, PubAckReason};
use schemas::api::ContentType;
use schemas::ids::{CabinetId, Identity, SessionSuffix, TenantId};
use schemas::topics::{OrderChange, Stream, Up};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::conn::Conn;
use super::rule::Rule;

/// One connection; unique in this process and growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(super) u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who a verified certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub identity: Identity,
    pub fingerprint: Fingerprint,
    /// When the certificate was issued, and when it ends.
    pub issued: SystemTime,
    pub expires: SystemTime,
}

/// Reads the identity out of a peer's certificate chain, and verifies it again: a resumed TLS session has skipped that.
pub type Identify = Arc<dyn Fn(&[CertificateDer<'_>]) -> Result<Peer, String> + Send + Sync>;

/// Reads identities that `roots` vouch for at the time that `now` says.
pub fn identify_with(roots: ClientRoots, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Identify {
    Arc::new(move |chain| {
        let peer = roots.identity_of(chain, now()).map_err(|error| error.to_string())?;
        let certs::PeerIdentity { identity, fingerprint, issued, not_after, .. } = peer;
        Ok(Peer { identity, fingerprint, issued, expires: not_after })
    })
}

/// Decides on every CONNECT, resumed TLS included. Asked twice, so it answers from memory.
///
/// To shut somebody out: make `admit` refuse, then call [`super::GateHandle::close_revoked`]. The gate asks again after
/// it has registered a connection, so one that is in mid-handshake is caught by one of the two.
pub trait Admission: Send + Sync {
    fn admit(&self, peer: &Peer) -> Result<(), Refused>;

    /// Whether somebody of the cabinet's tenant may see it live. Asked for each message: a scope may shrink.
    fn sees(&self, who: &Identity, cabinet: &CabinetId) -> bool;
}

/// Why somebody is not admitted. The client gets to read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    pub reason: String,
}

/// What the gate tells the driver.
///
/// Per connection the order is that of the wire. After a takeover inputs of the old connection can still come after
/// `CabinetConnected` of the new one: compare `conn`.
#[derive(Debug)]
pub enum GateInput {
    /// Somebody was let in, with this certificate: before anything else of the connection.
    Admitted {
        conn: ConnId,
        peer: Peer,
    },
    CabinetConnected {
        conn: ConnId,
        tenant: TenantId,
        cabinet: CabinetId,
        fingerprint: Fingerprint,
        peer: SocketAddr,
    },
    /// `ack` is `None` for telemetry alone.
    CabinetUp {
        conn: ConnId,
        tenant: TenantId,
        cabinet: CabinetId,
        up: Up,
        payload: Bytes,
        ack: Option<Ack>,
    },
    /// The cabinet's PUBACK of a command; `taken` is false if it carried a reason code of 0x80 or more.
    CabinetAcked {
        conn: ConnId,
        tenant: TenantId,
        cabinet: CabinetId,
        token: DownToken,
        taken: bool,
    },
    /// Once per `CabinetConnected`, after all other inputs of that connection.
    CabinetGone {
        conn: ConnId,
        tenant: TenantId,
        cabinet: CabinetId,
        reason: Gone,
    },
    /// A second connection with a cabinet's certificate ended the first. A cabinet that lost its network does this too:
    /// the alarm is for an old holder that was heard of just now, or takeovers in a row.
    DuplicateIdentity {
        tenant: TenantId,
        cabinet: CabinetId,
        old: Holder,
        new: Holder,
        old_silent_for: Duration,
        /// 1 for the first; grows while each holder is ended by the next.
        in_a_row: u32,
    },
    OrderPut {
        conn: ConnId,
        integration: Identity,
        payload: Bytes,
        content_type: Option<String>,
        ack: Ack,
    },
    OrderCancel {
        conn: ConnId,
        integration: Identity,
        payload: Bytes,
        content_type: Option<String>,
        ack: Ack,
    },
    OrderChange {
        conn: ConnId,
        integration: Identity,
        change: OrderChange,
        payload: Bytes,
        content_type: Option<String>,
        ack: Ack,
    },
    Request {
        conn: ConnId,
        who: Identity,
        suffix: Option<SessionSuffix>,
        payload: Bytes,
        content_type: Option<String>,
        correlation: Option<Bytes>,
        ack: Ack,
    },
    /// The consumer is there: rows may be sent, at most `window` of this stream unacknowledged at a time.
    StreamOpened {
        conn: ConnId,
        integration: Identity,
        stream: Stream,
        window: u16,
        /// In which form it wants them.
        content: ContentType,
    },
    /// The consumer has taken row `n`.
    StreamAcked {
        conn: ConnId,
        integration: Identity,
        stream: Stream,
        n: u64,
    },
    /// Once per `StreamOpened`. Rows without `StreamAcked` are to be sent again at the next opening.
    StreamClosed {
        conn: ConnId,
        integration: Identity,
        stream: Stream,
    },
}

impl GateInput {
    /// The connection that it came from, unless it is about two.
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Admitted { conn, .. }
            | Self::CabinetConnected { conn, .. }
            | Self::CabinetUp { conn, .. }
            | Self::CabinetAcked { conn, .. }
            | Self::CabinetGone { conn, .. }
            | Self::OrderPut { conn, .. }
            | Self::OrderCancel { conn, .. }
            | Self::OrderChange { conn, .. }
            | Self::Request { conn, .. }
            | Self::StreamOpened { conn, .. }
            | Self::StreamAcked { conn, .. }
            | Self::StreamClosed { conn, .. } => Some(*conn),
            Self::DuplicateIdentity { .. } => None,
        }
    }
}

/// One of two connections that claim the same cabinet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub conn: ConnId,
    pub peer: SocketAddr,
    pub fingerprint: Fingerprint,
}

/// The driver's own name for a command on its way; comes back in `CabinetAcked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DownToken(pub u64);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The client said DISCONNECT.
    Left,
    /// The socket ended without a word, or broke.
    PeerClosed,
    KeepaliveExpired,
    /// A command stayed unacknowledged.
    Unreachable,
    TakenOver,
    /// The driver dropped an [`Ack`]: the client has to send again.
    NotStored,
    Misbehaved(Rule),
    Closed(CloseReason),
    ShuttingDown,
    /// The peer took no byte any more.
    WriteStalled,
}

/// Why the driver closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    Revoked,
    Administrative,
    /// A gap in a cabinet's events: it has to connect and say hello again.
    Resynchronise,
}

/// Why the gate did not take an order of the driver. What it takes can still be lost with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("not connected")]
    NotConnected,
    #[error("queue is full")]
    QueueFull,
    #[error("larger than the client's maximum packet size")]
    TooLarge,
}

/// Why a PUBLISH is answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckRefusal {
    NotAuthorized,
    QuotaExceeded,
    PayloadInvalid,
    Implementation,
    Unspecified,
}

/// Stands for a PUBACK that is owed. Redeem it once the message is on disk, from any thread.
///
/// Dropped without being redeemed, it closes the connection without a PUBACK: the client sends again after it has
/// reconnected, and nothing is lost.
pub struct Ack {
    conn: Arc<Conn>,
    place: u64,
    redeemed: bool,
}

impl Ack {
    pub(super) fn new(conn: Arc<Conn>, place: u64) -> Self {
        Self { conn, place, redeemed: false }
    }

    /// The message is on disk.
    pub fn done(self) {
        self.redeem(Receipt { reason: PubAckReason::Success, text: None });
    }

    /// The message is refused for good; `reason` is for the client to read.
    pub fn refuse(self, refusal: AckRefusal, reason: &str) {
        let code = match refusal {
            AckRefusal::NotAuthorized => PubAckReason::NotAuthorized,
            AckRefusal::QuotaExceeded => PubAckReason::QuotaExceeded,
            AckRefusal::PayloadInvalid => PubAckReason::PayloadFormatInvalid,
            AckRefusal::Implementation => PubAckReason::ImplementationSpecificError,
            AckRefusal::Unspecified => PubAckReason::UnspecifiedError,
        };
        self.redeem(Receipt { reason: code, text: Some(reason.into()) });
    }

    /// For a message that the gate itself has refused.
    pub(super) fn forget(mut self) {
        self.redeemed = true;
    }

    fn redeem(mut self, receipt: Receipt) {
        self.redeemed = true;
        self.conn.settle(self.place, receipt);
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if !self.redeemed {
            self.conn.close(Gone::NotStored);
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("conn", &self.conn.id).field("place", &self.place).finish()
    }
}

/// The content of a PUBACK.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) reason: PubAckReason,
    pub(super) text: Option<Box<str>>,
}

impl Gone {
    /// The DISCONNECT that goes with it; `None` if the peer is gone already.
    pub(super) fn farewell(self) -> Option<(DisconnectReasonCode, &'static str)> {
        match self {
            Self::Left | Self::PeerClosed | Self::WriteStalled => None,
            Self::KeepaliveExpired => Some((DisconnectReasonCode::KeepAliveTimeout, "keepalive expired")),
            Self::Unreachable => {
                Some((DisconnectReasonCode::UnspecifiedError, "a command was not acknowledged in time"))
            }
            Self::TakenOver => {
                Some((DisconnectReasonCode::SessionTakenOver, "another connection has this client id now"))
            }
            Self::NotStored => Some((DisconnectReasonCode::ServerBusy, "not stored: connect and send again")),
            Self::Misbehaved(rule) => Some((rule.disconnect_code(), rule.name())),
            Self::Closed(CloseReason::Revoked) => Some((DisconnectReasonCode::NotAuthorized, "no longer admitted")),
            Self::Closed(CloseReason::Administrative) => {
                Some((DisconnectReasonCode::AdministrativeAction, "closed by the fleet"))
            }
            Self::Closed(CloseReason::Resynchronise) => {
                Some((DisconnectReasonCode::AdministrativeAction, "connect and say hello again"))
            }
            Self::ShuttingDown => Some((DisconnectReasonCode::ServerShuttingDown, "fleet is shutting down")),
        }
    }
}
