//! Errors of the small closed vocabularies and of hexadecimal ids.

/// A text is none of the words that a field allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of {allowed}")]
pub struct UnknownWord {
    given: String,
    allowed: String,
}

impl UnknownWord {
    /// Keeps at most 32 characters of what was given.
    pub fn new<'a>(given: &str, allowed: impl Iterator<Item = &'a str>) -> Self {
        Self { given: given.chars().take(32).collect(), allowed: allowed.collect::<Vec<_>>().join(", ") }
    }
}

/// A text is not the hexadecimal form of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {bytes} bytes in hexadecimal")]
pub struct NotHex {
    pub bytes: usize,
}
