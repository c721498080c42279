//! CBOR in the diagnostic notation of RFC 8949 section 8, on one line.

use std::fmt::Write as _;

use ciborium::Value;
use schemas::cbor;

/// What `bytes` say, for a person.
pub(crate) fn diagnostic(bytes: &[u8]) -> String {
    let mut text = String::new();
    write(&mut text, &cbor::decode(bytes).unwrap());
    text
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Integer(number) => write!(text, "{}", i128::from(*number)).unwrap(),
        Value::Bytes(bytes) => write!(text, "h'{}'", data_encoding::HEXLOWER.encode(bytes)).unwrap(),
        Value::Text(inner) => write!(text, "{inner:?}").unwrap(),
        Value::Bool(inner) => write!(text, "{inner}").unwrap(),
        Value::Null => text.push_str("null"),
        Value::Array(elements) => {
            text.push('[');
            for (at, element) in elements.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write(text, element);
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (at, (key, inner)) in entries.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write(text, key);
                text.push_str(": ");
                write(text, inner);
            }
            text.push('}');
        }
        // ciborium's enum grows. Messages have neither floats nor tags.
        Value::Float(_) | Value::Tag(..) | _ => unreachable!("not in this protocol: {value:?}"),
    }
}
