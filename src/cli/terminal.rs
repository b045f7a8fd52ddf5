//! Makes texts of servers, models and proxies safe for the terminal: they must not control it.

use std::fmt::Write as _;

/// Returns the text without characters that control a terminal.
pub(super) fn harmless(text: &str) -> String {
    let command = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    text.replace(command, "\u{fffd}")
}

/// Returns the same JSON without characters that control a terminal: those that JSON allows in strings are escaped.
pub(super) fn harmless_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() && character != '\t' {
            // Writing to a string does not fail.
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_cannot_control_the_terminal() {
        assert_eq!(harmless("a\tb\n\u{1b}[2Jc\r\u{9b}1m"), "a\tb\n\u{fffd}[2Jc\u{fffd}\u{fffd}1m");
    }

    #[test]
    fn escaped_json_keeps_its_meaning() {
        let raw = "{\"a\": \"é\u{9b}2J\u{7f}\"}";
        let shown = harmless_json(raw);
        assert_eq!(shown, "{\"a\": \"é\\u009b2J\\u007f\"}");
        let parsed = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parsed(&shown), parsed(raw));
    }
}
