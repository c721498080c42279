//! Messages to people about orders: the row of the stream, and that of the outbox beside it.

use schemas::api::{NotificationKind, OrderState};
use schemas::ids::TenantId;
use schemas::messages::OrderKey;

use crate::config::Config;
use crate::notify::{MessageRow, Worth};
use crate::order::Orders;
use crate::rows::NotificationRow;
use crate::tables::{OrderRef, StreamRef};
use crate::turn::Turn;

impl Orders {
    /// Writes a notification about order or bundle `of`, and the message that the fleet itself sends, where the tenant has channels.
    pub(super) fn write_message(
        &mut self,
        turn: &mut Turn<'_>,
        stream: StreamRef,
        of: &OrderKey,
        row: NotificationRow,
    ) {
        let (tenant, integration) = (stream.tenant.clone(), stream.integration.clone());
        let mut row = row;
        self.streams.add(turn, stream, |n| {
            row.n = n;
            row.clone()
        });
        self.outbox.add(turn, &tenant, &integration, of, &row);
    }

    /// Begins to send what is due.
    pub(crate) fn send_messages(&mut self, turn: &mut Turn<'_>, config: &Config) {
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.send(turn, config.messages_per_minute, |tenant, message| self.worth(tenant, message));
        self.outbox = outbox;
    }

    /// Whether the recipient still has use for a message.
    pub(crate) fn worth(&self, tenant: &TenantId, message: &MessageRow) -> Worth {
        let at = OrderRef { tenant: tenant.clone(), order: message.order.clone() };
        if message.bundle.is_some() {
            return if self.bundles.has_secrets(&at) { Worth::Sending } else { Worth::Nothing };
        }
        let Some(order) = self.rows.get(&at) else { return Worth::Nothing };
        // It has become one of a bundle: its own code is dead.
        if order.part.is_none() && order.bundle.is_some() {
            return Worth::Nothing;
        }
        let Some((state, _)) = self.whole(&at) else { return Worth::Nothing };
        // What a deposit code opens is closed again once something is inside.
        let is_deposit = message.kind == NotificationKind::DepositCode;
        match state {
            OrderState::Collected
            | OrderState::CollectedUnconfirmed
            | OrderState::Cancelled
            | OrderState::Rejected
            | OrderState::Retrieved
            | OrderState::Recalled
            // Released, it gets another code and another message.
            | OrderState::Quarantined => Worth::Nothing,
            OrderState::Created | OrderState::Ready | OrderState::Reserved | OrderState::Loading if is_deposit => {
                Worth::Sending
            }
            // Staff have undone the loading: there will be another code.
            OrderState::Created | OrderState::Ready | OrderState::Reserved | OrderState::Loading => Worth::Nothing,
            OrderState::Stored
            | OrderState::Collecting
            | OrderState::Overdue
            | OrderState::PartlyCollected
            | OrderState::Disputed => {
                if is_deposit {
                    Worth::Nothing
                } else {
                    Worth::Sending
                }
            }
        }
    }
}
