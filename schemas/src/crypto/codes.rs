//! Pickup codes: how they look, how a cabinet compares them, and how long they must be.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::messages::{CredentialKind, Salt, Verifier};

/// Argon2id memory in KiB, passes and lanes: at most 7 MiB and, on a cabinet, at most 250 ms (BENCHMARKS.md).
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 2;

pub const DIGITS_MIN: u8 = 6;
pub const DIGITS_MAX: u8 = 12;
/// Letters of typed codes. Without vowels and Y, so that no code is a word; without Q, which begins a scanned token and is read
/// for an O. What is left is told apart on a screen, on paper and by ear, and as no digit stands beside them, a B is never an 8.
pub const LETTERS: &[u8; 19] = b"BCDFGHJKLMNPRSTVWXZ";
/// Five letters are more than six digits, ten more than twelve.
pub const LETTERS_MIN: u8 = 5;
pub const LETTERS_MAX: u8 = 10;
/// Digits of a break-glass code: 83 bits, as many as nobody guesses, so that it needs neither stretching nor a lockout.
pub const BREAK_GLASS_DIGITS: u8 = 25;
/// Random bytes of a scanned token.
pub const TOKEN_BYTES: usize = 16;
/// A scanned token is this letter and the base32 of its bytes, so that a typed code can never be mistaken for one.
const TOKEN_PREFIX: char = 'Q';

/// The cabinet's secret share of each verifier.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Pepper(pub [u8; 32]);

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// What a person typed or scanned.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret {
    #[zeroize(skip)]
    kind: CredentialKind,
    text: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.kind)
    }
}

/// What was typed or scanned cannot be a code of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither {DIGITS_MIN} to {DIGITS_MAX} digits nor {BREAK_GLASS_DIGITS}, nor {LETTERS_MIN} to {LETTERS_MAX} letters of a \
     code, and no scanned token"
)]
pub struct NotASecret;

impl Secret {
    /// Reads what the keypad or a scanner delivers. Spaces and dashes are passed over, and small letters are capitals: what it
    /// looks like is what it is tried as.
    pub fn parse(input: &str) -> Result<Self, NotASecret> {
        if input.len() > 64 {
            return Err(NotASecret);
        }
        let kept = input.chars().filter(|c| !matches!(c, ' ' | '-')).map(|c| c.to_ascii_uppercase());
        let text: Zeroizing<String> = Zeroizing::new(kept.collect());
        if text.starts_with(TOKEN_PREFIX) {
            let bytes = data_encoding::BASE32_NOPAD.decode(&text.as_bytes()[1..]).map(Zeroizing::new);
            return match bytes {
                Ok(bytes) if bytes.len() == TOKEN_BYTES => {
                    Ok(Self { kind: CredentialKind::Qr, text: text.to_string() })
                }
                Ok(_) | Err(_) => Err(NotASecret),
            };
        }
        let length = u8::try_from(text.len()).map_err(|_| NotASecret)?;
        let kind = if text.bytes().all(|b| b.is_ascii_digit()) {
            kind_of_digits(length)
        } else {
            kind_of_letters(length).filter(|_| text.bytes().all(|b| LETTERS.contains(&b)))
        };
        Ok(Self { kind: kind.ok_or(NotASecret)?, text: text.to_string() })
    }

    /// A code of `digits` digits from random bytes: uniform, because bytes that would favour a digit are skipped. `None` for a
    /// number of digits that no code has, and when the bytes run out (never with 16 bytes a digit).
    pub fn digits_from(random: &[u8], digits: u8) -> Option<Self> {
        Self::drawn(kind_of_digits(digits)?, b"0123456789", random, digits)
    }

    /// The same of letters.
    pub fn letters_from(random: &[u8], letters: u8) -> Option<Self> {
        Self::drawn(kind_of_letters(letters)?, LETTERS, random, letters)
    }

    fn drawn(kind: CredentialKind, alphabet: &[u8], random: &[u8], length: u8) -> Option<Self> {
        let fair = 256 - 256 % alphabet.len();
        let places = random.iter().map(|byte| usize::from(*byte)).filter(|place| *place < fair);
        let symbols = places.filter_map(|place| alphabet.get(place % alphabet.len()));
        let text: String = symbols.map(|symbol| char::from(*symbol)).take(length.into()).collect();
        (text.len() == usize::from(length)).then_some(Self { kind, text })
    }

    pub fn token_from(random: &[u8; TOKEN_BYTES]) -> Self {
        let text = format!("{TOKEN_PREFIX}{}", data_encoding::BASE32_NOPAD.encode(random));
        Self { kind: CredentialKind::Qr, text }
    }

    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// For the notification only.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What the book holds for this secret. What is typed costs one Argon2id evaluation, a token one HMAC.
    pub fn verifier(&self, salt: &Salt, pepper: &Pepper) -> Verifier {
        self.verifier_in(&mut Workspace::default(), salt, pepper)
    }

    /// The same in memory that is used again.
    pub fn verifier_in(&self, workspace: &mut Workspace, salt: &Salt, pepper: &Pepper) -> Verifier {
        match self.kind {
            CredentialKind::Digits | CredentialKind::Letters => {
                stretched(workspace, self.text.as_bytes(), salt, pepper)
            }
            CredentialKind::Qr => {
                let mut mac = keyed(&pepper.0);
                mac.update(b"locker-fleet/1 qr");
                mac.update(&salt.0);
                mac.update(self.text.as_bytes());
                Verifier(mac.finalize().into_bytes().into())
            }
        }
    }
}

/// Whether a code of so many digits may be guessed.
fn kind_of_digits(digits: u8) -> Option<CredentialKind> {
    match digits {
        DIGITS_MIN..=DIGITS_MAX => Some(CredentialKind::Digits),
        BREAK_GLASS_DIGITS => Some(CredentialKind::Qr),
        _ => None,
    }
}

fn kind_of_letters(letters: u8) -> Option<CredentialKind> {
    (LETTERS_MIN..=LETTERS_MAX).contains(&letters).then_some(CredentialKind::Letters)
}

/// The 7 MiB of one Argon2id evaluation, for whoever does many: an allocator may keep each block that it is given back.
#[derive(Default)]
pub struct Workspace(Vec<Block>);

pub(crate) fn stretched(workspace: &mut Workspace, code: &[u8], salt: &Salt, pepper: &Pepper) -> Verifier {
    let mut out = [0; 32];
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(out.len()));
    let done = params.and_then(|params| {
        workspace.0.resize(params.block_count(), Block::default());
        let argon = Argon2::new_with_secret(&pepper.0, Algorithm::Argon2id, Version::V0x13, params)?;
        argon.hash_password_into_with_memory(code, &salt.0, &mut out, &mut workspace.0)
    });
    // What the code left in it is nobody's business.
    workspace.0.fill(Block::default());
    done.unwrap_or_else(|error| unreachable!("constant Argon2 parameters are valid: {error}"));
    Verifier(out)
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"))
}

/// What a cabinet keeps at rest instead of a verifier: useless without the device key.
pub fn at_rest(device_key: &[u8; 32], verifier: &Verifier) -> [u8; 32] {
    let mut mac = keyed(device_key);
    mac.update(b"locker-fleet/1 verifier");
    mac.update(&verifier.0);
    mac.finalize().into_bytes().into()
}

/// Fewest digits with which guessing opens any door of a cabinet with a yearly chance of at most `bound`, when it
/// holds `codes` live codes and takes `wrong_a_day` wrong ones a day. `None` where [`DIGITS_MAX`] is too few.
///
/// Codes of letters beside them cost nothing: a guess is of one form, and one lockout counts both.
pub fn digits_for(codes: u32, wrong_a_day: u32, bound: f64) -> Option<u8> {
    (DIGITS_MIN..=DIGITS_MAX).find(|digits| yearly_chance(codes, wrong_a_day, 10, *digits) <= bound)
}

/// The same of letters: fewer for the same bound.
pub fn letters_for(codes: u32, wrong_a_day: u32, bound: f64) -> Option<u8> {
    (LETTERS_MIN..=LETTERS_MAX).find(|letters| yearly_chance(codes, wrong_a_day, LETTERS.len(), *letters) <= bound)
}

/// Chance that a year of guessing at the allowed rate hits one of `codes` live codes of `length` symbols.
fn yearly_chance(codes: u32, wrong_a_day: u32, symbols: usize, length: u8) -> f64 {
    let all = (0..length).fold(1.0, |all, _| all * f64::from(u32::try_from(symbols).unwrap_or(u32::MAX)));
    let hit = f64::from(codes) / all;
    let guesses = f64::from(wrong_a_day) * 365.25;
    1.0 - (1.0 - hit.min(1.0)).powf(guesses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_tokens_are_told_apart_and_anything_else_is_refused() {
        assert_eq!(Secret::parse("1234 5678").unwrap().reveal(), "12345678");
        let token = Secret::token_from(&[5; 16]);
        assert_eq!(Secret::parse(token.reveal()).unwrap(), token);
        for bad in ["", "12345", "1234567890123", "1234567a", "Q", "QAAAA", "é2345678", &"1".repeat(65)] {
            assert!(Secret::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn letters_are_read_in_any_case_and_mixed_ones_are_no_code() {
        let code = Secret::parse("bcd-fgh j").unwrap();
        assert_eq!((code.kind(), code.reveal()), (CredentialKind::Letters, "BCDFGHJ"));
        assert_eq!(Secret::parse("BCDFGHJ").unwrap(), code);
        assert_eq!(format!("{code:?}"), "Secret(letters)");
        for bad in ["BCDF", "BCDFGHJKLMN", "BCDFGH7", "BCDAFGH", "BCDYFGH", "BCDQFGH", "BCDFGHÄ", "BCDFGH_"] {
            assert!(Secret::parse(bad).is_err(), "{bad:?} was taken");
        }
        let token = Secret::token_from(&[5; 16]);
        assert_eq!(Secret::parse(&token.reveal().to_lowercase()).unwrap(), token);
    }

    #[test]
    fn letters_are_uniform_over_the_bytes_that_count() {
        let mut seen = std::collections::BTreeMap::new();
        for byte in 0..=255 {
            if let Some(secret) = Secret::letters_from(&[byte; 5], 5) {
                *seen.entry(secret.reveal().as_bytes()[0]).or_insert(0) += 1;
            }
        }
        assert_eq!(seen, LETTERS.iter().map(|letter| (*letter, 13)).collect());
        for letters in [0, 4, 11] {
            assert!(Secret::letters_from(&[7; 256], letters).is_none(), "{letters}");
        }
    }

    #[test]
    fn a_break_glass_code_is_typed_and_still_none_that_anybody_guesses() {
        let code = Secret::digits_from(&[7; 25], BREAK_GLASS_DIGITS).unwrap();
        assert_eq!((code.kind(), code.reveal()), (CredentialKind::Qr, "7".repeat(25).as_str()));
        assert_eq!(Secret::parse("77777 77777 77777 77777 77777").unwrap(), code);
        assert!(10f64.powi(BREAK_GLASS_DIGITS.into()).log2() >= 80.0);
        for digits in [0, 5, 13, 24, 26] {
            assert!(Secret::digits_from(&[7; 256], digits).is_none(), "{digits}");
            assert!(Secret::parse(&"7".repeat(digits.into())).is_err(), "{digits}");
        }
    }

    #[test]
    fn a_code_shows_in_no_debug_output() {
        let secret = Secret::parse("12345678").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(digits)");
    }

    #[test]
    fn verifiers_differ_by_code_salt_and_pepper() {
        let (salt, pepper) = (Salt([1; 16]), Pepper([2; 32]));
        let code = Secret::parse("12345678").unwrap();
        let verifier = code.verifier(&salt, &pepper);
        assert_eq!(verifier, code.verifier(&salt, &pepper));
        assert_ne!(verifier, Secret::parse("12345679").unwrap().verifier(&salt, &pepper));
        assert_ne!(verifier, code.verifier(&Salt([2; 16]), &pepper));
        assert_ne!(verifier, code.verifier(&salt, &Pepper([3; 32])));
        assert_ne!(at_rest(&[1; 32], &verifier), at_rest(&[2; 32], &verifier));
    }

    #[test]
    fn the_guess_budget_gives_eight_digits_for_a_hundred_codes() {
        assert_eq!(digits_for(100, 20, 0.01), Some(8));
        assert_eq!(digits_for(1, 20, 0.01), Some(6));
        assert_eq!(digits_for(1_000, 20, 0.01), Some(9));
        assert!(digits_for(u32::MAX, u32::MAX, 1e-9).is_none());
    }

    #[test]
    fn the_same_budget_takes_fewer_letters() {
        assert_eq!(letters_for(100, 20, 0.01), Some(7));
        assert_eq!(letters_for(1, 20, 0.01), Some(5));
        assert_eq!(letters_for(1_000, 20, 0.01), Some(7));
        assert_eq!(letters_for(10_000, 20, 0.01), Some(8));
        assert!(letters_for(u32::MAX, u32::MAX, 1e-9).is_none());
    }

    #[test]
    fn digits_are_uniform_over_the_bytes_that_count() {
        let all: Vec<u8> = (0..=255).collect();
        let mut seen = [0; 10];
        for byte in &all {
            if let Some(secret) = Secret::digits_from(&[*byte; 6], 6) {
                seen[usize::from(secret.reveal().as_bytes()[0] - b'0')] += 1;
            }
        }
        assert_eq!(seen, [25; 10]);
    }
}
