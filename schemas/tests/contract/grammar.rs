//! `cabinet.cddl` and the decoders take and refuse the same messages.

use cddl::ast::CDDL;
use cddl::cddl_from_str;
use cddl::validator::Validator as _;
use cddl::validator::cbor::{CBORValidator, Error};
use cddl::validator::cbor_value::decode_cbor;
use ciborium::Value;
use schemas::cbor;
use schemas::messages::{
    Category, CredentialKind, DepositKind, DoorState, Errand, HeldStage, KeyPurpose, Occupancy, Prompt, RefusalReason,
    Size, StoredBy, UnlockOutcome,
};

use crate::examples::{self, Example};
use crate::vectors::{self, CommandParts, sealed_pepper};

const GRAMMAR: &str = include_str!("../../cabinet.cddl");

/// The grammar with `rule` as the root, which is the first rule of a CDDL text.
fn rooted(rule: &str) -> String {
    format!("root = {rule}\n{GRAMMAR}")
}

fn parsed(text: &str) -> CDDL<'_> {
    cddl_from_str(text, true).unwrap()
}

fn takes(grammar: &CDDL<'_>, bytes: &[u8]) -> Result<(), String> {
    let value = decode_cbor(bytes).map_err(|error| error.to_string())?;
    let verdict: Result<(), Error<std::io::Error>> = CBORValidator::new(grammar, value, None).validate();
    verdict.map_err(|error| error.to_string())
}

fn bytes_of(value: &Value) -> Vec<u8> {
    cbor::encode(value)
}

fn value_of(example: &Example) -> Value {
    cbor::decode(&example.bytes).unwrap()
}

#[test]
fn every_example_is_in_the_grammar() {
    for example in examples::all() {
        let text = rooted(example.rule());
        let verdict = takes(&parsed(&text), &example.bytes);
        assert!(verdict.is_ok(), "{}: {}", example.name, verdict.unwrap_err());
    }
}

#[test]
fn every_payload_of_a_topic_is_a_message() {
    let text = rooted("message");
    let grammar = parsed(&text);
    for example in examples::all() {
        if ["hello", "uplink", "challenge", "telemetry", "down"].contains(&example.rule()) {
            assert!(takes(&grammar, &example.bytes).is_ok(), "{}", example.name);
        }
    }
}

/// Every way to spoil one place of a value: an entry or element missing, another type, a number out of its range, a
/// byte string of another length, an unknown key.
fn spoiled(value: &Value) -> Vec<(String, Value)> {
    let mut all = vec![
        ("null".into(), Value::Null),
        ("text".into(), Value::Text("A B".into())),
        ("bytes".into(), Value::Bytes(vec![0; 5])),
        ("negative".into(), Value::Integer((-1).into())),
        ("huge".into(), Value::Integer(u64::MAX.into())),
        ("array".into(), Value::Array(vec![])),
        ("bool".into(), Value::Bool(true)),
    ];
    all.retain(|(_, other)| std::mem::discriminant(other) != std::mem::discriminant(value) || other != value);
    if let Value::Map(entries) = value {
        for (at, (key, inner)) in entries.iter().enumerate() {
            let path = key.as_integer().map(i128::from).unwrap_or_default();
            let mut without = entries.clone();
            without.remove(at);
            all.push((format!("{path} missing"), Value::Map(without)));
            all.extend(spoiled(inner).into_iter().map(|(what, inner)| {
                let mut changed = entries.clone();
                changed[at].1 = inner;
                (format!("{path}.{what}"), Value::Map(changed))
            }));
        }
        let mut newer = entries.clone();
        newer.push((Value::Integer(99.into()), Value::Text("newer".into())));
        all.push(("newer key".into(), Value::Map(newer)));
        if !entries.is_empty() {
            all.push(("no entries".into(), Value::Map(vec![])));
        }
    }
    if let Value::Array(elements) = value {
        for (at, inner) in elements.iter().enumerate() {
            let mut without = elements.clone();
            without.remove(at);
            all.push((format!("[{at}] missing"), Value::Array(without)));
            all.extend(spoiled(inner).into_iter().map(|(what, inner)| {
                let mut changed = elements.clone();
                changed[at] = inner;
                (format!("[{at}].{what}"), Value::Array(changed))
            }));
        }
        let mut longer = elements.clone();
        longer.push(Value::Integer(0.into()));
        all.push(("element more".into(), Value::Array(longer)));
    }
    all
}

#[test]
fn grammar_and_decoders_agree_about_every_spoiled_message() {
    let (mut taken, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for example in examples::all() {
        let text = rooted(example.rule());
        let grammar = parsed(&text);
        for (what, value) in spoiled(&value_of(&example)) {
            let bytes = bytes_of(&value);
            let decoder = (example.reencode)(&bytes);
            match (takes(&grammar, &bytes), &decoder) {
                (Ok(()), Ok(_)) => taken += 1,
                (Err(_), Err(_)) => refused += 1,
                (grammar, decoder) => {
                    let (grammar, decoder) = (grammar.is_ok(), decoder.is_ok());
                    differences.push(format!("{} {what}: grammar {grammar}, decoder {decoder}", example.name));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    // Left-out optional keys, newer keys and shorter lists are fine; nearly everything else is not.
    assert!(taken > 50 && refused > 1_000, "{taken} taken, {refused} refused");
}

/// A rule such as `size = &(S: 0, M: 1)`, as the code has it.
fn enumeration<T: Copy + std::fmt::Display + serde::Serialize>(rule: &str, words: &[T]) -> String {
    let numbered = words.iter().map(|word| {
        let code: u64 = cbor::decode(&cbor::encode(word)).unwrap();
        format!("{word}: {code}")
    });
    format!("{rule} = &({})", numbered.collect::<Vec<_>>().join(", "))
}

#[test]
fn the_words_of_the_grammar_are_those_of_the_code() {
    let grammar = GRAMMAR.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")");
    for rule in [
        enumeration("size", Size::ALL),
        enumeration("category", Category::ALL),
        enumeration("deposit-kind", DepositKind::ALL),
        enumeration("prompt", Prompt::ALL),
        enumeration("occupancy", Occupancy::ALL),
        enumeration("door-state", DoorState::ALL),
        enumeration("credential-kind", CredentialKind::ALL),
        enumeration("key-purpose", KeyPurpose::ALL),
        enumeration("unlock-outcome", UnlockOutcome::ALL),
        enumeration("stored-by", StoredBy::ALL),
        enumeration("held-stage", HeldStage::ALL),
        enumeration("refusal-reason", RefusalReason::ALL),
        enumeration("errand", Errand::ALL),
    ] {
        assert!(grammar.contains(&rule), "not in cabinet.cddl: {rule}");
    }
}

#[test]
fn signed_and_sealed_bytes_are_in_the_grammar() {
    let parts = CommandParts::new();
    let (tenant, cabinet) = (&parts.tenant, &parts.cabinet);
    let nobody: Option<()> = None;
    let (sealed, pepper_aad) = sealed_pepper(&vectors::pepper_key());
    for (rule, bytes) in [
        ("cose-sign1", parts.envelope()),
        ("sign1-aad", cbor::encode(&("locker-fleet/1", tenant, cabinet, examples::INSTANCE, KeyPurpose::Unlock))),
        ("sign1-aad", cbor::encode(&("locker-fleet/1", tenant, nobody, nobody, KeyPurpose::Keyset))),
        ("sealed-pepper", sealed),
        ("pepper-aad", pepper_aad),
    ] {
        let text = rooted(rule);
        let grammar = parsed(&text);
        assert_eq!(takes(&grammar, &bytes), Ok(()), "{rule}");
    }
}

#[test]
fn signed_bytes_of_another_form_are_not_in_the_grammar() {
    let text = rooted("cose-sign1");
    let grammar = parsed(&text);
    let Value::Array(parts) = cbor::decode(&CommandParts::new().envelope()).unwrap() else {
        unreachable!("a COSE_Sign1 is an array")
    };
    let with = |at: usize, part: Value| {
        let mut parts = parts.clone();
        parts[at] = part;
        Value::Array(parts)
    };
    let protected = |header: &[(i64, Value)]| {
        let entries = header.iter().map(|(label, value)| (Value::from(*label), value.clone())).collect();
        with(0, Value::Bytes(cbor::encode(&Value::Map(entries))))
    };
    let key_id = || Value::Bytes(vec![1; 8]);
    assert_eq!(takes(&grammar, &bytes_of(&protected(&[(1, (-8).into()), (4, key_id())]))), Ok(()));
    for (what, value) in [
        ("other algorithm", protected(&[(1, (-7).into()), (4, key_id())])),
        ("no key id", protected(&[(1, (-8).into())])),
        ("critical header", protected(&[(1, (-8).into()), (2, Value::Array(vec![5.into()])), (4, key_id())])),
        ("unprotected header", with(1, Value::Map(vec![(4.into(), key_id())]))),
        ("detached payload", with(2, Value::Null)),
        ("short signature", with(3, Value::Bytes(vec![0; 63]))),
        ("no signature", Value::Array(parts[..3].to_vec())),
    ] {
        assert!(takes(&grammar, &bytes_of(&value)).is_err(), "{what} was taken");
    }
}
