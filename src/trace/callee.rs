//! Who stands behind a channel, in the words of OpenTelemetry's conventions for generative AI.

use crate::config::ChannelKind;

/// Who is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Callee {
    /// A model somewhere else.
    Remote {
        /// `gen_ai.operation.name`
        operation: &'static str,
        /// `gen_ai.provider.name`: whose language is spoken, whoever speaks it.
        provider: &'static str,
        /// `server.address`
        host: String,
        /// `server.port`
        port: Option<u16>,
    },
    /// Code of our own.
    Embedded,
}

impl Callee {
    pub(super) fn of(kind: &ChannelKind) -> Self {
        let (operation, provider, url) = match kind {
            ChannelKind::Gemini { base_url, .. } => ("generate_content", "gcp.gemini", base_url),
            ChannelKind::OpenAi { base_url, .. } => ("chat", "openai", base_url),
            // The conventions have no name for it.
            ChannelKind::Transcription { base_url, .. } => ("transcription", "openai", base_url),
            ChannelKind::Local => return Self::Embedded,
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        Self::Remote { operation, provider, host, port: url.port_or_known_default() }
    }
}
