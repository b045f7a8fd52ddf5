//! `[store]`, `[retention]` and `limits.max_spool_bytes`: how the store keeps its data, and how long.

use std::time::Duration;

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// Settings of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// True if accepted data is synced to the disk before the client gets its answer. Otherwise the data survives the
    /// process, but not a failure of the machine.
    pub sync: bool,
    /// Most bytes of audio on the disk, for all tasks that have not ended together.
    pub max_spool_bytes: u64,
}

/// How long data is kept after a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long the chunks of the task's stream are kept.
    pub chunks: Duration,
    /// How long the task itself is kept.
    pub tasks: Duration,
    /// How long the `Idempotency-Key` is kept, counted from the submit that carried it.
    pub idempotency: Duration,
}

impl Retention {
    /// Returns how long a stream can be replayed: not longer than its task is kept.
    #[must_use]
    pub fn streams(&self) -> Duration {
        self.chunks.min(self.tasks)
    }
}

/// The keys of `[store]`, as the file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreKeys {
    kind: Option<String>,
    url: Option<String>,
    sync: Option<bool>,
}

/// The keys of `[limits]` that bound the store.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolKeys {
    max_spool_bytes: Option<u64>,
}

/// The keys of `[retention]`, as the file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionKeys {
    chunks_seconds: Option<u64>,
    tasks_seconds: Option<u64>,
    idempotency_seconds: Option<u64>,
}

impl Keys for StoreKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("kind", "\"sqlite\""), ("sync", "true")];
}

impl Keys for SpoolKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[];
}

impl Keys for RetentionKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[];
}

impl StoreKeys {
    /// Checks the keys of `[store]`, and those of `[limits]` that bound the store.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is wrong.
    pub fn checked(
        self,
        at: &Section<'_>,
        spool: SpoolKeys,
        limits: &Section<'_>,
    ) -> Result<StoreConfig, Problem> {
        match self.kind.as_deref() {
            None | Some("sqlite") => {}
            Some("redis") => return Err(at.wrong("kind", "redis is not in this version")),
            Some(other) => return Err(at.wrong("kind", format!("{other:?} is unknown"))),
        }
        if self.url.is_some() {
            let problem = at.problem("url", "a store of kind sqlite has no url: its files are in data_dir");
            return Err(problem.advise("remove it"));
        }
        Ok(StoreConfig {
            sync: self.sync.unwrap_or(true),
            max_spool_bytes: limits.positive("max_spool_bytes", spool.max_spool_bytes, 4 << 30)?,
        })
    }
}

impl RetentionKeys {
    /// Checks the keys.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is wrong.
    pub fn checked(self, at: &Section<'_>) -> Result<Retention, Problem> {
        Ok(Retention {
            chunks: Duration::from_secs(self.chunks_seconds.unwrap_or(900)),
            tasks: at.seconds("tasks_seconds", self.tasks_seconds, 86_400)?,
            idempotency: at.seconds("idempotency_seconds", self.idempotency_seconds, 86_400)?,
        })
    }
}
