//! Our request in Gemini's JSON, as pieces around the audio. The audio is not copied.

use serde::Serialize;

use crate::task::{Question, Role};
use crate::upstream::UpstreamRequest;
use crate::upstream::body::BodyPiece;
use crate::upstream::pieced_json::PiecedJson;
use crate::upstream::request::{Content, MessageWithAudio};

/// The settings of an answer. Unset fields are omitted: Gemini refuses nulls and fields that it does not know.
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

/// The settings of reasoning. They are sent only if reasoning is requested: models that cannot think refuse them.
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

/// Returns the request's body. Gemini has one place for all system messages, beside the conversation.
pub(super) fn pieces(request: UpstreamRequest) -> Vec<BodyPiece> {
    let UpstreamRequest { question, audio, .. } = request;
    let messages = UpstreamRequest::messages(&question, audio);
    let (system, messages): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|turn| turn.role == Role::System);
    let mut json = PiecedJson::default();
    json.raw(r#"{"contents":"#).list(messages, |json, MessageWithAudio { role, content }| {
        let role = if role == Role::Assistant { "model" } else { "user" };
        json.raw(r#"{"role":"#).value(role).raw(r#","parts":"#).list(content, part).raw("}");
    });
    if !system.is_empty() {
        let parts = system.into_iter().flat_map(|turn| turn.content);
        json.raw(r#","systemInstruction":{"parts":"#).list(parts, part).raw("}");
    }
    if let Some(config) = GenerationConfig::of(&question) {
        json.raw(r#","generationConfig":"#).value(&config);
    }
    json.raw("}");
    json.finish()
}

fn part(json: &mut PiecedJson, content: Content<'_>) {
    match content {
        Content::Text(text) => json.raw(r#"{"text":"#).value(text).raw("}"),
        Content::Audio(audio) => json
            .raw(r#"{"inlineData":{"mimeType":"#)
            .value(audio.container.mime())
            .raw(r#","data":""#)
            .audio(audio.bytes)
            .raw(r#""}}"#),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::audio::Container;
    use crate::task::{Message, Part};
    use crate::upstream::testing::{request, written};

    fn text(question: Question, audio: &[(Container, &'static [u8])]) -> String {
        written(pieces(request(question, audio)))
    }

    fn body(question: Question) -> Value {
        serde_json::from_str(&text(question, &[(Container::Wav, b"RIFF")])).unwrap()
    }

    fn asked(system_prompt: Option<&str>) -> Question {
        let prompt = "what \"is\" this?\n".to_owned();
        Question::short("m".into(), prompt, system_prompt.map(str::to_owned))
    }

    #[test]
    fn unset_fields_are_omitted() {
        assert_eq!(
            body(asked(None)),
            json!({"contents": [{"role": "user", "parts": [
                {"text": "what \"is\" this?\n"},
                {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
            ]}]})
        );
    }

    #[test]
    fn set_fields_are_where_gemini_expects_them() {
        let body = body(Question {
            max_tokens: Some(7),
            temperature: Some(0.5),
            reasoning: true,
            ..asked(Some("be {brief}"))
        });
        assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "be {brief}"}]}));
        assert_eq!(
            body["generationConfig"],
            json!({"maxOutputTokens": 7, "temperature": 0.5, "thinkingConfig": {"includeThoughts": true}})
        );
    }

    #[test]
    fn the_turns_and_audio_of_a_conversation_keep_their_places() {
        let said = |role, text: &str| Message::text(role, text.to_owned());
        let messages = vec![
            said(Role::System, "brief"),
            Message { role: Role::User, content: vec![Part::Audio, Part::Text("and".into()), Part::Audio] },
            said(Role::Assistant, "two birds"),
            said(Role::System, "polite"),
            Message { role: Role::User, content: vec![Part::Text("this?".into()), Part::Audio] },
        ];
        let audio: [(_, &[u8]); 3] =
            [(Container::Wav, &[0, 0, 0]), (Container::Mp3, &[4, 16, 65]), (Container::Flac, &[8, 32, 130])];
        let sent = |mime: &str, data: &str| json!({"inlineData": {"mimeType": mime, "data": data}});
        let written = text(Question { messages, ..asked(None) }, &audio);
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            json!({"contents": [
                {"role": "user", "parts": [
                    sent("audio/wav", "AAAA"), {"text": "and"}, sent("audio/mp3", "BBBB")]},
                {"role": "model", "parts": [{"text": "two birds"}]},
                {"role": "user", "parts": [{"text": "this?"}, sent("audio/flac", "CCCC")]},
            ], "systemInstruction": {"parts": [{"text": "brief"}, {"text": "polite"}]}})
        );
    }

    #[test]
    fn the_short_form_has_exactly_these_bytes() {
        let question = Question { max_tokens: Some(7), ..asked(Some("s")) };
        assert_eq!(
            text(question, &[(Container::Wav, b"RIFF")]),
            concat!(
                r#"{"contents":[{"role":"user","parts":[{"text":"what \"is\" this?\n"},"#,
                r#"{"inlineData":{"mimeType":"audio/wav","data":"UklGRg=="}}]}],"#,
                r#""systemInstruction":{"parts":[{"text":"s"}]},"generationConfig":{"maxOutputTokens":7}}"#
            )
        );
    }
}
