//! The texts of a fake answer. They are numbered and in several alphabets, so that tests detect lost, repeated and
//! split text.

use std::fmt::Write as _;

/// The sentences of the texts, in turn. Their characters have one to four bytes, and some consist of several.
const SENTENCES: [&str; 5] = [
    "The quick brown fox listens.",
    "Zwölf Boxkämpfer hören süße Töne.",
    "すべての音が聞こえます。",
    "Слышно каждое слово 🎧.",
    "👩‍🚀 सब सुनाई देता है 🎶.",
];
/// Smallest size of a text, in bytes, which leaves room for its number.
pub const LEAST_SIZE: usize = 16;

/// Returns the text with this number, from 1. Without a `size` it is `N: SENTENCE ` with a space at its end. With one
/// it has exactly that many bytes: the sentence repeats, is cut between two characters, and is filled up with dots.
#[must_use]
pub fn text(number: u64, size: Option<usize>) -> String {
    let mut text = format!("{number}: ");
    let turn = number.saturating_sub(1) % SENTENCES.len() as u64;
    let sentence = SENTENCES.into_iter().cycle().nth(usize::try_from(turn).unwrap_or(0)).unwrap_or_default();
    let Some(size) = size else {
        let _ = write!(text, "{sentence} ");
        return text;
    };
    let room = |text: &str, more: usize| text.len() + more <= size;
    for character in sentence.chars().chain([' ']).cycle() {
        if !room(&text, character.len_utf8()) {
            break;
        }
        text.push(character);
    }
    text.extend(std::iter::repeat_n('.', size.saturating_sub(text.len())));
    text
}

/// Returns all texts of an answer joined: what a client must have received in the end.
#[must_use]
pub fn whole(texts: u64, size: Option<usize>) -> String {
    (1..=texts).map(|number| text(number, size)).collect()
}

/// Returns the thought with this number, from 1.
#[must_use]
pub fn thought(number: u64) -> String {
    format!("Thought {number}: is that a voice? 🤔 ")
}

/// Returns all thoughts before an answer, joined.
#[must_use]
pub fn thoughts(thoughts: u64) -> String {
    (1..=thoughts).map(thought).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_answer_is_the_numbered_texts_joined() {
        assert_eq!(text(1, None), "1: The quick brown fox listens. ");
        assert_eq!(text(7, None), "7: Zwölf Boxkämpfer hören süße Töne. ");
        assert_eq!(whole(2, None), text(1, None) + &text(2, None));
        assert_eq!(whole(0, None), "");
    }

    #[test]
    fn texts_have_characters_of_every_length() {
        let all = whole(SENTENCES.len() as u64, None);
        for bytes in 1..=4 {
            assert!(all.chars().any(|character| character.len_utf8() == bytes), "{bytes}");
        }
    }

    #[test]
    fn a_text_has_exactly_its_size() {
        for number in [1, 2, 3, 4, 5, 1_000_000] {
            for size in LEAST_SIZE..200 {
                let text = text(number, Some(size));
                assert_eq!(text.len(), size);
                assert!(text.starts_with(&format!("{number}: ")), "{text}");
            }
        }
    }
}
