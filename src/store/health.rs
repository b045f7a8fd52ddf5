//! The health of the store: the results of the last commits and probes, and how long the current transaction has taken.
//!
//! The state is known before it is requested. So `/readyz` is answered at once, even if the disk hangs. [`Health`]
//! measures nothing: the writer reports how each transaction ended, and [`Store::watch`](super::Store::watch) makes an
//! idle writer run a transaction from time to time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::StoreError;
use super::sqlite::{corrupt, is_of_disk};

/// The time after which a running transaction means that the disk does not answer.
const HANGS: Duration = Duration::from_secs(4);
/// How often the watch checks the writer.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How often an idle writer makes a transaction while the store works. While the store does not work: at each [`TICK`].
const PROBE_PAUSE: Duration = Duration::from_secs(2);
/// How long a caller waits for a store that does not work, before the caller gets an error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The reason why the store takes no work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no room on the disk. This ends when there is room again.
    Full(String),
    /// The disk or the directory cannot be used. This ends when it can be used again.
    Unusable(String),
    /// The database is damaged. This ends with the process: the next start checks the whole database.
    Damaged(String),
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(text) => Self::Full(text),
            Trouble::Unusable(text) | Trouble::Damaged(text) => Self::Unavailable(text),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(text) | Self::Unusable(text) | Self::Damaged(text) => f.write_str(text),
        }
    }
}

/// A handle to the store's health; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    trouble: watch::Sender<Option<Trouble>>,
    opened: Instant,
    /// When the current transaction began, in milliseconds since `opened`; [`NEVER`] while there is none.
    began: AtomicU64,
    /// When the last transaction ended, in milliseconds since `opened`.
    ended: AtomicU64,
}

/// The value of `began` while there is no transaction.
const NEVER: u64 = u64::MAX;

impl Health {
    /// Makes the health of a store that was just opened, which works.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self(Arc::new(Inner {
            data_dir: data_dir.to_owned(),
            trouble: watch::Sender::new(None),
            opened: Instant::now(),
            began: AtomicU64::new(NEVER),
            ended: AtomicU64::new(0),
        }))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// Records that the writer begins a transaction.
    pub(super) fn begin(&self) {
        self.0.began.store(self.now(), Ordering::Relaxed);
    }

    /// Records that the transaction has ended, and the trouble that it met, if any.
    pub(super) fn end(&self, trouble: Option<Trouble>) {
        self.0.ended.store(self.now(), Ordering::Relaxed);
        self.0.began.store(NEVER, Ordering::Relaxed);
        self.change(trouble);
    }

    /// Records an error that a reader met in the database. Returns the error with the file's name and what to do.
    /// Damage is final. Any other fault of the disk lasts until the next transaction succeeds.
    pub(super) fn record_read_error(&self, err: StoreError) -> StoreError {
        match err {
            StoreError::Corrupt(what) => {
                let err = corrupt(&self.0.data_dir, &what);
                self.set_trouble(Trouble::Damaged(err.to_string()));
                err
            }
            StoreError::Backend(err) => {
                if is_of_disk(&*err) {
                    self.set_trouble(Trouble::Unusable(format!("the database cannot be read: {err}")));
                }
                StoreError::Backend(err)
            }
            err => err,
        }
    }

    /// Records that a file beside the database has no room. The next transaction shows whether there is room again.
    pub(super) fn full(&self, what: &str) {
        self.change(Some(Trouble::Full(what.to_owned())));
    }

    /// Returns the trouble that an error of a transaction means for the store, with the file's name and what to do.
    pub(super) fn trouble_of(&self, err: &StoreError) -> Trouble {
        match err {
            StoreError::Full(text) => Trouble::Full(text.clone()),
            StoreError::Corrupt(what) => Trouble::Damaged(corrupt(&self.0.data_dir, what).to_string()),
            err => Trouble::Unusable(err.to_string()),
        }
    }

    /// Records the reason why nothing may be read or written.
    pub(super) fn set_trouble(&self, trouble: Trouble) {
        self.change(Some(trouble));
    }

    /// Returns the damage that was found, if any. After damage, nothing is read from the database or written to it.
    pub(super) fn damage(&self) -> Option<Trouble> {
        self.0.trouble.borrow().clone().filter(|trouble| matches!(trouble, Trouble::Damaged(_)))
    }

    fn change(&self, trouble: Option<Trouble>) {
        self.0.trouble.send_if_modified(|known| {
            let is_final = matches!(known, Some(Trouble::Damaged(_)));
            if is_final || *known == trouble {
                return false;
            }
            let data_dir = self.0.data_dir.display();
            match (&*known, &trouble) {
                (_, Some(Trouble::Damaged(text))) => {
                    tracing::error!(%data_dir, "the store takes no tasks until the server is started again: {text}");
                }
                (None, Some(trouble)) => tracing::error!(%data_dir, "the store takes no tasks for now: {trouble}"),
                (Some(_), Some(trouble)) => tracing::warn!(%data_dir, "the store still takes no tasks: {trouble}"),
                (_, None) => tracing::info!(%data_dir, "the store works again"),
            }
            *known = trouble;
            true
        });
    }

    /// Returns the reason why the store takes no work, or `None` while it takes work. Does not wait.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let known = self.0.trouble.borrow().clone();
        known.or_else(|| self.hangs())
    }

    fn hangs(&self) -> Option<Trouble> {
        let since = self.0.began.load(Ordering::Relaxed);
        let busy = Duration::from_millis(self.now().saturating_sub(since));
        (busy > HANGS).then(|| Trouble::Unusable("the disk does not answer".to_owned()))
    }

    /// Records a writer that hangs. Returns true if the writer should make a transaction now.
    pub(super) fn tick(&self) -> bool {
        if let Some(hangs) = self.hangs() {
            self.change(Some(hangs));
        }
        let is_busy = self.0.began.load(Ordering::Relaxed) != NEVER;
        let idle = Duration::from_millis(self.now().saturating_sub(self.0.ended.load(Ordering::Relaxed)));
        !is_busy && (idle >= PROBE_PAUSE || self.0.trouble.borrow().is_some())
    }

    /// Resolves with the reason when the store has not worked for [`PATIENCE`]. The time counts from the first poll at
    /// the earliest.
    pub(super) async fn trouble_lasts(&self) -> StoreError {
        let mut changes = self.0.trouble.subscribe();
        loop {
            // The channel cannot close: this handle holds its sender.
            let _ = changes.wait_for(Option::is_some).await;
            if timeout(PATIENCE, changes.wait_for(Option::is_none)).await.is_err()
                && let Some(trouble) = self.trouble()
            {
                return trouble.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn full() -> Option<Trouble> {
        Some(Trouble::Full("full".into()))
    }

    #[test]
    fn trouble_ends_with_a_successful_commit_but_damage_stays() {
        let health = Health::new(Path::new("d"));
        assert_eq!(health.trouble(), None);
        health.end(full());
        assert_eq!(health.trouble(), full());
        assert!(health.tick(), "a store in trouble is probed at each tick");
        health.end(None);
        assert_eq!(health.trouble(), None);
        health.set_trouble(Trouble::Damaged("a page".into()));
        health.end(None);
        assert!(matches!(health.trouble(), Some(Trouble::Damaged(_))));
    }

    #[test]
    fn a_hanging_transaction_is_reported_as_trouble_until_it_ends() {
        let health = Health(Arc::new(Inner {
            data_dir: "d".into(),
            trouble: watch::Sender::new(None),
            opened: Instant::now().checked_sub(HANGS * 2).unwrap(),
            began: AtomicU64::new(NEVER),
            ended: AtomicU64::new(0),
        }));
        health.begin();
        assert_eq!(health.trouble(), None);
        health.0.began.store(0, Ordering::Relaxed);
        assert!(matches!(health.trouble(), Some(Trouble::Unusable(_))));
        assert!(!health.tick(), "a busy writer is not probed");
        assert!(health.0.trouble.borrow().is_some(), "waiting callers are notified");
        health.end(None);
        assert_eq!(health.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_gives_up_only_when_trouble_lasts() {
        let health = Health::new(Path::new("d"));
        let lasts = health.trouble_lasts();
        tokio::pin!(lasts);
        for _ in 0..2 {
            assert!(lasts.as_mut().now_or_never().is_none());
            health.end(full());
            assert!(lasts.as_mut().now_or_never().is_none());
            tokio::time::advance(PATIENCE / 2).await;
            assert!(lasts.as_mut().now_or_never().is_none());
            health.end(None);
        }
        assert!(lasts.as_mut().now_or_never().is_none());
        health.end(full());
        assert!(matches!(lasts.await, StoreError::Full(_)));
    }
}
