//! What backends and people say to the fleet in JSON. `schemas/asyncapi.yaml` is the same for integrators.
//!
//! In what the fleet reads, unknown fields are refused with their name: a field that is spelled wrong must not be taken
//! for one left out. What the fleet sends may grow within a major version, so its readers pass over unknown fields.

mod bundle;
mod content;
mod health;
mod identity;
mod keys;
mod notify;
mod order;
mod policy;
mod quota;
mod request;
mod site;
mod status;
mod time;

pub use bundle::{BundleDetail, BundleDoor, BundleNamed, BundleOrders, BundlePut, BundledOrder};
pub use content::{CBOR_TYPE, ContentType, JSON_TYPE, as_json};
pub use health::{AlarmSeen, CabinetHealth, FleetStatus};
pub use identity::{CertificateDetail, CertificateId, IdentityDetail, IdentityPage, RevocationDetail, Scope};
pub use keys::{ChallengeIssued, ChallengeText, HexBytes, KeysetHolders, KeysetKept, KeysetKey, KeysetList};
pub use notify::{
    ADDRESS_MAX, Accepted, BodyFormat, CHANNELS_MAX, Channel, ChannelError, Home, Language, MessageDetail, MessagePage,
    MessageState, MessageTemplate, MessageTested, Needs, SUBJECT_MAX, TEMPLATE_MAX, TEMPLATES_MAX, TemplateShown,
    UndeliveredReason, Via,
};
pub use order::{
    AttributeFlags, ClosedAs, ContentHash, HOLD_MINUTES_MAX, HoldMinutes, OrderCancel, OrderContent, OrderExtend,
    OrderMove, OrderNamed, OrderOpen, OrderPut, OrderQuarantine, OrderUpdate, PHONE_MAX, Recipient, SecondFactor,
};
pub use policy::{
    Grace, MINUTES_MAX, Minutes, Percent, Policies, Policy, PolicyChange, PolicyDetail, PolicyError, REMINDERS_MAX,
};
pub use quota::{QuotaDetail, QuotaLimits, QuotaOverrides};
pub use request::{
    AvailabilityPage, BackupMade, BadgeIssued, BreakGlassShown, CabinetDetail, CabinetSummary, CompartmentDetail,
    CourierDetail, CourierIssued, EnrolmentOffer, Intervened, OrderDetail, OrderSummary, Reply, ReplyError, Request,
    RequestErrorCode, StaffDetail, StaffIssued, StatusPage, UnlockPage, UnlockRecord, UnlockResult, UnlockRight,
    WipeDetail,
};
pub use site::{
    CLOSED_MAX, ClosedDates, LocalDate, OpeningHours, SPANS_MAX, SiteDetail, SiteError, SitePage, Span, ZoneName,
};
pub use status::{
    Availability, FreeCompartments, LiveCompartment, LiveEvent, LivePresence, LiveTelemetry, Notification,
    NotificationKind, OrderState, PartStatus, RejectReason, Status,
};
pub use time::Rfc3339;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Largest JSON payload of the integration plane, in bytes.
pub const JSON_MAX: usize = 16 * 1024;

/// Why a payload is not the JSON that its topic takes. The text names the field and is safe to send back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("payload is longer than {JSON_MAX} bytes")]
    TooLong,
    #[error("payload is not the expected JSON: {0}")]
    Shape(String),
    #[error("the content type has to be {JSON_TYPE} or {CBOR_TYPE}")]
    ContentType,
}

/// Reads one JSON document, strictly.
pub fn parse<T: DeserializeOwned + Serialize>(payload: &[u8]) -> Result<T, JsonError> {
    if payload.len() > JSON_MAX {
        return Err(JsonError::TooLong);
    }
    let shape = |error: serde_json::Error| JsonError::Shape(describe(&error).chars().take(200).collect());
    let value: T = serde_json::from_slice(payload).map_err(shape)?;
    let given: Value = serde_json::from_slice(payload).map_err(shape)?;
    let meant = serde_json::to_value(&value).map_err(shape)?;
    if lists_where_objects_are(&given, &meant) {
        return Err(JsonError::Shape("a list where an object belongs, or a number where a word does".into()));
    }
    Ok(value)
}

/// serde_json's own text without the value that it quotes: it may be somebody's phone number, and this text is logged.
/// A field's name and a single word, such as a size that there is not, stay: they tell what is wrong.
fn describe(error: &serde_json::Error) -> String {
    const QUOTES: [char; 2] = ['`', '"'];
    let text = error.to_string();
    for kind in ["invalid type", "invalid value", "invalid length"] {
        if let Some(rest) = text.strip_prefix(kind) {
            let expected = rest.rfind(", expected").map_or("", |at| &rest[at..]);
            return format!("{kind}{expected}");
        }
    }
    // Every second part was quoted.
    let word = |part: &&str| part.len() <= 24 && part.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if text.split(QUOTES).skip(1).step_by(2).all(|part| word(&part)) {
        return text;
    }
    let (first, last) = (text.find(QUOTES).unwrap_or(0), text.rfind(QUOTES).map_or(text.len(), |last| last + 1));
    format!("{}a value{}", &text[..first], &text[last..])
}

/// serde reads a struct from a list of its values too, and the kind of a union from its number, which no grammar of ours allows.
fn lists_where_objects_are(given: &Value, meant: &Value) -> bool {
    match (given, meant) {
        (Value::Array(_), Value::Object(_)) | (Value::Number(_), Value::String(_)) => true,
        (Value::Array(given), Value::Array(meant)) => {
            given.iter().zip(meant).any(|(given, meant)| lists_where_objects_are(given, meant))
        }
        (Value::Object(given), Value::Object(meant)) => {
            given.iter().any(|(key, given)| meant.get(key).is_some_and(|meant| lists_where_objects_are(given, meant)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field_and_quotes_no_value() {
        let order = |rest: &str| format!(r#"{{"order":"A1","cabinet":"c1","size":"S","category":"retail",{rest}}}"#);
        for (payload, named) in [
            (order(r#""recipient":"+49 170 1234567""#), "expected struct"),
            (order(r#""recipient":{"phone":491701234567}"#), "expected a string"),
            (order(r#""recipient":{"phone":["+49 170 1234567"]}"#), "expected a string"),
            (order(r#""ready":"+49 170 1234567""#), "expected a boolean"),
            (order(r#""sise":"S""#), "unknown field `sise`"),
            (r#"{"order":"A1","cabinet":"c1","size":"+49 170 1234567","category":"retail"}"#.into(), "none of S"),
        ] {
            let error = parse::<OrderPut>(payload.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("170"), "{error}");
            assert!(error.contains(named), "{error}");
        }
    }
}
