//! Gemini's messages, event by event.

use serde_json::{Value, json};

/// Returns an event with one part, which may end the answer.
pub(crate) fn event(part: &Value, finish: Option<&str>, usage: &Value) -> Value {
    let mut candidate = json!({"content": {"parts": [part], "role": "model"}, "index": 0});
    if let Some(reason) = finish {
        candidate["finishReason"] = json!(reason);
    }
    json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-test-001", "responseId": "r-1"})
}

/// Returns an event with text in it.
pub(crate) fn text_event(text: &str) -> Value {
    event(&json!({"text": text}), None, &json!({"promptTokenCount": 11, "totalTokenCount": 11}))
}

/// Returns an event that ends an answer.
pub(crate) fn finish_event(reason: &str) -> Value {
    let usage = json!({"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 3,
        "totalTokenCount": 19, "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 7}]});
    event(&json!({"text": ""}), Some(reason), &usage)
}

/// Returns an event as it is sent in a stream.
pub(crate) fn framed(event: &Value) -> String {
    format!("data: {event}\r\n\r\n")
}

/// Returns the body of an error, which may say when to retry: in seconds as Google writes them, `40s`.
pub(crate) fn error(status: u16, retry_delay: Option<&str>) -> Value {
    let mut error = json!({"code": status, "message": "The fake is out of order.", "status": "FAKE"});
    if let Some(delay) = retry_delay {
        let kind = "type.googleapis.com/google.rpc.RetryInfo";
        error["details"] = json!([{"@type": kind, "retryDelay": delay}]);
    }
    json!({ "error": error })
}
