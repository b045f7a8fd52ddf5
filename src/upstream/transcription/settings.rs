//! Channels of kind `transcription`.

use std::sync::Arc;

use serde::Deserialize;

use super::Transcription;
use crate::audio::Container;
use crate::setting::{Keys, Problem, Section};
use crate::upstream::kind::{Callee, ChannelKind, ModelHint, Provider, WithoutFile};
use crate::upstream::remote::{Remote, RemoteKeys, audio_formats};

const BASE_URL: &str = "https://api.openai.com/v1";
/// OpenAI's list, without the containers that hearken does not know.
const FORMATS: &[Container] =
    &[Container::Flac, Container::Mp3, Container::M4a, Container::Ogg, Container::Wav];

/// The keys of `transcription` channels, beside the keys that every channel has, as the operator writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TranscriptionKeys {
    audio_formats: Option<Vec<Container>>,
    stream_options: Option<bool>,
    stream: Option<bool>,
    language: Option<String>,
    response_format: Option<ResponseFormat>,
}

impl Keys for TranscriptionKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("audio_formats", "[\"wav\", \"mp3\"]"),
        ("stream_options", "true"),
        ("stream", "true"),
        ("language", "\"de\""),
        ("response_format", "\"json\""),
    ];
}

/// Settings of a request for a transcription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TranscriptionOptions {
    /// The spoken language (ISO 639-1), if the operator knows it.
    pub language: Option<String>,
    /// The form of the answer.
    pub response_format: ResponseFormat,
    /// True if a stream is requested. Servers that do not know streams answer in one piece.
    pub stream: bool,
    /// True if vLLM's `stream_include_usage` is sent.
    pub stream_options: bool,
}

/// The requested form of a transcription.
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
    /// Returns the word on the wire.
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

impl ChannelKind for Transcription {
    const NAME: &'static str = "transcription";
    const MODELS: &'static [&'static str] =
        &["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-*transcribe*"];
    const MAX_TEMPERATURE: f64 = 1.0;
    const TAKES_ONE_AUDIO: bool = true;
    const WITHOUT_FILE: WithoutFile = WithoutFile::Never(Some(ModelHint {
        models: &["whisper-*", "*-transcribe*"],
        advice: "This server has no channel for transcription models; its operator adds one to the configuration file: \
                 [[channels]] with kind = \"transcription\" and an API key",
    }));
    type Keys = TranscriptionKeys;

    fn provider(
        at: &Section<'_>,
        remote: RemoteKeys,
        keys: TranscriptionKeys,
    ) -> Result<Arc<dyn Provider>, Problem> {
        Ok(Arc::new(configured(at, &remote, keys)?))
    }
}

fn language(at: &Section<'_>, language: Option<String>) -> Result<Option<String>, Problem> {
    let is_code =
        |code: &str| matches!(code.len(), 2..=3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    match language {
        Some(code) if !is_code(&code) => {
            let problem = at.wrong("language", format!("{code:?} is not a code of ISO 639-1"));
            Err(problem.advise("remove it for any language, or write its code"))
        }
        language => Ok(language),
    }
}

fn configured(
    at: &Section<'_>,
    remote: &RemoteKeys,
    keys: TranscriptionKeys,
) -> Result<Remote<Transcription>, Problem> {
    let (base_url, api_key) = (remote.base_url(at, BASE_URL)?, remote.bearer_key(at)?);
    let options = TranscriptionOptions {
        language: language(at, keys.language)?,
        response_format: keys.response_format.unwrap_or(ResponseFormat::Json),
        stream: keys.stream.unwrap_or(true),
        stream_options: keys.stream_options.unwrap_or(false),
    };
    let upstream = Transcription::new(&base_url, api_key, options);
    let formats = audio_formats(at, keys.audio_formats, FORMATS)?;
    // The conventions have no name for this operation.
    let callee = Callee::at(&upstream.url, "openai", "transcription");
    Ok(Remote { upstream, formats, callee })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::with_keys;

    #[test]
    fn a_channel_has_its_defaults() {
        let Remote { upstream, formats, .. } = with_keys(configured, "");
        let plain = TranscriptionOptions {
            language: None,
            response_format: ResponseFormat::Json,
            stream: true,
            stream_options: false,
        };
        assert_eq!(upstream.options, plain);
        assert_eq!(upstream.url.as_str(), "https://api.openai.com/v1/audio/transcriptions");
        assert_eq!(formats.len(), 5);
        assert!(!formats.contains(&Container::Aiff) && !formats.contains(&Container::Aac));
    }

    #[test]
    fn a_channel_takes_every_key() {
        for (word, format) in [
            ("text", ResponseFormat::Text),
            ("verbose_json", ResponseFormat::VerboseJson),
            ("diarized_json", ResponseFormat::DiarizedJson),
        ] {
            let Remote { upstream, formats, .. } = with_keys(
                configured,
                &format!(
                    "language = \"de\"\nresponse_format = \"{word}\"\nstream = false\nstream_options = true\n\
                 audio_formats = [\"wav\", \"aac\"]"
                ),
            );
            let expected = TranscriptionOptions {
                language: Some("de".into()),
                response_format: format,
                stream: false,
                stream_options: true,
            };
            assert_eq!((upstream.options, format.as_str()), (expected, word));
            assert_eq!(formats, [Container::Wav, Container::Aac]);
        }
    }
}
