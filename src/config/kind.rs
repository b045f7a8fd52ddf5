//! Who may be behind a channel, and what each kind lets an operator choose.

use serde::Deserialize;
use url::Url;

use crate::secret::Secret;

/// The embedded channel's model, where the configuration names no other.
pub const LOCAL_MODEL: &str = "local-inspect";

/// Who is behind a channel.
#[derive(Debug, Clone)]
pub enum ChannelKind {
    /// Google's Gemini API.
    Gemini {
        /// Up to and including the version, with a slash at the end or without.
        base_url: Url,
        /// The key sent as `x-goog-api-key`.
        api_key: Secret,
    },
    /// OpenAI's chat completions, or a server that speaks like them.
    OpenAi {
        /// Up to and including the version; a query stays.
        base_url: Url,
        /// The bearer key.
        api_key: Secret,
        /// How the request is written.
        options: OpenAiOptions,
    },
    /// OpenAI's audio transcriptions, or a server that speaks like them.
    Transcription {
        /// Up to and including the version; a query stays.
        base_url: Url,
        /// The bearer key.
        api_key: Secret,
        /// How the request is written.
        options: TranscriptionOptions,
    },
    /// The embedded channel.
    Local,
}

impl ChannelKind {
    /// The word for it in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gemini { .. } => "gemini",
            Self::OpenAi { .. } => "openai",
            Self::Transcription { .. } => "transcription",
            Self::Local => "local",
        }
    }

    /// Does it take exactly one audio and no conversation?
    #[must_use]
    pub fn takes_one_audio(&self) -> bool {
        match self {
            Self::Transcription { .. } | Self::Local => true,
            Self::Gemini { .. } | Self::OpenAi { .. } => false,
        }
    }

    /// The highest temperature that it takes; the lowest is 0.
    #[must_use]
    pub fn max_temperature(&self) -> f64 {
        match self {
            Self::Transcription { .. } => 1.0,
            Self::Gemini { .. } | Self::OpenAi { .. } | Self::Local => 2.0,
        }
    }
}

/// How a request for a chat completion is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAiOptions {
    /// The name under which the token limit is sent.
    pub max_tokens_field: MaxTokensField,
    /// Is `stream_options` sent, to ask for the usage? Old servers refuse it.
    pub stream_options: bool,
    /// The form of the audio.
    pub audio_part: AudioPart,
}

/// What a server calls the token limit: OpenAI's reasoning models refuse the older name, old servers do not know the
/// newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum MaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

impl MaxTokensField {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// The form in which a chat's message holds audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioPart {
    /// OpenAI's: base64 and a format's name.
    InputAudio,
    /// vLLM's: a data URI.
    AudioUrl,
}

/// How a request for a transcription is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptionOptions {
    /// The language that is spoken (ISO 639-1), where it is known to the operator.
    pub language: Option<String>,
    /// The form of the answer.
    pub response_format: ResponseFormat,
    /// Is a stream asked for? Who does not know how answers in one piece all the same.
    pub stream: bool,
    /// Is vLLM's `stream_include_usage` sent?
    pub stream_options: bool,
}

/// The form in which a transcription is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// An object with the text.
    Json,
    /// The text alone.
    Text,
    /// An object with the text and its segments.
    VerboseJson,
    /// An object with segments that name their speakers.
    DiarizedJson,
}

impl ResponseFormat {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::VerboseJson => "verbose_json",
            Self::DiarizedJson => "diarized_json",
        }
    }
}
