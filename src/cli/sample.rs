//! A new user's first request: a spoken sentence, embedded in the program, and the `curl` line that sends it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Two seconds of speech, made for this purpose with a speech synthesiser.
const SPEECH: &[u8] = include_bytes!("sample.mp3");

/// Writes the request into the data directory and returns its path.
pub(super) fn write_request(data_dir: &Path, model: &str) -> std::io::Result<PathBuf> {
    let request = json!({
        "model": model,
        "audio_url": format!("data:audio/mpeg;base64,{}", STANDARD.encode(SPEECH)),
        "sync": true,
        "stream": true,
    });
    let path = data_dir.join("sample-request.json");
    std::fs::write(&path, format!("{request:#}\n"))?;
    // Absolute, so that the line works in any directory.
    std::fs::canonicalize(path)
}

/// The server that receives the request.
pub(super) enum SampleServer<'a> {
    /// A server that uses plain HTTP.
    Plain,
    /// A server that uses TLS, with a certificate for `name` in a file.
    Secure { name: &'a str, certificate: &'a Path },
}

impl SampleServer<'_> {
    /// Returns the URL for clients on this machine; the server listens on `address`.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        match self {
            Self::Plain => format!("http://{address}"),
            Self::Secure { name, .. } => format!("https://{name}:{}", address.port()),
        }
    }

    /// Returns the line that sends the request to `address`.
    pub(super) fn curl_line(&self, address: SocketAddr, key: &str, request: &Path) -> String {
        let url = self.url(address);
        let server = match self {
            Self::Plain => url,
            // The options are for a name that does not resolve to this machine, and an issuer that the machine does not
            // trust.
            Self::Secure { certificate, .. } => {
                let file = std::fs::canonicalize(certificate).unwrap_or_else(|_| certificate.to_path_buf());
                format!("--cacert {} --connect-to '::{address}' '{url}'", quoted("", &file))
            }
        };
        format!(
            "curl -N {server}/v1/llm/generations -H 'Authorization: Bearer {key}' \
             -H 'Content-Type: application/json' -d {}",
            quoted("@", request)
        )
    }
}

/// Returns a path as one word of a shell.
fn quoted(before: &str, path: &Path) -> String {
    format!("'{before}{}'", path.display().to_string().replace('\'', r"'\''"))
}
