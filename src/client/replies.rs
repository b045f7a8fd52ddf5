//! What of a server's replies is read. Fields that nobody looks at are left out: a newer server may have more.

use serde::Deserialize;

use crate::wire::completion::{FinishReason, Usage};

/// A task.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    /// `task-llm-...`
    pub id: String,
    /// Where it is.
    pub status: Status,
    /// The answer of a completed task.
    results: Option<Vec<Completion>>,
    /// Why a failed task failed.
    pub error: Option<TaskError>,
    /// The task as it came: one line of JSON.
    #[serde(skip)]
    pub json: String,
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It waits.
    Pending,
    /// It runs.
    Processing,
    /// It has an answer.
    Completed,
    /// It has an error.
    Failed,
}

/// A whole answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Completion {
    choices: Vec<Choice>,
    /// What it took.
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
    /// The answer of a completed task.
    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        self.results.as_ref()?.first()
    }
}

impl Completion {
    /// The whole text: of the answer, and of the refusal to give one.
    #[must_use]
    pub fn content(&self) -> String {
        let Some(Choice { message, .. }) = self.choices.first() else { return String::new() };
        [&message.content, &message.refusal].into_iter().flatten().map(String::as_str).collect()
    }

    /// The whole reasoning.
    #[must_use]
    pub fn reasoning(&self) -> &str {
        self.choices
            .first()
            .and_then(|choice| choice.message.reasoning_content.as_deref())
            .unwrap_or_default()
    }

    /// Why the model stopped.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.choices.first()?.finish_reason
    }
}

/// An error, of a task or of a request.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskError {
    /// What went wrong, in one word.
    pub code: String,
    /// What went wrong and what to do about it.
    pub message: String,
    /// True if the same submit may succeed when it is repeated.
    pub retryable: Option<bool>,
}

/// An error in its body or its frame.
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
    /// Its name.
    pub id: String,
}

/// A chunk of a stream.
#[derive(Debug, Deserialize)]
pub struct Chunk {
    choices: Vec<ChunkChoice>,
    /// What the answer took; on its last chunk.
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
    /// The text that it adds: of the answer, or of the refusal to give one.
    #[must_use]
    pub fn content(&self) -> &str {
        let Some(ChunkChoice { delta, .. }) = self.choices.first() else { return "" };
        let texts = [&delta.content, &delta.refusal].into_iter().flatten();
        texts.map(String::as_str).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The reasoning that it adds.
    #[must_use]
    pub fn reasoning(&self) -> &str {
        self.choices.first().and_then(|choice| choice.delta.reasoning_content.as_deref()).unwrap_or_default()
    }

    /// Why the model stopped; on the last chunk.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.choices.first()?.finish_reason
    }
}
