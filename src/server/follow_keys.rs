//! Follows the keys of the store: a key that `hearken keys` creates is valid within a second, and one that it revokes
//! is invalid within a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::fanout::Fanout;
use crate::keys::{KeyRecord, Keyring, KeyringHandle};
use crate::store::{KeyStore, Store, StoreError};

/// The interval between two checks of the table of keys.
const KEYS_POLL: Duration = Duration::from_millis(500);

/// Keeps the keys of configuration and store up to date.
#[derive(Debug)]
pub(super) struct KeyFollower {
    stored: Arc<dyn KeyStore>,
    configured: Vec<KeyRecord>,
    version: i64,
    newest: watch::Sender<Arc<Keyring>>,
    /// True if the table could not be read the last time.
    is_unreadable: bool,
}

impl KeyFollower {
    /// Reads the keys. The result does not change until the follower [runs](Self::run).
    pub(super) async fn open(
        store: &Store,
        configured: Vec<KeyRecord>,
    ) -> Result<(KeyringHandle, Self), StoreError> {
        let stored = store.keys();
        let (version, records) = stored.list().await?;
        let (newest, keys) = KeyringHandle::new(Keyring::new(configured.iter().cloned().chain(records)));
        Ok((keys, Self { stored, configured, version, newest, is_unreadable: false }))
    }

    /// Follows the table until the store has stopped. When a key is revoked, its requests and its subscriptions end.
    pub(super) async fn run(mut self, fanout: Fanout) {
        let mut ticks = tokio::time::interval(KEYS_POLL);
        loop {
            ticks.tick().await;
            let read = self.reread().await;
            self.log_change(&read);
            match read {
                Ok(None) => {}
                Ok(Some(records)) => {
                    if self.publish(records) {
                        fanout.break_off_revoked().await;
                    }
                }
                Err(StoreError::Stopped) => return,
                Err(_) => {}
            }
        }
    }

    /// Logs when the table cannot be read any more, and when it can be read again. Nothing is logged in between.
    fn log_change<T>(&mut self, read: &Result<T, StoreError>) {
        match read {
            Ok(_) if self.is_unreadable => tracing::info!("the API keys can be read again"),
            Err(err) if !self.is_unreadable => {
                tracing::error!(%err, "the API keys cannot be read, so they stay as they were; the server tries again");
            }
            _ => {}
        }
        self.is_unreadable = read.is_err();
    }

    async fn reread(&mut self) -> Result<Option<Vec<KeyRecord>>, StoreError> {
        if self.stored.version().await? == self.version {
            return Ok(None);
        }
        let (version, records) = self.stored.list().await?;
        self.version = version;
        Ok(Some(records))
    }

    /// Publishes the keys. Returns true if a key was revoked.
    fn publish(&self, records: Vec<KeyRecord>) -> bool {
        tracing::info!(stored = records.len(), configured = self.configured.len(), "the API keys changed");
        let older = Arc::clone(&self.newest.borrow());
        let newer = Arc::new(older.renewed(self.configured.iter().cloned().chain(records)));
        // The new keys are published before the revocation ends connections, so that a client that reconnects finds its
        // key revoked.
        self.newest.send_replace(Arc::clone(&newer));
        older.revoke_all_but(&newer)
    }
}
