//! The keys of `[limits]` that bound the calls of one task.

use std::time::Duration;

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// The limit for all calls of one task together, whatever each channel allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Most calls.
    pub calls: u32,
    /// Time after the first call from which no further call begins.
    pub time: Duration,
}

/// The keys of `[limits]` that bound the calls, as they appear in the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryBudgetKeys {
    max_task_calls: Option<u32>,
    max_task_retry_seconds: Option<u64>,
}

impl Keys for RetryBudgetKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("max_task_calls", "12")];
}

impl RetryBudgetKeys {
    /// Checks the keys.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is not valid.
    pub fn checked(self, at: &Section<'_>) -> Result<RetryBudget, Problem> {
        let calls = self.max_task_calls.map(|calls| calls as usize);
        Ok(RetryBudget {
            calls: at.at_least_one("max_task_calls", calls, 12)? as u32,
            time: Section::any_time(Duration::from_secs(self.max_task_retry_seconds.unwrap_or(900))),
        })
    }
}
