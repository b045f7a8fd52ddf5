//! The journals of published chunks: one file for each task with a stream. It holds the entries as records
//! (`task::record`).
//!
//! A chunk is written before it is published. The task's own thread writes it straight into the system's page cache:
//! that takes microseconds and waits for no disk. So everything that a subscriber has seen outlives the process. A
//! thread of the store syncs the files in rounds, all files that have grown in one round, so a power cut loses only the
//! last moment. A file that is not empty shows that a subscriber may have seen a chunk.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::health::Health;
use super::promises::{Appended, ChunkJournal, ChunkJournals, Promise};
use super::spool::sweep;
use super::sqlite::{file_error, make_directory};
use super::{Journalled, StoreError, blocking};
use crate::metrics::StoreMetrics;
use crate::task::{
    Chunks, Entry, KeptEntries, RecordSource, RecordWriter, TaskId, read_entries, scan_records,
};

/// Most files that may wait for their round. If the queue is full, the next round syncs all files.
const SYNC_QUEUE: usize = 4096;
/// The most files that are synced one by one.
const SYNCED_ONE_BY_ONE: usize = 8;
/// The pause between two rounds: a power cut can lose the chunks of this time.
const SYNC_PAUSE: Duration = Duration::from_millis(200);

/// A handle to all journals; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct FileJournals {
    directory: Arc<Path>,
    /// The sender to the thread that syncs files; `None` if nothing is synced.
    sync: Option<Syncer>,
    health: Health,
}

/// A sender of files to the thread that syncs them.
#[derive(Debug, Clone)]
struct Syncer {
    queue: SyncSender<Arc<GrowingFile>>,
    /// True if the queue was full for a file. The next round then syncs all files, because that file may not grow
    /// again.
    overflowed: Arc<AtomicBool>,
}

/// A file that grows.
#[derive(Debug)]
struct GrowingFile {
    file: File,
    /// True while the file waits for its round.
    waits: AtomicBool,
}

/// The journal of one task in a file.
#[derive(Debug)]
pub(super) struct FileJournal {
    path: PathBuf,
    file: Option<Arc<GrowingFile>>,
    writer: RecordWriter,
    /// True after a failed write. The journal then takes no more entries, so it always holds a beginning of the stream
    /// without a gap.
    broken: bool,
    sync: Option<Syncer>,
    health: Health,
}

impl FileJournals {
    /// Opens the journals of a data directory and starts the thread that syncs them. The thread stops with the last
    /// handle. Journals that are not `wanted` are removed.
    pub(super) fn open(
        data_dir: &Path,
        sync: bool,
        metrics: StoreMetrics,
        health: Health,
        wanted: impl Fn(&TaskId) -> Result<bool, StoreError>,
    ) -> Result<Self, StoreError> {
        let directory = data_dir.join("frames");
        make_directory(&directory)?;
        sweep(&directory, wanted)?;
        let syncer = if sync {
            let (queue, waiting) = sync_channel(SYNC_QUEUE);
            let overflowed = Arc::new(AtomicBool::new(false));
            let syncer = Syncer { queue, overflowed: Arc::clone(&overflowed) };
            std::thread::Builder::new()
                .name("store-syncer".to_owned())
                .spawn(move || run_syncer(&waiting, &overflowed, &metrics))
                .map_err(file_error(&directory))?;
            Some(syncer)
        } else {
            None
        };
        Ok(Self { directory: directory.into(), sync: syncer, health })
    }

    fn path(&self, id: &TaskId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    fn of(&self, id: &TaskId) -> FileJournal {
        FileJournal {
            path: self.path(id),
            file: None,
            writer: RecordWriter::default(),
            broken: false,
            sync: self.sync.clone(),
            health: self.health.clone(),
        }
    }

    /// Returns true if a subscriber may have seen a chunk of this task. Blocks.
    fn has_begun(&self, id: &TaskId) -> bool {
        std::fs::metadata(self.path(id)).is_ok_and(|file| file.len() > 0)
    }

    /// Finds the chunks that a task has published. Logs an error if they do not match the task's record. Blocks.
    fn whole(&self, id: &TaskId, recorded: Chunks) -> Result<Option<KeptEntries>, StoreError> {
        let (index, _) = scan_records(&self.content(id)?, |_, _| Some(()));
        let path = self.path(id);
        if index.chunks != recorded {
            tracing::error!(path = %path.display(), "a journal of chunks is damaged; its stream cannot be replayed");
            return Ok(None);
        }
        Ok(Some(KeptEntries::new(Arc::new(JournalFile { path }), index)))
    }

    /// Reads a journal. A journal that does not exist is empty. Blocks.
    fn content(&self, id: &TaskId) -> Result<Vec<u8>, StoreError> {
        let path = self.path(id);
        match std::fs::read(&path) {
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(file_error(&path)),
        }
    }

    /// Removes the journal of a task, if it has one. Blocks.
    fn delete(&self, id: &TaskId) {
        let path = self.path(id);
        if let Err(err) = std::fs::remove_file(&path)
            && err.kind() != ErrorKind::NotFound
        {
            tracing::error!(
                %err,
                path = %path.display(),
                "the journal of a deleted task cannot be removed; remove the file by hand, or restart the \
                 server"
            );
        }
    }
}

impl ChunkJournals for FileJournals {
    fn journal(&self, id: &TaskId) -> Box<dyn ChunkJournal> {
        Box::new(self.of(id))
    }

    fn begun(&self, ids: Vec<TaskId>) -> Promise<'_, HashSet<TaskId>> {
        let journals = self.clone();
        blocking(move || Ok(ids.into_iter().filter(|id| journals.has_begun(id)).collect())).boxed()
    }

    fn read(&self, id: TaskId) -> Promise<'_, Journalled> {
        let journals = self.clone();
        let read = move || {
            let (entries, is_whole) = read_entries(&journals.content(&id)?);
            Ok(Journalled { entries, is_whole })
        };
        blocking(read).boxed()
    }

    fn read_whole(&self, id: TaskId, recorded: Chunks) -> Promise<'_, Option<KeptEntries>> {
        let journals = self.clone();
        blocking(move || journals.whole(&id, recorded)).boxed()
    }

    fn remove(&self, ids: Vec<TaskId>) -> Promise<'_, ()> {
        let journals = self.clone();
        let remove = move || {
            ids.iter().for_each(|id| journals.delete(id));
            Ok(())
        };
        blocking(remove).boxed()
    }
}

impl ChunkJournal for FileJournal {
    /// Writes the entries. After a failed write, the journal takes no more entries.
    fn append(&mut self, entries: &mut dyn Iterator<Item = &Entry>) -> Appended {
        if !self.broken
            && let Err(err) = self.write(entries)
        {
            self.broken = true;
            if err.kind() == ErrorKind::StorageFull {
                self.health.full("the disk has no room for a journal of chunks");
            }
            tracing::error!(
                %err,
                path = %self.path.display(),
                "chunks cannot be written to the journal; readers get the rest of the stream, but it cannot \
                 be replayed"
            );
        }
        Appended::Now(!self.broken)
    }

    /// Makes the file, if there is none, because that takes longer than a write. An error is ignored: the write of the
    /// first entries will return it again.
    fn make_ready(&mut self) {
        let _ = self.open();
    }

    fn into_kept(self: Box<Self>) -> Option<KeptEntries> {
        let is_all = !self.broken;
        is_all.then(|| KeptEntries::new(Arc::new(JournalFile { path: self.path }), self.writer.into_index()))
    }
}

impl FileJournal {
    fn open(&mut self) -> std::io::Result<&Arc<GrowingFile>> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
                if file.metadata()?.len() > 0 {
                    return Err(std::io::Error::new(
                        ErrorKind::AlreadyExists,
                        "another writer has begun this journal",
                    ));
                }
                Ok(none.insert(Arc::new(GrowingFile { file, waits: AtomicBool::new(false) })))
            }
        }
    }

    fn write<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> std::io::Result<()> {
        let file = Arc::clone(self.open()?);
        (&file.file).write_all(&self.writer.encode(entries))?;
        if let Some(syncer) = &self.sync
            && !file.waits.swap(true, Ordering::AcqRel)
            && syncer.queue.try_send(Arc::clone(&file)).is_err()
        {
            file.waits.store(false, Ordering::Release);
            syncer.overflowed.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// A journal to which nothing is added any more. The file is opened for each read: there are more journals than a
/// process may have open files.
#[derive(Debug)]
struct JournalFile {
    path: PathBuf,
}

impl RecordSource for JournalFile {
    fn read(&self, range: Range<usize>, buffer: &mut Vec<u8>) -> std::io::Result<()> {
        buffer.resize(range.len(), 0);
        File::open(&self.path)?.read_exact_at(buffer, range.start as u64)
    }
}

fn run_syncer(queue: &Receiver<Arc<GrowingFile>>, overflowed: &AtomicBool, metrics: &StoreMetrics) {
    while let Ok(first) = queue.recv() {
        let round: Vec<_> = std::iter::once(first).chain(queue.try_iter()).collect();
        for file in &round {
            // The flag is cleared before the sync, so a write after this point requests another round.
            file.waits.store(false, Ordering::Release);
        }
        // If the queue was full, some files of this round are not in it.
        let all = overflowed.swap(false, Ordering::AcqRel);
        let began = Instant::now();
        let synced = sync(&round, all);
        metrics.synced(began.elapsed(), synced.is_ok());
        if let Err(err) = synced {
            tracing::error!(%err, "chunks cannot be synced to the disk; a power cut would lose the last chunks");
        }
        std::thread::sleep(SYNC_PAUSE);
    }
}

/// Syncs these files, or `all` files of their file system. For many files, the latter is less work for the disk.
fn sync(round: &[Arc<GrowingFile>], all: bool) -> std::io::Result<()> {
    match round.first() {
        Some(first) if all || round.len() > SYNCED_ONE_BY_ONE => Ok(rustix::fs::syncfs(&first.file)?),
        // A file that fails does not keep the others from being synced.
        _ => round.iter().map(|file| file.file.sync_data()).fold(Ok(()), Result::and),
    }
}

#[cfg(test)]
mod tests;
