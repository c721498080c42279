//! What the shell does after the writes of a step are on disk.

use std::fmt;

use schemas::api::{BadgeIssued, BreakGlassShown, CourierIssued, FleetStatus, Reply, Scope, StaffIssued};
use schemas::cbor::Blob;
use schemas::ids::{CabinetId, Identity, Name, SiteId, TenantId};
use schemas::messages::FleetMillis;
use schemas::topics::{Live, Stream};

use crate::enrolment::EnrolRefusal;
use crate::notify::{Dispatch, ReceiptAsk};
use crate::signing::SignerRequest;

/// An order to the shell.
#[derive(Clone, PartialEq, Eq)]
pub enum Effect {
    /// Publish to the cabinet's `down` topic.
    Down {
        tenant: TenantId,
        cabinet: CabinetId,
        payload: Vec<u8>,
    },
    /// Cut the cabinet's connection. Comes with [`Effect::Refuse`] when the input that caused it was not taken: a
    /// PUBACK without an error would tell the cabinet that its event is on disk.
    CloseCabinet {
        tenant: TenantId,
        cabinet: CabinetId,
        reason: String,
    },
    Signer {
        ticket: u64,
        request: SignerRequest,
    },
    /// The stream has rows up to `newest`.
    RowsGrew {
        tenant: TenantId,
        integration: Name,
        stream: Stream,
        newest: u64,
    },
    Reply {
        ticket: u64,
        reply: Reply,
    },
    /// Let the signer reveal `sealed` for `tenant`, and answer with [`SecretOf::reply`].
    ReplySecret {
        ticket: u64,
        tenant: TenantId,
        of: SecretOf,
        sealed: Blob,
    },
    /// Scan table [`STREAM`](crate::STREAM) from [`stream_key`](crate::stream_key) of row `after + 1`, at most
    /// [`ROWS_PAGE`](crate::ROWS_PAGE) rows, and answer with [`status_page`](crate::status_page).
    ReplyRows {
        ticket: u64,
        tenant: TenantId,
        integration: Name,
        after: u64,
    },
    /// Scan table [`UNLOCKS`](crate::UNLOCKS) from [`unlock_key`](crate::unlock_key), one row more than
    /// [`UNLOCKS_PAGE`](crate::UNLOCKS_PAGE), and answer with [`unlock_page`](crate::unlock_page) from those of the cabinet.
    ReplyUnlocks {
        ticket: u64,
        tenant: TenantId,
        cabinet: CabinetId,
        before: Option<u64>,
    },
    /// Fill in what only the shell knows, the disk, the signer and the newest backup, and answer.
    ReplyStatus {
        ticket: u64,
        status: Box<FleetStatus>,
    },
    /// Write a backup of the store as it is after this step, and answer when it is on disk.
    Backup {
        ticket: u64,
    },
    /// Have the code revealed and the message sent, and hand in what became of it as [`Input::Notified`](crate::Input::Notified).
    Notify(Box<Dispatch>),
    /// Ask the gateway, and hand in what it says as [`Input::Receipt`](crate::Input::Receipt). It may be left undone.
    AskReceipt(Box<ReceiptAsk>),
    /// Send the made-up message, and answer with [`Reply::Tested`].
    ReplyTested {
        ticket: u64,
        dispatch: Box<Dispatch>,
    },
    /// Publish to those who watch now.
    Live {
        tenant: TenantId,
        cabinet: CabinetId,
        live: Live,
        payload: Vec<u8>,
    },
    /// The publisher of the input gets PUBACK 0x99 with this text. Nothing of the input was kept.
    Refuse {
        reason: String,
    },
    /// The cabinet may connect from now on.
    Registered {
        tenant: TenantId,
        cabinet: CabinetId,
        site: SiteId,
    },
    /// From now on a person sees this much live.
    Scoped {
        identity: Identity,
        scope: Scope,
    },
    /// Certificates of `identity` that were issued up to `until` are void: nobody gets in with one, and whoever is in is cut.
    Revoked {
        identity: Identity,
        until: FleetMillis,
    },
    /// The certificate (X.509, DER) that a device asked for.
    Issued {
        ticket: u64,
        certificate: Vec<u8>,
    },
    NotIssued {
        ticket: u64,
        refusal: EnrolRefusal,
    },
    /// A person should look: log it as a warning.
    Alarm {
        text: String,
    },
}

/// What a secret is that somebody is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOf {
    Pin(Name),
    CourierPin(Name),
    /// Of staff, or of a courier.
    Badge(Name),
    BreakGlass(CabinetId),
}

impl SecretOf {
    pub fn reply(self, text: String) -> Reply {
        match self {
            Self::Pin(name) => Reply::Staff(StaffIssued { name, pin: text }),
            Self::CourierPin(name) => Reply::Courier(CourierIssued { name, pin: text }),
            Self::Badge(name) => Reply::Badge(BadgeIssued { name, badge: text }),
            Self::BreakGlass(cabinet) => Reply::BreakGlass(BreakGlassShown { cabinet, code: text }),
        }
    }
}

/// Payloads show their size only: a book holds verifiers.
impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { tenant, cabinet, payload } => write!(f, "Down({tenant}/{cabinet}, {} bytes)", payload.len()),
            Self::CloseCabinet { tenant, cabinet, reason } => write!(f, "CloseCabinet({tenant}/{cabinet}: {reason})"),
            Self::Signer { ticket, request } => write!(f, "Signer({ticket}, {request:?})"),
            Self::RowsGrew { tenant, integration, stream, newest } => {
                write!(f, "RowsGrew({tenant}/{integration}/{stream} to {newest})")
            }
            Self::Reply { ticket, reply } => write!(f, "Reply({ticket}, {reply:?})"),
            Self::ReplySecret { ticket, tenant, of, .. } => write!(f, "ReplySecret({ticket}, {tenant}: {of:?})"),
            Self::ReplyRows { ticket, tenant, integration, after } => {
                write!(f, "ReplyRows({ticket}, {tenant}/{integration} after {after})")
            }
            Self::ReplyUnlocks { ticket, tenant, cabinet, before } => {
                write!(f, "ReplyUnlocks({ticket}, {tenant}/{cabinet} before {before:?})")
            }
            Self::ReplyStatus { ticket, .. } => write!(f, "ReplyStatus({ticket})"),
            Self::Notify(dispatch) => write!(f, "Notify({dispatch:?})"),
            Self::ReplyTested { ticket, dispatch } => write!(f, "ReplyTested({ticket}, {dispatch:?})"),
            Self::Backup { ticket } => write!(f, "Backup({ticket})"),
            Self::Live { tenant, cabinet, live, payload } => {
                write!(f, "Live({tenant}/{cabinet} {}, {} bytes)", live.as_str(), payload.len())
            }
            Self::Refuse { reason } => write!(f, "Refuse({reason})"),
            Self::Issued { ticket, certificate } => write!(f, "Issued({ticket}, {} bytes)", certificate.len()),
            Self::NotIssued { ticket, refusal } => write!(f, "NotIssued({ticket}, {refusal:?})"),
            Self::Registered { tenant, cabinet, site } => write!(f, "Registered({tenant}/{cabinet} at {site})"),
            Self::Scoped { identity, scope } => write!(f, "Scoped({identity} to {scope:?})"),
            Self::Revoked { identity, until } => write!(f, "Revoked({identity} up to {until})"),
            Self::AskReceipt(ask) => write!(f, "{ask:?}"),
            Self::Alarm { text } => write!(f, "Alarm({text})"),
        }
    }
}
