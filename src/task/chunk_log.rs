//! The chunks of one task as encoded frames: an append-only log that any number of readers share.
//!
//! One writer, the task's actor, appends; a reader is a position. What is in the log never changes, so
//! readers take frames without a lock and without asking the actor, as many as there are, in one go; only
//! to wait for more do they register with the log's watch, which remembers no backlog. A reader that is
//! slow, stuck or gone therefore costs the task and the other readers nothing.
//!
//! The terminal frame is an entry like the others: with `n` chunks it is entry `n`, which is also the id
//! that the contract gives it.

mod reader;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use tokio::sync::watch;

use super::cold_log::{ColdLog, EndedStream, Kept, next_number};
pub use reader::LogReader;

/// Entries of the first segment; each further one is twice as large, so that a short answer costs little
/// and a long one few allocations.
const FIRST_SEGMENT: usize = 16;
/// Segments there can be: 16 · (2^26 - 1), about a thousand million entries.
const SEGMENTS: usize = 26;

/// How far a log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Entries that can be read, the terminal frame included.
    pub len: usize,
    /// Has the task ended? Then nothing will be added, and where the log carries frames at all its last
    /// entry is the terminal frame.
    pub ended: bool,
    /// Does the server stop before the task has ended? Then nothing will be added here, and the task goes on
    /// when the server starts again.
    pub parked: bool,
    /// Is there something that must be durable before the task can go on, and that the store cannot record for now? The
    /// task goes on when it can.
    pub stalled: bool,
}

impl Mark {
    /// Will nothing be added?
    #[must_use]
    pub fn is_final(self) -> bool {
        self.ended || self.parked
    }
}

/// The frames. Only the writer and the owner of the task hold them: readers that do not read keep nothing in memory.
#[derive(Debug)]
struct Frames {
    segments: [OnceLock<Box<[OnceLock<Bytes>]>>; SEGMENTS],
}

/// What a log has beside its frames; all of its ends hold it.
#[derive(Debug)]
struct Shared {
    frames: Weak<Frames>,
    /// Where readers find the frames once the task is gone.
    cold: OnceLock<ColdLog>,
    /// Here and not with the writer, so that readers wait on when a crashed task's log gets a new writer.
    mark: watch::Sender<Mark>,
    number: usize,
    /// Which of the task arbiters writes it.
    home: AtomicUsize,
    subscriptions: AtomicUsize,
}

impl Frames {
    /// Segment and place within it of entry `index`.
    fn place(index: usize) -> (usize, usize) {
        let n = index / FIRST_SEGMENT + 1;
        let segment = n.ilog2() as usize;
        (segment, index - FIRST_SEGMENT * ((1 << segment) - 1))
    }

    fn range(&self, range: Range<usize>) -> impl Iterator<Item = &Bytes> {
        range.map_while(|index| self.get(index))
    }

    fn get(&self, index: usize) -> Option<&Bytes> {
        let (segment, place) = Self::place(index);
        self.segments.get(segment)?.get()?.get(place)?.get()
    }

    /// Fills entry `index`; false where the log is full or the entry taken.
    fn set(&self, index: usize, frame: Bytes) -> bool {
        let (segment, place) = Self::place(index);
        let Some(slot) = self.segments.get(segment) else { return false };
        let entries = slot.get_or_init(|| (0..FIRST_SEGMENT << segment).map(|_| OnceLock::new()).collect());
        entries.get(place).is_some_and(|entry| entry.set(frame).is_ok())
    }
}

/// The writing end of a log; there is one.
#[derive(Debug)]
pub struct ChunkLog {
    shared: Arc<Shared>,
    frames: Arc<Frames>,
    len: usize,
    bytes: usize,
}

impl Default for ChunkLog {
    fn default() -> Self {
        let frames = Arc::new(Frames { segments: [const { OnceLock::new() }; SEGMENTS] });
        Self {
            shared: Arc::new(Shared {
                frames: Arc::downgrade(&frames),
                cold: OnceLock::new(),
                mark: watch::Sender::new(Mark::default()),
                number: next_number(),
                home: AtomicUsize::new(0),
                subscriptions: AtomicUsize::new(0),
            }),
            frames,
            len: 0,
            bytes: 0,
        }
    }
}

impl ChunkLog {
    /// A log that begins with these frames, which readers see.
    #[must_use]
    pub fn of(frames: Vec<Bytes>) -> Self {
        let mut log = Self::default();
        frames.into_iter().for_each(|frame| log.append(frame));
        log.publish();
        log
    }

    /// Adds a frame. Readers see it with the next [`publish`](Self::publish) or [`end`](Self::end), so that
    /// what belongs together wakes them once.
    pub fn append(&mut self, frame: Bytes) {
        let bytes = frame.len();
        if self.frames.set(self.len, frame) {
            self.len += 1;
            self.bytes += bytes;
        }
    }

    /// Shows readers what was appended and wakes those who wait.
    pub fn publish(&mut self) {
        let len = self.len;
        self.shared.mark.send_if_modified(|mark| std::mem::replace(&mut mark.len, len) != len);
    }

    /// Shows what was appended and says that nothing follows.
    pub fn end(&mut self) {
        self.shared.mark.send_replace(Mark { len: self.len, ended: true, parked: false, stalled: false });
    }

    /// Says that nothing follows in this process, although the task has not ended. What was appended and not shown
    /// stays so: the next process does not know of it.
    pub fn park(&mut self) {
        self.shared.mark.send_modify(|mark| mark.parked = true);
    }

    /// Entries that readers can see.
    #[must_use]
    pub fn published(&self) -> usize {
        self.shared.mark.borrow().len
    }

    /// Frames that were appended and not yet shown.
    pub fn unpublished(&self) -> impl Iterator<Item = &Bytes> {
        (self.published()..self.len).filter_map(|index| self.frames.get(index))
    }

    /// All frames that were appended.
    pub fn frames(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.range(0..self.len)
    }

    /// Entries appended so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is there no entry yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the frames weigh, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes a reader. Readers may outlive the log's writer.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.handle().reader()
    }

    /// What readers are made of, and a successor of this writer.
    #[must_use]
    pub fn handle(&self) -> LogHandle {
        LogHandle { shared: Arc::clone(&self.shared), frames: Arc::clone(&self.frames) }
    }

    /// What readers can see, for after the end: it costs far less. The first of the frames may be kept elsewhere. Readers
    /// of this log go on there.
    #[must_use]
    pub fn cold(&self, kept: Option<Arc<dyn Kept>>) -> EndedStream {
        let frames = (0..self.published()).map_while(|index| self.frames.get(index));
        let stream = EndedStream::of(frames, kept);
        // A second time there is none: a log ends once.
        let _ = self.shared.cold.set(stream.log().clone());
        stream
    }

    /// Goes on writing where a writer that is gone has stopped; its readers notice nothing.
    #[must_use]
    pub fn take_over(LogHandle { shared, frames }: LogHandle) -> Self {
        // What was appended counts, also where the writer did not come to publish it.
        let (mut len, mut bytes) = (0, 0);
        while let Some(frame) = frames.get(len) {
            len += 1;
            bytes += frame.len();
        }
        Self { shared, frames, len, bytes }
    }
}

/// A log apart from its writer. It holds the frames.
#[derive(Debug, Clone)]
pub struct LogHandle {
    shared: Arc<Shared>,
    frames: Arc<Frames>,
}

impl LogHandle {
    /// How far the log has come.
    #[must_use]
    pub fn mark(&self) -> Mark {
        *self.shared.mark.borrow()
    }

    /// Says which of the task arbiters, counted from 0, writes the log.
    pub fn settle_at(&self, home: usize) {
        self.shared.home.store(home, Ordering::Relaxed);
    }

    /// Says whether the task waits for a store that cannot record what the task depends on.
    pub fn stall(&self, stalled: bool) {
        self.shared.mark.send_if_modified(|mark| std::mem::replace(&mut mark.stalled, stalled) != stalled);
    }

    /// Makes a reader.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::of(&self.shared)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::task::cold_log::testing::InMemory;

    fn log_of(frames: &[Vec<u8>]) -> ChunkLog {
        let mut log = ChunkLog::default();
        for frame in frames {
            log.append(Bytes::copy_from_slice(frame));
        }
        log.publish();
        log
    }

    #[test]
    fn appended_frames_are_unseen_until_they_are_published() {
        let mut log = ChunkLog::default();
        let reader = log.reader();
        log.append(Bytes::from_static(b"a"));
        assert_eq!(reader.all(), "");
        log.publish();
        assert_eq!(reader.all(), "a");
    }

    #[test]
    fn a_single_frame_is_shared() {
        let log = log_of(&[b"frame".to_vec()]);
        assert_eq!(log.reader().piece(0..1).unwrap().as_ptr(), log.reader().piece(0..1).unwrap().as_ptr());
    }

    #[actix_rt::test]
    async fn a_waiting_reader_is_woken_by_the_entry_it_waits_for_and_by_the_end() {
        let mut log = ChunkLog::default();
        let mut reader = log.reader();
        let waiting = actix_rt::spawn(async move { reader.reached(1).await });
        let mut other = log.reader();
        let beyond = actix_rt::spawn(async move { other.reached(7).await });
        log.append(Bytes::from_static(b"a"));
        log.append(Bytes::from_static(b"b"));
        log.publish();
        assert_eq!(waiting.await.unwrap(), Mark { len: 2, ..Mark::default() });
        log.end();
        assert_eq!(beyond.await.unwrap(), Mark { len: 2, ended: true, ..Mark::default() });
    }

    #[actix_rt::test]
    async fn a_crashed_writer_is_replaced_without_its_readers_noticing() {
        let mut log = log_of(&[b"a".to_vec()]);
        let mut reader = log.reader();
        let kept = log.handle();
        log.append(Bytes::from_static(b"b"));
        drop(log);
        let mut successor = ChunkLog::take_over(kept);
        assert_eq!(successor.len(), 2);
        successor.append(Bytes::from_static(b"c"));
        successor.end();
        assert_eq!(reader.ended().await, Mark { len: 3, ended: true, ..Mark::default() });
        assert_eq!(reader.all(), "abc");
    }

    proptest! {
        #[test]
        fn walking_from_any_position_in_steps_of_any_size_gives_the_same_tail(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..300),
            from in 0usize..320,
            most in 1usize..200,
            keeps in 0usize..320,
        ) {
            let log = log_of(&frames);
            let kept = frames.iter().take(keeps).flatten().copied().collect::<Vec<u8>>();
            let mut ended = log.cold(Some(Arc::new(InMemory(kept.into()))));
            let (on_disk, before) = (LogReader::from(ended.log().clone()), log.reader());
            ended.let_go();
            for reader in [log.reader(), LogReader::from(log.cold(None).log().clone()), on_disk] {
                prop_assert_eq!(reader.mark().len, frames.len());
                let mut position = from;
                let mut read = Vec::new();
                while position < frames.len() {
                    let (next, bytes) = reader.reach(position..frames.len(), most);
                    let piece = reader.piece(position..next).unwrap();
                    prop_assert!(next > position);
                    prop_assert!(piece.len() <= most || next == position + 1);
                    prop_assert_eq!((piece.len(), bytes), (reader.bytes(position..next), piece.len()));
                    let mut written = BytesMut::new();
                    prop_assert!(reader.write_to(position..next, &mut written));
                    prop_assert_eq!(&piece, &written);
                    read.extend(piece);
                    position = next;
                }
                let tail: Vec<u8> = frames.iter().skip(from).flatten().copied().collect();
                prop_assert_eq!(read, tail);
            }
            // A reader from before the end finds the frames when their task is gone.
            let all = before.all();
            drop(log);
            prop_assert_eq!(before.all(), all);
        }
    }
}
