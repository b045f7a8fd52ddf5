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
pub use error::{Fault, Remedy, Stage, UpstreamError, Verdict, try_again_in};
pub use gemini::reader as gemini_reader;
pub use kind::{Callee, KINDS, Kind, ModelHint, Provider, Server, WithoutFile};
pub use local::LOCAL_MODEL;
pub use openai::reader as openai_reader;
pub use reading::BodyReader;
pub use remote::RemoteKeys;
pub use request::{Hold, Terms, UpstreamRequest};
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
