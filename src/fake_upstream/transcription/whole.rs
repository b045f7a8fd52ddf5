//! A transcription in one piece: three kinds of JSON, or text.

use serde_json::{Value, json};

use super::form::{Form, Format};
use crate::fake_upstream::acts::{DialectWriter, Finish, inside_a_string};
use crate::fake_upstream::call_flow::CallInfo;
use crate::fake_upstream::openai::error_member;
use crate::fake_upstream::script::ErrorForm;
use crate::fake_upstream::text;
use crate::fake_upstream::tokens::{AUDIO_SECONDS, AUDIO_TOKENS, Tokens};

/// Returns the usage of models that are billed by tokens.
pub(super) fn token_usage(tokens: Tokens) -> Value {
    json!({"type": "tokens", "input_tokens": AUDIO_TOKENS,
        "input_token_details": {"audio_tokens": AUDIO_TOKENS, "text_tokens": 0},
        "output_tokens": tokens.texts, "total_tokens": AUDIO_TOKENS + tokens.texts})
}

/// Returns the usage of models that are billed by time, such as `whisper-1`.
fn duration_usage() -> Value {
    json!({"type": "duration", "seconds": AUDIO_SECONDS})
}

/// Returns the segment with this number, from 1, of `texts`. All segments have the same length.
pub(super) fn segment(number: u64, texts: u64, text: &str) -> Value {
    let time = |number: u64| AUDIO_SECONDS as f64 * number as f64 / texts.max(1) as f64;
    let speaker = if number % 2 == 1 { "A" } else { "B" };
    json!({"type": "transcript.text.segment", "id": format!("seg_{}", number - 1), "start": time(number - 1),
        "end": time(number), "text": text, "speaker": speaker})
}

struct Whole {
    format: Format,
    /// True if the usage is a time, as for `whisper-1`.
    by_time: bool,
    tokens: Tokens,
    texts: u64,
    size: Option<usize>,
    said: u64,
}

/// Returns the writer of an answer in one piece.
pub(super) fn writer(form: &Form, context: &CallInfo<'_>) -> Box<dyn DialectWriter> {
    Box::new(Whole {
        format: form.format,
        by_time: context.shape.plain || form.format == Format::Verbose,
        tokens: Tokens::default(),
        texts: context.shape.chunks,
        size: context.shape.size,
        said: 0,
    })
}

impl Whole {
    fn segments(&self) -> Value {
        let texts = (1..=self.said).map(|number| (number, text::text(number, self.size)));
        let segments = texts.map(|(number, text)| {
            let segment = segment(number, self.texts, &text);
            if self.format == Format::Diarized {
                return segment;
            }
            json!({"id": number - 1, "seek": 0, "start": segment["start"], "end": segment["end"], "text": text,
                "tokens": [], "temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.0,
                "no_speech_prob": 0.0})
        });
        segments.collect()
    }
}

impl DialectWriter for Whole {
    fn content_type(&self) -> &'static str {
        if self.format == Format::Text { "text/plain; charset=utf-8" } else { "application/json" }
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn opening(&mut self) -> String {
        let seconds = AUDIO_SECONDS as f64;
        match self.format {
            Format::Json => r#"{"text":""#.to_owned(),
            Format::Text => String::new(),
            Format::Verbose => {
                format!(r#"{{"task":"transcribe","language":"english","duration":{seconds:?},"text":""#)
            }
            Format::Diarized => format!(r#"{{"task":"transcribe","duration":{seconds:?},"text":""#),
        }
    }

    fn text(&mut self, number: u64, text: &str) -> String {
        self.tokens.say();
        self.said = number;
        if self.format == Format::Text { text.to_owned() } else { inside_a_string(text) }
    }

    fn nonsense(&mut self) -> String {
        "\"<<<<<<< HEAD\n".to_owned()
    }

    fn finish(&mut self, _: Finish) -> String {
        let usage = if self.by_time { duration_usage() } else { token_usage(self.tokens) };
        match self.format {
            Format::Text => "\n".to_owned(),
            Format::Json => format!(r#"","usage":{usage}"#),
            Format::Verbose | Format::Diarized => {
                format!(r#"","segments":{},"usage":{usage}"#, self.segments())
            }
        }
    }

    fn error(&mut self, _: ErrorForm) -> String {
        error_member()
    }

    fn closing(&mut self, _: Option<ErrorForm>) -> String {
        (if self.format == Format::Text { "" } else { "}" }).to_owned()
    }
}
