//! The files of a data directory: who may write to them, and whether they are still the ones that were opened.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;
use super::health::Trouble;
use super::sqlite::{INDEX, LOG, beside, database, file_error};
use super::write_ahead_log::{Look, WriteAheadLog};

/// The index of the write-ahead log consists of regions of this many bytes, of which there is at least one.
const INDEX_REGION: u64 = 32 << 10;
/// What a database of SQLite begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The right of one server to write to a data directory, until this is dropped. It holds two locks, each of an open file,
/// so that neither outlives its process: the file `lock`, and the database itself, in case `lock` is removed.
///
/// SQLite locks the database in another way (by POSIX, not BSD), so the two do not meet. But a process that closes any file
/// descriptor of the database loses all of SQLite's locks on it. So this descriptor is opened before SQLite's and
/// closed after them, and nothing else in a server opens the database.
#[derive(Debug)]
pub(super) struct Claim {
    database: File,
    _lock: File,
}

impl Claim {
    /// Takes the directory, and makes the database's file if there is none.
    pub(super) fn take(data_dir: &Path) -> Result<Self, StoreError> {
        let own = lock(data_dir, open(&data_dir.join("lock"))?)?;
        let database = lock(data_dir, make_database(data_dir)?)?;
        Ok(Self { database, _lock: own })
    }

    /// Does the database still begin as a database does?
    fn has_database(&self) -> io::Result<bool> {
        let mut head = [0; MAGIC.len()];
        match self.database.read_exact_at(&mut head, 0) {
            Ok(()) => Ok(head == *MAGIC),
            Err(err) if err.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(err) => Err(err),
        }
    }
}

/// Opens the database's file without SQLite, so that it is made for its owner alone.
pub(super) fn make_database(data_dir: &Path) -> Result<File, StoreError> {
    open(&database(data_dir))
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(file_error(path))
}

fn lock(data_dir: &Path, file: File) -> Result<File, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Taken(data_dir.display().to_string())),
        Err(TryLockError::Error(err)) => Err(file_error(data_dir)(err)),
    }
}

/// The files that a server opens beside SQLite. A process that closes one of them loses SQLite's locks on it. So all
/// connections are closed before this is dropped.
#[derive(Debug)]
pub(super) struct OpenFiles {
    index: Arc<File>,
    index_path: PathBuf,
    /// The index never becomes shorter than this while there is a connection.
    index_bytes: AtomicU64,
    claim: Claim,
}

impl OpenFiles {
    /// Opens the index of the write-ahead log, which is there as soon as there is a connection.
    pub(super) fn of(data_dir: &Path, claim: Claim) -> Result<Self, StoreError> {
        let path = beside(data_dir, INDEX);
        let index = Arc::new(File::open(&path).map_err(file_error(&path))?);
        Ok(Self { index, index_path: path, index_bytes: AtomicU64::new(INDEX_REGION), claim })
    }

    /// Checks that the index was not cut short. SQLite maps it into memory, and the system ends a process that reads
    /// behind the end of such a file. So nothing is asked of SQLite before this.
    pub(super) fn judge_index(&self) -> Result<(), Trouble> {
        let shown = self.index_path.display();
        let bytes = self.index.metadata().map_err(|err| Trouble::Unusable(format!("{shown}: {err}")))?.len();
        if bytes < self.index_bytes.fetch_max(bytes, Ordering::Relaxed) {
            return Err(Trouble::Damaged(format!(
                "{shown} was cut short while the server runs; stop the server and start it again: it makes the file anew \
                 out of the write-ahead log, and nothing is lost"
            )));
        }
        Ok(())
    }

    /// Returns the index of the write-ahead log.
    pub(super) fn index(&self) -> Arc<File> {
        Arc::clone(&self.index)
    }
}

/// The files of a data directory as they were opened, and what they must still hold.
#[derive(Debug)]
pub(super) struct KnownFiles {
    open: Arc<OpenFiles>,
    database: PathBuf,
    files: Vec<(PathBuf, Identity)>,
    log: WriteAheadLog,
    /// The database's file has at least this many bytes. Only this server makes it shorter, when its pages are in order.
    least_bytes: u64,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl KnownFiles {
    /// Takes note of the files of a data directory that is in use.
    pub(super) fn of(data_dir: &Path, open: Arc<OpenFiles>) -> Result<Self, StoreError> {
        let [log, index] = [LOG, INDEX].map(|end| beside(data_dir, end));
        let paths = [data_dir.to_owned(), database(data_dir), log, index];
        let folders = ["spool", "frames"].map(|name| data_dir.join(name));
        let files = paths.into_iter().chain(folders).map(|path| {
            let metadata = path.metadata().map_err(file_error(&path))?;
            let identity = Identity::from(&metadata);
            Ok((path, identity))
        });
        let files = files.collect::<Result<_, StoreError>>()?;
        let log = WriteAheadLog::open(data_dir, open.index())?;
        Ok(Self { open, database: database(data_dir), files, log, least_bytes: 0 })
    }

    /// Checks before a transaction that what it writes will be found at the next start: the files are where they were, and
    /// hold what they held. The error names the file that is not as it was, and the way out.
    pub(super) fn judge(&mut self) -> Result<(), Trouble> {
        self.is_in_place().map_err(Trouble::Unusable)?;
        self.open.judge_index()?;
        // Without an index the transaction makes a new one out of the log.
        self.look().map(|_| ())
    }

    /// Checks after a commit, before it is told, that the commit is in the files.
    pub(super) fn holds_commit(&mut self) -> Result<(), Trouble> {
        match self.look()? {
            true => Ok(()),
            false => Err(Trouble::Damaged(format!(
                "{} was overwritten while the server runs; stop the server and start it again: it makes the file anew out \
                 of the write-ahead log",
                self.open.index_path.display()
            ))),
        }
    }

    /// Returns false if the write-ahead log cannot be judged because it has no index.
    fn look(&mut self) -> Result<bool, Trouble> {
        let database = self.database.display();
        let overwritten = || {
            Err(Trouble::Damaged(format!(
                "{database} was cut short or overwritten while the server runs; stop the server, restore the data \
                 directory from a backup and start the server again"
            )))
        };
        let unreadable = |err: io::Error| Trouble::Unusable(format!("{database}: {err}"));
        match self.open.claim.has_database() {
            Ok(true) => {}
            Ok(false) => return overwritten(),
            Err(err) => return Err(unreadable(err)),
        }
        match self.log.look() {
            Ok(Look::Whole(0)) => Ok(true),
            Ok(Look::Whole(bytes)) => {
                let there = self.open.claim.database.metadata().map_err(unreadable)?.len();
                if there < bytes.min(self.least_bytes) {
                    return overwritten();
                }
                self.least_bytes = there.min(bytes);
                Ok(true)
            }
            Ok(Look::NoIndex) => Ok(false),
            Ok(Look::Damaged) => Err(self.log.damage()),
            Err(err) => Err(Trouble::Unusable(format!("{}: {err}", self.log.path().display()))),
        }
    }

    fn is_in_place(&self) -> Result<(), String> {
        for (path, known) in &self.files {
            let shown = path.display();
            let what = match path.metadata() {
                Ok(found) if Identity::from(&found) == *known => continue,
                Ok(_) => "was replaced".to_owned(),
                Err(err) if err.kind() == ErrorKind::NotFound => "was removed or moved".to_owned(),
                Err(err) => format!("cannot be reached ({err})"),
            };
            return Err(format!(
                "{shown} {what} while the server runs; put the data directory back as it was, or stop the server, \
                 restore the directory from a backup and start the server again"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite;

    #[test]
    fn the_database_is_locked_also_where_the_lock_file_is_gone() {
        let data_dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(data_dir.path()).unwrap();
        assert!(matches!(Claim::take(data_dir.path()), Err(StoreError::Taken(_))));
        std::fs::remove_file(data_dir.path().join("lock")).unwrap();
        assert!(matches!(Claim::take(data_dir.path()), Err(StoreError::Taken(_))));
        drop(claim);
        Claim::take(data_dir.path()).unwrap();
    }

    #[test]
    fn a_file_that_is_moved_replaced_or_emptied_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("data");
        for folder in ["spool", "frames"] {
            std::fs::create_dir_all(data_dir.join(folder)).unwrap();
        }
        let claim = Claim::take(&data_dir).unwrap();
        let _connection = sqlite::connect(&data_dir, true).unwrap();
        let open = Arc::new(OpenFiles::of(&data_dir, claim).unwrap());
        let mut place = KnownFiles::of(&data_dir, Arc::clone(&open)).unwrap();
        place.judge().unwrap();
        let away = parent.path().join("away");
        for name in ["", "hearken.sqlite", "hearken.sqlite-wal", "hearken.sqlite-shm", "spool", "frames"] {
            let path = if name.is_empty() { data_dir.clone() } else { data_dir.join(name) };
            std::fs::rename(&path, &away).unwrap();
            let said = place.judge().unwrap_err().to_string();
            assert!(said.contains(&format!("{} was removed or moved", path.display())), "{said}");
            std::fs::write(&path, "").unwrap();
            let said = place.judge().unwrap_err().to_string();
            assert!(said.contains(&format!("{} was replaced", path.display())) || name.is_empty(), "{said}");
            std::fs::remove_file(&path).unwrap();
            std::fs::rename(&away, &path).unwrap();
            place.judge().unwrap();
        }
        open.claim.database.set_len(0).unwrap();
        assert_is_overwritten(place.judge());
    }

    #[test]
    fn an_index_that_is_cut_short_is_found_without_a_look_into_it() {
        let data_dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(data_dir.path()).unwrap();
        let _connection = sqlite::connect(data_dir.path(), true).unwrap();
        let open = OpenFiles::of(data_dir.path(), claim).unwrap();
        open.judge_index().unwrap();
        let index = File::options().write(true).open(&open.index_path).unwrap();
        for bytes in [INDEX_REGION * 2, INDEX_REGION, 0] {
            index.set_len(bytes).unwrap();
            let judged = open.judge_index();
            assert_eq!(judged.is_ok(), bytes > INDEX_REGION, "{judged:?}");
        }
        // Closing the connection must not read it, either.
        index.set_len(INDEX_REGION).unwrap();
    }

    fn assert_is_overwritten(judged: Result<(), Trouble>) {
        let Err(Trouble::Damaged(said)) = judged else { panic!("{judged:?}") };
        assert!(said.contains("hearken.sqlite was cut short or overwritten"), "{said}");
    }

    #[test]
    fn a_database_that_is_cut_short_in_place_is_damaged_and_a_vacuum_is_not() {
        let data_dir = tempfile::tempdir().unwrap();
        for folder in ["spool", "frames"] {
            std::fs::create_dir_all(data_dir.path().join(folder)).unwrap();
        }
        let claim = Claim::take(data_dir.path()).unwrap();
        let connection = sqlite::connect(data_dir.path(), true).unwrap();
        let open = Arc::new(OpenFiles::of(data_dir.path(), claim).unwrap());
        let mut place = KnownFiles::of(data_dir.path(), Arc::clone(&open)).unwrap();
        let run = |sql: &str| connection.execute_batch(sql).unwrap();
        let bytes = || open.claim.database.metadata().unwrap().len();
        run("CREATE TABLE large (content BLOB); INSERT INTO large VALUES (zeroblob(1000000));
             PRAGMA wal_checkpoint(PASSIVE);");
        place.judge().unwrap();
        let large = bytes();
        assert!(large > 1_000_000);
        run("DROP TABLE large");
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum").unwrap();
        let mut steps = vacuum.raw_query();
        while steps.next().unwrap().is_some() {}
        run("PRAGMA wal_checkpoint(FULL)");
        place.judge().unwrap();
        assert!(bytes() < large / 2);
        open.claim.database.set_len(bytes() - 4096).unwrap();
        assert_is_overwritten(place.judge());
    }
}
