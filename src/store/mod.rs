//! The store: what must outlive the process. It knows no actors and no HTTP.
//!
//! [`Store`] is a handle to a SQLite database, to the spool of the audio of tasks that have not ended, and
//! to the [journals](Journal) of published chunks. The database has two threads. The writer takes whatever
//! waits for it, up to a bound, and commits it as one transaction: a thousand submits at once share a few
//! fsyncs, and a lone one waits for nobody. The reader has a connection of its own, so it never waits for a
//! commit (SQLite's WAL lets it).
//!
//! # Spool
//!
//! Large audio is written to a file of its own by whoever accepts it. The small audio of all submits that share a
//! commit is appended to one file, a segment, by the writer: one write and one fsync for all of them, before the
//! commit of the rows that refer to it.

mod journal;
mod key_table;
mod reader;
mod spool;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::audio::facts::AudioFacts;
use crate::audio::source::KeptAudio;
use crate::audio::text::AudioText;
use crate::config::{Retention, StoreConfig};
use crate::error::{ErrorCode, Failure};
use crate::keys::{KeyHash, KeyRecord};
use crate::metrics::{DiskLevels, StoreLevels, StoreMetrics};
use crate::task::answer::Answer;
use crate::task::cold_log::ColdLog;
use crate::task::id::TaskId;
use crate::task::idempotency::{Idempotency, IdempotencyKey};
use crate::task::list::{ListQuery, Page};
use crate::task::recovery::Remains;
use crate::task::request::Request;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};

use journal::Journals;
use reader::Read;
use spool::{SMALL_BYTES, Segments, Spool};
use writer::{Files, Mark, Shared, Write};

pub use journal::Journal;
pub use key_table::KeyTable;
pub use spool::Download;

/// Writes that may wait for the writer; beyond, callers wait.
const WRITE_QUEUE: usize = 4096;
/// Reads that may wait for the reader; beyond, callers wait.
const READ_QUEUE: usize = 4096;
/// The tasks of a list whose results have more than this many bytes together are on several pages.
pub const MOST_LISTED_BYTES: usize = 4 << 20;
/// When whoever met a full disk may come back.
const FULL_RETRY: Duration = Duration::from_secs(30);

/// A store that cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refuses or is damaged.
    #[error("the database: {0}")]
    Database(rusqlite::Error),
    /// The data directory cannot be used.
    #[error("{path}: {source}")]
    Directory {
        /// What was touched.
        path: String,
        /// Why it cannot be used.
        source: std::io::Error,
    },
    /// There is no room, by the configuration or on the disk.
    #[error("no room: {0}")]
    Full(String),
    /// Another server has the data directory.
    #[error("another hearken runs on the data directory {0}; stop it, or choose another with --data-dir")]
    Taken(String),
    /// A record that was written cannot be read.
    #[error("a damaged record: {0}")]
    Damaged(String),
    /// The commit of the shared transaction failed.
    #[error("the commit failed: {0}")]
    Commit(String),
    /// The store's thread is gone.
    #[error("the store has stopped")]
    Stopped,
}

impl From<rusqlite::Error> for StoreError {
    fn from(err: rusqlite::Error) -> Self {
        match err.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(err.to_string()),
            _ => Self::Database(err),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(err: StoreError) -> Self {
        tracing::error!(%err, "the store failed");
        match err {
            StoreError::Full(_) => Self::new(
                ErrorCode::StorageFull,
                "The service has no room for more audio; try again when other tasks have ended",
            )
            .with_retry_after(FULL_RETRY),
            _ => Self::internal(),
        }
    }
}

/// Could a server keep its data in this directory? Nothing is made, and nothing written.
///
/// # Errors
/// What the server would say.
pub fn judge_directory(data_dir: &Path) -> Result<(), StoreError> {
    sqlite::judge_directory(data_dir)
}

/// A task to be accepted, as it is recorded.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The task.
    pub task: Arc<Task>,
    /// Where its audio will be found.
    pub audio: KeptAudio,
    /// What is told about it.
    pub audio_facts: AudioFacts,
    /// Does it run as soon as it is recorded? That is its first run then.
    pub runs: bool,
    /// Is it for a caller who waits, and whom nobody can stand in for?
    pub leashed: bool,
    /// What happened to it so far.
    pub timeline: Timeline,
    /// The key under which a repeat of this submit finds it.
    pub idempotency: Option<Idempotency>,
}

/// What became of a new record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is durable.
    Durable,
    /// Another submit with the same `Idempotency-Key` came first.
    KeyTaken,
}

/// How a task ended, for the store.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The outcome.
    pub result: EndResult,
    /// When what happened.
    pub timeline: Timeline,
    /// Chunks that were published before the end, of a task with a stream.
    pub chunks: Option<usize>,
}

/// With what a task ended.
#[derive(Debug, Clone)]
pub enum EndResult {
    /// With this ChatCompletion.
    Completed(Arc<RawValue>),
    /// With this failure, at this progress.
    Failed {
        /// Why.
        failure: Failure,
        /// How far it had come, 0 to 99.
        progress: u8,
    },
}

/// A task that an earlier process did not end.
#[derive(Debug)]
pub struct Unfinished {
    /// The task.
    pub task: Task,
    /// Where its audio is; `None` in records of the first version, which kept none.
    pub audio: Option<KeptAudio>,
    /// What decides whether it runs again.
    pub remains: Remains,
    /// How far it had come.
    pub progress: u8,
    /// What happened to it.
    pub timeline: Timeline,
}

/// The stream of an ended task, read from its journal.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Its chunks and its end.
    pub log: ColdLog,
    /// How long it is kept from now on.
    pub left: Duration,
}

/// What was asked for, where its results have no more bytes than the caller has room for.
#[derive(Debug)]
pub enum Weighed<T> {
    /// It is here.
    Light(T),
    /// It was not read: its results have so many bytes.
    Heavy(usize),
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A handle to the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writes: mpsc::Sender<Write>,
    reads: mpsc::Sender<Read>,
    spool: Spool,
    journals: Journals,
    retention: Retention,
    /// Could the last task not be accepted?
    refused: Arc<AtomicBool>,
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
        sqlite::make_directory(data_dir)?;
        let lock = sqlite::lock(data_dir)?;
        let connection = sqlite::connect(data_dir, config.sync)?;
        let spool = Spool::open(data_dir, config.max_spool_bytes, config.sync, |id| {
            sqlite::is_unfinished(&connection, id)
        })?;
        let has_stream = |id: &TaskId| sqlite::has_stream(&connection, id);
        let journals = Journals::open(data_dir, config.sync, metrics.clone(), has_stream)?;
        let (writes, write_queue) = mpsc::channel(WRITE_QUEUE);
        let (reads, read_queue) = mpsc::channel(READ_QUEUE);
        let segments = Segments::open(spool.clone(), &sqlite::unfinished_ranges(&connection)?)?;
        let files = Files { spool: spool.clone(), segments, journals: journals.clone() };
        writer::start(data_dir, connection, lock, files, metrics, write_queue)?;
        reader::start(data_dir, sqlite::connect(data_dir, config.sync)?, journals.clone(), read_queue)?;
        Ok(Self { writes, reads, spool, journals, retention, refused: Arc::default() })
    }

    /// Will a task with so many bytes of inline audio probably be accepted? Not where there is no room for them, or
    /// where the last task was refused. Nothing is asked of the disk.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.spool.has_room(bytes) && !self.refused.load(Ordering::Relaxed)
    }

    /// Records an accepted task and its inline audio; when this returns, both are durable.
    ///
    /// # Errors
    /// When they are not: then nothing is left of them.
    pub async fn accept(&self, record: NewRecord, base64: Option<Bytes>) -> Result<Acceptance, StoreError> {
        let accepted = self.try_accept(record, base64).await;
        self.refused.store(accepted.is_err(), Ordering::Relaxed);
        accepted
    }

    async fn try_accept(&self, record: NewRecord, base64: Option<Bytes>) -> Result<Acceptance, StoreError> {
        let keys_before = Timestamp::now().before(self.retention.idempotency);
        let (shared, own) = match base64 {
            Some(base64) if base64.len() as u64 <= SMALL_BYTES => (Some(base64), None),
            own => (None, own),
        };
        let id = own.is_some().then(|| record.task.id.clone());
        if let (Some(id), Some(base64)) = (id.clone(), own) {
            let spool = self.spool.clone();
            let turn = spool.turn(base64.len() as u64).await;
            blocking(move || {
                // Held to the end, whoever waits for it.
                let _turn = turn;
                spool.write(&id, &base64)
            })
            .await?;
        }
        let audio = shared.map_or(Shared::Nothing, Shared::Text);
        let record = Box::new(record);
        let accepted = self.write(|reply| Write::Accept { record, audio, keys_before, reply }).await;
        if let Some(id) = id.filter(|_| !matches!(accepted, Ok(Acceptance::Durable))) {
            let spool = self.spool.clone();
            blocking(move || {
                spool.remove(&id);
                Ok(())
            })
            .await?;
        }
        accepted
    }

    /// Records that a run of a task begins; when this returns, the run is counted.
    ///
    /// # Errors
    /// When it is not.
    pub async fn run(&self, id: TaskId, timeline: Timeline) -> Result<(), StoreError> {
        self.write(|reply| Write::Run { id, timeline, reply }).await
    }

    /// Remembers, with one of the next commits, that a task publishes its first chunk, and what has happened to it until
    /// then: it will not run again. Nobody waits for that: that there is a chunk the journal says as well, and this is
    /// for the case that a power cut takes it.
    pub fn mark_published(&self, id: TaskId, timeline: Timeline) {
        self.mark(id, Mark::Published(timeline));
    }

    /// Remembers, with one of the next commits, how far a task has come, so that progress does not fall when
    /// another process runs it again.
    pub fn mark_progress(&self, id: TaskId, progress: u8) {
        self.mark(id, Mark::Progress(progress));
    }

    /// Remembers, with one of the next commits, what was downloaded for a task.
    pub fn mark_downloaded(&self, id: TaskId, facts: AudioFacts) {
        self.mark(id, Mark::Downloaded(facts));
    }

    fn mark(&self, id: TaskId, mark: Mark) {
        // A writer with that much to do is not worth waiting for: a mark is a help, not a promise.
        let _ = self.writes.try_send(Write::Mark { id, mark });
    }

    /// Records how a task ended and removes its audio; when this returns, that is durable. A task that has
    /// ended already keeps its first end, which is returned.
    ///
    /// # Errors
    /// When it is not recorded.
    pub async fn end(&self, id: TaskId, ending: Ending) -> Result<Option<Snapshot>, StoreError> {
        self.write(|reply| Write::End { id, ending: Box::new(ending), at: Timestamp::now(), reply }).await
    }

    /// Deletes what has been kept long enough: tasks, chunks, idempotency keys. Returns how many tasks.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_expired(&self) -> Result<usize, StoreError> {
        let now = Timestamp::now();
        let mut tasks = 0;
        loop {
            let forgotten = self
                .write(|reply| Write::Forget {
                    tasks_before: now.before(self.retention.tasks),
                    chunks_before: now.before(self.retention.chunks),
                    keys_before: now.before(self.retention.idempotency),
                    reply,
                })
                .await?;
            tasks += forgotten.tasks;
            if !forgotten.more {
                return Ok(tasks);
            }
        }
    }

    /// A task's audio in the spool: `bytes` of base64.
    ///
    /// # Errors
    /// When it is not there as it was.
    pub async fn audio(&self, id: TaskId, bytes: u64) -> Result<AudioText, StoreError> {
        let spool = self.spool.clone();
        // Where earlier versions kept it, small audio has its own file as well.
        let range = if bytes <= SMALL_BYTES {
            self.read(|reply| Read::Range { id: id.clone(), reply }).await?
        } else {
            None
        };
        let turn = spool.turn(bytes).await;
        blocking(move || {
            let _turn = turn;
            spool.read(&id, bytes, range)
        })
        .await
    }

    /// Room in the spool for audio that is about to be downloaded.
    ///
    /// # Errors
    /// When the spool cannot be written to.
    pub async fn download(&self) -> Result<Download, StoreError> {
        let spool = self.spool.clone();
        blocking(move || spool.download()).await
    }

    /// The journal to which a task's chunks are written before they are published.
    #[must_use]
    pub fn journal(&self, id: &TaskId) -> Journal {
        self.journals.of(id)
    }

    /// The chunks of a task that were journalled.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn chunks(&self, id: TaskId) -> Result<Vec<Bytes>, StoreError> {
        let journals = self.journals.clone();
        blocking(move || journals.read(&id)).await
    }

    /// The stream of an ended task, as long as its chunks are kept and whole.
    ///
    /// # Errors
    /// When the database or the journal refuses.
    pub async fn replay(&self, id: TaskId, owner: KeyHash) -> Result<Option<Replay>, StoreError> {
        let Some(stored) = self.read(|reply| Read::Stream { id: id.clone(), owner, reply }).await? else {
            return Ok(None);
        };
        let age = Duration::from_millis(Timestamp::now().since(stored.ended));
        let Some(left) = self.retention.streams().checked_sub(age).filter(|left| !left.is_zero()) else {
            return Ok(None);
        };
        let journals = self.journals.clone();
        blocking(move || {
            let log = Answer::replay(journals.read(&id)?, stored.chunks, &stored.state);
            Ok(log.map(|log| Replay { log, left }))
        })
        .await
    }

    /// A task of this owner, unless it ended longer ago than tasks are kept. It is read if its result has at most
    /// `most_bytes`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn find(
        &self,
        id: TaskId,
        owner: KeyHash,
        most_bytes: usize,
    ) -> Result<Option<Weighed<Snapshot>>, StoreError> {
        let ended_after = Timestamp::now().before(self.retention.tasks);
        self.read(|reply| Read::Find { id, owner, ended_after, most_bytes, reply }).await
    }

    /// The request of a task of this owner.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn request(&self, id: TaskId, owner: KeyHash) -> Result<Option<Request>, StoreError> {
        self.read(|reply| Read::Request { id, owner, reply }).await
    }

    /// Tasks of this owner; `None` where there is no task `after` which to go on. They are read if their results have
    /// at most `most_bytes` together. From [`MOST_LISTED_BYTES`] on a page that would have more ends earlier, but not
    /// before its first task.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list(
        &self,
        owner: KeyHash,
        query: ListQuery,
        most_bytes: usize,
    ) -> Result<Option<Weighed<Page>>, StoreError> {
        let ended_after = Timestamp::now().before(self.retention.tasks);
        self.read(|reply| Read::List { owner, query, ended_after, most_bytes, reply }).await
    }

    /// The task that a submit with this `Idempotency-Key` started, and what it was a submit of.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn submitted(
        &self,
        owner: KeyHash,
        key: IdempotencyKey,
    ) -> Result<Option<(TaskId, Idempotency)>, StoreError> {
        let created_after = Timestamp::now().before(self.retention.idempotency);
        self.read(|reply| Read::Submitted { owner, key, created_after, reply }).await
    }

    /// Tasks that earlier processes did not end, oldest first, those after the given one; empty at the end.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unfinished(
        &self,
        after: Option<(Timestamp, TaskId)>,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.read(|reply| Read::Unfinished { after, reply }).await
    }

    /// The API keys, and the version of their table.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keys(&self) -> Result<(i64, Vec<KeyRecord>), StoreError> {
        self.read(|reply| Read::Keys { reply }).await
    }

    /// The version of the keys' table: it changes with every change of a key, also by another process.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keys_version(&self) -> Result<i64, StoreError> {
        self.read(|reply| Read::KeysVersion { reply }).await
    }

    /// How much waits and how much there is.
    #[must_use]
    pub fn levels(&self) -> StoreLevels {
        StoreLevels {
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
        self.reads.send(make(reply)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

/// Runs work on files where it blocks nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    actix_rt::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?
}
