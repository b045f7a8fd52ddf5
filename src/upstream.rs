//! Calls upstreams: sends a request and returns a stream of events. This module uses no actors, subscribers or stores.

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
mod request;
mod retry_after;
mod skipped;
mod surrogates;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod transcription;

use futures_util::stream::LocalBoxStream;

use crate::task::{Segment, TextKind};
use crate::wire::completion::{FinishReason, Usage};

pub use deadlines::{Timeouts, with_deadlines};
pub use error::{CallStage, ChannelHealth, Fault, Remedy, UpstreamError, try_again_in};
pub use gemini::reader as gemini_reader;
pub use kind::{Callee, KINDS, Kind, ModelHint, Provider, Server, WithoutFile};
pub use local::LOCAL_MODEL;
pub use openai::reader as openai_reader;
pub use reading::BodyReader;
pub use remote::RemoteKeys;
pub use request::{Hold, Terms, UpstreamRequest};
pub use transcription::{ResponseFormat, reader as transcription_reader};

/// A provider behind a channel. Each call requests a stream, whatever the client wants: only a stream has progress and
/// idle timeouts.
pub trait Upstream: Send + Sync {
    /// Starts a call. Nothing happens before the stream is polled. Dropping the stream closes the connection.
    ///
    /// Each item holds the events of one read. An empty batch shows that the upstream still sends data. The stream ends
    /// with exactly one [`UpstreamEvent::Finished`] or exactly one error.
    fn call(&self, request: UpstreamRequest) -> UpstreamStream;
}

/// An event of an upstream that matters for the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamEvent {
    /// A piece of text; never empty. Reasoning is always reported, requested or not.
    Text(TextKind, String),
    /// A part of the transcript with times that the upstream measured. Its words are also sent as text.
    Segment(Segment),
    /// The upstream's progress in percent, if the upstream reports it.
    Progress(u8),
    /// The answer is complete.
    Finished {
        /// Why the model stopped.
        reason: FinishReason,
        /// The tokens that the answer used.
        usage: Usage,
    },
}

/// The events of one read from an upstream.
pub type Batch = Vec<UpstreamEvent>;

/// A running call.
pub type UpstreamStream = LocalBoxStream<'static, Result<Batch, UpstreamError>>;
