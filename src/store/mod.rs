//! The store: what must outlive the process, as records. It knows no actors and no HTTP.
//!
//! [`Store`] is a handle to two threads over one SQLite database. The writer takes whatever waits for it,
//! up to a bound, and commits it as one transaction: a thousand submits at once share a few fsyncs, and a
//! lone one waits for nobody. Reads have a connection and a thread of their own, so they never wait for a
//! commit (SQLite's WAL lets them).

mod key_table;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::config::Retention;
use crate::error::Failure;
use crate::keys::{KeyHash, KeyRecord};
use crate::task::id::TaskId;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};

pub use key_table::KeyTable;

/// Writes that may wait for the writer; beyond, callers wait.
const WRITE_QUEUE: usize = 4096;
/// Reads that may wait for the reader; beyond, callers wait.
const READ_QUEUE: usize = 4096;

/// A store that cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refuses or is damaged.
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The data directory cannot be used.
    #[error("{path}: {source}")]
    Directory {
        /// What was touched.
        path: String,
        /// Why it cannot be used.
        source: std::io::Error,
    },
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

impl From<StoreError> for Failure {
    fn from(err: StoreError) -> Self {
        tracing::error!(%err, "the store failed");
        Self::internal()
    }
}

/// How a task ended, for the store.
#[derive(Debug, Clone)]
pub enum Ending {
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

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Write {
    Accept { task: Box<Task>, reply: Reply<()> },
    End { id: TaskId, ending: Ending, timeline: Timeline, at: Timestamp, reply: Reply<()> },
    Forget { ended_before: Timestamp, reply: Reply<usize> },
}

enum Read {
    Find { id: TaskId, owner: KeyHash, ended_after: Timestamp, reply: Reply<Option<Snapshot>> },
    Keys { reply: Reply<(i64, Vec<KeyRecord>)> },
    KeysVersion { reply: Reply<i64> },
}

/// A handle to the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writes: mpsc::Sender<Write>,
    reads: mpsc::Sender<Read>,
    retention: Retention,
}

impl Store {
    /// Opens the store in a data directory, which it takes for itself until the last handle is gone.
    ///
    /// # Errors
    /// When the directory cannot be used or another server has it.
    pub fn open(data_dir: &Path, retention: Retention) -> Result<Self, StoreError> {
        let (writes, write_queue) = mpsc::channel(WRITE_QUEUE);
        let (reads, read_queue) = mpsc::channel(READ_QUEUE);
        sqlite::start(data_dir, write_queue, read_queue)?;
        Ok(Self { writes, reads, retention })
    }

    /// Records an accepted task; when this returns, it is durable.
    ///
    /// # Errors
    /// When it is not.
    pub async fn accept(&self, task: Task) -> Result<(), StoreError> {
        self.write(|reply| Write::Accept { task: Box::new(task), reply }).await
    }

    /// Records how a task ended; when this returns, it is durable. A task that has ended already keeps its
    /// first end.
    ///
    /// # Errors
    /// When it is not recorded.
    pub async fn end(&self, id: TaskId, ending: Ending, timeline: Timeline) -> Result<(), StoreError> {
        self.write(|reply| Write::End { id, ending, timeline, at: Timestamp::now(), reply }).await
    }

    /// Deletes tasks that ended longer ago than they are kept; returns how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_expired(&self) -> Result<usize, StoreError> {
        let ended_before = Timestamp::now().before(self.retention.tasks);
        self.write(|reply| Write::Forget { ended_before, reply }).await
    }

    /// A task of this owner, unless it ended longer ago than tasks are kept.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn find(&self, id: TaskId, owner: KeyHash) -> Result<Option<Snapshot>, StoreError> {
        let ended_after = Timestamp::now().before(self.retention.tasks);
        self.read(|reply| Read::Find { id, owner, ended_after, reply }).await
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
