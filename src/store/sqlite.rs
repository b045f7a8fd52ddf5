//! The database of a data directory: its files, and a connection to it.

mod error;
mod leftovers;
mod values;

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{StoreError, schema};

pub(super) use error::{corrupt, error_in, is_of_disk};
pub(super) use leftovers::{delete_unnamed_blobs, has_file, has_stream, recorded_blobs};
pub(super) use values::{StoredState, json};

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

/// Opens the database of a data directory, whose file was [made](super::claim::make_database); makes and migrates its
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
