//! The number of commits. Each commit writes it to the database, and after the commit it is written to a separate file.
//!
//! SQLite reads a write-ahead log up to the first damaged frame, and drops the rest without an error. It also accepts
//! an older copy of the database, or an empty one. The file never counts a commit before it is durable, so a database
//! with fewer commits than the file has lost some.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::StoreError;
use super::sqlite::{database, file_error};

/// Commits that were durable and that the database does not have any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostCommits {
    count: i64,
    database: PathBuf,
}

impl fmt::Display for LostCommits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lacks commits that it had when the server last ran ({}): its write-ahead log was damaged or removed, \
             or an older copy of the database was put there; if there is a newer copy, put it back with its -wal file \
             while no server runs. A server that is started without it goes on with what is left: tasks of that time \
             are unknown or run again; audio and chunks without a task stay until one more restart",
            self.database.display(),
            self.count
        )
    }
}

/// Returns the commits that the database has lost, if any. Another process may commit at the same time.
pub(super) fn lost(data_dir: &Path, connection: &Connection) -> Result<Option<LostCommits>, StoreError> {
    // The file is read before the database, so that it cannot count more commits than the database.
    let known = File::open(path(data_dir)).and_then(|file| read(&file)).ok().and_then(|read| read.number());
    let there = there(connection)?;
    Ok(known.and_then(|known| LostCommits::between(data_dir, known, there)))
}

impl LostCommits {
    fn between(data_dir: &Path, known: i64, there: i64) -> Option<Self> {
        let count = known.saturating_sub(there);
        (count > 0).then(|| Self { count, database: database(data_dir) })
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("hearken.commits")
}

fn there(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count FROM commits", [], |row| row.get(0))
}

/// The file that counts the commits.
#[derive(Debug)]
pub(super) struct CommitCounter {
    file: File,
    path: PathBuf,
    /// The number of the last commit.
    last: i64,
    /// True if a failure to write the file was logged already.
    is_logged: bool,
}

impl CommitCounter {
    /// Opens the file. Returns the commits that the database has lost, if any, and logs them.
    pub(super) fn open(
        data_dir: &Path,
        connection: &Connection,
    ) -> Result<(Self, Option<LostCommits>), StoreError> {
        let path = path(data_dir);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(file_error(&path))?;
        let mut commit_counter = Self { file, path, last: 0, is_logged: false };
        let there = there(connection)?;
        let content = read(&commit_counter.file).map_err(file_error(&commit_counter.path))?;
        if matches!(content, CounterFile::Damaged) {
            tracing::warn!(path = %commit_counter.path.display(), "the number of commits is damaged; its file is written anew");
        }
        let lost = content.number().and_then(|known| LostCommits::between(data_dir, known, there));
        if let Some(lost) = &lost {
            tracing::error!("{lost}");
        }
        commit_counter.advance(there);
        commit_counter.write();
        Ok((commit_counter, lost))
    }

    /// Returns the number of the last commit.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Records the number of the last commit.
    pub(super) fn advance(&mut self, commits: i64) {
        self.last = commits;
    }

    /// Writes the number of the last commit to the file, once that commit is known to be in the database. The number
    /// always takes the same place on the disk, so this works even if the disk is full.
    pub(super) fn write(&mut self) {
        match self.file.write_all_at(&encode(self.last), 0) {
            Ok(()) => self.is_logged = false,
            Err(err) if !self.is_logged => {
                self.is_logged = true;
                tracing::error!(%err, path = %self.path.display(), "the number of commits cannot be written");
            }
            Err(_) => {}
        }
    }
}

/// The content of the file.
enum CounterFile {
    /// The file is new and empty.
    Nothing,
    /// The number of the last commit.
    Number(i64),
    /// The file holds something else.
    Damaged,
}

impl CounterFile {
    fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

fn read(file: &File) -> io::Result<CounterFile> {
    let mut line = [0; LINE];
    let count = file.read_at(&mut line, 0)?;
    let number = std::str::from_utf8(&line).ok().and_then(|text| text.split(' ').next()?.parse().ok());
    Ok(match number.filter(|number| encode(*number) == line) {
        Some(number) => CounterFile::Number(number),
        None if count == 0 => CounterFile::Nothing,
        None => CounterFile::Damaged,
    })
}

/// The length of the file's line: a number, its checksum, and the line's end.
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
