//! The check of the whole database at the start.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::StoreError;
use super::sqlite::{database, file_error};

/// The check takes this long at most: a start must not wait for a database of many gigabytes. What was not checked by
/// then is found to be damaged when it is read.
const MOST: Duration = Duration::from_secs(10);
/// The operator is told of the check of a database of at least this many bytes, since it may take a while.
const LARGE: u64 = 1 << 30;

/// Checks that every page of the database is in its place and can be read.
///
/// # Errors
/// [`StoreError::Corrupt`] where one is not.
pub(super) fn check(data_dir: &Path, connection: &Connection) -> Result<(), StoreError> {
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
            tracing::debug!(ms = began.elapsed().as_millis() as u64, "the database is whole");
            Ok(())
        }
        Ok(said) => Err(StoreError::Corrupt(finding(&said).to_owned())),
    }
}

/// The first thing that SQLite has found. A heading that names no more than the database stands before it.
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
    // Before the connection is used again: an interrupt that comes late would meet something else.
    let _ = timer.join();
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finding_of_a_check_says_more_than_its_heading() {
        assert_eq!(
            finding("*** in database main ***\nTree 3 page 3: free space corruption"),
            "Tree 3 page 3: free space corruption"
        );
        assert_eq!(finding("row 1 missing from index a"), "row 1 missing from index a");
        assert_eq!(finding("*** in database main ***"), "its pages are not in order");
    }
}
