//! Gemini's events in our terms: a pure reader that takes the pieces of the body and decides at its end.
//!
//! Events are looked into and not parsed into types: a value of a surprising type is passed over.

use std::fmt::Write as _;

use serde_json::Value;

use super::usage::Counts;
use crate::config::Secret;
use crate::task::answer::TextKind;
use crate::upstream::lenient::{self, first_of, says_something, text};
use crate::upstream::reading::EventReader;
use crate::upstream::redact::redact;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent, complaint};
use crate::wire::completion::FinishReason;
use crate::wire::event_stream::Piece;

/// Most text outside the event stream that is kept, in bytes: an error object, or a whole answer where
/// `alt=sse` was lost on the way.
const MAX_STRAY_BYTES: usize = 4 << 20;
/// How often it is tried before the body ends: each try reads all of it.
const STRAY_TRIES: u8 = 8;

/// A reply that is coming in.
#[derive(Debug)]
pub(super) struct Reply {
    secret: Secret,
    /// Lines outside the event stream.
    stray: String,
    tries_left: u8,
    usage: Counts,
    finish_reason: Option<String>,
    finish_message: Option<String>,
    /// Was there a reason that is no word? At the end of a whole body it is as good as one.
    saw_odd_finish: bool,
    /// Why the prompt is blocked, in Google's words.
    block: Option<String>,
    saw_candidate: bool,
    saw_content: bool,
}

impl Reply {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            stray: String::new(),
            tries_left: STRAY_TRIES,
            usage: Counts::default(),
            finish_reason: None,
            finish_message: None,
            saw_odd_finish: false,
            block: None,
            saw_candidate: false,
            saw_content: false,
        }
    }
}

impl EventReader for Reply {
    fn take(&mut self, piece: Piece, batch: &mut Batch) -> Result<(), UpstreamError> {
        match piece {
            // Some proxies end a stream as OpenAI does.
            Piece::Event { data, .. } if data.trim() == "[DONE]" || data.trim().is_empty() => Ok(()),
            Piece::Event { name, data } if name == "error" => {
                Err(complaint::declared(data.trim(), self.secret.expose()))
            }
            Piece::Event { name, data } => match lenient::parse(&data) {
                Ok(json) => self.take_json(&json, batch),
                // A heartbeat has a name of its own, and words of its own.
                Err(_) if !matches!(name.as_str(), "" | "message") && !data.contains('{') => Ok(()),
                Err(_) => Err(UpstreamError::Invalid("an event that is not Gemini's JSON".to_owned())),
            },
            Piece::Stray(line) => {
                if self.stray.len() + line.len() > MAX_STRAY_BYTES {
                    return Err(UpstreamError::Invalid("a long body that is no event stream".to_owned()));
                }
                self.stray.push_str(&line);
                self.stray.push('\n');
                // A pretty-printed object ends so: then its error need not wait for the end of the body.
                if line == "}" && self.stray.starts_with('{') && self.tries_left > 0 {
                    self.tries_left -= 1;
                    return self.take_stray(batch);
                }
                Ok(())
            }
        }
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.take_stray(batch)?;
        let block = self.block.take();
        if let Some(why) = block.as_ref().filter(|_| !self.saw_content) {
            return Err(UpstreamError::Blocked(redact(why, self.secret.expose())));
        }
        if !self.stray.trim().is_empty() {
            return Err(UpstreamError::Invalid("a body that is no event stream".to_owned()));
        }
        let reason = match self.finish_reason.take() {
            // The text before it stands.
            _ if block.is_some() => FinishReason::ContentFilter,
            Some(reason) => self.meaning(&reason)?,
            None if self.saw_odd_finish && self.saw_content => FinishReason::Stop,
            None if self.saw_candidate => return Err(UpstreamError::Disconnected),
            None => return Err(UpstreamError::Invalid("an empty response".to_owned())),
        };
        batch.push(UpstreamEvent::Finished { reason, usage: self.usage.in_openai_terms() });
        Ok(())
    }
}

impl Reply {
    /// Reads what stands outside the event stream, once it is whole JSON: an error, or the answer itself where
    /// `alt=sse` was lost. What is not JSON stays where it is.
    fn take_stray(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        let Ok(json) = lenient::parse(&self.stray) else { return Ok(()) };
        self.stray.clear();
        self.take_json(&json, batch)
    }

    /// Takes an event, or the events of an array.
    fn take_json(&mut self, json: &Value, batch: &mut Batch) -> Result<(), UpstreamError> {
        match json {
            Value::Array(events) => events.iter().try_for_each(|event| self.take_json(event, batch)),
            Value::Object(_) => self.take_event(json, batch),
            Value::Null => Ok(()),
            _ => Err(UpstreamError::Invalid("an event that is not Gemini's JSON".to_owned())),
        }
    }

    fn take_event(&mut self, event: &Value, batch: &mut Batch) -> Result<(), UpstreamError> {
        if let Some(err) = complaint::in_event(event, self.secret.expose()) {
            return Err(err);
        }
        if let Some(usage) = event.get("usageMetadata") {
            self.usage.overwrite(usage);
        }
        if let Some(feedback) = event.get("promptFeedback") {
            // The name of the value that means nothing is written in two ways.
            let reason = text(feedback, "blockReason").filter(|reason| !reason.ends_with("_UNSPECIFIED"));
            let why = reason.map(|reason| text(feedback, "blockReasonMessage").unwrap_or(reason).to_owned());
            self.block = why.or(self.block.take());
        }
        if let Some(candidate) = first_of(event, "candidates") {
            self.saw_candidate = true;
            self.take_candidate(candidate, batch);
        }
        Ok(())
    }

    fn take_candidate(&mut self, candidate: &Value, batch: &mut Batch) {
        if let Some(reason) = text(candidate, "finishReason") {
            self.finish_reason = Some(reason.to_owned());
            self.finish_message = text(candidate, "finishMessage").map(str::to_owned);
        }
        self.saw_odd_finish |= says_something(candidate, "finishReason");
        let parts =
            candidate.get("content").and_then(|content| content.get("parts")).and_then(Value::as_array);
        let first_of_event = batch.len();
        for part in parts.into_iter().flatten() {
            // Other kinds of part (images, code, calls) have no text.
            let Some(text) = text(part, "text") else { continue };
            let is_thought =
                says_something(part, "thought") || lenient::text(part, "thought") == Some("true");
            let kind = if is_thought { TextKind::Reasoning } else { TextKind::Content };
            self.saw_content |= kind == TextKind::Content;
            // Parts of one event that follow each other are one piece of text.
            match batch.get_mut(first_of_event..).and_then(<[_]>::last_mut) {
                Some(UpstreamEvent::Text(last, so_far)) if *last == kind => so_far.push_str(text),
                _ => batch.push(UpstreamEvent::Text(kind, text.to_owned())),
            }
        }
    }

    /// What a finish reason means after what has come.
    fn meaning(&self, reason: &str) -> Result<FinishReason, UpstreamError> {
        match finish_reason(reason) {
            Some(reason) => Ok(reason),
            None if self.saw_content => Ok(FinishReason::Stop),
            None => {
                let mut why = format!("finished with {reason} and without text");
                if let Some(message) = &self.finish_message {
                    let _ = write!(why, ": {message}");
                }
                Err(UpstreamError::Speechless(redact(&why, self.secret.expose())))
            }
        }
    }
}

/// OpenAI's word for Gemini's; `None` for those that are a finish only where text came. The list is open.
fn finish_reason(reason: &str) -> Option<FinishReason> {
    match reason {
        "STOP" => Some(FinishReason::Stop),
        "MAX_TOKENS" => Some(FinishReason::Length),
        "SAFETY"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "RECITATION"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_OTHER"
        | "NO_IMAGE" => Some(FinishReason::ContentFilter),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
