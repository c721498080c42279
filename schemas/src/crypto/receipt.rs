//! COSE_Sign1 (RFC 9052) with ES256 and the signer's certificate (`x5chain`, RFC 9360): a cabinet vouches for its own end with
//! the key that the fleet knows it by. Whoever holds the receipt and the fleet's root can check it, years later and offline.

use coset::cbor::value::Value;
use coset::iana::{Algorithm, EnumI64 as _, HeaderParameter};
use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder, Label, ProtectedHeader,
    RegisteredLabelWithPrivate,
};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};

use crate::cbor;
use crate::messages::Receipt;

/// Largest receipt in bytes: two certificates and the counts take about 1.2 KiB.
pub const RECEIPT_MAX: usize = 8 * 1024;
/// Certificates in one at most: the cabinet's own and the CA that issued it, and room for one more.
const CHAIN_MAX: usize = 3;

/// Why bytes are no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("not a receipt: no COSE_Sign1 in deterministic form, or too large")]
    Malformed,
    #[error("not a receipt: its headers are not `alg` ES256 and `x5chain`")]
    Header,
    #[error("the signature is not of the certificate in it")]
    Signature,
}

/// Signs a receipt. `chain` holds certificates in DER, the signer's first; `sign` makes 64 bytes `r || s` over what it is
/// given, with SHA-256.
pub fn sign<E>(
    receipt: &Receipt,
    chain: &[Vec<u8>],
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<Vec<u8>, E> {
    let chain = match chain {
        [only] => Value::Bytes(only.clone()),
        several => Value::Array(several.iter().cloned().map(Value::Bytes).collect()),
    };
    let header =
        HeaderBuilder::new().algorithm(Algorithm::ES256).value(HeaderParameter::X5Chain.to_i64(), chain).build();
    let signed = CoseSign1Builder::new()
        .protected(header)
        .payload(cbor::encode(receipt))
        .try_create_signature(&aad(), |bytes| sign(bytes).map(|signature| signature.to_vec()))?
        .build();
    Ok(signed.to_vec().unwrap_or_else(|error| unreachable!("a COSE_Sign1 that was just built encodes: {error}")))
}

fn aad() -> Vec<u8> {
    cbor::encode(&("locker-fleet/1", "receipt"))
}

/// A receipt that was read, and is worth nothing until [`verify`](Self::verify) said so with a key that is known to be the
/// cabinet's.
#[derive(Debug, Clone, PartialEq)]
pub struct Unverified {
    receipt: Receipt,
    chain: Vec<Vec<u8>>,
    signed: CoseSign1,
}

impl Unverified {
    pub fn read(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_MAX {
            return Err(ReceiptError::Malformed);
        }
        cbor::check(bytes).map_err(|_| ReceiptError::Malformed)?;
        let signed = CoseSign1::from_slice(bytes).map_err(|_| ReceiptError::Malformed)?;
        let chain = chain_of(&signed.protected).filter(|_| signed.unprotected.is_empty());
        let chain = chain.ok_or(ReceiptError::Header)?;
        let payload = signed.payload.as_deref().ok_or(ReceiptError::Malformed)?;
        let receipt = cbor::decode(payload).map_err(|_| ReceiptError::Malformed)?;
        Ok(Self { receipt, chain, signed })
    }

    /// What it says; nobody vouches for it yet.
    pub fn claims(&self) -> &Receipt {
        &self.receipt
    }

    /// Certificates in DER, the signer's first.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// `key` is the public key of the first certificate, as SEC1.
    pub fn verify(self, key: &[u8]) -> Result<Receipt, ReceiptError> {
        let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| ReceiptError::Signature)?;
        self.signed.verify_signature(&aad(), |signature, signed| {
            let signature = Signature::from_slice(signature).map_err(|_| ReceiptError::Signature)?;
            key.verify(signed, &signature).map_err(|_| ReceiptError::Signature)
        })?;
        Ok(self.receipt)
    }
}

/// The chain, if these are the two headers that [`sign`] writes.
fn chain_of(protected: &ProtectedHeader) -> Option<Vec<Vec<u8>>> {
    cbor::check(protected.original_data.as_deref()?).ok()?;
    let header = &protected.header;
    let [(Label::Int(label), value)] = header.rest.as_slice() else { return None };
    let plain = HeaderBuilder::new().algorithm(Algorithm::ES256).value(*label, value.clone()).build();
    let is_ours = header.alg == Some(RegisteredLabelWithPrivate::Assigned(Algorithm::ES256)) && *header == plain;
    if !is_ours || *label != HeaderParameter::X5Chain.to_i64() {
        return None;
    }
    if let Value::Bytes(only) = value {
        return Some(vec![only.clone()]);
    }
    let several = value.as_array().filter(|several| (2..=CHAIN_MAX).contains(&several.len()))?;
    several.iter().map(|one| one.as_bytes().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer as _;

    use super::*;
    use crate::messages::{CommandId, Instance};

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_slice(&[byte; 32]).unwrap()
    }

    fn receipt() -> Receipt {
        Receipt {
            tenant: "acme".parse().unwrap(),
            cabinet: "c1".parse().unwrap(),
            instance: Instance([4; 16]),
            command: CommandId([5; 16]),
            requester: "operator:acme:eve".into(),
            at: Some(1_800_000_000_000),
            orders: 3,
            credentials: 6,
            staff: 2,
            events: 812,
            unsent: 0,
        }
    }

    fn signed_by(key: &SigningKey, chain: &[Vec<u8>]) -> Vec<u8> {
        let sign_it = |bytes: &[u8]| {
            let signature: Signature = key.sign(bytes);
            Ok::<_, Infallible>(signature.to_bytes().into())
        };
        sign(&receipt(), chain, sign_it).unwrap_or_else(|never| match never {})
    }

    fn public(key: &SigningKey) -> Vec<u8> {
        key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }

    #[test]
    fn a_receipt_is_believed_with_the_key_that_signed_it_alone() {
        for chain in [vec![vec![0x30, 1]], vec![vec![0x30, 1], vec![0x30, 2]]] {
            let bytes = signed_by(&key(1), &chain);
            let read = Unverified::read(&bytes).unwrap();
            assert_eq!((read.claims(), read.chain()), (&receipt(), chain.as_slice()));
            assert_eq!(read.clone().verify(&public(&key(2))), Err(ReceiptError::Signature));
            assert_eq!(read.clone().verify(b"no key"), Err(ReceiptError::Signature));
            assert_eq!(read.verify(&public(&key(1))), Ok(receipt()));
        }
    }

    #[test]
    fn no_changed_byte_passes() {
        let bytes = signed_by(&key(1), &[vec![0x30, 1]]);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let verified = Unverified::read(&changed).and_then(|read| read.verify(&public(&key(1))));
                assert!(verified.is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn other_headers_and_sizes_are_refused() {
        let none = signed_by(&key(1), &[]);
        let many = signed_by(&key(1), &vec![vec![0x30]; CHAIN_MAX + 1]);
        for bytes in [none, many] {
            assert_eq!(Unverified::read(&bytes), Err(ReceiptError::Header));
        }
        let large = signed_by(&key(1), &[vec![0x30; RECEIPT_MAX]]);
        assert_eq!(Unverified::read(&large), Err(ReceiptError::Malformed));
        let mut trailing = signed_by(&key(1), &[vec![0x30]]);
        trailing.push(0);
        assert_eq!(Unverified::read(&trailing), Err(ReceiptError::Malformed));
        let envelope = crate::crypto::envelope::sign(
            cbor::encode(&receipt()),
            crate::crypto::envelope::Scope::Tenant {
                tenant: &"acme".parse().unwrap(),
                purpose: crate::messages::KeyPurpose::Codes,
            },
            &ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        );
        assert_eq!(Unverified::read(&envelope), Err(ReceiptError::Header));
    }
}
