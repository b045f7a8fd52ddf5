//! The store: what must outlive the process. It knows no actors and no HTTP.
//!
//! [`Store`] is a handle that knows how long things are kept. What keeps them is a backend, which holds the
//! [promises] of a store; [`Store::open`] chooses it, and one suite of tests runs every promise against each.
//!
//! The backend of a server is a SQLite database, the spool of the audio of tasks that have not ended, and
//! the [journals](ChunkJournal) of published chunks. The database has a thread that writes, and a few that read. The writer
//! takes whatever waits for it, up to a bound, and commits it as one transaction: a thousand submits at once share a few
//! fsyncs, and a lone one does not wait for others. Each reader has a connection of its own, so it never waits for a commit
//! (SQLite's WAL lets it).
//!
//! # Where to look
//!
//! `promises` and the values that they take and return (`records`, `error`) are all that a backend's author has to read.
//! `questions` and `changes` are the methods of [`Store`]: they add what is true of every backend, such as how long
//! things are kept. `local` is the backend of a server, and all other files are parts of it. In tests there is a second
//! one, `memory`, and `suite` has a test of each promise.
//!
//! # When the disk does not do its part
//!
//! The [health] of the store is known at any moment: what the last transaction said, and how long the present one has
//! taken. While the store does not work, tasks are refused at once, and nothing waits for it without end. Before each
//! transaction the [files](known_files) are compared with those that were opened, so that nothing is written where no next
//! start would find it. Before and after it the [write-ahead log](write_ahead_log) is looked at, so that no commit is
//! told that the log does not hold. A transaction of which it is not known whether it stands leaves all files where
//! they are, and the next one settles what becomes of them. Once damage was met, also by a reader, nothing more is read
//! from the database or written to it. At the start the whole database is [examined](integrity) before anything is
//! written to it, and the number of its commits is compared with a [second record](tally). Audio and chunks are read
//! with a checksum.
//!
//! # Spool
//!
//! Audio is a blob: a row with its length, its checksum and how many tasks refer to it. A small one is in that row and
//! durable with the task's commit. A large one is in a file, written and brought to the disk before. The end of a task
//! takes its references away in the same commit; the file of a blob without any goes after that.

mod changes;
mod claim;
mod error;
mod health;
mod integrity;
mod journal;
mod key_table;
mod known_files;
mod local;
#[cfg(test)]
mod memory;
mod promises;
mod questions;
mod reader;
mod records;
mod rehearsal;
mod schema;
mod settings;
mod spool;
mod sqlite;
#[cfg(test)]
mod suite;
mod tally;
#[cfg(test)]
mod tests;
mod write_ahead_log;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use crate::metrics::{DiskLevels, StoreLevels, StoreMetrics};
use crate::task::Timestamp;

use key_table::KeyTable;
use local::Local;

pub use error::StoreError;
pub(crate) use health::PATIENCE;
#[cfg(test)]
pub(crate) use memory::{Batch, MemoryJournals};
pub use promises::{
    Appended, BlobStore, ChunkJournal, ChunkJournals, Download, KeyStore, Promise, Receive, TaskStore,
};
pub use records::{Acceptance, Ending, Journalled, NewRecord, Replay, Unfinished, Weighed};
pub use rehearsal::{Rehearsed, rehearse};
pub use settings::{Retention, RetentionKeys, SpoolKeys, StoreConfig, StoreKeys};
pub use tally::LostCommits;

/// Journals that are read whole at once: each takes memory for its chunks and its result meanwhile.
const REPLAYS: usize = 2;
/// The tasks of a list whose results have more than this many bytes together are on several pages.
pub const MOST_LISTED_BYTES: usize = 4 << 20;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A handle to the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    tasks: Arc<dyn TaskStore>,
    blobs: Arc<dyn BlobStore>,
    keys: Arc<dyn KeyStore>,
    journals: Arc<dyn ChunkJournals>,
    retention: Retention,
    /// Turns to read a journal whole.
    replays: Arc<Semaphore>,
}

/// Before which moment what is old enough to be deleted.
#[derive(Debug, Clone, Copy)]
pub struct Retained {
    /// Tasks that ended.
    pub tasks: Timestamp,
    /// Chunks of tasks that ended.
    pub chunks: Timestamp,
    /// `Idempotency-Key`s that were used.
    pub keys: Timestamp,
}

impl Store {
    /// Opens the store in a data directory, which it takes for itself until the last handle is gone. What a
    /// crash left behind and belongs to no task is removed. This is where a backend is chosen.
    ///
    /// # Errors
    /// When the directory cannot be used or another server has it.
    pub fn open(
        data_dir: &Path,
        retention: Retention,
        config: StoreConfig,
        metrics: StoreMetrics,
    ) -> Result<Self, StoreError> {
        let (local, journals) = Local::open(data_dir, config, metrics)?;
        Ok(Self::over(Arc::new(local), Arc::new(journals), retention))
    }

    /// Makes a store of its parts.
    fn over<B: TaskStore + BlobStore + KeyStore + 'static>(
        backend: Arc<B>,
        journals: Arc<dyn ChunkJournals>,
        retention: Retention,
    ) -> Self {
        let replays = Arc::new(Semaphore::new(REPLAYS));
        Self { tasks: backend.clone(), blobs: backend.clone(), keys: backend, journals, retention, replays }
    }

    /// Replaces what keeps the journals.
    #[cfg(test)]
    pub(crate) fn with_journals(self, journals: Arc<dyn ChunkJournals>) -> Self {
        Self { journals, ..self }
    }

    /// Returns the API keys.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.keys)
    }

    /// Looks at the store's health from time to time, until the store has stopped.
    pub async fn watch(&self) {
        self.tasks.watch().await;
    }

    /// Why the store takes no tasks; `None` while it does. Waits for nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.tasks.trouble()
    }

    /// How much waits and how much there is.
    #[must_use]
    pub fn levels(&self) -> StoreLevels {
        StoreLevels {
            works: self.tasks.trouble().is_none(),
            writes_waiting: self.tasks.writes_waiting(),
            spool: self.blobs.used(),
        }
    }

    /// The disk, where the system tells of it. Blocks, and with a disk that hangs for as long as that.
    #[must_use]
    pub fn disk(&self) -> Option<DiskLevels> {
        self.blobs.disk()
    }
}

/// Finds the API keys of a data directory, on which a server may run meanwhile; `None` if it is no data directory yet. As
/// [`Store::open`], this chooses the backend.
///
/// # Errors
/// When the directory cannot be used.
pub fn find_keys(data_dir: &Path) -> Result<Option<Arc<dyn KeyStore>>, StoreError> {
    Ok(KeyTable::find(data_dir)?.map(|keys| Arc::new(keys) as _))
}

/// Makes a data directory for the API keys of a server that is yet to start.
///
/// # Errors
/// When the directory cannot be made.
pub fn make_keys(data_dir: &Path) -> Result<Arc<dyn KeyStore>, StoreError> {
    Ok(Arc::new(KeyTable::make(data_dir)?))
}

/// Runs work on files on a thread where blocking is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    actix_rt::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?
}
