//! Secrets at rest under a 32-byte key of the machine: ChaCha20-Poly1305 with a label that binds a secret to its place.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit as _, Nonce};
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
}
