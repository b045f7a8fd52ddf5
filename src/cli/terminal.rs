//! What others say, on the user's terminal: a server, a model or a proxy must not command it.

use std::fmt::Write as _;

/// Text without what would command a terminal.
pub(super) fn harmless(text: &str) -> String {
    let command = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    text.replace(command, "\u{fffd}")
}

/// The same JSON without what would command a terminal: what JSON lets stand raw within strings is escaped.
pub(super) fn harmless_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() && character != '\t' {
            // Memory takes whatever is written.
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
    fn a_model_does_not_command_the_terminal() {
        assert_eq!(harmless("a\tb\n\u{1b}[2Jc\r\u{9b}1m"), "a\tb\n\u{fffd}[2Jc\u{fffd}\u{fffd}1m");
    }

    #[test]
    fn json_stays_the_same_json() {
        let raw = "{\"a\": \"é\u{9b}2J\u{7f}\"}";
        let shown = harmless_json(raw);
        assert_eq!(shown, "{\"a\": \"é\\u009b2J\\u007f\"}");
        let parsed = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parsed(&shown), parsed(raw));
    }
}
