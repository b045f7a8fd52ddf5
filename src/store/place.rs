//! The files of a data directory: who may write to them, and whether they are still the ones that were opened.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;
use super::sqlite::{database, file_error};

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

/// The files of a data directory as they were opened.
#[derive(Debug)]
pub(super) struct Place {
    claim: Arc<Claim>,
    database: PathBuf,
    files: Vec<(PathBuf, Identity)>,
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

impl Place {
    /// Takes note of the files of a data directory that is in use.
    pub(super) fn of(data_dir: &Path, claim: Arc<Claim>) -> Result<Self, StoreError> {
        let beside = |end: &str| {
            let mut path = database(data_dir).into_os_string();
            path.push(end);
            PathBuf::from(path)
        };
        let paths = [data_dir.to_owned(), beside(""), beside("-wal"), beside("-shm")];
        let folders = ["spool", "frames"].map(|name| data_dir.join(name));
        let files = paths.into_iter().chain(folders).map(|path| {
            let metadata = path.metadata().map_err(file_error(&path))?;
            let identity = Identity::from(&metadata);
            Ok((path, identity))
        });
        let files = files.collect::<Result<_, StoreError>>()?;
        Ok(Self { claim, database: database(data_dir), files })
    }

    /// Are these files still where they were, so that what is written will be found at the next start? The error says
    /// which one is not, and the way out.
    pub(super) fn judge(&self) -> Result<(), String> {
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
        let database = self.database.display();
        match self.claim.has_database() {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "{database} was overwritten while the server runs; stop the server, restore the file from a backup and \
                 start the server again"
            )),
            Err(err) => Err(format!("{database}: {err}")),
        }
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
        let claim = Arc::new(Claim::take(&data_dir).unwrap());
        let _connection = sqlite::connect(&data_dir, true).unwrap();
        let place = Place::of(&data_dir, Arc::clone(&claim)).unwrap();
        place.judge().unwrap();
        let away = parent.path().join("away");
        for name in ["", "hearken.sqlite", "hearken.sqlite-wal", "hearken.sqlite-shm", "spool", "frames"] {
            let path = if name.is_empty() { data_dir.clone() } else { data_dir.join(name) };
            std::fs::rename(&path, &away).unwrap();
            let said = place.judge().unwrap_err();
            assert!(said.contains(&format!("{} was removed or moved", path.display())), "{said}");
            std::fs::write(&path, "").unwrap();
            let said = place.judge().unwrap_err();
            assert!(said.contains(&format!("{} was replaced", path.display())) || name.is_empty(), "{said}");
            std::fs::remove_file(&path).unwrap();
            std::fs::rename(&away, &path).unwrap();
            place.judge().unwrap();
        }
        claim.database.set_len(0).unwrap();
        let said = place.judge().unwrap_err();
        assert!(said.contains("hearken.sqlite was overwritten"), "{said}");
    }
}
