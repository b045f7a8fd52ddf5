//! Upstreams: request in, stream of events out. Nothing here knows actors, subscribers or stores.

mod body;
mod charset;
mod chosen;
mod client;
mod complaint;
mod deadlines;
mod decoded;
#[cfg(test)]
mod echo;
mod error;
mod exchange;
mod gemini;
mod kind;
mod lenient;
mod local;
mod objects;
mod openai;
mod openai_wire;
mod pieced_json;
mod reading;
mod redact;
mod remote;
mod retry_after;
mod skipped;
mod surrogates;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod transcription;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::LocalBoxStream;

use crate::audio::Audio;
use crate::task::{Message, Part, Question, Role, Segment, TextKind};
use crate::wire::completion::{FinishReason, Usage};
use crate::wire::trace_context::TraceContext;

pub use deadlines::{Timeouts, with_deadlines};
pub use error::{Fault, Remedy, Stage, UpstreamError, Verdict, try_again_in};
pub use gemini::reader as gemini_reader;
pub use kind::{Callee, KINDS, Kind, ModelHint, Provider, Server, WithoutFile};
pub use local::LOCAL_MODEL;
pub use openai::reader as openai_reader;
pub use reading::BodyReader;
pub use remote::RemoteKeys;
pub use transcription::{ResponseFormat, reader as transcription_reader};

/// A provider behind a channel. Always asked for a stream, whatever the client wants: only so are there
/// progress and idle timeouts.
pub trait Upstream: Send + Sync {
    /// Starts a call. Nothing happens before the stream is polled; dropping it closes the connection.
    ///
    /// The stream yields what each read brought, an empty batch for a sign of life that says nothing. It ends
    /// with [`UpstreamEvent::Finished`] or with an error, and exactly one of them.
    fn call(&self, request: UpstreamRequest) -> UpstreamStream;
}

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
struct Turn<'a> {
    role: Role,
    content: Vec<Content<'a>>,
}

/// A part of a message.
enum Content<'a> {
    Text(&'a str),
    Audio(Audio),
}

impl UpstreamRequest {
    /// Puts the audio where it stands in the conversation.
    fn turns<'a>(question: &'a Question, audio: Vec<Audio>) -> Vec<Turn<'a>> {
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
    fn only_audio(audio: Vec<Audio>) -> Result<Audio, UpstreamError> {
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

/// What an upstream says, as far as an answer is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamEvent {
    /// A piece of text; never empty. Reasoning is told whether or not it was asked for.
    Text(TextKind, String),
    /// A part of what was said, whose times the upstream has measured. Its words are told as text as well.
    Segment(Segment),
    /// How far the upstream is, in percent, where it knows.
    Progress(u8),
    /// The answer is complete.
    Finished {
        /// Why the model stopped.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
}

/// What one read from an upstream brought.
pub type Batch = Vec<UpstreamEvent>;

/// A call under way.
pub type UpstreamStream = LocalBoxStream<'static, Result<Batch, UpstreamError>>;
