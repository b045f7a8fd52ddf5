//! The keys of `[limits]` that bound the tasks of this process.

use serde::Deserialize;

use crate::channel::MOST_TASKS;
use crate::setting::{Keys, Problem, Section};

/// Limits of the tasks of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLimits {
    /// Most tasks that may wait for a slot.
    pub max_pending_tasks: usize,
    /// Most bytes of memory that one task's answer and frames may take.
    pub max_answer_bytes: usize,
    /// Most memory for the frames of streams that have ended, in bytes. Frames beyond it are read from the disk.
    pub max_stream_memory_bytes: usize,
}

/// The keys of `[limits]` that bound the tasks, as they appear in the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskKeys {
    max_pending_tasks: Option<usize>,
    max_answer_bytes: Option<usize>,
    max_stream_memory_bytes: Option<usize>,
}

impl Keys for TaskKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("max_pending_tasks", "1000")];
}

impl TaskKeys {
    /// Checks the keys.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is not valid.
    pub fn checked(self, at: &Section<'_>) -> Result<TaskLimits, Problem> {
        Ok(TaskLimits {
            max_pending_tasks: self.max_pending_tasks.unwrap_or(10_000).min(MOST_TASKS),
            max_answer_bytes: at.at_least_one("max_answer_bytes", self.max_answer_bytes, 64 << 20)?,
            max_stream_memory_bytes: self.max_stream_memory_bytes.unwrap_or(128 << 20),
        })
    }
}
