//! The check that the files of a data directory are still the ones that were opened, with their contents.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;
use super::claim::OpenFiles;
use super::health::Trouble;
use super::sqlite::{INDEX, LOG, beside, database, file_error};
use super::write_ahead_log::{LogState, WriteAheadLog};

/// The files of a data directory as they were opened, and what they must still hold.
#[derive(Debug)]
pub(super) struct KnownFiles {
    open: Arc<OpenFiles>,
    database: PathBuf,
    files: Vec<(PathBuf, Identity)>,
    log: WriteAheadLog,
    /// The least length of the database's file. Only this server may shorten it, when its pages are in order.
    least_bytes: u64,
}

/// The identity of a file, independent of its name.
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
    /// Records the files of a data directory that a server has opened.
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

    /// Checks before a transaction that the next start will find what the transaction writes: the files are in their
    /// place and hold what they held. The error names the file that changed, and what to do.
    pub(super) fn check_before_write(&mut self) -> Result<(), Trouble> {
        self.is_in_place().map_err(Trouble::Unusable)?;
        self.open.check_index()?;
        // Without an index, the transaction rebuilds the index from the log.
        self.check_files().map(|_| ())
    }

    /// Checks after a commit, before the commit is reported, that it is in the files.
    pub(super) fn holds_commit(&mut self) -> Result<(), Trouble> {
        match self.check_files()? {
            true => Ok(()),
            false => Err(Trouble::Damaged(format!(
                "{} was overwritten while the server runs; stop the server and start it again: it rebuilds the file \
                 from the write-ahead log",
                self.open.index_path().display()
            ))),
        }
    }

    /// Checks the files. Returns false if the write-ahead log cannot be checked because it has no index.
    fn check_files(&mut self) -> Result<bool, Trouble> {
        let database = self.database.display();
        let overwritten = || {
            Err(Trouble::Damaged(format!(
                "{database} was cut short or overwritten while the server runs; stop the server, restore the data \
                 directory from a backup and start the server again"
            )))
        };
        let unreadable = |err: io::Error| Trouble::Unusable(format!("{database}: {err}"));
        match self.open.has_database() {
            Ok(true) => {}
            Ok(false) => return overwritten(),
            Err(err) => return Err(unreadable(err)),
        }
        match self.log.check() {
            Ok(LogState::Whole(0)) => Ok(true),
            Ok(LogState::Whole(bytes)) => {
                let there = self.open.database().metadata().map_err(unreadable)?.len();
                if there < bytes.min(self.least_bytes) {
                    return overwritten();
                }
                self.least_bytes = there.min(bytes);
                Ok(true)
            }
            Ok(LogState::NoIndex) => Ok(false),
            Ok(LogState::Damaged) => Err(self.log.damage()),
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
    use crate::store::claim::Claim;
    use crate::store::sqlite;

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
        let mut known = KnownFiles::of(&data_dir, Arc::clone(&open)).unwrap();
        known.check_before_write().unwrap();
        let away = parent.path().join("away");
        for name in ["", "hearken.sqlite", "hearken.sqlite-wal", "hearken.sqlite-shm", "spool", "frames"] {
            let path = if name.is_empty() { data_dir.clone() } else { data_dir.join(name) };
            std::fs::rename(&path, &away).unwrap();
            let said = known.check_before_write().unwrap_err().to_string();
            assert!(said.contains(&format!("{} was removed or moved", path.display())), "{said}");
            std::fs::write(&path, "").unwrap();
            let said = known.check_before_write().unwrap_err().to_string();
            assert!(said.contains(&format!("{} was replaced", path.display())) || name.is_empty(), "{said}");
            std::fs::remove_file(&path).unwrap();
            std::fs::rename(&away, &path).unwrap();
            known.check_before_write().unwrap();
        }
        open.database().set_len(0).unwrap();
        assert_is_overwritten(known.check_before_write());
    }

    fn assert_is_overwritten(result: Result<(), Trouble>) {
        let Err(Trouble::Damaged(said)) = result else { panic!("{result:?}") };
        assert!(said.contains("hearken.sqlite was cut short or overwritten"), "{said}");
    }

    #[test]
    fn a_database_cut_short_is_damaged_unless_a_vacuum_shortened_it() {
        let data_dir = tempfile::tempdir().unwrap();
        for folder in ["spool", "frames"] {
            std::fs::create_dir_all(data_dir.path().join(folder)).unwrap();
        }
        let claim = Claim::take(data_dir.path()).unwrap();
        let connection = sqlite::connect(data_dir.path(), true).unwrap();
        let open = Arc::new(OpenFiles::of(data_dir.path(), claim).unwrap());
        let mut known = KnownFiles::of(data_dir.path(), Arc::clone(&open)).unwrap();
        let run = |sql: &str| connection.execute_batch(sql).unwrap();
        let bytes = || open.database().metadata().unwrap().len();
        run("CREATE TABLE large (content BLOB); INSERT INTO large VALUES (zeroblob(1000000));
             PRAGMA wal_checkpoint(PASSIVE);");
        known.check_before_write().unwrap();
        let large = bytes();
        assert!(large > 1_000_000);
        run("DROP TABLE large");
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum").unwrap();
        let mut steps = vacuum.raw_query();
        while steps.next().unwrap().is_some() {}
        run("PRAGMA wal_checkpoint(FULL)");
        known.check_before_write().unwrap();
        assert!(bytes() < large / 2);
        open.database().set_len(bytes() - 4096).unwrap();
        assert_is_overwritten(known.check_before_write());
    }
}
