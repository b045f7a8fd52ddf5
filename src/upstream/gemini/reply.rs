//! Gemini's events in our terms: a pure reader that takes the pieces of the body and decides at its end.
//!
//! Events are looked into and not parsed into types: a value of a surprising type is passed over.

use std::fmt::Write as _;

use serde_json::Value;

use super::usage::Counts;
use crate::config::Secret;
use crate::task::answer::TextKind;
use crate::upstream::lenient::{self, first_of, says_something, text};
use crate::upstream::objects::ObjectReader;
use crate::upstream::redact::redact;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent};
use crate::wire::completion::FinishReason;

/// A reply that is coming in.
#[derive(Debug)]
pub(super) struct Reply {
    secret: Secret,
    usage: Counts,
    finish_reason: Option<String>,
    finish_message: Option<String>,
    /// Was there a reason that is no word? At the end of a whole body it is as good as one.
    saw_odd_finish: bool,
    /// Why the prompt is blocked, in Google's words.
    block: Option<String>,
    saw_candidate: bool,
    saw_content: bool,
    /// Did the model call a function, though none was offered?
    saw_call: bool,
}

impl Reply {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            usage: Counts::default(),
            finish_reason: None,
            finish_message: None,
            saw_odd_finish: false,
            block: None,
            saw_candidate: false,
            saw_content: false,
            saw_call: false,
        }
    }
}

impl ObjectReader for Reply {
    fn take(&mut self, _: &str, event: &Value, batch: &mut Batch) -> Result<(), UpstreamError> {
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

    /// Some proxies end a stream as OpenAI does. It is no finish reason.
    fn done(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.finish_reason.is_some() { self.finish(batch) } else { Ok(()) }
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        let block = self.block.take();
        if let Some(why) = block.as_ref().filter(|_| !self.saw_content) {
            return Err(UpstreamError::Blocked(redact(why, self.secret.expose())));
        }
        let reason = match self.finish_reason.take() {
            // The text before it stands.
            _ if block.is_some() => FinishReason::ContentFilter,
            Some(_) if self.saw_call && !self.saw_content => {
                return Err(UpstreamError::Speechless(
                    "the model called a function instead of answering, though it was offered none".to_owned(),
                ));
            }
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
            let Some(text) = text(part, "text") else {
                self.saw_call |= part.get("functionCall").is_some_and(Value::is_object);
                continue;
            };
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
