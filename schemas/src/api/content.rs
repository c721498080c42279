//! The same documents in CBOR, for backends that speak it: read into JSON, and from there on as strictly as JSON is; and written of
//! JSON, in one form only (RFC 8949, 4.2.1), so that the same document is the same bytes each time.

use std::borrow::Cow;

use ciborium::Value;
use serde_json::{Map, Number, Value as Json};

use super::{JSON_MAX, JsonError};

/// Content types that a topic with a document takes. Left out means JSON.
pub const JSON_TYPE: &str = "application/json";
pub const CBOR_TYPE: &str = "application/cbor";
/// No document of ours is nested deeper.
const DEPTH_MAX: usize = 16;

/// In which form a document comes, and its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentType {
    #[default]
    Json,
    Cbor,
}

impl ContentType {
    /// By the name that MQTT carries; left out it is JSON.
    pub fn named(text: Option<&str>) -> Result<Self, JsonError> {
        // Parameters, such as a charset, say nothing about these two.
        let essence = text.map(|text| text.split(';').next().unwrap_or_default().trim());
        match essence {
            None | Some("" | JSON_TYPE) => Ok(Self::Json),
            Some(CBOR_TYPE) => Ok(Self::Cbor),
            Some(_) => Err(JsonError::ContentType),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => JSON_TYPE,
            Self::Cbor => CBOR_TYPE,
        }
    }

    /// A document of ours in this form. What is no JSON stays as it is.
    pub fn render(self, json: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Json => json,
            Self::Cbor => serde_json::from_slice(&json).ok().and_then(to_cbor).unwrap_or(json),
        }
    }
}

/// The payload as JSON, whatever its content type says that it is.
pub fn as_json<'p>(content_type: Option<&str>, payload: &'p [u8]) -> Result<Cow<'p, [u8]>, JsonError> {
    match ContentType::named(content_type)? {
        ContentType::Json => Ok(Cow::Borrowed(payload)),
        ContentType::Cbor => of_cbor(payload).map(Cow::Owned),
    }
}

fn to_cbor(json: Json) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&cbor_of(json)?, &mut bytes).ok()?;
    Some(bytes)
}

/// Names of fields in the order of their encoded bytes: the shorter one first.
fn cbor_of(json: Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(truth),
        Json::String(text) => Value::Text(text),
        Json::Number(number) => {
            let whole = number.as_u64().map(Value::from).or_else(|| number.as_i64().map(Value::from));
            whole.or_else(|| number.as_f64().map(Value::Float))?
        }
        Json::Array(items) => Value::Array(items.into_iter().map(cbor_of).collect::<Option<_>>()?),
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|(one, _), (other, _)| (one.len(), one).cmp(&(other.len(), other)));
            let entry = |(name, value)| Some((Value::Text(name), cbor_of(value)?));
            Value::Map(fields.into_iter().map(entry).collect::<Option<_>>()?)
        }
    })
}

fn of_cbor(payload: &[u8]) -> Result<Vec<u8>, JsonError> {
    if payload.len() > JSON_MAX {
        return Err(JsonError::TooLong);
    }
    let mut rest = payload;
    let read: Result<Value, _> = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX);
    let value = read.map_err(|_| shape("it is no CBOR, or nested too deeply"))?;
    if !rest.is_empty() {
        return Err(shape("something follows behind it"));
    }
    let json = json_of(value)?;
    serde_json::to_vec(&json).map_err(|_| shape("it has no form in JSON"))
}

fn shape(what: &str) -> JsonError {
    JsonError::Shape(format!("as CBOR {what}"))
}

/// What JSON can say too, and nothing else.
fn json_of(value: Value) -> Result<Json, JsonError> {
    match value {
        Value::Null => Ok(Json::Null),
        Value::Bool(truth) => Ok(Json::Bool(truth)),
        Value::Text(text) => Ok(Json::String(text)),
        Value::Integer(number) => {
            let number = i128::from(number);
            let number = u64::try_from(number).map(Number::from).or_else(|_| i64::try_from(number).map(Number::from));
            number.map(Json::Number).map_err(|_| shape("a number is too large"))
        }
        Value::Float(number) => Number::from_f64(number).map(Json::Number).ok_or_else(|| shape("a number is none")),
        Value::Array(items) => items.into_iter().map(json_of).collect::<Result<_, _>>().map(Json::Array),
        Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let Value::Text(key) = key else { return Err(shape("a name of a field is no text")) };
                // JSON's own reader takes no field twice, and neither is one the last word here.
                if map.insert(key, json_of(value)?).is_some() {
                    return Err(shape("a field is there twice"));
                }
            }
            Ok(Json::Object(map))
        }
        Value::Bytes(_) | Value::Tag(..) => Err(shape("it has a byte string or a tag, which no document of ours has")),
        // The type may grow.
        _ => Err(shape("it has a value that JSON does not know")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{OrderPut, parse};

    fn cbor(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn order(more: Vec<(Value, Value)>) -> Value {
        let fields = [("order", "A17"), ("cabinet", "c1"), ("size", "M"), ("category", "retail")];
        Value::Map(fields.iter().map(|(key, value)| (text(key), text(value))).chain(more).collect())
    }

    #[test]
    fn an_order_in_cbor_is_the_same_order() {
        let more = vec![
            (text("ready"), Value::Bool(false)),
            (text("hold_minutes"), Value::Integer(90.into())),
            (text("recipient"), Value::Map(vec![(text("phone"), text("+49 30 1"))])),
        ];
        let bytes = cbor(&order(more));
        let json = br#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","ready":false,"hold_minutes":90,
            "recipient":{"phone":"+49 30 1"}}"#;
        let read = as_json(Some("application/cbor"), &bytes).unwrap();
        assert_eq!(parse::<OrderPut>(&read), parse::<OrderPut>(json));
        assert!(parse::<OrderPut>(&read).is_ok());
    }

    #[test]
    fn json_stays_as_it_is_and_other_types_are_named() {
        for fine in [None, Some(""), Some("application/json"), Some("application/json; charset=utf-8")] {
            assert_eq!(as_json(fine, b"{}"), Ok(Cow::Borrowed(&b"{}"[..])), "{fine:?}");
        }
        for bad in ["text/plain", "application/xml", "cbor", "application/cbor-seq"] {
            assert_eq!(as_json(Some(bad), b"{}"), Err(JsonError::ContentType), "{bad}");
        }
    }

    #[test]
    fn a_document_has_one_form_in_cbor_and_reads_back_as_itself() {
        let json =
            br#"{"state":"stored","n":7,"at":"2026-11-22T20:15:00.007Z","more":[null,true,-3,24],"bb":{},"aa":0}"#;
        let bytes = ContentType::Cbor.render(json.to_vec());
        let head = [&[0xa6, 0x61][..], b"n", &[0x07, 0x62], b"aa", &[0x00, 0x62], b"at", &[0x78, 0x18]].concat();
        assert_eq!(&bytes[..head.len()], head, "{bytes:02x?}");
        let back = as_json(Some(CBOR_TYPE), &bytes).unwrap();
        let read = |json: &[u8]| serde_json::from_slice::<Json>(json).unwrap();
        assert_eq!(read(&back), read(json));
        assert_eq!(ContentType::Cbor.render(back.into_owned()), bytes, "whatever the order of its fields was");
        assert_eq!(ContentType::Json.render(json.to_vec()), json);
        for (name, form) in [(None, ContentType::Json), (Some("application/cbor"), ContentType::Cbor)] {
            assert_eq!(ContentType::named(name), Ok(form));
        }
        assert_eq!(ContentType::named(Some("text/xml")), Err(JsonError::ContentType));
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let field = |key: Value, value: Value| cbor(&Value::Map(vec![(key, value)]));
        let twice = cbor(&Value::Map(vec![(text("order"), text("A1")), (text("order"), text("A2"))]));
        let mut behind = cbor(&order(vec![]));
        behind.push(0);
        let deep = (0..64).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        for (bytes, said) in [
            (field(Value::Integer(1.into()), text("A1")), "no text"),
            (field(text("order"), Value::Bytes(vec![1])), "byte string"),
            (field(text("order"), Value::Tag(0, Box::new(text("A1")))), "tag"),
            (field(text("order"), Value::Float(f64::NAN)), "a number is none"),
            (twice, "twice"),
            (behind, "behind"),
            (cbor(&deep), "deeply"),
            (vec![0xa1, 0x61], "no CBOR"),
            (vec![], "no CBOR"),
        ] {
            let error = as_json(Some(CBOR_TYPE), &bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error} for {said}");
        }
        assert_eq!(as_json(Some(CBOR_TYPE), &vec![0; JSON_MAX + 1]), Err(JsonError::TooLong));
    }
}
