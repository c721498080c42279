//! Messages that the fleet itself sends to people: an outbox beside the notification stream, for tenants with channels.
//!
//! A message is a row that is written with the row of the stream. It is `sending` on disk before a gateway hears of it, so that
//! after a crash its outcome counts as unknown and it is sent once more, with the same id and the same code.

mod defaults;
mod dispatch;
mod instructions;
mod outbox;
mod row;
mod settings;
mod template;

pub use dispatch::{Codes, Dispatch, Outcome, Receipt, ReceiptAsk};
pub(crate) use instructions::instruction;
pub(crate) use outbox::{Outbox, Worth};
pub(crate) use row::{MessageRef, MessageRow};
pub(crate) use settings::{ChannelRow, TemplateRow};
