//! How answers look: tables of 80 columns for people, JSON lines for programs.

use std::io::{self, Write as _};

use anyhow::Context as _;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use schemas::api::{AttributeFlags, FreeCompartments, Rfc3339};
use serde::Serialize;

/// Columns that everything is readable in.
const WIDTH: u16 = 80;

/// Prints lines for a person.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    print(text)
}

/// Prints one JSON document on one line.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(value).context("write JSON")?)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("write to standard output"),
    }
}

/// Says on standard error why a command failed, in one line.
pub(super) fn report(error: &anyhow::Error, json: bool) {
    let text = plain(&format!("{error:#}"));
    let line = match json {
        true => serde_json::json!({ "failed": text }).to_string(),
        false => format!("error: {text}"),
    };
    // There is nowhere else to say it.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A note for a person beside the output.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(text));
}

/// Something that a person should do soon, beside the output.
pub(super) fn warning(text: &str, json: bool) {
    let text = plain(text);
    let line = match json {
        true => serde_json::json!({ "warning": text }).to_string(),
        false => format!("warning: {text}"),
    };
    let _ = writeln!(io::stderr(), "{line}");
}

/// `2 M, 1 L refrigerated`, or `nothing`.
pub(super) fn free(kinds: &[FreeCompartments]) -> String {
    let one = |kind: &FreeCompartments| {
        let AttributeFlags { refrigerated, restricted, accessible } = kind.offers;
        let offers = [(refrigerated, " refrigerated"), (restricted, " restricted"), (accessible, " accessible")];
        let offers: String = offers.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
        format!("{} {}{offers}", kind.count, kind.size)
    };
    match kinds {
        [] => "nothing".to_owned(),
        kinds => kinds.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// A time for a person: UTC, to the second.
pub(super) fn time(at: Rfc3339) -> String {
    let text = at.to_string();
    // `2026-11-22T20:15:00.000Z`
    text.get(..19).map_or_else(|| text.clone(), |seconds| format!("{}Z", seconds.replace('T', " ")))
}

/// Text of others without control characters, which could move the cursor or change the title of a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A table without lines, 80 columns wide: what is too long wraps within its column.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table.set_width(WIDTH);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Keeps a column in one piece, whatever becomes of the others.
pub(super) fn keep_whole(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Prints a table as wide as the terminal, or what to say when it is empty.
pub(super) fn show(mut table: Table, empty: &str) -> anyhow::Result<()> {
    if table.is_empty() {
        return text(empty);
    }
    if let Some(width) = Table::new().width() {
        table.set_width(width.clamp(40, 160));
    }
    text(&table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        assert_eq!(plain("Depot\u{1b}[2J\r\nNorth\u{9b}1m"), "Depot\u{fffd}[2J\u{fffd}\u{fffd}North\u{fffd}1m");
    }
}
