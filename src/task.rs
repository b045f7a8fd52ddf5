//! What a task is, as values: no actor, no network, no clock, no disk.

pub mod answer;
pub mod chunk_log;
pub mod cold_log;
pub mod entry;
pub mod format;
pub mod id;
pub mod idempotency;
pub mod life;
pub mod list;
pub mod outcome;
pub mod progress;
pub mod record;
pub mod recovery;
pub mod request;
pub mod segment;
pub mod snapshot;
pub mod spans;
pub mod submission;
pub mod timeline;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use id::TaskId;
use submission::Question;

use crate::secret::KeyHash;
use crate::wire::trace_context::{TraceContext, TraceId};

/// What is fixed about a task from the moment it is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The key that submitted it: to every other key it does not exist.
    pub owner: KeyHash,
    /// Unix time of its acceptance.
    pub created: Timestamp,
    /// May its chunks be subscribed to?
    pub stream: bool,
    /// What is asked.
    pub question: Question,
    /// Where it belongs in the trace of whoever submitted it, if there is one.
    pub trace: Option<TraceContext>,
}

impl Task {
    /// The trace that it belongs to, for the log.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace.as_ref().map(|trace| trace.trace_id)
    }
}

/// A moment, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since an earlier moment; 0 where the clock was set back.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `duration` before this one.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}
