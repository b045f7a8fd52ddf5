//! A chat completion in our terms: a pure reader that takes chunks, or the whole of it, and decides at its end.

use serde_json::Value;

use crate::upstream::openai_wire::chunk::{self, Chunk};
use crate::upstream::openai_wire::events::ObjectReader;
use crate::upstream::openai_wire::usage::usage_in;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent};
use crate::wire::completion::{FinishReason, Usage};

/// A reply that is coming in. Its own id, time and model are nobody's business: the task has others.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The last word on why the model stopped: some say it twice.
    finish: Option<String>,
    /// Was there a reason that is no word? At the end of a whole body it is as good as one.
    saw_odd_finish: bool,
    /// The last word on what it took.
    usage: Usage,
    /// Did any choice come, and any whose content has a form that nobody knows?
    saw_choice: bool,
    saw_unreadable: bool,
    /// Did any text come?
    saw_text: bool,
}

impl Reply {
    fn end(&mut self, otherwise: UpstreamError, batch: &mut Batch) -> Result<(), UpstreamError> {
        let reason = match &self.finish {
            Some(_) if self.saw_unreadable && !self.saw_text => {
                return Err(UpstreamError::Invalid("content in a form that is not known".to_owned()));
            }
            Some(word) => chunk::finish_reason(word)?,
            None if self.saw_odd_finish && self.saw_text => FinishReason::Stop,
            None => return Err(otherwise),
        };
        batch.push(UpstreamEvent::Finished { reason, usage: self.usage });
        Ok(())
    }
}

impl ObjectReader for Reply {
    fn take(&mut self, _: &str, object: &Value, batch: &mut Batch) -> Result<(), UpstreamError> {
        if let Some(usage) = usage_in(object) {
            self.usage = usage;
        }
        let Chunk { texts, finish, is_odd_finish, is_choice, is_unreadable } = chunk::read(object);
        self.saw_odd_finish |= is_odd_finish;
        self.saw_choice |= is_choice;
        self.saw_unreadable |= is_unreadable;
        if let Some(word) = finish {
            self.finish = Some(word.to_owned());
        }
        self.saw_text |= !texts.is_empty();
        batch.extend(texts.into_iter().map(|(kind, text)| UpstreamEvent::Text(kind, text)));
        Ok(())
    }

    /// The end mark is as good as a finish reason, which one server (Snowflake) never gives.
    fn done(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.finish.is_none() && self.saw_text {
            batch.push(UpstreamEvent::Finished { reason: FinishReason::Stop, usage: self.usage });
            return Ok(());
        }
        self.end(UpstreamError::Invalid("an empty response".to_owned()), batch)
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        let otherwise = if self.saw_choice {
            UpstreamError::Disconnected
        } else {
            UpstreamError::Invalid("an answer without choices".to_owned())
        };
        self.end(otherwise, batch)
    }

    fn is_complete(&self) -> bool {
        self.finish.is_some()
    }
}

#[cfg(test)]
mod tests;
