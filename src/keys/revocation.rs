//! Whether a key was revoked, for the work that uses the key: a stream, an upload, a call that waits.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The revocation of one key. All work that uses the key shares it.
#[derive(Debug, Default)]
pub struct Revocation {
    is_revoked: AtomicBool,
    told: Notify,
}

impl Revocation {
    /// Revokes the key permanently.
    pub(super) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Returns true if the key was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Acquire)
    }

    /// Resolves when the key is revoked.
    pub async fn revoked(&self) {
        let mut told = pin!(self.told.notified());
        // This comes before the check, so that a revocation in between is not missed.
        told.as_mut().enable();
        if !self.is_revoked() {
            told.await;
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
