//! Templates: texts with a few fields, read when they are put and never later than that found wrong.

use std::fmt;

/// A group is written in square brackets and left out where one of its fields is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
    Group(Vec<Piece>),
}

macro_rules! fields {
    ($($field:ident = $name:literal),*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Field { $($field),* }

        impl Field {
            const ALL: &'static [Self] = &[$(Self::$field),*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$field => $name),* }
            }
        }
    };
}

fields! {
    Code = "code",
    Place = "place",
    Compartment = "compartment",
    Until = "until",
    Order = "order",
    Instruction = "instruction",
    Doors = "doors"
}

/// Why a template is not taken, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// From 1, in characters; none for the whole.
    at: Option<usize>,
    what: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "character {at}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

/// What fills a template. The code is filled in by the shell.
pub(crate) struct Fields {
    pub(crate) place: String,
    pub(crate) compartment: String,
    pub(crate) until: String,
    pub(crate) order: String,
    pub(crate) instruction: String,
    pub(crate) doors: String,
}

/// Longest field in characters: what a backend writes must not become a mail of many pages.
const FIELD_MAX: usize = 400;

impl Template {
    /// Reads a template of at most `max` bytes. One that `carries` the code has to have it outside of groups.
    pub(crate) fn parse(text: &str, max: usize, carries: Carries) -> Result<Self, TemplateError> {
        let whole = |what: String| TemplateError { at: None, what };
        if text.len() > max {
            return Err(whole(format!("longer than {max} bytes")));
        }
        if text.trim().is_empty() {
            return Err(whole("empty".to_owned()));
        }
        let lines = carries != Carries::Never;
        if let Some(at) = text.chars().position(|c| c.is_control() && !(lines && c == '\n') || is_invisible(c)) {
            return Err(TemplateError { at: Some(at + 1), what: "a control character".to_owned() });
        }
        let mut reader = Reader { chars: text.chars().collect(), at: 0 };
        let pieces = reader.pieces(false)?;
        let has = |pieces: &[Piece]| pieces.contains(&Piece::Field(Field::Code));
        let in_group = pieces.iter().any(|piece| matches!(piece, Piece::Group(group) if has(group)));
        match carries {
            Carries::Must if !has(&pieces) => Err(whole("{code} is missing: nobody could open the door".to_owned())),
            Carries::Never if has(&pieces) || in_group => {
                Err(whole("{code} does not belong into a subject".to_owned()))
            }
            Carries::Must | Carries::May | Carries::Never => Ok(Self(pieces)),
        }
    }

    /// The text, cut where the code belongs.
    pub(crate) fn fill(&self, fields: &Fields) -> Vec<String> {
        let mut parts = vec![String::new()];
        fill(&self.0, fields, &mut parts);
        parts
    }
}

/// Whether a text has the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    Must,
    May,
    /// A subject: it is on a locked screen, and has one line.
    Never,
}

/// Turns the direction of text, or shows nothing: what a person reads would not be what was put.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn fill(pieces: &[Piece], fields: &Fields, parts: &mut Vec<String>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => push(parts, text),
            Piece::Field(Field::Code) => parts.push(String::new()),
            Piece::Field(field) => push(parts, &fields.of(*field)),
            Piece::Group(group) => {
                let empty = |piece: &Piece| matches!(piece, Piece::Field(field) if *field != Field::Code && fields.of(*field).is_empty());
                if !group.iter().any(empty) {
                    fill(group, fields, parts);
                }
            }
        }
    }
}

fn push(parts: &mut [String], text: &str) {
    if let Some(last) = parts.last_mut() {
        last.push_str(text);
    }
}

impl Fields {
    /// One line, however it was written.
    fn of(&self, field: Field) -> String {
        let text = match field {
            Field::Code => "",
            Field::Place => &self.place,
            Field::Compartment => &self.compartment,
            Field::Until => &self.until,
            Field::Order => &self.order,
            Field::Instruction => &self.instruction,
            Field::Doors => &self.doors,
        };
        let clean = |c: char| if c.is_control() || is_invisible(c) { ' ' } else { c };
        text.chars().take(FIELD_MAX).map(clean).collect()
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn pieces(&mut self, in_group: bool) -> Result<Vec<Piece>, TemplateError> {
        let begin = self.at;
        let mut pieces = Vec::new();
        let mut text = String::new();
        while let Some(c) = self.chars.get(self.at).copied() {
            let here = self.at;
            self.at += 1;
            let piece = match c {
                '{' => Piece::Field(self.field(here)?),
                '[' if in_group => return Err(wrong(here, "a group in a group")),
                '[' => Piece::Group(self.pieces(true)?),
                ']' if in_group => {
                    push_text(&mut pieces, &mut text);
                    let has_field = pieces.iter().any(|piece| matches!(piece, Piece::Field(_)));
                    let nothing = "a group without a field would always be there";
                    return if has_field { Ok(pieces) } else { Err(wrong(begin - 1, nothing)) };
                }
                ']' => return Err(wrong(here, "] without [")),
                '}' => return Err(wrong(here, "} without {")),
                other => {
                    text.push(other);
                    continue;
                }
            };
            push_text(&mut pieces, &mut text);
            pieces.push(piece);
        }
        if in_group {
            return Err(wrong(begin - 1, "[ without ]"));
        }
        push_text(&mut pieces, &mut text);
        Ok(pieces)
    }

    fn field(&mut self, begin: usize) -> Result<Field, TemplateError> {
        let end = self.chars[self.at..].iter().position(|c| *c == '}');
        let Some(end) = end.filter(|end| *end <= 20) else { return Err(wrong(begin, "{ without }")) };
        let name: String = self.chars[self.at..self.at + end].iter().collect();
        self.at += end + 1;
        Field::ALL.iter().copied().find(|field| field.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = Field::ALL.iter().map(|field| format!("{{{}}}", field.as_str())).collect();
            wrong(begin, &format!("there is no such field; there are {}", known.join(", ")))
        })
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text)));
    }
}

fn wrong(at: usize, what: &str) -> TemplateError {
    TemplateError { at: Some(at + 1), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields {
            place: "Main {code} 1".into(),
            compartment: "7".into(),
            until: String::new(),
            order: "A17".into(),
            instruction: String::new(),
            doors: String::new(),
        }
    }

    fn must(text: &str) -> Result<Template, String> {
        Template::parse(text, 100, Carries::Must).map_err(|error| error.to_string())
    }

    #[test]
    fn a_text_is_filled_and_cut_at_the_code_and_groups_with_nothing_in_them_are_left_out() {
        let parts = must("{order}: {code} at {place}[, door {compartment}][ until {until}].").unwrap().fill(&fields());
        assert_eq!(parts, ["A17: ", " at Main {code} 1, door 7."], "what fills a field is no template");
        assert_eq!(must("{code}{code}").unwrap().fill(&fields()), ["", "", ""]);
        let broken = Fields { place: "a\r\nb\u{202e}c".into(), ..fields() };
        assert_eq!(must("{code}{place}").unwrap().fill(&broken), ["", "a  b c"]);
        let long = Fields { place: "ä".repeat(1_000), ..fields() };
        assert_eq!(must("{code}{place}").unwrap().fill(&long)[1].chars().count(), FIELD_MAX);
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said_with_its_place() {
        for (text, said) in [
            ("{code} {cod}", "character 8: there is no such field; there are {code}, {place}"),
            ("ä{Code}", "character 2: there is no such field"),
            ("{code", "character 1: { without }"),
            ("{code} }", "character 8: } without {"),
            ("{code} [x", "character 8: [ without ]"),
            ("{code} ]", "character 8: ] without ["),
            ("{code} [a [{place}]]", "character 11: a group in a group"),
            ("{code} [a]", "character 8: a group without a field"),
            ("{code}\u{7}", "character 7: a control character"),
            ("{code}\u{202e}", "character 7: a control character"),
            ("at {place}", "{code} is missing"),
            ("[{code} until {until}]", "{code} is missing"),
            ("  ", "empty"),
        ] {
            let error = must(text).unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
        assert_eq!(must(&"x".repeat(101)).unwrap_err(), "longer than 100 bytes");
        assert!(must("{code}\n{place}").is_ok());
        assert!(Template::parse("a\nb", 100, Carries::Never).is_err());
        assert!(Template::parse("[{code}]", 100, Carries::Never).is_err());
        assert!(Template::parse("{order}", 100, Carries::Never).is_ok());
    }
}
