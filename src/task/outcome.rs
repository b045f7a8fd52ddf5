//! The outcome of a task.

use std::sync::Arc;

use super::completion::Completion;
use crate::error::Failure;
use crate::wire::completion::{CompletionEnd, CompletionHead, FinishReason, Usage};

/// The outcome of a task that has ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The task ended with an answer.
    Completed(Arc<Completed>),
    /// The task ended without an answer, or with a part of one.
    Failed(Failure),
}

/// A complete answer as it is kept, and the parts of it that the end of a stream repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// The answer as it is kept.
    pub completion: Completion,
    /// The head of the answer, which identifies it.
    pub head: CompletionHead,
    /// Why the model stopped.
    pub reason: FinishReason,
    /// The tokens that the answer took.
    pub usage: Usage,
}

impl Completed {
    /// Reads an answer that was stored.
    ///
    /// # Errors
    /// Returns an error of serde_json for JSON that hearken did not write.
    pub fn of(completion: Completion) -> serde_json::Result<Self> {
        let CompletionEnd { head, reason, usage } = CompletionEnd::of(completion.chat().get())?;
        Ok(Self { completion, head, reason, usage })
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

    /// Returns the tokens that the completed answer took.
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
