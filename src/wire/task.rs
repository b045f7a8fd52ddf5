//! The task object and the model lists, as clients read them.

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
    /// `pending`, `processing`, `completed` or `failed`; it never goes back.
    #[schema(schema_with = status_words)]
    pub status: &'static str,
    /// 0 to 100: 0 while pending, 100 when completed. It never falls.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// Unix seconds.
    pub created: u64,
    /// Where the stream is, for a task submitted with `stream`.
    #[schema(required)]
    pub stream: Option<StreamLink>,
    /// The ChatCompletion of a completed task, in the bytes in which it was stored.
    #[schema(required, value_type = Option<Vec<ChatCompletion<'_>>>, min_items = 1, max_items = 1)]
    pub results: Option<[&'a RawValue; 1]>,
    /// The error of a failed task.
    #[schema(required)]
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
    /// What was said from when to when; null where that was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<Option<&'a RawValue>>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// The request of a task, without its audio, in the form in which it can be asked again.
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
    /// The prompt, also where it is the default.
    pub prompt: &'a str,
    /// The system prompt.
    #[schema(required)]
    pub system_prompt: Option<&'a str>,
    /// Token limit.
    #[schema(required)]
    pub max_tokens: Option<u64>,
    /// 0 to 2.
    #[schema(required)]
    pub temperature: Option<f64>,
    /// True if the model was asked to include its reasoning.
    pub reasoning: bool,
    /// True if the chunks can be subscribed to.
    pub stream: bool,
    /// Where the audio came from and what it was.
    #[schema(required)]
    pub audio: Option<&'a Audio>,
}

/// The request of a task that is a conversation.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as in `RequestObject`")]
pub struct MessagesObject<'a, Audio> {
    pub model: &'a str,
    /// Oldest first.
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
    /// Its parts, in order.
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
    /// Audio: what is known of it.
    Audio(Option<&'a Audio>),
}

/// Where a task's stream is.
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
    /// All there are.
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
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskList<T> {
    /// Always `list`.
    #[schema(schema_with = schema::list)]
    object: &'static str,
    /// The tasks, newest first.
    data: Vec<T>,
    /// True if there are older ones.
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
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelCapabilities<'a> {
    /// The model's name.
    pub id: &'a str,
    /// Always `model`.
    #[schema(schema_with = schema::model)]
    pub object: &'static str,
    /// In the order text, vision, video, audio, file.
    #[schema(schema_with = capabilities)]
    pub capabilities: Vec<&'static str>,
}

/// A model in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct Model<'a> {
    /// The model's name.
    pub id: &'a str,
    /// Always `model`.
    #[schema(schema_with = schema::model)]
    pub object: &'static str,
    /// Unix seconds: since when this server serves it.
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

/// The words for how far a task is, as a schema.
#[must_use]
pub fn status_words() -> Object {
    let status = words(["pending", "processing", "completed", "failed"]);
    described(status, "`pending` -> `processing` -> `completed` or `failed`, and never back.")
}

fn capabilities() -> Array {
    Array::new(words(["text", "vision", "video", "audio", "file"]))
}
