//! The languages that the screen speaks.

use serde::{Deserialize, Serialize};

/// A language of the screen, named as in BCP 47.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Language {
    En,
    De,
    Pl,
    Es,
    Zh,
}

#[derive(Debug, thiserror::Error)]
#[error("the screen does not speak \"{0}\"; it knows {known}", known = Language::ALL.map(Language::name).join(", "))]
pub struct UnknownLanguage(String);

impl TryFrom<String> for Language {
    type Error = UnknownLanguage;

    fn try_from(name: String) -> Result<Self, UnknownLanguage> {
        Self::ALL.into_iter().find(|language| language.name() == name).ok_or(UnknownLanguage(name))
    }
}

impl Language {
    pub const ALL: [Self; 5] = [Self::En, Self::De, Self::Pl, Self::Es, Self::Zh];

    pub fn name(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Pl => "pl",
            Self::Es => "es",
            Self::Zh => "zh",
        }
    }

    /// Every word of the page, as JSON.
    pub(super) fn texts(self) -> &'static str {
        match self {
            Self::En => include_str!("page/texts/en.json"),
            Self::De => include_str!("page/texts/de.json"),
            Self::Pl => include_str!("page/texts/pl.json"),
            Self::Es => include_str!("page/texts/es.json"),
            Self::Zh => include_str!("page/texts/zh.json"),
        }
    }
}
