//! What the pages say in another language. Tests name everything in English; here is what stands there instead.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

const TEXTS: [(&str, &str); 4] = [
    ("de", include_str!("../../../agent/src/screen/page/texts/de.json")),
    ("pl", include_str!("../../../agent/src/screen/page/texts/pl.json")),
    ("es", include_str!("../../../agent/src/screen/page/texts/es.json")),
    ("zh", include_str!("../../../agent/src/screen/page/texts/zh.json")),
];
const ENGLISH: &str = include_str!("../../../agent/src/screen/page/texts/en.json");

/// A language of the screen besides English.
pub(crate) struct Tongue {
    pub(crate) name: &'static str,
    /// Each English text with what the other language may say for it.
    pairs: Vec<(String, Vec<String>)>,
}

impl Tongue {
    pub(crate) fn of(name: &str) -> anyhow::Result<Self> {
        let (name, texts) = TEXTS.into_iter().find(|(known, _)| *known == name).context("no such language")?;
        let (english, other) = (flat(ENGLISH)?, flat(texts)?);
        let both = english.into_iter().filter_map(|(key, said)| other.get(&key).map(|other| (said, other.clone())));
        let pairs = both.flat_map(|(said, other)| said.into_iter().map(move |said| (said, other.clone()))).collect();
        Ok(Self { name, pairs })
    }

    /// All that may stand for an English text. What is none stays as it is: names, digits, codes.
    pub(crate) fn say(&self, english: &str) -> Vec<String> {
        if let Some(said) = self.whole(english) {
            return said;
        }
        for (at, _) in english.match_indices(' ') {
            let (one, other) = (self.whole(&english[..at]), self.whole(&english[at + 1..]));
            if let (Some(one), Some(other)) = (one, other) {
                return one.iter().flat_map(|one| other.iter().map(move |other| format!("{one} {other}"))).collect();
            }
        }
        vec![english.to_owned()]
    }

    /// Texts without gaps come first, then those of which most is said.
    fn whole(&self, english: &str) -> Option<Vec<String>> {
        let found = self.pairs.iter().filter_map(|(said, other)| Some((said, fit(said, english)?, other)));
        let mut found: Vec<_> = found.collect();
        let most = found.iter().map(|(said, gaps, _)| literal(said, gaps)).max()?;
        found.retain(|(said, gaps, _)| literal(said, gaps) == most);
        let filled = found.iter().flat_map(|(_, gaps, other)| other.iter().map(|other| fill(other, gaps)));
        Some(filled.collect())
    }
}

type Gaps = Vec<(String, String)>;

/// By key, every form of a text.
fn flat(texts: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut found = BTreeMap::new();
    collect("", &serde_json::from_str(texts)?, &mut found);
    Ok(found)
}

fn collect(key: &str, text: &Value, found: &mut BTreeMap<String, Vec<String>>) {
    if let Some(said) = text.as_str() {
        found.insert(key.to_owned(), vec![said.to_owned()]);
        return;
    }
    let Some(inner) = text.as_object() else { return };
    if inner.contains_key("other") {
        found.insert(key.to_owned(), inner.values().filter_map(Value::as_str).map(str::to_owned).collect());
        return;
    }
    for (name, text) in inner {
        collect(&format!("{key}.{name}"), text, found);
    }
}

fn literal(template: &str, gaps: &Gaps) -> usize {
    template.len() - gaps.iter().map(|(name, _)| name.len() + 2).sum::<usize>()
}

/// What stands in the gaps of a text, if it is that one.
fn fit(template: &str, text: &str) -> Option<Gaps> {
    let mut pieces = template.split('{');
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let mut gaps = Gaps::new();
    for piece in pieces {
        let (name, literal) = piece.split_once('}')?;
        let end = if literal.is_empty() { rest.len() } else { rest.find(literal)? };
        // Numbers, names and orders are one word each.
        if rest[..end].contains(' ') {
            return None;
        }
        gaps.push((name.to_owned(), rest[..end].to_owned()));
        rest = &rest[end + literal.len()..];
    }
    rest.is_empty().then_some(gaps)
}

fn fill(template: &str, gaps: &Gaps) -> String {
    gaps.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[test]
fn texts_are_found_by_their_english_ones() {
    let german = Tongue::of("de").unwrap();
    for (english, other) in [
        ("Staff", "Personal"),
        ("Door 7 is open", "Tür 7 ist offen"),
        ("Try door 12 again", "Tür 12 noch einmal öffnen"),
        ("5", "5"),
        ("A17", "A17"),
    ] {
        assert_eq!(german.say(english), [other], "{english}");
    }
    assert_eq!(german.say("Yes, it is inside").len(), 2, "it stands at two places");
}
