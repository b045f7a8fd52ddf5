//! The checks before anything is written to a database: its owner, its write-ahead log, and all of its pages.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;
use super::commit_counter::{self, LostCommits};
use super::schema;
use super::sqlite::{INDEX, LOG, beside, database, file_error};
use super::write_ahead_log::{LogState, WriteAheadLog};

/// The characters that are not escaped in the path of a URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// The longest time that the check takes: a start must not wait for a database of many gigabytes. Damage in pages that
/// were not checked by then is found when they are read.
const MOST: Duration = Duration::from_secs(10);
/// The size from which the check of a database is logged, since it may take a while.
const LARGE: u64 = 1 << 30;

/// A database that a start can use.
#[derive(Debug)]
pub(super) struct Examined {
    /// A connection that only reads.
    pub(super) connection: Connection,
    /// True if the tables are of the newest version.
    pub(super) is_current: bool,
    /// The commits that the database has lost, if any.
    pub(super) lost: Option<LostCommits>,
    /// The open index. A process that closes it loses SQLite's locks on it, so this field comes after the connection.
    _index: Option<Arc<File>>,
}

/// Examines the database of a data directory and writes nothing to it. A server may run on it at the same time.
///
/// # Errors
/// The reason why the database cannot be used.
pub(super) fn examine(data_dir: &Path) -> Result<Examined, StoreError> {
    let is_alone = || beside(data_dir, LOG).metadata().map_or(0, |about| about.len()) == 0;
    let was_alone = is_alone();
    match read(data_dir, was_alone) {
        // A server has begun a log in between, and may have changed the file during the read.
        Err(_) if was_alone && !is_alone() => read(data_dir, false),
        read => read,
    }
}

fn read(data_dir: &Path, is_alone: bool) -> Result<Examined, StoreError> {
    let path = database(data_dir);
    // Without a log, everything is in the database itself. SQLite makes a log even for reading, unless the URI promises
    // that the file does not change.
    let immutable = if is_alone { "?immutable=1" } else { "" };
    let uri = format!("file:{}{immutable}", percent_encode(path.as_os_str().as_encoded_bytes(), PATH));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    // The first connection rebuilds the index from the readable part of the log.
    let version = schema::version(data_dir, &connection);
    let is_current = matches!(version, Ok(schema::VERSION));
    let index = if is_alone { None } else { File::open(beside(data_dir, INDEX)).ok().map(Arc::new) };
    let examined = Examined { connection, is_current, lost: None, _index: index.clone() };
    if let Some(index) = index {
        let mut log = WriteAheadLog::open(data_dir, index)?;
        if log.check().map_err(file_error(log.path()))? == LogState::Damaged {
            // A server runs, and its index describes a log that is not there. So the data that was read may be wrong.
            return Err(log.damage().into());
        }
    }
    version?;
    check(data_dir, &examined.connection)?;
    let lost = if is_current { commit_counter::lost(data_dir, &examined.connection)? } else { None };
    Ok(Examined { lost, ..examined })
}

/// Checks that every page of the database is in its place and can be read.
///
/// # Errors
/// [`StoreError::Corrupt`] if a page is not.
fn check(data_dir: &Path, connection: &Connection) -> Result<(), StoreError> {
    let path = database(data_dir);
    let bytes = path.metadata().map_err(file_error(&path))?.len();
    if bytes >= LARGE {
        tracing::info!(megabytes = bytes >> 20, most_seconds = MOST.as_secs(), "checking the database");
    }
    let began = Instant::now();
    match bounded(data_dir, connection)? {
        Err(err) if err.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::warn!(
                megabytes = bytes >> 20,
                seconds = MOST.as_secs(),
                "the database is too large to be checked entirely at the start"
            );
            Ok(())
        }
        Err(err) => Err(err.into()),
        Ok(said) if said == "ok" => {
            tracing::debug!(
                ms = began.elapsed().as_millis() as u64,
                "the check found no damage in the database"
            );
            Ok(())
        }
        Ok(said) => Err(StoreError::Corrupt(finding(&said).to_owned())),
    }
}

/// Returns the first finding of SQLite. A heading that only names the database comes before it.
fn finding(said: &str) -> &str {
    said.lines().find(|line| !line.starts_with("***")).unwrap_or("its pages are not in order")
}

/// Runs the check, and interrupts it when its time is over.
fn bounded(data_dir: &Path, connection: &Connection) -> Result<rusqlite::Result<String>, StoreError> {
    let interrupt = connection.get_interrupt_handle();
    let (done, ended) = channel::<()>();
    let timer = std::thread::Builder::new()
        .name("store-check".to_owned())
        .spawn(move || {
            if ended.recv_timeout(MOST) == Err(RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        })
        .map_err(file_error(data_dir))?;
    let said = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    drop(done);
    // The timer must end before the connection is used again: a late interrupt would stop something else.
    let _ = timer.join();
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finding_of_a_check_is_not_its_heading() {
        assert_eq!(
            finding("*** in database main ***\nTree 3 page 3: free space corruption"),
            "Tree 3 page 3: free space corruption"
        );
        assert_eq!(finding("row 1 missing from index a"), "row 1 missing from index a");
        assert_eq!(finding("*** in database main ***"), "its pages are not in order");
    }
}
