//! The number of commits, written down twice: in the database by each commit, and in a file of its own after it.
//!
//! SQLite takes a write-ahead log up to the first frame that is not as it was written, and forgets the rest without a
//! word. It also takes an older copy of the database, or none. The file never knows of a commit before it stands, so a
//! database that has fewer commits than the file has lost some.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::StoreError;
use super::sqlite::{database, file_error};

/// Commits that stood, and that the database does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostCommits {
    count: i64,
    database: PathBuf,
}

impl fmt::Display for LostCommits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lacks commits that stood when the server ran last ({}): its write-ahead log was damaged or removed, or an \
             older copy of the database was put there; if there is a newer copy, put it back with its -wal file while no \
             server runs. A server that is started without it goes on with what is left: tasks of that time are unknown, \
             or run again; audio and chunks that it does not know stay until it is started once more",
            self.database.display(),
            self.count
        )
    }
}

/// Returns the commits that the database has lost, if any. Another process may commit meanwhile.
pub(super) fn lost(data_dir: &Path, connection: &Connection) -> Result<Option<LostCommits>, StoreError> {
    // Before the database is asked: the file never knows more than that.
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
pub(super) struct Tally {
    file: File,
    path: PathBuf,
    /// The number of the last commit.
    last: i64,
    /// True while the operator has been told that the file cannot be written.
    is_told: bool,
}

impl Tally {
    /// Opens the file. Returns the commits that the database has lost, if any; the operator is told of them.
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
        let mut tally = Self { file, path, last: 0, is_told: false };
        let there = there(connection)?;
        let content = read(&tally.file).map_err(file_error(&tally.path))?;
        if matches!(content, Content::Damaged) {
            tracing::warn!(path = %tally.path.display(), "the number of commits is damaged and begins anew");
        }
        let lost = content.number().and_then(|known| LostCommits::between(data_dir, known, there));
        if let Some(lost) = &lost {
            tracing::error!("{lost}");
        }
        tally.advance(there);
        tally.write();
        Ok((tally, lost))
    }

    /// Returns the number of the last commit.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Takes note of the number of the last commit.
    pub(super) fn advance(&mut self, commits: i64) {
        self.last = commits;
    }

    /// Writes the number of the last commit, once that is known to be in the database. It always takes the same place on
    /// the disk, also on one that is full.
    pub(super) fn write(&mut self) {
        match self.file.write_all_at(&encode(self.last), 0) {
            Ok(()) => self.is_told = false,
            Err(err) if !self.is_told => {
                self.is_told = true;
                tracing::error!(%err, path = %self.path.display(), "the number of commits cannot be written");
            }
            Err(_) => {}
        }
    }
}

/// What the file holds.
enum Content {
    /// Nothing: the file is new.
    Nothing,
    /// The number of the last commit.
    Number(i64),
    /// Something else.
    Damaged,
}

impl Content {
    fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

fn read(file: &File) -> io::Result<Content> {
    let mut line = [0; LINE];
    let count = file.read_at(&mut line, 0)?;
    let number = std::str::from_utf8(&line).ok().and_then(|text| text.split(' ').next()?.parse().ok());
    Ok(match number.filter(|number| encode(*number) == line) {
        Some(number) => Content::Number(number),
        None if count == 0 => Content::Nothing,
        None => Content::Damaged,
    })
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
