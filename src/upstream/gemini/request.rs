//! Our request in Gemini's JSON, as pieces around the audio, which is not copied.

use bytes::Bytes;
use serde::Serialize;

use crate::task::submission::Question;
use crate::upstream::UpstreamRequest;
use crate::upstream::body::BodyPiece;

#[derive(Serialize)]
struct Instruction<'a> {
    parts: [TextPart<'a>; 1],
}

#[derive(Serialize)]
struct TextPart<'a> {
    text: &'a str,
}

/// Unset fields are absent: Gemini refuses what it does not know, and nulls.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

/// Sent only when reasoning is asked for: models that cannot think refuse it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    include_thoughts: bool,
}

impl GenerationConfig {
    fn of(question: &Question) -> Option<Self> {
        let thinking_config = question.reasoning.then_some(ThinkingConfig { include_thoughts: true });
        let any =
            question.max_tokens.is_some() || question.temperature.is_some() || thinking_config.is_some();
        any.then_some(Self {
            max_output_tokens: question.max_tokens,
            temperature: question.temperature,
            thinking_config,
        })
    }
}

/// The request's body: everything before the audio, the audio, everything behind it.
pub(super) fn pieces(request: UpstreamRequest) -> [BodyPiece; 3] {
    let question = &request.question;
    let prompt = json(&TextPart { text: &question.prompt });
    let mime = json(request.audio.container.mime());
    let before = format!(
        r#"{{"contents":[{{"role":"user","parts":[{prompt},{{"inlineData":{{"mimeType":{mime},"data":""#
    );
    let mut behind = r#""}}]}]"#.to_owned();
    if let Some(text) = question.system_prompt.as_deref() {
        behind += &format!(r#","systemInstruction":{}"#, json(&Instruction { parts: [TextPart { text }] }));
    }
    if let Some(config) = GenerationConfig::of(question) {
        behind += &format!(r#","generationConfig":{}"#, json(&config));
    }
    behind.push('}');
    [Bytes::from(before).into(), BodyPiece::base64(request.audio.bytes), Bytes::from(behind).into()]
}

/// Texts and finite numbers always serialise.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::body::to_bytes;
    use futures_util::FutureExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::audio::Audio;
    use crate::audio::container::Container;
    use crate::upstream::body::PiecedBody;
    use crate::upstream::{Hold, Terms};

    fn body(question: Question) -> Value {
        let request = UpstreamRequest {
            question,
            audio: Audio {
                container: Container::Wav,
                bytes: Bytes::from_static(b"RIFF").into(),
                duration: None,
            },
            terms: Terms {
                connect_timeout: Duration::from_secs(1),
                idle_timeout: Duration::from_secs(1),
                trace: None,
            },
            slot: Hold::default(),
        };
        let body = to_bytes(PiecedBody::new(pieces(request))).now_or_never();
        serde_json::from_slice(&body.unwrap().unwrap()).unwrap()
    }

    fn question() -> Question {
        Question {
            model: "m".into(),
            prompt: "what \"is\" this?\n".into(),
            system_prompt: None,
            max_tokens: None,
            temperature: None,
            reasoning: false,
        }
    }

    #[test]
    fn unset_fields_are_absent() {
        assert_eq!(
            body(question()),
            json!({"contents": [{"role": "user", "parts": [
                {"text": "what \"is\" this?\n"},
                {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
            ]}]})
        );
    }

    #[test]
    fn set_fields_go_where_gemini_wants_them() {
        let body = body(Question {
            system_prompt: Some("be {brief}".into()),
            max_tokens: Some(7),
            temperature: Some(0.5),
            reasoning: true,
            ..question()
        });
        assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "be {brief}"}]}));
        assert_eq!(
            body["generationConfig"],
            json!({"maxOutputTokens": 7, "temperature": 0.5, "thinkingConfig": {"includeThoughts": true}})
        );
    }
}
