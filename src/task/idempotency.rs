//! The identity of a submit: the client's `Idempotency-Key`, and the [`Fingerprint`] of the body.

mod fingerprint;

use std::sync::Arc;

pub use fingerprint::Fingerprint;

use crate::error::Failure;

/// The key and the fingerprint of a submit that the client may repeat without running the task twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's name for the submit.
    pub key: IdempotencyKey,
    /// The fingerprint of the submit's body.
    pub fingerprint: Fingerprint,
}

/// The text of an `Idempotency-Key`: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

const MAX_CHARACTERS: usize = 255;
const RULE: &str = "Idempotency-Key must be 1 to 255 printable ASCII characters, bare or in quotation marks; within \
                    quotation marks a backslash stands before each \" and \\";

impl IdempotencyKey {
    /// The rule as a regular expression: bare, or in quotation marks.
    pub const PATTERN: &str = r#"^(?:[!#-~](?:[ -~]{0,253}[!#-~])?|"(?:[ !#-\[\]-~]|\\["\\]){1,255}")$"#;

    /// Reads the value of the header. The RFC draft requires a string of a structured field, in quotation marks. Most
    /// clients send the text without them. Both forms mean the same key.
    ///
    /// # Errors
    /// Returns `invalid_param`, with the rule.
    pub fn parse(header_value: &[u8]) -> Result<Self, Failure> {
        read(header_value).ok_or_else(|| Failure::invalid_param("Idempotency-Key", RULE))
    }

    /// Returns the key with this text, which [`as_str`](Self::as_str) returned.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (printable && (1..=MAX_CHARACTERS).contains(&text.len())).then(|| Self(text.into()))
    }

    /// Returns the text without quotation marks, for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn read(header_value: &[u8]) -> Option<IdempotencyKey> {
    let value = std::str::from_utf8(header_value.trim_ascii()).ok()?;
    match value.strip_prefix('"') {
        Some(rest) => IdempotencyKey::from_text(&unquote(rest)?),
        // The opening quotation mark is missing.
        None if value.ends_with('"') => None,
        None => IdempotencyKey::from_text(value),
    }
}

/// Reads a string after its opening quotation mark. The closing mark must be the end of `rest`.
fn unquote(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(text),
            '\\' => text.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorCode;

    fn parsed(value: &str) -> Option<String> {
        IdempotencyKey::parse(value.as_bytes()).ok().map(|key| key.as_str().to_owned())
    }

    #[test]
    fn bare_and_quoted_forms_are_the_same_key() {
        for (value, text) in [
            ("8e03978e-40d5", "8e03978e-40d5"),
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            (" \t8e03978e-40d5 ", "8e03978e-40d5"),
            (" \"8e03978e-40d5\"\t", "8e03978e-40d5"),
            ("two words", "two words"),
            ("\" spaces stay \"", " spaces stay "),
            (r#"a"b\c"#, r#"a"b\c"#),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("~", "~"),
        ] {
            assert_eq!(parsed(value).as_deref(), Some(text), "{value}");
        }
    }

    #[test]
    fn the_error_of_an_invalid_key_states_the_rule() {
        for value in [
            "",
            " \t ",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\"b\"",
            "\"a\";p=1",
            r#""a\""#,
            r#""a\b""#,
            "a\tb",
            "a\u{7f}",
            "é",
            "\"é\"",
        ] {
            let failure = IdempotencyKey::parse(value.as_bytes()).expect_err(value);
            assert_eq!(failure.code, ErrorCode::InvalidParam);
            assert_eq!(failure.param.as_deref(), Some("Idempotency-Key"));
            assert!(failure.message.contains("1 to 255 printable ASCII characters"), "{failure}");
        }
        assert!(IdempotencyKey::parse(b"a\xff").is_err());
    }

    #[test]
    fn quotation_marks_and_escapes_do_not_count_in_the_length() {
        let (longest, too_long) = ("\"".repeat(255), "\\".repeat(256));
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        assert_eq!(parsed(&quoted(&longest)), Some(longest));
        assert_eq!(parsed(&quoted(&too_long)), None);
        assert!(parsed(&"k".repeat(255)).is_some());
        assert!(parsed(&"k".repeat(256)).is_none());
    }

    proptest! {
        #[test]
        fn every_printable_text_survives_quotation_marks_and_the_store(text in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let key = IdempotencyKey::parse(quoted.as_bytes()).unwrap();
            prop_assert_eq!(key.as_str(), &text);
            prop_assert_eq!(IdempotencyKey::from_text(key.as_str()), Some(key));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes: Vec<u8>) {
            if let Ok(key) = IdempotencyKey::parse(&bytes) {
                prop_assert_eq!(IdempotencyKey::from_text(key.as_str()), Some(key));
            }
        }
    }
}
