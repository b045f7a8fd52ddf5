//! Finds the part of a whole text that follows the text sent so far, even if the two are spelled differently.

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::upstream::surrogates::{from_units, units};

/// Returns the part of `whole` that follows `said`. `None` if nothing follows, or if `whole` has another text than
/// `said`.
///
/// The two are compared exactly, and if they differ, by their letters and digits: a model that corrects itself at the
/// end changes case, punctuation, white space and accents.
pub(super) fn rest_after(said: &str, whole: &str) -> Option<String> {
    let (said, whole) = (said.trim_start(), whole.trim_start());
    // They are compared by UTF-16 units: the last delta may end between the two halves of a character.
    let rest = units(whole).strip_prefix(units(said).as_slice()).map(from_units);
    rest.or_else(|| respelled(said, whole)).filter(|rest| !rest.trim().is_empty())
}

fn respelled(said: &str, whole: &str) -> Option<String> {
    let forms = DecomposingNormalizerBorrowed::new_nfd();
    let letters = |character: char| {
        forms
            .normalize_iter(character.to_lowercase())
            .filter(|part| part.is_alphanumeric())
            .collect::<Vec<_>>()
    };
    let mut expected = said.chars().flat_map(letters).peekable();
    let mut end = 0;
    for (start, character) in whole.char_indices() {
        if expected.peek().is_none() {
            break;
        }
        if letters(character).into_iter().any(|letter| expected.next() != Some(letter)) {
            return None;
        }
        end = start + character.len_utf8();
    }
    if expected.next().is_some() {
        return None;
    }
    let mut rest = whole.get(end..)?.trim_start_matches(is_accent);
    // The end of a sentence that was sent with another sign.
    if said.trim_end().ends_with(|c: char| !c.is_alphanumeric() && !is_accent(c)) {
        rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric() && !c.is_whitespace());
    }
    if said.ends_with(char::is_whitespace) {
        rest = rest.trim_start();
    }
    rest.contains(char::is_alphanumeric).then(|| rest.to_owned())
}

/// Returns true if a character is an accent of the letter before it: European accents, and the marks of Japanese
/// syllables.
fn is_accent(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_text_is_found_after_another_spelling() {
        for (said, whole, rest) in [
            ("Hello ", "Hello world", Some("world")),
            ("hello world", "Hello, world. And more.", Some(". And more.")),
            ("hello world ", "Hello, world. And more.", Some(". And more.")),
            ("hello world. ", "Hello, world! And more.", Some("And more.")),
            ("hello  world", " HELLO World, and more", Some(", and more")),
            ("caf\u{e9}", "cafe\u{301} and more", Some(" and more")),
            ("cafe\u{301}", "Caf\u{e9} and more", Some(" and more")),
            ("\u{ac01}", "\u{1100}\u{1161}\u{11a8} and more", Some(" and more")),
            (
                "\u{4f60}\u{597d}",
                "\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}",
                Some("\u{ff0c}\u{4e16}\u{754c}"),
            ),
            ("Hello", "Hello.", Some(".")),
            ("hello", "Hello.", None),
            ("Hello world", "Hello", None),
            ("Hello world", "Good morning, this is something else", None),
            ("Hello word", "Hello world and more", None),
            ("Hello", "Hello  ", None),
        ] {
            assert_eq!(rest_after(said, whole).as_deref(), rest, "{said:?} {whole:?}");
        }
    }
}
