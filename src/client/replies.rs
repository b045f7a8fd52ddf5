//! The fields of a server's replies that the client reads. The client ignores other fields, because a newer server may
//! send more.

use serde::Deserialize;

use crate::wire::completion::{FinishReason, Usage};

/// A task.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    /// `task-llm-...`
    pub id: String,
    /// The state of the task.
    pub status: Status,
    /// The answer of a completed task.
    results: Option<Vec<Completion>>,
    /// The error of a failed task.
    pub error: Option<TaskError>,
    /// The task as received: one line of JSON.
    #[serde(skip)]
    pub json: String,
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The task waits.
    Pending,
    /// The task runs.
    Processing,
    /// The task has an answer.
    Completed,
    /// The task has an error.
    Failed,
}

/// A whole answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Completion {
    choices: Vec<Choice>,
    /// The tokens that the answer used.
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<FinishReason>,
}

#[derive(Debug, Clone, Deserialize)]
struct Message {
    content: Option<String>,
    reasoning_content: Option<String>,
    refusal: Option<String>,
}

impl Task {
    /// Returns the answer of a completed task.
    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        self.results.as_ref()?.first()
    }
}

impl Completion {
    /// Returns the whole text: the answer, or the model's refusal to answer.
    #[must_use]
    pub fn content(&self) -> String {
        let Some(Choice { message, .. }) = self.choices.first() else { return String::new() };
        [&message.content, &message.refusal].into_iter().flatten().map(String::as_str).collect()
    }

    /// Returns the whole reasoning.
    #[must_use]
    pub fn reasoning(&self) -> &str {
        self.choices
            .first()
            .and_then(|choice| choice.message.reasoning_content.as_deref())
            .unwrap_or_default()
    }

    /// Returns the reason why the model stopped.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.choices.first()?.finish_reason
    }
}

/// An error, of a task or of a request.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskError {
    /// The kind of the error, in one word.
    pub code: String,
    /// What happened, and what to do.
    pub message: String,
    /// True if the same submit may succeed when it is repeated.
    pub retryable: Option<bool>,
}

/// An error as a body or a frame contains it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ErrorBody {
    /// The error.
    pub error: TaskError,
}

/// A list of models.
#[derive(Debug, Deserialize)]
pub(super) struct Models {
    /// The models.
    pub data: Vec<Model>,
}

/// A model.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    /// The name of the model.
    pub id: String,
}

/// A chunk of a stream.
#[derive(Debug, Deserialize)]
pub struct Chunk {
    choices: Vec<ChunkChoice>,
    /// The tokens that the answer used; on its last chunk.
    pub usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct ChunkChoice {
    delta: Delta,
    finish_reason: Option<FinishReason>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    refusal: Option<String>,
}

impl Chunk {
    /// Returns the text that the chunk adds: to the answer, or to the model's refusal to answer.
    #[must_use]
    pub fn content(&self) -> &str {
        let Some(ChunkChoice { delta, .. }) = self.choices.first() else { return "" };
        let texts = [&delta.content, &delta.refusal].into_iter().flatten();
        texts.map(String::as_str).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// Returns the reasoning that the chunk adds.
    #[must_use]
    pub fn reasoning(&self) -> &str {
        self.choices.first().and_then(|choice| choice.delta.reasoning_content.as_deref()).unwrap_or_default()
    }

    /// Returns the reason why the model stopped; on the last chunk.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.choices.first()?.finish_reason
    }
}
