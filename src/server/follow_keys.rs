//! Follows the keys of the store: a key that `hearken keys` makes or revokes takes effect within a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::fanout::Fanout;
use crate::keys::{KeyRecord, Keyring, KeyringHandle};
use crate::store::{KeyStore, Store, StoreError};

/// How often the table of keys is checked.
const KEYS_POLL: Duration = Duration::from_millis(500);

/// Keeps the keys of configuration and store up to date.
#[derive(Debug)]
pub(super) struct KeyFollower {
    stored: Arc<dyn KeyStore>,
    configured: Vec<KeyRecord>,
    version: i64,
    newest: watch::Sender<Arc<Keyring>>,
    /// True if the table could not be read the last time.
    in_trouble: bool,
}

impl KeyFollower {
    /// Reads the keys. They do not change until the follower [runs](Self::run).
    pub(super) async fn open(
        store: &Store,
        configured: Vec<KeyRecord>,
    ) -> Result<(KeyringHandle, Self), StoreError> {
        let stored = store.keys();
        let (version, records) = stored.list().await?;
        let (newest, keys) = KeyringHandle::new(Keyring::new(configured.iter().cloned().chain(records)));
        Ok((keys, Self { stored, configured, version, newest, in_trouble: false }))
    }

    /// Follows the table until the store has stopped. When a key is revoked, its requests and its subscriptions end.
    pub(super) async fn run(mut self, fanout: Fanout) {
        let mut ticks = tokio::time::interval(KEYS_POLL);
        loop {
            ticks.tick().await;
            let read = self.reread().await;
            self.note(&read);
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

    /// Logs when the table can no longer be read, and when it can be read again. Nothing is logged in between.
    fn note<T>(&mut self, read: &Result<T, StoreError>) {
        match read {
            Ok(_) if self.in_trouble => tracing::info!("the API keys can be read again"),
            Err(err) if !self.in_trouble => {
                tracing::error!(%err, "the API keys cannot be read and stay as they were");
            }
            _ => {}
        }
        self.in_trouble = read.is_err();
    }

    async fn reread(&mut self) -> Result<Option<Vec<KeyRecord>>, StoreError> {
        if self.stored.version().await? == self.version {
            return Ok(None);
        }
        let (version, records) = self.stored.list().await?;
        self.version = version;
        Ok(Some(records))
    }

    /// Returns whether a key was revoked.
    fn publish(&self, records: Vec<KeyRecord>) -> bool {
        tracing::info!(stored = records.len(), configured = self.configured.len(), "the API keys changed");
        let older = Arc::clone(&self.newest.borrow());
        let newer = Arc::new(older.renewed(self.configured.iter().cloned().chain(records)));
        // The new keys are published first, so that a client that is broken off and reconnects finds its key revoked.
        self.newest.send_replace(Arc::clone(&newer));
        older.revoke_all_but(&newer)
    }
}
