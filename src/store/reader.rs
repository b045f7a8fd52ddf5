//! The threads that read: each answers questions on a connection of its own.
//!
//! Questions about one task and about the API keys have threads of their own, so that none of them waits for a list.

mod list;
mod rows;
mod unfinished;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::health::Health;
use super::key_table::{keys_and_version, keys_version};
use super::place::OpenFiles;
use super::records::StoredStream;
use super::spool::StoredBlob;
use super::sqlite::{self, file_error, leave_as_is};
use super::{Reply, StoreError, Unfinished, Weighed};
use crate::audio::BlobId;
use crate::keys::KeyRecord;
use crate::secret::KeyHash;
use crate::task::{Idempotency, IdempotencyKey, ListQuery, Page, Request, Snapshot, TaskId, Timestamp};

use list::list;
pub(super) use rows::{SNAPSHOT_COLUMNS, parse, snapshot};
use rows::{blob, find, request, stream, submitted};
use unfinished::unfinished;

/// What is asked.
pub(super) enum Read {
    Find {
        id: TaskId,
        owner: KeyHash,
        ended_after: Timestamp,
        most_bytes: usize,
        with_segments: bool,
        reply: Reply<Option<Weighed<Snapshot>>>,
    },
    Request {
        id: TaskId,
        owner: KeyHash,
        reply: Reply<Option<Request>>,
    },
    List {
        owner: KeyHash,
        query: ListQuery,
        ended_after: Timestamp,
        most_bytes: usize,
        reply: Reply<Option<Weighed<Page>>>,
    },
    Stream {
        id: TaskId,
        owner: KeyHash,
        reply: Reply<Option<StoredStream>>,
    },
    Submitted {
        owner: KeyHash,
        key: IdempotencyKey,
        created_after: Timestamp,
        reply: Reply<Option<(TaskId, Idempotency)>>,
    },
    Blob {
        id: BlobId,
        reply: Reply<Option<StoredBlob>>,
    },
    Unfinished {
        after: Option<(Timestamp, TaskId)>,
        reply: Reply<Vec<Unfinished>>,
    },
    Keys {
        reply: Reply<(i64, Vec<KeyRecord>)>,
    },
    KeysVersion {
        reply: Reply<i64>,
    },
}

/// Reads of a kind that may wait for a reader; beyond, callers wait.
const QUEUE: usize = 4096;
/// Threads for each kind of question.
const THREADS: usize = 2;

/// A handle to all readers; cheap to clone. They stop with the last one.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    /// For what reads one row, or a few small ones.
    short: mpsc::Sender<Read>,
    /// For lists.
    long: mpsc::Sender<Read>,
}

impl Readers {
    /// Starts the readers of a data directory, whose files stay open until they have stopped.
    pub(super) fn start(
        data_dir: &Path,
        sync: bool,
        health: &Health,
        files: &Arc<OpenFiles>,
    ) -> Result<Self, StoreError> {
        let start = || {
            let (queue, reads) = mpsc::channel(QUEUE);
            let reads = Arc::new(Mutex::new(reads));
            for _ in 0..THREADS {
                let reader = Reader {
                    connection: sqlite::connect(data_dir, sync)?,
                    health: health.clone(),
                    files: Arc::clone(files),
                };
                let reads = Arc::clone(&reads);
                std::thread::Builder::new()
                    .name("store-reader".to_owned())
                    .spawn(move || {
                        while let Some(read) = next(&reads) {
                            reader.answer(read);
                        }
                        if reader.health.damage().is_some() {
                            leave_as_is(&reader.connection);
                        }
                    })
                    .map_err(file_error(data_dir))?;
            }
            Ok::<_, StoreError>(queue)
        };
        Ok(Self { short: start()?, long: start()? })
    }

    /// Hands a question to a reader.
    pub(super) async fn ask(&self, read: Read) -> Result<(), StoreError> {
        let readers = match &read {
            Read::List { .. } | Read::Unfinished { .. } => &self.long,
            _ => &self.short,
        };
        readers.send(read).await.map_err(|_| StoreError::Stopped)
    }
}

/// The next question. One thread waits for it; the others wait for that thread.
fn next(reads: &Mutex<mpsc::Receiver<Read>>) -> Option<Read> {
    // A thread that panics does so while it answers, not here.
    reads.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

/// One thread's means. The connection comes first, so that it is closed before the other files.
struct Reader {
    connection: Connection,
    health: Health,
    files: Arc<OpenFiles>,
}

impl Reader {
    /// Answers, unless the one that asked has gone.
    fn answer(&self, read: Read) {
        let connection = &self.connection;
        match read {
            Read::Find { id, owner, ended_after, most_bytes, with_segments, reply } => {
                self.say(reply, || find(connection, &id, owner, ended_after, most_bytes, with_segments));
            }
            Read::Request { id, owner, reply } => self.say(reply, || request(connection, &id, owner)),
            Read::List { owner, query, ended_after, most_bytes, reply } => {
                self.say(reply, || list(connection, owner, &query, ended_after, most_bytes));
            }
            Read::Stream { id, owner, reply } => self.say(reply, || stream(connection, &id, owner)),
            Read::Submitted { owner, key, created_after, reply } => {
                self.say(reply, || submitted(connection, owner, key, created_after));
            }
            Read::Blob { id, reply } => self.say(reply, || blob(connection, id)),
            Read::Unfinished { after, reply } => {
                self.say(reply, || unfinished(connection, after));
            }
            Read::Keys { reply } => {
                self.say(reply, || keys_and_version(connection));
            }
            Read::KeysVersion { reply } => self.say(reply, || keys_version(connection)),
        }
    }

    fn say<T>(&self, reply: Reply<T>, read: impl FnOnce() -> Result<T, StoreError>) {
        if reply.is_closed() {
            return;
        }
        // What a damaged database says may be false: that there is no such task, for example.
        let result = match self.health.damage().map_or_else(|| self.files.judge_index(), Err) {
            Ok(()) => read().map_err(|err| self.health.notice(err)),
            Err(trouble) => {
                self.health.alarm(trouble.clone());
                Err(trouble.into())
            }
        };
        let _ = reply.send(result);
    }
}
