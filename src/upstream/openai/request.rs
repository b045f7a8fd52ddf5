//! Our request in the JSON of chat completions, as pieces around the audio, which is not copied.

use bytes::Bytes;
use serde::Serialize;

use crate::config::kind::{AudioPart, OpenAiOptions};
use crate::upstream::UpstreamRequest;
use crate::upstream::body::BodyPiece;

/// The request's body: everything before the audio, the audio, everything behind it. Unset fields are absent: servers
/// refuse what they do not know.
pub(super) fn pieces(request: UpstreamRequest, options: OpenAiOptions) -> [BodyPiece; 3] {
    let question = &request.question;
    let mut before = format!(r#"{{"model":{},"stream":true"#, json(&question.model));
    if options.stream_options {
        before += r#","stream_options":{"include_usage":true}"#;
    }
    if let Some(most) = question.max_tokens {
        before += &format!(r#","{}":{most}"#, options.max_tokens_field.as_str());
    }
    if let Some(temperature) = question.temperature {
        before += &format!(r#","temperature":{}"#, json(&temperature));
    }
    before += r#","messages":["#;
    if let Some(text) = question.system_prompt.as_deref() {
        before += &format!(r#"{{"role":"system","content":{}}},"#, json(text));
    }
    before += &format!(r#"{{"role":"user","content":[{{"type":"text","text":{}}},"#, json(&question.prompt));
    let container = request.audio.container;
    let behind = match options.audio_part {
        AudioPart::InputAudio => {
            before += r#"{"type":"input_audio","input_audio":{"data":""#;
            format!(r#"","format":{}}}}}]}}]}}"#, json(container.name()))
        }
        AudioPart::AudioUrl => {
            before += r#"{"type":"audio_url","audio_url":{"url":"data:"#;
            before += container.media_type();
            before += ";base64,";
            r#""}}]}]}"#.to_owned()
        }
    };
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
    use crate::config::kind::MaxTokensField;
    use crate::task::submission::Question;
    use crate::upstream::body::PiecedBody;
    use crate::upstream::{Hold, Terms};

    const PLAIN: OpenAiOptions = OpenAiOptions {
        max_tokens_field: MaxTokensField::MaxTokens,
        stream_options: true,
        audio_part: AudioPart::InputAudio,
    };

    fn body(question: Question, options: OpenAiOptions) -> Value {
        let request = UpstreamRequest {
            question,
            audio: Audio {
                container: Container::Mp3,
                bytes: Bytes::from_static(b"ID3").into(),
                duration: None,
            },
            terms: Terms {
                connect_timeout: Duration::from_secs(1),
                idle_timeout: Duration::from_secs(1),
                trace: None,
            },
            slot: Hold::default(),
        };
        let body = to_bytes(PiecedBody::new(pieces(request, options))).now_or_never();
        serde_json::from_slice(&body.unwrap().unwrap()).unwrap()
    }

    fn question() -> Question {
        Question {
            model: "m\"\r\n".into(),
            prompt: "what \"is\" this?\n".into(),
            system_prompt: None,
            max_tokens: None,
            temperature: None,
            reasoning: true,
        }
    }

    #[test]
    fn unset_fields_are_absent() {
        assert_eq!(
            body(question(), PLAIN),
            json!({"model": "m\"\r\n", "stream": true, "stream_options": {"include_usage": true},
                "messages": [{"role": "user", "content": [
                    {"type": "text", "text": "what \"is\" this?\n"},
                    {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}]}]})
        );
    }

    #[test]
    fn set_fields_and_the_channels_options_go_where_they_belong() {
        let question = Question {
            system_prompt: Some("be {brief}".into()),
            max_tokens: Some(7),
            temperature: Some(0.5),
            ..question()
        };
        let options = OpenAiOptions {
            max_tokens_field: MaxTokensField::MaxCompletionTokens,
            stream_options: false,
            audio_part: AudioPart::AudioUrl,
        };
        assert_eq!(
            body(question, options),
            json!({"model": "m\"\r\n", "stream": true, "max_completion_tokens": 7, "temperature": 0.5,
                "messages": [{"role": "system", "content": "be {brief}"}, {"role": "user", "content": [
                    {"type": "text", "text": "what \"is\" this?\n"},
                    {"type": "audio_url", "audio_url": {"url": "data:audio/mpeg;base64,SUQz"}}]}]})
        );
    }
}
