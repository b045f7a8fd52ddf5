//! Channels of kind `openai`.

use std::sync::Arc;

use serde::Deserialize;

use super::OpenAi;
use crate::audio::Container;
use crate::setting::{Keys, Problem, Section};
use crate::upstream::kind::{Callee, ChannelKind, ModelHint, Provider, WithoutFile};
use crate::upstream::remote::{Remote, RemoteKeys, audio_formats};

const BASE_URL: &str = "https://api.openai.com/v1";
/// All formats that OpenAI's chat models accept.
const FORMATS: &[Container] = &[Container::Wav, Container::Mp3];

/// The keys of `openai` channels, beside the keys that every channel has, as the operator writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAiKeys {
    audio_formats: Option<Vec<Container>>,
    audio_part: Option<AudioPart>,
    max_tokens_field: Option<MaxTokensField>,
    stream_options: Option<bool>,
}

impl Keys for OpenAiKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("audio_formats", "[\"wav\", \"mp3\"]"),
        ("audio_part", "\"input_audio\""),
        ("max_tokens_field", "\"max_tokens\""),
        ("stream_options", "true"),
    ];
}

/// Settings of a request for a chat completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenAiOptions {
    /// The field name of the token limit.
    pub max_tokens_field: MaxTokensField,
    /// True if `stream_options` is sent, to request the usage. Old servers refuse it.
    pub stream_options: bool,
    /// The form of the audio.
    pub audio_part: AudioPart,
}

/// The field name of the token limit. OpenAI's reasoning models refuse the older name, and old servers do not know the
/// newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

impl MaxTokensField {
    /// Returns the name on the wire.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// The form of audio in a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AudioPart {
    /// OpenAI's form: base64 and the name of a format.
    InputAudio,
    /// vLLM's form: a data URI.
    AudioUrl,
}

impl ChannelKind for OpenAi {
    const NAME: &'static str = "openai";
    const MODELS: &'static [&'static str] =
        &["gpt-audio", "gpt-audio-mini", "gpt-4o-audio-preview", "gpt-audio-*", "gpt-4o-audio-*"];
    const WITHOUT_FILE: WithoutFile = WithoutFile::WithKey(
        "OPENAI_API_KEY",
        ModelHint {
            models: &["gpt-*"],
            advice: "This server has no channel for OpenAI's audio models (gpt-audio and others); its operator enables \
                     it by starting the server with OPENAI_API_KEY set",
        },
    );
    type Keys = OpenAiKeys;

    fn provider(
        at: &Section<'_>,
        remote: RemoteKeys,
        keys: OpenAiKeys,
    ) -> Result<Arc<dyn Provider>, Problem> {
        Ok(Arc::new(configured(at, &remote, keys)?))
    }
}

fn configured(at: &Section<'_>, remote: &RemoteKeys, keys: OpenAiKeys) -> Result<Remote<OpenAi>, Problem> {
    let options = OpenAiOptions {
        max_tokens_field: keys.max_tokens_field.unwrap_or(MaxTokensField::MaxTokens),
        stream_options: keys.stream_options.unwrap_or(true),
        audio_part: keys.audio_part.unwrap_or(AudioPart::InputAudio),
    };
    let upstream = OpenAi::new(&remote.base_url(at, BASE_URL)?, remote.bearer_key(at)?, options);
    let formats = audio_formats(at, keys.audio_formats, FORMATS)?;
    let callee = Callee::at(&upstream.url, "openai", "chat");
    Ok(Remote { upstream, formats, callee })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::with_keys;

    #[test]
    fn a_channel_has_its_defaults() {
        let Remote { upstream, formats, .. } = with_keys(configured, "");
        let plain = OpenAiOptions {
            max_tokens_field: MaxTokensField::MaxTokens,
            stream_options: true,
            audio_part: AudioPart::InputAudio,
        };
        assert_eq!(upstream.options, plain);
        assert_eq!(upstream.url.as_str(), "https://api.openai.com/v1/chat/completions");
        assert_eq!(formats, [Container::Wav, Container::Mp3]);
    }

    #[test]
    fn a_channel_takes_every_key() {
        let Remote { upstream, formats, .. } = with_keys(
            configured,
            "base_url = \"http://h:1/v1/?api-version=2\"\nmax_tokens_field = \"max_completion_tokens\"\n\
             stream_options = false\naudio_formats = [\"flac\"]\naudio_part = \"audio_url\"",
        );
        assert_eq!(upstream.url.as_str(), "http://h:1/v1/chat/completions?api-version=2");
        assert_eq!(upstream.options.max_tokens_field.as_str(), "max_completion_tokens");
        assert_eq!(
            (upstream.options.stream_options, upstream.options.audio_part),
            (false, AudioPart::AudioUrl)
        );
        assert_eq!(formats, [Container::Flac]);
    }
}
