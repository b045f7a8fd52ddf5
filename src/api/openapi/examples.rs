//! Examples of the document, made from the types that the server sends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::audio::{AudioFacts, Container, Sound};
use crate::error::{ErrorCode, Failure};
use crate::task::{
    Completion, Encoder, Entry, Format, Include, Question, Request, Segment, Snapshot, State, TextKind,
    Timeline, Timestamp,
};
use crate::wire::completion::{
    Chunk, CompletionHead, CompletionTokensDetails, Delta, FinishReason, PromptTokensDetails, Texts, Usage,
};
use crate::wire::error::{ErrorBody, TaskError};
use crate::wire::task::TaskList;

/// The task of all examples.
pub(super) const TASK_ID: &str = "task-llm-1776874565-yq3szvcu";
/// Placeholder for a model that the server serves. It is replaced when the document is published.
pub(super) const MODEL: &str = "{model}";
/// Placeholder for the name of the model's channel.
pub(super) const CHANNEL: &str = "{channel}";
const CREATED: u64 = 1_776_874_565;
const TEXTS: [&str; 2] = ["Nothing ", "is lost."];

/// Returns a submit that gets its task at once and offers a stream.
pub(super) fn submit() -> Value {
    json!({
        "model": MODEL,
        "audio_url": "https://example.com/recordings/call-17.mp3",
        "prompt": "What is said, and in what mood?",
        "stream": true,
    })
}

/// A tenth of a second of silence, as an `audio_url`.
pub(super) const AUDIO: &str =
    "data:audio/wav;base64,UklGRjQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YRAAAACAgICAgICAgICAgICAgICA";

/// Returns a submit that contains its audio and waits for the answer.
pub(super) fn inline_submit() -> Value {
    json!({
        "model": MODEL,
        "audio_url": AUDIO,
        "sync": true,
    })
}

/// Returns a task that was just accepted.
pub(super) fn pending() -> Value {
    json!(snapshot(State::Pending).object())
}

/// Returns a completed task.
pub(super) fn completed() -> Value {
    json!(snapshot(answered(&[])).object())
}

/// Returns the completed task with all parts that `include` adds.
pub(super) fn completed_with_details() -> Value {
    let sound = Sound::new(Container::Mp3, 1_966_080, Some(Duration::from_millis(122_880)));
    let audio =
        AudioFacts::Url { url: "https://example.com/recordings/call-17.mp3".to_owned(), sound: Some(sound) };
    let question = Question::short(MODEL.to_owned(), "What is said, and in what mood?".to_owned(), None);
    let request = Request { question, stream: true, audio: vec![audio] };
    let segments = TEXTS.iter().zip([0, 1_240]).map(|(text, start_ms)| {
        let text = text.trim().to_owned();
        Segment { start_ms, end_ms: start_ms + 1_240, text, speaker: None }
    });
    let include = Include { timeline: true, segments: true, request: true };
    json!(snapshot(answered(&segments.collect::<Vec<_>>())).view(include, Some(&request)))
}

/// Returns a failed task.
pub(super) fn failed() -> Value {
    let failure = Failure::new(ErrorCode::UpstreamTimeout, ErrorCode::UpstreamTimeout.meaning());
    json!(snapshot(State::Failed { failure, progress: 0 }).object())
}

/// Returns a page of tasks.
pub(super) fn page() -> Value {
    json!(TaskList::new(vec![snapshot(State::Pending).object()], true))
}

/// Returns a whole answer.
pub(super) fn completion() -> Value {
    json!(answer(&[]).chat())
}

/// Returns the text that a subscriber reads.
pub(super) fn stream() -> String {
    let head = Arc::new(head());
    let encoder = Encoder::new(Format::Tasks, Some(Arc::clone(&head)));
    let delta = |text: &str| Entry::Delta { kind: TextKind::Content, text: text.into() };
    let finish = Entry::Finish { reason: FinishReason::Stop, usage: Box::new(usage()) };
    let entries = [Entry::Open(head), delta(TEXTS[0]), delta(TEXTS[1]), finish, Entry::Done];
    let all: Vec<_> = entries.iter().enumerate().map(|(id, entry)| encoder.encode(id, entry)).collect();
    format!(": keep-alive\nretry: 2000\n{}", String::from_utf8_lossy(&all.concat()))
}

/// Returns each kind of frame: its name, its meaning, and its fields.
pub(super) fn frames() -> [(&'static str, &'static str, Value); 3] {
    let text = json!(Chunk::delta(&head(), Delta::content(TEXTS[0]))).to_string();
    let failure = Failure::new(ErrorCode::UpstreamTimeout, ErrorCode::UpstreamTimeout.meaning());
    let failed = json!(ErrorBody { error: TaskError::from(&failure) }).to_string();
    [
        ("chunk", "A part of the answer", json!({ "event": "chunk", "id": "1", "data": text })),
        ("done", "The end of a completed task", json!({ "event": "done", "id": "4", "data": "[DONE]" })),
        ("error", "The end of a failed task", json!({ "event": "error", "id": "2", "data": failed })),
    ]
}

fn snapshot(state: State) -> Snapshot {
    let at = |ms: u64| Timestamp(CREATED * 1000 + ms);
    let mut timeline = Timeline::begun(at(120));
    timeline.fetched = Some(at(480));
    timeline.attempt(CHANNEL, at(500));
    timeline.first_answered = Some(at(1_900));
    timeline.end("completed", at(2_750));
    // The text is a valid id. If it were not, the example would show another id.
    let id = TASK_ID.parse().unwrap_or_else(|_| crate::task::TaskId::generate(CREATED));
    Snapshot { id, model: MODEL.to_owned(), created: CREATED, stream: true, state, timeline }
}

fn answered(segments: &[Segment]) -> State {
    State::Completed(answer(segments))
}

fn answer(segments: &[Segment]) -> Completion {
    let texts = Texts { content: TEXTS.into_iter().collect(), ..Texts::default() };
    Completion::new(&head(), texts, FinishReason::Stop, usage(), segments)
}

fn head() -> CompletionHead {
    CompletionHead {
        id: "chatcmpl-6bt1lz6jb34pn2mdol2no8o0".to_owned(),
        created: CREATED,
        model: MODEL.to_owned(),
    }
}

fn usage() -> Usage {
    Usage {
        prompt_tokens: 271,
        completion_tokens: 4,
        total_tokens: 275,
        prompt_tokens_details: PromptTokensDetails { audio_tokens: 262, cached_tokens: 0 },
        completion_tokens_details: CompletionTokensDetails { reasoning_tokens: 0 },
    }
}
