//! COSE_Encrypt (RFC 9052) to a P-256 key: ECDH-ES + HKDF-256, ChaCha20-Poly1305.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key as AeadKey, KeyInit as _, Nonce};
use coset::iana::{Algorithm, EllipticCurve};
use coset::{
    AsCborValue as _, CborSerializable as _, CoseEncrypt, CoseEncryptBuilder, CoseKdfContextBuilder, CoseKey,
    CoseKeyBuilder, CoseRecipientBuilder, Header, HeaderBuilder, Label, SuppPubInfo, iana,
};
use hkdf::Hkdf;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{PublicKey, SecretKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::cbor;
use crate::ids::{CabinetId, TenantId};
use crate::messages::{Instance, OrderKey, Salt};

/// Why sealed bytes cannot be opened. Says nothing about which check failed first on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("not a COSE_Encrypt of the expected form")]
    Malformed,
    #[error("sealed to another key, for another use, or changed")]
    Unopened,
}

/// Random input of one sealing. Never used twice.
pub struct Entropy {
    pub ephemeral: SecretKey,
    pub nonce: [u8; 12],
}

/// Seals `plain` to `recipient`; `aad` binds it to its use.
pub fn seal(plain: &[u8], recipient: &PublicKey, aad: &[u8], entropy: &Entropy) -> Result<Vec<u8>, SealError> {
    let header = ephemeral_header(&entropy.ephemeral.public_key())?;
    let key = content_key(&entropy.ephemeral, recipient)?;
    let cipher = ChaCha20Poly1305::new(&AeadKey::from(*key));
    let builder = shape(entropy.nonce, header).try_create_ciphertext(plain, aad, |plain, aad| {
        cipher.encrypt(&Nonce::from(entropy.nonce), Payload { msg: plain, aad }).map_err(|_| SealError::Malformed)
    })?;
    builder.build().to_vec().map_err(|_| SealError::Malformed)
}

/// The one form of a seal, without its ciphertext.
fn shape(nonce: [u8; 12], ephemeral: Header) -> CoseEncryptBuilder {
    CoseEncryptBuilder::new()
        .protected(HeaderBuilder::new().algorithm(Algorithm::ChaCha20Poly1305).build())
        .unprotected(HeaderBuilder::new().iv(nonce.to_vec()).build())
        .add_recipient(CoseRecipientBuilder::new().protected(recipient_header()).unprotected(ephemeral).build())
}

fn recipient_header() -> Header {
    HeaderBuilder::new().algorithm(Algorithm::ECDH_ES_HKDF_256).build()
}

/// Opens what was sealed to `key` with the same `aad`.
pub fn open(sealed: &[u8], key: &SecretKey, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    cbor::check(sealed).map_err(|_| SealError::Malformed)?;
    let envelope = CoseEncrypt::from_slice(sealed).map_err(|_| SealError::Malformed)?;
    let [recipient] = envelope.recipients.as_slice() else {
        return Err(SealError::Malformed);
    };
    let ephemeral = ephemeral_of(&recipient.unprotected)?;
    let nonce: [u8; 12] = envelope.unprotected.iv.as_slice().try_into().map_err(|_| SealError::Malformed)?;
    let ciphertext = envelope.ciphertext.clone().ok_or(SealError::Malformed)?;
    // What was understood, written again, is what came: nothing else can ride along on its way.
    let again = shape(nonce, ephemeral_header(&ephemeral)?).ciphertext(ciphertext).build();
    if again.to_vec().ok().as_deref() != Some(sealed) {
        return Err(SealError::Malformed);
    }
    let content_key = content_key(key, &ephemeral)?;
    let plain = envelope.decrypt_ciphertext(
        aad,
        || SealError::Malformed,
        |sealed, aad| {
            let cipher = ChaCha20Poly1305::new(&AeadKey::from(*content_key));
            cipher.decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad }).map_err(|_| SealError::Unopened)
        },
    )?;
    Ok(Zeroizing::new(plain))
}

/// What binds a sealed pepper to the installation that made it.
pub fn pepper_aad(tenant: &TenantId, cabinet: &CabinetId, instance: Instance, version: u32, salt: Salt) -> Vec<u8> {
    cbor::encode(&("locker-fleet/1 pepper", tenant, cabinet, instance, version, salt))
}

/// What binds a sealed phone number to its order and to the installation where staff typed it.
pub fn phone_aad(tenant: &TenantId, cabinet: &CabinetId, instance: Instance, order: &OrderKey) -> Vec<u8> {
    cbor::encode(&("locker-fleet/1 phone", tenant, cabinet, instance, order))
}

/// What binds the sealed answer to the second factor of an order to that order.
pub fn answer_aad(tenant: &TenantId, order: &OrderKey) -> Vec<u8> {
    cbor::encode(&("locker-fleet/1 answer", tenant, order))
}

/// The recipient's unprotected header: the ephemeral key as a COSE_Key, nothing else.
fn ephemeral_header(public: &PublicKey) -> Result<Header, SealError> {
    let point = public.to_sec1_point(false);
    let (Some(x), Some(y)) = (point.x(), point.y()) else {
        return Err(SealError::Malformed);
    };
    let key = CoseKeyBuilder::new_ec2_pub_key(EllipticCurve::P_256, x.to_vec(), y.to_vec()).build();
    let value = key.to_cbor_value().map_err(|_| SealError::Malformed)?;
    Ok(HeaderBuilder::new().value(iana::HeaderAlgorithmParameter::EphemeralKey as i64, value).build())
}

fn ephemeral_of(header: &Header) -> Result<PublicKey, SealError> {
    let [(_, value)] = header.rest.as_slice() else {
        return Err(SealError::Malformed);
    };
    let key = CoseKey::from_cbor_value(value.clone()).map_err(|_| SealError::Malformed)?;
    let mut point = vec![0x04];
    for parameter in [iana::Ec2KeyParameter::X, iana::Ec2KeyParameter::Y] {
        let label = Label::Int(parameter as i64);
        let (_, value) = key.params.iter().find(|(known, _)| *known == label).ok_or(SealError::Malformed)?;
        point.extend_from_slice(value.as_bytes().filter(|bytes| bytes.len() == 32).ok_or(SealError::Malformed)?);
    }
    PublicKey::from_sec1_bytes(&point).map_err(|_| SealError::Malformed)
}

/// HKDF-SHA-256 over the shared secret with the COSE_KDF_Context of RFC 9053 section 5.2 as info.
fn content_key(secret: &SecretKey, public: &PublicKey) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), public.as_affine());
    let context = CoseKdfContextBuilder::new()
        .algorithm(Algorithm::ChaCha20Poly1305)
        .supp_pub_info(SuppPubInfo {
            key_data_length: 256,
            protected: coset::ProtectedHeader { original_data: None, header: recipient_header() },
            other: None,
        })
        .build();
    let info = context.to_vec().map_err(|_| SealError::Malformed)?;
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, shared.raw_secret_bytes())
        .expand(&info, key.as_mut())
        .map_err(|_| SealError::Malformed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    fn entropy() -> Entropy {
        Entropy { ephemeral: secret(9), nonce: [3; 12] }
    }

    #[test]
    fn opens_with_the_right_key_and_use_only() {
        let sealed = seal(b"pepper", &secret(1).public_key(), b"use", &entropy()).unwrap();
        assert_eq!(open(&sealed, &secret(1), b"use").unwrap().as_slice(), b"pepper");
        assert_eq!(open(&sealed, &secret(2), b"use"), Err(SealError::Unopened));
        assert_eq!(open(&sealed, &secret(1), b"other use"), Err(SealError::Unopened));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let sealed = seal(b"pepper", &secret(1).public_key(), b"use", &entropy()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x01;
            assert!(open(&changed, &secret(1), b"use").is_err(), "byte {at}");
        }
    }
}
