//! Tests of a rule for the replies of all kinds of upstream: data beside the answer does not fail the answer.

use proptest::prelude::*;
use serde_json::json;

use super::reading::BodyReader;
use super::testing::{Outcome, read_body};
use super::{gemini, openai, transcription};
use crate::secret::Secret;
use crate::wire::completion::FinishReason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Gemini,
    Chat,
    Transcription,
}

const DIALECTS: [Dialect; 3] = [Dialect::Gemini, Dialect::Chat, Dialect::Transcription];

impl Dialect {
    fn read(self, body: &str) -> Outcome {
        fn read(reader: impl BodyReader, body: &str) -> Outcome {
            read_body(reader, body.as_bytes(), 4096)
        }
        let secret = Secret::new("hush".into());
        match self {
            Self::Gemini => read(gemini::reader(secret), body),
            Self::Chat => read(openai::reader(secret), body),
            Self::Transcription => read(
                transcription::reader(
                    "text/event-stream".into(),
                    transcription::ResponseFormat::Json,
                    secret,
                ),
                body,
            ),
        }
    }

    /// Returns an event with a text, given as it is between quotation marks, and with these fields on each level.
    fn say(self, text: &str, junk: &str) -> String {
        match self {
            Self::Gemini => format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"{junk}}}]{junk}}}{junk}}}]{junk}}}"#
            ),
            Self::Chat => format!(r#"{{"choices":[{{"delta":{{"content":"{text}"{junk}}}{junk}}}]{junk}}}"#),
            Self::Transcription => format!(r#"{{"type":"transcript.text.delta","delta":"{text}"{junk}}}"#),
        }
    }

    fn end(self, text: &str, junk: &str) -> String {
        match self {
            Self::Gemini => format!(r#"{{"candidates":[{{"finishReason":"STOP"{junk}}}]{junk}}}"#),
            Self::Chat => format!(r#"{{"choices":[{{"finish_reason":"stop"{junk}}}]{junk}}}"#),
            Self::Transcription => format!(r#"{{"type":"transcript.text.done","text":"{text}"{junk}}}"#),
        }
    }

    /// Returns the answer as one JSON object.
    fn whole(self, text: &str, junk: &str) -> String {
        match self {
            Self::Gemini => format!(
                r#"[{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"{junk}}}]{junk}}},"finishReason":"STOP"{junk}}}]{junk}}}]"#
            ),
            Self::Chat => format!(
                r#"{{"choices":[{{"message":{{"content":"{text}"{junk}}},"finish_reason":"stop"{junk}}}]{junk}}}"#
            ),
            Self::Transcription => format!(r#"{{"text":"{text}"{junk}}}"#),
        }
    }
}

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// Returns JSON, and what servers write instead of it.
fn junk() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "1",
        "-2.5",
        "12.0",
        "\"12\"",
        "1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "\"\"",
        "\"words\"",
        "\"\\ud83d\"",
        "\"\\ude00\\ud83d\"",
        "\"\\u0000\u{1}\"",
        "{}",
        "[]",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(
                (prop::sample::select(vec!["a", "code", "seconds", "tokens"]), inner),
                0..3
            )
            .prop_map(|fields| {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// Returns fields that are not part of an answer's text, with anything in them.
fn fields() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "id",
        "object",
        "created",
        "model",
        "modelVersion",
        "responseId",
        "role",
        "usage",
        "usageMetadata",
        "system_fingerprint",
        "logprobs",
        "avgLogprobs",
        "promptFeedback",
        "safetyRatings",
        "x_groq",
        "provider",
        "finishMessage",
        "no_speech_prob",
        "language",
        "duration",
        "p",
    ]);
    prop::collection::vec((name, junk()), 0..4)
        .prop_map(|fields| fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect())
}

/// Returns UTF-16 code units as the escapes of a JSON string.
fn escaped(units: &[u16]) -> String {
    units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

proptest! {
    #[test]
    fn fields_beside_the_answer_do_not_change_it(kind in prop::sample::select(DIALECTS.to_vec()), junk in fields()) {
        let body = event(&kind.say("a", &junk)) + &event(&kind.say("b", &junk)) + &event(&kind.end("ab", &junk));
        for body in [body, kind.whole("ab", &junk)] {
            let (text, end) = kind.read(&body);
            prop_assert_eq!(text, "ab", "{}", body);
            prop_assert_eq!(end.map(|(reason, _)| reason), Ok(FinishReason::Stop), "{}", body);
        }
    }

    #[test]
    fn any_cut_of_an_escaped_text_gives_the_same_text(
        kind in prop::sample::select(DIALECTS.to_vec()),
        text in "[a-z😀𝄞é\u{10FFFF}\u{10F800} \"\\\\]{0,12}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        plain: bool,
    ) {
        // Segments of only white space are not speech.
        prop_assume!(kind != Dialect::Transcription || !text.trim().is_empty());
        let units: Vec<u16> = text.encode_utf16().collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(units.len() + 1)).collect();
        cuts.extend([0, units.len()]);
        cuts.sort_unstable();
        let mut body = String::new();
        for piece in cuts.windows(2).map(|cut| &units[cut[0]..cut[1]]) {
            // A piece of whole characters may be written as it is.
            let written = match String::from_utf16(piece) {
                Ok(words) if plain => json!(words).to_string().trim_matches('"').to_owned(),
                _ => escaped(piece),
            };
            // A quotation mark at the edge was removed with the others.
            let written = if serde_json::from_str::<String>(&format!("\"{written}\"")).is_ok() { written } else { escaped(piece) };
            body += &event(&kind.say(&written, ""));
        }
        body += &event(&kind.end(&escaped(&units), ""));
        prop_assert_eq!(kind.read(&body).0, text.clone(), "{}", body);
        prop_assert_eq!(kind.read(&kind.whole(&escaped(&units), "")).0, text);
    }

    #[test]
    fn any_code_units_become_the_text_that_they_encode(kind in prop::sample::select(DIALECTS.to_vec()),
        units in prop::collection::vec(prop_oneof![any::<u16>(), 0xD800_u16..0xE000], 0..8)) {
        let expected = String::from_utf16_lossy(&units);
        prop_assume!(kind != Dialect::Transcription || !expected.trim().is_empty());
        prop_assert_eq!(kind.read(&kind.whole(&escaped(&units), "")).0, expected);
    }
}
