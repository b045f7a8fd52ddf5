//! The outcome of an upstream's answer, for tests that check one thing each.

use serde_json::{Value, json};

use super::hearken::Hearken;
use super::subscriber::content;
use super::upstream::{FakeUpstream, Script};

/// Returns the task after an answer on a channel with these lines.
pub(crate) fn task_with(script: Script, lines: &str, changes: Value) -> Value {
    let upstream = script.start();
    let hearken = Hearken::before(&upstream).channel(lines).start();
    hearken.wait(&hearken.submit(changes))
}

/// Returns the task after an answer.
pub(crate) fn task_of(script: Script, changes: Value) -> Value {
    task_with(script, "", changes)
}

/// Returns the completion's choice after an answer.
pub(crate) fn choice_of(script: Script) -> Value {
    choice_with(script, "")
}

/// Returns the completion's choice after an answer on a channel with these lines.
pub(crate) fn choice_with(script: Script, lines: &str) -> Value {
    let task = task_with(script, lines, json!({}));
    assert_eq!(task["status"], "completed", "{task}");
    task["results"][0]["choices"][0].clone()
}

/// Returns the error after an answer, which must have this code.
pub(crate) fn error_of(script: Script, code: &str) -> Value {
    let task = task_of(script, json!({}));
    assert_eq!(task["status"], "failed", "{task}");
    assert_eq!(task["error"]["code"], code, "{task}");
    task["error"].clone()
}

/// Returns what a subscriber has read of an upstream that sends a text, holds, sends another and holds, before the
/// second hold is released; and the task at its end.
pub(crate) fn read_as_it_comes(upstream: &FakeUpstream) -> (String, Value) {
    let hearken = Hearken::start(upstream);
    let id = hearken.submit(json!({"stream": true}));
    let mut stream = hearken.stream(&id);
    let mut frames = vec![stream.frame(), stream.frame()];
    upstream.release();
    frames.push(stream.frame());
    upstream.release();
    stream.rest();
    (content(&frames), hearken.wait(&id))
}
