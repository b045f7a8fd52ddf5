//! The first request of a new user: a spoken sentence, embedded in the program, and the `curl` line for it.

use std::net::SocketAddr;
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

/// The server that it is sent to.
pub(super) enum Server<'a> {
    /// It speaks plain HTTP.
    Plain,
    /// It speaks TLS: as `name`, with the certificate of a file.
    Secure { name: &'a str, certificate: &'a Path },
}

impl Server<'_> {
    /// Where somebody on this machine finds it, if `address` leads here.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        match self {
            Self::Plain => format!("http://{address}"),
            Self::Secure { name, .. } => format!("https://{name}:{}", address.port()),
        }
    }

    /// The line that sends the request to `address`.
    pub(super) fn curl_line(&self, address: SocketAddr, key: &str, request: &Path) -> String {
        let url = self.url(address);
        let server = match self {
            Self::Plain => url,
            // The name need not lead here, and who has issued the certificate need not be known on this machine.
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

/// As one word of a shell.
fn quoted(before: &str, path: &Path) -> String {
    format!("'{before}{}'", path.display().to_string().replace('\'', r"'\''"))
}
