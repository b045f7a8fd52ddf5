//! Converts Gemini's events to ours. The reader does no I/O: it takes the objects of the body, and decides at the end
//! of the body.
//!
//! Events are searched and not parsed into types: a value of an unexpected type is ignored.

use std::fmt::Write as _;

use serde_json::Value;

use super::usage::Counts;
use crate::secret::Secret;
use crate::task::TextKind;
use crate::upstream::lenient::{FieldText, Reason, first_of, is_true, reason, text, words};
use crate::upstream::objects::{BodyForm, ObjectReader};
use crate::upstream::reading::AnswerEnd;
use crate::upstream::redact::redact;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent};
use crate::wire::completion::FinishReason;

/// A reply that is being received.
#[derive(Debug)]
pub(super) struct Reply {
    secret: Secret,
    usage: Counts,
    finish_reason: Option<String>,
    finish_message: Option<String>,
    /// True after a finish reason that is not a text. At the end of a whole body it counts as a finish reason.
    saw_odd_finish: bool,
    /// The reason why the prompt is blocked, in Google's words.
    block: Option<String>,
    saw_candidate: bool,
    saw_content: bool,
    /// True after content in an unknown form in place of a text.
    saw_unreadable: bool,
    /// True if the model continued after `STOP`: every piece has one then, so the answer ends only with the body.
    continued_after_stop: bool,
    /// True if a text came before the first finish reason: then the model sends one only at its end.
    began_without_reason: bool,
    /// True if the model called a function, although none was offered.
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
            saw_unreadable: false,
            continued_after_stop: false,
            began_without_reason: false,
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
            // The value for "no reason" has two spellings.
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

    /// Takes `[DONE]`, which some proxies send at the end, as OpenAI does. It is not a finish reason.
    fn done(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.finish_reason.is_some() { self.finish(BodyForm::Pieces, batch) } else { Ok(()) }
    }

    fn finish(&mut self, form: BodyForm, batch: &mut Batch) -> Result<(), UpstreamError> {
        let block = self.block.take();
        if let Some(why) = block.as_ref().filter(|_| !self.saw_content) {
            return Err(UpstreamError::Blocked(redact(why, self.secret.expose())));
        }
        let reason = match self.finish_reason.take() {
            // The text before the block is kept.
            _ if block.is_some() => FinishReason::ContentFilter,
            Some(_) if self.saw_call && !self.saw_content => {
                return Err(UpstreamError::NoText(
                    "the model called a function instead of answering, although no function was offered"
                        .to_owned(),
                ));
            }
            Some(_) if self.saw_unreadable && !self.saw_content => {
                return Err(UpstreamError::Invalid("a text in an unknown form".to_owned()));
            }
            Some(reason) => self.meaning(&reason)?,
            None if self.saw_odd_finish && self.saw_content => FinishReason::Stop,
            // A document that parses is whole, with or without a finish reason.
            None if form == BodyForm::Document && self.saw_content => FinishReason::Stop,
            None if self.saw_candidate => return Err(UpstreamError::Disconnected),
            None => return Err(UpstreamError::Invalid("an empty response".to_owned())),
        };
        batch.push(UpstreamEvent::Finished { reason, usage: self.usage.in_openai_terms() });
        Ok(())
    }

    fn answer_end(&self, _: BodyForm) -> AnswerEnd {
        match self.finish_reason.as_deref() {
            Some("STOP") if self.continued_after_stop || !self.saw_content => AnswerEnd::NotDeclared,
            // Some models send it with each piece of an answer, and this may be the first piece.
            Some("STOP") if !self.began_without_reason => AnswerEnd::Tentative,
            Some(_) => AnswerEnd::Declared,
            None => AnswerEnd::NotDeclared,
        }
    }
}

impl Reply {
    fn take_candidate(&mut self, candidate: &Value, batch: &mut Batch) {
        let before = batch.len();
        self.take_content(candidate.get("content").unwrap_or_default(), before, batch);
        if batch.len() > before {
            self.continued_after_stop |= self.finish_reason.is_some();
            self.began_without_reason |=
                self.finish_reason.is_none() && reason(candidate, "finishReason").is_none();
        }
        match reason(candidate, "finishReason") {
            Some(Reason::Word(word)) => {
                self.finish_reason = Some(word.to_owned());
                self.finish_message = text(candidate, "finishMessage").map(str::to_owned);
            }
            Some(Reason::Odd) => self.saw_odd_finish = true,
            None => {}
        }
    }

    /// Takes a content, a part of one, or a list of either. `first` is the place in the batch where the event's texts
    /// begin.
    fn take_content(&mut self, content: &Value, first: usize, batch: &mut Batch) {
        match content {
            Value::Array(all) => all.iter().for_each(|one| self.take_content(one, first, batch)),
            Value::Object(fields) => match (fields.get("parts"), fields.get("text")) {
                (Some(parts), _) => self.take_content(parts, first, batch),
                (None, Some(text)) => self.say(is_true(content, "thought"), text, first, batch),
                // Other kinds of parts (images, code, calls) have no text.
                (None, None) => self.saw_call |= fields.get("functionCall").is_some_and(Value::is_object),
            },
            words => self.say(false, words, first, batch),
        }
    }

    fn say(&mut self, is_thought: bool, value: &Value, first: usize, batch: &mut Batch) {
        let text = match words(value) {
            FieldText::Text(text) if !text.is_empty() => text,
            said => {
                self.saw_unreadable |= said == FieldText::Unreadable || *value == Value::Bool(false);
                return;
            }
        };
        let kind = if is_thought { TextKind::Reasoning } else { TextKind::Content };
        self.saw_content |= kind == TextKind::Content;
        // Consecutive parts of one event become one piece of text.
        match batch.get_mut(first..).and_then(<[_]>::last_mut) {
            Some(UpstreamEvent::Text(last, so_far)) if *last == kind => so_far.push_str(&text),
            _ => batch.push(UpstreamEvent::Text(kind, text.into_owned())),
        }
    }

    /// Returns what a finish reason means after the events so far.
    fn meaning(&self, reason: &str) -> Result<FinishReason, UpstreamError> {
        match finish_reason(reason) {
            Some(reason) => Ok(reason),
            None if self.saw_content => Ok(FinishReason::Stop),
            None => {
                let mut why = format!("finished with {reason} and without text");
                if let Some(message) = &self.finish_message {
                    let _ = write!(why, ": {message}");
                }
                Err(UpstreamError::NoText(redact(&why, self.secret.expose())))
            }
        }
    }
}

/// Returns OpenAI's finish reason for Gemini's. `None` for words that are a finish only after a text. The list is open.
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
