//! The chunks of one task as encoded frames: an append-only log that any number of readers share.
//!
//! One writer, the task's actor, appends; a reader is a position. What is in the log never changes, so
//! readers take frames without a lock and without asking the actor, as many as there are, in one go; only
//! to wait for more do they register with the log's watch, which remembers no backlog. A reader that is
//! slow, stuck or gone therefore costs the task and the other readers nothing.
//!
//! The terminal frame is an entry like the others: with `n` chunks it is entry `n`, which is also the id
//! that the contract gives it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::watch;

/// Entries of the first segment; each further one is twice as large, so that a short answer costs little
/// and a long one few allocations.
const FIRST_SEGMENT: usize = 16;
/// Segments there can be: 16 · (2^26 - 1), about a thousand million entries.
const SEGMENTS: usize = 26;

/// Logs that were made in this process.
static LOGS: AtomicUsize = AtomicUsize::new(0);

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
}

impl Mark {
    /// Will nothing be added?
    #[must_use]
    pub fn is_final(self) -> bool {
        self.ended || self.parked
    }
}

#[derive(Debug)]
struct Shared {
    segments: [OnceLock<Box<[OnceLock<Bytes>]>>; SEGMENTS],
    /// Here and not with the writer, so that readers wait on when a crashed task's log gets a new writer.
    mark: watch::Sender<Mark>,
    /// How many logs were made before this one.
    number: usize,
    subscriptions: AtomicUsize,
}

impl Shared {
    /// Segment and place within it of entry `index`.
    fn place(index: usize) -> (usize, usize) {
        let n = index / FIRST_SEGMENT + 1;
        let segment = n.ilog2() as usize;
        (segment, index - FIRST_SEGMENT * ((1 << segment) - 1))
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
    len: usize,
    bytes: usize,
}

impl Default for ChunkLog {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                segments: [const { OnceLock::new() }; SEGMENTS],
                mark: watch::Sender::new(Mark::default()),
                number: LOGS.fetch_add(1, Ordering::Relaxed),
                subscriptions: AtomicUsize::new(0),
            }),
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
        if self.shared.set(self.len, frame) {
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
        self.shared.mark.send_replace(Mark { len: self.len, ended: true, parked: false });
    }

    /// Says that nothing follows in this process, although the task has not ended.
    pub fn park(&mut self) {
        self.shared.mark.send_replace(Mark { len: self.len, ended: false, parked: true });
    }

    /// Entries that readers can see.
    #[must_use]
    pub fn published(&self) -> usize {
        self.shared.mark.borrow().len
    }

    /// Frames that were appended and not yet shown.
    pub fn unpublished(&self) -> impl Iterator<Item = &Bytes> {
        (self.published()..self.len).filter_map(|index| self.shared.get(index))
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
        LogReader { shared: Arc::clone(&self.shared), mark: self.shared.mark.subscribe() }
    }

    /// Goes on writing where a writer that is gone has stopped; its readers notice nothing.
    #[must_use]
    pub fn take_over(reader: &LogReader) -> Self {
        let shared = Arc::clone(&reader.shared);
        // What was appended counts, also where the writer did not come to publish it.
        let (mut len, mut bytes) = (0, 0);
        while let Some(frame) = shared.get(len) {
            len += 1;
            bytes += frame.len();
        }
        Self { shared, len, bytes }
    }
}

/// A reading end of a log; its owner keeps the position.
#[derive(Debug, Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
    mark: watch::Receiver<Mark>,
}

impl LogReader {
    /// How far the log has come.
    #[must_use]
    pub fn mark(&self) -> Mark {
        *self.mark.borrow()
    }

    /// How far the log has come; [`stirred`](Self::stirred) waits for what comes after that.
    pub fn look(&mut self) -> Mark {
        *self.mark.borrow_and_update()
    }

    /// Waits until there is an entry at `position`, or nothing will be added.
    pub async fn reached(&mut self, position: usize) -> Mark {
        let reached = self.mark.wait_for(|mark| mark.len > position || mark.is_final()).await;
        // The watch cannot close: this reader holds its sender.
        reached.map_or(Mark { parked: true, ..Mark::default() }, |mark| *mark)
    }

    /// Waits until nothing will be added: the task has ended, or the server stops.
    pub async fn ended(&mut self) -> Mark {
        self.reached(usize::MAX).await
    }

    /// Waits until the task has ended, however often the server says that it stops.
    pub async fn concluded(&mut self) {
        let _ = self.mark.wait_for(|mark| mark.ended).await;
    }

    /// Waits until the log has come further than when it was last looked at or waited for. Never ends where
    /// nothing will be added.
    pub async fn stirred(&mut self) {
        if self.mark.changed().await.is_err() {
            // The watch cannot close: this reader holds its sender.
            std::future::pending::<()>().await;
        }
    }

    /// Up to where the entries from the beginning of `range` on weigh at most `most_bytes`; at least one is taken.
    #[must_use]
    pub fn reach(&self, range: Range<usize>, most_bytes: usize) -> usize {
        let mut bytes = 0;
        let taken = self.frames(range.clone()).take_while(|frame| {
            let is_first = bytes == 0;
            bytes += frame.len();
            is_first || bytes <= most_bytes
        });
        range.start + taken.count()
    }

    /// The frames of these entries, as far as they exist.
    pub fn frames(&self, range: Range<usize>) -> impl Iterator<Item = &Bytes> {
        range.map_while(|index| self.shared.get(index))
    }

    /// Counts one more subscription of this log; returns how many there were before.
    pub fn count_subscription(&self) -> usize {
        self.shared.subscriptions.fetch_add(1, Ordering::Relaxed)
    }

    /// The log's number: logs are counted from 0 as they are made, so no two of a process have the same.
    #[must_use]
    pub fn number(&self) -> usize {
        self.shared.number
    }

    /// All that can be read.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn all(&self) -> Vec<u8> {
        self.frames(0..self.mark().len).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!(reader.all(), b"");
        log.publish();
        assert_eq!(reader.all(), b"a");
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
        assert_eq!(beyond.await.unwrap(), Mark { len: 2, ended: true, parked: false });
    }

    #[actix_rt::test]
    async fn a_crashed_writer_is_replaced_without_its_readers_noticing() {
        let mut log = log_of(&[b"a".to_vec()]);
        let mut reader = log.reader();
        let kept = log.reader();
        log.append(Bytes::from_static(b"b"));
        drop(log);
        let mut successor = ChunkLog::take_over(&kept);
        assert_eq!(successor.len(), 2);
        successor.append(Bytes::from_static(b"c"));
        successor.end();
        assert_eq!(reader.ended().await, Mark { len: 3, ended: true, parked: false });
        assert_eq!(reader.all(), b"abc");
    }

    proptest! {
        #[test]
        fn walking_from_any_position_in_steps_of_any_size_gives_the_same_tail(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..300),
            from in 0usize..320,
            most in 1usize..200,
        ) {
            let reader = log_of(&frames).reader();
            let mut position = from;
            let mut read = Vec::new();
            while position < reader.mark().len {
                let next = reader.reach(position..reader.mark().len, most);
                let piece: Vec<u8> = reader.frames(position..next).flatten().copied().collect();
                prop_assert!(next > position);
                prop_assert!(piece.len() <= most || next == position + 1);
                read.extend(piece);
                position = next;
            }
            let tail: Vec<u8> = frames.iter().skip(from).flatten().copied().collect();
            prop_assert_eq!(read, tail);
        }
    }
}
