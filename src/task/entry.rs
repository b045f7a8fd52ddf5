//! Entries: the elements of the log of an answer. A [format](super::format) turns each entry into a frame.

use std::sync::Arc;

use crate::error::Failure;
use crate::wire::completion::{CompletionHead, FinishReason, Usage};

/// The text that a piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// The text of the answer.
    Content,
    /// The model's reasoning about the answer.
    Reasoning,
    /// The model's explanation why it does not answer.
    Refusal,
}

impl TextKind {
    /// All kinds of text.
    pub const ALL: [Self; 3] = [Self::Content, Self::Reasoning, Self::Refusal];
}

/// An entry of a log. Its number is its place in the log and the id of its frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The beginning: the role of the author, and the identity of the answer.
    Open(Arc<CompletionHead>),
    /// A piece of text.
    Delta {
        /// The text that the piece belongs to.
        kind: TextKind,
        /// The text of the piece.
        text: Box<str>,
    },
    /// The model has stopped.
    Finish {
        /// Why the model stopped.
        reason: FinishReason,
        /// The tokens that the answer took.
        usage: Box<Usage>,
    },
    /// The end of a completed task.
    Done,
    /// The end of a failed task.
    Error(Box<Failure>),
}

impl Entry {
    /// Returns true if the entry comes from the model's text, before the end is known. The other entries can be derived
    /// from the task's record.
    #[must_use]
    pub fn is_model_text(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Delta { .. })
    }

    /// Returns the entry's text, if it has one.
    #[must_use]
    pub fn text(&self) -> Option<(TextKind, &str)> {
        match self {
            Self::Delta { kind, text } => Some((*kind, text)),
            Self::Open(_) | Self::Finish { .. } | Self::Done | Self::Error(_) => None,
        }
    }

    /// Returns what identifies the answer, if this entry contains it.
    #[must_use]
    pub fn head(&self) -> Option<Arc<CompletionHead>> {
        if let Self::Open(head) = self { Some(Arc::clone(head)) } else { None }
    }
}
