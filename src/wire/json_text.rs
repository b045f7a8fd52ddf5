//! Unescapes the text of a JSON string in place. So an upload of many megabytes is not copied, even if the client
//! writes `\/` for every slash, as PHP does.

use bytes::BytesMut;

/// Replaces the escapes of RFC 8259, section 7, in the text between the quotation marks of a valid JSON string. Half of
/// a surrogate pair, which is not a character, becomes U+FFFD.
pub fn unescape(text: &mut BytesMut) {
    let Some(first) = text.iter().position(|byte| *byte == b'\\') else { return };
    let (mut read, mut write) = (first, first);
    while let Some(rest) = text.get(read..).filter(|rest| !rest.is_empty()) {
        let run = rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len());
        if run > 0 {
            text.copy_within(read..read + run, write);
            (read, write) = (read + run, write + run);
            continue;
        }
        let (meaning, length) = escape(rest);
        let character = match meaning {
            Escape::Character(character) => character,
            Escape::Half(_) => char::REPLACEMENT_CHARACTER,
        };
        let mut encoded = [0; 4];
        for byte in character.encode_utf8(&mut encoded).bytes() {
            // An escape is at least as long as its character in UTF-8.
            if let Some(to) = text.get_mut(write) {
                *to = byte;
            }
            write += 1;
        }
        read += length;
    }
    text.truncate(write);
}

/// The meaning of an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// A character.
    Character(char),
    /// Half of a surrogate pair without its other half. JSON's grammar allows it, but it is not valid Unicode text.
    Half(u16),
}

/// Returns the first lone half of a surrogate pair in the text between the quotation marks of a valid JSON string.
#[must_use]
pub fn lone_surrogate(mut text: &[u8]) -> Option<u16> {
    while let Some(at) = memchr::memchr(b'\\', text) {
        let rest = text.get(at..).unwrap_or_default();
        match escape(rest) {
            (Escape::Half(unit), _) => return Some(unit),
            (Escape::Character(_), length) => text = rest.get(length..).unwrap_or_default(),
        }
    }
    None
}

/// Returns the meaning and the length of the escape at the start of `text`.
#[must_use]
pub fn escape(text: &[u8]) -> (Escape, usize) {
    let Some(kind) = text.get(1) else { return (Escape::Character(char::REPLACEMENT_CHARACTER), 1) };
    let character = match kind {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text),
        other => char::from(*other),
    };
    (Escape::Character(character), 2)
}

/// Reads `\uXXXX`, or two such escapes that form one character.
fn unicode(text: &[u8]) -> (Escape, usize) {
    let first = code_unit(text);
    let second = text.get(6..).filter(|rest| rest.starts_with(b"\\u")).and_then(code_unit);
    let units = first.into_iter().chain(second);
    match char::decode_utf16(units).next() {
        Some(Ok(character)) => (Escape::Character(character), 6 * character.len_utf16()),
        Some(Err(half)) => (Escape::Half(half.unpaired_surrogate()), text.len().min(6)),
        None => (Escape::Character(char::REPLACEMENT_CHARACTER), text.len().min(6)),
    }
}

fn code_unit(escape: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(escape.get(2..6)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unescaped(json: &str) -> String {
        let mut text = BytesMut::from(&json[1..json.len() - 1]);
        unescape(&mut text);
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn every_escape_is_replaced() {
        assert_eq!(
            unescaped(r#""a\/b\"\\\b\f\n\r\t\u0041\u00e9\u20ac\uD83D\uDE00z""#),
            "a/b\"\\\u{8}\u{c}\n\r\tAé€😀z"
        );
        assert_eq!(unescaped(r#""\uD83D\u0041 \uDE00 \uD83D""#), "\u{fffd}A \u{fffd} \u{fffd}");
        assert_eq!(unescaped(r#""""#), "");
    }

    #[test]
    fn lone_surrogates_are_found() {
        for whole in ["", "abc", r"\ud83d\ude00", r"\\ud83d", r"\u00e9\n"] {
            assert_eq!(lone_surrogate(whole.as_bytes()), None, "{whole}");
        }
        for (text, half) in [
            (r"a\uD83D", 0xd83d),
            (r"\ud83d\u0041", 0xd83d),
            (r"\ud83d\ude00\ude01x", 0xde01),
            (r"\\\ud800", 0xd800),
        ] {
            assert_eq!(lone_surrogate(text.as_bytes()), Some(half), "{text}");
        }
    }

    #[test]
    fn the_bytes_after_the_text_stay_available_as_capacity() {
        let mut text = BytesMut::from(r#"\/\/"}"#);
        let capacity = text.capacity();
        text.truncate(4);
        unescape(&mut text);
        assert_eq!((&text[..], text.capacity()), (&b"//"[..], capacity));
    }

    proptest! {
        #[test]
        fn the_unescaped_text_equals_the_one_of_serde(text: String, escape_all: bool) {
            let json = if escape_all {
                let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
                format!("\"{units}\"")
            } else {
                serde_json::to_string(&text).unwrap().replace('/', "\\/")
            };
            prop_assert_eq!(unescaped(&json), text);
        }

        #[test]
        fn invalid_json_does_not_panic(text in "[\\\\u0-9dD\"a]{0,20}") {
            unescape(&mut BytesMut::from(text.as_str()));
        }
    }
}
