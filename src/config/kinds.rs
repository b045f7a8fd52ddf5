//! The keys of a channel that depend on its kind: which there are, their defaults, and what is wrong with others.

use url::Url;

use super::channels::ChannelEntry;
use super::kind::{
    AudioPart, ChannelKind, LOCAL_MODEL, MaxTokensField, OpenAiOptions, ResponseFormat, TranscriptionOptions,
};
use crate::audio::container::Container;
use crate::secret::Secret;
use crate::setting::{Problem, Section, nearest};

const GEMINI_BASE_URL: &str = "https://generativelanguage.googleapis.com/v1beta";
const GEMINI_MODELS: &[&str] = &["gemini-2.5-pro", "gemini-2.5-flash", "gemini-*"];
const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
const OPENAI_MODELS: &[&str] =
    &["gpt-audio", "gpt-audio-mini", "gpt-4o-audio-preview", "gpt-audio-*", "gpt-4o-audio-*"];
/// All that OpenAI's chat models take.
const OPENAI_FORMATS: &[Container] = &[Container::Wav, Container::Mp3];
const TRANSCRIPTION_MODELS: &[&str] =
    &["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-*transcribe*"];
/// OpenAI's list, as far as hearken knows the containers.
const TRANSCRIPTION_FORMATS: &[Container] =
    &[Container::Flac, Container::Mp3, Container::M4a, Container::Ogg, Container::Wav];
const LOCAL_MODELS: &[&str] = &[LOCAL_MODEL];

const KINDS: &str = "gemini, openai, transcription or local";

/// What a channel's kind decides.
pub(super) struct Kind {
    pub(super) kind: ChannelKind,
    pub(super) default_models: &'static [&'static str],
    pub(super) default_slots: usize,
    pub(super) formats: Vec<Container>,
}

/// Reads the kind of a channel and what belongs to it.
pub(super) fn kind(at: &Section<'_>, entry: &ChannelEntry) -> Result<Kind, Problem> {
    let word = entry
        .kind
        .as_deref()
        .ok_or_else(|| at.wrong("kind", "it is missing").advise(format!("write one of {KINDS}")))?;
    refuse_foreign_keys(at, entry, word)?;
    match word {
        "gemini" => {
            let base_url = base_url(at, entry, GEMINI_BASE_URL)?;
            let api_key = at.secret("api_key", entry.api_key.clone(), entry.api_key_env.as_deref())?;
            Ok(Kind {
                kind: ChannelKind::Gemini { base_url, api_key },
                default_models: GEMINI_MODELS,
                default_slots: 64,
                formats: Container::all().to_vec(),
            })
        }
        "openai" => Ok(Kind {
            kind: ChannelKind::OpenAi {
                base_url: base_url(at, entry, OPENAI_BASE_URL)?,
                api_key: bearer_key(at, entry)?,
                options: OpenAiOptions {
                    max_tokens_field: entry.max_tokens_field.unwrap_or(MaxTokensField::MaxTokens),
                    stream_options: entry.stream_options.unwrap_or(true),
                    audio_part: entry.audio_part.unwrap_or(AudioPart::InputAudio),
                },
            },
            default_models: OPENAI_MODELS,
            default_slots: 64,
            formats: formats(at, entry, OPENAI_FORMATS)?,
        }),
        "transcription" => Ok(Kind {
            kind: ChannelKind::Transcription {
                base_url: base_url(at, entry, OPENAI_BASE_URL)?,
                api_key: bearer_key(at, entry)?,
                options: TranscriptionOptions {
                    language: language(at, entry)?,
                    response_format: entry.response_format.unwrap_or(ResponseFormat::Json),
                    stream: entry.stream.unwrap_or(true),
                    stream_options: entry.stream_options.unwrap_or(false),
                },
            },
            default_models: TRANSCRIPTION_MODELS,
            default_slots: 64,
            formats: formats(at, entry, TRANSCRIPTION_FORMATS)?,
        }),
        // Measuring sound is work for the processor: more at once than there are cores only makes all slower.
        "local" => Ok(Kind {
            kind: ChannelKind::Local,
            default_models: LOCAL_MODELS,
            default_slots: std::thread::available_parallelism().map_or(1, usize::from),
            formats: Container::all().to_vec(),
        }),
        other => {
            let known = KINDS.split(", ").flat_map(|word| word.split(" or "));
            let hint =
                nearest(other, known).map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
            Err(at.wrong("kind", format!("{other:?} is unknown{hint}")).advise(format!("use {KINDS}")))
        }
    }
}

/// A key that would change nothing is a mistake: whoever wrote it expects something of it.
fn refuse_foreign_keys(at: &Section<'_>, entry: &ChannelEntry, word: &str) -> Result<(), Problem> {
    let keys: [(&str, bool, &[&str]); 7] = [
        ("audio_formats", entry.audio_formats.is_some(), &["openai", "transcription"]),
        ("audio_part", entry.audio_part.is_some(), &["openai"]),
        ("max_tokens_field", entry.max_tokens_field.is_some(), &["openai"]),
        ("stream_options", entry.stream_options.is_some(), &["openai", "transcription"]),
        ("stream", entry.stream.is_some(), &["transcription"]),
        ("language", entry.language.is_some(), &["transcription"]),
        ("response_format", entry.response_format.is_some(), &["transcription"]),
    ];
    match keys.into_iter().find(|(_, is_set, kinds)| *is_set && !kinds.contains(&word)) {
        None => Ok(()),
        Some((key, _, kinds)) => {
            let kinds = kinds.join(" and ");
            let reason = format!("it is for channels of kind {kinds}, and this one is {word}: remove it");
            Err(at.problem(key, reason))
        }
    }
}

fn base_url(at: &Section<'_>, entry: &ChannelEntry, default: &str) -> Result<Url, Problem> {
    let text = entry.base_url.as_deref().unwrap_or(default);
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| at.wrong("base_url", format!("{text:?} is no http(s) URL")))?;
    // Neither would be sent, and the first is a secret that logs might show.
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        let reason = "a name, a password or a fragment in it is not sent";
        let advice = "remove it, and write the key as api_key";
        return Err(at.problem("base_url", reason).advise(advice));
    }
    Ok(url)
}

fn bearer_key(at: &Section<'_>, entry: &ChannelEntry) -> Result<Secret, Problem> {
    let written = entry.api_key.clone().filter(|key| !key.is_empty());
    if written.is_none() && entry.api_key_env.is_none() {
        let advice =
            "set it, or api_key_env to the name of a variable; for a server that wants none, write any word";
        return Err(at.wrong("api_key", "it is missing").advise(advice));
    }
    at.secret("api_key", written, entry.api_key_env.as_deref())
}

fn formats(at: &Section<'_>, entry: &ChannelEntry, default: &[Container]) -> Result<Vec<Container>, Problem> {
    let formats = entry.audio_formats.as_deref().unwrap_or(default);
    if formats.is_empty() {
        return Err(at.wrong("audio_formats", "the list is empty").advise("name at least one"));
    }
    Ok(formats.to_vec())
}

fn language(at: &Section<'_>, entry: &ChannelEntry) -> Result<Option<String>, Problem> {
    let is_code =
        |code: &str| matches!(code.len(), 2..=3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    match &entry.language {
        Some(code) if !is_code(code) => {
            let reason = format!("{code:?} is no code of ISO 639-1");
            Err(at.wrong("language", reason).advise("remove it for any language, or write its code"))
        }
        language => Ok(language.clone()),
    }
}
