//! The exclusive right to write to a data directory, and the files that a server opens there besides SQLite's own.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;
use super::health::Trouble;
use super::sqlite::{INDEX, beside, database, file_error};

/// The size of a region of the write-ahead log's index, which has one or more regions.
const INDEX_REGION: u64 = 32 << 10;
/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The right of one server to write to a data directory, until this is dropped. It holds two locks: one on the file
/// `lock`, and one on the database itself, in case `lock` is removed. Each lock belongs to an open file, so neither
/// outlives its process.
///
/// SQLite uses another kind of lock (POSIX, not BSD), so the two kinds do not conflict. But a process that closes any
/// file descriptor of the database loses all of SQLite's locks on it. So this descriptor is opened before SQLite's and
/// closed after them, and nothing else in a server opens the database.
#[derive(Debug)]
pub(super) struct Claim {
    database: File,
    _lock: File,
}

impl Claim {
    /// Locks the directory, and makes the database's file if there is none.
    pub(super) fn take(data_dir: &Path) -> Result<Self, StoreError> {
        let own = lock(data_dir, open(&data_dir.join("lock"))?)?;
        let database = lock(data_dir, make_database(data_dir)?)?;
        Ok(Self { database, _lock: own })
    }
}

/// Opens the database's file without SQLite, so that only its owner can read and write a new file.
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

/// The files that a server opens besides SQLite's own. A process that closes one of them loses SQLite's locks on it. So
/// all connections must be closed before this is dropped.
#[derive(Debug)]
pub(super) struct OpenFiles {
    index: Arc<File>,
    index_path: PathBuf,
    /// The least length of the index, which never becomes shorter while there is a connection.
    index_bytes: AtomicU64,
    claim: Claim,
}

impl OpenFiles {
    /// Opens the index of the write-ahead log. The index exists as soon as there is a connection.
    pub(super) fn of(data_dir: &Path, claim: Claim) -> Result<Self, StoreError> {
        let path = beside(data_dir, INDEX);
        let index = Arc::new(File::open(&path).map_err(file_error(&path))?);
        Ok(Self { index, index_path: path, index_bytes: AtomicU64::new(INDEX_REGION), claim })
    }

    /// Checks that the index was not cut short. SQLite maps it into memory, and the system kills a process that reads
    /// beyond the end of a mapped file. So this check comes before every use of SQLite.
    pub(super) fn check_index(&self) -> Result<(), Trouble> {
        let shown = self.index_path.display();
        let bytes = self.index.metadata().map_err(|err| Trouble::Unusable(format!("{shown}: {err}")))?.len();
        if bytes < self.index_bytes.fetch_max(bytes, Ordering::Relaxed) {
            return Err(Trouble::Damaged(format!(
                "{shown} was cut short while the server runs; stop the server and start it again: it rebuilds the \
                 file from the write-ahead log, and nothing is lost"
            )));
        }
        Ok(())
    }

    /// Returns the database. The caller must not write to it.
    pub(super) fn database(&self) -> &File {
        &self.claim.database
    }

    /// Returns true if the database still begins with the bytes of a SQLite database.
    pub(super) fn has_database(&self) -> io::Result<bool> {
        let mut head = [0; MAGIC.len()];
        match self.claim.database.read_exact_at(&mut head, 0) {
            Ok(()) => Ok(head == *MAGIC),
            Err(err) if err.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Returns the path of the index of the write-ahead log.
    pub(super) fn index_path(&self) -> &Path {
        &self.index_path
    }

    /// Returns the index of the write-ahead log.
    pub(super) fn index(&self) -> Arc<File> {
        Arc::clone(&self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite;

    #[test]
    fn the_database_stays_locked_when_the_lock_file_is_gone() {
        let data_dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(data_dir.path()).unwrap();
        assert!(matches!(Claim::take(data_dir.path()), Err(StoreError::Taken(_))));
        std::fs::remove_file(data_dir.path().join("lock")).unwrap();
        assert!(matches!(Claim::take(data_dir.path()), Err(StoreError::Taken(_))));
        drop(claim);
        Claim::take(data_dir.path()).unwrap();
    }

    #[test]
    fn a_shortened_index_is_found_without_reading_it() {
        let data_dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(data_dir.path()).unwrap();
        let _connection = sqlite::connect(data_dir.path(), true).unwrap();
        let open = OpenFiles::of(data_dir.path(), claim).unwrap();
        open.check_index().unwrap();
        let index = File::options().write(true).open(&open.index_path).unwrap();
        for bytes in [INDEX_REGION * 2, INDEX_REGION, 0] {
            index.set_len(bytes).unwrap();
            let result = open.check_index();
            assert_eq!(result.is_ok(), bytes > INDEX_REGION, "{result:?}");
        }
        // Closing the connection must not read the index, either.
        index.set_len(INDEX_REGION).unwrap();
    }
}
