//! The second factor of an order: what its recipient knows or brings, typed after the pickup code. It has few possible values, so it
//! opens nothing by itself, is stretched as a typed code is, and what is derived of it is good for one order at one cabinet.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cbor;
use crate::crypto::codes::{Pepper, Workspace, stretched};
use crate::messages::{OrderKey, Prompt, Salt, Verifier};

/// Letters and digits of an answer.
pub const ANSWER_MIN: usize = 4;
pub const ANSWER_MAX: usize = 12;
/// Longest text that is looked at.
const TYPED_MAX: usize = 40;

/// Capitals A-Z and digits. Personal data: not shown by `Debug`, gone from memory with its owner.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Answer(String);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer(..)")
    }
}

/// It cannot be an answer. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer has {ANSWER_MIN} to {ANSWER_MAX} letters A-Z or digits")]
pub struct NotAnAnswer;

/// It is none to what is asked. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongKind {
    #[error("a pin has digits only")]
    Pin,
    #[error("a birth_date has the 8 digits of day, month and year: DDMMYYYY")]
    BirthDate,
}

impl Answer {
    /// Reads what was typed. Small letters are capitals; spaces, dashes, dots and slashes are passed over, so that people write dates
    /// and numbers of documents as they know them.
    pub fn parse(typed: &str) -> Result<Self, NotAnAnswer> {
        if typed.len() > TYPED_MAX {
            return Err(NotAnAnswer);
        }
        let kept = typed.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/')).map(|c| c.to_ascii_uppercase());
        let text: Zeroizing<String> = Zeroizing::new(kept.collect());
        let fits = (ANSWER_MIN..=ANSWER_MAX).contains(&text.len());
        let reads = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if fits && reads { Ok(Self(text.to_string())) } else { Err(NotAnAnswer) }
    }

    /// Whether somebody who is asked this can mean it.
    pub fn check(&self, prompt: Prompt) -> Result<(), WrongKind> {
        let digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        let part = |from, to| self.0.get(from..to).and_then(|part: &str| part.parse::<u8>().ok()).unwrap_or(0);
        match prompt {
            Prompt::Pin if !digits => Err(WrongKind::Pin),
            Prompt::BirthDate => {
                let is_date = (1..=31).contains(&part(0, 2)) && (1..=12).contains(&part(2, 4));
                if digits && self.0.len() == 8 && is_date { Ok(()) } else { Err(WrongKind::BirthDate) }
            }
            Prompt::Pin | Prompt::DocumentNumber | Prompt::Postcode => Ok(()),
        }
    }

    /// For sealing only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the book holds for this answer to this order: one Argon2id evaluation. What is stretched is no code, so none has the
    /// same verifier.
    pub fn verifier(&self, order: &OrderKey, salt: &Salt, pepper: &Pepper) -> Verifier {
        self.verifier_in(&mut Workspace::default(), order, salt, pepper)
    }

    /// The same in memory that is used again.
    pub fn verifier_in(&self, workspace: &mut Workspace, order: &OrderKey, salt: &Salt, pepper: &Pepper) -> Verifier {
        let bound = Zeroizing::new(cbor::encode(&("locker-fleet/1 answer", order, self.0.as_str())));
        stretched(workspace, &bound, salt, pepper)
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let typed = Zeroizing::new(String::deserialize(deserializer)?);
        Self::parse(&typed).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::codes::Secret;

    fn order(id: &str) -> OrderKey {
        format!("shop/{id}").parse().unwrap()
    }

    #[test]
    fn answers_are_read_as_people_write_them_and_nothing_else_is_one() {
        for (typed, read) in [
            ("24.12.1980", "24121980"),
            ("24 / 12 / 1980", "24121980"),
            ("l01x-00t47", "L01X00T47"),
            (" 0000 ", "0000"),
        ] {
            assert_eq!(Answer::parse(typed).unwrap().reveal(), read);
        }
        for bad in ["", "123", "1234567890123", "12_34", "ÄÖÜ4", "12345\n", &" ".repeat(41), &format!("1234{:37}", "")]
        {
            assert_eq!(Answer::parse(bad), Err(NotAnAnswer), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_fits_what_is_asked() {
        let check = |text: &str, prompt| Answer::parse(text).unwrap().check(prompt);
        assert_eq!(check("4711", Prompt::Pin), Ok(()));
        assert_eq!(check("471A", Prompt::Pin), Err(WrongKind::Pin));
        assert_eq!(check("31121980", Prompt::BirthDate), Ok(()));
        for bad in ["19801231", "31131980", "00121980", "3112198", "311219800", "3112198A", "1980"] {
            assert_eq!(check(bad, Prompt::BirthDate), Err(WrongKind::BirthDate), "{bad}");
        }
        assert_eq!((check("L01X", Prompt::DocumentNumber), check("SW1A 1AA", Prompt::Postcode)), (Ok(()), Ok(())));
    }

    #[test]
    fn an_answer_shows_in_no_debug_output_and_no_error() {
        assert_eq!(format!("{:?}", Answer::parse("4711").unwrap()), "Answer(..)");
        let wrong = serde_json::from_str::<Answer>(r#""47_11""#).unwrap_err().to_string();
        assert!(wrong.contains("4 to 12") && !wrong.contains("47_11"), "{wrong}");
    }

    #[test]
    fn a_verifier_is_for_one_order_at_one_cabinet_and_is_that_of_no_code() {
        let (salt, pepper) = (Salt([1; 16]), Pepper([2; 32]));
        let answer = Answer::parse("24121980").unwrap();
        let verifier = answer.verifier(&order("A1"), &salt, &pepper);
        assert_eq!(verifier, answer.verifier(&order("A1"), &salt, &pepper));
        assert_ne!(verifier, answer.verifier(&order("A2"), &salt, &pepper));
        assert_ne!(verifier, answer.verifier(&order("A1"), &Salt([3; 16]), &pepper));
        assert_ne!(verifier, answer.verifier(&order("A1"), &salt, &Pepper([3; 32])));
        assert_ne!(verifier, Answer::parse("24121981").unwrap().verifier(&order("A1"), &salt, &pepper));
        assert_ne!(verifier, Secret::parse("24121980").unwrap().verifier(&salt, &pepper));
    }
}
