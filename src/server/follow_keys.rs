//! Follows the keys of the store: one that `hearken keys` makes or revokes counts within a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::fanout::Fanout;
use crate::keys::{KeyRecord, Keyring, Keys};
use crate::store::{KeyStore, Store, StoreError};

/// How often the keys' table is looked at.
const KEYS_POLL: Duration = Duration::from_millis(500);

/// Keeps the keys of configuration and store up to date.
#[derive(Debug)]
pub(super) struct KeyFollower {
    stored: Arc<dyn KeyStore>,
    configured: Vec<KeyRecord>,
    version: i64,
    newest: watch::Sender<Arc<Keyring>>,
    /// Could the table not be read the last time?
    in_trouble: bool,
}

impl KeyFollower {
    /// Reads the keys. They stay as they are until the follower [runs](Self::run).
    pub(super) async fn open(store: &Store, configured: Vec<KeyRecord>) -> Result<(Keys, Self), StoreError> {
        let stored = store.keys();
        let (version, records) = stored.list().await?;
        let (newest, keys) = Keys::new(Keyring::new(configured.iter().cloned().chain(records)));
        Ok((keys, Self { stored, configured, version, newest, in_trouble: false }))
    }

    /// Follows the table until the store has stopped. What goes on in the name of a key that is revoked ends, and so do
    /// its subscriptions.
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

    /// Tells the operator when a trouble with the table begins, and when it is over. Nothing is told in between.
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
        // First: whatever ends and comes back finds the key gone.
        self.newest.send_replace(Arc::clone(&newer));
        older.revoke_all_but(&newer)
    }
}
