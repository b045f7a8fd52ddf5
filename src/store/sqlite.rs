//! The database and its directory: connection, lock, errors, and how values stand in it.

mod error;

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::spool::Recorded;
use super::{StoreError, schema};
use crate::audio::BlobId;
use crate::task::{Status, TaskId, Timestamp};

pub(super) use error::{corrupt, error_in, is_of_disk};

/// How long to wait for another process, which is `hearken keys`, to finish its own write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A write-ahead log that has grown beyond this many bytes is cut to them when its content is in the database.
const WAL_BYTES: i64 = 16 << 20;

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

/// The id of a blob is its row's.
impl ToSql for BlobId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0).unwrap_or(i64::MAX)))
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
    schema::version(data_dir, &connection)?;
    // Says something to a new database only.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    // What is deleted is overwritten where its page is written anyway. To overwrite each free page as well would make the
    // ends of tasks, which give room back, need room themselves.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "OFF" })?;
    schema::migrate(data_dir, &mut connection)?;
    Ok(connection)
}

/// Most blobs that a start deletes because no task refers to them: the next start deletes others.
const MOST_UNNAMED: u32 = 1000;

/// Deletes the rows of blobs to which no task refers. An end whose record of its audio was damaged leaves them, for example.
/// Where an unfinished task has such a record, nothing is deleted: it may refer to any of them.
pub(super) fn delete_unnamed_blobs(connection: &Connection) {
    let deleted = connection.execute(
        "DELETE FROM blobs WHERE id IN (
             SELECT id FROM blobs EXCEPT
             SELECT json_extract(piece.value, '$.blob.id')
             FROM tasks INDEXED BY tasks_unfinished, json_each(tasks.audio) AS piece WHERE tasks.ended_ms IS NULL
             LIMIT ?1)",
        [MOST_UNNAMED],
    );
    match deleted {
        Ok(0) => {}
        Ok(count) => tracing::warn!(count, "audio was removed to which no task refers"),
        Err(err) => tracing::warn!(%err, "audio to which no task refers stays: it cannot be looked for"),
    }
}

/// Returns what the rows of all blobs say.
pub(super) fn recorded_blobs(connection: &Connection) -> Result<Recorded, StoreError> {
    Ok(connection.query_row(
        "SELECT coalesce(sum(bytes), 0), coalesce(max(id), 0) FROM blobs",
        [],
        |row| Ok(Recorded { bytes: row.get(0)?, last: row.get(1)? }),
    )?)
}

/// Returns true if this blob has a row, and its bytes are in a file.
pub(super) fn has_file(connection: &Connection, id: BlobId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM blobs WHERE id = ?1 AND data IS NULL")?.exists([id])?)
}

/// May the stream of this task be asked for?
pub(super) fn has_stream(connection: &Connection, id: &TaskId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM tasks WHERE id = ?1 AND (ended_ms IS NULL OR chunks IS NOT NULL)";
    Ok(connection.prepare_cached(sql)?.exists([id.as_str()])?)
}
