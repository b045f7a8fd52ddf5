//! `[store]`, `[retention]` and `limits.max_spool_bytes`: how the store keeps what it is given, and how long.

use std::time::Duration;

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// How the store keeps what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// True where what was accepted is on the disk before that is said. Otherwise it survives the process, and not the
    /// machine.
    pub sync: bool,
    /// Most bytes of audio on the disk, of all tasks that have not ended.
    pub max_spool_bytes: u64,
}

/// How long things are kept after a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The chunks of its stream.
    pub chunks: Duration,
    /// The task itself.
    pub tasks: Duration,
    /// From the submit on, the `Idempotency-Key` that it carried.
    pub idempotency: Duration,
}

impl Retention {
    /// Returns how long a stream can be replayed: not longer than its task can be asked for.
    #[must_use]
    pub fn streams(&self) -> Duration {
        self.chunks.min(self.tasks)
    }
}

/// `[store]`, as it may be written.
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

/// `[retention]`, as it may be written.
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
            let problem = at.problem("url", "an sqlite store has no url, it is in data_dir");
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
