//! Whole bodies of Gemini's, replayed as they stand and in pieces of every small size.
//!
//! Those of `tests/fixtures/gemini` are made up after the real ones. Recordings of real traffic are replayed
//! too where the environment variable `HEARKEN_WIRE_RECORDINGS` names a folder that has them in `gemini`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::hearken::Hearken;
use crate::support::subscriber::{Frame, content};
use crate::support::upstream::{FakeUpstream, Script};

/// What a body must come to.
#[derive(Clone, Copy)]
enum Outcome {
    Completed {
        /// The texts' number of chunks, beginning and end.
        content: (usize, &'static str, &'static str),
        /// The reasoning's number of chunks and beginning.
        reasoning: (usize, &'static str),
        finish_reason: &'static str,
        /// Prompt, completion, audio and reasoning tokens.
        usage: [u64; 4],
    },
    Failed {
        /// Texts that were published before.
        texts: &'static [&'static str],
        code: &'static str,
        upstream_status: Option<u16>,
    },
}

use Outcome::{Completed, Failed};

struct Recording {
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
    Recording { file, status, content_type, outcome }
}

const fn failed(code: &'static str, upstream_status: Option<u16>) -> Outcome {
    Failed { texts: &[], code, upstream_status }
}

const OURS: [Recording; 12] = [
    recording(
        "text.sse",
        200,
        SSE,
        Completed {
            content: (3, "Guten Morgen, Mün", "chen.\n"),
            reasoning: NONE,
            finish_reason: "stop",
            usage: [7, 6, 5, 0],
        },
    ),
    recording(
        "thoughts.sse",
        200,
        SSE,
        Completed {
            content: (2, "Good", " morning."),
            reasoning: (2, "**Listening**\n\nA greeting. Nothing"),
            finish_reason: "stop",
            usage: [9, 34, 0, 31],
        },
    ),
    recording(
        "max-tokens.sse",
        200,
        SSE,
        Completed {
            content: (1, "One,", " two,"),
            reasoning: NONE,
            finish_reason: "length",
            usage: [4, 15, 0, 10],
        },
    ),
    recording(
        "content-without-parts.sse",
        200,
        SSE,
        Completed { content: (1, "A.", "A."), reasoning: NONE, finish_reason: "stop", usage: [3, 2, 0, 0] },
    ),
    recording(
        "json-array.json",
        200,
        JSON,
        Completed {
            content: (1, "Yes.", "Yes."),
            reasoning: (1, "Pondering."),
            finish_reason: "stop",
            usage: [3, 10, 0, 8],
        },
    ),
    recording(
        "unary.json",
        200,
        JSON,
        Completed {
            content: (1, "A whole", " answer."),
            reasoning: NONE,
            finish_reason: "stop",
            usage: [20, 10, 14, 6],
        },
    ),
    recording(
        "max-tokens-no-parts.json",
        200,
        JSON,
        Completed { content: (0, "", ""), reasoning: NONE, finish_reason: "length", usage: [15, 4, 0, 4] },
    ),
    recording("prompt-blocked.sse", 200, SSE, failed("content_policy_violation", None)),
    recording(
        "error-after-events.sse",
        200,
        SSE,
        Failed { texts: &["Alpha ", "Beta "], code: "upstream_error", upstream_status: Some(503) },
    ),
    recording("error-400-key.json", 400, SSE, failed("upstream_auth_error", Some(400))),
    recording("error-429-retry.json", 429, JSON, failed("upstream_rate_limited", Some(429))),
    recording("error-503.json", 503, JSON, failed("upstream_error", Some(503))),
];

const RECORDED: [Recording; 13] = [
    recording(
        "stream-text.sse",
        200,
        SSE,
        Completed {
            content: (3, "The capital of France", " is Paris.\n"),
            reasoning: NONE,
            finish_reason: "stop",
            usage: [13, 8, 0, 0],
        },
    ),
    recording(
        "stream-thoughts.sse",
        200,
        SSE,
        Completed {
            content: (19, "This is a great question! Safely", "assume a driver might not see you."),
            reasoning: (4, "**"),
            finish_reason: "stop",
            usage: [34, 1256, 0, 787],
        },
    ),
    recording(
        "stream-max-tokens.sse",
        200,
        SSE,
        Completed {
            content: (1, "Here are all", "50 U.S."),
            reasoning: NONE,
            finish_reason: "length",
            usage: [9, 48, 0, 38],
        },
    ),
    recording(
        "stream-content-without-parts.sse",
        200,
        SSE,
        Completed {
            content: (5, "Here's a cute cartoon kitten", "ball of yarn for you! "),
            reasoning: NONE,
            finish_reason: "stop",
            usage: [16, 1307, 0, 0],
        },
    ),
    recording(
        "stream-vertex-signature-on-text.sse",
        200,
        SSE,
        Completed {
            content: (1, "OK", "OK"),
            reasoning: NONE,
            finish_reason: "stop",
            usage: [5, 101, 0, 100],
        },
    ),
    recording(
        "stream-json-array-no-alt-sse.json",
        200,
        JSON,
        Completed {
            content: (1, "Scoop", "Scoop"),
            reasoning: (1, ""),
            finish_reason: "stop",
            usage: [11, 293, 0, 291],
        },
    ),
    recording(
        "unary-audio-wav.json",
        200,
        JSON,
        Completed {
            content: (1, "Ruby is a programming", "developer happiness."),
            reasoning: NONE,
            finish_reason: "stop",
            usage: [125, 35, 119, 25],
        },
    ),
    recording(
        "unary-max-tokens-no-parts.json",
        200,
        JSON,
        Completed { content: (0, "", ""), reasoning: NONE, finish_reason: "length", usage: [15, 2, 0, 2] },
    ),
    recording("stream-prompt-blocked.sse", 200, SSE, failed("content_policy_violation", None)),
    recording(
        "stream-error-after-events.sse",
        200,
        SSE,
        Failed { texts: &["First ", "Second "], code: "upstream_error", upstream_status: Some(499) },
    ),
    recording("stream-error-400-invalid-key.json", 400, SSE, failed("upstream_auth_error", Some(400))),
    recording("error-429-retry-info.json", 429, JSON, failed("upstream_rate_limited", Some(429))),
    recording("error-503-high-demand.json", 503, JSON, failed("upstream_error", Some(503))),
];

#[test]
fn made_up_bodies_come_to_what_they_say() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gemini");
    for recording in &OURS {
        replay(recording, &folder);
    }
}

#[test]
fn recorded_bodies_come_to_what_they_say() {
    let Some(folder) = std::env::var_os("HEARKEN_WIRE_RECORDINGS") else {
        println!(
            "HEARKEN_WIRE_RECORDINGS is not set: only the made-up bodies of tests/fixtures/gemini are replayed"
        );
        return;
    };
    let folder = PathBuf::from(folder).join("gemini");
    for recording in &RECORDED {
        replay(recording, &folder);
    }
    let known = |path: &Path| RECORDED.iter().any(|known| path.ends_with(known.file));
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(known(&path), "{} is not replayed", path.display());
    }
}

/// Replays a body whole and in pieces of 1 to 7 bytes; all must come to the same.
fn replay(recording: &Recording, folder: &Path) {
    let file = folder.join(recording.file);
    let body = std::fs::read(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
    let answer = |script: Script| {
        script.status(recording.status).content_type(recording.content_type).raw(body.clone()).ends()
    };
    let mut script = answer(FakeUpstream::gemini());
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
