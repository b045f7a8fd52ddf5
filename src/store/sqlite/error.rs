//! The meaning of SQLite's errors for the callers of a store, and what the operator can do about them.

use std::error::Error;
use std::path::Path;

use rusqlite::ErrorCode as Cause;

use super::database;
use crate::store::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(err: rusqlite::Error) -> Self {
        match err.sqlite_error_code() {
            Some(Cause::DiskFull) => Self::Full(err.to_string()),
            Some(Cause::DatabaseCorrupt | Cause::NotADatabase) => Self::Corrupt(err.to_string()),
            // A correct statement becomes wrong if a table is missing.
            Some(Cause::Unknown) => Self::Corrupt(err.to_string()),
            Some(Cause::SystemIoFailure) if is_of_reading(&err) => {
                Self::Corrupt(format!("it cannot be read: {err}"))
            }
            _ => Self::Backend(err.into()),
        }
    }
}

/// Returns true if a page could be read only in part, or not at all.
fn is_of_reading(err: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ};
    err.sqlite_error().is_some_and(|err| {
        [SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_CORRUPTFS].contains(&err.extended_code)
    })
}

/// Returns true if the disk or the directory fails. Another transaction may succeed.
pub(in crate::store) fn is_of_disk(err: &(dyn Error + 'static)) -> bool {
    let code = err.downcast_ref().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(Cause::SystemIoFailure | Cause::CannotOpen))
}

/// Adds the path and what to do to an error of the database of this directory.
pub(in crate::store) fn error_in(data_dir: &Path) -> impl Fn(StoreError) -> StoreError {
    move |err| match err {
        StoreError::Corrupt(what) => corrupt(data_dir, &what),
        StoreError::Full(what) => StoreError::Full(format!(
            "{what}; make room on the disk of {} and start the server again",
            data_dir.display()
        )),
        StoreError::Backend(err) => StoreError::Unavailable(format!(
            "{}: {err}; check that the disk works and that this user may write to it, then try again",
            database(data_dir).display()
        )),
        err => err,
    }
}

/// Makes the error for damage in the database of this directory, with what to do.
pub(in crate::store) fn corrupt(data_dir: &Path, what: &str) -> StoreError {
    let path = database(data_dir);
    let path = path.display();
    StoreError::Corrupt(format!(
        "{path} is damaged ({what}); stop the server and restore the file from a backup, or save what can be read \
         with `sqlite3 {path} .recover | sqlite3 saved.sqlite` and put saved.sqlite in its place, without the files \
         that end in -wal and -shm"
    ))
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn error(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn a_page_that_cannot_be_read_counts_as_damage() {
        for code in [
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_IOERR_SHORT_READ,
            ffi::SQLITE_ERROR,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
        ] {
            let StoreError::Corrupt(said) = error_in(Path::new("/data"))(error(code).into()) else {
                panic!("{code}")
            };
            assert!(
                said.starts_with("/data/hearken.sqlite is damaged (") && said.contains("backup"),
                "{said}"
            );
        }
    }

    #[test]
    fn errors_of_a_full_disk_and_of_a_failing_disk_are_distinguished() {
        assert!(matches!(error(ffi::SQLITE_FULL).into(), StoreError::Full(_)));
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CANTOPEN] {
            assert!(is_of_disk(&error(code)), "{code}");
        }
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_NOMEM, ffi::SQLITE_FULL] {
            assert!(!is_of_disk(&error(code)), "{code}");
        }
        assert!(matches!(rusqlite::Error::QueryReturnedNoRows.into(), StoreError::Backend(_)));
    }
}
