//! Secrets at rest under a 32-byte key of the machine: ChaCha20-Poly1305 with a label that binds a secret to its place.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const NONCE: usize = 12;

/// Another key, another place, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not protected under this key for this place, or changed")]
pub struct NotOurs;

/// Encrypts `plain`. `nonce` is random and never used twice with a key.
pub fn protect(key: &[u8; 32], label: &[u8], nonce: [u8; NONCE], plain: &[u8]) -> Vec<u8> {
    let sealed = ChaCha20Poly1305::new(&Key::from(*key))
        .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: label })
        .unwrap_or_else(|_| unreachable!("plain texts here are far below the limit of the cipher"));
    [nonce.as_slice(), &sealed].concat()
}

/// Decrypts what [`protect`] made with the same key and label.
pub fn unprotect(key: &[u8; 32], label: &[u8], bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
    let (nonce, sealed) = bytes.split_at_checked(NONCE).ok_or(NotOurs)?;
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| NotOurs)?;
    ChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: label })
        .map(Zeroizing::new)
        .map_err(|_| NotOurs)
}

/// By which the holder of the key knows `plain` again, and nobody else can try what it is.
pub fn tag(key: &[u8; 32], label: &[u8], plain: &[u8]) -> [u8; 32] {
    // A key of its own: what encrypts is used for nothing else.
    let own = mac(key, b"locker-fleet/1 tag");
    *mac(&mac(&own, label), plain)
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(bytes);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_its_key_and_label_only() {
        let bytes = protect(&[1; 32], b"here", [2; 12], b"secret");
        assert_eq!(unprotect(&[1; 32], b"here", &bytes).unwrap().as_slice(), b"secret");
        assert!(unprotect(&[2; 32], b"here", &bytes).is_err());
        assert!(unprotect(&[1; 32], b"there", &bytes).is_err());
        assert!(unprotect(&[1; 32], b"here", &bytes[..5]).is_err());
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_tag_is_of_one_key_one_label_and_one_text() {
        let one = tag(&[1; 32], b"here", b"4711");
        assert_eq!(one, tag(&[1; 32], b"here", b"4711"));
        for other in
            [tag(&[2; 32], b"here", b"4711"), tag(&[1; 32], b"there", b"4711"), tag(&[1; 32], b"here", b"4712")]
        {
            assert_ne!(one, other);
        }
    }
}
