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

/// The longest wait until another process, which is `hearken keys`, has finished its write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The length to which a longer write-ahead log is cut when its content is in the database.
const WAL_BYTES: i64 = 16 << 20;

/// Makes the error for a file or directory that cannot be used.
pub(super) fn file_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full(format!("{path}: {source}")),
        _ => StoreError::Directory { path: path.clone(), source },
    }
}

/// Makes the data directory, if there is none. Only its owner may use it.
pub(super) fn make_directory(data_dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(file_error(data_dir))
}

/// Returns the path of the database of a data directory.
pub(super) fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("hearken.sqlite")
}

/// The endings of the names of the write-ahead log and of its index.
pub(super) const LOG: &str = "-wal";
pub(super) const INDEX: &str = "-shm";

/// Returns the path of a file that SQLite keeps beside the database.
pub(super) fn beside(data_dir: &Path, end: &str) -> PathBuf {
    let mut path = database(data_dir).into_os_string();
    path.push(end);
    path.into()
}

/// Keeps the database's file as it is when this connection closes. Otherwise the last connection that closes would copy
/// the write-ahead log into it, even a log whose frames were overwritten with zeros.
pub(super) fn leave_as_is(connection: &Connection) {
    if let Err(err) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::warn!(%err, "the write-ahead log of a damaged database may be copied into it");
    }
}

/// Opens the database of a data directory, whose file was [made](super::claim::make_database) before. Makes the tables
/// of a new database and migrates older ones.
///
/// With `sync`, a commit is on the disk when it returns. Without `sync`, the commit survives the process, but not a
/// failure of the machine.
pub(super) fn connect(data_dir: &Path, sync: bool) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database(data_dir), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // This check comes before anything is written to the file: it may be the database of another program.
    schema::version(data_dir, &connection)?;
    // This setting affects only a new database.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    // Deleted data is overwritten only in pages that are written anyway. Overwriting each free page as well would need
    // room, and the ends of tasks, which give room back, must not need more room.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "OFF" })?;
    schema::migrate(data_dir, &mut connection)?;
    Ok(connection)
}
