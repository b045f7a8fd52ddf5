//! What a store says that cannot do what it was asked, and what its callers are told then.

use std::path::Path;
use std::time::Duration;

use super::sqlite;
use crate::error::{ErrorCode, Failure};

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
    /// A newer version of the program has written the database.
    #[error(
        "{path} was written by a newer hearken: the version of its tables is {found}, and hearken {} knows those up to \
         {known}; install the newer hearken again, or restore the data directory from a backup that is older than it, or \
         choose another data directory", env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The database.
        path: String,
        /// The version of its tables.
        found: usize,
        /// The newest version that this program knows.
        known: usize,
    },
    /// The database is that of another program.
    #[error(
        "{0} is the database of another program; choose another data directory, or move the file to another place"
    )]
    Foreign(String),
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
        use rusqlite::ErrorCode as Cause;
        match err.sqlite_error_code() {
            Some(Cause::DiskFull) => Self::Full(err.to_string()),
            Some(Cause::DatabaseCorrupt | Cause::NotADatabase) => Self::Corrupt(err.to_string()),
            // A statement that was right is wrong where a table is missing.
            Some(Cause::Unknown) => Self::Corrupt(err.to_string()),
            Some(Cause::SystemIoFailure) if is_of_reading(&err) => {
                Self::Corrupt(format!("it cannot be read: {err}"))
            }
            _ => Self::Database(err),
        }
    }
}

impl StoreError {
    /// Names the place and the way out where the database of this directory is damaged or cannot be opened on a full
    /// disk.
    pub(super) fn at(self, data_dir: &Path) -> Self {
        match self {
            Self::Corrupt(what) => Self::corrupt(data_dir, &what),
            Self::Full(what) => Self::Full(format!(
                "{what}; make room on the disk of {} and start the server again",
                data_dir.display()
            )),
            Self::Database(err) => Self::Unavailable(format!(
                "{}: {err}; see that the disk works and that this user may write to it, then try again",
                sqlite::database(data_dir).display()
            )),
            err => err,
        }
    }

    /// Tells the operator of it.
    pub(crate) fn log(&self) {
        match self {
            // The store's health tells the operator of these once, and not for each request.
            Self::Full(_) | Self::Unavailable(_) => tracing::debug!(err = %self, "the store failed"),
            _ => tracing::error!(err = %self, "the store failed"),
        }
    }

    /// Damage in the database of this directory, and the way out.
    pub(super) fn corrupt(data_dir: &Path, what: &str) -> Self {
        let path = sqlite::database(data_dir);
        let path = path.display();
        Self::Corrupt(format!(
            "{path} is damaged ({what}); stop the server and restore the file from a backup, or save what can be read \
             with `sqlite3 {path} .recover | sqlite3 saved.sqlite` and put saved.sqlite in its place, without the files \
             that end in -wal and -shm"
        ))
    }
}

/// Returns true if a page could not be read, or only a part of it.
fn is_of_reading(err: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ};
    err.sqlite_error().is_some_and(|err| {
        [SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_CORRUPTFS].contains(&err.extended_code)
    })
}

impl From<StoreError> for Failure {
    fn from(err: StoreError) -> Self {
        match err {
            StoreError::Full(_) => Self::new(
                ErrorCode::StorageFull,
                "The service has no room for more audio; try again when other tasks have ended",
            )
            .with_retry_after(FULL_RETRY),
            StoreError::Damaged(_) => Self::new(
                ErrorCode::StorageUnavailable,
                "What the service has stored for this request is damaged on its disk; report the request id to the \
                 operator",
            )
            .with_retryable(false),
            StoreError::Database(_)
            | StoreError::Directory { .. }
            | StoreError::Taken(_)
            | StoreError::Corrupt(_)
            | StoreError::Unavailable(_)
            | StoreError::Newer { .. }
            | StoreError::Foreign(_)
            | StoreError::Commit(_)
            | StoreError::Stopped => Self::new(
                ErrorCode::StorageUnavailable,
                "The service cannot use its disk at the moment; try again later",
            )
            .with_retry_after(UNAVAILABLE_RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn no_error_of_the_store_is_an_internal_error() {
        let sqlite = |code| StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        let io = std::io::Error::other("broken");
        let errors = [
            sqlite(ffi::SQLITE_BUSY),
            sqlite(ffi::SQLITE_NOMEM),
            sqlite(ffi::SQLITE_ERROR),
            sqlite(ffi::SQLITE_CORRUPT),
            sqlite(ffi::SQLITE_NOTADB),
            sqlite(ffi::SQLITE_IOERR_SHORT_READ),
            sqlite(ffi::SQLITE_IOERR_WRITE),
            rusqlite::Error::QueryReturnedNoRows.into(),
            StoreError::Directory { path: "d".into(), source: io },
            StoreError::Damaged("t".into()),
            StoreError::Commit("c".into()),
            StoreError::Stopped,
        ];
        for err in errors {
            let said = err.to_string();
            let failure = Failure::from(err);
            assert_eq!(failure.code, ErrorCode::StorageUnavailable, "{said}");
            assert!(failure.message.contains("; "), "it says what to do: {}", failure.message);
        }
        assert_eq!(Failure::from(sqlite(ffi::SQLITE_FULL)).code, ErrorCode::StorageFull);
    }

    #[test]
    fn a_page_that_cannot_be_read_is_damage() {
        for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_ERROR] {
            let err = StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            let StoreError::Corrupt(said) = err.at(Path::new("/data")) else { panic!("{code}") };
            assert!(
                said.starts_with("/data/hearken.sqlite is damaged (") && said.contains("backup"),
                "{said}"
            );
        }
    }
}
