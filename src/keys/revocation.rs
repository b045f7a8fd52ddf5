//! Stops the work that uses a key (a stream, an upload, a waiting call) when the key is revoked.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The state of one key, valid or revoked. It wakes the work that waits for the revocation. All work that uses the key
/// shares it.
#[derive(Debug, Default)]
pub struct Revocation {
    is_revoked: AtomicBool,
    waiters: Notify,
}

impl Revocation {
    /// Revokes the key permanently.
    pub(super) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Release);
        self.waiters.notify_waiters();
    }

    /// Returns true if the key was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Acquire)
    }

    /// Resolves when the key is revoked.
    pub async fn revoked(&self) {
        let mut waiters = pin!(self.waiters.notified());
        // This comes before the check, so that a revocation in between is not missed.
        waiters.as_mut().enable();
        if !self.is_revoked() {
            waiters.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_revocation_reaches_current_and_later_waiters() {
        let revocation = Arc::new(Revocation::default());
        assert!(!revocation.is_revoked() && revocation.revoked().now_or_never().is_none());
        let waiting = tokio::spawn({
            let revocation = Arc::clone(&revocation);
            async move { revocation.revoked().await }
        });
        tokio::task::yield_now().await;
        revocation.revoke();
        waiting.await.unwrap();
        assert!(revocation.is_revoked() && revocation.revoked().now_or_never().is_some());
    }
}
