//! The first request of a new user: a spoken sentence, embedded in the program, and the `curl` line for it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Two seconds of speech, made with a speech synthesiser for this purpose.
const SPEECH: &[u8] = include_bytes!("sample.mp3");

/// Writes the request into the data directory and returns where it is.
pub(super) fn write_request(data_dir: &Path, model: &str) -> std::io::Result<PathBuf> {
    let request = json!({
        "model": model,
        "audio_url": format!("data:audio/mpeg;base64,{}", STANDARD.encode(SPEECH)),
        "sync": true,
        "stream": true,
    });
    let path = data_dir.join("sample-request.json");
    std::fs::write(&path, format!("{request:#}\n"))?;
    // Absolute, so that the line works wherever it is pasted.
    std::fs::canonicalize(path)
}

/// The line that sends it.
pub(super) fn curl_line(base_url: &str, key: &str, request: &Path) -> String {
    let request = request.display().to_string().replace('\'', r"'\''");
    format!(
        "curl -N {base_url}/v1/llm/generations -H 'Authorization: Bearer {key}' \
         -H 'Content-Type: application/json' -d '@{request}'"
    )
}
