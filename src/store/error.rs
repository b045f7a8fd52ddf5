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
    pub(super) fn at(self, data_dir: &Path) -> Self {
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
    pub(super) fn corrupt(data_dir: &Path, what: &str) -> Self {
        let path = sqlite::database(data_dir);
        let path = path.display();
        Self::Corrupt(format!(
            "{path} is damaged ({what}); stop the server and restore the file from a backup, or save what can be read \
             with `sqlite3 {path} .recover | sqlite3 saved.sqlite` and put saved.sqlite in its place, without the files \
             that end in -wal and -shm"
        ))
    }

    /// Would anything else that is asked of the store fail, too?
    pub(super) fn is_of_the_whole_store(&self) -> bool {
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
