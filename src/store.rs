//! The store: what must outlive the process. It knows no actors and no HTTP.
//!
//! [`Store`] is a handle to a SQLite database, to the spool of the audio of tasks that have not ended, and
//! to the [journals](Journal) of published chunks. The database has a thread that writes, and a few that read. The writer
//! takes whatever waits for it, up to a bound, and commits it as one transaction: a thousand submits at once share a few
//! fsyncs, and a lone one waits for nobody. Each reader has a connection of its own, so it never waits for a commit
//! (SQLite's WAL lets it).
//!
//! # When the disk does not do its part
//!
//! The [health](health) of the store is known at any moment: what the last transaction said, and how long the present one
//! has taken. While the store does not work, tasks are refused at once, and nothing waits for it without end. Before each
//! transaction the [files](place) are compared with those that were opened, so that nothing is written where no next start
//! would find it. Before and after it the [write-ahead log](write_ahead_log) is looked at, so that no commit is told that
//! the log does not hold. Once damage was met, also by a reader, nothing more is read from the database or written to it.
//! At the start the whole database is [examined](integrity) before anything is written to it, and the number of its commits is compared with a
//! [second record](tally). Audio and chunks are read with a checksum.
//!
//! # Spool
//!
//! Audio is a blob: a row with its length, its checksum and how many tasks refer to it. A small one is in that row and
//! durable with the task's commit. A large one is in a file, written and brought to the disk before. The end of a task
//! takes its references away in the same commit; the file of a blob without any goes after that.

mod changes;
mod error;
mod health;
mod integrity;
mod journal;
mod key_table;
mod place;
mod questions;
mod reader;
mod records;
mod rehearsal;
mod schema;
mod settings;
mod spool;
mod sqlite;
mod tally;
#[cfg(test)]
mod tests;
mod write_ahead_log;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::metrics::{DiskLevels, StoreLevels, StoreMetrics};
use crate::task::id::TaskId;

use health::Health;
use journal::Journals;
use place::{Claim, OpenFiles, Place};
use reader::{Read, Readers};
use spool::Spool;
use tally::Tally;
use writer::{Files, Keeping, Write};

pub use error::StoreError;
pub(crate) use health::PATIENCE;
pub use journal::{Appended, ChunkJournal, Journal};
pub use key_table::KeyTable;
pub use records::{Acceptance, Ending, Journalled, NewRecord, Replay, Unfinished, Weighed};
pub use rehearsal::{Rehearsed, rehearse};
pub use settings::{Retention, RetentionKeys, SpoolKeys, StoreConfig, StoreKeys};
pub use spool::Download;
pub use tally::LostCommits;

/// Writes that may wait for the writer; beyond, callers wait.
const WRITE_QUEUE: usize = 4096;
/// Journals that are read whole at once: each takes memory for its chunks and its result meanwhile.
const REPLAYS: usize = 2;
/// The tasks of a list whose results have more than this many bytes together are on several pages.
pub const MOST_LISTED_BYTES: usize = 4 << 20;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A handle to the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writes: mpsc::Sender<Write>,
    readers: Readers,
    health: Health,
    spool: Spool,
    journals: Journals,
    retention: Retention,
    /// Turns to read a journal whole.
    replays: Arc<Semaphore>,
}

impl Store {
    /// Opens the store in a data directory, which it takes for itself until the last handle is gone. What a
    /// crash left behind and belongs to no task is removed.
    ///
    /// # Errors
    /// When the directory cannot be used or another server has it.
    pub fn open(
        data_dir: &Path,
        retention: Retention,
        config: StoreConfig,
        metrics: StoreMetrics,
    ) -> Result<Self, StoreError> {
        Self::open_all(data_dir, retention, config, metrics).map_err(|err| err.at(data_dir))
    }

    fn open_all(
        data_dir: &Path,
        retention: Retention,
        config: StoreConfig,
        metrics: StoreMetrics,
    ) -> Result<Self, StoreError> {
        sqlite::make_directory(data_dir)?;
        let claim = Claim::take(data_dir)?;
        // Before anything is written to it.
        drop(integrity::examine(data_dir)?);
        let connection = sqlite::connect(data_dir, config.sync)?;
        let open = Arc::new(OpenFiles::of(data_dir, claim)?);
        let tally = Tally::open(data_dir, &connection)?;
        let recorded = sqlite::recorded_blobs(&connection)?;
        let spool = Spool::open(data_dir, config.max_spool_bytes, config.sync, &recorded, |id| {
            sqlite::has_file(&connection, *id)
        })?;
        let has_stream = |id: &TaskId| sqlite::has_stream(&connection, id);
        let health = Health::new(data_dir);
        let journals = Journals::open(data_dir, config.sync, metrics.clone(), health.clone(), has_stream)?;
        let (writes, write_queue) = mpsc::channel(WRITE_QUEUE);
        let files = Files { spool: spool.clone(), journals: journals.clone(), withdrawn: Vec::new() };
        let place = Place::of(data_dir, Arc::clone(&open))?;
        let keeping = Keeping { place, health: health.clone(), tally, metrics };
        writer::start(data_dir, connection, files, keeping, write_queue)?;
        let readers = Readers::start(data_dir, config.sync, &journals, &health, &open)?;
        let replays = Arc::new(Semaphore::new(REPLAYS));
        Ok(Self { writes, readers, health, spool, journals, retention, replays })
    }

    /// Looks at the store's health from time to time, until the store has stopped. Without this, a store that has
    /// nothing to write does not notice that it could not.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(health::TICK);
        loop {
            ticks.tick().await;
            if self.health.tick()
                && matches!(self.writes.try_send(Write::Probe), Err(TrySendError::Closed(_)))
            {
                return;
            }
        }
    }

    /// Why the store takes no tasks; `None` while it does. Waits for nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.health.trouble().map(StoreError::from)
    }

    /// Waits for the store, unless it has been in trouble for too long. What was to be done may still happen then.
    async fn unless_trouble_lasts<T>(
        &self,
        done: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            done = done => done,
            trouble = self.health.trouble_lasts() => Err(trouble),
        }
    }

    /// How much waits and how much there is.
    #[must_use]
    pub fn levels(&self) -> StoreLevels {
        StoreLevels {
            works: self.health.trouble().is_none(),
            writes_waiting: self.writes.max_capacity() - self.writes.capacity(),
            spool: self.spool.used(),
        }
    }

    /// The disk, where the system tells of it. Blocks, and with a disk that hangs for as long as that.
    #[must_use]
    pub fn disk(&self) -> Option<DiskLevels> {
        self.spool.disk()
    }

    async fn write<T>(&self, make: impl FnOnce(Reply<T>) -> Write) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writes.send(make(reply)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    async fn read<T>(&self, make: impl FnOnce(Reply<T>) -> Read) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.unless_trouble_lasts(async {
            self.readers.ask(make(reply)).await?;
            answer.await.map_err(|_| StoreError::Stopped)?
        })
        .await
    }
}

/// Runs work on files where it blocks nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    actix_rt::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?
}
