//! Upstreams: request in, stream of events out. Nothing here knows tasks, subscribers or stores.

pub mod body;
pub mod client;
pub mod deadlines;
pub mod gemini;
pub mod local;
pub mod redact;
#[cfg(test)]
pub mod testing;

use std::fmt;
use std::time::Duration;

use futures_util::stream::LocalBoxStream;

use crate::audio::Audio;
use crate::error::{ErrorCode, Failure};
use crate::task::answer::TextKind;
use crate::task::submission::Question;
use crate::wire::completion::{FinishReason, Usage};

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
    /// The audio.
    pub audio: Audio,
    /// How long name look-up, TCP and TLS may take.
    pub connect_timeout: Duration,
}

/// What an upstream says, as far as an answer is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamEvent {
    /// A piece of text; never empty.
    Text(TextKind, String),
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

/// A stage of a call that has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Name look-up, TCP, TLS.
    Connect,
    /// Until the first event.
    FirstChunk,
    /// Between two pieces.
    Idle,
    /// All of it.
    Total,
}

/// Whose fault it is that an upstream refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request's: no repeat helps.
    Request,
    /// The channel's credentials'.
    Credentials,
    /// A limit that will pass.
    RateLimit,
    /// The upstream's own.
    Upstream,
}

/// How a call failed: facts, not yet an answer to the client.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamError {
    /// No connection came about; the text says why.
    Connect(String),
    /// A stage passed its limit.
    Timeout(Stage, Duration),
    /// The upstream answered with an error.
    Refused {
        /// Whose fault.
        fault: Fault,
        /// The HTTP status, or the code that stands for it in mid-stream.
        status: u16,
        /// The upstream's words, redacted.
        message: String,
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// The upstream refuses to work on this content; its words, redacted.
    Blocked(String),
    /// The connection broke, or the answer stopped unfinished.
    Disconnected,
    /// The answer is none; the text says in what way.
    Invalid(String),
    /// The stored audio could not be read while it was sent.
    AudioLost,
    /// The embedded channel cannot read the audio; the text says why and what to do.
    Unreadable(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::FirstChunk => "first chunk",
            Self::Idle => "idle",
            Self::Total => "total",
        })
    }
}

impl From<UpstreamError> for Failure {
    fn from(err: UpstreamError) -> Self {
        match err {
            UpstreamError::Connect(why) => Self::new(
                ErrorCode::UpstreamError,
                format!("The upstream cannot be reached ({why}); try again later"),
            ),
            UpstreamError::Timeout(stage, limit) => Self::new(
                ErrorCode::UpstreamTimeout,
                format!(
                    "The upstream took longer than the {stage} timeout of {} ms allows; try again, or send shorter audio",
                    limit.as_millis()
                ),
            ),
            UpstreamError::Refused { fault, status, message, retry_after } => {
                refused(fault, &message, retry_after).with_upstream_status(status)
            }
            UpstreamError::Blocked(why) => Self::new(
                ErrorCode::ContentPolicyViolation,
                format!("The upstream refuses this content ({why}); change the prompt or the audio"),
            ),
            UpstreamError::Disconnected => Self::new(
                ErrorCode::UpstreamDisconnected,
                "The upstream's answer stopped before it was finished; try again",
            ),
            UpstreamError::Invalid(why) => Self::new(
                ErrorCode::UpstreamInvalidResponse,
                format!("The upstream gave no usable answer ({why}); try again"),
            ),
            UpstreamError::AudioLost => Self::internal(),
            UpstreamError::Unreadable(why) => {
                Self::new(ErrorCode::UnsupportedAudioFormat, why).with_param("audio_url")
            }
        }
    }
}

fn refused(fault: Fault, message: &str, retry_after: Option<Duration>) -> Failure {
    match fault {
        Fault::Request => {
            Failure::new(ErrorCode::UpstreamRejected, format!("The upstream refuses this request: {message}"))
        }
        // Its words are for the operator, and may tell of accounts: they stay in the log.
        Fault::Credentials => Failure::new(
            ErrorCode::UpstreamAuthError,
            "The upstream refuses this service's credentials; the operator has to mend the channel's API key",
        ),
        Fault::RateLimit => {
            let failure = Failure::new(
                ErrorCode::UpstreamRateLimited,
                format!("The upstream limits how often it may be asked: {message}"),
            );
            match retry_after {
                Some(after) => failure.with_retry_after(after),
                None => failure,
            }
        }
        Fault::Upstream => Failure::new(ErrorCode::UpstreamError, format!("The upstream failed: {message}")),
    }
}
