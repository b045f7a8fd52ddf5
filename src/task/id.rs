//! The id of a task: generated, parsed and printed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::random::random_text;

/// The id of a task: `task-llm-{unix seconds}-{8 characters of a-z0-9}`.
///
/// The random part comes from a cryptographic generator. But an id alone gives no access: every look-up also checks the
/// owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Arc<str>);

const PREFIX: &str = "task-llm-";
const RANDOM_CHARACTERS: usize = 8;

impl TaskId {
    /// The form of every id, as a regular expression.
    pub const PATTERN: &str = "^task-llm-[0-9]{1,20}-[a-z0-9]{8}$";

    /// Makes a new id for a task accepted at `created` (Unix seconds).
    #[must_use]
    pub fn generate(created: u64) -> Self {
        Self(format!("{PREFIX}{created}-{}", random_text(RANDOM_CHARACTERS)).into())
    }

    /// Returns the id as clients write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error for a text that is not a task id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATaskId;

impl FromStr for TaskId {
    type Err = NotATaskId;

    fn from_str(text: &str) -> Result<Self, NotATaskId> {
        let (created, random) =
            text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).ok_or(NotATaskId)?;
        let well_formed = (1..=20).contains(&created.len())
            && created.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == RANDOM_CHARACTERS
            && random.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if well_formed { Ok(Self(text.into())) } else { Err(NotATaskId) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_parses_back_to_itself() {
        let id = TaskId::generate(1_776_874_565);
        assert!(id.as_str().starts_with("task-llm-1776874565-"));
        assert_eq!(id.as_str().parse(), Ok(id));
    }

    #[test]
    fn texts_in_another_form_are_not_task_ids() {
        for text in
            ["", "task-llm-", "task-llm-1-abc", "task-llm-x-abcdefgh", "task-llm-1-ABCDEFGH", "../1-abcdefgh"]
        {
            assert_eq!(text.parse::<TaskId>(), Err(NotATaskId), "{text}");
        }
    }
}
