//! Converts a chat completion to our events. The reader does no I/O: it takes chunks, or a whole completion, and
//! decides at the end.

use serde_json::Value;

use crate::task::TextKind;
use crate::upstream::objects::{BodyForm, ObjectReader};
use crate::upstream::openai_wire::chunk::{self, Chunk};
use crate::upstream::openai_wire::usage::Counts;
use crate::upstream::reading::AnswerEnd;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent};
use crate::wire::completion::FinishReason;

/// The place of the text so far. If a server sends the text in two places, only one of them is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextPlace {
    Content,
    Transcript,
}

/// A reply that is being received. Its own id, time and model are ignored: the task has others.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The latest finish reason: some servers send it twice.
    finish: Option<String>,
    /// True after a finish reason that is not a text. At the end of a whole body it counts as a finish reason.
    saw_odd_finish: bool,
    /// The latest usage.
    usage: Counts,
    /// True after a choice.
    saw_choice: bool,
    /// True after a choice with content in an unknown form.
    saw_unreadable: bool,
    /// True if the answer came in deltas.
    saw_delta: bool,
    /// True after a text.
    saw_text: bool,
    text_place: Option<TextPlace>,
    /// True if the model called a tool, although none was offered.
    saw_call: bool,
}

impl Reply {
    fn end(&mut self, otherwise: UpstreamError, batch: &mut Batch) -> Result<(), UpstreamError> {
        let reason = match &self.finish {
            Some(_) if self.saw_unreadable && !self.saw_text => {
                return Err(unreadable());
            }
            Some(word) if !self.saw_text && (self.saw_call || chunk::is_call(word)) => {
                return Err(called());
            }
            Some(word) => chunk::finish_reason(word)?,
            None if self.saw_odd_finish && self.saw_text => FinishReason::Stop,
            None => return Err(otherwise),
        };
        batch.push(UpstreamEvent::Finished { reason, usage: self.usage.in_our_terms() });
        Ok(())
    }
}

impl ObjectReader for Reply {
    fn take(&mut self, _: &str, object: &Value, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.usage.overwrite(object);
        let Chunk { texts, transcript, finish, is_odd_finish, is_choice, is_delta, is_unreadable, is_call } =
            chunk::read(object);
        self.saw_odd_finish |= is_odd_finish;
        self.saw_delta |= is_delta;
        self.saw_choice |= is_choice;
        self.saw_unreadable |= is_unreadable;
        self.saw_call |= is_call;
        if let Some(word) = finish {
            self.finish = Some(word.to_owned());
        }
        self.saw_text |= !texts.is_empty();
        for (kind, text) in texts {
            let is_content = kind == TextKind::Content;
            if is_content && self.text_place == Some(TextPlace::Transcript) {
                continue;
            }
            if is_content && !text.trim().is_empty() {
                self.text_place = Some(TextPlace::Content);
            }
            batch.push(UpstreamEvent::Text(kind, text));
        }
        // If the model wrote nothing, the transcript of its speech is the answer.
        if let Some(spoken) = transcript.filter(|_| self.text_place != Some(TextPlace::Content)) {
            self.text_place = Some(TextPlace::Transcript);
            self.saw_text = true;
            batch.push(UpstreamEvent::Text(TextKind::Content, spoken.to_owned()));
        }
        Ok(())
    }

    /// Takes the end mark, which counts as a finish reason: one server (Snowflake) never sends a finish reason.
    fn done(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.finish.is_none() && self.saw_text {
            let usage = self.usage.in_our_terms();
            batch.push(UpstreamEvent::Finished { reason: FinishReason::Stop, usage });
            return Ok(());
        }
        let otherwise = match (self.saw_call, self.saw_unreadable) {
            (true, _) => called(),
            (_, true) => unreadable(),
            _ => UpstreamError::Invalid("an empty response".to_owned()),
        };
        self.end(otherwise, batch)
    }

    fn finish(&mut self, form: BodyForm, batch: &mut Batch) -> Result<(), UpstreamError> {
        // A document that parses is whole, with or without a finish reason.
        if form == BodyForm::Document && self.saw_choice && !self.saw_delta {
            return self.done(batch);
        }
        let otherwise = if self.saw_choice {
            UpstreamError::Disconnected
        } else {
            UpstreamError::Invalid("an answer without choices".to_owned())
        };
        self.end(otherwise, batch)
    }

    fn answer_end(&self, form: BodyForm) -> AnswerEnd {
        let is_whole = form == BodyForm::Document && self.saw_text && !self.saw_delta;
        if is_whole || self.finish.is_some() { AnswerEnd::Declared } else { AnswerEnd::NotDeclared }
    }
}

fn unreadable() -> UpstreamError {
    UpstreamError::Invalid("content in an unknown form".to_owned())
}

fn called() -> UpstreamError {
    UpstreamError::NoText(
        "the model called a tool instead of answering, although no tool was offered".to_owned(),
    )
}

#[cfg(test)]
mod tests;
