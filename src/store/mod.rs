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
//! would find it. At the start the whole database is [checked](integrity), and the number of its commits is compared with
//! a [second record](tally). Audio and chunks are read with a checksum.
//!
//! # Spool
//!
//! Large audio is written to a file of its own by whoever accepts it. The small audio of all submits that share a
//! commit is appended to one file, a segment, by the writer: one write and one fsync for all of them, before the
//! commit of the rows that refer to it.

mod health;
mod integrity;
mod journal;
mod key_table;
mod place;
mod reader;
mod rehearsal;
mod spool;
mod sqlite;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::audio::facts::AudioFacts;
use crate::audio::source::KeptAudio;
use crate::audio::text::AudioText;
use crate::config::{Retention, StoreConfig};
use crate::error::{ErrorCode, Failure};
use crate::keys::{KeyHash, KeyRecord};
use crate::metrics::{DiskLevels, StoreLevels, StoreMetrics};
use crate::task::answer::Answer;
use crate::task::cold_log::EndedStream;
use crate::task::id::TaskId;
use crate::task::idempotency::{Idempotency, IdempotencyKey};
use crate::task::list::{ListQuery, Page};
use crate::task::recovery::Remains;
use crate::task::request::Request;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};

use health::Health;
use journal::Journals;
use place::{Claim, Place};
use reader::{Read, Readers};
use spool::{SMALL_BYTES, Segments, Spool};
use tally::Tally;
use writer::{Files, Keeping, Mark, Shared, Write};

pub(crate) use health::PATIENCE;
pub use journal::Journal;
pub use key_table::KeyTable;
pub use rehearsal::rehearse;
pub use spool::Download;

/// Writes that may wait for the writer; beyond, callers wait.
const WRITE_QUEUE: usize = 4096;
/// Journals that are read whole at once: each takes memory for its chunks and its result meanwhile.
const REPLAYS: usize = 2;
/// The tasks of a list whose results have more than this many bytes together are on several pages.
pub const MOST_LISTED_BYTES: usize = 4 << 20;
/// When a caller that met a full disk may come back.
const FULL_RETRY: Duration = Duration::from_secs(30);
/// When a caller that met a disk that does not work may come back.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(10);

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
    /// The database is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// The store does not work for now.
    #[error("the store does not work: {0}")]
    Unavailable(String),
    /// The database has a schema that is not known here.
    #[error(
        "the database was written by a newer hearken (schema {0}); start that one, or choose another data directory"
    )]
    Newer(u32),
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
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Corrupt(err.to_string())
            }
            _ => Self::Database(err),
        }
    }
}

impl StoreError {
    /// Names the place and the way out, where the database of this directory is damaged or cannot be opened on a full
    /// disk.
    fn at(self, data_dir: &Path) -> Self {
        match self {
            Self::Corrupt(what) => Self::corrupt(data_dir, &what),
            Self::Full(what) => Self::Full(format!(
                "{what}; make room on the disk of {} and start the server again",
                data_dir.display()
            )),
            err => err,
        }
    }

    /// Damage in the database of this directory, and the way out.
    fn corrupt(data_dir: &Path, what: &str) -> Self {
        let path = sqlite::database(data_dir);
        let path = path.display();
        Self::Corrupt(format!(
            "{path} is damaged ({what}); stop the server and restore the file from a backup, or save what can be read \
             with `sqlite3 {path} .recover | sqlite3 saved.sqlite` and put saved.sqlite in its place, without the files \
             that end in -wal and -shm"
        ))
    }

    /// Would anything else that is asked of the store fail, too?
    fn is_of_the_whole_store(&self) -> bool {
        use rusqlite::ErrorCode as Cause;
        match self {
            Self::Corrupt(_)
            | Self::Unavailable(_)
            | Self::Commit(_)
            | Self::Directory { .. }
            | Self::Stopped => true,
            Self::Database(err) => matches!(
                err.sqlite_error_code(),
                Some(
                    Cause::DatabaseBusy
                        | Cause::DatabaseLocked
                        | Cause::SystemIoFailure
                        | Cause::CannotOpen
                        | Cause::ReadOnly
                        | Cause::PermissionDenied
                )
            ),
            Self::Full(_) | Self::Taken(_) | Self::Newer(_) | Self::Damaged(_) => false,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(err: StoreError) -> Self {
        match err {
            // The store's health tells the operator of these once, and not for each request.
            StoreError::Full(_) | StoreError::Unavailable(_) => tracing::debug!(%err, "the store failed"),
            _ => tracing::error!(%err, "the store failed"),
        }
        match err {
            StoreError::Full(_) => Self::new(
                ErrorCode::StorageFull,
                "The service has no room for more audio; try again when other tasks have ended",
            )
            .with_retry_after(FULL_RETRY),
            err if err.is_of_the_whole_store() => Self::new(
                ErrorCode::StorageUnavailable,
                "The service cannot use its disk at the moment; nothing was done, try again later",
            )
            .with_retry_after(UNAVAILABLE_RETRY),
            _ => Self::internal(),
        }
    }
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
    /// The chunks that were published before the end, of a task with a stream.
    pub chunks: Option<Chunks>,
}

/// What the record of a task says about the chunks in its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// How many there are.
    pub count: usize,
    /// The CRC-32 of their frames.
    pub sum: u32,
}

impl Chunks {
    /// Of these frames.
    pub fn of<'a>(frames: impl Iterator<Item = &'a Bytes>) -> Self {
        let (mut count, mut sum) = (0, crc32fast::Hasher::new());
        for frame in frames {
            count += 1;
            sum.update(frame);
        }
        Self { count, sum: sum.finalize() }
    }
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
    pub stream: EndedStream,
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
    readers: Readers,
    health: Health,
    spool: Spool,
    journals: Journals,
    retention: Retention,
    /// Could the last task not be accepted?
    refused: Arc<AtomicBool>,
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
        let claim = Arc::new(Claim::take(data_dir)?);
        let connection = sqlite::connect(data_dir, config.sync)?;
        integrity::check(data_dir, &connection)?;
        let tally = Tally::open(data_dir, &connection)?;
        let spool = Spool::open(data_dir, config.max_spool_bytes, config.sync, |id| {
            sqlite::is_unfinished(&connection, id)
        })?;
        let has_stream = |id: &TaskId| sqlite::has_stream(&connection, id);
        let health = Health::new(data_dir);
        let journals = Journals::open(data_dir, config.sync, metrics.clone(), health.clone(), has_stream)?;
        let (writes, write_queue) = mpsc::channel(WRITE_QUEUE);
        let segments = Segments::open(spool.clone(), &sqlite::unfinished_ranges(&connection)?)?;
        let files =
            Files { spool: spool.clone(), segments, journals: journals.clone(), withdrawn: Vec::new() };
        let place = Place::of(data_dir, Arc::clone(&claim))?;
        let keeping = Keeping { place, health: health.clone(), tally, metrics };
        writer::start(data_dir, connection, files, keeping, write_queue)?;
        let readers = Readers::start(data_dir, config.sync, &journals, &health, &claim)?;
        let replays = Arc::new(Semaphore::new(REPLAYS));
        Ok(Self { writes, readers, health, spool, journals, retention, refused: Arc::default(), replays })
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

    /// Will a task with so many bytes of inline audio probably be accepted? Not where there is no room for them, or
    /// where the last task was refused. Nothing is asked of the disk.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.spool.has_room(bytes) && !self.refused.load(Ordering::Relaxed) && self.health.trouble().is_none()
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
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let keys_before = Timestamp::now().before(self.retention.idempotency);
        let id = record.task.id.clone();
        let (audio, has_own_file) = match base64 {
            None => (Shared::Nothing, false),
            Some(base64) if base64.len() as u64 <= SMALL_BYTES => (Shared::Text(base64), false),
            Some(base64) => {
                (Shared::Own(self.unless_trouble_lasts(self.spool_own(&id, base64)).await?), true)
            }
        };
        let record = Box::new(record);
        let accepted = self
            .unless_trouble_lasts(self.write(|reply| Write::Accept { record, audio, keys_before, reply }))
            .await;
        if has_own_file && !matches!(accepted, Ok(Acceptance::Durable)) {
            let spool = self.spool.clone();
            // Not waited for: a disk that hangs does so here, too.
            actix_rt::task::spawn_blocking(move || spool.remove(&id));
        }
        accepted
    }

    /// Writes a task's audio to a file of its own, and returns its checksum. A file that is written after its caller has
    /// given up is removed.
    async fn spool_own(&self, id: &TaskId, base64: Bytes) -> Result<u32, StoreError> {
        let (spool, id) = (self.spool.clone(), id.clone());
        let turn = spool.turn(base64.len() as u64).await;
        let (written, waiting) = oneshot::channel();
        actix_rt::task::spawn_blocking(move || {
            // Held to the end, whether or not a caller waits for it.
            let _turn = turn;
            if let Err(Ok(_)) = written.send(spool.write(&id, &base64)) {
                spool.remove(&id);
            }
        });
        waiting.await.map_err(|_| StoreError::Stopped)?
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
        let place = self.read(|reply| Read::Audio { id: id.clone(), reply }).await?;
        let turn = spool.turn(bytes).await;
        blocking(move || {
            let _turn = turn;
            spool.read(&id, bytes, place)
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
        let turn = Arc::clone(&self.replays).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let Some(stored) = self.read(|reply| Read::Stream { id: id.clone(), owner, reply }).await? else {
            return Ok(None);
        };
        let age = Duration::from_millis(Timestamp::now().since(stored.ended));
        let Some(left) = self.retention.streams().checked_sub(age).filter(|left| !left.is_zero()) else {
            return Ok(None);
        };
        let journals = self.journals.clone();
        blocking(move || {
            let frames = journals.read_whole(&id, stored.chunks)?;
            let replay = |frames| {
                let kept = journals.of(&id).kept();
                Answer::replay(frames, stored.chunks.count, &stored.state, kept)
            };
            // Held to the end, also when no caller waits any more.
            let _turn = turn;
            Ok(frames.and_then(replay).map(|stream| Replay { stream, left }))
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
