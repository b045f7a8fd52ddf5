//! OpenAI's checks of a chat request before a model sees it. Texts and audio are checked without copying them.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::fake_upstream::intake::{Spelling, decoded_bytes};

/// Known formats of `input_audio`: OpenAI's two, and those of compatible servers.
const FORMATS: [&str; 11] =
    ["wav", "mp3", "flac", "ogg", "opus", "aac", "aiff", "m4a", "webm", "pcm16", "pcm24"];

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    temperature: Option<f64>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Parts(#[serde(borrow)] Vec<Part<'a>>),
    Text(#[serde(deserialize_with = "any_text")] ()),
}

/// A text whose content is not checked.
fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    Cow::<str>::deserialize(deserializer).map(drop)
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    text: Option<IgnoredAny>,
    #[serde(borrow)]
    input_audio: Option<InputAudio<'a>>,
    #[serde(borrow)]
    audio_url: Option<AudioUrl<'a>>,
}

/// Audio as OpenAI's object, or as Mistral's text.
#[derive(Deserialize)]
#[serde(untagged)]
enum InputAudio<'a> {
    OpenAi {
        #[serde(borrow)]
        data: Cow<'a, str>,
        #[serde(borrow)]
        format: Cow<'a, str>,
    },
    Mistral(#[serde(borrow)] Cow<'a, str>),
}

#[derive(Deserialize)]
struct AudioUrl<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
}

/// The contents of a valid request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValidRequest {
    /// The model, with its script.
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) audio_bytes: u64,
}

/// Checks a request; the error is OpenAI's message.
pub(super) fn examine(body: &[u8]) -> Result<ValidRequest, String> {
    let request: Request<'_> = serde_json::from_slice(body).map_err(|err| {
        format!("We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly: {err})")
    })?;
    let model =
        request.model.filter(|model| !model.is_empty()).ok_or("you must provide a model parameter")?;
    let messages = request.messages.ok_or("Missing required parameter: 'messages'.")?;
    if messages.is_empty() {
        return Err("Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.".to_owned());
    }
    if let Some(value) = request.temperature.filter(|value| !(0.0..=2.0).contains(value)) {
        return Err(format!(
            "Invalid 'temperature': expected a value between 0 and 2, but got {value} instead."
        ));
    }
    if request.max_tokens.or(request.max_completion_tokens).is_some_and(|most| most < 1) {
        return Err("Invalid 'max_tokens': integer below minimum value. Expected a value >= 1.".to_owned());
    }
    let stream = request.stream.unwrap_or(false);
    if request.stream_options.is_some() && !stream {
        return Err("The 'stream_options' parameter is only allowed when 'stream' is enabled.".to_owned());
    }
    let mut audio_bytes = None;
    for (number, message) in messages.iter().enumerate() {
        if !matches!(&*message.role, "system" | "developer" | "user" | "assistant") {
            return Err(format!(
                "Invalid value: '{}'. Supported values are: 'system', 'assistant', 'user', and 'developer'.",
                message.role
            ));
        }
        let parts = match &message.content {
            None => {
                return Err(format!(
                    "Invalid value for 'messages[{number}].content': expected a string, got null."
                ));
            }
            Some(Content::Text(())) => continue,
            Some(Content::Parts(parts)) => parts,
        };
        for (part, place) in parts.iter().zip(0_usize..) {
            if let Some(more) = part_bytes(part, &format!("messages[{number}].content[{place}]"))? {
                audio_bytes = Some(audio_bytes.unwrap_or(0) + more);
            }
        }
    }
    // The message of OpenAI's audio models.
    let audio_bytes = audio_bytes
        .ok_or("This model requires that either input content or output modality contain audio.")?;
    let include_usage = request.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
    Ok(ValidRequest { model: model.into_owned(), stream, include_usage, audio_bytes })
}

/// Returns the bytes of audio in a part, if it has any.
fn part_bytes(part: &Part<'_>, here: &str) -> Result<Option<u64>, String> {
    let missing = |what: &str| format!("Missing required parameter: '{here}.{what}'.");
    match &*part.kind {
        "text" if part.text.is_some() => Ok(None),
        "text" => Err(missing("text")),
        "input_audio" => match part.input_audio.as_ref().ok_or_else(|| missing("input_audio"))? {
            InputAudio::OpenAi { data, format } if FORMATS.contains(&&**format) => {
                checked(data, here).map(Some)
            }
            InputAudio::OpenAi { format, .. } => Err(format!(
                "Invalid value: '{format}'. Supported values are: 'wav' and 'mp3' (and, with other servers, {}).",
                FORMATS.join(", ")
            )),
            InputAudio::Mistral(text) => text_bytes(text, here).map(Some),
        },
        "audio_url" => {
            let url = part.audio_url.as_ref().ok_or_else(|| missing("audio_url"))?;
            text_bytes(&url.url, here).map(Some)
        }
        kind => Err(format!(
            "Invalid value: '{kind}'. Supported values are: 'text', 'input_audio', and 'audio_url'."
        )),
    }
}

/// Returns the bytes of audio in a URL, a data URL or plain base64.
fn text_bytes(text: &str, here: &str) -> Result<u64, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(0);
    }
    let data = text.split_once(";base64,").filter(|(head, _)| head.starts_with("data:"));
    checked(data.map_or(text, |(_, data)| data), here)
}

fn checked(data: &str, here: &str) -> Result<u64, String> {
    let bytes = decoded_bytes(data, Spelling::Standard).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("Invalid '{here}.input_audio.data': the audio is no base64, or empty."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn audio(format: &str, data: &str) -> Value {
        json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})
    }

    fn request(part: &Value) -> Value {
        json!({"model": "m+think", "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "?"}, part]}]})
    }

    fn checked(body: &Value) -> Result<ValidRequest, String> {
        examine(body.to_string().as_bytes())
    }

    #[test]
    fn requests_that_openai_accepts_are_accepted() {
        let mut body = request(&audio("wav", "AAAA"));
        let mut expected =
            ValidRequest { model: "m+think".to_owned(), stream: false, include_usage: false, audio_bytes: 3 };
        assert_eq!(checked(&body), Ok(expected.clone()));
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
        (expected.stream, expected.include_usage) = (true, true);
        assert_eq!(checked(&body), Ok(expected));
        for (part, bytes) in [
            (json!({"type": "input_audio", "input_audio": "AAAA"}), 3),
            (json!({"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAA="}}), 2),
            (json!({"type": "audio_url", "audio_url": {"url": "https://example.com/a.wav"}}), 0),
        ] {
            assert_eq!(checked(&request(&part)).map(|valid| valid.audio_bytes), Ok(bytes), "{part}");
        }
    }

    #[test]
    fn requests_that_openai_refuses_are_refused() {
        let with = |name: &str, value: Value| {
            let mut body = request(&audio("mp3", "AAAA"));
            body[name] = value;
            body
        };
        for (body, words) in [
            (with("model", json!("")), "provide a model"),
            (with("messages", json!([])), "empty array"),
            (with("messages", Value::Null), "'messages'"),
            (with("messages", json!([{"role": "user", "content": "?"}])), "contain audio"),
            (with("messages", json!([{"role": "me", "content": "?"}])), "'me'"),
            (with("temperature", json!(3)), "temperature"),
            (with("max_tokens", json!(0)), "max_tokens"),
            (with("stream_options", json!({"include_usage": true})), "stream_options"),
            (request(&audio("exe", "AAAA")), "'exe'"),
            (request(&audio("wav", "-_-_")), "messages[1].content[1].input_audio.data"),
            (request(&audio("wav", "data:audio/wav;base64,AAAA")), "no base64"),
            (request(&audio("wav", "")), "empty"),
            (request(&json!({"type": "video"})), "'video'"),
            (request(&json!({"type": "text"})), "content[1].text"),
        ] {
            let problem = checked(&body).expect_err(words);
            assert!(problem.contains(words), "{problem}");
        }
        assert!(examine(b"model=m").is_err());
    }
}
