//! The table of API keys: read by the server, changed by the command line.

use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use rusqlite::{Connection, TransactionBehavior, params};

use super::claim::make_database;
use super::promises::{KeyStore, Promise};
use super::sqlite::{connect, database, error_in, file_error, json, make_directory};
use super::{StoreError, blocking};
use crate::keys::{KeyLimits, KeyRecord};
use crate::secret::KeyHash;
use crate::task::Timestamp;

pub(super) fn keys_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("SELECT version FROM keys_version")?.query_row([], |row| row.get(0))?)
}

/// Reads the version and then the keys, in this order: if another process changes the keys in between, they are read
/// again.
pub(super) fn keys_and_version(connection: &Connection) -> Result<(i64, Vec<KeyRecord>), StoreError> {
    Ok((keys_version(connection)?, keys(connection)?))
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

fn create(connection: &Connection, key: &KeyRecord) -> Result<bool, StoreError> {
    let added = connection.execute(
        "INSERT INTO keys (name, hash, models, requests_per_minute, max_running_tasks, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING",
        params![
            key.name,
            key.hash.as_bytes(),
            json(&key.models)?,
            key.limits.requests_per_minute,
            key.limits.max_running_tasks,
            Timestamp::now()
        ],
    )?;
    Ok(added > 0)
}

fn revoke(connection: &Connection, name: &str) -> Result<bool, StoreError> {
    Ok(connection.execute("DELETE FROM keys WHERE name = ?1", [name])? > 0)
}

/// The API keys of a data directory. A server may run on the directory, also in the same process.
///
/// Each call opens its own connection. Only SQLite opens a file that exists, since closing another descriptor would
/// cost the server its [locks](super::claim::Claim).
#[derive(Debug)]
pub(super) struct KeyTable {
    data_dir: PathBuf,
}

impl KeyTable {
    /// Returns the keys of a data directory that has a database.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// Finds the keys of a data directory; `None` if it has no database.
    pub(super) fn find(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        let is_made = database(data_dir).try_exists().map_err(file_error(data_dir))?;
        Ok(is_made.then(|| Self::of(data_dir)))
    }

    /// Makes a data directory with a database that has no keys. Closing the new file costs no locks: no server of this
    /// process can have it open yet.
    pub(super) fn make(data_dir: &Path) -> Result<Self, StoreError> {
        make_directory(data_dir)?;
        make_database(data_dir)?;
        Ok(Self::of(data_dir))
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Promise<'static, T> {
        let data_dir = self.data_dir.clone();
        let run = move || {
            connect(&data_dir, true).and_then(|mut table| work(&mut table)).map_err(error_in(&data_dir))
        };
        blocking(run).boxed()
    }

    fn change(
        &self,
        change: impl FnOnce(&Connection) -> Result<bool, StoreError> + Send + 'static,
    ) -> Promise<'static, bool> {
        self.run(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let is_changed = change(&transaction)?;
            if is_changed {
                transaction.execute("UPDATE keys_version SET version = version + 1", [])?;
            }
            transaction.commit()?;
            Ok(is_changed)
        })
    }
}

impl KeyStore for KeyTable {
    fn list(&self) -> Promise<'_, (i64, Vec<KeyRecord>)> {
        self.run(|connection| keys_and_version(connection))
    }

    fn version(&self) -> Promise<'_, i64> {
        self.run(|connection| keys_version(connection))
    }

    fn create(&self, key: KeyRecord) -> Promise<'_, bool> {
        self.change(move |connection| create(connection, &key))
    }

    fn revoke(&self, name: String) -> Promise<'_, bool> {
        self.change(move |connection| revoke(connection, &name))
    }
}
