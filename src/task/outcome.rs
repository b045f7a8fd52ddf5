//! How a task ends.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::error::Failure;
use crate::wire::completion::{CompletionEnd, CompletionHead, FinishReason, Usage};

/// How a task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With an answer.
    Completed(Arc<Completed>),
    /// Without one, or with a part of one.
    Failed(Failure),
}

/// A whole answer: its ChatCompletion, and what the end of a stream repeats of it.
#[derive(Debug, Clone)]
pub struct Completed {
    /// The ChatCompletion, in the bytes in which it is stored.
    pub json: Arc<RawValue>,
    /// The segments with measured times (a JSON list), where there are any.
    pub segments: Option<Arc<RawValue>>,
    /// What identifies the answer.
    pub head: CompletionHead,
    /// Why the model stopped.
    pub reason: FinishReason,
    /// What the answer took.
    pub usage: Usage,
}

impl Completed {
    /// Reads a ChatCompletion that was stored. Its segments are not asked for.
    ///
    /// # Errors
    /// Those of serde_json, for JSON that hearken did not write.
    pub fn stored(json: Arc<RawValue>) -> serde_json::Result<Self> {
        let CompletionEnd { head, reason, usage } = CompletionEnd::of(json.get())?;
        Ok(Self { json, segments: None, head, reason, usage })
    }
}

/// The JSON holds all the rest.
impl PartialEq for Completed {
    fn eq(&self, other: &Self) -> bool {
        self.json.get() == other.json.get()
    }
}

impl Outcome {
    /// Returns the failure of a task that failed.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Completed(_) => None,
            Self::Failed(failure) => Some(failure),
        }
    }

    /// Returns what the completed answer took.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Completed(completed) => Some(completed.usage),
            Self::Failed(_) => None,
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
