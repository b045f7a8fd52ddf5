//! Google's checks of a request before a model sees it: every field's name, and the audio's base64. Texts and audio are
//! checked without copying them.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fake_upstream::intake::{Spelling, decoded_bytes};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow)]
    contents: Option<Vec<Content<'a>>>,
    #[serde(borrow, alias = "system_instruction")]
    system_instruction: Option<Content<'a>>,
    #[serde(alias = "generation_config")]
    generation_config: Option<GenerationConfig>,
    #[serde(rename = "safetySettings", alias = "safety_settings")]
    _safety_settings: Option<IgnoredAny>,
    #[serde(rename = "tools")]
    _tools: Option<IgnoredAny>,
    #[serde(rename = "toolConfig", alias = "tool_config")]
    _tool_config: Option<IgnoredAny>,
    #[serde(rename = "cachedContent", alias = "cached_content")]
    _cached_content: Option<IgnoredAny>,
    #[serde(rename = "labels")]
    _labels: Option<IgnoredAny>,
    #[serde(rename = "model")]
    _model: Option<IgnoredAny>,
    #[serde(rename = "serviceTier", alias = "service_tier")]
    _service_tier: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content<'a> {
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "inline_data")]
    inline_data: Option<Blob<'a>>,
    #[serde(borrow, alias = "file_data")]
    file_data: Option<FileData<'a>>,
    #[serde(rename = "thought")]
    _thought: Option<bool>,
    #[serde(rename = "thoughtSignature", alias = "thought_signature")]
    _thought_signature: Option<IgnoredAny>,
    #[serde(rename = "videoMetadata", alias = "video_metadata")]
    _video_metadata: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Blob<'a> {
    #[serde(borrow, default, alias = "mime_type")]
    mime_type: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(rename = "displayName", alias = "display_name")]
    _display_name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileData<'a> {
    #[serde(borrow, default, alias = "mime_type")]
    mime_type: Cow<'a, str>,
    #[serde(borrow, default, alias = "file_uri")]
    file_uri: Cow<'a, str>,
    #[serde(rename = "displayName", alias = "display_name")]
    _display_name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GenerationConfig {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<i64>,
    temperature: Option<f64>,
    #[serde(alias = "thinking_config")]
    thinking_config: Option<ThinkingConfig>,
    #[serde(rename = "topP", alias = "top_p")]
    _top_p: Option<f64>,
    #[serde(rename = "topK", alias = "top_k")]
    _top_k: Option<f64>,
    #[serde(rename = "candidateCount", alias = "candidate_count")]
    _candidate_count: Option<i64>,
    #[serde(rename = "stopSequences", alias = "stop_sequences")]
    _stop_sequences: Option<Vec<String>>,
    #[serde(rename = "responseMimeType", alias = "response_mime_type")]
    _response_mime_type: Option<String>,
    #[serde(rename = "responseSchema", alias = "response_schema")]
    _response_schema: Option<IgnoredAny>,
    #[serde(rename = "responseJsonSchema", alias = "response_json_schema")]
    _response_json_schema: Option<IgnoredAny>,
    #[serde(rename = "responseModalities", alias = "response_modalities")]
    _response_modalities: Option<IgnoredAny>,
    #[serde(rename = "responseLogprobs", alias = "response_logprobs")]
    _response_logprobs: Option<bool>,
    #[serde(rename = "logprobs")]
    _logprobs: Option<i64>,
    #[serde(rename = "seed")]
    _seed: Option<i64>,
    #[serde(rename = "presencePenalty", alias = "presence_penalty")]
    _presence_penalty: Option<f64>,
    #[serde(rename = "frequencyPenalty", alias = "frequency_penalty")]
    _frequency_penalty: Option<f64>,
    #[serde(rename = "speechConfig", alias = "speech_config")]
    _speech_config: Option<IgnoredAny>,
    #[serde(rename = "mediaResolution", alias = "media_resolution")]
    _media_resolution: Option<IgnoredAny>,
    #[serde(rename = "audioTimestamp", alias = "audio_timestamp")]
    _audio_timestamp: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThinkingConfig {
    #[serde(rename = "includeThoughts", alias = "include_thoughts")]
    _include_thoughts: Option<bool>,
    #[serde(alias = "thinking_budget")]
    thinking_budget: Option<i64>,
    #[serde(alias = "thinking_level")]
    thinking_level: Option<String>,
}

/// Returns the bytes of audio in a request; the error is Google's message.
pub(super) fn audio_bytes(body: &[u8]) -> Result<u64, String> {
    let request: Request<'_> = serde_json::from_slice(body).map_err(|err| not_understood(&err))?;
    if let Some(config) = &request.generation_config {
        check_config(config)?;
    }
    if request.system_instruction.is_some_and(|content| !has_text(&content)) {
        return Err(
            "Unable to submit request because it must have a text parameter in the system instruction."
                .to_owned(),
        );
    }
    let contents = request.contents.filter(|contents| !contents.is_empty());
    let contents = contents.ok_or("* GenerateContentRequest.contents: contents is not specified\n")?;
    let mut bytes = None;
    for (number, content) in contents.iter().enumerate() {
        if content.role.as_deref().is_some_and(|role| !matches!(role, "user" | "model")) {
            return Err("Please use a valid role: user, model.".to_owned());
        }
        let parts = content.parts.as_deref().unwrap_or_default();
        if parts.is_empty() {
            return Err(format!(
                "* GenerateContentRequest.contents[{number}].parts: contents.parts must not be empty.\n"
            ));
        }
        for (part, place) in parts.iter().zip(0_usize..) {
            let here = format!("contents[{number}].parts[{place}]");
            if let Some(more) = part_bytes(part, &here)? {
                bytes = Some(bytes.unwrap_or(0) + more);
            }
        }
    }
    // A real model would answer, but a test needs to know that its audio got lost.
    bytes.ok_or_else(|| "hearken fake-upstream: no part of the contents is audio".to_owned())
}

/// Returns the bytes of audio in a part, if it has any.
fn part_bytes(part: &Part<'_>, here: &str) -> Result<Option<u64>, String> {
    match (part.text.is_some(), &part.inline_data, &part.file_data) {
        (true, None, None) => Ok(None),
        (false, Some(Blob { mime_type, data, .. }), None) => {
            check_type(mime_type)?;
            let bytes = decoded_bytes(data, Spelling::Any).ok_or_else(|| {
                let start: String = data.chars().take(16).collect();
                format!(
                    "Invalid value at '{here}.inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"{start}\""
                )
            })?;
            if bytes == 0 {
                return Err("Unable to process input audio: it is empty.".to_owned());
            }
            Ok(Some(bytes))
        }
        (false, None, Some(FileData { mime_type, file_uri, .. })) => {
            check_type(mime_type)?;
            if file_uri.is_empty() {
                Err("Invalid or unsupported file uri: ".to_owned())
            } else {
                Ok(Some(0))
            }
        }
        (false, None, None) => Err(format!(
            "* GenerateContentRequest.{here}.data: required oneof field 'data' must have one initialized field\n"
        )),
        _ => Err(format!("Invalid value at '{here}' (oneof), oneof field 'data' is already set.")),
    }
}

/// Checks that the type is one that a model of Google's accepts.
fn check_type(mime_type: &str) -> Result<(), String> {
    let known = ["audio/", "video/"].iter().any(|family| mime_type.starts_with(family));
    if known { Ok(()) } else { Err(format!("Unsupported MIME type: {mime_type}")) }
}

fn has_text(content: &Content<'_>) -> bool {
    content.parts.iter().flatten().any(|part| part.text.as_deref().is_some_and(|text| !text.is_empty()))
}

fn check_config(config: &GenerationConfig) -> Result<(), String> {
    if config.max_output_tokens.is_some_and(|most| most < 1) {
        return Err("* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n".to_owned());
    }
    if let Some(temperature) = config.temperature.filter(|value| !(0.0..=2.0).contains(value)) {
        return Err(format!(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0], is {temperature}.\n"
        ));
    }
    let both = config
        .thinking_config
        .as_ref()
        .is_some_and(|thinking| thinking.thinking_budget.is_some() && thinking.thinking_level.is_some());
    if both {
        return Err("You can only set only one of thinking budget and thinking level.".to_owned());
    }
    Ok(())
}

/// Returns Google's message for JSON that does not fit.
fn not_understood(err: &serde_json::Error) -> String {
    let text = err.to_string();
    let unknown = text.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    match unknown {
        Some(name) => format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."),
        None => format!("Invalid JSON payload received. {text}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(body: &Value) -> Result<u64, String> {
        audio_bytes(body.to_string().as_bytes())
    }

    fn with_part(part: &Value) -> Value {
        json!({"contents": [{"role": "user", "parts": [{"text": "?"}, part]}]})
    }

    fn audio(mime_type: &str, data: &str) -> Value {
        json!({"inlineData": {"mimeType": mime_type, "data": data}})
    }

    #[test]
    fn requests_that_google_accepts_are_accepted() {
        assert_eq!(checked(&with_part(&audio("audio/wav", "AAAA"))), Ok(3));
        assert_eq!(
            checked(&with_part(&json!({"inline_data": {"mime_type": "audio/mp3", "data": "-_-_AA"}}))),
            Ok(4)
        );
        let mut body = with_part(&audio("audio/ogg", "AA=="));
        body["systemInstruction"] = json!({"parts": [{"text": "Be brief."}]});
        body["generationConfig"] = json!({"maxOutputTokens": 7, "temperature": 0.5,
            "thinkingConfig": {"includeThoughts": true}});
        assert_eq!(checked(&body), Ok(1));
        let escaped =
            br#"{"contents":[{"parts":[{"inlineData":{"mimeType":"audio\/wav","data":"AA\/\/"}}]}]}"#;
        assert_eq!(audio_bytes(escaped), Ok(3));
    }

    #[test]
    fn requests_that_google_refuses_get_its_message() {
        let good = audio("audio/wav", "AAAA");
        let with = |name: &str, value: Value| {
            let mut body = with_part(&good);
            body[name] = value;
            body
        };
        for (body, words) in [
            (json!({}), "contents is not specified"),
            (json!({"contents": []}), "contents is not specified"),
            (json!({"contents": [{"role": "user"}]}), "parts must not be empty"),
            (json!({"contents": [{"role": "me", "parts": [good]}]}), "valid role"),
            (json!({"contents": [{"parts": [{"text": "?"}]}]}), "no part of the contents is audio"),
            (with_part(&json!({})), "required oneof field 'data'"),
            (with_part(&json!({"sound": 1})), "Unknown name \"sound\": Cannot find field."),
            (
                with_part(&audio("application/octet-stream", "AAAA")),
                "Unsupported MIME type: application/octet-stream",
            ),
            (with_part(&audio("audio/wav", "A!")), "Base64 decoding failed for \"A!\""),
            (with_part(&audio("audio/wav", "")), "empty"),
            (with("prompt", json!("x")), "Unknown name \"prompt\""),
            (with("generationConfig", json!({"max_tokens": 3})), "Unknown name \"max_tokens\""),
            (with("generationConfig", json!({"maxOutputTokens": 0})), "must be positive"),
            (with("generationConfig", json!({"temperature": 3})), "temperature"),
            (with("systemInstruction", json!({"parts": [{"text": ""}]})), "system instruction"),
        ] {
            let problem = checked(&body).expect_err(words);
            assert!(problem.contains(words), "{problem}");
        }
        assert!(audio_bytes(b"{").is_err());
    }
}
