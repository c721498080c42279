//! The wire bytes of version 1, pinned for ever in `schemas/vectors`.
//!
//! A test that fails here has found a change that a cabinet in the field would not understand. A new message gets a new
//! entry (the failure prints it); an entry that was released is never changed.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use p256::SecretKey;
use schemas::cbor;
use schemas::crypto::answers::Answer;
use schemas::crypto::codes::{Pepper, Secret, at_rest};
use schemas::crypto::envelope::{self, Scope};
use schemas::crypto::seal::{self, Entropy};
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{Command, Instance, KeyPurpose, OrderKey, Salt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::diagnostic::diagnostic;
use crate::examples::{self, Example};

const MESSAGES: &str = include_str!("../../vectors/messages.json");
const COMMAND: &str = include_str!("../../vectors/command.json");
const PEPPER: &str = include_str!("../../vectors/pepper.json");
const VERIFIERS: &str = include_str!("../../vectors/verifiers.json");
const ANSWERS: &str = include_str!("../../vectors/answers.json");

/// Bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::HEXLOWER.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageVector {
    name: String,
    hex: Hex,
    /// The same for people.
    diagnostic: String,
}

/// A signed unlock, and everything that goes into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandVector {
    seed: Hex,
    public: Hex,
    key_id: Hex,
    tenant: TenantId,
    cabinet: CabinetId,
    instance: Instance,
    purpose: KeyPurpose,
    external_aad: Hex,
    payload: Hex,
    /// The COSE_Sign1.
    envelope: Hex,
    /// The payload of the `down` topic.
    down: Hex,
}

/// A sealed pepper, and everything that goes into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PepperVector {
    recipient_secret: Hex,
    ephemeral_secret: Hex,
    nonce: Hex,
    tenant: TenantId,
    cabinet: CabinetId,
    instance: Instance,
    version: u32,
    salt: Salt,
    pepper: Hex,
    external_aad: Hex,
    /// The COSE_Encrypt.
    sealed: Hex,
}

/// What a book and a cabinet's disk hold for a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifierVector {
    secret: String,
    salt: Salt,
    pepper: Hex,
    verifier: Hex,
    device_key: Hex,
    at_rest: Hex,
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// Fails with the text of the entry that the code makes.
fn assert_pinned<T: PartialEq + Serialize + std::fmt::Debug>(what: &str, made: &T, pinned: Option<&T>) {
    let entry = serde_json::to_string_pretty(made).unwrap();
    assert_eq!(Some(made), pinned, "the code makes another vector `{what}` than the pinned one:\n{entry}");
}

#[test]
fn every_message_has_its_pinned_bytes_in_both_directions() {
    let pinned: Vec<MessageVector> = read(MESSAGES);
    let examples = examples::all();
    let made: Vec<MessageVector> = examples
        .iter()
        .map(|Example { name, bytes, .. }| MessageVector {
            name: (*name).into(),
            hex: Hex(bytes.clone()),
            diagnostic: diagnostic(bytes),
        })
        .collect();
    for (example, made) in examples.iter().zip(&made) {
        let pinned = pinned.iter().find(|pinned| pinned.name == made.name);
        assert_pinned(example.name, made, pinned);
        assert_eq!((example.reencode)(&made.hex.0).as_ref(), Ok(&made.hex.0), "{}", example.name);
    }
    let names: BTreeSet<_> = pinned.iter().map(|vector| vector.name.as_str()).collect();
    assert_eq!(names.len(), pinned.len(), "a name is there twice");
    assert_eq!(pinned.len(), examples.len(), "a pinned message is no longer tried");
}

pub(crate) struct CommandParts {
    pub(crate) key: SigningKey,
    pub(crate) tenant: TenantId,
    pub(crate) cabinet: CabinetId,
}

impl CommandParts {
    pub(crate) fn new() -> Self {
        let key = SigningKey::from_bytes(&[0x42; 32]);
        Self { key, tenant: "acme".parse().unwrap(), cabinet: "berlin-01".parse().unwrap() }
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        let (tenant, cabinet) = (&self.tenant, &self.cabinet);
        Scope::Cabinet { tenant, cabinet, instance: examples::INSTANCE, purpose: KeyPurpose::Unlock }
    }

    pub(crate) fn envelope(&self) -> Vec<u8> {
        envelope::sign(cbor::encode(&examples::command()), self.scope(), &self.key)
    }
}

#[test]
fn a_signed_command_has_its_pinned_bytes_and_opens() {
    let parts = CommandParts::new();
    let entry = envelope::public_entry(&parts.key, KeyPurpose::Unlock);
    let envelope = parts.envelope();
    let down = schemas::messages::Down::Command(schemas::messages::Signed { envelope: cbor::Blob(envelope.clone()) });
    let aad = ("locker-fleet/1", &parts.tenant, &parts.cabinet, examples::INSTANCE, KeyPurpose::Unlock);
    let made = CommandVector {
        seed: Hex(parts.key.to_bytes().to_vec()),
        public: Hex(entry.public.0.clone()),
        key_id: Hex(entry.id.0.to_vec()),
        tenant: parts.tenant.clone(),
        cabinet: parts.cabinet.clone(),
        instance: examples::INSTANCE,
        purpose: KeyPurpose::Unlock,
        external_aad: Hex(cbor::encode(&aad)),
        payload: Hex(cbor::encode(&examples::command())),
        envelope: Hex(envelope),
        down: Hex(cbor::encode(&down)),
    };
    let pinned: CommandVector = read(COMMAND);
    assert_pinned("signed command", &made, Some(&pinned));
    let opened = envelope::open(&pinned.envelope.0, parts.scope(), [&entry]).unwrap();
    assert_eq!(opened.signer, entry.id);
    assert_eq!(opened.payload, pinned.payload.0);
    assert_eq!(cbor::decode::<Command>(&opened.payload).unwrap(), examples::command());
}

/// The signature of the vector holds over the Sig_structure as RFC 9052 writes it, without the library that made it.
#[test]
fn the_signature_of_the_command_covers_the_structure_of_rfc_9052() {
    let pinned: CommandVector = read(COMMAND);
    let (protected, _, payload, signature): (cbor::Blob, ciborium::Value, cbor::Blob, cbor::Blob) =
        cbor::decode(&pinned.envelope.0).unwrap();
    assert_eq!(payload.0, pinned.payload.0);
    let signed = cbor::encode(&("Signature1", protected, cbor::Blob(pinned.external_aad.0.clone()), payload));
    let key = ed25519_dalek::VerifyingKey::from_bytes(&pinned.public.array()).unwrap();
    key.verify_strict(&signed, &ed25519_dalek::Signature::from_slice(&signature.0).unwrap()).unwrap();
}

/// The fleet's `pepper` key of the vector.
pub(crate) fn pepper_key() -> SecretKey {
    SecretKey::from_slice(&[0x17; 32]).unwrap()
}

/// The sealed pepper and its external additional data.
pub(crate) fn sealed_pepper(recipient: &SecretKey) -> (Vec<u8>, Vec<u8>) {
    let parts = CommandParts::new();
    let aad = seal::pepper_aad(&parts.tenant, &parts.cabinet, examples::INSTANCE, 1, examples::SALT);
    let entropy = Entropy { ephemeral: SecretKey::from_slice(&[0x24; 32]).unwrap(), nonce: [0x0c; 12] };
    (seal::seal(&[0x9e; 32], &recipient.public_key(), &aad, &entropy).unwrap(), aad)
}

#[test]
fn a_sealed_pepper_has_its_pinned_bytes_and_opens() {
    let parts = CommandParts::new();
    let recipient = pepper_key();
    let (sealed, aad) = sealed_pepper(&recipient);
    let made = PepperVector {
        recipient_secret: Hex(recipient.to_bytes().to_vec()),
        ephemeral_secret: Hex(vec![0x24; 32]),
        nonce: Hex(vec![0x0c; 12]),
        tenant: parts.tenant,
        cabinet: parts.cabinet,
        instance: examples::INSTANCE,
        version: 1,
        salt: examples::SALT,
        pepper: Hex(vec![0x9e; 32]),
        external_aad: Hex(aad.clone()),
        sealed: Hex(sealed),
    };
    let pinned: PepperVector = read(PEPPER);
    assert_pinned("sealed pepper", &made, Some(&pinned));
    assert_eq!(seal::open(&pinned.sealed.0, &recipient, &aad).unwrap().as_slice(), pinned.pepper.0);
}

#[test]
fn verifiers_have_their_pinned_bytes() {
    let pinned: Vec<VerifierVector> = read(VERIFIERS);
    let token = Secret::token_from(&[0x05; 16]);
    let secrets = [Secret::parse("12345678").unwrap(), token];
    for (at, secret) in secrets.iter().enumerate() {
        let (pepper, device_key) = ([0x9e; 32], [0xdc; 32]);
        let verifier = secret.verifier(&examples::SALT, &Pepper(pepper));
        let made = VerifierVector {
            secret: secret.reveal().into(),
            salt: examples::SALT,
            pepper: Hex(pepper.to_vec()),
            verifier: Hex(verifier.0.to_vec()),
            device_key: Hex(device_key.to_vec()),
            at_rest: Hex(at_rest(&device_key, &verifier).to_vec()),
        };
        assert_pinned(secret.reveal(), &made, pinned.get(at));
    }
    assert_eq!(pinned.len(), secrets.len());
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerVector {
    answer: String,
    order: OrderKey,
    salt: Salt,
    pepper: Hex,
    verifier: Hex,
}

#[test]
fn verifiers_of_answers_to_second_factors_are_pinned() {
    let pinned: Vec<AnswerVector> = read(ANSWERS);
    let pepper = [0x9e; 32];
    let answers = ["24.12.1980", "l01x-00t47"];
    for (at, typed) in answers.into_iter().enumerate() {
        let order: OrderKey = "shop/A17".parse().unwrap();
        let verifier = Answer::parse(typed).unwrap().verifier(&order, &examples::SALT, &Pepper(pepper));
        let made = AnswerVector {
            answer: typed.into(),
            order,
            salt: examples::SALT,
            pepper: Hex(pepper.to_vec()),
            verifier: Hex(verifier.0.to_vec()),
        };
        assert_pinned(typed, &made, pinned.get(at));
    }
    assert_eq!(pinned.len(), answers.len());
}
