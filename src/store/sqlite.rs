//! The database and its directory: schema, connection, lock, and how values stand in it.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use serde::Serialize;

use super::StoreError;
use super::spool::Range;
use crate::task::Timestamp;
use crate::task::id::TaskId;
use crate::task::snapshot::Status;

/// How long to wait for another process, which is `hearken keys`, to finish its own write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A write-ahead log that has grown beyond this many bytes is cut to them when its content is in the database.
const WAL_BYTES: i64 = 16 << 20;

/// Each entry leads from its index to the next schema version.
pub(super) const MIGRATIONS: &[&str] = &[
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
", "
    -- NULL is no limit.
    ALTER TABLE keys ADD COLUMN requests_per_minute INTEGER;
    ALTER TABLE keys ADD COLUMN max_running_tasks INTEGER;
", "
    -- Where the audio is (JSON), until the task ends.
    ALTER TABLE tasks ADD COLUMN audio TEXT;
    ALTER TABLE tasks ADD COLUMN runs INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE tasks ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE tasks ADD COLUMN leashed INTEGER NOT NULL DEFAULT 0;
    -- 0 pending, 1 processing, 2 completed, 3 failed.
    ALTER TABLE tasks ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
    UPDATE tasks SET state = CASE WHEN completion IS NOT NULL THEN 2 WHEN failure IS NOT NULL THEN 3 ELSE 0 END;
    -- Chunks in the journal of an ended task with a stream, as long as they are kept.
    ALTER TABLE tasks ADD COLUMN chunks INTEGER;
    CREATE INDEX tasks_by_owner ON tasks (owner, created_ms, id, state);
    CREATE INDEX tasks_unfinished ON tasks (created_ms, id) WHERE ended_ms IS NULL;
    CREATE INDEX tasks_with_chunks ON tasks (ended_ms) WHERE chunks IS NOT NULL;
    CREATE TABLE idempotency (
        owner BLOB NOT NULL,
        key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        task TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX idempotency_by_age ON idempotency (created_ms);
", "
    -- Where in the segments of the spool the audio is (segment:offset:bytes); NULL where it has its own file, or none.
    -- Means nothing once the task has ended: then the place may be another task's.
    ALTER TABLE tasks ADD COLUMN range TEXT;
", "
    -- The place in the submitter's trace (JSON), where there is one.
    ALTER TABLE tasks ADD COLUMN trace TEXT;
", "
    -- What is known of the audio (JSON), also when the audio itself is gone; NULL in rows of earlier versions.
    ALTER TABLE tasks ADD COLUMN audio_facts TEXT;
", "
    -- CRC-32 of the audio in the spool, and of the chunks in the journal of an ended task.
    ALTER TABLE tasks ADD COLUMN audio_sum INTEGER;
    ALTER TABLE tasks ADD COLUMN chunks_sum INTEGER;
    -- All that a list looks at before it has found its tasks.
    DROP INDEX tasks_by_owner;
    CREATE INDEX tasks_by_owner ON tasks (owner, state, created_ms, id, ended_ms);
    -- How many commits the server has made.
    CREATE TABLE commits (count INTEGER NOT NULL) STRICT;
    INSERT INTO commits VALUES (0);
"];

/// What went wrong with a file or directory.
pub(super) fn file_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full(format!("{path}: {source}")),
        _ => StoreError::Directory { path: path.clone(), source },
    }
}

/// A value that is kept as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|err| StoreError::Damaged(err.to_string()))
}

/// A task's status as it stands in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredState {
    Pending = 0,
    Processing = 1,
    Completed = 2,
    Failed = 3,
}

impl From<Status> for StoredState {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Processing => Self::Processing,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
        }
    }
}

impl ToSql for StoredState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(*self as i64))
    }
}

impl FromSql for StoredState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match i64::column_result(value)? {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Processing),
            2 => Ok(Self::Completed),
            3 => Ok(Self::Failed),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
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

impl ToSql for Range {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(format!("{}:{}:{}", self.segment, self.offset, self.bytes)))
    }
}

impl FromSql for Range {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let mut numbers = value.as_str()?.split(':').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(segment)), Some(Ok(offset)), Some(Ok(bytes)), None) => {
                Ok(Self { segment, offset, bytes })
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// Makes the data directory, for its owner alone, if there is none.
pub(super) fn make_directory(data_dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(file_error(data_dir))
}

/// Where the database of a data directory is.
pub(super) fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("hearken.sqlite")
}

/// What the names of the write-ahead log and of its index end in.
pub(super) const LOG: &str = "-wal";
pub(super) const INDEX: &str = "-shm";

/// Where a file is that SQLite keeps beside the database.
pub(super) fn beside(data_dir: &Path, end: &str) -> PathBuf {
    let mut path = database(data_dir).into_os_string();
    path.push(end);
    path.into()
}

/// Leaves the database's file as it is when this connection closes. The last connection that closes would copy the
/// write-ahead log into it, also one whose frames were overwritten with zeros.
pub(super) fn leave_as_is(connection: &Connection) {
    if let Err(err) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::warn!(%err, "the write-ahead log of a damaged database may be copied into it");
    }
}

/// Opens the database of a data directory, whose file was [made](super::place::make_database); makes and migrates its
/// tables as needed.
///
/// With `sync`, a commit is on the disk when it returns; without, it survives the process and not the machine.
pub(super) fn connect(data_dir: &Path, sync: bool) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database(data_dir), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Before anything is written to it: it may be the database of another program.
    schema_version(data_dir, &connection)?;
    // Says something to a new database only.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "OFF" })?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = schema_version(data_dir, &transaction)?;
    if version < MIGRATIONS.len() {
        for migration in MIGRATIONS.iter().skip(version) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(
            None,
            "user_version",
            u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX),
        )?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Reads the version of the schema; 0 where there are no tables yet.
///
/// # Errors
/// [`StoreError::Newer`] if it is newer than any that this program knows, [`StoreError::Foreign`] if the tables are those
/// of another program.
pub(super) fn schema_version(data_dir: &Path, connection: &Connection) -> Result<usize, StoreError> {
    let path = || database(data_dir).display().to_string();
    // Another program may have written a negative one.
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let (tables, is_own) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE name = 'keys_version') FROM sqlite_schema WHERE type = 'table'",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? > 0)),
    )?;
    let known = MIGRATIONS.len();
    match usize::try_from(found) {
        Ok(0) if tables == 0 => Ok(0),
        // Each version has this table.
        Ok(version @ 1..) if is_own && version <= known => Ok(version),
        Ok(version @ 1..) if is_own => Err(StoreError::Newer { path: path(), found: version, known }),
        _ => Err(StoreError::Foreign(path())),
    }
}

/// Has this task yet to end?
pub(super) fn is_unfinished(connection: &Connection, id: &TaskId) -> Result<bool, StoreError> {
    exists(connection, "SELECT 1 FROM tasks WHERE id = ?1 AND ended_ms IS NULL", id)
}

/// May the stream of this task be asked for?
pub(super) fn has_stream(connection: &Connection, id: &TaskId) -> Result<bool, StoreError> {
    exists(connection, "SELECT 1 FROM tasks WHERE id = ?1 AND (ended_ms IS NULL OR chunks IS NOT NULL)", id)
}

/// The ranges of the segments that tasks need which have yet to end.
pub(super) fn unfinished_ranges(connection: &Connection) -> Result<Vec<Range>, StoreError> {
    let mut statement =
        connection.prepare("SELECT range FROM tasks WHERE ended_ms IS NULL AND range IS NOT NULL")?;
    let ranges = statement.query_map([], |row| row.get(0))?;
    Ok(ranges.collect::<Result<_, _>>()?)
}

fn exists(connection: &Connection, sql: &str, id: &TaskId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached(sql)?.exists([id.as_str()])?)
}
