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

/// A task, and what else was asked for with `include`. Without any of it these are the ten fields alone.
#[derive(Debug, Serialize)]
pub struct TaskView<'a, Timeline, Request> {
    /// The ten fields.
    #[serde(flatten)]
    pub task: TaskObject<'a>,
    /// When what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// The request of a task, without its audio.
#[derive(Debug, Serialize)]
pub struct RequestObject<'a, Audio> {
    /// The model as the client named it.
    pub model: &'a str,
    /// The prompt, also where it is the default.
    pub prompt: &'a str,
    /// The system prompt.
    pub system_prompt: Option<&'a str>,
    /// Token limit.
    pub max_tokens: Option<u64>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Was the model asked to include its reasoning?
    pub reasoning: bool,
    /// May the chunks be subscribed to?
    pub stream: bool,
    /// Where the audio came from and what it was.
    pub audio: Option<&'a Audio>,
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
pub struct TaskList<T> {
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
}

impl<T> TaskList<T> {
    /// A page, and whether there is another one after it.
    #[must_use]
    pub fn new(data: Vec<T>, has_more: bool) -> Self {
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
