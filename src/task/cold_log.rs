//! The stream of a task that has ended, kept until its retention ends.
//!
//! There are many such streams, and most are never read. Readers hold a [`ColdLog`]. It copies the requested frames
//! from memory, or it reads the kept entries and encodes them again, a small part at a time. An [`EndedStream`] owns
//! the part that is in memory. Therefore an idle reader keeps nothing in memory.

mod rereading;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};

use super::entry::Entry;
use super::format::Format;
use super::record::{Chunks, Index, RecordWriter};
use rereading::Rereading;

/// The most bytes of one stream's frames that are held in memory: more would take the room of thousands of small
/// streams.
const MOST_HELD: usize = 4 << 20;

/// The number of logs that were made in this process, including logs of running tasks.
static LOGS: AtomicUsize = AtomicUsize::new(0);

/// Returns a number that no other log of this process has.
pub(super) fn next_number() -> usize {
    LOGS.fetch_add(1, Ordering::Relaxed)
}

/// A place outside of memory where records are kept.
pub trait RecordSource: fmt::Debug + Send + Sync {
    /// Appends these bytes of the records to `buffer`. Blocks about as long as a copy takes, because the bytes were
    /// written or read a short time ago.
    ///
    /// # Errors
    /// Returns an error if the bytes cannot be read.
    fn read(&self, range: Range<usize>, buffer: &mut Vec<u8>) -> io::Result<()>;
}

/// Records in memory, for a stream without a complete journal.
struct InMemory(Vec<u8>);

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in memory", self.0.len())
    }
}

impl RecordSource for InMemory {
    fn read(&self, range: Range<usize>, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.extend_from_slice(self.0.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The entries of a log before its end, kept as records.
#[derive(Debug)]
pub struct KeptEntries {
    records: OwnedRecords,
    index: Index,
}

/// The records as the owner of the stream holds them: in memory, or kept elsewhere.
#[derive(Debug, Clone)]
enum OwnedRecords {
    InMemory(Arc<InMemory>),
    Elsewhere(Arc<dyn RecordSource>),
}

/// The records as a reader holds them. A reader does not keep records in memory.
#[derive(Debug)]
enum BorrowedRecords {
    InMemory(Weak<InMemory>),
    Elsewhere(Arc<dyn RecordSource>),
}

impl KeptEntries {
    /// Makes the kept entries from their records and the index of the records.
    #[must_use]
    pub fn new(source: Arc<dyn RecordSource>, index: Index) -> Self {
        Self::of(OwnedRecords::Elsewhere(source), index)
    }

    /// Keeps entries as records in memory.
    #[must_use]
    pub fn in_memory<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut writer = RecordWriter::default();
        let mut records = writer.encode(entries);
        records.shrink_to_fit();
        Self::of(OwnedRecords::InMemory(Arc::new(InMemory(records))), writer.into_index())
    }

    fn of(records: OwnedRecords, mut index: Index) -> Self {
        index.places.shrink_to_fit();
        Self { records, index }
    }

    /// Returns the facts about the entries that are stored with the task.
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        self.index.chunks
    }

    /// Returns the number of kept entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.index.chunks.count
    }
}

impl OwnedRecords {
    fn lend(&self) -> BorrowedRecords {
        match self {
            Self::InMemory(records) => BorrowedRecords::InMemory(Arc::downgrade(records)),
            Self::Elsewhere(source) => BorrowedRecords::Elsewhere(Arc::clone(source)),
        }
    }

    /// Returns the bytes of memory that the records take.
    fn memory(&self) -> usize {
        match self {
            Self::InMemory(records) => records.0.capacity(),
            Self::Elsewhere(_) => 0,
        }
    }
}

/// All frames of a stream in one buffer.
#[derive(Debug)]
pub(super) struct FrameBuffer {
    format: Format,
    frames: Vec<u8>,
    /// The end of each frame, as an offset in `frames`.
    ends: Vec<usize>,
}

impl FrameBuffer {
    /// Copies these frames, which are in this format. Returns `None` if they are too large.
    pub(super) fn of<'a>(format: Format, frames: impl Iterator<Item = &'a Bytes> + Clone) -> Option<Self> {
        // The size is measured first, because memory that is reserved and not used would stay reserved.
        let (mut bytes, mut ends) = (0, Vec::with_capacity(frames.clone().count()));
        for frame in frames.clone() {
            bytes += frame.len();
            ends.push(bytes);
        }
        let mut together = Vec::with_capacity(bytes.min(MOST_HELD));
        (bytes <= MOST_HELD).then(|| frames.for_each(|frame| together.extend_from_slice(frame)))?;
        Some(Self { format, frames: together, ends })
    }

    /// Returns the place where this frame begins.
    fn begin(&self, frame: usize) -> usize {
        let Some(before) = frame.checked_sub(1) else { return 0 };
        self.ends.get(before).or(self.ends.last()).copied().unwrap_or(0)
    }

    fn frames_within(&self, range: Range<usize>, most_bytes: usize) -> (usize, usize) {
        let begin = self.begin(range.start);
        let ahead = self.ends.get(range.clone()).unwrap_or_default();
        let end = range.start + ahead.partition_point(|end| end - begin <= most_bytes).max(1);
        (end, self.begin(end) - begin)
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.frames.get(self.begin(range.start)..self.begin(range.end)).unwrap_or_default()
    }

    fn memory(&self) -> usize {
        self.frames.len() + size_of_val(&*self.ends)
    }
}

/// The log of an ended task, as a reader holds it; cheap to clone.
#[derive(Debug, Clone)]
pub struct ColdLog(Arc<SharedColdLog>);

#[derive(Debug)]
struct SharedColdLog {
    /// The records of the entries before the end. The owner of the stream holds those in memory.
    records: BorrowedRecords,
    index: Index,
    /// The entries after those with records: the end of the log.
    tail: Box<[Entry]>,
    /// All frames, while the owner of the stream holds them.
    held: Weak<FrameBuffer>,
    /// True if a part of the kept records could not be read or was damaged.
    is_lost: AtomicBool,
    number: usize,
    subscriptions: AtomicUsize,
}

/// An ended stream, with the part of it that is in memory. After it is dropped, readers can read only the part that is
/// kept elsewhere.
#[derive(Debug, Clone)]
pub struct EndedStream {
    log: ColdLog,
    records: OwnedRecords,
    held: Option<Arc<FrameBuffer>>,
}

impl EndedStream {
    /// Makes an ended stream from its kept entries, its other entries, and its frames if they are in memory.
    pub(super) fn new(
        KeptEntries { records, index }: KeptEntries,
        tail: Vec<Entry>,
        held: Option<FrameBuffer>,
    ) -> Self {
        let held = held.map(Arc::new);
        let log = ColdLog(Arc::new(SharedColdLog {
            records: records.lend(),
            index,
            tail: tail.into(),
            held: held.as_ref().map(Arc::downgrade).unwrap_or_default(),
            is_lost: AtomicBool::new(false),
            number: next_number(),
            subscriptions: AtomicUsize::new(0),
        }));
        Self { log, records, held }
    }

    /// Returns the log for readers.
    #[must_use]
    pub fn log(&self) -> &ColdLog {
        &self.log
    }

    /// Returns the bytes that the stream takes in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let frames = self.held.as_ref().map_or(0, |held| held.memory());
        frames + self.records.memory() + size_of_val(&*self.log.0.index.places)
    }

    /// Drops the frames. Returns false if there are none in memory.
    pub fn drop_frames(&mut self) -> bool {
        self.held.take().is_some()
    }
}

impl ColdLog {
    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.index.chunks.count + self.0.tail.len()
    }

    /// Returns true if there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the end and the size of the frames that start at the beginning of `range` and take at most `most_bytes`
    /// together. The first frame is always included, even if it is larger.
    #[must_use]
    pub fn frames_within(&self, format: Format, range: Range<usize>, most_bytes: usize) -> (usize, usize) {
        if let Some(held) = self.held(format) {
            return held.frames_within(range, most_bytes);
        }
        let reach = self.reread(format, |frames| frames.frames_within(range.clone(), most_bytes));
        // The frame cannot be written, either, so the reader will close its connection.
        reach.unwrap_or((range.start + 1, 0))
    }

    /// Returns the size of the existing frames in `range`, in bytes.
    #[must_use]
    pub fn bytes(&self, format: Format, range: Range<usize>) -> usize {
        match self.held(format) {
            Some(held) => held.bytes(range).len(),
            None => self.reread(format, |frames| frames.bytes(range)).unwrap_or(0),
        }
    }

    /// Appends the existing frames in `range` to `buffer`. Returns false if they can no longer be read; then `buffer`
    /// may hold some of them.
    #[must_use]
    pub fn write_to(&self, format: Format, range: Range<usize>, buffer: &mut BytesMut) -> bool {
        match self.held(format) {
            Some(held) => {
                buffer.extend_from_slice(held.bytes(range));
                true
            }
            None => self.reread(format, |frames| frames.write_to(range, buffer)).is_some(),
        }
    }

    /// Appends the existing bytes in `part` of one frame to `buffer`. Returns false if they can no longer be read.
    #[must_use]
    pub fn write_part(
        &self,
        format: Format,
        frame: usize,
        part: Range<usize>,
        buffer: &mut BytesMut,
    ) -> bool {
        match self.held(format) {
            Some(held) => {
                buffer.extend_from_slice(slice(held.bytes(frame..frame + 1), part));
                true
            }
            None => self.reread(format, |frames| frames.write_part(frame, part, buffer)).is_some(),
        }
    }

    /// Returns true if some of the entries could not be read or were damaged.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Relaxed)
    }

    fn held(&self, format: Format) -> Option<Arc<FrameBuffer>> {
        self.0.held.upgrade().filter(|held| held.format == format)
    }

    /// Reads the kept entries. After a part of them was lost, no more is read, because sizes that a reader has received
    /// may be wrong.
    fn reread<T>(&self, format: Format, read: impl FnOnce(Rereading<'_>) -> io::Result<T>) -> Option<T> {
        if self.is_lost() {
            return None;
        }
        let in_memory;
        let source: &dyn RecordSource = match &self.0.records {
            BorrowedRecords::InMemory(records) => {
                in_memory = records.upgrade()?;
                &*in_memory
            }
            BorrowedRecords::Elsewhere(source) => &**source,
        };
        read(Rereading::new(source, &self.0.index, &self.0.tail, format))
            .inspect_err(|err| {
                if !self.0.is_lost.swap(true, Ordering::Relaxed) {
                    tracing::error!(%err, ?source, "the stream of an ended task cannot be read any more");
                }
            })
            .ok()
    }

    /// Returns the log's number.
    #[must_use]
    pub fn number(&self) -> usize {
        self.0.number
    }

    /// Returns the counter of all subscriptions so far.
    #[must_use]
    pub fn subscriptions(&self) -> &AtomicUsize {
        &self.0.subscriptions
    }
}

/// Returns the existing bytes in this range.
fn slice(bytes: &[u8], part: Range<usize>) -> &[u8] {
    bytes.get(bytes.len().min(part.start)..bytes.len().min(part.end)).unwrap_or_default()
}

/// Records for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Keeps entries as records outside of memory, like records on a disk, after a change to their bytes.
    pub(crate) fn elsewhere<'a>(
        entries: impl Iterator<Item = &'a Entry>,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> KeptEntries {
        let mut writer = RecordWriter::default();
        let mut records = writer.encode(entries);
        change(&mut records);
        KeptEntries::new(Arc::new(InMemory(records)), writer.into_index())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::elsewhere;
    use super::*;
    use crate::task::chunk_log::LogReader;
    use crate::task::chunk_log::testing::{delta, log_of};

    #[test]
    fn a_large_stream_that_is_kept_outside_of_memory_takes_no_memory() {
        let log = log_of(["x".repeat(MOST_HELD)]);
        let stream = log.cold(Some(elsewhere(log.entries(), |_| ()))).unwrap();
        assert!(stream.memory() < MOST_HELD / 100, "{}", stream.memory());
        let stream = log.cold(None).unwrap();
        assert!(stream.memory() > MOST_HELD && stream.memory() < MOST_HELD + MOST_HELD / 100);
    }

    #[test]
    fn a_reader_keeps_no_memory_of_a_dropped_stream() {
        let log = log_of(["a", "b"]);
        let stream = log.cold(None).unwrap();
        let reader = LogReader::from(stream.log().clone()).in_format(Format::Tasks);
        let records = Arc::downgrade(match &stream.records {
            OwnedRecords::InMemory(records) => records,
            OwnedRecords::Elsewhere(_) => panic!("in memory"),
        });
        drop(stream);
        assert!(records.upgrade().is_none(), "the reader holds no records");
        let mut buffer = BytesMut::new();
        assert!(!reader.write_to(0..2, &mut buffer) && buffer.is_empty(), "the reader cannot continue");
        assert_eq!(reader.frames_within(0..2, 100), (1, 0));
        // A reader still reads records that are kept outside of memory.
        let stream = log.cold(Some(elsewhere(log.entries(), |_| ()))).unwrap();
        let reader = LogReader::from(stream.log().clone()).in_format(Format::Tasks);
        drop(stream);
        assert_eq!(reader.all(), log.frames().all());
    }

    #[test]
    fn a_journal_without_all_entries_is_not_used() {
        let log = log_of(["a", "b"]);
        let beginning = elsewhere([delta("a")].iter(), |_| ());
        let mut stream = log.cold(Some(beginning)).unwrap();
        assert!(stream.drop_frames());
        assert_eq!(LogReader::from(stream.log().clone()).in_format(Format::Tasks).all(), log.frames().all());
    }

    #[test]
    fn damaged_entries_are_not_sent() {
        let log = log_of(["a", "b", "c"].map(|letter| letter.repeat(9_000)));
        let kept = elsewhere(log.entries(), |records| records[12_000] ^= 1);
        let mut stream = log.cold(Some(kept)).unwrap();
        assert!(stream.drop_frames());
        let reader = LogReader::from(stream.log().clone()).in_format(Format::Tasks);
        assert!(reader.piece(0..1) == log.frames().piece(0..1));
        assert!(reader.piece(2..3) == log.frames().piece(2..3));
        assert!(!stream.log().is_lost());
        let mut buffer = BytesMut::new();
        assert!(!reader.write_part(1, 2_000..4_000, &mut buffer) && buffer.is_empty());
        assert!(stream.log().is_lost());
        assert_eq!(reader.frames_within(1..3, 100), (2, 0));
        assert!(!reader.write_to(1..2, &mut buffer) && buffer.is_empty());
    }
}
