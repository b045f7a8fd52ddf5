//! The task object and the model lists, as clients read them.

use serde::Serialize;
use serde_json::value::RawValue;

use super::error::TaskError;

/// The ten fields of a task.
#[derive(Debug, Serialize)]
pub struct TaskObject<'a> {
    /// `task-llm-...`
    pub id: &'a str,
    /// Always `llm.generation.task`.
    pub object: &'static str,
    /// Always `llm`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The model as the client named it.
    pub model: &'a str,
    /// `pending`, `processing`, `completed` or `failed`.
    pub status: &'static str,
    /// 0 to 100.
    pub progress: u8,
    /// Unix seconds.
    pub created: u64,
    /// Where the stream is, for a task submitted with `stream`.
    pub stream: Option<StreamLink>,
    /// The ChatCompletion of a completed task, in the bytes in which it was stored.
    pub results: Option<[&'a RawValue; 1]>,
    /// The error of a failed task.
    pub error: Option<TaskError<'a>>,
}

/// Where a task's stream is.
#[derive(Debug, Serialize)]
pub struct StreamLink {
    /// A path on this server.
    pub url: String,
}

/// `{"object":"list","data":[...]}`
#[derive(Debug, Serialize)]
pub struct List<T> {
    object: &'static str,
    data: Vec<T>,
}

impl<T> List<T> {
    /// A list of everything there is.
    #[must_use]
    pub fn new(data: Vec<T>) -> Self {
        Self { object: "list", data }
    }
}

/// A page of tasks.
#[derive(Debug, Serialize)]
pub struct TaskList<'a> {
    object: &'static str,
    data: Vec<TaskObject<'a>>,
    has_more: bool,
}

impl<'a> TaskList<'a> {
    /// A page, and whether there is another one after it.
    #[must_use]
    pub fn new(data: Vec<TaskObject<'a>>, has_more: bool) -> Self {
        Self { object: "list", data, has_more }
    }
}

/// A model with what it takes in.
#[derive(Debug, Serialize)]
pub struct ModelCapabilities<'a> {
    /// The model's name.
    pub id: &'a str,
    /// Always `model`.
    pub object: &'static str,
    /// In the order text, vision, video, audio, file.
    pub capabilities: Vec<&'static str>,
}

/// A model in OpenAI's shape.
#[derive(Debug, Serialize)]
pub struct Model<'a> {
    /// The model's name.
    pub id: &'a str,
    /// Always `model`.
    pub object: &'static str,
    /// Unix seconds: since when this server serves it.
    pub created: u64,
    /// The channel's name.
    pub owned_by: &'a str,
}
