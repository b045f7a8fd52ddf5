//! What a start would say of a data directory, found out without leaving anything behind.

use std::fs::{File, OpenOptions, remove_dir};
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::key_table::keys;
use super::sqlite::{MIGRATIONS, database, file_error, make_directory, schema_version};
use super::{StoreError, integrity};
use crate::keys::KeyRecord;

/// What stays as it is in the path of a URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// Does to a data directory what a start does first, undoes it, and returns the keys in it. A server may run on it
/// meanwhile.
///
/// # Errors
/// What the start would say.
pub fn rehearse(data_dir: &Path) -> Result<Vec<KeyRecord>, StoreError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
    let missing: Vec<&Path> = data_dir.ancestors().take_while(is_missing).collect();
    let rehearsed = make_directory(data_dir).and_then(|()| use_directory(data_dir));
    for path in missing {
        // One that somebody uses by now is not empty, and stays.
        let _ = remove_dir(path);
    }
    rehearsed
}

fn use_directory(data_dir: &Path) -> Result<Vec<KeyRecord>, StoreError> {
    // Such a file has no name and is gone with its handle.
    let take_file = |folder: &Path| tempfile::tempfile_in(folder).map(drop).map_err(file_error(folder));
    take_file(data_dir)?;
    for folder in ["spool", "frames"].map(|name| data_dir.join(name)) {
        if folder.symlink_metadata().is_ok() {
            take_file(&folder)?;
        }
    }
    let database = database(data_dir);
    let open = |path: &Path| -> Result<File, StoreError> {
        OpenOptions::new().read(true).write(true).open(path).map_err(file_error(path))
    };
    for path in [&data_dir.join("lock"), &database] {
        if path.symlink_metadata().is_ok() {
            open(path)?;
        }
    }
    match database.metadata() {
        Ok(about) if about.len() > 0 => look_at(data_dir).map_err(|err| err.at(data_dir)),
        _ => Ok(Vec::new()),
    }
}

/// Judges the database as a start does, and returns its keys; none where it is of an older version, since that one is
/// not changed here.
fn look_at(data_dir: &Path) -> Result<Vec<KeyRecord>, StoreError> {
    let path = database(data_dir);
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    // Without a log everything is in the database itself. SQLite makes a log even to read, unless it is told that
    // nothing changes.
    let is_alone = Path::new(&log).metadata().map_or(0, |about| about.len()) == 0;
    let bytes = path.as_os_str().as_encoded_bytes();
    let immutable = if is_alone { "?immutable=1" } else { "" };
    let uri = format!("file:{}{immutable}", percent_encode(bytes, PATH));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    let version = schema_version(&connection)?;
    integrity::check(data_dir, &connection)?;
    if (version as usize) < MIGRATIONS.len() { Ok(Vec::new()) } else { keys(&connection) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::keys::{KeyHash, KeyLimits};
    use crate::store::KeyTable;

    /// Every file and folder below a folder, with its length.
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
    fn a_rehearsal_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let data_dir = home.path().join("a/b/c");
        assert_eq!(rehearse(&data_dir).unwrap(), []);
        assert_eq!(content(home.path()), []);
        // Nor half of what could be made.
        std::fs::write(home.path().join("file"), "").unwrap();
        let before = content(home.path());
        assert!(matches!(rehearse(&home.path().join("file/x")), Err(StoreError::Directory { .. })));
        assert!(matches!(rehearse(Path::new("/proc/x/y")), Err(StoreError::Directory { .. })));
        assert_eq!(content(home.path()), before);
    }

    #[test]
    fn the_keys_of_a_database_are_read_without_touching_it() {
        let data_dir = tempfile::tempdir().unwrap();
        let data_dir = data_dir.path().join("d%20#?x");
        let record = KeyRecord {
            name: "a".into(),
            hash: KeyHash::of("sk-a"),
            models: vec!["*".into()],
            limits: KeyLimits::default(),
        };
        let mut table = KeyTable::open(&data_dir).unwrap();
        table.create(&record).unwrap();
        // With its log, as under a running server, and without.
        let before = content(&data_dir);
        assert_eq!(rehearse(&data_dir).unwrap(), std::slice::from_ref(&record));
        assert_eq!(content(&data_dir), before);
        drop(table);
        let before = content(&data_dir);
        assert_eq!(before.len(), 1, "{before:?}");
        assert_eq!(rehearse(&data_dir).unwrap(), [record]);
        assert_eq!(content(&data_dir), before);
    }

    #[test]
    fn a_database_that_a_start_refuses_is_refused() {
        let data_dir = tempfile::tempdir().unwrap();
        drop(KeyTable::open(data_dir.path()).unwrap());
        let path = database(data_dir.path());
        let database = Connection::open(&path).unwrap();
        database.pragma_update(None, "user_version", 1000).unwrap();
        drop(database);
        let said = rehearse(data_dir.path()).unwrap_err().to_string();
        assert!(said.contains("newer hearken"), "{said}");
        std::fs::write(&path, "this is no database, whatever its name says").unwrap();
        let said = rehearse(data_dir.path()).unwrap_err().to_string();
        assert!(said.contains("hearken.sqlite is damaged"), "{said}");
    }
}
