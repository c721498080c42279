//! Whatever arrives, the decoders answer; they do not panic, and what they take they write again as it came.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use schemas::api;
use schemas::cbor;
use schemas::crypto::codes::Secret;
use schemas::crypto::{envelope, seal};
use schemas::ids::{ClientId, Identity};
use schemas::messages::{Key, KeyPurpose};
use schemas::topics::{Filter, Topic};

use crate::examples::{self, Example};
use crate::vectors::{CommandParts, pepper_key, sealed_pepper};

/// One change to valid bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Cut(Index),
    /// Copies a stretch to another place: nests, doubles and moves items.
    Copy(Index, Index, u8),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match self {
            Self::Flip(at, bit) => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Set(at, value) => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *value;
                }
            }
            Self::Insert(at, more) => {
                let at = place(at, bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = place(at, bytes);
                let end = bytes.len().min(at + usize::from(*count));
                bytes.drain(at..end);
            }
            Self::Cut(at) => bytes.truncate(place(at, bytes)),
            Self::Copy(from, to, count) => {
                let (from, to) = (place(from, bytes), place(to, bytes));
                let end = bytes.len().min(from + usize::from(*count));
                let stretch = bytes[from..end].to_vec();
                bytes.splice(to..to, stretch);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, more)| Damage::Insert(at, more)),
        (at(), 1..9_u8).prop_map(|(at, count)| Damage::Remove(at, count)),
        at().prop_map(Damage::Cut),
        (at(), at(), 1..40_u8).prop_map(|(from, to, count)| Damage::Copy(from, to, count)),
    ]
}

/// One of `valid` with a few changes, or bytes at random.
fn hostile(valid: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damaged = (select(valid), vec(damage(), 1..5)).prop_map(|(mut bytes, damages)| {
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    });
    prop_oneof![4 => damaged, 1 => vec(any::<u8>(), 0..200)]
}

fn messages() -> Vec<Vec<u8>> {
    examples::all().into_iter().map(|example| example.bytes).collect()
}

/// JSON and topics as bytes: damaged text need not be UTF-8.
fn texts(valid: &[&str]) -> Vec<Vec<u8>> {
    valid.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Fixed length of the test: a few seconds in a debug build.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn message_decoders_take_or_refuse_but_never_panic(bytes in hostile(messages())) {
        for Example { name, reencode, .. } in one_of_each_rule() {
            if let Ok(again) = reencode(&bytes) {
                // What was understood has one encoding, and is understood again.
                prop_assert_eq!(reencode(&again), Ok(again.clone()), "{}", name);
                prop_assert!(again.len() <= bytes.len(), "{} grew", name);
            }
        }
    }

    #[test]
    fn strict_cbor_is_exactly_one_item(bytes in hostile(messages())) {
        if cbor::check(&bytes).is_ok() {
            let value: ciborium::Value = cbor::decode(&bytes).unwrap();
            prop_assert_eq!(cbor::encode(&value), bytes);
        }
    }
}

/// One decoder per rule is enough: variants share it.
fn one_of_each_rule() -> &'static [Example] {
    static ALL: std::sync::OnceLock<Vec<Example>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = examples::all();
        all.dedup_by_key(|example| example.rule());
        all
    })
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn damaged_envelopes_do_not_open(bytes in hostile(vec![CommandParts::new().envelope()])) {
        let parts = CommandParts::new();
        let entry = envelope::public_entry(&parts.key, KeyPurpose::Unlock);
        let broken = Key { public: cbor::Blob(vec![0xff; 31]), ..entry.clone() };
        let intact = bytes == parts.envelope();
        prop_assert_eq!(envelope::open(&bytes, parts.scope(), [&entry]).is_ok(), intact);
        prop_assert!(envelope::open(&bytes, parts.scope(), [&broken]).is_err());
    }

    #[test]
    fn damaged_seals_do_not_open(bytes in hostile(vec![sealed_pepper(&pepper_key()).0])) {
        let (intact, aad) = sealed_pepper(&pepper_key());
        prop_assert_eq!(seal::open(&bytes, &pepper_key(), &aad).is_ok(), bytes == intact);
    }
}

const PAYLOADS: [&str; 6] = [
    r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","wants":{"accessible":true},"recipient":{"phone":"1"}}"#,
    r#"{"order":"A17"}"#,
    r#"{"op":"unlock","cabinet":"c1","compartment":12,"reason":"help"}"#,
    r#"{"n":3,"order":"A17","state":"stored","at":"2026-11-22T20:15:00.007Z","cabinet":"c1","compartment":12}"#,
    r#"{"orders":[{"order":"shop/A17","state":"stored","cabinet":"c1","since":"2026-11-22T20:15:00.007Z"}]}"#,
    r#"{"error":{"code":"malformed","message":"m"}}"#,
];

const TEXTS: [&str; 8] = [
    "v1/acme/cabinet/c1/up/hello",
    "v1/acme/integration/shop/orders/put",
    "v1/acme/operator/eve/request",
    "v1/acme/live/+/#",
    "operator:acme:eve~tui",
    "urn:locker-fleet:cabinet:acme:c1",
    "1234 5678",
    "QAUCQKBIFAUCQKBIFAUCQKBIFAU",
];

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn json_parsers_take_or_refuse_but_never_panic(bytes in hostile(texts(&PAYLOADS))) {
        let order = api::parse::<api::OrderPut>(&bytes);
        if let Ok(order) = &order {
            let again = serde_json::to_vec(order).unwrap();
            prop_assert_eq!(api::parse::<api::OrderPut>(&again), Ok(order.clone()));
        }
        if let Err(error) = order {
            prop_assert!(error.to_string().chars().count() < 300);
        }
        let _ = api::parse::<api::OrderCancel>(&bytes);
        let _ = api::parse::<api::Request>(&bytes);
        let _ = api::parse::<api::Status>(&bytes);
        let _ = api::parse::<api::Reply>(&bytes);
    }

    #[test]
    fn names_and_topics_that_are_taken_print_as_they_came(bytes in hostile(texts(&TEXTS))) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(topic) = Topic::parse(&text) {
            prop_assert_eq!(topic.to_string(), text.as_ref());
            prop_assert!(Filter::parse(&text).is_ok(), "a topic that cannot be subscribed: {}", topic);
        }
        if let Ok(id) = text.parse::<ClientId>() {
            prop_assert_eq!(id.to_string(), text.as_ref());
        }
        if let Ok(identity) = Identity::from_urn(&text) {
            prop_assert_eq!(identity.to_urn(), text.as_ref());
        }
        if let Ok(Filter::Exact(topic)) = Filter::parse(&text) {
            prop_assert_eq!(topic.to_string(), text.as_ref());
        }
        let _ = Secret::parse(&text);
    }
}
