//! That each language says everything that the pages say, in the forms that it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use schemas::messages::{Category, Prompt, Size, TakeBack};
use serde_json::{Value, json};

use super::languages::Language;

const PAGES: [&str; 8] = [
    include_str!("page/app.js"),
    include_str!("page/courier.js"),
    include_str!("page/deposit.js"),
    include_str!("page/pairing.js"),
    include_str!("page/parts.js"),
    include_str!("page/speech.js"),
    include_str!("page/staff.js"),
    include_str!("page/walkin.js"),
];
/// What the pages take by another name than `TEXTS.`.
const TAKEN_OTHERWISE: [&str; 7] =
    ["speech.name", "answer.title", "answer.how", "answer.display", "list.next", "round.next", "round.back"];
const FORMS: [&str; 6] = ["zero", "one", "two", "few", "many", "other"];

/// What stands at one key, by the forms of a plural; a text of one form is "other".
type Forms = BTreeMap<String, String>;

fn texts(language: Language) -> BTreeMap<String, Forms> {
    let mut found = BTreeMap::new();
    collect("", &serde_json::from_str(language.texts()).unwrap(), &mut found);
    found
}

fn collect(key: &str, text: &Value, found: &mut BTreeMap<String, Forms>) {
    match text {
        Value::String(text) => {
            found.insert(key.to_owned(), Forms::from([("other".to_owned(), text.clone())]));
        }
        Value::Object(forms) if forms.contains_key("other") => {
            let forms = forms.iter().map(|(form, text)| (form.clone(), text.as_str().unwrap().to_owned()));
            found.insert(key.to_owned(), forms.collect());
        }
        Value::Object(group) => {
            for (name, inner) in group {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                collect(&key, inner, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => panic!("`{key}` is no text"),
    }
}

fn gaps(text: &str) -> BTreeSet<&str> {
    let ends = text.split('{').skip(1);
    ends.map(|rest| rest.split_once('}').expect("a gap has an end").0).collect()
}

fn is_plural(key: &str, language: Language) -> bool {
    let json: Value = serde_json::from_str(language.texts()).unwrap();
    json.pointer(&format!("/{}", key.replace('.', "/"))).is_some_and(Value::is_object)
}

/// The categories of CLDR for whole numbers below a million.
fn needed(language: Language) -> &'static [&'static str] {
    match language {
        Language::En | Language::De | Language::Es => &["one", "other"],
        Language::Pl => &["few", "many", "one", "other"],
        Language::Zh => &["other"],
    }
}

/// Each `TEXTS.a.b` of the pages, and what follows it.
fn uses() -> Vec<(String, char)> {
    let mut found = Vec::new();
    for page in PAGES {
        for rest in page.split("TEXTS.").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap();
            found.push((rest[..end].to_owned(), rest[end..].chars().next().unwrap()));
        }
    }
    assert!(found.len() > 200, "the pages have {} texts", found.len());
    found
}

fn is_below(key: &str, group: &str) -> bool {
    key.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[test]
fn every_language_says_the_same_with_the_same_gaps() {
    let english = texts(Language::En);
    for language in Language::ALL {
        let texts = texts(language);
        assert!(texts.keys().eq(english.keys()), "{language:?} has other keys");
        for (key, forms) in &texts {
            let expected = gaps(&english[key]["other"]);
            assert_eq!(gaps(&forms["other"]), expected, "{language:?} {key}");
            for (form, text) in forms {
                assert!(gaps(text).is_subset(&expected), "{language:?} {key}.{form}");
            }
            assert_eq!(is_plural(key, language), is_plural(key, Language::En), "{language:?} {key}");
        }
    }
}

#[test]
fn plurals_have_the_forms_that_their_language_needs() {
    for language in Language::ALL {
        for (key, forms) in texts(language).iter().filter(|(key, _)| is_plural(key, language)) {
            assert!(forms.keys().eq(needed(language)), "{language:?} {key}: {:?}", forms.keys());
        }
    }
    // A group with such a name would be taken for a plural.
    for key in texts(Language::En).keys() {
        assert!(key.split('.').all(|name| !FORMS.contains(&name)), "{key}");
    }
}

#[test]
fn no_text_is_empty_or_holds_markup() {
    for language in Language::ALL {
        for (key, forms) in texts(language) {
            for text in forms.values() {
                assert!(!text.trim().is_empty(), "{language:?} {key}");
                assert!(!text.contains(['<', '>', '&', '\n']), "{language:?} {key}");
                assert_eq!(text.matches('{').count(), text.matches('}').count(), "{language:?} {key}");
            }
        }
    }
}

#[test]
fn what_the_pages_say_is_there_and_what_is_there_is_said() {
    let english = texts(Language::En);
    let mut used: BTreeSet<String> = TAKEN_OTHERWISE.map(str::to_owned).into();
    for group in ["customer", "staff", "courier"] {
        used.extend(["title", "hint", "display", "go"].map(|name| format!("{group}.{name}")));
    }
    for (path, next) in uses() {
        assert!(english.keys().any(|key| is_below(key, &path)), "no text for TEXTS.{path}");
        if let Some(forms) = english.get(&path) {
            let is_function = is_plural(&path, Language::En) || !gaps(&forms["other"]).is_empty();
            assert_eq!(next == '(', is_function, "TEXTS.{path}{next} in a page");
            used.insert(path);
        } else if next == '[' {
            used.insert(path);
        }
    }
    // `Object.entries` goes through it.
    used.insert("staff.category".to_owned());
    for key in english.keys() {
        assert!(used.iter().any(|path| is_below(key, path)), "nobody says {key}");
    }
}

/// The variants of an enum of the cabinet's core as the page gets them.
fn variants(name: &str) -> Vec<String> {
    let source = include_str!("../../core/src/effect.rs");
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let names = body.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    names.map(|line| serde_name(line.trim_end_matches(','))).collect()
}

fn serde_name(variant: &str) -> String {
    let mut name = String::new();
    for (at, letter) in variant.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[test]
fn every_refusal_and_every_word_of_the_core_has_a_text() {
    let english = texts(Language::En);
    let has = |group: &str, name: &str| {
        let key = format!("{group}.{name}");
        assert!(english.contains_key(&key), "no text for {key}");
    };
    for (group, name) in
        [("refused", "EntryRefusal"), ("depositRefused", "DepositRefusal"), ("staffRefused", "StaffRefusal")]
    {
        let variants = variants(name);
        assert!(variants.len() > 8 && variants.iter().any(|variant| variant == "busy"), "{variants:?}");
        variants.iter().for_each(|variant| has(group, variant));
    }
    for prompt in Prompt::ALL {
        has("answer.title", prompt.as_str());
        has("answer.how", prompt.as_str());
    }
    let parts = include_str!("page/parts.js");
    let sizes: Vec<_> = Size::ALL.iter().map(|size| format!("\"{size}\"")).collect();
    assert!(parts.contains(&format!("export const SIZES = [{}];", sizes.join(", "))), "sizes that people choose from");
    Category::ALL.iter().for_each(|category| has("staff.category", category.as_str()));
    TakeBack::ALL.iter().for_each(|why| has("unwanted", why.as_str()));
}

/// Reads every text in every language as the page does, with many numbers, and says some of them.
const READER: &str = r#"
import { readFileSync } from "node:fs";
const folder = process.argv[2];
const root = { dataset: { languages: "pl en de es zh" }, lang: "" };
globalThis.document = { documentElement: root };
globalThis.fetch = async (path) => ({ json: async () => JSON.parse(readFileSync(folder + path, "utf8")) });
const texts = await import("./texts.mjs");
const counts = [...Array(130).keys(), 1000, 1000000];
const values = (count) => new Proxy({}, { get: (_, gap) => ({ count, numbers: [3, 7, 9], orders: ["A1", "A2"] })[gap] ?? "7" });
function check(key, text) {
  if (typeof text === "object") return Object.entries(text).forEach(([name, inner]) => check(`${key}.${name}`, inner));
  const said = typeof text === "function" ? counts.map((count) => text(values(count))) : [text];
  for (const one of said) if (!one || /[{}]|undefined|NaN|object/.test(one)) throw new Error(`${root.lang} ${key}: ${one}`);
}
const said = [];
for (const name of texts.LANGUAGES) {
  texts.speak(name);
  check("", texts.TEXTS);
  said.push(root.lang, texts.nameOf(name), texts.TEXTS.doors.leftOpen({ count: 1, numbers: [3] }), texts.TEXTS.doors.leftOpen({ count: 3, numbers: [3, 7, 9] }));
}
texts.speak("pl");
for (const count of [1, 2, 5, 12, 22]) said.push(texts.TEXTS.staff.boards({ count }));
texts.speak("en");
said.push(texts.TEXTS.staff.unknownLabel({ label: "{number} $& <b>" }));
texts.speak("fr");
said.push(root.lang);
texts.speak(undefined);
said.push(root.lang);
console.log(JSON.stringify(said));
"#;

#[test]
fn texts_are_formed_as_each_language_does_it() {
    if Command::new("node").arg("--version").output().is_err() {
        let required = std::env::var_os("REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "node is not on PATH but REQUIRE_TOOLS=1");
        eprintln!("skipped: node is not on PATH");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("texts.mjs"), include_str!("page/texts.js")).unwrap();
    std::fs::write(folder.path().join("reader.mjs"), READER).unwrap();
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/screen/page");
    let read = Command::new("node").arg(folder.path().join("reader.mjs")).arg(pages).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let said: Value = serde_json::from_slice(&read.stdout).unwrap();
    let expected = json!([
        "pl",
        "Polski",
        "Drzwi 3 są nadal otwarte. Prosimy je zamknąć.",
        "Drzwi 3, 7 i 9 są nadal otwarte. Prosimy je zamknąć.",
        "en",
        "English",
        "Door 3 is still open. Please close it.",
        "Doors 3, 7, and 9 are still open. Please close them.",
        "de",
        "Deutsch",
        "Tür 3 ist noch offen. Bitte schließen Sie sie.",
        "Die Türen 3, 7 und 9 sind noch offen. Bitte schließen Sie sie.",
        "es",
        "Español",
        "La puerta 3 sigue abierta. Ciérrela, por favor.",
        "Las puertas 3, 7 y 9 siguen abiertas. Ciérrelas, por favor.",
        "zh",
        "中文",
        "3 号门还开着，请关好。",
        "3、7和9 号门还开着，请关好。",
        "Jeden sterownik zamków nie odpowiada.",
        "2 sterowniki zamków nie odpowiadają.",
        "5 sterowników zamków nie odpowiada.",
        "12 sterowników zamków nie odpowiada.",
        "22 sterowniki zamków nie odpowiadają.",
        "{number} $& <b> is not waiting here.",
        "pl",
        "pl",
    ]);
    assert_eq!(said, expected);
}
