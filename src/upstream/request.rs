//! What an upstream is asked: a question with its audio, the terms, and the slot that the call runs in.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::UpstreamError;
use crate::audio::Audio;
use crate::task::{Message, Part, Question, Role};
use crate::wire::trace_context::TraceContext;

/// What an upstream is asked.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    /// The question.
    pub question: Question,
    /// The audio of each audio part of the question, in order.
    pub audio: Vec<Audio>,
    /// How it is asked.
    pub terms: Terms,
    /// The slot that the call runs in.
    pub slot: Hold,
}

/// A message of the question, with its audio.
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) content: Vec<Content<'a>>,
}

/// A part of a message.
pub(super) enum Content<'a> {
    Text(&'a str),
    Audio(Audio),
}

impl UpstreamRequest {
    /// Puts the audio where it stands in the conversation.
    pub(super) fn turns<'a>(question: &'a Question, audio: Vec<Audio>) -> Vec<Turn<'a>> {
        let mut audio = audio.into_iter();
        let mut turns = Vec::with_capacity(question.messages.len());
        for Message { role, content } in &question.messages {
            let part = |part: &'a Part| match part {
                Part::Text(text) => Some(Content::Text(text)),
                Part::Audio => audio.next().map(Content::Audio),
            };
            turns.push(Turn { role: *role, content: content.iter().filter_map(part).collect() });
        }
        turns
    }

    /// Returns the audio of a request to a kind that takes exactly one, as a file. The question decides how many there
    /// are, and the judge of channels sends no other question here, so no task ends with this error.
    ///
    /// # Errors
    /// [`UpstreamError::AudioLost`] when there is not exactly one.
    pub(super) fn only_audio(audio: Vec<Audio>) -> Result<Audio, UpstreamError> {
        <[Audio; 1]>::try_from(audio).map(|[audio]| audio).map_err(|_| UpstreamError::AudioLost)
    }
}

/// Keeps a slot taken as long as a clone of it exists. Work that goes on for a moment after its stream was dropped
/// holds one until it has really ended; otherwise the slot would be given away while it is still in use.
#[derive(Clone, Default)]
pub struct Hold(Option<Arc<dyn Any + Send + Sync>>);

impl Hold {
    /// Holds whatever `slot` gives back when it is dropped.
    #[must_use]
    pub fn new(slot: Arc<dyn Any + Send + Sync>) -> Self {
        Self(Some(slot))
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Hold(slot)" } else { "Hold(nothing)" })
    }
}

/// How an upstream is asked, whatever the question.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long name look-up, TCP and TLS may take.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent within an answer.
    pub idle_timeout: Duration,
    /// What the upstream is told of the trace that the call belongs to: the call is what it works for.
    pub trace: Option<TraceContext>,
}
