//! CBOR on the wire and on disk: integer-keyed maps, written deterministically, read strictly.
//!
//! ciborium takes duplicate keys, long-form integers, indefinite lengths and trailing bytes. [`decode`] walks the
//! bytes first and refuses all of these (RFC 8949 section 4.2.1, core deterministic encoding), so that one message
//! has one encoding and a deeply nested one cannot exhaust the stack.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deepest nesting of arrays, maps and tags that is read.
pub const DEPTH_MAX: usize = 12;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    #[error("cbor ends early")]
    Truncated,
    #[error("cbor has bytes behind its end")]
    Trailing,
    #[error("cbor is nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("cbor is not in deterministic form: {0}")]
    NotDeterministic(&'static str),
    #[error("cbor does not have the shape of the message: {0}")]
    Shape(String),
}

/// Encodes `value`. Field order is the order of declaration; the macros below keep keys ascending.
///
/// # Panics
/// Never for the types of this crate: ciborium fails only where a `Serialize` implementation does, and none here does.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap_or_else(|error| unreachable!("messages always encode: {error}"));
    bytes
}

/// Checks that `bytes` are exactly one deterministic CBOR item, then reads it. Unknown map keys are passed over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    check(bytes)?;
    ciborium::from_reader(bytes).map_err(|error| CborError::Shape(describe(&error)))
}

/// ciborium's own text for a semantic error may quote the offending value, which may be secret.
fn describe(error: &ciborium::de::Error<std::io::Error>) -> String {
    match error {
        ciborium::de::Error::Io(_) => "ends early".into(),
        ciborium::de::Error::Syntax(at) => format!("syntax at byte {at}"),
        ciborium::de::Error::Semantic(at, text) => {
            let reason = text.split([':', '`', '"']).next().unwrap_or_default().trim();
            match at {
                Some(at) => format!("{reason} at byte {at}"),
                None => reason.to_owned(),
            }
        }
        ciborium::de::Error::RecursionLimitExceeded => "nested too deep".into(),
    }
}

/// Checks that `bytes` are exactly one CBOR item in core deterministic encoding, at most [`DEPTH_MAX`] deep.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let end = item(bytes, 0, 0)?;
    if end == bytes.len() { Ok(()) } else { Err(CborError::Trailing) }
}

/// Walks the item at `start`; returns the offset behind it.
fn item(bytes: &[u8], start: usize, depth: usize) -> Result<usize, CborError> {
    if depth > DEPTH_MAX {
        return Err(CborError::TooDeep);
    }
    let (major, argument, mut at) = head(bytes, start)?;
    match major {
        0 | 1 | 7 => Ok(at),
        2 | 3 => {
            let end = usize::try_from(argument).ok().and_then(|n| at.checked_add(n)).ok_or(CborError::Truncated)?;
            let text = bytes.get(at..end).ok_or(CborError::Truncated)?;
            if major == 3 && std::str::from_utf8(text).is_err() {
                return Err(CborError::NotDeterministic("text is not utf-8"));
            }
            Ok(end)
        }
        4 => {
            for _ in 0..argument {
                at = item(bytes, at, depth + 1)?;
            }
            Ok(at)
        }
        5 => {
            let mut previous: Option<&[u8]> = None;
            for _ in 0..argument {
                let key_end = item(bytes, at, depth + 1)?;
                let key = &bytes[at..key_end];
                match previous {
                    Some(before) if before == key => return Err(CborError::NotDeterministic("duplicate key")),
                    Some(before) if before > key => return Err(CborError::NotDeterministic("keys out of order")),
                    _ => previous = Some(key),
                }
                at = item(bytes, key_end, depth + 1)?;
            }
            Ok(at)
        }
        // ciborium passes over a tag, and reads tags 2 and 3 as integers: one message would have many forms.
        _ => Err(CborError::NotDeterministic("no message has a tag")),
    }
}

/// Reads an initial byte and its argument: (major type, argument, offset behind).
fn head(bytes: &[u8], start: usize) -> Result<(u8, u64, usize), CborError> {
    let initial = *bytes.get(start).ok_or(CborError::Truncated)?;
    let (major, info) = (initial >> 5, initial & 0x1f);
    if major == 7 && !(20..=22).contains(&info) {
        return Err(CborError::NotDeterministic("only false, true and null are simple values here"));
    }
    let (width, smallest) = match info {
        0..=23 => return Ok((major, u64::from(info), start + 1)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        31 => return Err(CborError::NotDeterministic("indefinite length")),
        _ => return Err(CborError::NotDeterministic("reserved length")),
    };
    let raw = bytes.get(start + 1..start + 1 + width).ok_or(CborError::Truncated)?;
    let argument = raw.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    if argument < smallest {
        return Err(CborError::NotDeterministic("integer is not in shortest form"));
    }
    Ok((major, argument, start + 1 + width))
}

/// Declares a struct that is a CBOR map with small integer keys, in ascending order.
///
/// `opt` behind a key makes an `Option` field that is left out when `None`. Unknown keys are passed over when reading
/// (a newer minor version may send them), a missing or doubled one is an error.
#[macro_export]
macro_rules! cbor_map {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$fmeta:meta])* $key:literal $($opt:ident)? => $field:ident : $ty:ty ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name { $( $(#[$fmeta])* $vis $field: $ty ),* }

        const _: () = $crate::cbor::keys_ascend(stringify!($name), &[$( $key ),*]);

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let len = 0 $( + $crate::cbor_map!(@present self.$field, $($opt)?) )*;
                #[allow(unused_mut, reason = "a message without fields writes none")]
                let mut map = serializer.serialize_map(Some(len))?;
                $( $crate::cbor_map!(@write map, $key, self.$field, $($opt)?); )*
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a map for ", stringify!($name)))
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        $( let mut $field = None; )*
                        while let Some(key) = map.next_key::<u64>()? {
                            match key {
                                $( $key => $field = Some(map.next_value()?), )*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok($name { $( $field: $crate::cbor_map!(@take $name, $field $($opt)?) ),* })
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
    (@present $value:expr, opt) => { usize::from($value.is_some()) };
    (@present $value:expr,) => { 1 };
    (@write $map:ident, $key:literal, $value:expr, opt) => {
        if let Some(value) = &$value { $map.serialize_entry(&$key, value)?; }
    };
    (@write $map:ident, $key:literal, $value:expr,) => { $map.serialize_entry(&$key, &$value)?; };
    (@take $name:ident, $field:ident opt) => { $field };
    (@take $name:ident, $field:ident) => {
        $field.ok_or_else(|| serde::de::Error::custom(concat!("no ", stringify!($field), " in ", stringify!($name))))?
    };
}

/// Keys are written in the order of the declaration, and read in ascending order only: with another one a record could be
/// written that nobody can read again.
///
/// # Panics
/// When the program is compiled, at a key that is not above the one before it.
pub const fn keys_ascend(name: &str, keys: &[u64]) {
    let mut at = 1;
    while at < keys.len() {
        assert!(keys[at - 1] < keys[at], "{}", name);
        at += 1;
    }
}

/// Declares an enum that is a CBOR array `[kind, body]`, each body a [`cbor_map!`](crate::cbor_map) struct.
#[macro_export]
macro_rules! cbor_union {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$vmeta:meta])* $kind:literal => $variant:ident($ty:ty) ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis enum $name { $( $(#[$vmeta])* $variant($ty) ),* }

        $( impl From<$ty> for $name { fn from(body: $ty) -> Self { Self::$variant(body) } } )*

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $( Self::$variant(body) => serde::Serialize::serialize(&($kind as u64, body), serializer) ),* }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Parts;
                impl<'de> serde::de::Visitor<'de> for Parts {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("[kind, body] for ", stringify!($name)))
                    }
                    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<$name, A::Error> {
                        let short = || serde::de::Error::custom(concat!("not two elements in ", stringify!($name)));
                        let value = match seq.next_element::<u64>()?.ok_or_else(short)? {
                            $( $kind => $name::$variant(seq.next_element()?.ok_or_else(short)?), )*
                            _ => return Err(serde::de::Error::custom(concat!("unknown kind of ", stringify!($name)))),
                        };
                        match seq.next_element::<serde::de::IgnoredAny>()? {
                            None => Ok(value),
                            Some(_) => Err(short()),
                        }
                    }
                }
                deserializer.deserialize_seq(Parts)
            }
        }
    };
}

/// Declares an enum that is a small CBOR integer.
#[macro_export]
macro_rules! cbor_code {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$vmeta:meta])* $code:literal => $variant:ident = $text:literal ),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $( $(#[$vmeta])* $variant ),* }

        impl $name {
            $vis const ALL: &'static [Self] = &[ $( Self::$variant ),* ];

            /// The name in JSON, logs and documents.
            $vis fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text ),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;
            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|known| known.as_str() == text)
                    .ok_or_else(|| $crate::UnknownWord::new(text, Self::ALL.iter().map(|known| known.as_str())))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(self.as_str())
                } else {
                    serializer.serialize_u64(match self { $( Self::$variant => $code ),* })
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    match u64::deserialize(deserializer)? {
                        $( $code => Ok(Self::$variant), )*
                        _ => Err(serde::de::Error::custom(concat!("unknown code of ", stringify!($name)))),
                    }
                }
            }
        }
    };
}

/// Declares a fixed-size byte string: bytes in CBOR, hexadecimal in JSON and logs.
#[macro_export]
macro_rules! byte_id {
    ($(#[$meta:meta])* $vis:vis struct $name:ident([u8; $len:literal]);) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name($vis [u8; $len]);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { std::fmt::Display::fmt(self, f) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::NotHex;
            fn from_str(text: &str) -> Result<Self, $crate::NotHex> {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .map_err(|_| $crate::NotHex { bytes: $len })?;
                bytes.try_into().map(Self).map_err(|_| $crate::NotHex { bytes: $len })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    let bytes = $crate::cbor::Blob::deserialize(deserializer)?;
                    bytes.0.try_into().map(Self).map_err(|_| serde::de::Error::custom("byte string of another length"))
                }
            }
        }
    };
}

/// A CBOR byte string of any length. Shows only its length, because it may hold what must not reach a log.
#[derive(Clone, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Blob(pub Vec<u8>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> serde::de::Visitor<'de> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A list of maps of which a newer minor version may have some that this one cannot read: they are left out and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<T> {
    pub items: Vec<T>,
    /// Items that were left out; 0 in a list that was made here.
    pub left_out: usize,
}

impl<T> From<Vec<T>> for Known<T> {
    fn from(items: Vec<T>) -> Self {
        Self { items, left_out: 0 }
    }
}

impl<T> FromIterator<T> for Known<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        items.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T: Serialize> Serialize for Known<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> serde::Deserialize<'de> for Known<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = ciborium::Value::deserialize(deserializer)?.into_array();
        let all = all.map_err(|_| serde::de::Error::custom("no list of maps"))?;
        if !all.iter().all(ciborium::Value::is_map) {
            return Err(serde::de::Error::custom("no map in a list of maps"));
        }
        let count = all.len();
        let items: Vec<T> = all.into_iter().filter_map(|item| item.deserialized().ok()).collect();
        let left_out = count - items.len();
        Ok(Self { items, left_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    cbor_map! {
        #[derive(Debug, PartialEq)]
        struct Sample { 1 => number: u64, 2 opt => text: Option<String>, 3 => list: Vec<u8> }
    }
    cbor_union! {
        #[derive(Debug, PartialEq)]
        enum Either { 1 => Left(Sample), 2 => Right(Blob) }
    }
    cbor_code! { enum Colour { 0 => Red = "red", 1 => Blue = "blue" } }

    fn sample() -> Sample {
        Sample { number: 500, text: None, list: vec![1, 2] }
    }

    #[test]
    fn maps_unions_and_codes_have_pinned_bytes() {
        assert_eq!(encode(&sample()), [0xa2, 0x01, 0x19, 0x01, 0xf4, 0x03, 0x82, 0x01, 0x02]);
        let either = Either::Right(Blob(vec![7]));
        assert_eq!(encode(&either), [0x82, 0x02, 0x41, 0x07]);
        assert_eq!(decode::<Either>(&encode(&either)), Ok(either));
        assert_eq!(encode(&Colour::Blue), [0x01]);
        assert_eq!(decode::<Sample>(&encode(&sample())), Ok(sample()));
    }

    #[test]
    fn an_unknown_key_is_passed_over_and_a_missing_one_is_named() {
        let newer = [0xa3, 0x01, 0x19, 0x01, 0xf4, 0x03, 0x82, 0x01, 0x02, 0x18, 0x63, 0xf5];
        assert_eq!(decode::<Sample>(&newer), Ok(sample()));
        let short = [0xa1, 0x01, 0x05];
        assert_eq!(decode::<Sample>(&short), Err(CborError::Shape("no list in Sample".into())));
    }

    #[test]
    fn items_that_are_not_understood_are_left_out_of_a_list_and_counted() {
        let newer = [vec![0x82], encode(&sample()), vec![0xa1, 0x01, 0x05]].concat();
        let read: Known<Sample> = decode(&newer).unwrap();
        assert_eq!(read, Known { items: vec![sample()], left_out: 1 });
        assert_eq!(encode(&read), encode(&vec![sample()]));
        for (bytes, what) in [(&[0x01][..], "no list"), (&[0x41, 0x07], "bytes"), (&[0x81, 0x07], "a list of numbers")]
        {
            assert!(decode::<Known<Sample>>(bytes).is_err(), "{what}");
        }
    }

    #[test]
    fn what_is_not_deterministic_is_refused() {
        for (bytes, why) in [
            (&[][..], "empty"),
            (&[0x18, 0x05], "long integer"),
            (&[0x19, 0x00, 0xff], "long integer"),
            (&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "long integer"),
            (&[0x58, 0x01, 0x00], "long length"),
            (&[0x9f, 0xff], "indefinite array"),
            (&[0xa2, 0x01, 0x00, 0x01, 0x00], "duplicate key"),
            (&[0xa2, 0x02, 0x00, 0x01, 0x00], "keys out of order"),
            (&[0x01, 0x01], "trailing byte"),
            (&[0x42, 0x01], "truncated"),
            (&[0x62, 0xc3, 0x28], "bad utf-8"),
            (&[0xc6, 0x01], "a tag"),
            (&[0xa2, 0x01, 0x00, 0xc2, 0x41, 0x01, 0x05], "the same key as a tagged integer"),
            (&[0xf9, 0x00, 0x00], "float"),
            (&[0xf8, 0xff], "simple value"),
            (&[0xf7], "undefined"),
            (&[0x1c], "reserved"),
            (&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "huge array"),
            (&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "huge bytes"),
        ] {
            assert!(check(bytes).is_err(), "{why} was taken");
        }
        assert_eq!(check(&[0x81; 40]), Err(CborError::TooDeep));
    }

    #[test]
    fn errors_do_not_quote_what_was_sent() {
        let secret = encode(&("12345678", 1));
        let error = decode::<Sample>(&secret).unwrap_err().to_string();
        assert!(!error.contains("12345678"), "{error}");
        let wrong_type = encode(&std::collections::BTreeMap::from([(1, "12345678")]));
        let error = decode::<Sample>(&wrong_type).unwrap_err().to_string();
        assert!(!error.contains("12345678"), "{error}");
    }
}
