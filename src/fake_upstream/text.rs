//! What a fake answer says: numbered texts in many scripts, so that loss, repetition and split characters show.

use std::fmt::Write as _;

/// What the texts say in turn. Characters of one to four bytes, and some that are made of several.
const SENTENCES: [&str; 5] = [
    "The quick brown fox listens.",
    "Zwölf Boxkämpfer hören süße Töne.",
    "すべての音が聞こえます。",
    "Слышно каждое слово 🎧.",
    "👩‍🚀 सब सुनाई देता है 🎶.",
];
/// The shortest size that a text can be given, in bytes: its number has room.
pub const LEAST_SIZE: usize = 16;

/// The text with this number, from 1. Without a `size` it is `N: SENTENCE ` with a space at its end; with one it is
/// exactly that many bytes: the sentence is repeated, cut between two characters, and filled up with dots.
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

/// All texts of an answer, one after the other: what a client must have in the end.
#[must_use]
pub fn whole(texts: u64, size: Option<usize>) -> String {
    (1..=texts).map(|number| text(number, size)).collect()
}

/// The thought with this number, from 1.
#[must_use]
pub fn thought(number: u64) -> String {
    format!("Thought {number}: is that a voice? 🤔 ")
}

/// All thoughts before an answer, one after the other.
#[must_use]
pub fn thoughts(thoughts: u64) -> String {
    (1..=thoughts).map(thought).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_numbered_and_the_whole_is_their_sum() {
        assert_eq!(text(1, None), "1: The quick brown fox listens. ");
        assert_eq!(text(7, None), "7: Zwölf Boxkämpfer hören süße Töne. ");
        assert_eq!(whole(2, None), text(1, None) + &text(2, None));
        assert_eq!(whole(0, None), "");
    }

    #[test]
    fn characters_of_every_length_come_up() {
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
