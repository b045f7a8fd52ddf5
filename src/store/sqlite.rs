//! The store in SQLite: schema, statements, and the two threads that run them. Nothing else in the program
//! blocks on a disk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::key_table::{keys, keys_version};
use super::{Ending, Read, StoreError, Write};
use crate::error::{ErrorCode, Failure};
use crate::keys::KeyHash;
use crate::task::id::TaskId;
use crate::task::snapshot::{Snapshot, State};
use crate::task::submission::Question;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};

/// Most writes that share one commit: bounds how long the first of them waits for the last.
const MOST_IN_A_COMMIT: usize = 512;
/// How long to wait for another process, which is `hearken keys`, to finish its own write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Each entry leads from its index to the next schema version.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        owner BLOB NOT NULL,
        created_ms INTEGER NOT NULL,
        stream INTEGER NOT NULL,
        question TEXT NOT NULL,
        progress INTEGER NOT NULL DEFAULT 0,
        completion TEXT,
        failure TEXT,
        timeline TEXT,
        ended_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tasks_by_end ON tasks (ended_ms) WHERE ended_ms IS NOT NULL;
    CREATE TABLE keys (
        name TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        models TEXT NOT NULL,
        created_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE keys_version (version INTEGER NOT NULL) STRICT;
    INSERT INTO keys_version VALUES (0);
",
    "
    -- NULL is no limit.
    ALTER TABLE keys ADD COLUMN requests_per_minute INTEGER;
    ALTER TABLE keys ADD COLUMN max_running_tasks INTEGER;
",
];

fn directory_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| StoreError::Directory { path: path.clone(), source }
}

/// Moments are integers, in milliseconds.
impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|ms| Self(u64::try_from(ms).unwrap_or(0)))
    }
}

/// Makes the data directory, for its owner alone, if there is none.
pub(super) fn make_directory(data_dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(directory_error(data_dir))
}

/// Opens the database of a data directory; makes and migrates it as needed.
pub(super) fn connect(data_dir: &Path) -> Result<Connection, StoreError> {
    let path = data_dir.join("hearken.sqlite");
    // Made by us and not by SQLite, so that nobody else may read it.
    OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(directory_error(&path))?;
    let mut connection = Connection::open(&path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on the disk when it returns, also when the power goes.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let newest = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if version > newest {
        return Err(StoreError::Damaged(format!("it was written by a newer hearken (schema {version})")));
    }
    if version < newest {
        for migration in MIGRATIONS.iter().skip(version as usize) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", newest)?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Takes the data directory and starts the writer and the reader; each stops when its queue closes.
pub(super) fn start(
    data_dir: &Path,
    writes: mpsc::Receiver<Write>,
    reads: mpsc::Receiver<Read>,
) -> Result<(), StoreError> {
    make_directory(data_dir)?;
    let lock = lock(data_dir)?;
    let mut writer = connect(data_dir)?;
    interrupt_unfinished(&mut writer)?;
    let reader = connect(data_dir)?;
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(directory_error(data_dir))
    };
    spawn("store-writer", Box::new(move || run_writer(&mut writer, writes, &lock)))?;
    spawn("store-reader", Box::new(move || run_reader(&reader, reads)))?;
    Ok(())
}

/// The lock of a data directory is held by the open file, so it cannot outlive its process.
fn lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(directory_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Taken(data_dir.display().to_string())),
        Err(std::fs::TryLockError::Error(err)) => Err(directory_error(&path)(err)),
    }
}

/// Tasks that an earlier process did not end cannot go on: their audio is gone. They say so.
fn interrupt_unfinished(connection: &mut Connection) -> Result<(), StoreError> {
    let failure = Failure::new(
        ErrorCode::TaskInterrupted,
        "The service stopped before the task had ended; submit it again",
    );
    let failure = serde_json::to_string(&failure).map_err(|err| StoreError::Damaged(err.to_string()))?;
    let interrupted = connection.execute(
        "UPDATE tasks SET failure = ?1, ended_ms = ?2 WHERE ended_ms IS NULL",
        params![failure, Timestamp::now()],
    )?;
    if interrupted > 0 {
        tracing::warn!(tasks = interrupted, "tasks of an earlier run were interrupted");
    }
    Ok(())
}

fn run_writer(connection: &mut Connection, mut queue: mpsc::Receiver<Write>, _lock: &File) {
    let mut writes = Vec::new();
    while queue.blocking_recv_many(&mut writes, MOST_IN_A_COMMIT) > 0 {
        commit_together(connection, writes.drain(..));
    }
}

/// Runs writes in one transaction. One that fails by itself fails alone; when the commit fails, all do. Each
/// is answered only after the commit.
fn commit_together(connection: &mut Connection, writes: impl Iterator<Item = Write>) {
    type Answer = Box<dyn FnOnce(Result<(), String>)>;
    fn after<T: 'static>(reply: super::Reply<T>, result: Result<T, StoreError>) -> Answer {
        Box::new(move |commit| {
            let result = result.and_then(|value| commit.map(|()| value).map_err(StoreError::Commit));
            // Whoever asked may have gone; the write stands.
            let _ = reply.send(result);
        })
    }
    let mut answers: Vec<Answer> = Vec::new();
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let commit = match begun {
        Ok(transaction) => {
            for write in writes {
                answers.push(match write {
                    Write::Accept { task, reply } => after(reply, insert(&transaction, &task)),
                    Write::End { id, ending, timeline, at, reply } => {
                        after(reply, end(&transaction, &id, &ending, &timeline, at))
                    }
                    Write::Forget { ended_before, reply } => after(reply, forget(&transaction, ended_before)),
                });
            }
            transaction.commit().map_err(|err| err.to_string())
        }
        Err(err) => {
            let stopped = || Err(StoreError::Commit(err.to_string()));
            for write in writes {
                answers.push(match write {
                    Write::Accept { reply, .. } | Write::End { reply, .. } => after(reply, stopped()),
                    Write::Forget { reply, .. } => after(reply, Err(StoreError::Commit(err.to_string()))),
                });
            }
            Err(err.to_string())
        }
    };
    for answer in answers {
        answer(commit.clone());
    }
}

fn insert(transaction: &Transaction<'_>, task: &Task) -> Result<(), StoreError> {
    let question =
        serde_json::to_string(&task.question).map_err(|err| StoreError::Damaged(err.to_string()))?;
    transaction
        .prepare_cached(
            "INSERT INTO tasks (id, owner, created_ms, stream, question) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![task.id.as_str(), task.owner.as_bytes(), task.created, task.stream, question])?;
    Ok(())
}

fn end(
    transaction: &Transaction<'_>,
    id: &TaskId,
    ending: &Ending,
    timeline: &Timeline,
    at: Timestamp,
) -> Result<(), StoreError> {
    let timeline = serde_json::to_string(timeline).map_err(|err| StoreError::Damaged(err.to_string()))?;
    let (completion, failure, progress) = match ending {
        Ending::Completed(completion) => (Some(completion.get()), None, 100),
        Ending::Failed { failure, progress } => {
            let failure =
                serde_json::to_string(failure).map_err(|err| StoreError::Damaged(err.to_string()))?;
            (None, Some(failure), *progress)
        }
    };
    transaction
        .prepare_cached(
            "UPDATE tasks SET completion = :completion, failure = :failure, progress = :progress,
             timeline = :timeline, ended_ms = :at
             WHERE id = :id AND ended_ms IS NULL",
        )?
        .execute(named_params! {
            ":completion": completion,
            ":failure": failure,
            ":progress": progress,
            ":timeline": timeline,
            ":at": at,
            ":id": id.as_str(),
        })?;
    Ok(())
}

fn forget(transaction: &Transaction<'_>, ended_before: Timestamp) -> Result<usize, StoreError> {
    Ok(transaction.prepare_cached("DELETE FROM tasks WHERE ended_ms < ?1")?.execute([ended_before])?)
}

fn run_reader(connection: &Connection, mut queue: mpsc::Receiver<Read>) {
    // Whoever asked may have gone: then the answer is nobody's.
    while let Some(read) = queue.blocking_recv() {
        match read {
            Read::Find { id, owner, ended_after, reply } => {
                let _ = reply.send(find(connection, &id, owner, ended_after));
            }
            Read::Keys { reply } => {
                let _ = reply.send(keys_version(connection).and_then(|v| Ok((v, keys(connection)?))));
            }
            Read::KeysVersion { reply } => {
                let _ = reply.send(keys_version(connection));
            }
        }
    }
}

struct Row {
    created: Timestamp,
    stream: bool,
    question: String,
    progress: u8,
    completion: Option<String>,
    failure: Option<String>,
    timeline: Option<String>,
}

fn find(
    connection: &Connection,
    id: &TaskId,
    owner: KeyHash,
    ended_after: Timestamp,
) -> Result<Option<Snapshot>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT created_ms, stream, question, progress, completion, failure, timeline FROM tasks
             WHERE id = ?1 AND owner = ?2 AND (ended_ms IS NULL OR ended_ms >= ?3)",
        )?
        .query_row(params![id.as_str(), owner.as_bytes(), ended_after], |row| {
            Ok(Row {
                created: row.get(0)?,
                stream: row.get(1)?,
                question: row.get(2)?,
                progress: row.get(3)?,
                completion: row.get(4)?,
                failure: row.get(5)?,
                timeline: row.get(6)?,
            })
        })
        .optional()?;
    row.map(|row| snapshot(id, row)).transpose()
}

fn snapshot(id: &TaskId, row: Row) -> Result<Snapshot, StoreError> {
    let damaged = |err: serde_json::Error| StoreError::Damaged(format!("{id}: {err}"));
    let question: Question = serde_json::from_str(&row.question).map_err(damaged)?;
    let state = match (row.completion, row.failure) {
        (Some(completion), _) => {
            State::Completed { completion: RawValue::from_string(completion).map_err(damaged)?.into() }
        }
        (None, Some(failure)) => State::Failed {
            failure: serde_json::from_str(&failure).map_err(damaged)?,
            progress: row.progress,
        },
        (None, None) => State::Pending,
    };
    let timeline = match &row.timeline {
        Some(timeline) => serde_json::from_str(timeline).map_err(damaged)?,
        None => Timeline::begun(row.created),
    };
    let created = row.created.seconds();
    Ok(Snapshot { id: id.clone(), model: question.model, created, stream: row.stream, state, timeline })
}
