//! Checks whether a server can start on a data directory, and leaves nothing behind.

use std::fs::{OpenOptions, remove_dir};
use std::path::Path;

use super::StoreError;
use super::commit_counter::LostCommits;
use super::integrity::examine;
use super::key_table::keys;
use super::sqlite::{database, error_in, file_error, make_directory};
use crate::keys::KeyRecord;

/// A data directory on which a server can start.
#[derive(Debug, Default)]
pub struct StartCheck {
    /// The keys in the directory. There are none if its database is of an older version, which this check does not
    /// change.
    pub keys: Vec<KeyRecord>,
    /// The commits that the directory's database has lost, if any.
    pub lost: Option<LostCommits>,
}

/// Does the first steps of a start on a data directory, and undoes them. A server may run on the directory at the same
/// time.
///
/// # Errors
/// The error that the start would return.
pub fn check_start(data_dir: &Path) -> Result<StartCheck, StoreError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
    let missing: Vec<&Path> = data_dir.ancestors().take_while(is_missing).collect();
    let checked = make_directory(data_dir).and_then(|()| use_directory(data_dir));
    for path in missing {
        // If another process uses the directory by now, it is not empty and stays.
        let _ = remove_dir(path);
    }
    checked
}

fn use_directory(data_dir: &Path) -> Result<StartCheck, StoreError> {
    // A temporary file has no name and disappears with its handle.
    let take_file = |folder: &Path| tempfile::tempfile_in(folder).map(drop).map_err(file_error(folder));
    take_file(data_dir)?;
    for folder in ["spool", "frames"].map(|name| data_dir.join(name)) {
        if folder.symlink_metadata().is_ok() {
            make_directory(&folder)?;
            take_file(&folder)?;
        }
    }
    let database = database(data_dir);
    for path in [&data_dir.join("lock"), &database] {
        if path.symlink_metadata().is_ok() {
            OpenOptions::new().read(true).write(true).open(path).map_err(file_error(path))?;
        }
    }
    if database.metadata().map_or(0, |about| about.len()) == 0 {
        return Ok(StartCheck::default());
    }
    let examined = examine(data_dir).map_err(error_in(data_dir))?;
    let keys = if examined.is_current { keys(&examined.connection)? } else { Vec::new() };
    Ok(StartCheck { keys, lost: examined.lost })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rusqlite::Connection;

    use super::*;
    use crate::keys::KeyLimits;
    use crate::secret::KeyHash;
    use crate::store::key_table::KeyTable;
    use crate::store::promises::KeyStore;
    use crate::store::schema;
    use crate::store::sqlite::connect;

    /// Lists every file and folder below a folder, with its length.
    fn content(folder: &Path) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push((path.clone(), path.metadata().unwrap().len()));
            if path.is_dir() {
                found.extend(content(&path));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_start_check_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let data_dir = home.path().join("a/b/c");
        assert_eq!(check_start(&data_dir).unwrap().keys, []);
        assert_eq!(content(home.path()), []);
        // An attempt that fails halfway leaves nothing behind, either.
        std::fs::write(home.path().join("file"), "").unwrap();
        let before = content(home.path());
        assert!(matches!(check_start(&home.path().join("file/x")), Err(StoreError::Directory { .. })));
        assert!(matches!(check_start(Path::new("/proc/x/y")), Err(StoreError::Directory { .. })));
        assert_eq!(content(home.path()), before);
    }

    #[actix_rt::test]
    async fn the_keys_of_a_database_are_read_without_touching_it() {
        let data_dir = tempfile::tempdir().unwrap();
        let data_dir = data_dir.path().join("d%20#?x");
        let record = KeyRecord {
            name: "a".into(),
            hash: KeyHash::of("sk-a"),
            models: vec!["*".into()],
            limits: KeyLimits::default(),
        };
        let table = KeyTable::make(&data_dir).unwrap();
        let connection = connect(&data_dir, true).unwrap();
        table.create(record.clone()).await.unwrap();
        // Once with the log, as under a running server, and once without.
        let before = content(&data_dir);
        assert_eq!(check_start(&data_dir).unwrap().keys, std::slice::from_ref(&record));
        assert_eq!(content(&data_dir), before);
        drop(connection);
        let before = content(&data_dir);
        assert_eq!(before.len(), 1, "{before:?}");
        assert_eq!(check_start(&data_dir).unwrap().keys, [record]);
        assert_eq!(content(&data_dir), before);
    }

    #[actix_rt::test]
    async fn a_start_check_refuses_each_database_that_a_start_refuses() {
        let data_dir = tempfile::tempdir().unwrap();
        let table = KeyTable::make(data_dir.path()).unwrap();
        table.list().await.unwrap();
        let path = database(data_dir.path());
        let said = async |change: &str| {
            Connection::open(&path).unwrap().execute_batch(change).unwrap();
            let before = std::fs::read(&path).unwrap();
            let said = check_start(data_dir.path()).unwrap_err().to_string();
            // The command line, which would write to it, gets the same error and does not write.
            assert_eq!(table.list().await.unwrap_err().to_string(), said);
            assert_eq!(std::fs::read(&path).unwrap(), before);
            assert!(said.starts_with(&path.display().to_string()), "{said}");
            said
        };
        let newer = said("PRAGMA user_version = 1000").await;
        let (known, own) = (schema::VERSION, env!("CARGO_PKG_VERSION"));
        assert!(
            newer.contains(&format!(
                "newer hearken: the version of its tables is 1000, and hearken {own} knows"
            )) && newer.contains(&format!("up to {known}; install the newer hearken again, or")),
            "{newer}"
        );
        for of_another in [
            "PRAGMA user_version = 0",
            "DROP TABLE keys_version; PRAGMA user_version = 7",
            "PRAGMA user_version = -1",
        ] {
            let said = said(of_another).await;
            assert!(
                said.contains("is the database of another program; choose another data directory"),
                "{said}"
            );
        }
        std::fs::write(&path, "this is no database, whatever its name says").unwrap();
        let said = check_start(data_dir.path()).unwrap_err().to_string();
        assert!(said.contains("hearken.sqlite is damaged"), "{said}");
    }
}
