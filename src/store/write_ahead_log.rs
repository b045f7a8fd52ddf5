//! The check that the write-ahead log on the disk still holds all commits.
//!
//! SQLite reads a log that it has written by means of its own index in shared memory. It does not notice that the log
//! was cut short or overwritten in place: commits go on to succeed, and the next start finds none of them. So the
//! writer checks the log before each transaction, and again before it reports the transaction as committed.
//!
//! The index and the log have documented formats (<https://www.sqlite.org/walformat.html> and
//! <https://www.sqlite.org/fileformat2.html#walformat>). The check compares them: the index holds the log's number of
//! frames, its salts and its checksum so far. This costs a few reads of the page cache.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::StoreError;
use super::health::Trouble;
use super::sqlite::{LOG, beside, file_error};

/// Bytes of the log's header.
const HEADER: u64 = 32;
/// Bytes of the header of each frame. A page of the database follows it.
const FRAME_HEADER: u64 = 24;
/// The first bytes of the log. The last bit tells the byte order of its checksums.
const MAGIC: u32 = 0x377f_0682;
/// Bytes of one copy of the index's header, of which there are two.
const INDEX_HEADER: usize = 48;
/// The first bytes of the index's header.
const INDEX_VERSION: u32 = 3_007_000;
/// How often the check is repeated while another process changes the log, with a [`PAUSE`] in between.
const CHECKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// The log of a database that is in use.
#[derive(Debug)]
pub(super) struct WriteAheadLog {
    index: Arc<File>,
    file: File,
    path: PathBuf,
    /// The end of the log at the last check.
    last: Option<LogEnd>,
}

/// The end of the log, according to its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogEnd {
    /// The number of frames; 0 if everything is in the database's file.
    frames: u32,
    page_bytes: u64,
    /// The pages of the database; 0 if the index does not know them.
    pages: u64,
    /// The salts in the header and in each frame. They change when the log begins anew.
    salts: [u8; 8],
    /// The checksum in the last frame.
    sum: [u8; 8],
}

/// The result of a check of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LogState {
    /// The log is undamaged. The database has this many bytes, or 0 if that is not known.
    Whole(u64),
    /// A part of the log is missing or was overwritten.
    Damaged,
    /// The index cannot be read. The next transaction writes it again.
    NoIndex,
}

impl WriteAheadLog {
    /// Opens the log of a database that has an open connection. `index` is the index of the log; it must not be closed
    /// before all connections of this process are.
    pub(super) fn open(data_dir: &Path, index: Arc<File>) -> Result<Self, StoreError> {
        let path = beside(data_dir, LOG);
        let file = File::open(&path).map_err(file_error(&path))?;
        Ok(Self { index, file, path, last: None })
    }

    /// Returns the log's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the trouble of a [damaged](LogState::Damaged) log, with what to do.
    pub(super) fn damage(&self) -> Trouble {
        Trouble::Damaged(format!(
            "{} was cut short or overwritten while the server runs, and commits are missing; stop the server, \
             restore the data directory from a backup and start the server again, or start it again with what is left: \
             it then says how many commits are lost",
            self.path.display()
        ))
    }

    /// Compares the log with its index and with the result of the last check. Another process may commit at the same
    /// time.
    pub(super) fn check(&mut self) -> io::Result<LogState> {
        let mut found = LogState::NoIndex;
        for _ in 0..CHECKS {
            let Some(end) = self.end()? else {
                std::thread::sleep(PAUSE);
                continue;
            };
            if self.holds(&end)? {
                self.last = Some(end);
                return Ok(LogState::Whole(end.pages * end.page_bytes));
            }
            // The index changes before the log does. If the index is still the same, it describes this log.
            if self.end()? == Some(end) {
                return Ok(LogState::Damaged);
            }
            found = LogState::Damaged;
        }
        Ok(found)
    }

    /// Reads the index. Returns `None` if it is being written, or is no index.
    fn end(&self) -> io::Result<Option<LogEnd>> {
        let mut copies = [0; 2 * INDEX_HEADER];
        let read = self.index.read_exact_at(&mut copies, 0);
        if read.as_ref().is_err_and(|err| err.kind() == ErrorKind::UnexpectedEof) {
            return Ok(None);
        }
        read?;
        let (one, other) = copies.split_at(INDEX_HEADER);
        Ok(if one == other { LogEnd::parse(one) } else { None })
    }

    /// Returns true if the log has all frames up to this end.
    fn holds(&self, end: &LogEnd) -> io::Result<bool> {
        if end.frames > 0 {
            let mut header = [0; HEADER as usize];
            let is_there = read(&self.file, &mut header, 0)? && end.is_of(&header) && self.has_frame(end)?;
            if !is_there || self.file.metadata()?.len() < end.frame_at() + FRAME_HEADER + end.page_bytes {
                return Ok(false);
            }
        }
        match &self.last {
            // Frames of the last check stay there until the log begins anew.
            Some(last) if last.salts == end.salts && last.frames > 0 && last != end => {
                Ok(last.frames <= end.frames && self.has_frame(last)?)
            }
            _ => Ok(true),
        }
    }

    /// Returns true if the header of the last frame up to this end is there.
    fn has_frame(&self, end: &LogEnd) -> io::Result<bool> {
        let mut header = [0; FRAME_HEADER as usize];
        Ok(read(&self.file, &mut header, end.frame_at())?
            && field(&header, 8) == Some(end.salts)
            && field(&header, 16) == Some(end.sum))
    }
}

impl LogEnd {
    /// Reads the index's header. Its numbers have the byte order of this machine.
    fn parse(header: &[u8]) -> Option<Self> {
        let number = |at| field(header, at).map(u32::from_ne_bytes);
        let is_written = number(0)? == INDEX_VERSION && field(header, 12)? != [0_u8];
        // 65,536 does not fit into the field and is written as 1.
        let page_bytes = match u16::from_ne_bytes(field(header, 14)?) {
            1 => 1 << 16,
            bytes => u64::from(bytes),
        };
        let (one, other) = (number(24)?.to_be_bytes(), number(28)?.to_be_bytes());
        let mut sum = [0; 8];
        sum.iter_mut().zip(one.into_iter().chain(other)).for_each(|(place, byte)| *place = byte);
        is_written.then_some(Self {
            frames: number(16)?,
            page_bytes,
            pages: u64::from(number(20)?),
            salts: field(header, 32)?,
            sum,
        })
    }

    /// Returns the offset of the last frame.
    fn frame_at(&self) -> u64 {
        HEADER + u64::from(self.frames.saturating_sub(1)) * (FRAME_HEADER + self.page_bytes)
    }

    /// Returns true if this is the header of the log that the index describes.
    fn is_of(&self, header: &[u8]) -> bool {
        let number = |at| field(header, at).map(u32::from_be_bytes);
        number(0).is_some_and(|magic| magic & !1 == MAGIC)
            && number(8).is_some_and(|bytes| u64::from(bytes) == self.page_bytes)
            && field(header, 16) == Some(self.salts)
    }
}

/// Returns the bytes of a field that begins at this offset.
fn field<const N: usize>(header: &[u8], at: usize) -> Option<[u8; N]> {
    header.get(at..)?.first_chunk().copied()
}

/// Fills the buffer. Returns false if the file is too short.
fn read(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::store::claim::{Claim, OpenFiles};
    use crate::store::sqlite::connect;

    /// A name, whether to check with and without a commit after the damage, and the damage itself.
    type Damage<'a> = (&'static str, &'a [bool], &'a dyn Fn(&File, u64));

    struct Fixture {
        log: WriteAheadLog,
        connection: Connection,
        data_dir: TempDir,
        _open: OpenFiles,
    }

    impl Fixture {
        fn new() -> Self {
            let data_dir = tempfile::tempdir().unwrap();
            let claim = Claim::take(data_dir.path()).unwrap();
            let connection = connect(data_dir.path(), true).unwrap();
            let open = OpenFiles::of(data_dir.path(), claim).unwrap();
            let log = WriteAheadLog::open(data_dir.path(), open.index()).unwrap();
            Self { log, connection, data_dir, _open: open }
        }

        fn commit(&self) {
            self.connection.execute("UPDATE commits SET count = count + 1", []).unwrap();
        }

        fn checkpoint(&self, mode: &str) {
            self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
        }

        fn file(&self) -> File {
            File::options().write(true).open(self.log.path()).unwrap()
        }

        fn is_whole(&mut self) -> bool {
            matches!(self.log.check().unwrap(), LogState::Whole(1..))
        }
    }

    #[test]
    fn a_log_stays_whole_through_commits_checkpoints_and_restarts() {
        let mut fixture = Fixture::new();
        assert!(fixture.is_whole());
        let other = connect(fixture.data_dir.path(), true).unwrap();
        for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
            for _ in 0..3 {
                fixture.commit();
                assert!(fixture.is_whole(), "{mode}");
                other.execute("UPDATE keys_version SET version = version + 1", []).unwrap();
                assert!(fixture.is_whole(), "{mode}");
            }
            fixture.checkpoint(mode);
            assert!(fixture.is_whole(), "{mode}");
        }
        fixture.commit();
        assert!(fixture.is_whole());
    }

    #[test]
    fn a_log_that_is_cut_or_overwritten_in_place_counts_as_damaged() {
        let cut = |file: &File, bytes: u64| file.set_len(bytes).unwrap();
        let zero = |file: &File, from: u64, to: u64| {
            file.write_all_at(&vec![0; (to - from) as usize], from).unwrap();
        };
        // Once a commit follows, a last page without its end looks like a whole one.
        let damages: [Damage<'_>; 6] = [
            ("emptied", &[false, true], &|file, _| cut(file, 0)),
            ("cut in the middle", &[false, true], &|file, bytes| cut(file, bytes / 2)),
            ("cut by a byte", &[false], &|file, bytes| cut(file, bytes - 1)),
            ("zeroed", &[false, true], &|file, bytes| zero(file, 0, bytes)),
            ("a zeroed header", &[false, true], &|file, _| zero(file, 0, HEADER)),
            ("a zeroed end", &[false, true], &|file, bytes| zero(file, bytes - 5000, bytes)),
        ];
        for (what, commits, damage) in damages {
            for &with_commit in commits {
                let mut fixture = Fixture::new();
                fixture.commit();
                assert!(fixture.is_whole());
                let file = fixture.file();
                damage(&file, file.metadata().unwrap().len());
                if with_commit {
                    // SQLite does not notice the damage.
                    fixture.commit();
                }
                assert_eq!(
                    fixture.log.check().unwrap(),
                    LogState::Damaged,
                    "{what}, with a commit after it: {with_commit}"
                );
            }
        }
    }

    #[test]
    fn an_index_that_was_overwritten_is_made_again_by_the_next_transaction() {
        let mut fixture = Fixture::new();
        fixture.commit();
        assert!(fixture.is_whole());
        let index =
            File::options().write(true).open(fixture.data_dir.path().join("hearken.sqlite-shm")).unwrap();
        index.write_all_at(&[0; 2 * INDEX_HEADER], 0).unwrap();
        assert_eq!(fixture.log.check().unwrap(), LogState::NoIndex);
        fixture.commit();
        assert!(fixture.is_whole());
    }
}
