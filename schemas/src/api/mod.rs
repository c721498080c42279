//! What backends and people say to the fleet in JSON. `schemas/asyncapi.yaml` is the same for integrators.
//!
//! Unknown fields are refused with their name: a field that is spelled wrong must not be taken for one left out.

mod order;
mod request;
mod status;
mod time;

pub use order::{AttributeFlags, OrderCancel, OrderPut, PHONE_MAX, Recipient};
pub use request::{
    CabinetDetail, CabinetSummary, CompartmentDetail, OrderDetail, OrderSummary, Reply, ReplyError, Request,
    RequestErrorCode, StaffIssued, StatusPage, UnlockResult,
};
pub use status::{
    LiveCompartment, LiveEvent, LivePresence, LiveTelemetry, Notification, NotificationKind, OrderState, RejectReason,
    Status,
};
pub use time::Rfc3339;

use serde::de::DeserializeOwned;

/// Largest JSON payload of the integration plane, in bytes.
pub const JSON_MAX: usize = 16 * 1024;

/// Why a payload is not the JSON that its topic takes. The text names the field and is safe to send back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("payload is longer than {JSON_MAX} bytes")]
    TooLong,
    #[error("payload is not the expected JSON: {0}")]
    Shape(String),
}

/// Reads one JSON document, strictly.
pub fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, JsonError> {
    if payload.len() > JSON_MAX {
        return Err(JsonError::TooLong);
    }
    serde_json::from_slice(payload).map_err(|error| JsonError::Shape(error.to_string().chars().take(200).collect()))
}
