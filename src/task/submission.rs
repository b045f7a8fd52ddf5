//! Turns a submit body into a [`Submission`]. Every rule of the contract's field table is here, next to its error.

mod fields;
mod question;

use std::ops::Range;

use bytes::BytesMut;
use serde_json::value::RawValue;

use fields::{
    bounded, flag, half_a_character, is_required, max_tokens, must_be_string, required_text, temperature,
    text,
};
pub use question::{Message, Part, Question, Role};

use super::format::Format;
use crate::audio::{AudioSource, Gate};
use crate::error::{ErrorCode, Failure};
use crate::wire::json_text;
use crate::wire::submit::SubmitBody;

/// The prompt of a request without a prompt.
pub const DEFAULT_PROMPT: &str = "Please transcribe this audio file";

/// The most characters of `model`.
pub const MAX_MODEL_CHARACTERS: usize = 256;
/// The most characters of `prompt`.
pub const MAX_PROMPT_CHARACTERS: usize = 100_000;
/// The most characters of `system_prompt`.
pub const MAX_SYSTEM_PROMPT_CHARACTERS: usize = 10_000;
/// The range of `temperature`.
pub const TEMPERATURES: std::ops::RangeInclusive<f64> = 0.0..=2.0;

/// The way in which a submit gets its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The submit returns the task at once, and the client requests the answer later.
    Asynchronous,
    /// The submit returns when the task has ended.
    Blocking,
    /// The submit returns the task's stream, in this format.
    Streaming(Format),
}

/// A valid submit.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The question to the model.
    pub question: Question,
    /// The audio of each audio part of the question, in order.
    pub audio: Vec<AudioSource>,
    /// The way in which the submit gets its answer.
    pub delivery: Delivery,
    /// The format of the door, if clients can subscribe to the chunks.
    pub stream: Option<Format>,
}

impl Submission {
    /// Reads a submit body. Inline audio is decoded in place, in the buffer in which it was received.
    ///
    /// # Errors
    /// `invalid_json`, `invalid_param` with the field's name, `invalid_audio_url` or `unsupported_audio_format`; the
    /// first error in the order of the contract's table.
    pub fn parse(mut body: BytesMut, gate: &Gate) -> Result<Self, Failure> {
        let json = std::str::from_utf8(&body).map_err(|err| {
            let at = err.valid_up_to() + 1;
            Failure::new(
                ErrorCode::InvalidJson,
                format!(
                    "The body is not UTF-8: byte {at} is not part of a valid character; send the JSON as UTF-8"
                ),
            )
        })?;
        let fields: SubmitBody<'_> = serde_json::from_str(json).map_err(|err| unreadable(json, &err))?;
        // serde would also accept an array and read the fields by position.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(not_an_object());
        }

        let model = required_text("model", fields.model, MAX_MODEL_CHARACTERS)?.into_owned();
        let audio_url = place_of_string(&body, "audio_url", fields.audio_url)?;
        let rest = OtherFields::read(&fields);

        let mut text = body.split_off(audio_url.start);
        text.truncate(audio_url.len());
        if let Some(half) = json_text::lone_surrogate(&text) {
            return Err(half_a_character("audio_url", half));
        }
        json_text::unescape(&mut text);
        let audio = AudioSource::parse(text, gate)?;

        let OtherFields { prompt, delivery, stream, max_tokens, temperature, system_prompt, reasoning } =
            rest?;
        let short = Question::short(model, prompt, system_prompt);
        let question = Question { max_tokens, temperature, reasoning, ..short };
        Ok(Self { question, audio: vec![audio], delivery, stream })
    }
}

/// The fields after the audio.
struct OtherFields {
    prompt: String,
    delivery: Delivery,
    stream: Option<Format>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    system_prompt: Option<String>,
    reasoning: bool,
}

impl OtherFields {
    fn read(fields: &SubmitBody<'_>) -> Result<Self, Failure> {
        let prompt = match text("prompt", fields.prompt)? {
            None => DEFAULT_PROMPT.to_owned(),
            Some(prompt) => bounded("prompt", prompt, 1, MAX_PROMPT_CHARACTERS)?.into_owned(),
        };
        let sync = flag("sync", fields.sync)?;
        let stream = flag("stream", fields.stream)?.then_some(Format::Tasks);
        let max_tokens = max_tokens(fields.max_tokens)?;
        let temperature = temperature(fields.temperature)?;
        let system_prompt = match text("system_prompt", fields.system_prompt)? {
            None => None,
            Some(prompt) => {
                Some(bounded("system_prompt", prompt, 0, MAX_SYSTEM_PROMPT_CHARACTERS)?.into_owned())
                    .filter(|prompt| !prompt.is_empty())
            }
        };
        let reasoning = flag("reasoning", fields.reasoning)?;
        let delivery = match (sync, stream) {
            (false, _) => Delivery::Asynchronous,
            (true, None) => Delivery::Blocking,
            (true, Some(format)) => Delivery::Streaming(format),
        };
        Ok(Self { prompt, delivery, stream, max_tokens, temperature, system_prompt, reasoning })
    }
}

/// Returns the failure of a body that cannot be read as a request: the problem, and what to do.
fn unreadable(json: &str, err: &serde_json::Error) -> Failure {
    let json = json.trim_ascii_start();
    let said = err.to_string();
    let is_half = said.contains("hex escape");
    if json.is_empty() {
        Failure::new(ErrorCode::InvalidJson, "The body is empty; send a JSON object with model and audio_url")
    } else if (err.is_data() && !said.starts_with("duplicate field")) || (is_half && !json.starts_with('{')) {
        not_an_object()
    } else if is_half {
        let (line, column) = (err.line(), err.column());
        let name = "The name of a field holds half a character (a lone surrogate)";
        Failure::new(
            ErrorCode::InvalidJson,
            format!("{name} before line {line}, column {column}; send whole characters"),
        )
    } else {
        invalid_json(err)
    }
}

/// Returns the failure of a body that is not valid JSON, or that has a field twice.
#[must_use]
pub fn invalid_json(err: &serde_json::Error) -> Failure {
    let said = err.to_string();
    let advice = if err.is_eof() {
        "the body ends too early: send all of it"
    } else if said.starts_with("duplicate field") {
        "send each field once"
    } else {
        "correct the body there, or let a JSON library write it"
    };
    Failure::new(ErrorCode::InvalidJson, format!("The body is not valid JSON: {said}; {advice}"))
}

fn not_an_object() -> Failure {
    Failure::new(ErrorCode::InvalidParam, "The body must be a JSON object with model and audio_url")
}

/// Returns the place in `body` of the content of a required string, which must not be empty.
fn place_of_string(
    body: &[u8],
    name: &'static str,
    field: Option<&RawValue>,
) -> Result<Range<usize>, Failure> {
    let json = field.ok_or_else(|| is_required(name))?.get();
    let content =
        json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).ok_or_else(|| must_be_string(name))?;
    if content.is_empty() {
        return Err(Failure::invalid_param(name, format!("{name} must be at least 1 character long")));
    }
    // serde borrows the string from the body, so the string lies inside the body.
    let start = (content.as_ptr() as usize).checked_sub(body.as_ptr() as usize);
    let place = start.map(|start| start..start + content.len()).filter(|place| place.end <= body.len());
    place.ok_or_else(Failure::internal)
}

#[cfg(test)]
mod tests;
