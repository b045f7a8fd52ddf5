//! Metrics of the store's commits and journals.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, Registry};

use super::{MetricsError, names};

/// Metrics of the store.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    commit: Histogram,
    writes: Histogram,
    failed: IntCounter,
    sync: Histogram,
    journal_failures: IntCounter,
}

impl StoreMetrics {
    pub(super) fn open(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            commit: names::COMMIT.open(registry)?.of([]),
            writes: names::COMMIT_WRITES.open(registry)?.of([]),
            failed: names::COMMITS_FAILED.open(registry)?.of([]),
            sync: names::JOURNAL_SYNC.open(registry)?.of([]),
            journal_failures: names::JOURNAL_FAILURES.open(registry)?.of([]),
        })
    }

    /// Counts a commit, with its writes and its duration. `is_committed` is true if it has succeeded.
    pub fn committed(&self, writes: usize, took: Duration, is_committed: bool) {
        self.commit.observe(took.as_secs_f64());
        self.writes.observe(writes as f64);
        if !is_committed {
            self.failed.inc();
        }
    }

    /// Counts a round in which journals were synced to the disk. `has_succeeded` is false if it failed.
    pub fn synced(&self, took: Duration, has_succeeded: bool) {
        self.sync.observe(took.as_secs_f64());
        if !has_succeeded {
            self.journal_failures.inc();
        }
    }

    /// Returns the counter of journal failures.
    pub(super) fn journal_failures(&self) -> IntCounter {
        self.journal_failures.clone()
    }
}
