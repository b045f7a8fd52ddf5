//! The store: the data that must outlive the process. It uses neither actors nor HTTP.
//!
//! [`Store`] is a handle that also has the retention times. A backend keeps the data and fulfils the [promises] of a
//! store. [`Store::open`] chooses the backend. One test suite checks every promise against every backend.
//!
//! The backend of a server has three parts: a SQLite database, the spool with the audio of tasks that have not ended,
//! and the [journals](ChunkJournal) of published chunks. One thread writes to the database, and a few threads read from
//! it. The writer takes all waiting writes, up to a bound, and commits them as one transaction: a thousand submits at
//! once share a few fsyncs, and a lone submit does not wait for others. Each reader has its own connection, so it never
//! waits for a commit (SQLite's WAL mode allows that).
//!
//! # Where to look
//!
//! The author of a backend only has to read `promises` and the values that its methods take and return (`records`,
//! `error`). `reads` and `writes` have the methods of [`Store`]. They add the parts that every backend has in common,
//! such as the retention times. `local` is the backend of a server, and all other files are parts of it. Tests have a
//! second backend, `memory`; `suite` has a test of each promise.
//!
//! # When the disk fails
//!
//! The [health] of the store is known at any moment: the result of the last transaction, and how long the current one
//! has taken. While the store does not work, tasks are refused at once, and no call waits for it forever.
//!
//! - Before each transaction, the writer compares the [files](known_files) with those that it opened. So it writes
//!   nothing that the next start would not find.
//! - Before and after each transaction, it checks the [write-ahead log](write_ahead_log). So it reports no commit that
//!   the log does not hold.
//! - If the outcome of a transaction is unknown, all files stay where they are, and the next transaction decides what
//!   happens to them.
//! - Once the writer or a reader has found damage, nothing more is read from the database or written to it.
//! - A start [examines](integrity) the whole database before it writes to it, and compares the number of commits with a
//!   [second record](commit_counter).
//! - Audio and chunks are read with a checksum.
//!
//! # Spool
//!
//! Audio is a blob: a row with its length, its checksum and the number of tasks that refer to it. The bytes of a small
//! blob are in that row and become durable with the task's commit. The bytes of a large blob are in a file, which is
//! written and synced before the commit. The commit that ends a task also removes the task's references to audio. The
//! file of a blob without references is deleted after that commit.

mod claim;
mod commit_counter;
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
mod reader;
mod reads;
mod records;
mod schema;
mod settings;
mod spool;
mod sqlite;
mod start_check;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
mod write_ahead_log;
mod writer;
mod writes;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use crate::metrics::{DiskLevels, StoreLevels, StoreMetrics};
use crate::task::Timestamp;

use key_table::KeyTable;
use local::LocalBackend;

pub use commit_counter::LostCommits;
pub use error::StoreError;
pub(crate) use health::PATIENCE;
#[cfg(test)]
pub(crate) use memory::{Batch, MemoryJournals};
pub use promises::{
    Appended, BlobStore, ChunkJournal, ChunkJournals, Download, KeyStore, Promise, Receive, TaskStore,
};
pub use records::{Acceptance, Ending, Journalled, NewRecord, Replay, Unfinished, Weighed};
pub use settings::{Retention, RetentionKeys, SpoolKeys, StoreConfig, StoreKeys};
pub use start_check::{StartCheck, check_start};

/// The most journals that are read as a whole at the same time. Each takes memory for its chunks and its result.
const REPLAYS: usize = 2;
/// The most bytes of results on one page of a list, of all its tasks together. A longer list is split into several
/// pages.
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
    /// Permits to read a whole journal.
    replays: Arc<Semaphore>,
}

/// The moments before which old data may be deleted, for each kind of data.
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
    /// Opens the store in a data directory and chooses the backend. The store keeps the directory locked until its last
    /// handle is dropped. Files that a crash left behind and that belong to no task are removed.
    ///
    /// # Errors
    /// When the directory cannot be used or another server has it.
    pub fn open(
        data_dir: &Path,
        retention: Retention,
        config: StoreConfig,
        metrics: StoreMetrics,
    ) -> Result<Self, StoreError> {
        let (local, journals) = LocalBackend::open(data_dir, config, metrics)?;
        Ok(Self::over(Arc::new(local), Arc::new(journals), retention))
    }

    /// Makes a store from its parts.
    fn over<B: TaskStore + BlobStore + KeyStore + 'static>(
        backend: Arc<B>,
        journals: Arc<dyn ChunkJournals>,
        retention: Retention,
    ) -> Self {
        let replays = Arc::new(Semaphore::new(REPLAYS));
        Self { tasks: backend.clone(), blobs: backend.clone(), keys: backend, journals, retention, replays }
    }

    /// Replaces the backend of the journals.
    #[cfg(test)]
    pub(crate) fn with_journals(self, journals: Arc<dyn ChunkJournals>) -> Self {
        Self { journals, ..self }
    }

    /// Returns the API keys.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.keys)
    }

    /// Checks the store's health from time to time, until the store has stopped.
    pub async fn watch(&self) {
        self.tasks.watch().await;
    }

    /// Returns the reason why the store takes no tasks, or `None` while it takes tasks. Does not wait.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.tasks.trouble()
    }

    /// Returns how many writes wait and how much audio there is.
    #[must_use]
    pub fn levels(&self) -> StoreLevels {
        StoreLevels {
            works: self.tasks.trouble().is_none(),
            writes_waiting: self.tasks.writes_waiting(),
            spool: self.blobs.used(),
        }
    }

    /// Returns the levels of the disk, if the system reports them. Blocks; if the disk hangs, for as long as it hangs.
    #[must_use]
    pub fn disk(&self) -> Option<DiskLevels> {
        self.blobs.disk()
    }
}

/// Finds the API keys of a data directory; a server may run on it at the same time. Returns `None` if the directory is
/// not a data directory yet. Chooses the backend, as [`Store::open`] does.
///
/// # Errors
/// When the directory cannot be used.
pub fn find_keys(data_dir: &Path) -> Result<Option<Arc<dyn KeyStore>>, StoreError> {
    Ok(KeyTable::find(data_dir)?.map(|keys| Arc::new(keys) as _))
}

/// Makes a data directory for the API keys of a server that has not started yet.
///
/// # Errors
/// When the directory cannot be made.
pub fn make_keys(data_dir: &Path) -> Result<Arc<dyn KeyStore>, StoreError> {
    Ok(Arc::new(KeyTable::make(data_dir)?))
}

/// Runs file operations on a thread where blocking is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    actix_rt::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?
}
