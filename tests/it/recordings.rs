//! Whole response bodies of upstreams, replayed unchanged and in pieces of every small size.
//!
//! The bodies in `tests/fixtures/gemini` and `tests/fixtures/openai` are made up after real ones. Recordings of real
//! traffic are replayed, too, if the environment variable `HEARKEN_WIRE_RECORDINGS` names a folder with subfolders of
//! the same names.

mod gemini;
mod openai;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::hearken::Hearken;
use crate::support::subscriber::{Frame, content};
use crate::support::upstream::{FakeUpstream, Script};

/// The expected outcome of a body.
#[derive(Clone, Copy)]
enum Outcome {
    Completed {
        /// The number of text chunks, and the text's beginning and end.
        content: (usize, &'static str, &'static str),
        /// The number of reasoning chunks, and the reasoning's beginning.
        reasoning: (usize, &'static str),
        finish_reason: &'static str,
        /// Prompt, completion, audio and reasoning tokens.
        usage: [u64; 4],
    },
    Failed {
        /// The texts that were published before the failure.
        texts: &'static [&'static str],
        code: &'static str,
        upstream_status: Option<u16>,
    },
}

use Outcome::{Completed, Failed};

struct Recording {
    upstream: fn() -> Script,
    file: &'static str,
    status: u16,
    content_type: &'static str,
    outcome: Outcome,
}

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json; charset=UTF-8";
const NONE: (usize, &str) = (0, "");

const fn recording(
    file: &'static str,
    status: u16,
    content_type: &'static str,
    outcome: Outcome,
) -> Recording {
    Recording { upstream: FakeUpstream::gemini, file, status, content_type, outcome }
}

impl Recording {
    /// Returns the same recording for another upstream.
    const fn of(mut self, upstream: fn() -> Script) -> Self {
        self.upstream = upstream;
        self
    }
}

const fn failed(code: &'static str, upstream_status: Option<u16>) -> Outcome {
    Failed { texts: &[], code, upstream_status }
}

#[test]
fn made_up_bodies_of_gemini_have_the_expected_outcome() {
    replay_all(gemini::OURS, &fixtures("gemini"));
}

#[test]
fn made_up_bodies_of_openai_have_the_expected_outcome() {
    replay_all(openai::OURS, &fixtures("openai"));
}

#[test]
fn recorded_bodies_of_gemini_have_the_expected_outcome() {
    if let Some(folder) = recordings("gemini") {
        replay_all(gemini::RECORDED, &folder);
    }
}

#[test]
fn recorded_bodies_of_openai_have_the_expected_outcome() {
    if let Some(folder) = recordings("openai") {
        replay_all(openai::RECORDED, &folder);
    }
}

fn fixtures(upstream: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(upstream)
}

fn recordings(upstream: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("HEARKEN_WIRE_RECORDINGS").map(|folder| PathBuf::from(folder).join(upstream));
    if folder.is_none() {
        println!(
            "HEARKEN_WIRE_RECORDINGS is not set: only the made-up bodies of tests/fixtures/{upstream} are replayed"
        );
    }
    folder
}

/// Replays all bodies of a folder. None may be missing in the list.
fn replay_all(all: &[Recording], folder: &Path) {
    for recording in all {
        replay(recording, folder);
    }
    let known =
        |path: &Path| path.ends_with(".gitattributes") || all.iter().any(|known| path.ends_with(known.file));
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(known(&path), "{} is not replayed", path.display());
    }
}

/// Replays a body whole and in pieces of 1 to 7 bytes. The outcome must always be the same.
fn replay(recording: &Recording, folder: &Path) {
    let file = folder.join(recording.file);
    let body = std::fs::read(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
    let answer = |script: Script| {
        script.status(recording.status).content_type(recording.content_type).raw(body.clone()).ends()
    };
    let mut script = answer((recording.upstream)());
    for piece in 1..=7 {
        script = answer(script.then()).in_pieces_of(piece);
    }
    let upstream = script.start();
    let hearken = Hearken::start(&upstream);
    for piece in 0..=7 {
        let id = hearken.submit(json!({"stream": true, "reasoning": true}));
        let frames = hearken.stream(&id).rest();
        let task = hearken.wait(&id);
        let about = format!("{} in pieces of {piece}", recording.file);
        judge(recording.outcome, &task, &frames, &about);
    }
}

fn judge(outcome: Outcome, task: &Value, frames: &[Frame], about: &str) {
    let (chunks, terminal) = (&frames[..frames.len() - 1], frames.last().unwrap());
    let deltas = |name: &str| -> Vec<String> {
        let texts = chunks.iter().filter_map(|frame| frame.delta()[name].as_str().map(str::to_owned));
        texts.filter(|text| !text.is_empty()).collect()
    };
    match outcome {
        Completed { content: (pieces, start, end), reasoning, finish_reason, usage } => {
            assert_eq!(task["status"], "completed", "{about}: {task}");
            assert_eq!(terminal.event, "done", "{about}");
            let choice = &task["results"][0]["choices"][0];
            let (text, thoughts) = (content(chunks), deltas("reasoning_content"));
            assert_eq!(choice["message"]["content"], text, "{about}");
            assert_eq!(deltas("content").len(), pieces, "{about}");
            assert!(text.starts_with(start) && text.ends_with(end), "{about}: {text:?}");
            assert_eq!(thoughts.len(), reasoning.0, "{about}");
            assert!(thoughts.concat().starts_with(reasoning.1), "{about}: {thoughts:?}");
            let told = choice["message"]["reasoning_content"].as_str().unwrap_or_default();
            assert_eq!(told, thoughts.concat(), "{about}");
            assert_eq!(choice["finish_reason"], finish_reason, "{about}");
            assert_eq!(chunks.len(), 2 + pieces + reasoning.0, "{about}: first, texts, last");
            let [prompt, completion, audio, thinking] = usage;
            assert_eq!(
                task["results"][0]["usage"],
                json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                    "prompt_tokens_details": {"audio_tokens": audio, "cached_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": thinking}}),
                "{about}"
            );
        }
        Failed { texts, code, upstream_status } => {
            assert_eq!(task["status"], "failed", "{about}: {task}");
            assert_eq!(task["error"]["code"], code, "{about}: {task}");
            assert_eq!(task["error"]["upstream_status"].as_u64(), upstream_status.map(u64::from), "{about}");
            assert_eq!(deltas("content"), texts, "{about}");
            assert_eq!(
                (terminal.event.as_str(), terminal.json()),
                ("error", json!({"error": task["error"]}))
            );
        }
    }
}
