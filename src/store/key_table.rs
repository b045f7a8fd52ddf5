//! The table of API keys: read by the server, changed by the command line.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::StoreError;
use super::place::make_database;
use super::sqlite::{connect, database, error_in, file_error, make_directory};
use crate::keys::{KeyLimits, KeyRecord};
use crate::secret::KeyHash;
use crate::task::Timestamp;

pub(super) fn keys_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("SELECT version FROM keys_version")?.query_row([], |row| row.get(0))?)
}

pub(super) fn keys(connection: &Connection) -> Result<Vec<KeyRecord>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, hash, models, requests_per_minute, max_running_tasks FROM keys ORDER BY created_ms, name",
    )?;
    let rows = statement.query_map([], |row| {
        let limits = KeyLimits { requests_per_minute: row.get(3)?, max_running_tasks: row.get(4)? };
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, String>(2)?, limits))
    })?;
    rows.map(|row| {
        let (name, hash, models, limits) = row?;
        let hash = KeyHash::from_bytes(&hash).ok_or_else(|| StoreError::Damaged(format!("key {name}")))?;
        let models =
            serde_json::from_str(&models).map_err(|err| StoreError::Damaged(format!("key {name}: {err}")))?;
        Ok(KeyRecord { name, hash, models, limits })
    })
    .collect()
}

fn is_made(data_dir: &Path) -> Result<bool, StoreError> {
    database(data_dir).try_exists().map_err(file_error(data_dir))
}

/// The API keys of a data directory, for the command line; a server may run on it meanwhile.
#[derive(Debug)]
pub struct KeyTable {
    connection: Connection,
    data_dir: PathBuf,
}

impl KeyTable {
    /// Opens the keys of a data directory, which is made if there is none. A server may run on it in the same process: a
    /// file that is there is opened by SQLite alone, since to close it would cost the server its
    /// [locks](super::place::Claim).
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        make_directory(data_dir)?;
        if !is_made(data_dir)? {
            drop(make_database(data_dir)?);
        }
        let connection = connect(data_dir, true).map_err(error_in(data_dir))?;
        Ok(Self { connection, data_dir: data_dir.to_owned() })
    }

    /// Opens the keys of a data directory that was made before; `None` where there is none.
    ///
    /// # Errors
    /// As [`KeyTable::open`].
    pub fn find(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        is_made(data_dir)?.then(|| Self::open(data_dir)).transpose()
    }

    /// Adds a key; false where the name is taken.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn create(&mut self, key: &KeyRecord) -> Result<bool, StoreError> {
        let models =
            serde_json::to_string(&key.models).map_err(|err| StoreError::Damaged(err.to_string()))?;
        self.change(|transaction| {
            transaction.execute(
                "INSERT INTO keys (name, hash, models, requests_per_minute, max_running_tasks, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING",
                params![
                    key.name,
                    key.hash.as_bytes(),
                    models,
                    key.limits.requests_per_minute,
                    key.limits.max_running_tasks,
                    Timestamp::now()
                ],
            )
        })
    }

    /// Removes a key; false where there is none of that name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revoke(&mut self, name: &str) -> Result<bool, StoreError> {
        self.change(|transaction| transaction.execute("DELETE FROM keys WHERE name = ?1", [name]))
    }

    /// The keys, oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn list(&self) -> Result<Vec<KeyRecord>, StoreError> {
        keys(&self.connection).map_err(error_in(&self.data_dir))
    }

    fn change(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<bool, StoreError> {
        self.try_change(change).map_err(|err| error_in(&self.data_dir)(err.into()))
    }

    fn try_change(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<bool> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)? > 0;
        if changed {
            transaction.execute("UPDATE keys_version SET version = version + 1", [])?;
        }
        transaction.commit()?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn record(name: &str, limits: KeyLimits) -> KeyRecord {
        KeyRecord { name: name.into(), hash: KeyHash::of(name), models: vec!["gemini-*".into()], limits }
    }

    #[test]
    fn keys_come_back_as_they_were_made() {
        let directory = TempDir::new().unwrap();
        let mut table = KeyTable::open(directory.path()).unwrap();
        let records = [
            record("a", KeyLimits::default()),
            record("b", KeyLimits::new(60, 0)),
            record("c", KeyLimits::new(u32::MAX, u32::MAX)),
        ];
        for record in &records {
            assert!(table.create(record).unwrap());
        }
        assert_eq!(table.list().unwrap(), records);
    }
}
