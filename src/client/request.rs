//! The body of a submit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::audio::{AudioInput, MAX_BODY_BYTES};

/// The options of a submit. The server chooses a value for each option that is `None`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SubmitOptions {
    /// The model.
    pub model: String,
    /// What the model should do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The role of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Most tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// How freely the model chooses its words, from 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// True if the model's reasoning is requested.
    pub reasoning: bool,
}

/// The request would be larger than a server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request is larger than 28 MiB, which no server accepts; shorten or compress the audio, or pass a URL"
)]
pub struct TooLarge;

#[derive(Serialize)]
struct SubmitBody<'a> {
    stream: bool,
    #[serde(flatten)]
    question: &'a SubmitOptions,
    audio_url: &'a str,
}

impl SubmitOptions {
    /// Returns the request body for this audio, which asks for a stream.
    ///
    /// # Errors
    /// When the body is too large.
    pub fn body_with(&self, audio: AudioInput) -> Result<Bytes, TooLarge> {
        let url = match &audio {
            AudioInput::Url(url) => url.clone(),
            AudioInput::Inline { media_type, .. } => format!("data:{media_type};base64,"),
        };
        let body = SubmitBody { stream: true, question: self, audio_url: &url };
        // Strings and finite numbers can always be serialised.
        let mut text = serde_json::to_string(&body).unwrap_or_default();
        if let AudioInput::Inline { bytes, .. } = audio {
            // The object ends with the URL, so the payload is inserted before the object's end.
            let end = text.split_off(text.len().saturating_sub(r#""}"#.len()));
            text.reserve_exact(bytes.len().div_ceil(3) * 4 + end.len());
            STANDARD.encode_string(&bytes, &mut text);
            text += &end;
        }
        if text.len() as u64 > MAX_BODY_BYTES { Err(TooLarge) } else { Ok(text.into()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(question: &SubmitOptions, audio: AudioInput) -> Value {
        serde_json::from_slice(&question.body_with(audio).unwrap()).unwrap()
    }

    #[test]
    fn a_body_holds_only_the_given_options() {
        let question = SubmitOptions { model: "m".into(), ..SubmitOptions::default() };
        let audio = AudioInput::Inline { media_type: "audio/wav", bytes: b"RIFF".to_vec() };
        assert_eq!(
            body(&question, audio),
            json!({"model": "m", "stream": true, "reasoning": false, "audio_url": "data:audio/wav;base64,UklGRg=="})
        );
        let question = SubmitOptions {
            prompt: Some("a \"b\"".into()),
            system_prompt: Some("s".into()),
            max_tokens: Some(7),
            temperature: Some(0.5),
            reasoning: true,
            ..question
        };
        let url = "https://h/a.wav?b=\"";
        assert_eq!(
            body(&question, AudioInput::Url(url.into())),
            json!({"model": "m", "stream": true, "reasoning": true, "prompt": "a \"b\"", "system_prompt": "s",
                "max_tokens": 7, "temperature": 0.5, "audio_url": url})
        );
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused() {
        let question = SubmitOptions { prompt: Some("x".repeat(1 << 20)), ..SubmitOptions::default() };
        let audio = |bytes| AudioInput::Inline { media_type: "audio/wav", bytes: vec![0; bytes] };
        assert!(question.body_with(audio(20 << 20)).is_ok());
        assert_eq!(question.body_with(audio(21 << 20)), Err(TooLarge));
    }
}
