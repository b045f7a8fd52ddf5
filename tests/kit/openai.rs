//! The messages of OpenAI's API, event by event: chats and transcriptions.

use serde_json::{Value, json};

/// Returns a chunk of a chat completion.
pub(crate) fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "chatcmpl-theirs", "object": "chat.completion.chunk", "created": 7, "model": "their-model",
        "system_fingerprint": null, "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        "usage": null})
}

/// Returns the chunk with the usage, as OpenAI sends it on request.
pub(crate) fn usage_chunk() -> Value {
    json!({"id": "chatcmpl-theirs", "object": "chat.completion.chunk", "created": 7, "model": "their-model",
        "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 8, "total_tokens": 19,
            "prompt_tokens_details": {"audio_tokens": 7, "cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0}}})
}

/// Returns a piece of a transcription.
pub(crate) fn transcript_delta(text: &str) -> Value {
    json!({"type": "transcript.text.delta", "delta": text})
}

/// Returns the event that ends a transcription.
pub(crate) fn transcript_done() -> Value {
    json!({"type": "transcript.text.done", "text": "not looked at", "usage": {"type": "tokens",
        "input_tokens": 11, "output_tokens": 5, "total_tokens": 16, "input_token_details": {"audio_tokens": 7}}})
}
