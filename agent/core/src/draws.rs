//! Independent random values out of the entropy of one call.

use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::SecretKey;
use sha2::Sha256;

/// Expands 32 random bytes with HMAC-SHA-256 in counter mode; no two draws are related.
pub(crate) struct Draws {
    entropy: [u8; 32],
    drawn: u64,
}

impl Draws {
    pub(crate) fn new(entropy: [u8; 32]) -> Self {
        Self { entropy, drawn: 0 }
    }

    pub(crate) fn block(&mut self) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.entropy)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        mac.update(b"locker-fleet/1 draw");
        mac.update(&self.drawn.to_be_bytes());
        self.drawn += 1;
        mac.finalize().into_bytes().into()
    }

    /// At most 32 bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 32) };
        let block = self.block();
        let mut bytes = [0; N];
        bytes.copy_from_slice(&block[..N]);
        bytes
    }

    /// A P-256 key: a block is out of the curve's range once in 2^32 draws, then the next one serves.
    pub(crate) fn secret_key(&mut self) -> SecretKey {
        loop {
            if let Ok(key) = SecretKey::from_slice(&self.block()) {
                return key;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_for_the_same_entropy_and_never_within_it() {
        let (mut one, mut two) = (Draws::new([1; 32]), Draws::new([1; 32]));
        let first = one.block();
        assert_eq!(first, two.block());
        assert_ne!(first, one.block());
        assert_ne!(first, Draws::new([2; 32]).block());
    }
}
