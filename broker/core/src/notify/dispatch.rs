//! What the shell gets of a message, and what it makes of it once the code is revealed.

use std::fmt;

use schemas::api::{Channel, Notification};
use schemas::cbor::Blob;
use schemas::crypto::codes::Secret;
use schemas::ids::{Name, TenantId};
use zeroize::Zeroizing;

use super::row::Content;
use crate::rows::notification;

/// What a test message says in the place of a code.
const TEST_CODE: &str = "000000";

/// One try to send one message by one channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Dispatch {
    pub tenant: TenantId,
    /// The same for each try of the same message: a gateway that keeps to it sends once.
    pub id: String,
    pub attempt: u32,
    pub channel: Channel,
    /// A number (E.164) or a mail address; empty where the channel needs none.
    pub to: String,
    /// A made-up message: there is nothing to reveal.
    pub is_test: bool,
    pub(crate) integration: Name,
    pub(crate) content: Content,
}

/// Neither address nor text.
impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, id, attempt, channel, .. } = self;
        write!(f, "Dispatch({tenant}/{id}, try {attempt} by {})", channel.name)
    }
}

/// The code of a message in the clear, and its text for a QR code.
pub struct Codes {
    pub code: Zeroizing<String>,
    pub qr: Zeroizing<String>,
}

impl Codes {
    pub fn of(code: &Secret, qr: &Secret) -> Self {
        Self { code: code.reveal().to_owned().into(), qr: qr.reveal().to_owned().into() }
    }

    pub fn of_test() -> Self {
        Self { code: TEST_CODE.to_owned().into(), qr: TEST_CODE.to_owned().into() }
    }
}

impl Dispatch {
    /// The code and its text for a QR code, sealed for this tenant.
    pub fn sealed(&self) -> [&Blob; 2] {
        [&self.content.row.code, &self.content.row.qr]
    }

    pub fn subject(&self) -> &str {
        &self.content.subject
    }

    pub fn text(&self, codes: &Codes) -> Zeroizing<String> {
        self.content.text.join(&codes.code).into()
    }

    /// The body of a webhook: the same bytes for each try.
    pub fn webhook_body(&self, codes: &Codes) -> Zeroizing<Vec<u8>> {
        let data = notification(self.content.row.clone(), &codes.code, &codes.qr);
        let body = WebhookBody {
            kind: format!("notification.{}", data.kind),
            timestamp: data.at,
            test: self.is_test,
            integration: &self.integration,
            text: &self.text(codes),
            data,
        };
        crate::rows::json(&body).into()
    }
}

/// `type`, `timestamp` and `data` are those of Standard Webhooks.
#[derive(serde::Serialize)]
struct WebhookBody<'a> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: schemas::api::Rfc3339,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    test: bool,
    integration: &'a Name,
    /// What an SMS would say.
    text: &'a str,
    data: Notification,
}

/// A gateway is to be asked whether a message that it has accepted was delivered.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptAsk {
    pub tenant: TenantId,
    pub id: String,
    pub channel: Channel,
    /// The gateway's name for it: ASCII letters and digits.
    pub reference: String,
}

impl fmt::Debug for ReceiptAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptAsk({}/{} by {})", self.tenant, self.id, self.channel.name)
    }
}

/// What a gateway says about a message that it has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    Delivered,
    /// It will not be delivered. Numbers only.
    Undelivered {
        detail: String,
    },
    /// It is under way, or the gateway did not answer.
    NotYet,
}

/// What a gateway said, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has the message.
    Accepted { reference: Option<String> },
    /// It will never take it. Numbers only: a gateway's own words may quote the address.
    Refused { detail: String },
    /// It has not got it, for certain.
    Failed { detail: String },
    /// It may have got it.
    Unknown { detail: String },
    /// Nothing was tried: the signer did not show the code.
    NotRevealed,
}
