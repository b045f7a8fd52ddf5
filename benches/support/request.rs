//! Complete requests as they are sent over the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hearken::task::TaskId;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::Outcome;
use super::kit::chunked::{LAST, chunk};
use super::kit::request::Request;

/// The key that the server knows.
pub(crate) const KEY: &str = "sk-bench-0f7c1b6d52";
/// The model that its channel offers.
pub(crate) const MODEL: &str = "gemini-bench";

const SUBMIT: &str = "/v1/llm/generations";
/// The bytes of a chunk.
const CHUNK_BYTES: usize = 64 * 1024;
/// The bytes of a WAV's header.
const WAV_HEADER: usize = 44;

/// Returns a submit whose body has about `bytes` bytes, most of them a WAV.
pub(crate) fn submit(bytes: usize) -> Outcome<Vec<u8>> {
    submit_to(MODEL, bytes)
}

/// Returns a submit for this model whose body has about `bytes` bytes.
pub(crate) fn submit_to(model: &str, bytes: usize) -> Outcome<Vec<u8>> {
    let room = bytes.saturating_sub(data(model, "").len());
    Ok(post(&data(model, &STANDARD.encode(wav(room / 4 * 3)?))))
}

/// Returns the body of a submit with a WAV, whose base64 is written unchanged.
pub(crate) fn data(model: &str, base64: &str) -> String {
    by_url(model, &format!("data:audio/wav;base64,{base64}"))
}

/// Returns the body of a submit with a URL.
pub(crate) fn by_url(model: &str, url: &str) -> String {
    format!(r#"{{"model":"{model}","prompt":"Who speaks?","audio_url":"{url}"}}"#)
}

/// Returns a submit with this body.
pub(crate) fn post(body: &str) -> Vec<u8> {
    keyed("POST", SUBMIT).json(body).bytes()
}

/// Returns a submit with this body and an `Idempotency-Key`.
pub(crate) fn post_once(body: &str) -> Vec<u8> {
    keyed("POST", SUBMIT).header("idempotency-key", "bench").json(body).bytes()
}

/// Returns a submit with this body, in chunks and without its length.
pub(crate) fn post_chunked(body: &str) -> Vec<u8> {
    let head = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let mut request = keyed("POST", SUBMIT).headers(&head).bytes();
    body.as_bytes().chunks(CHUNK_BYTES).for_each(|data| chunk(data, &mut request));
    request.extend_from_slice(LAST);
    request
}

/// Begins a request that carries the key.
fn keyed(method: &str, path: &str) -> Request {
    Request::new(method, path, "bench").key(KEY)
}

/// Returns a submit of a short recording. `is_streamed` allows streaming; `is_answered` makes the reply wait for the
/// result.
pub(crate) fn short(is_streamed: bool, is_answered: bool) -> Outcome<Vec<u8>> {
    let audio = format!("data:audio/wav;base64,{}", STANDARD.encode(wav(1_000)?));
    let body = json!({"model": MODEL, "audio_url": audio, "stream": is_streamed, "sync": is_answered});
    Ok(post(&body.to_string()))
}

/// Returns the question of such a submit as a direct call to an upstream with Gemini's dialect, much as hearken would
/// send it.
pub(crate) fn to_gemini() -> Outcome<Vec<u8>> {
    let audio = json!({"inlineData": {"mimeType": "audio/wav", "data": STANDARD.encode(wav(1_000)?)}});
    let prompt = json!({"text": "Please transcribe this audio file"});
    let body = json!({"contents": [{"role": "user", "parts": [prompt, audio]}]}).to_string();
    let path = format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse");
    Ok(Request::new("POST", &path, "bench").header("x-goog-api-key", "bench").json(body).bytes())
}

/// Returns the path of a task's stream.
pub(crate) fn stream(id: &TaskId) -> String {
    format!("/v1/llm/generations/{id}/stream")
}

/// Returns the header line that carries the key.
pub(crate) fn authorization() -> String {
    format!("authorization: Bearer {KEY}\r\n")
}

/// Returns a request for a task that is answered when the task has ended, or after a minute.
pub(crate) fn wait_for(id: &TaskId) -> Vec<u8> {
    keyed("GET", &format!("/v1/tasks/{id}?wait=60")).bytes()
}

/// Returns a subscription to a task's chunks from the first one on.
pub(crate) fn subscription(id: &TaskId) -> Vec<u8> {
    keyed("GET", &stream(id)).bytes()
}

/// Returns a request for a page of the list of tasks.
pub(crate) fn list(after: Option<&str>) -> Vec<u8> {
    let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
    keyed("GET", &format!("/v1/tasks?limit=100{after}")).bytes()
}

/// Returns a WAV of `bytes` bytes in all: 16 kHz, 16 bit, mono, and noise, so that no disk can compress it.
pub(crate) fn wav(bytes: usize) -> Outcome<Vec<u8>> {
    let samples = u32::try_from(bytes.saturating_sub(WAV_HEADER) & !1)?;
    let mut wav = Vec::with_capacity(bytes);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(samples + 36).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    for (value, width) in [(16_u32, 4), (1, 2), (1, 2), (16_000, 4), (32_000, 4), (2, 2), (16, 2)] {
        wav.extend_from_slice(&value.to_le_bytes()[..width]);
    }
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&samples.to_le_bytes());
    let from = wav.len();
    wav.resize(from + samples as usize, 0);
    StdRng::seed_from_u64(7).fill(&mut wav[from..]);
    Ok(wav)
}
