//! The app flow: an order is opened for a person who stands there and has passed on what the screen shows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq as _;

use crate::cbor_map;

use super::{Challenge, CommandId, Compartment, CredentialId, FleetMillis, OrderKey};

/// Without letters and digits that people take for each other: I, O, 0, 1.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const LENGTH: usize = 8;

/// What a cabinet's screen shows for a short time: 40 random bits as eight letters. Whoever knows it stands in front of the
/// screen, or was told by somebody who does. Debug hides it: it is half of a right to open.
#[derive(Clone, Copy)]
pub struct PresenceToken([u8; LENGTH]);

/// Why a text is no such token. It does not quote the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("token is not eight letters A-Z without I and O, or digits 2-9")]
pub struct NotAToken;

impl PresenceToken {
    pub fn from_random(random: [u8; 5]) -> Self {
        let bits = random.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letter = |at: usize| LETTERS[usize::try_from(bits >> (5 * at) & 31).unwrap_or_default()];
        Self(std::array::from_fn(letter))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// In constant time: a guesser learns nothing from how long the answer takes.
impl PartialEq for PresenceToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PresenceToken {}

impl fmt::Debug for PresenceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresenceToken(..)")
    }
}

/// As the screen shows it: `ABCD-2345`.
impl fmt::Display for PresenceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, other) = self.text().split_at(LENGTH / 2);
        write!(f, "{one}-{other}")
    }
}

/// As a person types it: with or without the dash, with spaces, in small letters.
impl FromStr for PresenceToken {
    type Err = NotAToken;
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let typed = text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')).map(|byte| byte.to_ascii_uppercase());
        let typed: Vec<u8> = typed.take(LENGTH + 1).collect();
        let letters: [u8; LENGTH] = typed.try_into().map_err(|_| NotAToken)?;
        letters.iter().all(|letter| LETTERS.contains(letter)).then_some(Self(letters)).ok_or(NotAToken)
    }
}

impl Serialize for PresenceToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for PresenceToken {
    /// In a signed message as it is written, elsewhere as people type it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let typed = deserializer.is_human_readable();
        let text = String::deserialize(deserializer)?;
        let token: Self = text.parse().map_err(serde::de::Error::custom)?;
        if typed || token.text() == text { Ok(token) } else { Err(serde::de::Error::custom(NotAToken)) }
    }
}

cbor_map! {
    /// Open the door of an order for whoever stands at the screen. Signed with purpose `codes`: it opens what a code would, and
    /// only while somebody is there.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct OpenOrder {
        1 => id: CommandId,
        2 => challenge: Challenge,
        3 => issued: FleetMillis,
        4 => order: OrderKey,
        /// Where it has to be by the cabinet's own book.
        5 => compartment: Compartment,
        /// Has to be on the screen, and not used before.
        6 => token: PresenceToken,
        /// The identity that asked for it, for the record: `integration:acme:shop`.
        7 => requester: String,
    }
}

impl OpenOrder {
    /// What events name as the credential of such an opening: the beginning of the command's id.
    pub fn credential(id: CommandId) -> CredentialId {
        let CommandId(bytes) = id;
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[..8]);
        CredentialId(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_people_type_it_and_as_nothing_else() {
        let token = PresenceToken::from_random([0x00, 0x44, 0x32, 0x14, 0xc7]);
        let shown = token.to_string();
        assert_eq!((shown.len(), &shown[4..5]), (9, "-"));
        for typed in [shown.clone(), shown.replace('-', ""), shown.to_lowercase(), shown.replace('-', " - ")] {
            assert_eq!(typed.parse(), Ok(token));
        }
        for wrong in
            ["", "ABCD-234", "ABCD-23456", "ABCD-234I", "ABCD-234O", "ABCD-2340", "ABCD-2341", "ABCD+234", "ÄBCD234"]
        {
            assert_eq!(wrong.parse::<PresenceToken>(), Err(NotAToken), "{wrong}");
        }
    }

    #[test]
    fn every_bit_of_chance_is_in_a_token() {
        let none = PresenceToken::from_random([0; 5]);
        for bit in 0..40 {
            let mut random = [0; 5];
            random[bit / 8] = 1 << (bit % 8);
            assert_ne!(PresenceToken::from_random(random), none, "{bit}");
        }
    }

    #[test]
    fn a_token_shows_in_no_debug_output() {
        let token = PresenceToken::from_random([1, 2, 3, 4, 5]);
        assert_eq!(format!("{token:?}"), "PresenceToken(..)");
        assert_eq!(serde_json::to_string(&token).unwrap().len(), 10);
    }
}
