//! One subscriber's place in a chunk log, and what is to be sent next: no socket, no clock.
//!
//! Both ways on which frames leave (a response's body, and the pump) ask here, so that they cannot differ in
//! what a subscriber sees.

use bytes::{Bytes, BytesMut};

use crate::task::chunk_log::{LogReader, Mark};
use crate::wire::event_stream::RETRY;

/// Most bytes of frames that are sent in one piece (a single frame may be longer); also what a subscriber who
/// does not read costs at most.
const MOST_IN_A_PIECE: usize = 64 * 1024;

/// Where a subscriber stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The entry of the log that comes next.
    position: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No frame was sent yet.
    BeforeFirst,
    Flowing,
    /// The terminal frame was sent.
    Ended,
}

/// What a subscriber is to be sent: the entries `start..end` of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
    /// Are these the response's first frames? `retry:` rides in the first one's block and nowhere else.
    opens: bool,
    closes: bool,
}

/// What is to be done for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until there is more in the log.
    Wait,
    /// These frames are to be sent.
    Send(Span),
    /// Everything was sent.
    End,
    /// The server stops before the task has ended: the connection breaks off, so that no subscriber takes this
    /// for the end of the stream.
    BreakOff,
}

impl Cursor {
    /// A subscriber who has seen nothing of this response, and starts at entry `position`.
    #[must_use]
    pub fn at(position: usize) -> Self {
        Self { position, stage: Stage::BeforeFirst }
    }

    /// What is next for this subscriber of a log that has come as far as `mark`.
    #[must_use]
    pub fn step(&self, log: &LogReader, mark: Mark) -> Step {
        if self.stage == Stage::Ended {
            return Step::End;
        }
        if mark.parked && mark.len <= self.position {
            return Step::BreakOff;
        }
        // Beyond the end there is the terminal frame, whatever position was asked for.
        let is_new = self.stage == Stage::BeforeFirst;
        let start =
            if mark.ended && is_new { self.position.min(mark.len.saturating_sub(1)) } else { self.position };
        if start >= mark.len {
            return if mark.ended { Step::End } else { Step::Wait };
        }
        let end = log.reach(start..mark.len, MOST_IN_A_PIECE);
        Step::Send(Span { start, end, opens: is_new, closes: mark.ended && end == mark.len })
    }

    /// The subscriber was sent this.
    pub fn sent(&mut self, span: Span) {
        self.position = span.end;
        self.stage = if span.closes { Stage::Ended } else { Stage::Flowing };
    }

    /// How many entries of a log that has come as far as `mark` it has yet to be sent.
    #[must_use]
    pub fn behind(&self, mark: Mark) -> usize {
        if self.has_ended() { 0 } else { mark.len.saturating_sub(self.position) }
    }

    /// Was everything sent?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }
}

impl Span {
    /// How many frames it is.
    #[must_use]
    pub fn frames(self) -> usize {
        self.end - self.start
    }

    /// Does the stream end with it?
    #[must_use]
    pub fn closes(self) -> bool {
        self.closes
    }

    /// Bytes of its piece.
    #[must_use]
    pub fn bytes(self, log: &LogReader) -> usize {
        let retry = if self.opens { RETRY.len() } else { 0 };
        retry + log.bytes(self.start..self.end)
    }

    /// Appends its piece to `buffer`. False where its frames can no longer be read.
    #[must_use]
    pub fn write_to(self, log: &LogReader, buffer: &mut BytesMut) -> bool {
        if self.opens {
            buffer.extend_from_slice(RETRY);
        }
        log.write_to(self.start..self.end, buffer)
    }

    /// Its frames in one piece; `None` where they can no longer be read. A single frame of a task that runs is shared,
    /// not copied.
    #[must_use]
    pub fn piece(self, log: &LogReader) -> Option<Bytes> {
        if !self.opens {
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
    use crate::task::chunk_log::ChunkLog;

    fn log_of(frames: &[Vec<u8>]) -> ChunkLog {
        ChunkLog::of(frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect())
    }

    fn text(piece: &Bytes) -> &str {
        std::str::from_utf8(piece).unwrap()
    }

    /// Everything that a cursor has to send at this moment, and what it then says.
    fn drain(cursor: &mut Cursor, log: &LogReader) -> (Vec<u8>, Step) {
        let mut sent = Vec::new();
        loop {
            match cursor.step(log, log.mark()) {
                Step::Send(span) => {
                    let piece = span.piece(log).unwrap();
                    assert_eq!(piece.len(), span.bytes(log));
                    sent.extend_from_slice(&piece);
                    cursor.sent(span);
                }
                step => return (sent, step),
            }
        }
    }

    #[test]
    fn any_position_brings_the_rest_and_the_terminal_frame_once() {
        let mut log = log_of(&[b"a".to_vec(), b"b".to_vec(), b"end".to_vec()]);
        log.end();
        for (position, expected) in [
            (0, "retry: 2000\nabend"),
            (1, "retry: 2000\nbend"),
            (2, "retry: 2000\nend"),
            (900, "retry: 2000\nend"),
        ] {
            let mut cursor = Cursor::at(position);
            let (sent, step) = drain(&mut cursor, &log.reader());
            assert_eq!(
                (String::from_utf8(sent).unwrap().as_str(), step),
                (expected, Step::End),
                "{position}"
            );
            assert!(cursor.has_ended());
        }
    }

    #[test]
    fn a_position_beyond_a_running_task_waits_for_it() {
        let mut log = log_of(&[b"a".to_vec()]);
        let reader = log.reader();
        let mut cursor = Cursor::at(2);
        log.append(Bytes::from_static(b"b"));
        log.publish();
        assert_eq!(drain(&mut cursor, &reader), (Vec::new(), Step::Wait));
        log.append(Bytes::from_static(b"c"));
        log.publish();
        assert_eq!(drain(&mut cursor, &reader), (b"retry: 2000\nc".to_vec(), Step::Wait));
    }

    #[test]
    fn a_task_that_is_left_to_the_next_start_breaks_off_behind_its_last_frame() {
        let mut log = log_of(&[b"a".to_vec()]);
        log.park();
        assert_eq!(drain(&mut Cursor::at(0), &log.reader()), (b"retry: 2000\na".to_vec(), Step::BreakOff));
        assert_eq!(drain(&mut Cursor::at(7), &log.reader()), (Vec::new(), Step::BreakOff));
    }

    #[test]
    fn a_log_without_frames_ends_without_any() {
        let mut log = ChunkLog::default();
        log.end();
        assert_eq!(drain(&mut Cursor::at(0), &log.reader()), (Vec::new(), Step::End));
    }

    #[test]
    fn a_single_frame_is_shared() {
        let log = log_of(&[b"first".to_vec(), b"frame".to_vec()]);
        let reader = log.reader();
        let span = Span { start: 1, end: 2, opens: false, closes: false };
        assert_eq!(span.piece(&reader).unwrap().as_ptr(), span.piece(&reader).unwrap().as_ptr());
        assert_eq!(text(&span.piece(&reader).unwrap()), "frame");
    }

    proptest! {
        #[test]
        fn however_the_log_grows_a_subscriber_gets_the_tail_once(
            frames in prop::collection::vec(1usize..40_000, 1..40),
            steps in prop::collection::vec(1usize..10, 1..20),
            from in 0usize..45,
        ) {
            let frames: Vec<Vec<u8>> =
                frames.iter().enumerate().map(|(n, len)| vec![n as u8 + 1; *len]).collect();
            let mut log = ChunkLog::default();
            let reader = log.reader();
            let mut cursor = Cursor::at(from);
            let (mut sent, mut rest) = (Vec::new(), frames.iter());
            for step in steps {
                rest.by_ref().take(step).for_each(|frame| log.append(Bytes::copy_from_slice(frame)));
                log.publish();
                let (piece, step) = drain(&mut cursor, &reader);
                prop_assert_eq!(step, Step::Wait);
                sent.extend(piece);
            }
            rest.for_each(|frame| log.append(Bytes::copy_from_slice(frame)));
            log.end();
            let (piece, step) = drain(&mut cursor, &reader);
            prop_assert_eq!(step, Step::End);
            sent.extend(piece);
            let from = from.min(frames.len() - 1);
            let tail: Vec<u8> = RETRY.iter().chain(frames[from..].iter().flatten()).copied().collect();
            prop_assert!(sent == tail);
        }
    }
}
