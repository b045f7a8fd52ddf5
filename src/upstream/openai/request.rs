//! Our request in the JSON of chat completions, as pieces around the audio. The audio is not copied.

use super::{AudioPart, OpenAiOptions};
use crate::upstream::UpstreamRequest;
use crate::upstream::body::BodyPiece;
use crate::upstream::pieced_json::PiecedJson;
use crate::upstream::request::{Content, MessageWithAudio};

/// Returns the request's body. Unset fields are omitted: servers refuse fields that they do not know.
pub(super) fn pieces(request: UpstreamRequest, options: OpenAiOptions) -> Vec<BodyPiece> {
    let UpstreamRequest { question, audio, .. } = request;
    let mut json = PiecedJson::default();
    json.raw(r#"{"model":"#).value(&question.model).raw(r#","stream":true"#);
    if options.stream_options {
        json.raw(r#","stream_options":{"include_usage":true}"#);
    }
    if let Some(most) = question.max_tokens {
        json.raw(",").value(options.max_tokens_field.as_str()).raw(":").value(&most);
    }
    if let Some(temperature) = question.temperature {
        json.raw(r#","temperature":"#).value(&temperature);
    }
    let messages = UpstreamRequest::messages(&question, audio);
    json.raw(r#","messages":"#).list(messages, |json, MessageWithAudio { role, content }| {
        json.raw(r#"{"role":"#).value(role.as_str()).raw(r#","content":"#);
        match content.as_slice() {
            // A single text is written as a string: old servers do not know parts.
            [Content::Text(text)] => json.value(text),
            _ => json.list(content, |json, content| part(json, content, options.audio_part)),
        };
        json.raw("}");
    });
    json.raw("}");
    json.finish()
}

fn part(json: &mut PiecedJson, content: Content<'_>, form: AudioPart) {
    match (content, form) {
        (Content::Text(text), _) => json.raw(r#"{"type":"text","text":"#).value(text).raw("}"),
        (Content::Audio(audio), AudioPart::InputAudio) => json
            .raw(r#"{"type":"input_audio","input_audio":{"data":""#)
            .audio(audio.bytes)
            .raw(r#"","format":"#)
            .value(audio.container.name())
            .raw("}}"),
        (Content::Audio(audio), AudioPart::AudioUrl) => json
            .raw(r#"{"type":"audio_url","audio_url":{"url":"data:"#)
            .raw(audio.container.media_type())
            .raw(";base64,")
            .audio(audio.bytes)
            .raw(r#""}}"#),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::audio::Container;
    use crate::task::{Message, Part, Question, Role};
    use crate::upstream::openai::settings::MaxTokensField;
    use crate::upstream::testing::{request, written};

    const PLAIN: OpenAiOptions = OpenAiOptions {
        max_tokens_field: MaxTokensField::MaxTokens,
        stream_options: true,
        audio_part: AudioPart::InputAudio,
    };

    fn text(question: Question, options: OpenAiOptions, audio: &[(Container, &'static [u8])]) -> String {
        written(pieces(request(question, audio), options))
    }

    fn body(question: Question, options: OpenAiOptions) -> Value {
        serde_json::from_str(&text(question, options, &[(Container::Mp3, b"ID3")])).unwrap()
    }

    fn asked(system_prompt: Option<&str>) -> Question {
        let (model, prompt) = ("m\"\r\n".to_owned(), "what \"is\" this?\n".to_owned());
        Question { reasoning: true, ..Question::short(model, prompt, system_prompt.map(str::to_owned)) }
    }

    #[test]
    fn unset_fields_are_omitted() {
        assert_eq!(
            body(asked(None), PLAIN),
            json!({"model": "m\"\r\n", "stream": true, "stream_options": {"include_usage": true},
                "messages": [{"role": "user", "content": [
                    {"type": "text", "text": "what \"is\" this?\n"},
                    {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}]}]})
        );
    }

    #[test]
    fn set_fields_and_the_channels_options_are_in_their_places() {
        let question = Question { max_tokens: Some(7), temperature: Some(0.5), ..asked(Some("be {brief}")) };
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

    #[test]
    fn the_turns_and_audio_of_a_conversation_keep_their_places() {
        let messages = vec![
            Message { role: Role::User, content: vec![Part::Audio, Part::Text("and".into()), Part::Audio] },
            Message::text(Role::Assistant, "two birds".into()),
            Message { role: Role::User, content: vec![Part::Text("this?".into()), Part::Audio] },
            Message::text(Role::User, "be quick".into()),
        ];
        let audio: [(_, &[u8]); 3] =
            [(Container::Wav, &[0, 0, 0]), (Container::Mp3, &[4, 16, 65]), (Container::Flac, &[8, 32, 130])];
        let sent = |data: &str, format: &str| json!({"type": "input_audio", "input_audio": {"data": data, "format": format}});
        let written = text(Question { messages, ..asked(None) }, PLAIN, &audio);
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap()["messages"],
            json!([
                {"role": "user", "content": [
                    sent("AAAA", "wav"), {"type": "text", "text": "and"}, sent("BBBB", "mp3")]},
                {"role": "assistant", "content": "two birds"},
                {"role": "user", "content": [{"type": "text", "text": "this?"}, sent("CCCC", "flac")]},
                {"role": "user", "content": "be quick"},
            ])
        );
    }

    #[test]
    fn the_short_form_has_exactly_these_bytes() {
        let question = Question { max_tokens: Some(7), temperature: Some(0.5), ..asked(Some("s")) };
        assert_eq!(
            text(question, PLAIN, &[(Container::Mp3, b"ID3")]),
            concat!(
                r#"{"model":"m\"\r\n","stream":true,"stream_options":{"include_usage":true},"max_tokens":7,"#,
                r#""temperature":0.5,"messages":[{"role":"system","content":"s"},{"role":"user","content":["#,
                r#"{"type":"text","text":"what \"is\" this?\n"},"#,
                r#"{"type":"input_audio","input_audio":{"data":"SUQz","format":"mp3"}}]}]}"#
            )
        );
    }
}
