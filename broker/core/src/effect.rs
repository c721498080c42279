//! What the shell does after the writes of a step are on disk.

use schemas::api::Reply;
use schemas::cbor::Blob;
use schemas::ids::{CabinetId, Name, TenantId};
use schemas::topics::{Live, Stream};

use crate::signing::SignerRequest;

/// An order to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Let the signer reveal `sealed` for `tenant`, and answer with `Reply::Staff`.
    ReplyPin {
        ticket: u64,
        tenant: TenantId,
        name: Name,
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
    },
    /// A person should look: log it as a warning.
    Alarm {
        text: String,
    },
}
