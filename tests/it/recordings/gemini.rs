//! The expected outcomes of bodies from Gemini.

use super::Outcome::{Completed, Failed};
use super::{JSON, NONE, Recording, SSE, failed, recording};

/// Bodies made up after real ones.
pub(super) const OURS: &[Recording] = &[
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

/// Recorded bodies.
pub(super) const RECORDED: &[Recording] = &[
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
