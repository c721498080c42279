//! Orders as backends publish them.

use serde::{Deserialize, Serialize};

use crate::cbor_code;
use crate::crypto::answers::Answer;
use crate::ids::{CabinetId, OrderId, SiteId};
#[cfg(doc)]
use crate::messages::PARTS_MAX;
use crate::messages::{Attributes, Category, DepositKind, PresenceToken, Prompt, Size};

use super::Rfc3339;

/// Longest phone number or address of a recipient, in bytes.
pub const PHONE_MAX: usize = 128;

/// Who the order is for. Passed through to the notification, and told by the fleet itself where its tenant has channels.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// BCP 47, for example `de` or `en-GB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Personal data: stays out of logs.
impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recipient(..)")
    }
}

impl Recipient {
    /// Whether every field is short enough to be what it claims to be.
    pub fn fits(&self) -> bool {
        [&self.phone, &self.email, &self.language].into_iter().flatten().all(|field| field.len() <= PHONE_MAX)
    }
}

/// What a compartment offers, or what an order needs. Left out means: not offered, not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct AttributeFlags {
    pub refrigerated: bool,
    pub restricted: bool,
    pub accessible: bool,
}

impl From<AttributeFlags> for Attributes {
    fn from(flags: AttributeFlags) -> Self {
        Self { refrigerated: flags.refrigerated, restricted: flags.restricted, accessible: flags.accessible }
    }
}

impl From<Attributes> for AttributeFlags {
    fn from(flags: Attributes) -> Self {
        Self { refrigerated: flags.refrigerated, restricted: flags.restricted, accessible: flags.accessible }
    }
}

fn ready_by_default() -> bool {
    true
}

fn is_false(word: &bool) -> bool {
    !word
}

/// Payload of `orders/put`: creates an order, or repeats it. The same id with other content is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderPut {
    pub order: OrderId,
    /// Where it is to be loaded. Either this or `site` is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cabinet: Option<CabinetId>,
    /// At whichever cabinet of this site has room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteId>,
    pub size: Size,
    /// Sizes of further compartments that it fills, at most [`PARTS_MAX`] with `size`. All of them are at one cabinet, and one
    /// credential opens them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Size>,
    pub category: Category,
    #[serde(default)]
    pub wants: AttributeFlags,
    #[serde(default)]
    pub recipient: Recipient,
    /// Whether staff may load it now. An order that is not ready holds no compartment.
    #[serde(default = "ready_by_default")]
    pub ready: bool,
    /// How long its compartment is safe from other orders until it is loaded. Left out: as the fleet's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_minutes: Option<HoldMinutes>,
    /// Who puts it in. Left out: staff do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<DepositKind>,
    /// Restricted goods: its code opens only when staff at the cabinet release it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub staff_release: bool,
    /// Restricted goods: behind its code the screen asks for this. No hash of the content holds the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
    /// It may lie in one compartment with other orders of this integration and category that have the same word here; the code
    /// of any of them opens it, and whoever does takes all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<OrderId>,
}

fn pin() -> Prompt {
    Prompt::Pin
}

/// What whoever comes for an order knows or brings, besides its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    /// Left out: a PIN.
    #[serde(default = "pin")]
    pub prompt: Prompt,
    pub answer: Answer,
}

impl SecondFactor {
    /// Whether the answer can be one to what is asked. The text quotes nothing of it.
    pub fn check(&self) -> Result<(), String> {
        self.answer.check(self.prompt).map_err(|wrong| format!("second_factor: {wrong}"))
    }
}

/// Longest that a compartment is held for an order: a week.
pub const HOLD_MINUTES_MAX: u32 = 7 * 24 * 60;

/// 1 to [`HOLD_MINUTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct HoldMinutes(u32);

impl HoldMinutes {
    pub fn millis(self) -> u64 {
        u64::from(self.0) * 60_000
    }
}

impl TryFrom<u32> for HoldMinutes {
    type Error = String;
    fn try_from(minutes: u32) -> Result<Self, String> {
        let fits = (1..=HOLD_MINUTES_MAX).contains(&minutes);
        fits.then_some(Self(minutes)).ok_or_else(|| format!("hold_minutes has to be 1 to {HOLD_MINUTES_MAX}"))
    }
}

impl std::str::FromStr for HoldMinutes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u32>().map_err(|error| error.to_string())?.try_into()
    }
}

impl From<HoldMinutes> for u32 {
    fn from(minutes: HoldMinutes) -> Self {
        minutes.0
    }
}

/// Payload of `orders/extend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderExtend {
    pub order: OrderId,
    /// The new end of its window.
    pub until: Rfc3339,
}

/// What of an order is to be another. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct OrderContent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// All of them: one that it does not name is not needed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants: Option<AttributeFlags>,
    /// The whole recipient. Another phone number or address after the code went out brings another code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Recipient>,
    /// False takes an order back that staff could load: it holds no compartment any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_minutes: Option<HoldMinutes>,
    /// Another answer, or the first one. Nothing else is changed together with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
}

impl OrderContent {
    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// SHA-256 of an order's content in hexadecimal, as the fleet tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash(String);

impl ContentHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContentHash {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then_some(Self(text)).ok_or("a content's hash has 64 characters of 0-9 a-f")
    }
}

impl std::str::FromStr for ContentHash {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        text.to_owned().try_into()
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.0
    }
}

/// Payload of `orders/change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderUpdate {
    pub order: OrderId,
    /// The content that the change was made for. With another one meanwhile nothing is changed; left out: whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ContentHash>,
    pub change: OrderContent,
}

/// Payload of `orders/move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderMove {
    pub order: OrderId,
    pub to: CabinetId,
}

/// Payload of `orders/resend` and `orders/reissue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderNamed {
    pub order: OrderId,
}

/// Payload of `orders/quarantine`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderQuarantine {
    pub order: OrderId,
    pub reason: String,
}

/// Payload of `orders/open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderOpen {
    pub order: OrderId,
    /// What the screen shows to the person who stands there.
    pub token: PresenceToken,
}

cbor_code! {
    /// As what an order that hangs is ended.
    pub enum ClosedAs {
        0 => Collected = "collected",
        1 => Retrieved = "retrieved",
        2 => Cancelled = "cancelled",
    }
}

/// Payload of `orders/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderCancel {
    pub order: OrderId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_order_takes_the_defaults() {
        let order: OrderPut =
            crate::api::parse(br#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#).unwrap();
        assert!(order.ready && order.recipient == Recipient::default());
    }

    #[test]
    fn a_mistake_is_named() {
        for (json, expected) in [
            (r#"{"order":"A17","cabinet":"c1","size":"m","category":"retail"}"#, "`m` is none of S, M, L, XL"),
            (r#"{"order":"A/17","cabinet":"c1","size":"M","category":"retail"}"#, "order has a character outside"),
            (r#"{"order":"A17","cabinet":"c1","size":"M"}"#, "missing field `category`"),
            (r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","redy":true}"#, "unknown field `redy`"),
            (r#"{"order":"A17"} trailing"#, ""),
            (r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","hold_minutes":0}"#, "1 to 10080"),
            (r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","hold_minutes":10081}"#, "1 to 10080"),
            (r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","hold_minutes":"5"}"#, "expected u32"),
        ] {
            let error = crate::api::parse::<OrderPut>(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_change_names_what_it_changes_and_a_hash_as_the_fleet_writes_it() {
        let read = |json: &str| crate::api::parse::<OrderUpdate>(json.as_bytes());
        let hash = "0123456789abcdef".repeat(4);
        let update = read(&format!(r#"{{"order":"A17","replaces":"{hash}","change":{{"ready":false}}}}"#)).unwrap();
        assert_eq!(update.replaces.unwrap().as_str(), hash);
        assert!(update.change.ready == Some(false) && !update.change.is_empty());
        for (json, expected) in [
            (r#"{"order":"A17","change":{"cabinet":"c2"}}"#.to_owned(), "unknown field `cabinet`"),
            (r#"{"order":"A17"}"#.to_owned(), "missing field `change`"),
            (format!(r#"{{"order":"A17","replaces":"{}","change":{{}}}}"#, hash.to_uppercase()), "64 characters"),
            (r#"{"order":"A17","replaces":"ab","change":{}}"#.to_owned(), "64 characters"),
        ] {
            let error = read(&json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
