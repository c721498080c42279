//! COSE_Sign1 (RFC 9052) with Ed25519, bound to tenant, cabinet, enrolment instance and purpose.
//!
//! An envelope is accepted only as the exact deterministic bytes that [`sign`] makes: two protected headers (`alg`,
//! `kid`), no unprotected one, an attached payload. So nothing can be varied and no unknown critical header passes.

use std::convert::Infallible;

use coset::iana::Algorithm;
use coset::{CborSerializable as _, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, RegisteredLabelWithPrivate};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::cbor;
use crate::ids::{CabinetId, TenantId};
use crate::messages::{Instance, Key, KeyId, KeyPurpose};

/// What a signature is for. Goes into the signed bytes, not into the message.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// For one installation of one cabinet.
    Cabinet { tenant: &'a TenantId, cabinet: &'a CabinetId, instance: Instance, purpose: KeyPurpose },
    /// For every cabinet of a tenant.
    Tenant { tenant: &'a TenantId, purpose: KeyPurpose },
}

impl Scope<'_> {
    /// External additional data: `["locker-fleet/1", tenant, cabinet, instance, purpose]`, the middle ones null for
    /// a tenant's scope.
    fn aad(self) -> Vec<u8> {
        const DOMAIN: &str = "locker-fleet/1";
        match self {
            Self::Cabinet { tenant, cabinet, instance, purpose } => {
                cbor::encode(&(DOMAIN, tenant, cabinet, instance, purpose))
            }
            Self::Tenant { tenant, purpose } => cbor::encode(&(DOMAIN, tenant, (), (), purpose)),
        }
    }

    fn purpose(self) -> KeyPurpose {
        match self {
            Self::Cabinet { purpose, .. } | Self::Tenant { purpose, .. } => purpose,
        }
    }
}

/// Why an envelope is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("not a COSE_Sign1 in deterministic form")]
    Malformed,
    #[error("header or algorithm that is not used here")]
    Header,
    #[error("no key with that id for this purpose")]
    UnknownKey,
    #[error("signature does not verify")]
    Signature,
}

/// Id of an Ed25519 or P-256 public key.
pub fn key_id(public: &[u8]) -> KeyId {
    let digest = Sha256::digest(public);
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    KeyId(id)
}

/// A key that signs envelopes, wherever it is.
pub trait Signs {
    /// Why there is no signature: a key in a token can be away.
    type Error;

    /// The public half.
    fn public(&self) -> [u8; 32];

    /// An Ed25519 signature.
    fn signature(&self, message: &[u8]) -> Result<[u8; 64], Self::Error>;
}

impl Signs for SigningKey {
    type Error = Infallible;

    fn public(&self) -> [u8; 32] {
        self.verifying_key().to_bytes()
    }

    fn signature(&self, message: &[u8]) -> Result<[u8; 64], Infallible> {
        Ok(self.sign(message).to_bytes())
    }
}

/// The keyset entry of a signing key.
pub fn public_entry(key: &impl Signs, purpose: KeyPurpose) -> Key {
    let public = key.public();
    Key { id: key_id(&public), purpose, public: cbor::Blob(public.to_vec()) }
}

/// Signs `payload` (deterministic CBOR) for `scope`, with a key in memory.
pub fn sign(payload: Vec<u8>, scope: Scope<'_>, key: &SigningKey) -> Vec<u8> {
    let Ok(envelope) = try_sign(payload, scope, key);
    envelope
}

/// The same with a key that may be elsewhere.
pub fn try_sign<S: Signs>(payload: Vec<u8>, scope: Scope<'_>, key: &S) -> Result<Vec<u8>, S::Error> {
    let header = HeaderBuilder::new().algorithm(Algorithm::EdDSA).key_id(key_id(&key.public()).0.to_vec()).build();
    let envelope = CoseSign1Builder::new()
        .protected(header)
        .payload(payload)
        .try_create_signature(&scope.aad(), |bytes| key.signature(bytes).map(Vec::from))?
        .build();
    Ok(envelope.to_vec().unwrap_or_else(|error| unreachable!("a COSE_Sign1 that was just built encodes: {error}")))
}

/// An envelope whose signature was verified: who signed, and the bytes that were signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub signer: KeyId,
    pub payload: Vec<u8>,
}

/// Verifies the received bytes of an envelope for `scope` with one of `keys`.
pub fn open<'k>(
    bytes: &[u8],
    scope: Scope<'_>,
    keys: impl IntoIterator<Item = &'k Key>,
) -> Result<Opened, EnvelopeError> {
    cbor::check(bytes).map_err(|_| EnvelopeError::Malformed)?;
    let envelope = CoseSign1::from_slice(bytes).map_err(|_| EnvelopeError::Malformed)?;
    let protected = envelope.protected.original_data.as_deref().ok_or(EnvelopeError::Malformed)?;
    cbor::check(protected).map_err(|_| EnvelopeError::Malformed)?;
    let signer = signer_of(&envelope)?;
    let key = keys
        .into_iter()
        .find(|key| key.id == signer && key.purpose == scope.purpose())
        .ok_or(EnvelopeError::UnknownKey)?;
    let public: [u8; 32] = key.public.0.as_slice().try_into().map_err(|_| EnvelopeError::UnknownKey)?;
    let public = VerifyingKey::from_bytes(&public).map_err(|_| EnvelopeError::UnknownKey)?;
    envelope.verify_signature(&scope.aad(), |signature, signed| {
        let signature = Signature::from_slice(signature).map_err(|_| EnvelopeError::Signature)?;
        public.verify_strict(signed, &signature).map_err(|_| EnvelopeError::Signature)
    })?;
    let payload = envelope.payload.ok_or(EnvelopeError::Malformed)?;
    Ok(Opened { signer, payload })
}

/// What an envelope of the right form says. Nobody vouches for it: to find out who should, or for a report.
pub fn unverified_payload(bytes: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    cbor::check(bytes).map_err(|_| EnvelopeError::Malformed)?;
    let envelope = CoseSign1::from_slice(bytes).map_err(|_| EnvelopeError::Malformed)?;
    signer_of(&envelope)?;
    envelope.payload.ok_or(EnvelopeError::Malformed)
}

/// Checks that the headers are exactly those that [`sign`] writes; returns the key id.
fn signer_of(envelope: &CoseSign1) -> Result<KeyId, EnvelopeError> {
    let header = &envelope.protected.header;
    let id: [u8; 8] = header.key_id.as_slice().try_into().map_err(|_| EnvelopeError::Header)?;
    let expected = Header {
        alg: Some(RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA)),
        key_id: id.to_vec(),
        ..Header::default()
    };
    if *header != expected || !envelope.unprotected.is_empty() {
        return Err(EnvelopeError::Header);
    }
    Ok(KeyId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "acme".parse().unwrap()
    }

    fn scope<'a>(tenant: &'a TenantId, cabinet: &'a CabinetId, purpose: KeyPurpose) -> Scope<'a> {
        Scope::Cabinet { tenant, cabinet, instance: Instance([7; 16]), purpose }
    }

    #[test]
    fn an_envelope_opens_only_in_its_own_scope() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (tenant, other_tenant): (_, TenantId) = (tenant(), "umbra".parse().unwrap());
        let (c1, c2): (CabinetId, CabinetId) = ("c1".parse().unwrap(), "c2".parse().unwrap());
        let entries = [public_entry(&key, KeyPurpose::Unlock), public_entry(&key, KeyPurpose::Codes)];
        let good = scope(&tenant, &c1, KeyPurpose::Unlock);
        let bytes = sign(vec![0x01], good, &key);
        assert_eq!(open(&bytes, good, &entries).unwrap().payload, [0x01]);
        for (what, wrong) in [
            ("cabinet", scope(&tenant, &c2, KeyPurpose::Unlock)),
            ("tenant", scope(&other_tenant, &c1, KeyPurpose::Unlock)),
            ("purpose", scope(&tenant, &c1, KeyPurpose::Codes)),
            (
                "instance",
                Scope::Cabinet {
                    tenant: &tenant,
                    cabinet: &c1,
                    instance: Instance([8; 16]),
                    purpose: KeyPurpose::Unlock,
                },
            ),
            ("whole tenant", Scope::Tenant { tenant: &tenant, purpose: KeyPurpose::Unlock }),
        ] {
            assert_eq!(open(&bytes, wrong, &entries), Err(EnvelopeError::Signature), "other {what}");
        }
        assert_eq!(open(&bytes, good, &entries[1..]), Err(EnvelopeError::UnknownKey), "key of another purpose");
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (tenant, cabinet) = (tenant(), "c1".parse().unwrap());
        let scope = scope(&tenant, &cabinet, KeyPurpose::Unlock);
        let entries = [public_entry(&key, KeyPurpose::Unlock)];
        let bytes = sign(vec![0x82, 0x01, 0x02], scope, &key);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(open(&changed, scope, &entries).is_err(), "bit {bit} of byte {at}");
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(open(&longer, scope, &entries), Err(EnvelopeError::Malformed));
        assert_eq!(open(&bytes[..bytes.len() - 1], scope, &entries), Err(EnvelopeError::Malformed));
    }

    #[test]
    fn headers_that_are_not_ours_are_refused_although_signed() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (tenant, cabinet) = (tenant(), "c1".parse().unwrap());
        let scope = scope(&tenant, &cabinet, KeyPurpose::Unlock);
        let entries = [public_entry(&key, KeyPurpose::Unlock)];
        let id = entries[0].id.0.to_vec();
        let base = || HeaderBuilder::new().algorithm(Algorithm::EdDSA).key_id(id.clone());
        let signed = |protected: Header, unprotected: Header| {
            CoseSign1Builder::new()
                .protected(protected)
                .unprotected(unprotected)
                .payload(vec![0x01])
                .create_signature(&scope.aad(), |bytes| key.sign(bytes).to_bytes().to_vec())
                .build()
                .to_vec()
                .unwrap()
        };
        let none = Header::default;
        for (what, bytes) in [
            ("crit", signed(base().add_critical_label(RegisteredLabelWithPrivate::Text("x".into())).build(), none())),
            ("text header", signed(base().text_value("x".into(), 1.into()).build(), none())),
            ("unprotected", signed(base().build(), HeaderBuilder::new().key_id(id.clone()).build())),
            ("other alg", signed(HeaderBuilder::new().algorithm(Algorithm::ES256).key_id(id.clone()).build(), none())),
            ("no alg", signed(HeaderBuilder::new().key_id(id.clone()).build(), none())),
        ] {
            assert_eq!(open(&bytes, scope, &entries), Err(EnvelopeError::Header), "{what}");
        }
        assert!(open(&signed(base().build(), none()), scope, &entries).is_ok());
    }
}
