//! Joins halves of surrogate pairs. A server may cut a character outside the basic plane into two escapes, `"\ud83d"`
//! at the end of one chunk and `"\ude00"` at the start of the next one.
//!
//! A Rust string cannot hold a half. While a reply is read, a stand-in from the last 2,048 code points takes its place:
//! [`lenient::parse`](super::lenient::parse) inserts it, and the [`Joiner`] of the reply removes it. A character that
//! is itself one of these code points is inserted as its two halves, so that no text is changed.

use std::borrow::Cow;

use memchr::memchr;

use super::{Batch, UpstreamEvent};
use crate::task::TextKind;

/// The first stand-in. There are as many stand-ins as halves.
const FIRST: u32 = 0x10_F800;
/// The lowest half.
const FIRST_UNIT: u16 = 0xD800;
/// The lowest half that comes second in a pair.
const FIRST_LOW_UNIT: u16 = 0xDC00;
/// The first byte of all stand-ins, and of hardly any other character.
const FIRST_BYTE: u8 = 0xF4;

/// Returns true if the text may hold a stand-in.
#[must_use]
pub(super) fn may_hold(text: &str) -> bool {
    memchr(FIRST_BYTE, text.as_bytes()).is_some()
}

/// Appends the stand-in of a half. Any other unit is appended as it is.
pub(super) fn push_unit(into: &mut String, unit: u16) {
    let code = if unit & 0xF800 == FIRST_UNIT { FIRST + u32::from(unit - FIRST_UNIT) } else { unit.into() };
    into.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
}

/// Appends a character. If it could be taken for a stand-in, its two halves are appended.
pub(super) fn push(into: &mut String, character: char) {
    if u32::from(character) < FIRST {
        into.push(character);
    } else {
        character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| push_unit(into, *unit));
    }
}

/// Returns a text without characters that could be taken for a stand-in.
#[must_use]
pub(super) fn guarded(text: &str) -> Cow<'_, str> {
    if !may_hold(text) {
        return Cow::Borrowed(text);
    }
    let mut guarded = String::with_capacity(text.len() + 4);
    text.chars().for_each(|character| push(&mut guarded, character));
    Cow::Owned(guarded)
}

/// Returns a text without stand-ins: pairs become characters, and single halves become U+FFFD.
#[must_use]
pub(super) fn settled(text: &str) -> Cow<'_, str> {
    if !may_hold(text) {
        return Cow::Borrowed(text);
    }
    let mut half = Half::default();
    let mut settled = half.join(text);
    settled.extend(half.give_up());
    Cow::Owned(settled)
}

/// Returns the UTF-16 units of a text, with its halves.
#[must_use]
pub(super) fn units(text: &str) -> Vec<u16> {
    let mut units = Vec::with_capacity(text.len());
    for character in text.chars() {
        match unit_of(character) {
            Some(unit) => units.push(unit),
            None => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
        }
    }
    units
}

/// Returns the text of these UTF-16 units; a single half becomes its stand-in.
#[must_use]
pub(super) fn from_units(units: &[u16]) -> String {
    let mut text = String::with_capacity(units.len());
    for decoded in char::decode_utf16(units.iter().copied()) {
        match decoded {
            Ok(character) => push(&mut text, character),
            Err(half) => push_unit(&mut text, half.unpaired_surrogate()),
        }
    }
    text
}

/// The half at the end of a text. Its other half may begin the next text.
#[derive(Debug, Clone, Copy, Default)]
struct Half(Option<u16>);

impl Half {
    /// Takes the next text. A first half at its end is kept back.
    fn join(&mut self, text: &str) -> String {
        let mut joined = String::with_capacity(text.len());
        for character in text.chars() {
            let Some(unit) = unit_of(character) else {
                joined.extend(self.give_up());
                joined.push(character);
                continue;
            };
            match (self.0.take(), unit < FIRST_LOW_UNIT) {
                (Some(first), false) => joined.extend(char::decode_utf16([first, unit]).flatten()),
                (None, false) => joined.push(char::REPLACEMENT_CHARACTER),
                (before, true) => {
                    joined.extend(before.map(|_| char::REPLACEMENT_CHARACTER));
                    self.0 = Some(unit);
                }
            }
        }
        joined
    }

    /// Ends the wait for the other half.
    fn give_up(&mut self) -> Option<char> {
        self.0.take().map(|_| char::REPLACEMENT_CHARACTER)
    }
}

fn unit_of(character: char) -> Option<u16> {
    let unit = u32::from(character).checked_sub(FIRST)?;
    u16::try_from(unit).ok()?.checked_add(FIRST_UNIT)
}

/// Joins the halves in the texts of one reply, for each kind of text separately.
#[derive(Debug, Default)]
pub(super) struct Joiner([Half; TextKind::ALL.len()]);

impl Joiner {
    /// Replaces the stand-ins in a batch. A half without its other half becomes U+FFFD when another character follows
    /// it, and at the end of the answer.
    pub(super) fn settle(&mut self, batch: &mut Batch) {
        let holds = |event: &UpstreamEvent| matches!(event, UpstreamEvent::Text(_, text) if may_hold(text));
        if self.0.iter().all(|half| half.0.is_none()) && !batch.iter().any(holds) {
            return;
        }
        for event in std::mem::take(batch) {
            match event {
                UpstreamEvent::Text(kind, text) => {
                    let joined = self.half(kind).join(&text);
                    if !joined.is_empty() {
                        batch.push(UpstreamEvent::Text(kind, joined));
                    }
                }
                UpstreamEvent::Finished { .. } => {
                    for kind in TextKind::ALL {
                        let rest = self.half(kind).give_up();
                        batch.extend(rest.map(|rest| UpstreamEvent::Text(kind, rest.into())));
                    }
                    batch.push(event);
                }
                UpstreamEvent::Segment(_) | UpstreamEvent::Progress(_) => batch.push(event),
            }
        }
    }

    fn half(&mut self, kind: TextKind) -> &mut Half {
        let [content, reasoning, refusal] = &mut self.0;
        match kind {
            TextKind::Content => content,
            TextKind::Reasoning => reasoning,
            TextKind::Refusal => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(kind: TextKind, text: &str) -> UpstreamEvent {
        UpstreamEvent::Text(kind, text.to_owned())
    }

    fn units(units: &[u16]) -> String {
        let mut text = String::new();
        units.iter().for_each(|unit| push_unit(&mut text, *unit));
        text
    }

    #[test]
    fn halves_of_one_kind_are_joined_across_batches() {
        let mut joiner = Joiner::default();
        let mut first = vec![text(TextKind::Content, &(String::from("a") + &units(&[0xD83D])))];
        joiner.settle(&mut first);
        assert_eq!(first, [text(TextKind::Content, "a")]);
        let mut other = vec![text(TextKind::Reasoning, &units(&[0xDE00]))];
        joiner.settle(&mut other);
        assert_eq!(other, [text(TextKind::Reasoning, "\u{fffd}")]);
        let mut second = vec![text(TextKind::Content, &(units(&[0xDE00]) + "b"))];
        joiner.settle(&mut second);
        assert_eq!(second, [text(TextKind::Content, "😀b")]);
    }

    #[test]
    fn a_half_that_stays_alone_becomes_a_replacement_character() {
        assert_eq!(
            settled(&units(&[0x41, 0xD83D, 0x42, 0xDE00, 0xD83D, 0xD83D])),
            "A\u{fffd}B\u{fffd}\u{fffd}\u{fffd}"
        );
        let end = UpstreamEvent::Finished {
            reason: crate::wire::completion::FinishReason::Stop,
            usage: crate::wire::completion::Usage::default(),
        };
        let mut batch = vec![text(TextKind::Content, &units(&[0xD83D])), end.clone()];
        Joiner::default().settle(&mut batch);
        assert_eq!(batch, [text(TextKind::Content, "\u{fffd}"), end]);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_its_halves(words: String, private in "[\u{10F700}-\u{10FFFF}]{0,4}") {
            let whole = words + &private;
            let halves = units(&whole.encode_utf16().collect::<Vec<_>>());
            for text in [guarded(&whole).into_owned(), halves] {
                prop_assert_eq!(settled(&text).into_owned(), whole.clone());
            }
        }
    }
}
