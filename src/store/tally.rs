//! The number of commits, written down twice: in the database by each commit, and in a file of its own after it.
//!
//! SQLite takes a write-ahead log up to the first frame that is not as it was written, and forgets the rest without a
//! word. It also takes an older copy of the database, or none. The file never knows of a commit before it stands, so a
//! database that has fewer commits than the file has lost some.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::StoreError;
use super::sqlite::{database, file_error};

/// The file that counts the commits.
#[derive(Debug)]
pub(super) struct Tally {
    file: File,
    path: PathBuf,
    /// The number of the last commit.
    last: i64,
    /// Has the operator been told that the file cannot be written?
    is_told: bool,
}

impl Tally {
    /// Opens the file, and tells the operator of commits that the database has lost.
    pub(super) fn open(data_dir: &Path, connection: &Connection) -> Result<Self, StoreError> {
        let path = data_dir.join("hearken.commits");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(file_error(&path))?;
        let mut tally = Self { file, path, last: 0, is_told: false };
        let there: i64 = connection.query_row("SELECT count FROM commits", [], |row| row.get(0))?;
        let lost = tally.read()?.map_or(0, |known| known.saturating_sub(there));
        if lost > 0 {
            tracing::error!(
                lost,
                "{} lacks commits that stood when the server ran last: its write-ahead log was damaged or removed, or an \
                 older copy of the database was put there. Tasks of that time are unknown, or run again. If there is a \
                 newer copy, stop the server, put it back with its -wal file and start the server again",
                database(data_dir).display()
            );
        }
        tally.write(there);
        Ok(tally)
    }

    /// The number in the file; `None` where the file is new or is no tally.
    fn read(&self) -> Result<Option<i64>, StoreError> {
        let mut line = [0; LINE];
        let count = self.file.read_at(&mut line, 0).map_err(file_error(&self.path))?;
        let number = std::str::from_utf8(&line).ok().and_then(|text| text.split(' ').next()?.parse().ok());
        match number.filter(|number| encode(*number) == line) {
            Some(number) => Ok(Some(number)),
            None => {
                if count > 0 {
                    tracing::warn!(path = %self.path.display(), "the number of commits is damaged and begins anew");
                }
                Ok(None)
            }
        }
    }

    /// Returns the number of the last commit.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Writes the number of the last commit. It always takes the same place on the disk, also on one that is full.
    pub(super) fn write(&mut self, commits: i64) {
        self.last = commits;
        match self.file.write_all_at(&encode(commits), 0) {
            Ok(()) => self.is_told = false,
            Err(err) if !self.is_told => {
                self.is_told = true;
                tracing::error!(%err, path = %self.path.display(), "the number of commits cannot be written");
            }
            Err(_) => {}
        }
    }
}

/// A number, its checksum, and the line's end.
const LINE: usize = 20 + 1 + 8 + 1;

fn encode(commits: i64) -> [u8; LINE] {
    let number = format!("{commits:020}");
    let line = format!("{number} {:08x}\n", crc32fast::hash(number.as_bytes()));
    line.into_bytes().try_into().unwrap_or([b' '; LINE])
}

/// Counts a commit within its transaction. Returns its number.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("UPDATE commits SET count = count + 1 RETURNING count")?
        .query_row([], |row| row.get(0))
}
