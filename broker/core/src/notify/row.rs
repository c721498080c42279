//! A message to a person as it lies in the store, from its making until it is forgotten.

use schemas::api::{MessageDetail, MessageState, NotificationKind, Rfc3339, UndeliveredReason};
use schemas::cbor_map;
use schemas::ids::{CabinetId, Name, OrderId, TenantId};
use schemas::messages::{FleetMillis, OrderKey};

use crate::rows::NotificationRow;

/// Where a message lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageRef {
    pub(crate) tenant: TenantId,
    pub(crate) id: String,
}

impl MessageRef {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.tenant, self.id)
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct MessageRow {
        1 => id: String,
        /// Whose recipient it goes to: an order, or the bundle with the name of `bundle`.
        2 => order: OrderKey,
        3 => kind: NotificationKind,
        4 => cabinet: CabinetId,
        5 => created: FleetMillis,
        6 => state: MessageState,
        /// Tries at this channel, the one under way included.
        7 => attempt: u32,
        /// When something is to be done with it next.
        8 => next: FleetMillis,
        9 opt => channel: Option<Name>,
        /// Since when it goes by this channel.
        10 opt => since: Option<FleetMillis>,
        /// Channels that have been tried.
        11 opt => tried: Option<Vec<Name>>,
        12 opt => reference: Option<String>,
        13 opt => reason: Option<UndeliveredReason>,
        14 opt => detail: Option<String>,
        15 opt => bundle: Option<OrderId>,
        /// Dropped as soon as nothing is to be sent any more.
        16 opt => content: Option<Content>,
        /// The channels that may be used are those for this integration.
        17 => integration: Name,
        /// Since when a gateway has it that is asked whether it was delivered.
        120 opt => accepted: Option<FleetMillis>,
        /// How often it was asked.
        121 opt => asked: Option<u32>,
        /// Since when the signer does not show the code.
        122 opt => unrevealed: Option<FleetMillis>,
    }
}

cbor_map! {
    /// Personal data, and the code, sealed.
    #[derive(Clone, PartialEq, Eq)]
    pub(crate) struct Content {
        1 => row: NotificationRow,
        /// Cut where the code belongs.
        2 => text: Vec<String>,
        3 => subject: String,
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content(..)")
    }
}

impl MessageRow {
    /// Something may still be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, MessageState::Queued | MessageState::Sending)
    }

    pub(crate) fn detail(&self) -> MessageDetail {
        MessageDetail {
            id: self.id.clone(),
            order: self.order.clone(),
            kind: self.kind,
            cabinet: self.cabinet.clone(),
            state: self.state,
            at: Rfc3339(self.created),
            channel: self.channel.clone(),
            attempts: self.attempt,
            next: (self.state == MessageState::Queued).then_some(Rfc3339(self.next)),
            reason: self.reason,
            detail: self.detail.clone(),
            reference: self.reference.clone(),
        }
    }
}
