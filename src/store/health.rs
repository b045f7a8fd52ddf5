//! Whether the store works: what its last commits and probes said, and how long the writer has been at its present one.
//!
//! The answer is at hand before it is asked for, so that a probe of `/readyz` is answered at once, also by a store whose
//! disk hangs. [`Health`] measures nothing by itself: the writer tells it how each transaction ended, and
//! [`Store::watch`](super::Store::watch) has an idle writer make a transaction from time to time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::StoreError;
use super::sqlite::{corrupt, is_of_disk};

/// A transaction that takes longer than this means that the disk does not answer.
const HANGS: Duration = Duration::from_secs(4);
/// How often the watch looks at the writer.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// An idle writer makes a transaction this often while the store works. While it does not: at each [`TICK`].
const PROBE_PAUSE: Duration = Duration::from_secs(2);
/// How long a caller waits for a store that does not work, before the caller is told so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Why the store takes no work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no room on the disk. Ends when there is.
    Full(String),
    /// The disk or the directory cannot be used. Ends when it can.
    Unusable(String),
    /// The database is damaged. Ends with the process: the next start checks all of the database.
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

/// A handle to what is known; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    trouble: watch::Sender<Option<Trouble>>,
    opened: Instant,
    /// When the transaction began that is being made, in milliseconds since `opened`; [`NEVER`] while there is none.
    began: AtomicU64,
    /// When the last transaction ended, in the same way.
    ended: AtomicU64,
}

/// No moment.
const NEVER: u64 = u64::MAX;

impl Health {
    /// The health of a store that was just opened, which works.
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

    /// The writer begins a transaction.
    pub(super) fn begin(&self) {
        self.0.began.store(self.now(), Ordering::Relaxed);
    }

    /// The transaction has ended, and the store works or does not.
    pub(super) fn end(&self, trouble: Option<Trouble>) {
        self.0.ended.store(self.now(), Ordering::Relaxed);
        self.0.began.store(NEVER, Ordering::Relaxed);
        self.change(trouble);
    }

    /// Takes note of what a reader has met in the database, and returns it with the file's name and the way out. Damage is
    /// final. Any other fault of the disk lasts until the next transaction succeeds.
    pub(super) fn notice(&self, err: StoreError) -> StoreError {
        match err {
            StoreError::Corrupt(what) => {
                let err = corrupt(&self.0.data_dir, &what);
                self.alarm(Trouble::Damaged(err.to_string()));
                err
            }
            StoreError::Backend(err) => {
                if is_of_disk(&*err) {
                    self.alarm(Trouble::Unusable(format!("the database cannot be read: {err}")));
                }
                StoreError::Backend(err)
            }
            err => err,
        }
    }

    /// Takes note of a file beside the database that finds no room. The next transaction tells whether there is some.
    pub(super) fn full(&self, what: &str) {
        self.change(Some(Trouble::Full(what.to_owned())));
    }

    /// Returns what an error of a transaction means for the store, with the file's name and the way out.
    pub(super) fn trouble_of(&self, err: &StoreError) -> Trouble {
        match err {
            StoreError::Full(text) => Trouble::Full(text.clone()),
            StoreError::Corrupt(what) => Trouble::Damaged(corrupt(&self.0.data_dir, what).to_string()),
            err => Trouble::Unusable(err.to_string()),
        }
    }

    /// Takes note of why nothing is to be read or written.
    pub(super) fn alarm(&self, trouble: Trouble) {
        self.change(Some(trouble));
    }

    /// Returns the damage that was met. From then on nothing is read from the database and nothing written to it.
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

    /// Why the store takes no work; `None` while it does. Waits for nothing.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let known = self.0.trouble.borrow().clone();
        known.or_else(|| self.hangs())
    }

    fn hangs(&self) -> Option<Trouble> {
        let since = self.0.began.load(Ordering::Relaxed);
        let busy = Duration::from_millis(self.now().saturating_sub(since));
        (busy > HANGS).then(|| Trouble::Unusable("the disk does not answer".to_owned()))
    }

    /// Takes note of a writer that hangs. Returns whether it is to make a transaction.
    pub(super) fn tick(&self) -> bool {
        if let Some(hangs) = self.hangs() {
            self.change(Some(hangs));
        }
        let is_busy = self.0.began.load(Ordering::Relaxed) != NEVER;
        let idle = Duration::from_millis(self.now().saturating_sub(self.0.ended.load(Ordering::Relaxed)));
        !is_busy && (idle >= PROBE_PAUSE || self.0.trouble.borrow().is_some())
    }

    /// Resolves when the store has not worked for [`PATIENCE`], counted from the first poll at the earliest. Tells why.
    pub(super) async fn trouble_lasts(&self) -> StoreError {
        let mut changes = self.0.trouble.subscribe();
        loop {
            // The watch cannot close: this handle holds its sender.
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
    fn trouble_ends_with_a_transaction_that_stands_but_damage_stays() {
        let health = Health::new(Path::new("d"));
        assert_eq!(health.trouble(), None);
        health.end(full());
        assert_eq!(health.trouble(), full());
        assert!(health.tick(), "a store in trouble is probed at each tick");
        health.end(None);
        assert_eq!(health.trouble(), None);
        health.alarm(Trouble::Damaged("a page".into()));
        health.end(None);
        assert!(matches!(health.trouble(), Some(Trouble::Damaged(_))));
    }

    #[test]
    fn a_transaction_that_does_not_end_is_trouble_until_it_does() {
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
        assert!(health.0.trouble.borrow().is_some(), "and those who wait hear of it");
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
