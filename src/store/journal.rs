//! The journal of published chunks: one file for each streaming task. It holds their entries as
//! [records](crate::task::record).
//!
//! A chunk is written before it is published, straight into the system's page cache by the task's own thread:
//! that takes microseconds and waits for no disk, and what a subscriber has seen then outlives the process. A
//! thread of the store brings what was written to the disk, all files that have grown in one round, so that a
//! power cut costs the last moment at most. A file that is not empty says that a subscriber may have seen a chunk.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::health::Health;
use super::spool::sweep;
use super::sqlite::{file_error, make_directory};
use super::{Journalled, StoreError};
use crate::metrics::StoreMetrics;
use crate::task::cold_log::{Kept, Source};
use crate::task::entry::Entry;
use crate::task::id::TaskId;
use crate::task::record::{Chunks, RecordWriter, entries, scan};

/// Files that may wait for their round; where one finds no place, the round after brings all files to the disk.
const SYNC_QUEUE: usize = 4096;
/// So many files are synced each for itself.
const SYNCED_ONE_BY_ONE: usize = 8;
/// Pause between two rounds: what a power cut can cost.
const SYNC_PAUSE: Duration = Duration::from_millis(200);

/// A handle to all journals; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Journals {
    directory: Arc<Path>,
    /// `None` where nothing is synced.
    sync: Option<Rounds>,
    metrics: Arc<StoreMetrics>,
    health: Health,
}

/// What the thread that syncs is told.
#[derive(Debug, Clone)]
struct Rounds {
    queue: SyncSender<Arc<Grown>>,
    /// Was there a file that found no place? It may have been written to for the last time.
    overflowed: Arc<AtomicBool>,
}

/// A file that grows.
#[derive(Debug)]
struct Grown {
    file: File,
    /// Does it wait for its round?
    waits: AtomicBool,
}

/// Where the chunks of tasks are kept before they are shown.
pub trait ChunkJournal: fmt::Debug + Send + Sync {
    /// Returns the journal of a task. Nothing is made yet.
    fn journal(&self, id: &TaskId) -> Box<dyn Journal>;
}

/// The journal of one task: its writing end, which the task's actor holds.
pub trait Journal: fmt::Debug + Send {
    /// Takes entries that are to be shown once they are kept. The next ones may be given when this batch is.
    fn append(&mut self, entries: &mut dyn Iterator<Item = &Entry>) -> Appended;

    /// Prepares for the first entries, which then take less time.
    fn make_ready(&mut self);

    /// Returns what was written, for readers that come when the task has ended. `None` if this is not known to be all.
    fn into_kept(self: Box<Self>) -> Option<Kept>;
}

/// What becomes of entries that a journal was given: true if it has them. It takes nothing more once it has refused some.
pub enum Appended {
    /// This is known already.
    Now(bool),
    /// This will be known in a moment.
    Later(BoxFuture<'static, bool>),
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(is_kept) => write!(f, "Now({is_kept})"),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// The journal of one task in a file.
#[derive(Debug)]
pub(super) struct FileJournal {
    path: PathBuf,
    file: Option<Arc<Grown>>,
    writer: RecordWriter,
    /// Did an earlier actor of the task write the beginning?
    is_resumed: bool,
    /// A journal that has a gap takes nothing more: what it has is a beginning of the stream.
    broken: bool,
    sync: Option<Rounds>,
    metrics: Arc<StoreMetrics>,
    health: Health,
}

impl Journals {
    /// Opens the journals of a data directory and starts the thread that syncs them, which stops with the
    /// last handle. Journals that are not `wanted` are removed.
    pub(super) fn open(
        data_dir: &Path,
        sync: bool,
        metrics: StoreMetrics,
        health: Health,
        wanted: impl Fn(&TaskId) -> Result<bool, StoreError>,
    ) -> Result<Self, StoreError> {
        let metrics = Arc::new(metrics);
        let directory = data_dir.join("frames");
        make_directory(&directory)?;
        sweep(&directory, wanted)?;
        let rounds = if sync {
            let (queue, grown) = sync_channel(SYNC_QUEUE);
            let overflowed = Arc::new(AtomicBool::new(false));
            let rounds = Rounds { queue, overflowed: Arc::clone(&overflowed) };
            let metrics = Arc::clone(&metrics);
            std::thread::Builder::new()
                .name("store-syncer".to_owned())
                .spawn(move || run_syncer(&grown, &overflowed, &metrics))
                .map_err(file_error(&directory))?;
            Some(rounds)
        } else {
            None
        };
        Ok(Self { directory: directory.into(), sync: rounds, metrics, health })
    }

    fn path(&self, id: &TaskId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    /// The journal of a task. Nothing is made yet.
    pub(super) fn of(&self, id: &TaskId) -> FileJournal {
        let (sync, metrics, health) = (self.sync.clone(), Arc::clone(&self.metrics), self.health.clone());
        FileJournal {
            path: self.path(id),
            file: None,
            writer: RecordWriter::default(),
            is_resumed: false,
            broken: false,
            sync,
            metrics,
            health,
        }
    }

    /// May a subscriber have seen a chunk of this task? Blocks.
    pub(super) fn exists(&self, id: &TaskId) -> bool {
        std::fs::metadata(self.path(id)).is_ok_and(|file| file.len() > 0)
    }

    /// The chunks that a task has published, up to the first that is not as it was written. Blocks.
    ///
    /// # Errors
    /// When the journal is there and cannot be read.
    pub(super) fn read(&self, id: &TaskId) -> Result<Journalled, StoreError> {
        let (entries, is_whole) = entries(&self.content(id)?);
        Ok(Journalled { entries, is_whole })
    }

    /// The chunks that a task has published; `None` where they are not those that its record tells of, of which the
    /// operator is told. Blocks.
    ///
    /// # Errors
    /// When the journal is there and cannot be read.
    pub(super) fn read_whole(&self, id: &TaskId, told: Chunks) -> Result<Option<Kept>, StoreError> {
        let (index, _) = scan(&self.content(id)?, |_, _| Some(()));
        let path = self.path(id);
        if index.chunks != told {
            tracing::error!(path = %path.display(), "a journal of chunks is not as it was written; its stream is lost");
            return Ok(None);
        }
        Ok(Some(Kept::new(Arc::new(Written { path }), index)))
    }

    fn content(&self, id: &TaskId) -> Result<Vec<u8>, StoreError> {
        let path = self.path(id);
        match std::fs::read(&path) {
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(file_error(&path)),
        }
    }

    /// Removes the journal of a task, if there is any. Blocks.
    pub(super) fn remove(&self, id: &TaskId) {
        let path = self.path(id);
        if let Err(err) = std::fs::remove_file(&path)
            && err.kind() != ErrorKind::NotFound
        {
            tracing::error!(%err, path = %path.display(), "chunks cannot be removed");
        }
    }
}

impl Journal for FileJournal {
    /// Writes the entries. Where the disk refuses, the journal ends here.
    fn append(&mut self, entries: &mut dyn Iterator<Item = &Entry>) -> Appended {
        if !self.broken
            && let Err(err) = self.write(entries)
        {
            self.broken = true;
            self.metrics.journal_failed();
            if err.kind() == ErrorKind::StorageFull {
                self.health.full("a journal of chunks finds no room");
            }
            tracing::error!(%err, path = %self.path.display(), "chunks cannot be journalled");
        }
        Appended::Now(!self.broken)
    }

    /// Makes the file, if there is none: making one takes longer than writing to it. Where the disk refuses, the first
    /// entries will say so.
    fn make_ready(&mut self) {
        let _ = self.open();
    }

    fn into_kept(self: Box<Self>) -> Option<Kept> {
        let is_known = !self.broken && !self.is_resumed;
        is_known.then(|| Kept::new(Arc::new(Written { path: self.path }), self.writer.into_index()))
    }
}

impl FileJournal {
    fn open(&mut self) -> std::io::Result<&Arc<Grown>> {
        match &mut self.file {
            Some(grown) => Ok(grown),
            none => {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
                let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
                if bytes > 0 {
                    self.is_resumed = true;
                    self.writer.go_on_at(bytes);
                }
                Ok(none.insert(Arc::new(Grown { file, waits: AtomicBool::new(false) })))
            }
        }
    }

    fn write<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> std::io::Result<()> {
        let grown = Arc::clone(self.open()?);
        (&grown.file).write_all(&self.writer.encode(entries))?;
        if let Some(rounds) = &self.sync
            && !grown.waits.swap(true, Ordering::AcqRel)
            && rounds.queue.try_send(Arc::clone(&grown)).is_err()
        {
            grown.waits.store(false, Ordering::Release);
            rounds.overflowed.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// A journal to which nothing is added any more. It is opened for each piece: there are more of them than a process may
/// have open files.
#[derive(Debug)]
struct Written {
    path: PathBuf,
}

impl Source for Written {
    fn read(&self, range: Range<usize>, buffer: &mut Vec<u8>) -> std::io::Result<()> {
        buffer.resize(range.len(), 0);
        File::open(&self.path)?.read_exact_at(buffer, range.start as u64)
    }
}

fn run_syncer(queue: &Receiver<Arc<Grown>>, overflowed: &AtomicBool, metrics: &StoreMetrics) {
    while let Ok(first) = queue.recv() {
        let round: Vec<_> = std::iter::once(first).chain(queue.try_iter()).collect();
        for grown in &round {
            // First: what is written from here on asks for another round.
            grown.waits.store(false, Ordering::Release);
        }
        // A queue that was full leaves something for the next round, which finds this set.
        let all = overflowed.swap(false, Ordering::AcqRel);
        let began = Instant::now();
        let synced = sync(&round, all);
        metrics.synced(began.elapsed(), synced.is_ok());
        if let Err(err) = synced {
            tracing::error!(%err, "chunks cannot be brought to the disk");
        }
        std::thread::sleep(SYNC_PAUSE);
    }
}

/// Brings files to the disk, or `all` that their file system holds, which is less work for the disk where they are many.
fn sync(round: &[Arc<Grown>], all: bool) -> std::io::Result<()> {
    match round.first() {
        Some(first) if all || round.len() > SYNCED_ONE_BY_ONE => Ok(rustix::fs::syncfs(&first.file)?),
        // One that fails keeps none of the others waiting.
        _ => round.iter().map(|grown| grown.file.sync_data()).fold(Ok(()), Result::and),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::health::Trouble;
    use crate::task::chunk_log::{ChunkLog, LogReader};
    use crate::task::entry::TextKind;
    use crate::task::format::Format;

    fn chunks(from: usize, to: usize) -> Vec<Entry> {
        (from..to).map(|number| chunk(&format!("{number}\n"))).collect()
    }

    fn chunk(text: &str) -> Entry {
        Entry::Delta { kind: TextKind::Content, text: text.into() }
    }

    fn append(journal: &mut FileJournal, entries: &[Entry]) -> bool {
        matches!(journal.append(&mut entries.iter()), Appended::Now(true))
    }

    fn read(journals: &Journals, id: &TaskId) -> Vec<Entry> {
        let Journalled { entries, is_whole } = journals.read(id).unwrap();
        assert!(is_whole);
        entries
    }

    fn journals(data_dir: &Path, wanted: bool) -> Journals {
        let metrics = crate::metrics::Metrics::new(std::iter::empty()).unwrap().store;
        Journals::open(data_dir, true, metrics, Health::new(data_dir), |_| Ok(wanted)).unwrap()
    }

    #[test]
    fn a_full_disk_that_a_journal_meets_is_trouble_at_once() {
        let data_dir = tempfile::tempdir().unwrap();
        let journals = journals(data_dir.path(), true);
        let id = TaskId::generate(1);
        std::os::unix::fs::symlink("/dev/full", journals.path(&id)).unwrap();
        assert!(!append(&mut journals.of(&id), &chunks(0, 1)));
        assert!(matches!(journals.health.trouble(), Some(Trouble::Full(_))));
    }

    #[test]
    fn chunks_are_read_as_they_were_published() {
        let data_dir = tempfile::tempdir().unwrap();
        let journals = journals(data_dir.path(), true);
        let id = TaskId::generate(1);
        let mut journal = journals.of(&id);
        assert!(!journals.exists(&id) && read(&journals, &id).is_empty());
        journal.make_ready();
        assert!(!journals.exists(&id) && read(&journals, &id).is_empty(), "nothing was seen");
        append(&mut journal, &chunks(0, 1));
        assert!(journals.exists(&id));
        append(&mut journal, &chunks(1, 4));
        assert_eq!(read(&journals, &id), chunks(0, 4));
        journals.remove(&id);
        assert!(!journals.exists(&id));
        journals.remove(&id);
    }

    #[test]
    fn a_torn_chunk_is_none() {
        let data_dir = tempfile::tempdir().unwrap();
        let journals = journals(data_dir.path(), true);
        let id = TaskId::generate(1);
        append(&mut journals.of(&id), &chunks(0, 3));
        let file = OpenOptions::new().write(true).open(journals.path(&id)).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        let found = journals.read(&id).unwrap();
        assert_eq!((found.entries, found.is_whole), (chunks(0, 2), false));
    }

    #[test]
    fn pieces_of_an_ended_stream_are_read_from_the_journal_as_they_were_published() {
        let data_dir = tempfile::tempdir().unwrap();
        let journals = journals(data_dir.path(), true);
        let id = TaskId::generate(1);
        let mut log = ChunkLog::new(Some(Format::Tasks));
        let large = chunk(&"x\ny".repeat(7_000));
        chunks(0, 40).into_iter().chain([large]).for_each(|entry| log.append(entry));
        let mut journal = journals.of(&id);
        assert!(matches!(journal.append(&mut log.unpublished()), Appended::Now(true)));
        log.append(Entry::Done);
        log.end();
        let all: Vec<_> = (0..42).map(|number| log.reader().piece(number..number + 1).unwrap()).collect();
        let mut stream = log.cold(Box::new(journal).into_kept()).unwrap();
        assert!(stream.let_go(), "the entries are in the journal");
        let ended = LogReader::from(stream.log().clone());
        for range in [0..1, 0..42, 7..9, 39..41, 40..42, 41..42] {
            assert!(ended.piece(range.clone()).unwrap() == all[range].concat());
        }
        let part = |part| {
            let mut buffer = bytes::BytesMut::new();
            ended.write_part(40, part, &mut buffer).then_some(buffer)
        };
        assert!(part(5_000..15_000).unwrap() == all[40][5_000..15_000]);
        // A bit of the large entry flips.
        let file = OpenOptions::new().write(true).open(journals.path(&id)).unwrap();
        file.write_all_at(b"z", file.metadata().unwrap().len() - 9_000).unwrap();
        assert_eq!(ended.piece(0..5).unwrap(), all[..5].concat());
        assert!(part(1_000..2_000).unwrap() == all[40][1_000..2_000]);
        assert!(!stream.log().is_lost());
        assert_eq!(ended.piece(40..42), None);
        assert!(stream.log().is_lost());
        assert_eq!(part(20_000..21_000), None);
    }

    #[test]
    fn an_actor_that_goes_on_with_a_journal_keeps_it_whole() {
        let data_dir = tempfile::tempdir().unwrap();
        let journals = journals(data_dir.path(), true);
        let id = TaskId::generate(1);
        append(&mut journals.of(&id), &chunks(0, 3));
        let mut successor = journals.of(&id);
        assert!(append(&mut successor, &chunks(3, 5)));
        assert_eq!(read(&journals, &id), chunks(0, 5));
        assert!(Box::new(successor).into_kept().is_none(), "where the first entries are is not known");
        assert!(journals.read_whole(&id, Chunks::of(chunks(0, 5).iter())).unwrap().is_some());
        assert!(journals.read_whole(&id, Chunks::of(chunks(0, 4).iter())).unwrap().is_none());
    }

    #[test]
    fn a_journal_with_a_gap_stays_a_beginning_of_the_stream() {
        let data_dir = tempfile::tempdir().unwrap();
        let journals = journals(data_dir.path(), true);
        let id = TaskId::generate(1);
        let mut journal = journals.of(&id);
        let there = data_dir.path().join("frames");
        let away = data_dir.path().join("away");
        std::fs::rename(&there, &away).unwrap();
        append(&mut journal, &chunks(0, 1));
        std::fs::rename(&away, &there).unwrap();
        append(&mut journal, &chunks(1, 2));
        assert!(read(&journals, &id).is_empty());
    }

    #[test]
    fn a_start_removes_what_is_not_wanted() {
        let data_dir = tempfile::tempdir().unwrap();
        let id = TaskId::generate(1);
        append(&mut journals(data_dir.path(), true).of(&id), &chunks(0, 1));
        assert!(journals(data_dir.path(), true).exists(&id));
        assert!(!journals(data_dir.path(), false).exists(&id));
    }
}
