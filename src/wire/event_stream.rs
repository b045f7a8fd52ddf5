//! `text/event-stream` in both directions: decodes the streams of upstreams, and encodes the streams for subscribers.
//!
//! Decoding follows the WHATWG HTML standard, section 9.2 (server-sent events), with two additions that real upstreams
//! need (both seen in recorded traffic). An event without its closing blank line at the end of the body is still
//! delivered. A line that is not a field of the standard is returned as [`Piece::Stray`] and not dropped, because
//! Gemini writes an error in mid-stream as bare JSON lines.
//!
//! hearken has its own encoder because its API fixes the order of the fields and the place of `retry:`, and one cannot
//! choose these in actix-web-lab's `sse`.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr2;

/// The comment that keeps an idle connection alive. It ends with only one line feed: if a blank line followed the
/// comment, OpenAI's Python library would report an empty event after a frame with an `id:`.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n");

/// The first line of the first frame of a response. It tells a browser to wait two seconds before it reconnects.
pub const RETRY: &[u8] = b"retry: 2000\n";

/// The three kinds of events in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A chunk.
    Chunk,
    /// The end of a completed task.
    Done,
    /// The end of a failed task.
    Error,
}

/// The beginning of the line with the data of a frame.
pub const DATA: &[u8] = b"data: ";

impl FrameKind {
    /// Returns the text before the id in a frame.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Chunk => b"event: chunk\nid: ",
            Self::Done => b"event: done\nid: ",
            Self::Error => b"event: error\nid: ",
        }
    }

    /// Returns the length of a frame's lines with name and id, without the last line feed.
    #[must_use]
    pub fn id_length(self, id: usize) -> usize {
        self.name().len() + id.checked_ilog10().map_or(1, |log| log as usize + 1)
    }
}

/// Appends a frame's lines with name and id, without the last line feed.
pub fn put_id(kind: FrameKind, id: usize, frame: &mut impl BufMut) {
    frame.put_slice(kind.name());
    // A write to memory never fails.
    let _ = write!(frame.writer(), "{id}");
}

/// Encodes one frame. `data` is JSON or `[DONE]`, so it contains no line break.
#[must_use]
pub fn encode_frame(kind: FrameKind, id: usize, data: &[u8]) -> Bytes {
    // The capacity is exact, because frames stay in memory for a long time, and unused capacity would stay, too.
    let mut frame = BytesMut::with_capacity(kind.id_length(id) + data.len() + 9);
    put_id(kind, id, &mut frame);
    frame.put_slice(b"\ndata: ");
    frame.put_slice(data);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

/// An element of an event stream, as the decoder finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// An event.
    Event {
        /// The `event:` field; empty if there was none.
        name: String,
        /// The `data:` lines, joined by line feeds.
        data: String,
    },
    /// A line that the standard does not define, without its line break.
    Stray(String),
}

/// The error of a line or an event that exceeds the decoder's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit that was exceeded, in bytes.
    pub limit: usize,
}

/// Decodes an event stream that arrives in pieces of any size.
#[derive(Debug)]
pub struct EventStreamDecoder {
    /// The beginning of a line that has not ended yet.
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    at_start: bool,
    after_cr: bool,
    limit: usize,
}

impl EventStreamDecoder {
    /// Makes a decoder that refuses a line or event of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { line: Vec::new(), name: String::new(), data: None, at_start: true, after_cr: false, limit }
    }

    /// Reads the next bytes of the body and appends the pieces that they complete to `found`, in order.
    ///
    /// # Errors
    /// Returns [`EventTooLarge`] if a line or an event exceeds the limit. The decoder must not be used afterwards.
    pub fn feed(&mut self, mut bytes: &[u8], found: &mut Vec<Piece>) -> Result<(), EventTooLarge> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes.first() == Some(&b'\n') {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = memchr2(b'\n', b'\r', bytes);
            let (line, rest) = match end {
                Some(end) => (bytes.get(..end), bytes.get(end + 1..)),
                None => (Some(bytes), None),
            };
            let line = line.unwrap_or_default();
            if self.line.len() + line.len() + self.data.as_ref().map_or(0, String::len) > self.limit {
                return Err(EventTooLarge { limit: self.limit });
            }
            if let Some(end) = end {
                self.after_cr = bytes.get(end) == Some(&b'\r');
                if self.line.is_empty() {
                    self.take_line(line, found);
                } else {
                    self.line.extend_from_slice(line);
                    self.end_line(found);
                }
            } else {
                self.line.extend_from_slice(line);
            }
            bytes = rest.unwrap_or_default();
        }
        Ok(())
    }

    /// Handles the end of the body: appends the last line and the last event to `found`, if they were not complete.
    pub fn finish(&mut self, found: &mut Vec<Piece>) {
        if !self.line.is_empty() {
            self.end_line(found);
        }
        self.end_event(found);
    }

    /// Reads the line that arrived in several pieces.
    fn end_line(&mut self, found: &mut Vec<Piece>) {
        let mut line = std::mem::take(&mut self.line);
        self.take_line(&line, found);
        // The buffer is kept, because a stream has many lines of about the same length.
        line.clear();
        self.line = line;
    }

    fn take_line(&mut self, bytes: &[u8], found: &mut Vec<Piece>) {
        // Invalid UTF-8 is rare, and the check is several times faster than the lossy conversion.
        let decoded =
            std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        let mut line = decoded.as_ref();
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.end_event(found);
        } else if !line.starts_with(':') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                },
                "event" => value.clone_into(&mut self.name),
                "id" | "retry" => {}
                _ => found.push(Piece::Stray(line.to_owned())),
            }
        }
    }

    fn end_event(&mut self, found: &mut Vec<Piece>) {
        let name = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            found.push(Piece::Event { name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<Piece> {
        let mut decoder = EventStreamDecoder::new(1 << 20);
        let mut found = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut found).unwrap();
        }
        decoder.finish(&mut found);
        found
    }

    fn event(data: &str) -> Piece {
        Piece::Event { name: String::new(), data: data.to_owned() }
    }

    #[test]
    fn all_three_line_endings_are_understood() {
        assert_eq!(decode(&[b"data: a\n\ndata: b\r\n\r\ndata: c\r\r"]), [event("a"), event("b"), event("c")]);
    }

    #[test]
    fn comments_ids_and_retries_are_not_events() {
        assert_eq!(decode(&[b": ping\n\nid: 7\nretry: 10\n\ndata: x\n\n"]), [event("x")]);
    }

    #[test]
    fn an_event_without_its_blank_line_is_delivered_at_the_end() {
        assert_eq!(
            decode(&[b"event: e\r\ndata: x\r\n"]),
            [Piece::Event { name: "e".into(), data: "x".into() }]
        );
        assert_eq!(decode(&[b"data: x"]), [event("x")]);
    }

    #[test]
    fn lines_outside_the_standard_are_returned_as_stray() {
        let found = decode(&[b"data: x\n\n{\n  \"error\": {\n"]);
        assert_eq!(found, [event("x"), Piece::Stray("{".into()), Piece::Stray("  \"error\": {".into())]);
    }

    #[test]
    fn a_byte_order_mark_and_several_data_lines_are_understood() {
        assert_eq!(decode(&["\u{feff}data:a\ndata: b\ndata\n\n".as_bytes()]), [event("a\nb\n")]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut decoder = EventStreamDecoder::new(10);
        let mut found = Vec::new();
        assert!(decoder.feed(b"data: 0123", &mut found).is_ok());
        assert_eq!(decoder.feed(b"4", &mut found), Err(EventTooLarge { limit: 10 }));
    }

    #[test]
    fn a_frame_has_the_documented_bytes() {
        assert_eq!(encode_frame(FrameKind::Done, 42, b"[DONE]"), "event: done\nid: 42\ndata: [DONE]\n\n");
    }

    proptest! {
        #[test]
        fn the_split_of_the_bytes_does_not_change_the_pieces(
            text in "(data: ?[a-zé€\u{1F600}]{0,6}|:|event: [a-z]|x: y|\\{|)((\r\n|\n|\r){1,2}(data: ?[a-zé]{0,6}|: c|x|)){0,8}",
            cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(decode(&pieces), decode(&[bytes]));
        }

        #[test]
        fn an_encoded_frame_decodes_to_itself(data in "[^\r\n]{0,80}", id in 0usize..1_000_000) {
            let frame = encode_frame(FrameKind::Chunk, id, data.as_bytes());
            let expected = Piece::Event { name: "chunk".into(), data };
            prop_assert_eq!(decode(&[&frame]), vec![expected]);
        }
    }
}
