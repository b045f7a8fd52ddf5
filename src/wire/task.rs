//! The task object and the lists of models, as clients get them.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, Object};

use super::completion::ChatCompletion;
use super::error::TaskError;
use super::schema::{self, described, words};

/// The ten fields of a task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskObject<'a> {
    /// `task-llm-...`
    #[schema(pattern = "^task-llm-[0-9]{1,20}-[a-z0-9]{8}$")]
    pub id: &'a str,
    /// Always `llm.generation.task`.
    #[schema(schema_with = object_word)]
    pub object: &'static str,
    /// Always `llm`.
    #[serde(rename = "type")]
    #[schema(schema_with = kind_word)]
    pub kind: &'static str,
    /// The model as the client named it.
    pub model: &'a str,
    /// `pending`, `processing`, `completed` or `failed`. A task never returns to an earlier status.
    #[schema(schema_with = status_words)]
    pub status: &'static str,
    /// The progress in percent: 0 while pending, 100 when completed. It never becomes smaller.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// The time of acceptance, in Unix seconds.
    pub created: u64,
    /// The link to the stream of a task that was submitted with `stream`; otherwise null.
    #[schema(required)]
    pub stream: Option<StreamLink>,
    /// The ChatCompletion of a completed task, with exactly the bytes that were stored.
    #[schema(required, value_type = Option<Vec<ChatCompletion<'_>>>, min_items = 1, max_items = 1)]
    pub results: Option<[&'a RawValue; 1]>,
    /// The error of a failed task.
    #[schema(required)]
    pub error: Option<TaskError<'a>>,
}

/// A task, with the optional parts that `include` requested. Without `include` it has only the ten fields.
#[derive(Debug, Serialize)]
pub struct TaskView<'a, Timeline, Request> {
    /// The ten fields.
    #[serde(flatten)]
    pub task: TaskObject<'a>,
    /// The times of the task's steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// The segments of the answer with their times; null if no times were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<Option<&'a RawValue>>,
    /// The request of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// The request of a task without its audio, in a form in which it can be sent again.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RequestView<'a, Audio> {
    /// One prompt about one audio.
    Short(RequestObject<'a, Audio>),
    /// A conversation.
    Messages(MessagesObject<'a, Audio>),
}

/// The request of a task that is one prompt about one audio.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestObject<'a, Audio> {
    /// The model as the client named it.
    pub model: &'a str,
    /// The prompt, even if it is the default prompt.
    pub prompt: &'a str,
    /// The system prompt.
    #[schema(required)]
    pub system_prompt: Option<&'a str>,
    /// The token limit.
    #[schema(required)]
    pub max_tokens: Option<u64>,
    /// The temperature, 0 to 2.
    #[schema(required)]
    pub temperature: Option<f64>,
    /// True if the request asked for the model's reasoning.
    pub reasoning: bool,
    /// True if clients can subscribe to the chunks.
    pub stream: bool,
    /// The source and the format of the audio.
    #[schema(required)]
    pub audio: Option<&'a Audio>,
}

/// The request of a task that is a conversation.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as in `RequestObject`")]
pub struct MessagesObject<'a, Audio> {
    pub model: &'a str,
    /// The messages, oldest first.
    pub messages: Vec<MessageObject<'a, Audio>>,
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
    pub reasoning: bool,
    pub stream: bool,
}

/// A message of a conversation.
#[derive(Debug, Serialize)]
pub struct MessageObject<'a, Audio> {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// The parts of the message, in order.
    pub content: Vec<PartObject<'a, Audio>>,
}

/// A part of a message.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum PartObject<'a, Audio> {
    /// Text.
    Text {
        /// Always `text`.
        #[serde(rename = "type")]
        kind: &'static str,
        /// The text.
        text: &'a str,
    },
    /// Audio, with the facts about it.
    Audio(Option<&'a Audio>),
}

/// The link to a task's stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamLink {
    /// A path on this server.
    pub url: String,
}

/// `{"object":"list","data":[...]}`
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// Always `list`.
    #[schema(schema_with = schema::list)]
    object: &'static str,
    /// All elements.
    data: Vec<T>,
}

impl<T> List<T> {
    /// Makes a list of all elements.
    #[must_use]
    pub fn new(data: Vec<T>) -> Self {
        Self { object: "list", data }
    }
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskList<T> {
    /// Always `list`.
    #[schema(schema_with = schema::list)]
    object: &'static str,
    /// The tasks, newest first.
    data: Vec<T>,
    /// True if there are older tasks.
    has_more: bool,
}

impl<T> TaskList<T> {
    /// Makes a page. `has_more` states whether another page follows.
    #[must_use]
    pub fn new(data: Vec<T>, has_more: bool) -> Self {
        Self { object: "list", data, has_more }
    }
}

/// A model with the inputs that it accepts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelCapabilities<'a> {
    /// The model's name.
    pub id: &'a str,
    /// Always `model`.
    #[schema(schema_with = schema::model)]
    pub object: &'static str,
    /// The inputs, in the order text, vision, video, audio, file.
    #[schema(schema_with = capabilities)]
    pub capabilities: Vec<&'static str>,
}

/// A model in OpenAI's format.
#[derive(Debug, Serialize, ToSchema)]
pub struct Model<'a> {
    /// The model's name.
    pub id: &'a str,
    /// Always `model`.
    #[schema(schema_with = schema::model)]
    pub object: &'static str,
    /// The time since which this server serves the model, in Unix seconds.
    pub created: u64,
    /// The channel's name.
    pub owned_by: &'a str,
}

fn object_word() -> Object {
    words(["llm.generation.task"])
}

fn kind_word() -> Object {
    words(["llm"])
}

/// Returns the schema of the words for a task's status.
#[must_use]
pub fn status_words() -> Object {
    let status = words(["pending", "processing", "completed", "failed"]);
    described(
        status,
        "`pending` -> `processing` -> `completed` or `failed`. A task never returns to an earlier status.",
    )
}

fn capabilities() -> Array {
    Array::new(words(["text", "vision", "video", "audio", "file"]))
}
