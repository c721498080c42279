//! Pieces of the settings files that are written with comments for the people who will change them.

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_reads_back_whatever_is_in_it() {
        for text in ["", "a", "a\"b", "a\\b", "a\nb = 1", "é'\"'", "\u{1b}[2J"] {
            let table: toml::Table = format!("key = {}", quoted(text)).parse().unwrap();
            assert_eq!(table["key"].as_str(), Some(text));
        }
    }
}
