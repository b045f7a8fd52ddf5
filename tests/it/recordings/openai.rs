//! The expected outcomes of bodies of chat completions and transcriptions, from OpenAI and from servers with the same
//! API.

use super::Outcome::{self, Completed, Failed};
use super::{JSON, Recording, SSE, failed, recording};
use crate::support::upstream::FakeUpstream;

const UTF8_SSE: &str = "text/event-stream; charset=utf-8";

const fn chat(file: &'static str, status: u16, content_type: &'static str, outcome: Outcome) -> Recording {
    recording(file, status, content_type, outcome).of(FakeUpstream::openai)
}

const fn speech(file: &'static str, status: u16, content_type: &'static str, outcome: Outcome) -> Recording {
    recording(file, status, content_type, outcome).of(FakeUpstream::transcription)
}

/// Bodies made up after real ones, and after what is known of servers of which there are no recordings.
pub(super) const OURS: &[Recording] = &[
    chat(
        "chat-usage.sse",
        200,
        SSE,
        Completed {
            content: (3, "Guten Morgen, Mün", "chen."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [12, 6, 9, 0],
        },
    ),
    chat(
        "chat-filter-first.sse",
        200,
        SSE,
        Completed {
            content: (2, "Why", " not?"),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [0, 0, 0, 0],
        },
    ),
    chat(
        "chat-event-error.sse",
        200,
        SSE,
        Failed { texts: &[], code: "upstream_rejected", upstream_status: Some(400) },
    ),
    chat(
        "chat-thinking-array.sse",
        200,
        SSE,
        Completed {
            content: (2, "1", "44"),
            reasoning: (3, "Twelve by twelve."),
            finish_reason: "stop",
            usage: [380, 9, 375, 0],
        },
    ),
    chat(
        "chat-error-chunk.sse",
        200,
        SSE,
        Failed { texts: &["Half of"], code: "upstream_rejected", upstream_status: Some(400) },
    ),
    chat(
        "chat-usage-beside-choice.sse",
        200,
        SSE,
        Completed {
            content: (1, "Yes.", "Yes."),
            reasoning: (1, "Hm"),
            finish_reason: "stop",
            usage: [4, 7, 2, 5],
        },
    ),
    chat(
        "chat-length.sse",
        200,
        SSE,
        Completed {
            content: (3, "One,", " th"),
            reasoning: (0, ""),
            finish_reason: "length",
            usage: [0, 0, 0, 0],
        },
    ),
    chat(
        "chat-error-then-done.sse",
        200,
        SSE,
        Failed { texts: &["Alpha "], code: "upstream_error", upstream_status: Some(500) },
    ),
    chat(
        "chat-reasoning-content.sse",
        200,
        SSE,
        Completed {
            content: (1, "4", "4"),
            reasoning: (2, "A sum. Four."),
            finish_reason: "stop",
            usage: [13, 21, 0, 19],
        },
    ),
    chat(
        "chat-field-error.sse",
        200,
        SSE,
        Failed { texts: &["Alpha "], code: "upstream_error", upstream_status: Some(503) },
    ),
    chat(
        "chat-message-beside-delta.sse",
        200,
        SSE,
        Completed {
            content: (2, "So", " be it."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [2, 9, 0, 0],
        },
    ),
    chat(
        "chat-no-finish-reason.sse",
        200,
        SSE,
        Completed {
            content: (2, "Cold", " air"),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [3, 2, 0, 0],
        },
    ),
    chat(
        "chat-whole.json",
        200,
        JSON,
        Completed {
            content: (1, "A whole", " answer."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [20, 4, 14, 0],
        },
    ),
    chat("error-401-key.json", 401, JSON, failed("upstream_auth_error", Some(401))),
    chat("error-429-quota.json", 429, JSON, failed("upstream_rate_limited", Some(429))),
    chat("error-422-detail.json", 422, JSON, failed("upstream_rejected", Some(422))),
    speech(
        "transcription-deltas.sse",
        200,
        SSE,
        Completed {
            content: (3, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [12, 5, 12, 0],
        },
    ),
    speech(
        "transcription-no-done.sse",
        200,
        SSE,
        Completed {
            content: (1, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [12, 5, 12, 0],
        },
    ),
    speech(
        "transcription-segments.sse",
        200,
        SSE,
        Completed {
            content: (2, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [12, 5, 12, 0],
        },
    ),
    speech(
        "transcription-named.sse",
        200,
        SSE,
        Completed {
            content: (2, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [253, 5, 250, 0],
        },
    ),
    speech(
        "transcription-chunks.sse",
        200,
        SSE,
        Completed {
            content: (2, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [3, 5, 0, 0],
        },
    ),
    speech(
        "transcription-whole.json",
        200,
        JSON,
        Completed {
            content: (1, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [0, 0, 0, 0],
        },
    ),
    speech(
        "transcription-verbose.json",
        200,
        JSON,
        Completed {
            content: (1, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [0, 0, 0, 0],
        },
    ),
    speech(
        "transcription.txt",
        200,
        "text/plain; charset=utf-8",
        Completed {
            content: (1, "Nothing is", " lost."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [0, 0, 0, 0],
        },
    ),
    speech(
        "transcription-silence.json",
        200,
        JSON,
        Completed { content: (0, "", ""), reasoning: (0, ""), finish_reason: "stop", usage: [0, 0, 0, 0] },
    ),
];

/// Recorded bodies.
pub(super) const RECORDED: &[Recording] = &[
    chat(
        "chat-stream-usage.sse",
        200,
        UTF8_SSE,
        Completed {
            content: (8, "The capital of Mexico", "Mexico City."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [14, 8, 0, 0],
        },
    ),
    chat(
        "chat-stream-azure-filter-first.sse",
        200,
        UTF8_SSE,
        Completed {
            content: (19, "Why did the developer break up", "tracing their every move! 😄"),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [0, 0, 0, 0],
        },
    ),
    chat(
        "chat-stream-groq-event-error.sse",
        200,
        SSE,
        Failed { texts: &[], code: "upstream_rejected", upstream_status: Some(400) },
    ),
    chat(
        "chat-stream-mistral-thinking-array.sse",
        200,
        UTF8_SSE,
        Completed {
            content: (2, "144", "144"),
            reasoning: (18, "The user is asking for the pro"),
            finish_reason: "stop",
            usage: [31, 66, 0, 0],
        },
    ),
    chat(
        "chat-stream-openrouter-error-chunk.sse",
        200,
        SSE,
        Failed { texts: &[], code: "upstream_rejected", upstream_status: Some(400) },
    ),
    chat(
        "chat-stream-vllm-length.sse",
        200,
        UTF8_SSE,
        Completed {
            content: (20, "<|im_end|>doctor", "supervisor\n<"),
            reasoning: (0, ""),
            finish_reason: "length",
            usage: [0, 0, 0, 0],
        },
    ),
    chat(
        "chat-stream-zai-reasoning-content.sse",
        200,
        UTF8_SSE,
        Completed {
            content: (1, "4", "4"),
            reasoning: (90, "\n1.  **Analyze the User's"),
            finish_reason: "stop",
            usage: [13, 564, 0, 561],
        },
    ),
    chat(
        "chat-audio-gpt-audio-mini.json",
        200,
        JSON,
        Completed {
            content: (1, "It seems like you're", "while coding."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [53, 123, 37, 0],
        },
    ),
    chat("error-401-invalid-key.json", 401, JSON, failed("upstream_auth_error", Some(401))),
    speech(
        "transcription-stream-deltas.sse",
        200,
        UTF8_SSE,
        Completed {
            content: (10, "Ruby is a programming", "happiness."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [37, 12, 37, 0],
        },
    ),
    speech(
        "transcription-whisper.json",
        200,
        JSON,
        Completed {
            content: (1, "Ruby is a programming", "happiness."),
            reasoning: (0, ""),
            finish_reason: "stop",
            usage: [0, 0, 0, 0],
        },
    ),
];
