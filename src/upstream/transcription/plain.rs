//! Reads a transcription in plain text. The text is passed on as it arrives, without the line break at its end.

use crate::task::TextKind;
use crate::upstream::surrogates::guarded;
use crate::upstream::{Batch, UpstreamEvent};
use crate::wire::completion::{FinishReason, Usage};

/// Most bytes of line breaks that are held back: a text does not end with more of them.
const MOST_HELD: usize = 4096;

/// A plain text that is being received.
#[derive(Debug, Default)]
pub(super) struct PlainText {
    /// Bytes that may be the beginning of a character, or the last line breaks of the text.
    held: Vec<u8>,
}

impl PlainText {
    /// Takes the bytes of one read.
    pub(super) fn take(&mut self, bytes: &[u8], batch: &mut Batch) {
        self.held.extend_from_slice(bytes);
        let end = self.held.len() - unfinished(&self.held);
        let text = self.held.get(..end).unwrap_or_default();
        let said = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        let end = if end - said > MOST_HELD { end } else { said };
        let said: Vec<u8> = self.held.drain(..end).collect();
        say(&said, batch);
    }

    /// Takes the end of the body, which is the end of the answer.
    pub(super) fn finish(self, batch: &mut Batch) {
        let line_ends = self.held.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        say(self.held.get(..self.held.len() - line_ends).unwrap_or_default(), batch);
        batch.push(UpstreamEvent::Finished { reason: FinishReason::Stop, usage: Usage::default() });
    }
}

fn say(text: &[u8], batch: &mut Batch) {
    if !text.is_empty() {
        let text = String::from_utf8_lossy(text);
        batch.push(UpstreamEvent::Text(TextKind::Content, guarded(&text).into_owned()));
    }
}

/// Returns how many bytes at the end are the beginning of a UTF-8 character.
fn unfinished(text: &[u8]) -> usize {
    let is_start = |byte: &u8| byte & 0b1100_0000 == 0b1100_0000;
    let Some(back) = text.iter().rev().take(3).position(is_start) else { return 0 };
    let start = text.get(text.len() - 1 - back..).unwrap_or_default();
    if std::str::from_utf8(start).is_err_and(|err| err.error_len().is_none()) { back + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_sent_at_once_except_line_breaks_at_its_end() {
        let mut plain = PlainText::default();
        let mut text_of = |bytes: &[u8]| {
            let mut batch = Batch::new();
            plain.take(bytes, &mut batch);
            batch
                .into_iter()
                .map(|event| match event {
                    UpstreamEvent::Text(TextKind::Content, text) => text,
                    other => panic!("{other:?}"),
                })
                .collect::<String>()
        };
        assert_eq!(text_of(b"Hi\r\n"), "Hi");
        assert_eq!(text_of(b"\xf0\x9f"), "");
        assert_eq!(text_of(b"\x98\x80 you.\n\n"), "\r\n\u{1f600} you.");
        let mut batch = Batch::new();
        plain.finish(&mut batch);
        assert_eq!(batch.len(), 1);

        let mut endless = PlainText::default();
        (0..100_000).for_each(|_| endless.take(b"\n", &mut Batch::new()));
        assert!(endless.held.len() <= MOST_HELD);
    }
}
