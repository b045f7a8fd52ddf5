//! The log of one task's answer: its entries, and their frames in each format. Any number of readers share it.
//!
//! The task's actor is the only writer. A reader is a position and a [`Format`]. The content of the log never changes,
//! so readers take all available frames at once, without a lock and without a message to the actor. They use the log's
//! watch only to wait for more, and the watch keeps no backlog. Therefore a reader that is slow, stuck or disconnected
//! costs the task and the other readers nothing.
//!
//! An entry is encoded once in each format: in the log's own format when it is appended, in any other format when the
//! first reader of that format reaches it.
//!
//! The terminal frame is an entry like the others. With `n` chunks it is entry `n`, and the contract gives it the id
//! `n`.

mod reader;
mod slots;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use tokio::sync::watch;

use super::cold_log::{ColdLog, EndedStream, FrameBuffer, KeptEntries, next_number};
use super::entry::Entry;
use super::format::{Encoder, Format};
use crate::wire::completion::CompletionHead;
use slots::Slots;

pub use reader::{FrameReader, LogReader};

/// The length and the state of a log at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The number of entries that can be read, including the terminal frame.
    pub len: usize,
    /// True if the task has ended. No entry will be added. If the log carries frames, its last entry is the terminal
    /// frame.
    pub ended: bool,
    /// True if the server stops before the task has ended. No entry will be added in this process. The task continues
    /// when the server starts again.
    pub parked: bool,
    /// True if the store currently cannot record what must be durable before the task can continue. The task continues
    /// as soon as the store can.
    pub stalled: bool,
}

impl Mark {
    /// Returns true if no entry will be added.
    #[must_use]
    pub fn is_final(self) -> bool {
        self.ended || self.parked
    }
}

/// Bytes that an entry takes in addition to its text and its frame: its slot, and the header of the text's allocation.
const ENTRY_BYTES: usize = size_of::<OnceLock<Written>>() + 16;

/// An entry, and its frame in the log's own format. The frame is empty if the log has no own format.
#[derive(Debug)]
struct Written {
    entry: Entry,
    frame: Bytes,
}

/// The frames of a log in a format that is not its own.
#[derive(Debug)]
struct OtherFrames {
    encoder: Encoder,
    frames: Slots<Bytes>,
}

/// The entries of a log. Only the writer and the owner of the task hold them, so an idle reader keeps no entry in
/// memory.
#[derive(Debug)]
struct LogEntries {
    /// The format in which entries are encoded when they are appended; `None` for a log without subscribers.
    own: Option<Format>,
    written: Slots<Written>,
    others: [OnceLock<Box<OtherFrames>>; Format::ALL.len()],
}

impl LogEntries {
    fn frame(&self, format: Format, index: usize) -> Option<&Bytes> {
        let written = self.written.get(index)?;
        if self.own == Some(format) {
            return Some(&written.frame);
        }
        let others = self.others.get(format.place())?.get_or_init(|| {
            let encoder = Encoder::new(format, self.head());
            Box::new(OtherFrames { encoder, frames: Slots::default() })
        });
        let frame = others.frames.slot(index)?;
        Some(frame.get_or_init(|| others.encoder.encode(index, &written.entry)))
    }

    fn frames(&self, format: Format, range: Range<usize>) -> impl Iterator<Item = &Bytes> + Clone {
        range.map_while(move |index| self.frame(format, index))
    }

    fn entries(&self, range: Range<usize>) -> impl Iterator<Item = &Entry> + Clone {
        range.map_while(|index| self.written.get(index)).map(|written| &written.entry)
    }

    fn head(&self) -> Option<Arc<CompletionHead>> {
        self.written.get(0)?.entry.head()
    }
}

/// The parts of a log that are not entries. The writer and all readers hold them.
#[derive(Debug)]
struct SharedLog {
    entries: Weak<LogEntries>,
    /// The cold log, in which readers find the frames after the task was removed from memory.
    cold: OnceLock<ColdLog>,
    /// The length and state of the log. They are here and not in the writer, so that readers continue to wait when the
    /// log of a crashed task gets a new writer.
    mark: watch::Sender<Mark>,
    number: usize,
    /// The number of the task arbiter on which the log's writer runs.
    arbiter: AtomicUsize,
    subscriptions: AtomicUsize,
}

/// The writing end of a log. A log has one writer.
#[derive(Debug)]
pub struct ChunkLog {
    shared: Arc<SharedLog>,
    entries: Arc<LogEntries>,
    /// The encoder for the log's own format. It is made with the first entry.
    encoder: Option<Encoder>,
    len: usize,
    frame_bytes: usize,
    text_bytes: usize,
}

impl ChunkLog {
    /// Makes a log whose entries are encoded in this format when they are appended. Without a format, readers see only
    /// the end of the log.
    #[must_use]
    pub fn new(own: Option<Format>) -> Self {
        let entries = Arc::new(LogEntries { own, written: Slots::default(), others: Default::default() });
        let shared = Arc::new(SharedLog {
            entries: Arc::downgrade(&entries),
            cold: OnceLock::new(),
            mark: watch::Sender::new(Mark::default()),
            number: next_number(),
            arbiter: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
        });
        Self::take_over(LogHandle { shared, entries })
    }

    /// Makes a log that begins with these entries, which readers see.
    #[must_use]
    pub fn of(own: Option<Format>, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut log = Self::new(own);
        entries.into_iter().for_each(|entry| log.append(entry));
        log.publish(log.len);
        log
    }

    /// Makes a writer that continues the log of a writer that is gone. The readers do not notice the change.
    #[must_use]
    pub fn take_over(LogHandle { shared, entries }: LogHandle) -> Self {
        let mut log = Self { shared, entries, encoder: None, len: 0, frame_bytes: 0, text_bytes: 0 };
        // Entries that were appended count even if the earlier writer did not publish them.
        while let Some((frame, text)) = log.entries.written.get(log.len).map(Written::bytes) {
            log.count(frame, text);
        }
        log
    }

    /// Adds an entry. Readers see it after the next [`publish`](Self::publish) or [`end`](Self::end), so that entries
    /// of one batch wake them once.
    pub fn append(&mut self, entry: Entry) {
        let frame = match self.entries.own {
            Some(own) => {
                let head = || self.entries.head().or_else(|| entry.head());
                let encoder = self.encoder.get_or_insert_with(|| Encoder::new(own, head()));
                encoder.encode(self.len, &entry)
            }
            None => Bytes::new(),
        };
        let written = Written { entry, frame };
        let (frame, text) = written.bytes();
        if self.entries.written.slot(self.len).is_some_and(|slot| slot.set(written).is_ok()) {
            self.count(frame, text);
        }
    }

    fn count(&mut self, frame: usize, text: usize) {
        self.len += 1;
        self.frame_bytes += frame;
        self.text_bytes += text;
    }

    /// Shows readers the first `entries` of the entries that were appended, and wakes the waiting readers.
    pub fn publish(&mut self, entries: usize) {
        let len = entries.min(self.len());
        self.shared.mark.send_if_modified(|mark| std::mem::replace(&mut mark.len, len) != len);
    }

    /// Shows all appended entries, and marks the log as ended.
    pub fn end(&mut self) {
        self.shared.mark.send_replace(Mark { len: self.len(), ended: true, parked: false, stalled: false });
    }

    /// Marks the log as parked: no entry follows in this process, although the task has not ended. Appended entries
    /// that were not published stay hidden, because the next process does not know them.
    pub fn park(&mut self) {
        self.shared.mark.send_modify(|mark| mark.parked = true);
    }

    /// Returns the number of entries that readers can see.
    #[must_use]
    pub fn published(&self) -> usize {
        self.shared.mark.borrow().len
    }

    /// Returns the entries that were appended and not yet published.
    pub fn unpublished(&self) -> impl Iterator<Item = &Entry> {
        self.entries.entries(self.published()..self.len())
    }

    /// Returns all entries that were appended.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.entries(0..self.len)
    }

    /// Returns what identifies the answer, once it has begun.
    #[must_use]
    pub fn head(&self) -> Option<Arc<CompletionHead>> {
        self.entries.head()
    }

    /// Returns the number of appended entries that readers see now or may see later.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.entries.own.is_some() { self.len } else { 0 }
    }

    /// Returns true if there is no entry that readers see now or may see later.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the size of the frames in the log's own format, in bytes.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Returns the bytes that the writer holds in memory: texts, frames in the log's own format, and the overhead of
    /// each entry. The overhead is the largest part if an upstream sends single letters.
    ///
    /// Frames in other formats do not count, because readers cause them, and no reader may make the task reach its
    /// limit. These frames are bounded, too: an entry has one frame in each of [all formats](Format::ALL), and all are
    /// about equally long.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.text_bytes + self.frame_bytes + self.len * ENTRY_BYTES
    }

    /// Makes a reader of the log. Readers may outlive the writer.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::of(&self.shared)
    }

    /// Makes a reader in the log's own format.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn frames(&self) -> FrameReader {
        self.reader().in_format(self.entries.own.unwrap_or(Format::Tasks))
    }

    /// Returns a handle from which readers and a successor of this writer can be made.
    #[must_use]
    pub fn handle(&self) -> LogHandle {
        LogHandle { shared: Arc::clone(&self.shared), entries: Arc::clone(&self.entries) }
    }

    /// Returns the visible entries as an ended stream, which takes far less memory. The entries before the end may be
    /// kept elsewhere. Readers of this log continue in the ended stream. Returns `None` for a log without subscribers.
    #[must_use]
    pub fn cold(&self, kept: Option<KeptEntries>) -> Option<EndedStream> {
        let (own, len) = (self.entries.own?, self.published());
        let entries = self.entries.entries(0..len);
        let said = entries.clone().take_while(|entry| entry.is_model_text());
        // A journal with a gap does not hold the beginning of the stream.
        let kept = kept.filter(|kept| kept.entries() == said.clone().count());
        let kept = kept.unwrap_or_else(|| KeptEntries::in_memory(said));
        let held =
            if kept.entries() > 0 { FrameBuffer::of(own, self.entries.frames(own, 0..len)) } else { None };
        let tail = entries.skip(kept.entries()).cloned().collect();
        let stream = EndedStream::new(kept, tail, held);
        // A log ends once. A second call does not replace the first value.
        let _ = self.shared.cold.set(stream.log().clone());
        Some(stream)
    }
}

impl Written {
    /// Returns the length of the frame and the length of the text, in bytes.
    fn bytes(&self) -> (usize, usize) {
        (self.frame.len(), self.entry.text().map_or(0, |(_, text)| text.len()))
    }
}

/// A handle to a log that is independent of the writer. It holds the entries.
#[derive(Debug, Clone)]
pub struct LogHandle {
    shared: Arc<SharedLog>,
    entries: Arc<LogEntries>,
}

impl LogHandle {
    /// Returns the present length and state of the log.
    #[must_use]
    pub fn mark(&self) -> Mark {
        *self.shared.mark.borrow()
    }

    /// Sets the number of the task arbiter that writes the log, counted from 0.
    pub fn set_arbiter(&self, arbiter: usize) {
        self.shared.arbiter.store(arbiter, Ordering::Relaxed);
    }

    /// Sets whether the task waits for a store that cannot record what the task depends on.
    pub fn stall(&self, stalled: bool) {
        self.shared.mark.send_if_modified(|mark| std::mem::replace(&mut mark.stalled, stalled) != stalled);
    }

    /// Makes a reader.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::of(&self.shared)
    }
}

/// Logs of texts for tests, in the format of tasks.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::task::entry::TextKind;

    pub(crate) fn delta(text: &str) -> Entry {
        Entry::Delta { kind: TextKind::Content, text: text.into() }
    }

    pub(crate) fn empty() -> ChunkLog {
        ChunkLog::new(Some(Format::Tasks))
    }

    pub(crate) fn log_of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> ChunkLog {
        ChunkLog::of(Some(Format::Tasks), texts.into_iter().map(|text| delta(text.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::testing::{delta, empty, log_of};
    use super::*;
    use crate::task::entry::TextKind;

    #[test]
    fn readers_do_not_see_entries_until_they_are_published() {
        let mut log = empty();
        let reader = log.frames();
        log.append(delta("a"));
        assert_eq!(reader.all(), "");
        log.publish(log.len());
        assert_eq!(reader.all(), log_of(["a"]).frames().all());
    }

    #[test]
    fn a_frame_is_encoded_once_in_each_format() {
        let log = log_of(["frame"]);
        for format in Format::ALL {
            let (one, other) = (log.reader().in_format(format), log.reader().in_format(format));
            assert_eq!(one.piece(0..1).unwrap().as_ptr(), other.piece(0..1).unwrap().as_ptr());
        }
    }

    #[actix_rt::test]
    async fn a_waiting_reader_wakes_at_the_awaited_entry_and_at_the_end() {
        let mut log = empty();
        let mut reader = log.reader();
        let waiting = actix_rt::spawn(async move { reader.reached(1).await });
        let mut other = log.reader();
        let beyond = actix_rt::spawn(async move { other.reached(7).await });
        log.append(delta("a"));
        log.append(delta("b"));
        log.publish(log.len());
        assert_eq!(waiting.await.unwrap(), Mark { len: 2, ..Mark::default() });
        log.end();
        assert_eq!(beyond.await.unwrap(), Mark { len: 2, ended: true, ..Mark::default() });
    }

    #[actix_rt::test]
    async fn readers_do_not_notice_that_a_crashed_writer_is_replaced() {
        let mut log = log_of(["a"]);
        let mut reader = log.frames();
        let kept = log.handle();
        log.append(delta("b"));
        let bytes = (log.frame_bytes(), log.held_bytes());
        drop(log);
        let mut successor = ChunkLog::take_over(kept);
        assert_eq!((successor.len(), (successor.frame_bytes(), successor.held_bytes())), (2, bytes));
        successor.append(delta("c"));
        successor.end();
        assert_eq!(reader.log_mut().ended().await, Mark { len: 3, ended: true, ..Mark::default() });
        assert_eq!(reader.all(), log_of(["a", "b", "c"]).frames().all());
    }

    #[test]
    fn readers_of_other_formats_do_not_bring_a_log_to_its_limit() {
        let log = log_of(["a", "b"].map(|letter| letter.repeat(100)));
        let held = log.held_bytes();
        for format in Format::ALL {
            assert!(log.reader().in_format(format).all().len() > 200);
        }
        assert_eq!(log.held_bytes(), held);
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![9 => "[a-z\"é\n]{0,20}", 1 => "[a-z\"é\n]{3000,9000}"]
    }

    fn answer() -> impl Strategy<Value = Vec<Entry>> {
        let head = CompletionHead { id: "chatcmpl-1".into(), created: 7, model: "m".into() };
        let deltas = prop::collection::vec((0usize..3, text()), 0..60);
        (deltas, any::<bool>()).prop_map(move |(deltas, opens)| {
            let deltas = deltas
                .into_iter()
                .map(|(kind, text)| Entry::Delta { kind: TextKind::ALL[kind], text: text.into() });
            let open = opens.then(|| Entry::Open(Arc::new(head.clone())));
            open.into_iter().chain(deltas).chain([Entry::Done]).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_reader_gets_the_same_tail_from_any_position_in_steps_of_any_size(
            entries in answer(),
            from in 0usize..70,
            most in prop_oneof![1usize..400, 1000usize..30_000],
            format in 0usize..Format::ALL.len(),
            is_journalled: bool,
        ) {
            let format = Format::ALL[format];
            let encoder = Encoder::new(format, entries[0].head());
            let frames: Vec<Bytes> =
                entries.iter().enumerate().map(|(number, entry)| encoder.encode(number, entry)).collect();
            let log = ChunkLog::of(Some(Format::Tasks), entries.clone());
            let before = log.reader().in_format(format);
            let kept = is_journalled.then(|| KeptEntries::in_memory(entries.iter()));
            let held = log.cold(kept).unwrap();
            let mut drop_frames = log.cold(None).unwrap();
            drop_frames.drop_frames();
            for reader in [log.reader(), held.log().clone().into(), drop_frames.log().clone().into()] {
                let reader = reader.in_format(format);
                prop_assert_eq!(reader.mark().len, frames.len());
                let mut position = from;
                let mut read = Vec::new();
                while position < frames.len() {
                    let (next, bytes) = reader.frames_within(position..frames.len(), most);
                    let piece = reader.piece(position..next).unwrap();
                    prop_assert!(next > position);
                    prop_assert!(piece.len() <= most || next == position + 1);
                    prop_assert!(next == frames.len() || piece.len() + frames[next].len() > most);
                    prop_assert_eq!((piece.len(), bytes), (reader.bytes(position..next), piece.len()));
                    if next == position + 1 {
                        let (mut parts, step) = (BytesMut::new(), most.max(bytes / 7));
                        for part in (0..=bytes).step_by(step) {
                            prop_assert!(reader.write_part(position, part..part + step, &mut parts));
                        }
                        prop_assert!(parts == piece);
                    }
                    read.extend(piece);
                    position = next;
                }
                let tail: Vec<u8> = frames.iter().skip(from).flatten().copied().collect();
                prop_assert!(read == tail);
            }
            // A reader that was made before the end still finds the frames after the task has been dropped.
            let all = before.all();
            drop(log);
            prop_assert_eq!(before.all(), all);
        }
    }
}
