//! How messages reach people: the channels of a tenant, its templates, and what became of each message.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cbor_code;
use crate::ids::{CabinetId, Name};
use crate::messages::OrderKey;
use crate::web::{MailHost, WebUrl};

use super::{Minutes, NotificationKind, Rfc3339};

/// Longest template of a text, and longest one of a subject, in bytes.
pub const TEMPLATE_MAX: usize = 1_000;
pub const SUBJECT_MAX: usize = 150;
/// Most channels of a tenant, and most templates.
pub const CHANNELS_MAX: usize = 16;
pub const TEMPLATES_MAX: usize = 200;
/// Longest address that a test message goes to, in bytes.
pub const ADDRESS_MAX: usize = 254;
/// Longest body of [`Via::SmsHttp`], in bytes.
const BODY_MAX: usize = 4_096;
/// Deepest nesting of such a body.
const BODY_DEPTH: usize = 8;
const SENDER_MAX: usize = 64;
const POINTER_MAX: usize = 128;

fn default_rank() -> u16 {
    100
}

/// One way by which messages of a tenant go out. Its secrets are in a file on the broker's host, which it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub name: Name,
    /// The channel with the lowest rank is tried first; among equals the name decides.
    #[serde(default = "default_rank")]
    pub rank: u16,
    /// Only for orders of these integrations. Empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integrations: Vec<Name>,
    /// When a message is not accepted by then, the next channel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_after_minutes: Option<Minutes>,
    /// The file `<notify.secrets>/<tenant>/<secret>` on the broker's host: where it may be sent, and what proves who sends.
    pub secret: Name,
    /// Without TLS. To an address of the broker's own host only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
    pub via: Via,
}

/// What a channel speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Via {
    /// The whole message as JSON, signed by the Standard Webhooks convention.
    Webhook { url: WebUrl },
    /// SMS by the form that Twilio takes, with HTTP Basic authentication.
    SmsTwilio {
        /// Scheme and host; the path is the API's.
        url: WebUrl,
        account: String,
        from: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<Home>,
        /// Asks the gateway for some hours whether a message was delivered. One that was not goes by the next channel.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        receipts: bool,
    },
    /// SMS by any gateway that takes a POST.
    SmsHttp {
        url: WebUrl,
        #[serde(default)]
        format: BodyFormat,
        /// A JSON document. In its texts `{to}`, `{text}` and `{id}` are filled in. For a form: one object of texts.
        body: Value,
        /// The header that holds the secret. Left out: `authorization`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<String>,
        #[serde(default)]
        accepted: Accepted,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<Home>,
    },
    /// Mail by SMTP.
    Email {
        host: MailHost,
        /// TLS from the first byte, as at port 465. Otherwise STARTTLS, without which nothing is sent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        implicit_tls: bool,
        /// Left out: without authentication.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        from: String,
    },
}

cbor_code! {
    #[derive(Default)]
    pub enum BodyFormat {
        #[default]
        0 => Json = "json",
        1 => Form = "form",
    }
}

/// How numbers without a country code are dialled at home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// Without `+`: `49`.
    pub country_code: String,
    /// What stands before a number within the country and is left out behind the country code: `0`. Left out: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trunk: String,
}

/// Which answers say that a message was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accepted {
    pub statuses: BTreeSet<u16>,
    /// JSON Pointer (RFC 6901) into the answer: a gateway may answer 200 with an error inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What has to be there. Left out: anything but null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// JSON Pointer to the gateway's name for the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { statuses: [200, 201, 202, 204].into(), pointer: None, value: None, reference: None }
    }
}

/// Why a channel is not taken. Names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    #[error("via.url: without TLS only where `plain` is set, and to an address such as 127.0.0.1")]
    Plain,
    #[error("plain is set, and via.url or via.host is no address such as 127.0.0.1 without TLS")]
    NotPlain,
    #[error("via.url: the path is the gateway's own, name scheme and host only")]
    Path,
    #[error("via.{0} is empty, too long, or has characters that do not belong there")]
    Text(&'static str),
    #[error("via.body: {0}")]
    Body(&'static str),
    #[error("via.accepted.{0}")]
    Accepted(&'static str),
    #[error("via.home: a country code has 1 to 3 digits without +, what is dialled before it 0 to 3")]
    Home,
    #[error("via.from is no sender such as `lockers@example.com` or `Lockers <lockers@example.com>`")]
    Sender,
    #[error("integrations: at most 32")]
    Integrations,
}

/// What of a recipient a channel needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Phone,
    Email,
}

impl Channel {
    pub fn check(&self) -> Result<(), ChannelError> {
        if self.integrations.len() > 32 {
            return Err(ChannelError::Integrations);
        }
        let (tls, loopback) = match &self.via {
            Via::Webhook { url } | Via::SmsTwilio { url, .. } | Via::SmsHttp { url, .. } => {
                (url.tls, url.is_loopback())
            }
            Via::Email { host, implicit_tls, .. } => (*implicit_tls || !self.plain, host.is_loopback()),
        };
        match (tls, self.plain) {
            (true, false) => {}
            (false, true) if loopback => {}
            (false, _) => return Err(ChannelError::Plain),
            (true, true) => return Err(ChannelError::NotPlain),
        }
        match &self.via {
            Via::Webhook { .. } => Ok(()),
            Via::SmsTwilio { url, account, from, home, .. } => {
                if url.path != "/" {
                    return Err(ChannelError::Path);
                }
                let is_account =
                    (1..=SENDER_MAX).contains(&account.len()) && account.bytes().all(|b| b.is_ascii_alphanumeric());
                if !is_account {
                    return Err(ChannelError::Text("account"));
                }
                check_line("from", from)?;
                check_home(home.as_ref())
            }
            Via::SmsHttp { format, body, header, accepted, home, .. } => {
                check_body(*format, body)?;
                let is_token = |text: &String| {
                    (1..=SENDER_MAX).contains(&text.len())
                        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                };
                let taken =
                    ["host", "content-length", "content-type", "connection", "transfer-encoding", "idempotency-key"];
                if header.as_ref().is_some_and(|header| !is_token(header) || taken.contains(&header.as_str())) {
                    return Err(ChannelError::Text("header"));
                }
                check_accepted(accepted)?;
                check_home(home.as_ref())
            }
            Via::Email { user, from, .. } => {
                if user.as_ref().is_some_and(|user| check_line("user", user).is_err()) {
                    return Err(ChannelError::Text("user"));
                }
                check_line("from", from)?;
                if is_sender(from) { Ok(()) } else { Err(ChannelError::Sender) }
            }
        }
    }

    pub fn needs(&self) -> Needs {
        match &self.via {
            Via::Webhook { .. } => Needs::Nothing,
            Via::SmsTwilio { .. } | Via::SmsHttp { .. } => Needs::Phone,
            Via::Email { .. } => Needs::Email,
        }
    }

    /// Whether its gateway is asked what became of messages that it has accepted.
    pub fn asks_receipts(&self) -> bool {
        match &self.via {
            Via::SmsTwilio { receipts, .. } => *receipts,
            Via::SmsHttp { .. } | Via::Webhook { .. } | Via::Email { .. } => false,
        }
    }

    pub fn home(&self) -> Option<&Home> {
        match &self.via {
            Via::SmsTwilio { home, .. } | Via::SmsHttp { home, .. } => home.as_ref(),
            Via::Webhook { .. } | Via::Email { .. } => None,
        }
    }

    /// Where it sends, as the first line of its secret has to name it: `https://hooks.example.com/lockers`,
    /// `https://api.twilio.com`, `smtp://mail.example.com:587`. On a host that many share, the path says whose it is.
    pub fn origin(&self) -> String {
        match &self.via {
            Via::Webhook { url } | Via::SmsHttp { url, .. } => url.to_string(),
            Via::SmsTwilio { url, .. } => url.origin(),
            Via::Email { host, .. } => format!("smtp://{host}"),
        }
    }
}

fn check_line(field: &'static str, text: &str) -> Result<(), ChannelError> {
    let fits = (1..=SENDER_MAX).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text;
    if fits { Ok(()) } else { Err(ChannelError::Text(field)) }
}

/// An address, or a name and an address in angle brackets. Nothing that a mail program would have to read in quotes.
fn is_sender(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !label.starts_with('-')
    };
    let is_address = |text: &str| {
        let Some((local, domain)) = text.split_once('@') else { return false };
        let word = |b: u8| b.is_ascii_alphanumeric() || b"-_+".contains(&b);
        let local = local.split('.').all(|part| !part.is_empty() && part.bytes().all(word));
        local && domain.contains('.') && domain.split('.').all(is_label)
    };
    match text.strip_suffix('>').map(|text| text.rsplit_once(" <")) {
        None => is_address(text),
        Some(None) => false,
        Some(Some((name, address))) => {
            let words = name
                .split(' ')
                .all(|word| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-'&+".contains(c)));
            words && is_address(address)
        }
    }
}

fn check_home(home: Option<&Home>) -> Result<(), ChannelError> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let fits = home.is_none_or(|Home { country_code, trunk }| {
        (1..=3).contains(&country_code.len())
            && digits(country_code)
            && !country_code.starts_with('0')
            && trunk.len() <= 3
            && digits(trunk)
    });
    if fits { Ok(()) } else { Err(ChannelError::Home) }
}

fn check_body(format: BodyFormat, body: &Value) -> Result<(), ChannelError> {
    if body.to_string().len() > BODY_MAX {
        return Err(ChannelError::Body("longer than 4096 bytes"));
    }
    let Value::Object(fields) = body else { return Err(ChannelError::Body("has to be a JSON object")) };
    if format == BodyFormat::Form && !fields.values().all(Value::is_string) {
        return Err(ChannelError::Body("of a form has texts only"));
    }
    let mut texts = Vec::new();
    if !collect(body, BODY_DEPTH, &mut texts) {
        return Err(ChannelError::Body("is nested too deeply"));
    }
    for text in &texts {
        check_fields(text)?;
    }
    let has = |field: &str| texts.iter().any(|text| text.contains(field));
    if has("{to}") && has("{text}") { Ok(()) } else { Err(ChannelError::Body("needs {to} and {text} in its texts")) }
}

/// A field that there is not would be sent to people as it stands.
fn check_fields(text: &str) -> Result<(), ChannelError> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let known = ["{to}", "{text}", "{id}"].into_iter().find(|field| rest[at..].starts_with(field));
        let Some(field) = known else {
            return Err(ChannelError::Body("has a field that is none of {to}, {text}, {id}"));
        };
        rest = &rest[at + field.len()..];
    }
    Ok(())
}

fn collect<'a>(value: &'a Value, depth: usize, texts: &mut Vec<&'a str>) -> bool {
    match value {
        Value::String(text) => {
            texts.push(text);
            true
        }
        Value::Array(items) => depth > 0 && items.iter().all(|item| collect(item, depth - 1, texts)),
        Value::Object(fields) => depth > 0 && fields.values().all(|item| collect(item, depth - 1, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

fn check_accepted(accepted: &Accepted) -> Result<(), ChannelError> {
    let Accepted { statuses, pointer, value, reference } = accepted;
    if statuses.is_empty() || statuses.len() > 16 || statuses.iter().any(|status| !(200..300).contains(status)) {
        return Err(ChannelError::Accepted("statuses: 1 to 16 numbers from 200 to 299"));
    }
    let is_pointer =
        |text: &String| text.starts_with('/') && text.len() <= POINTER_MAX && !text.chars().any(char::is_control);
    if pointer.as_ref().is_some_and(|text| !is_pointer(text)) {
        return Err(ChannelError::Accepted("pointer: a JSON Pointer begins with /"));
    }
    if reference.as_ref().is_some_and(|text| !is_pointer(text)) {
        return Err(ChannelError::Accepted("reference: a JSON Pointer begins with /"));
    }
    match value {
        Some(_) if pointer.is_none() => Err(ChannelError::Accepted("value: without a pointer to where it has to be")),
        Some(Value::Array(_) | Value::Object(_)) => Err(ChannelError::Accepted("value: a text, a number or true")),
        Some(value) if value.to_string().len() > POINTER_MAX => Err(ChannelError::Accepted("value: too long")),
        Some(_) | None => Ok(()),
    }
}

/// What a message says, in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageTemplate {
    pub kind: NotificationKind,
    pub language: Language,
    pub text: String,
    /// Of an e-mail. Left out: that of the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A language tag (BCP 47) in lower case: `de`, `en-gb`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Language(String);

impl Language {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The language without country and script.
    pub fn base(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }
}

impl std::fmt::Display for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tag = text.replace('_', "-").to_ascii_lowercase();
        let mut parts = tag.split('-');
        let base = parts
            .next()
            .is_some_and(|base| (2..=3).contains(&base.len()) && base.bytes().all(|b| b.is_ascii_lowercase()));
        let rest = parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
        if base && rest && tag.len() <= 35 {
            Ok(Self(tag))
        } else {
            Err("a language is a tag such as `de` or `en-GB`".to_owned())
        }
    }
}

impl TryFrom<String> for Language {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A template, and how it reads with made-up fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateShown {
    /// The one that is used for this kind and language, whatever its own language is.
    pub template: MessageTemplate,
    /// It is one of the defaults: nobody has put one.
    pub is_default: bool,
    pub preview: String,
    pub preview_subject: String,
}

cbor_code! {
    /// How far a message to a person is.
    pub enum MessageState {
        0 => Queued = "queued",
        /// With the gateway, whose answer is still to come.
        1 => Sending = "sending",
        2 => Accepted = "accepted",
        3 => Delivered = "delivered",
        /// It will not be sent any more.
        4 => Undelivered = "undelivered",
    }
}

cbor_code! {
    /// Why a message is not sent any more.
    pub enum UndeliveredReason {
        /// The recipient has nothing that a channel could send to.
        0 => NoAddress = "no_address",
        /// The phone number is none.
        1 => BadNumber = "bad_number",
        /// Every channel that could be used said that it never will be.
        2 => Refused = "refused",
        3 => GaveUp = "gave_up",
        /// The channels were removed meanwhile.
        4 => NoChannel = "no_channel",
        /// Too many messages wait.
        5 => TooMany = "too_many",
        /// The fleet's store was restored: the code may be another one by now.
        6 => Restored = "restored",
        /// The gateway had accepted it, and says that it was not delivered.
        120 => NotDelivered = "not_delivered",
        /// The signer does not show its code.
        121 => NoCode = "no_code",
    }
}

/// What became of a message. Neither its code nor its address is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDetail {
    pub id: String,
    pub order: OrderKey,
    pub kind: NotificationKind,
    pub cabinet: CabinetId,
    pub state: MessageState,
    pub at: Rfc3339,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Name>,
    /// Tries at that channel.
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Rfc3339>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<UndeliveredReason>,
    /// What the last gateway answered, in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The gateway's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePage {
    pub messages: Vec<MessageDetail>,
    /// More follow behind the last one.
    pub more: bool,
}

/// What became of a test message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTested {
    pub channel: Name,
    pub accepted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(json: &str) -> Result<Channel, String> {
        let channel: Channel = super::super::parse(json.as_bytes()).map_err(|error| error.to_string())?;
        channel.check().map(|()| channel).map_err(|error| error.to_string())
    }

    fn via(via: &str) -> Result<Channel, String> {
        channel(&format!(r#"{{"name":"a","secret":"a","via":{via}}}"#))
    }

    #[test]
    fn channels_of_each_kind_are_taken() {
        for json in [
            r#"{"kind":"webhook","url":"https://hooks.example.com/a?b=c"}"#,
            r#"{"kind":"sms_twilio","url":"https://api.twilio.com","account":"AC1","from":"+4930123","receipts":true,"home":{"country_code":"49","trunk":"0"}}"#,
            r#"{"kind":"sms_http","url":"https://sms.example.com:8443/send","body":{"to":["{to}"],"m":{"text":"x {text}"}},"accepted":{"pointer":"/status","value":"0"}}"#,
            r#"{"kind":"email","host":"mail.example.com:587","from":"lockers@example.com","user":"lockers"}"#,
        ] {
            let taken = via(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            let again: Channel = serde_json::from_str(&serde_json::to_string(&taken).unwrap()).unwrap();
            assert_eq!(taken, again);
        }
        let plain = r#"{"name":"a","secret":"a","plain":true,"via":{"kind":"webhook","url":"http://127.0.0.1:8080/"}}"#;
        assert!(channel(plain).unwrap().origin().starts_with("http://127.0.0.1:8080/"));
    }

    #[test]
    fn a_channel_that_would_not_do_is_refused_and_the_field_named() {
        for (json, named) in [
            (r#"{"kind":"webhook","url":"http://127.0.0.1:8080/"}"#, "plain"),
            (r#"{"kind":"webhook","url":"http://10.0.0.1/"}"#, "plain"),
            (r#"{"kind":"webhook","url":"ftp://10.0.0.1/"}"#, "url"),
            (r#"{"kind":"webhook","url":"https://me@example.com/"}"#, "url"),
            (r#"{"kind":"webhook","url":"https://example.com/","x":1}"#, "unknown field"),
            (r#"{"kind":"pigeon","url":"https://example.com/"}"#, "pigeon"),
            (r#"{"kind":"sms_twilio","url":"https://a.example/x","account":"AC1","from":"me"}"#, "path"),
            (r#"{"kind":"sms_twilio","url":"https://a.example","account":"AC/1","from":"me"}"#, "via.account"),
            (r#"{"kind":"sms_twilio","url":"https://a.example","account":"AC1","from":"me\nyou"}"#, "via.from"),
            (
                r#"{"kind":"sms_twilio","url":"https://a.example","account":"AC1","from":"me","home":{"country_code":"+49"}}"#,
                "via.home",
            ),
            (r#"{"kind":"sms_http","url":"https://a.example/","body":{"to":"{to}"}}"#, "{text}"),
            (r#"{"kind":"sms_http","url":"https://a.example/","body":{"to":"{to}","a":"{text} {txt}"}}"#, "via.body"),
            (
                r#"{"kind":"sms_http","url":"https://a.example/","format":"form","body":{"to":["{to}"],"a":"{text}"}}"#,
                "texts only",
            ),
            (
                r#"{"kind":"sms_http","url":"https://a.example/","body":{"to":"{to} {text}"},"accepted":{"statuses":[500]}}"#,
                "statuses",
            ),
            (
                r#"{"kind":"sms_http","url":"https://a.example/","body":{"to":"{to} {text}"},"accepted":{"value":1}}"#,
                "value",
            ),
            (
                r#"{"kind":"sms_http","url":"https://a.example/","body":{"to":"{to} {text}"},"header":"Host"}"#,
                "via.header",
            ),
            (r#"{"kind":"email","host":"mail.example.com","from":"a@example.com"}"#, "host"),
            (r#"{"kind":"email","host":"mail.example.com:25","from":"me"}"#, "via.from"),
            (r#"{"kind":"email","host":"mail.example.com:25","from":"me@localhost"}"#, "no sender"),
            (r#"{"kind":"email","host":"mail.example.com:25","from":"a@example.com, b@example.com"}"#, "no sender"),
            (r#"{"kind":"email","host":"mail.example.com:25","from":"Me <a@example.com"}"#, "no sender"),
            (r#"{"kind":"email","host":"mail.example.com:25","from":"Me: you <a@example.com>"}"#, "no sender"),
        ] {
            let error = via(json).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
        let tls = r#"{"name":"a","secret":"a","plain":true,"via":{"kind":"webhook","url":"https://127.0.0.1/"}}"#;
        assert!(channel(tls).unwrap_err().contains("plain is set"));
        let far = r#"{"name":"a","secret":"a","plain":true,"via":{"kind":"email","host":"mail.example.com:25","from":"a@b.c"}}"#;
        assert!(channel(far).is_err());
        assert!(
            channel(r#"{"name":"a","secret":"../a","via":{"kind":"webhook","url":"https://a.example/"}}"#).is_err()
        );
    }

    #[test]
    fn languages_are_compared_in_one_form() {
        for (text, tag, base) in [("de", "de", "de"), ("de_AT", "de-at", "de"), ("zh-Hans-CN", "zh-hans-cn", "zh")] {
            let language: Language = text.parse().unwrap();
            assert_eq!((language.as_str(), language.base()), (tag, base));
        }
        for wrong in ["", "d", "deutsch", "de-", "../de", "de/at"] {
            assert!(wrong.parse::<Language>().is_err(), "{wrong}");
        }
    }
}
