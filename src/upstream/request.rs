//! A request to an upstream: the question, the audio, the terms of the call, and the slot.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::UpstreamError;
use crate::audio::Audio;
use crate::task::{Message, Part, Question, Role};
use crate::wire::trace_context::TraceContext;

/// A request to an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    /// The question.
    pub question: Question,
    /// The audio of each audio part of the question, in order.
    pub audio: Vec<Audio>,
    /// The terms of the call.
    pub terms: Terms,
    /// The slot of the call.
    pub slot: Hold,
}

/// A message of the question, with its audio.
pub(super) struct MessageWithAudio<'a> {
    pub(super) role: Role,
    pub(super) content: Vec<Content<'a>>,
}

/// A part of a message.
pub(super) enum Content<'a> {
    Text(&'a str),
    Audio(Audio),
}

impl UpstreamRequest {
    /// Returns the conversation with the audio in its places.
    pub(super) fn messages<'a>(question: &'a Question, audio: Vec<Audio>) -> Vec<MessageWithAudio<'a>> {
        let mut audio = audio.into_iter();
        let mut messages = Vec::with_capacity(question.messages.len());
        for Message { role, content } in &question.messages {
            let part = |part: &'a Part| match part {
                Part::Text(text) => Some(Content::Text(text)),
                Part::Audio => audio.next().map(Content::Audio),
            };
            messages
                .push(MessageWithAudio { role: *role, content: content.iter().filter_map(part).collect() });
        }
        messages
    }

    /// Returns the audio of a request, for a kind that takes exactly one, as a file. The question decides how many
    /// there are, and channels of such a kind get no other question, so no task ends with this error.
    ///
    /// # Errors
    /// [`UpstreamError::AudioLost`] if there is not exactly one.
    pub(super) fn only_audio(audio: Vec<Audio>) -> Result<Audio, UpstreamError> {
        <[Audio; 1]>::try_from(audio).map(|[audio]| audio).map_err(|_| UpstreamError::AudioLost)
    }
}

/// Keeps a slot taken while a clone of this value exists. Work that continues after its stream was dropped holds a
/// clone until it has ended. Otherwise another task could get the slot while it is still in use.
#[derive(Clone, Default)]
pub struct Hold(Option<Arc<dyn Any + Send + Sync>>);

impl Hold {
    /// Returns a hold on `slot`. Dropping `slot` releases the slot.
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

/// The terms of a call, which do not depend on the question.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long name look-up, TCP and TLS may take.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent within an answer.
    pub idle_timeout: Duration,
    /// The trace context that the upstream receives. It names this call as the parent of the upstream's work.
    pub trace: Option<TraceContext>,
}
