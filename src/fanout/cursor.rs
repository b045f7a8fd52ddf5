//! The position of a subscriber in a chunk log, and what to send to it next. This module uses no socket and no clock.
//!
//! A response's body and a pump both take their frames from here, so they send a subscriber the same bytes.

use bytes::{Bytes, BytesMut};

use crate::task::{FrameReader, Mark};

/// A subscriber's position in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The entry of the log that comes next.
    position: usize,
    /// Number of bytes of the next entry that were sent already: a large frame is sent in parts.
    inside: usize,
    state: CursorState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CursorState {
    /// No frame was sent yet.
    BeforeFirst,
    Flowing,
    /// The terminal frame was sent.
    Ended,
}

/// The frames to send to a subscriber: the entries `start..end` of the log, or a part of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    end: usize,
    /// Number of bytes of these entries that are sent.
    bytes: usize,
    part: Option<FramePart>,
    /// True for the response's first frames. The block of the first frame, and no other, has the opening field
    /// (`retry`).
    opens: bool,
    closes: bool,
}

/// Bytes of one frame that is too large to be sent in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FramePart {
    start: usize,
    end: usize,
    /// True if the frame ends with this part.
    is_last: bool,
}

/// The next step for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorStep {
    /// Wait until the log has grown.
    Wait,
    /// Send these frames.
    Send(Span),
    /// End the response: everything was sent.
    End,
    /// Break off the connection, because the server stops before the task has ended. So no subscriber takes this for
    /// the regular end of the stream.
    BreakOff,
}

impl Cursor {
    /// Returns the cursor of a subscriber that was sent nothing of this response and starts at entry `position`.
    #[must_use]
    pub(super) fn at(position: usize) -> Self {
        Self { position, inside: 0, state: CursorState::BeforeFirst }
    }

    /// Returns the next step for this subscriber of a log that has grown to `mark`: at most `most` bytes of frames.
    /// After a part of a frame, this is always the frame's next part.
    #[must_use]
    pub(super) fn step(&self, log: &FrameReader, mark: Mark, most: usize) -> CursorStep {
        if self.state == CursorState::Ended {
            return CursorStep::End;
        }
        if mark.parked && mark.len <= self.position {
            return CursorStep::BreakOff;
        }
        // A position beyond the end of an ended log gets the terminal frame.
        let is_new = self.state == CursorState::BeforeFirst;
        let start =
            if mark.ended && is_new { self.position.min(mark.len.saturating_sub(1)) } else { self.position };
        if start >= mark.len {
            return if mark.ended { CursorStep::End } else { CursorStep::Wait };
        }
        let (end, bytes) = match self.inside {
            0 => log.frames_within(start..mark.len, most),
            _ => (start + 1, log.bytes(start..start + 1)),
        };
        let part = (self.inside > 0 || bytes > most).then(|| {
            let part_end = bytes.min(self.inside + most);
            FramePart { start: self.inside, end: part_end, is_last: part_end == bytes }
        });
        let ends_frame = part.is_none_or(|part| part.is_last);
        let closes = mark.ended && end == mark.len && ends_frame;
        let bytes = part.map_or(bytes, FramePart::len);
        CursorStep::Send(Span { start, end, bytes, part, opens: is_new, closes })
    }

    /// Records that the subscriber was sent this span.
    pub(super) fn sent(&mut self, span: Span) {
        (self.position, self.inside) = match span.part {
            Some(FramePart { end, is_last: false, .. }) => (span.start, end),
            _ => (span.end, 0),
        };
        self.state = if span.closes { CursorState::Ended } else { CursorState::Flowing };
    }

    /// Returns how many entries of a log that has grown to `mark` the subscriber has yet to be sent.
    #[must_use]
    pub(super) fn behind(&self, mark: Mark) -> usize {
        if self.has_ended() { 0 } else { mark.len.saturating_sub(self.position) }
    }

    /// Returns true once everything was sent.
    #[must_use]
    pub(super) fn has_ended(&self) -> bool {
        self.state == CursorState::Ended
    }
}

impl FramePart {
    fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

impl Span {
    /// Returns how many frames end in this span.
    #[must_use]
    pub(super) fn frames(self) -> usize {
        if self.part.is_some_and(|part| !part.is_last) { 0 } else { self.end - self.start }
    }

    /// Returns true if the stream ends with this span.
    #[must_use]
    pub(super) fn closes(self) -> bool {
        self.closes
    }

    /// Returns the length of this span's piece in bytes.
    #[must_use]
    pub(super) fn bytes(self, log: &FrameReader) -> usize {
        let opening = if self.opens { log.format().retry().len() } else { 0 };
        opening + self.bytes
    }

    /// Appends this span's piece to `buffer`. Returns false if its frames can no longer be read.
    #[must_use]
    pub(super) fn write_to(self, log: &FrameReader, buffer: &mut BytesMut) -> bool {
        if self.opens {
            buffer.extend_from_slice(log.format().retry());
        }
        match self.part {
            Some(part) => log.write_part(self.start, part.start..part.end, buffer),
            None => log.write_to(self.start..self.end, buffer),
        }
    }

    /// Returns this span's frames in one piece; `None` if they can no longer be read. A single frame of a running task
    /// is shared, not copied. A part is copied: if it were shared, it would keep the whole frame in memory for as long
    /// as a connection holds the part.
    #[must_use]
    pub(super) fn piece(self, log: &FrameReader) -> Option<Bytes> {
        if !self.opens && self.part.is_none() {
            return log.piece(self.start..self.end);
        }
        let mut piece = BytesMut::with_capacity(self.bytes(log));
        self.write_to(log, &mut piece).then(|| piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::Format;
    use crate::task::testing::{delta, empty, log_of};

    /// Most bytes of frames in a piece.
    const MOST: usize = 16 * 1024;
    const RETRY: &[u8] = b"retry: 2000\n";

    /// Returns the frames of these entries, after the field that opens a response.
    fn opened(log: &FrameReader, range: std::ops::Range<usize>) -> Vec<u8> {
        [RETRY, &log.piece(range).unwrap()].concat()
    }

    /// Returns everything that a cursor has to send at this moment, and its next step.
    fn drain(cursor: &mut Cursor, log: &FrameReader) -> (Vec<u8>, CursorStep) {
        let mut sent = Vec::new();
        loop {
            match cursor.step(log, log.mark(), MOST) {
                CursorStep::Send(span) => {
                    let piece = span.piece(log).unwrap();
                    assert_eq!(piece.len(), span.bytes(log));
                    assert!(piece.len() <= MOST + RETRY.len(), "a subscriber holds no more than one piece");
                    sent.extend_from_slice(&piece);
                    cursor.sent(span);
                }
                step => return (sent, step),
            }
        }
    }

    #[test]
    fn a_subscriber_gets_the_rest_and_the_terminal_frame_from_any_position() {
        let mut log = log_of(["a", "b", "end"]);
        log.end();
        let reader = log.frames();
        for (position, first) in [(0, 0), (1, 1), (2, 2), (900, 2)] {
            let mut cursor = Cursor::at(position);
            assert_eq!(
                drain(&mut cursor, &reader),
                (opened(&reader, first..3), CursorStep::End),
                "{position}"
            );
            assert!(cursor.has_ended());
        }
    }

    #[test]
    fn a_chat_stream_has_only_data_fields() {
        let log = log_of(["a"]);
        let reader = log.reader().in_format(Format::Chat { usage: false });
        assert_eq!(drain(&mut Cursor::at(0), &reader), (reader.all().to_vec(), CursorStep::Wait));
    }

    #[test]
    fn a_subscriber_beyond_the_end_waits_until_the_task_gets_there() {
        let mut log = log_of(["a"]);
        let reader = log.frames();
        let mut cursor = Cursor::at(2);
        log.append(delta("b"));
        log.publish(log.len());
        assert_eq!(drain(&mut cursor, &reader), (Vec::new(), CursorStep::Wait));
        log.append(delta("c"));
        log.publish(log.len());
        assert_eq!(drain(&mut cursor, &reader), (opened(&reader, 2..3), CursorStep::Wait));
    }

    #[test]
    fn a_parked_log_breaks_off_after_its_last_frame() {
        let mut log = log_of(["a"]);
        log.park();
        let reader = log.frames();
        assert_eq!(drain(&mut Cursor::at(0), &reader), (opened(&reader, 0..1), CursorStep::BreakOff));
        assert_eq!(drain(&mut Cursor::at(7), &reader), (Vec::new(), CursorStep::BreakOff));
    }

    #[test]
    fn a_stream_of_an_empty_log_ends_without_a_frame() {
        let mut log = empty();
        log.end();
        assert_eq!(drain(&mut Cursor::at(0), &log.frames()), (Vec::new(), CursorStep::End));
    }

    #[test]
    fn a_single_frame_is_shared_and_not_copied() {
        let log = log_of(["first", "frame"]);
        let reader = log.frames();
        let span = Span { start: 1, end: 2, bytes: 7, part: None, opens: false, closes: false };
        assert_eq!(span.piece(&reader).unwrap().as_ptr(), span.piece(&reader).unwrap().as_ptr());
        assert_eq!(span.piece(&reader), reader.piece(1..2));
    }

    #[test]
    fn a_large_frame_is_sent_in_parts_with_nothing_in_between() {
        let mut log = log_of(["x".repeat(3 * MOST), "next".to_owned()]);
        let reader = log.frames();
        let large = opened(&reader, 0..1);
        let mut cursor = Cursor::at(0);
        let (mut sent, mut frames) = (Vec::new(), Vec::new());
        while sent.len() < large.len() {
            // Inside a frame there is always something to send, so neither a comment nor an end comes between its parts.
            let CursorStep::Send(span) = cursor.step(&reader, reader.mark(), MOST) else {
                panic!("no next part")
            };
            sent.extend_from_slice(&span.piece(&reader).unwrap());
            frames.push(span.frames());
            cursor.sent(span);
            log.park();
        }
        assert!(sent == large);
        assert_eq!((frames, cursor.behind(reader.mark())), (vec![0, 0, 0, 1], 1));
    }

    #[test]
    fn a_part_does_not_keep_the_whole_frame_in_memory() {
        let log = log_of(["first".to_owned(), "x".repeat(2 * MOST)]);
        let reader = log.frames();
        let held = reader.piece(1..2).unwrap();
        let mut cursor = Cursor::at(0);
        let mut pieces = Vec::new();
        while let CursorStep::Send(span) = cursor.step(&reader, reader.mark(), MOST) {
            pieces.push(span.piece(&reader).unwrap());
            cursor.sent(span);
        }
        drop((log, reader));
        assert!(held.is_unique() && pieces.len() == 4);
    }

    proptest! {
        #[test]
        fn a_subscriber_gets_each_frame_once_however_the_log_grows(
            lengths in prop::collection::vec(1usize..40_000, 1..40),
            steps in prop::collection::vec(1usize..10, 1..20),
            from in 0usize..45,
        ) {
            let texts: Vec<String> = lengths
                .iter()
                .zip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".chars())
                .map(|(length, letter)| letter.to_string().repeat(*length))
                .collect();
            let mut log = empty();
            let reader = log.frames();
            let mut cursor = Cursor::at(from);
            let (mut sent, mut rest) = (Vec::new(), texts.iter());
            for step in steps {
                rest.by_ref().take(step).for_each(|text| log.append(delta(text)));
                log.publish(log.len());
                let (piece, step) = drain(&mut cursor, &reader);
                prop_assert_eq!(step, CursorStep::Wait);
                sent.extend(piece);
            }
            rest.for_each(|text| log.append(delta(text)));
            log.end();
            let (piece, step) = drain(&mut cursor, &reader);
            prop_assert_eq!(step, CursorStep::End);
            sent.extend(piece);
            let from = from.min(texts.len() - 1);
            prop_assert!(sent == opened(&reader, from..texts.len()));
        }
    }
}
