//! The code that the tests share: the program, its upstream, a reader of its streams, and audio to send.

pub(crate) mod certificate;
pub(crate) mod collector;
pub(crate) mod fake_command;
pub(crate) mod flac;
pub(crate) mod form;
pub(crate) mod hearken;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod metrics;
pub(crate) mod outcome;
pub(crate) mod pasted;
pub(crate) mod script;
pub(crate) mod secure;
pub(crate) mod shell;
pub(crate) mod small_disk;
pub(crate) mod subscriber;
pub(crate) mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Longest time that anything may take before its test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A small WAV: a header and eight samples of silence.
pub(crate) const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";
/// The model that the fake upstream serves.
pub(crate) const MODEL: &str = "gemini-test";

/// Returns the smallest WAV as a data URI.
pub(crate) fn wav() -> String {
    format!("data:audio/wav;base64,{WAV}")
}

/// Returns a submit body with the smallest audio, changed as given.
pub(crate) fn body(changes: Value) -> Value {
    let mut body = json!({"model": MODEL, "audio_url": wav()});
    let Value::Object(changes) = changes else { panic!("changes must be an object: {changes}") };
    for (name, value) in changes {
        body[name] = value;
    }
    body
}

/// Returns a file of `tests/fixtures`.
pub(crate) fn fixture(path: &str) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()))
}

/// Decodes standard base64.
pub(crate) fn decoded(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

/// Encodes bytes as standard base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Returns an address at which nothing listens as long as the socket is held: the socket occupies the port.
pub(crate) fn closed_port() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Calls `ask` until it returns a value, which must happen within [`PATIENCE`]. For conditions that no event signals.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
