//! Errors as servers write them: which object is one, where its words and codes stand, and when it may be asked again.
//! What it means is decided in [`meaning`].

mod meaning;

use std::time::Duration;

use serde_json::Value;

use super::exchange::Refusal;
use super::lenient::{self, text, told};
use super::redact::redact;
use super::retry_after::wait;
use super::{Fault, UpstreamError};
use crate::wire::event_stream::{EventStreamDecoder, Piece};
use meaning::{Meaning, by_message, decisive, hint};

/// An error that was found in what a server sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// What it says to a person.
    message: Option<String>,
    /// Its codes and types, the most telling first.
    words: Vec<String>,
    /// The HTTP status that it tells.
    status: Option<u16>,
    /// When it may be asked again, as Google tells it.
    retry_after: Option<Duration>,
    /// Is a quota of a day used up? The delay that comes with it is that of the shorter limits beside it.
    is_daily: bool,
}

/// Returns what an error response means.
#[must_use]
pub fn refusal(refusal: &Refusal, secret: &str) -> UpstreamError {
    Found::in_body(&refusal.body).judge(Some(refusal), secret)
}

/// Returns the error that an event is, or that stands beside its answer.
#[must_use]
pub fn in_event(event: &Value, secret: &str) -> Option<UpstreamError> {
    find(event).map(|found| found.judge(None, secret))
}

/// Returns what is an error because it is called one: the data of `event: error`, or what stands behind `error:`.
#[must_use]
pub fn declared(data: &str, secret: &str) -> UpstreamError {
    Found::called_one(data).judge(None, secret)
}

/// Returns the data of the first event that has any, where the body is an event stream.
fn first_event(body: &str) -> Option<String> {
    let mut pieces = Vec::new();
    let mut decoder = EventStreamDecoder::new(body.len());
    decoder.feed(body.as_bytes(), &mut pieces).ok()?;
    decoder.finish(&mut pieces);
    pieces.into_iter().find_map(|piece| match piece {
        Piece::Event { data, .. } => Some(data).filter(|data| !data.trim().is_empty()),
        Piece::Stray(line) => line.strip_prefix("error:").map(|data| data.trim().to_owned()),
    })
}

fn find(object: &Value) -> Option<Found> {
    let holds = |field: &str| object.get(field).is_some_and(|value| !value.is_null());
    let is_answer = ["choices", "candidates", "text", "delta", "segments"].into_iter().any(holds);
    for error in told(object, "error") {
        match error {
            Value::Null | Value::Bool(false) | Value::Number(_) => {}
            Value::String(message) if message.is_empty() => {}
            Value::Array(nothing) if nothing.is_empty() => {}
            Value::Object(nothing) if nothing.is_empty() => {}
            // A field for errors in which there is none.
            error if is_answer && says_nothing(error) => {}
            Value::String(message) => {
                let message = Some(message.clone());
                return Some(Found { message, ..Found::of(object, object) });
            }
            error => return Some(Found::of(error, object)),
        }
    }
    let named = |field: &str| text(object, field) == Some("error");
    // FastAPI's servers, old vLLM, gateways: objects that hold words and nothing of an answer.
    let is_error = named("object")
        || named("type")
        || holds("detail")
        || (holds("message") && ["code", "status", "status_code"].into_iter().any(holds));
    (is_error && !is_answer).then(|| Found::of(object, object))
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(true) => false,
    }
}

impl Found {
    /// Reads the body of an error response: JSON, an event stream, or a plain text. A page in HTML is for browsers.
    fn in_body(body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let body = body.trim_start_matches('\u{feff}').trim();
        if lenient::parse(body).is_err() {
            if let Some(data) = first_event(body) {
                return Self::called_one(&data);
            }
            if body.is_empty() || body.starts_with(['<', '{', '[']) || body.contains('\u{fffd}') {
                return Self::default();
            }
        }
        Self::called_one(body)
    }

    /// Reads a text that is an error because it is called one, in JSON or in plain words.
    fn called_one(text: &str) -> Self {
        match lenient::parse(text) {
            Ok(Value::String(message)) => Self { message: Some(message), ..Self::default() },
            Ok(value) => Self::declared(&value),
            Err(_) => Self { message: Some(text.to_owned()), ..Self::default() },
        }
    }

    /// Reads JSON that is an error because it is called one.
    fn declared(json: &Value) -> Self {
        // Google's compatible endpoint puts its error into an array.
        let object = json.as_array().and_then(|items| items.first()).unwrap_or(json);
        find(object).unwrap_or_else(|| Self::of(object, object))
    }

    /// Reads the error's own object, and what stands around it.
    fn of(error: &Value, around: &Value) -> Self {
        let message = ["message", "msg", "detail", "error_description"];
        let message = [error, around]
            .into_iter()
            .flat_map(|object| message.iter().filter_map(|field| object.get(*field)))
            .find_map(words_of);
        let status = [error, around]
            .into_iter()
            .flat_map(|object| {
                ["status_code", "code", "status"].into_iter().filter_map(|field| object.get(field))
            })
            .find_map(status_of);
        let details = || error.get("details").and_then(Value::as_array).into_iter().flatten();
        let inner = error.get("innererror").or_else(|| error.get("inner_error"));
        let words = [text(error, "code"), inner.and_then(|inner| text(inner, "code"))]
            .into_iter()
            .chain(details().map(|detail| text(detail, "reason")))
            .chain([text(error, "type"), text(error, "status")])
            .flatten()
            .map(str::to_owned)
            .collect();
        let quotas = details().filter_map(|detail| detail.get("violations")?.as_array()).flatten();
        let is_daily = quotas.filter_map(|quota| text(quota, "quotaId")).any(|id| id.contains("PerDay"));
        let retry_after = details().find_map(|detail| protobuf_duration(text(detail, "retryDelay")?));
        Self { message, words, status, retry_after, is_daily }
    }

    /// `response`: the error response that it came with, if it did not come in an answer.
    fn judge(self, response: Option<&Refusal>, secret: &str) -> UpstreamError {
        let status = response.map(|response| response.status).or(self.status);
        let meaning = self.words.iter().find_map(|word| decisive(word, status));
        let daily = || (self.is_daily && status == Some(429)).then_some(Meaning::Fault(Fault::Quota));
        let in_words = || self.message.as_deref().and_then(|message| by_message(message, status));
        let by_status = || status.map(Fault::of_status).map(Meaning::Fault);
        let by_type = || self.words.iter().find_map(|word| hint(word)).map(Meaning::Fault);
        let meaning = daily().or(meaning).or_else(in_words).or_else(by_status).or_else(by_type);
        let message = match (&self.message, self.words.first(), status) {
            (Some(message), ..) if !message.trim().is_empty() => redact(message, secret),
            (_, Some(word), _) => redact(word, secret),
            (.., Some(status)) => format!("it answered with status {status}"),
            _ => redact("", secret),
        };
        // Google tells it in the body; a proxy that stands before it may use the header.
        let retry_after = self.retry_after.or(response.and_then(|response| response.retry_after));
        match meaning.unwrap_or(Meaning::Fault(Fault::Upstream)) {
            Meaning::Blocked => UpstreamError::Blocked(message),
            Meaning::Fault(fault) => UpstreamError::Refused { fault, status, message, retry_after },
        }
    }
}

/// A text, or the texts of FastAPI's list of what is wrong.
fn words_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(message) => Some(message.clone()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(words_of).collect();
            Some(texts.join("; "))
        }
        Value::Object(_) => ["message", "msg", "detail", "error"]
            .into_iter()
            .filter_map(|field| value.get(field))
            .find_map(words_of),
        other => Some(other.to_string()),
    }
    .filter(|words| !words.is_empty())
}

/// A number or its digits, where they are the status of an error. Others' own numbers are not.
fn status_of(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

/// Reads a protobuf duration as JSON writes it: `"34.4s"`.
fn protobuf_duration(text: &str) -> Option<Duration> {
    wait(text.strip_suffix('s')?.parse().ok()?)
}

#[cfg(test)]
mod tests;
