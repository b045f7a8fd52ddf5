//! Reads errors as servers write them: finds the error, its texts and codes, and the time after which the upstream
//! accepts calls again. [`meaning`] decides what an error means.

mod meaning;
mod page;

use std::borrow::Cow;
use std::time::Duration;

use encoding_rs::WINDOWS_1252;
use serde_json::Value;

use super::exchange::ErrorResponse;
use super::lenient::{self, all_values, text};
use super::redact::redact;
use super::retry_after::wait;
use super::{Fault, UpstreamError};
use crate::wire::event_stream::{EventStreamDecoder, Piece};
use meaning::{Meaning, fault_of_code, meaning_of_code, meaning_of_message};

/// The fields that hold an error's text, the most informative first. `error` is read separately.
const WORDS: &[&str] = &[
    "message",
    "msg",
    "detail",
    "error_description",
    "error_message",
    "error_msg",
    "errorMessage",
    "errmsg",
    "text",
    "description",
    "reason",
    "title",
];

/// An error that was found in a server's response.
#[derive(Debug, Default, PartialEq, Eq)]
struct FoundError {
    /// The error's text for people.
    message: Option<String>,
    /// The error's codes and types, the most informative first.
    words: Vec<String>,
    /// The HTTP status in the error.
    status: Option<u16>,
    /// The time to wait before the next call, from Google's `retryDelay`.
    retry_after: Option<Duration>,
    /// True if a daily quota is used up. The delay in the same error then belongs to the shorter limits.
    is_daily: bool,
}

/// Returns the failure that an error response means.
#[must_use]
pub(super) fn refusal(refusal: &ErrorResponse, secret: &str) -> UpstreamError {
    FoundError::in_body(&refusal.body).into_upstream_error(Some(refusal), secret)
}

/// Returns the error in an event: the event itself, or an error beside its answer.
#[must_use]
pub(super) fn in_event(event: &Value, secret: &str) -> Option<UpstreamError> {
    find(event).map(|found| found.into_upstream_error(None, secret))
}

/// Returns the error in data that is declared as one: the data of `event: error`, or the text after `error:`.
#[must_use]
pub(super) fn declared(data: &str, secret: &str) -> UpstreamError {
    FoundError::declared_text(data).into_upstream_error(None, secret)
}

/// Returns the data of the first event with data, if the body is an event stream.
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

fn find(object: &Value) -> Option<FoundError> {
    let holds = |field: &str| object.get(field).is_some_and(|value| !value.is_null());
    let is_answer = ["choices", "candidates", "text", "delta", "segments"].into_iter().any(holds);
    for error in all_values(object, "error") {
        match error {
            Value::Null | Value::Bool(false) | Value::Number(_) => {}
            Value::String(message) if message.is_empty() => {}
            Value::Array(nothing) if nothing.is_empty() => {}
            Value::Object(nothing) if nothing.is_empty() => {}
            // An answer may have an error field that holds no error.
            error if is_answer && is_empty_error(error) => {}
            Value::String(word) => {
                let found = FoundError::of(object, object);
                // The string may be a code, or a status in words, beside a longer text.
                let message = found.message.clone().filter(|beside| beside.len() > word.len());
                let code = message.is_some().then(|| word.clone());
                let words = code.into_iter().chain(found.words.clone()).collect();
                return Some(FoundError { message: message.or_else(|| Some(word.clone())), words, ..found });
            }
            error => return Some(FoundError::of(error, object)),
        }
    }
    // In a list of errors, the first one decides.
    let errors = object.get("errors").and_then(Value::as_array).filter(|_| !is_answer);
    if let Some((first, all)) = errors.and_then(|all| Some((all.first()?, words_of(object.get("errors")?)))) {
        let found = FoundError::of(first, object);
        return Some(FoundError { message: all.or(found.message.clone()), ..found });
    }
    let named = |field: &str| text(object, field) == Some("error");
    // FastAPI's servers, old vLLM and gateways send objects that hold an error text and no part of an answer.
    let is_error = named("object")
        || named("type")
        || holds("detail")
        || holds("error_message")
        || holds("error_msg")
        || (holds("message") && ["code", "status", "status_code"].into_iter().any(holds));
    (is_error && !is_answer).then(|| FoundError::of(object, object))
}

fn is_empty_error(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty_error),
        Value::Object(fields) => fields.values().all(is_empty_error),
        Value::Bool(true) => false,
    }
}

impl FoundError {
    /// Reads the body of an error response: JSON, an event stream, an HTML page or a plain text.
    fn in_body(body: &[u8]) -> Self {
        // Text in an undeclared charset is mostly Windows-1252. Bytes with control characters are not a text.
        let body = match std::str::from_utf8(body) {
            Ok(body) => Cow::Borrowed(body),
            Err(err) if err.error_len().is_none() => String::from_utf8_lossy(body),
            Err(_) if body.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace()) => {
                WINDOWS_1252.decode(body).0
            }
            Err(_) => return Self::default(),
        };
        let body = body.trim_start_matches('\u{feff}').trim();
        if lenient::parse(body).is_err() {
            if let Some(data) = first_event(body) {
                return Self::declared_text(&data);
            }
            if body.starts_with('<') {
                return Self { message: page::words(body), ..Self::default() };
            }
            if body.is_empty() || body.starts_with(['{', '[']) {
                return Self::default();
            }
        }
        Self::declared_text(body)
    }

    /// Reads a text that is declared as an error, in JSON or in plain words.
    fn declared_text(text: &str) -> Self {
        match lenient::parse(text) {
            Ok(Value::String(message)) => Self { message: Some(message), ..Self::default() },
            Ok(value) => Self::declared(&value),
            Err(_) => Self { message: Some(text.to_owned()), ..Self::default() },
        }
    }

    /// Reads JSON that is declared as an error.
    fn declared(json: &Value) -> Self {
        // Google's compatible endpoint sends its error in an array.
        let object = json.as_array().and_then(|items| items.first()).unwrap_or(json);
        if object.is_string() {
            return Self { message: words_of(json), ..Self::default() };
        }
        find(object).unwrap_or_else(|| Self::of(object, object))
    }

    /// Reads the error's own object and the fields around it.
    fn of(error: &Value, around: &Value) -> Self {
        // Gateways put the error of another server into an error of their own.
        if let Some(inner) = error.get("error").filter(|inner| inner.is_object() && error != around) {
            return Self::of(inner, error);
        }
        let own = || WORDS.iter().filter_map(|field| error.get(*field)).find_map(words_of);
        let beside = || WORDS.iter().filter_map(|field| around.get(*field)).find_map(words_of);
        let listed = || Some(error).filter(|error| error.is_array()).and_then(words_of);
        let message = own().or_else(listed).or_else(beside);
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

    /// Returns the failure that the error means. `response` is the error response that held it, or `None` if an answer
    /// held it.
    fn into_upstream_error(self, response: Option<&ErrorResponse>, secret: &str) -> UpstreamError {
        let status = response.map(|response| response.status).or(self.status);
        let meaning = self.words.iter().find_map(|word| meaning_of_code(word, status));
        let daily = || (self.is_daily && status == Some(429)).then_some(Meaning::Fault(Fault::Quota));
        let in_words = || self.message.as_deref().and_then(|message| meaning_of_message(message, status));
        let by_status = || status.map(Fault::of_status).map(Meaning::Fault);
        let by_type = || self.words.iter().find_map(|word| fault_of_code(word)).map(Meaning::Fault);
        let meaning = daily().or(meaning).or_else(in_words).or_else(by_status).or_else(by_type);
        let message = match (&self.message, self.words.first(), status) {
            (Some(message), ..) if !message.trim().is_empty() => redact(message, secret),
            (_, Some(word), _) => redact(word, secret),
            (.., Some(status)) => format!("it answered with status {status}"),
            _ => redact("", secret),
        };
        // Google sends the delay in the body; a proxy in front of Google may send it in the header.
        let retry_after = self.retry_after.or(response.and_then(|response| response.retry_after));
        match meaning.unwrap_or(Meaning::Fault(Fault::Upstream)) {
            Meaning::Blocked => UpstreamError::Blocked(message),
            Meaning::Fault(fault) => UpstreamError::Refused { fault, status, message, retry_after },
        }
    }
}

/// Returns a text, or the joined texts of FastAPI's list of errors.
fn words_of(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(_) => None,
        // The text from a gateway may be another server's JSON.
        Value::String(message) if message.trim_start().starts_with('{') => {
            let inner = lenient::parse(message).ok().as_ref().and_then(words_of);
            Some(inner.unwrap_or_else(|| message.clone()))
        }
        Value::String(message) => Some(message.clone()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(words_of).collect();
            Some(texts.join("; "))
        }
        Value::Object(_) => {
            WORDS.iter().chain(&["error", "errors"]).filter_map(|field| value.get(*field)).find_map(words_of)
        }
        Value::Number(number) => Some(number.to_string()),
    }
    .filter(|words| !words.is_empty())
}

/// Returns an HTTP error status that is written as a number or as digits. A server's own error numbers are ignored.
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
