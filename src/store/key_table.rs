//! The table of API keys: read by the server, changed by the command line.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::StoreError;
use super::sqlite::{connect, make_directory};
use crate::keys::{KeyHash, KeyRecord};
use crate::task::Timestamp;

pub(super) fn keys_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("SELECT version FROM keys_version")?.query_row([], |row| row.get(0))?)
}

pub(super) fn keys(connection: &Connection) -> Result<Vec<KeyRecord>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT name, hash, models FROM keys ORDER BY created_ms, name")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, String>(2)?))
    })?;
    rows.map(|row| {
        let (name, hash, models) = row?;
        let hash = KeyHash::from_bytes(&hash).ok_or_else(|| StoreError::Damaged(format!("key {name}")))?;
        let models =
            serde_json::from_str(&models).map_err(|err| StoreError::Damaged(format!("key {name}: {err}")))?;
        Ok(KeyRecord { name, hash, models })
    })
    .collect()
}

/// The API keys of a data directory, for the command line; a server may run on it meanwhile.
#[derive(Debug)]
pub struct KeyTable {
    connection: Connection,
}

impl KeyTable {
    /// Opens the keys of a data directory, which is made if there is none.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        make_directory(data_dir)?;
        Ok(Self { connection: connect(data_dir)? })
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
                "INSERT INTO keys (name, hash, models, created_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO NOTHING",
                params![key.name, key.hash.as_bytes(), models, Timestamp::now()],
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
        keys(&self.connection)
    }

    fn change(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<bool, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)? > 0;
        if changed {
            transaction.execute("UPDATE keys_version SET version = version + 1", [])?;
        }
        transaction.commit()?;
        Ok(changed)
    }
}
