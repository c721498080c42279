//! Phone numbers as people type them, in the one form that messages carry (E.164).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Digits of a number with its country code (E.164, section 6).
pub const PHONE_DIGITS_MIN: usize = 8;
pub const PHONE_DIGITS_MAX: usize = 15;
/// Longest text that is looked at.
const TYPED_MAX: usize = 40;
/// Digits of a national number that may begin with the digits of its own country's code, as in Italy.
const NATIONAL_MAX: usize = 10;

/// `+` and digits. Personal data: not shown by `Debug`, gone from memory with its owner.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Phone(String);

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(..)")
    }
}

/// Why a text is no phone number. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    #[error("a phone number begins with + and the country code")]
    NoCountryCode,
    #[error("a phone number has digits, spaces and hyphens only")]
    BadCharacter,
    #[error("a phone number has {PHONE_DIGITS_MIN} to {PHONE_DIGITS_MAX} digits with its country code")]
    Length,
}

impl Phone {
    /// Reads what was typed. Spaces and hyphens are passed over.
    pub fn parse(typed: &str) -> Result<Self, PhoneError> {
        if typed.len() > TYPED_MAX {
            return Err(PhoneError::Length);
        }
        let phone = Self(typed.chars().filter(|c| !matches!(c, ' ' | '-')).collect());
        let digits = phone.0.strip_prefix('+').ok_or(PhoneError::NoCountryCode)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PhoneError::BadCharacter);
        }
        if digits.starts_with('0') {
            return Err(PhoneError::NoCountryCode);
        }
        if !(PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits.len()) {
            return Err(PhoneError::Length);
        }
        Ok(phone)
    }

    /// Reads a number as a backend has it in its records: also with dots, slashes and brackets, with 00 for +, with a `(0)`
    /// behind the country code, and without one for those of the home country, whose code is `home`, behind what is dialled
    /// before a number there, if anything.
    pub fn parse_recorded(text: &str, home: Option<(&str, &str)>) -> Result<Self, PhoneError> {
        if text.len() > TYPED_MAX {
            return Err(PhoneError::Length);
        }
        let text =
            if text.trim_start().starts_with(['+', '0']) { text.replacen("(0)", "", 1) } else { text.to_owned() };
        let mut number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')')).collect();
        if let Some(abroad) = number.strip_prefix("00") {
            number = format!("+{abroad}");
        }
        match home {
            Some((code, trunk)) if !number.starts_with('+') => {
                let national = match number.strip_prefix(trunk) {
                    Some(national) if !trunk.is_empty() => national,
                    // With the country code or without it? Nobody is to get somebody else's code.
                    Some(_) | None if number.starts_with(code) && number.len() > NATIONAL_MAX => {
                        return Err(PhoneError::NoCountryCode);
                    }
                    Some(_) | None => &number,
                };
                Self::parse(&format!("+{code}{national}"))
            }
            Some(_) | None => Self::parse(&number),
        }
    }

    /// For sealing, and for whoever sends the message.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_spaces_and_hyphens_and_kept_without() {
        for typed in ["+4915112345678", "+49 151 1234-5678", " +49-151 12345678 "] {
            assert_eq!(Phone::parse(typed).unwrap().reveal(), "+4915112345678", "{typed}");
        }
    }

    #[test]
    fn numbers_of_records_are_read_in_the_forms_that_people_write() {
        let german = Some(("49", "0"));
        for (text, home) in [
            ("+49 (0) 151 / 1234.5678", None),
            ("0049 151 12345678", None),
            ("0049 (0)151 12345678", german),
            ("0151 12345678", german),
            ("(0151) 12345678", german),
            ("+4915112345678", Some(("1", "1"))),
            ("15112345678", Some(("49", ""))),
        ] {
            assert_eq!(Phone::parse_recorded(text, home).unwrap().reveal(), "+4915112345678", "{text}");
        }
        assert_eq!(Phone::parse_recorded("06 698 1234", Some(("39", ""))).unwrap().reveal(), "+39066981234");
        for wrong in ["", "see notes", "0151 12345678 x 3", "+", "00", "151"] {
            assert!(Phone::parse_recorded(wrong, german).is_err(), "{wrong}");
        }
        assert!(Phone::parse_recorded("0151 12345678", None).is_err(), "of which country?");
        assert_eq!(Phone::parse_recorded("392 1234567", Some(("39", ""))).unwrap().reveal(), "+393921234567");
        for home in [german, Some(("49", ""))] {
            let guessed = Phone::parse_recorded("4915112345678", home);
            assert_eq!(guessed, Err(PhoneError::NoCountryCode), "with the code or without it?");
        }
    }

    #[test]
    fn what_no_carrier_could_dial_is_refused_with_the_reason() {
        let cases = [
            ("", PhoneError::NoCountryCode),
            ("015112345678", PhoneError::NoCountryCode),
            ("004915112345678", PhoneError::NoCountryCode),
            ("+015112345678", PhoneError::NoCountryCode),
            ("+49(151)12345678", PhoneError::BadCharacter),
            ("+49151123x5678", PhoneError::BadCharacter),
            ("+٤٩١٥١١٢٣", PhoneError::BadCharacter),
            ("++4915112345678", PhoneError::BadCharacter),
            ("+4915112", PhoneError::Length),
            ("+1234567890123456", PhoneError::Length),
            ("+", PhoneError::Length),
            ("+49 1 5 1 1 2 3 4 5 6 7 8               9", PhoneError::Length),
        ];
        for (typed, error) in cases {
            assert_eq!(Phone::parse(typed), Err(error), "{typed:?}");
        }
    }

    #[test]
    fn a_number_shows_in_no_debug_output() {
        assert_eq!(format!("{:?}", Phone::parse("+4915112345678").unwrap()), "Phone(..)");
    }
}
