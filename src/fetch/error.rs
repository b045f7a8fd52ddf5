//! Why a download failed, and what the submitter is told of it.

use std::time::Duration;

use crate::audio::{NoAudio, Origin, Refusal};
use crate::error::{ErrorCode, Failure};
use crate::net::BadHead;
use crate::store::StoreError;

/// Why there is no audio behind a URL, for now or at all.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The gate refuses the URL.
    #[error("{0}")]
    Refused(Refusal),
    /// The gate refuses the URL to which a server redirects.
    #[error("its server redirects to a URL that may not be fetched from")]
    RedirectRefused,
    /// A host has an address that the gate does not allow.
    #[error("its host, or one that it redirects to, is not on the public internet")]
    Forbidden,
    /// A redirect to what is no URL.
    #[error("its server redirects to what is not a URL")]
    RedirectTarget,
    /// A redirect that leads nowhere.
    #[error("its server redirects without saying where to")]
    Redirect,
    /// More redirects than are followed.
    #[error("it redirects more than {0} times")]
    Redirects(u32),
    /// No address was found.
    #[error("its host's name does not resolve")]
    Unresolved,
    /// No connection came about.
    #[error("no connection to its host came about")]
    Connect,
    /// No connection came about in time.
    #[error("no connection to its host came about within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// No encrypted connection came about.
    #[error("the TLS handshake with its host failed; is its certificate valid?")]
    Tls,
    /// The connection broke off.
    #[error("the connection broke off before the download was complete")]
    Disconnected,
    /// The server sends more than it says.
    #[error("its server sends more than the Content-Length that it states")]
    Surplus,
    /// The head of the answer contradicts itself, or states what was not asked for.
    #[error("its server's answer states {0}")]
    BadHead(BadHead),
    /// Far more comes than the largest file.
    #[error("its server sends far more than a file of the largest size that is taken")]
    Flood,
    /// The chunks of the body cannot be told apart.
    #[error("its server sends chunks that break the rules of HTTP")]
    Framing,
    /// The head of the answer is too long for the HTTP client.
    #[error("the head of its server's answer is too long: more than 96 header fields, or 128 KiB")]
    Head,
    /// The head of the answer has fields that the HTTP client refuses.
    #[error("its server's answer has header fields that break the rules of HTTP")]
    Fields,
    /// The server sends a part of the file.
    #[error("its server sends only a part of the file (status 206), though all of it was asked for")]
    Partial,
    /// What answers does not speak HTTP.
    #[error("its host does not speak HTTP")]
    NotHttp,
    /// The server answered with an error.
    #[error("its server answered with status {0}")]
    Status(u16),
    /// The content is compressed in a way that was not asked for.
    #[error("its server sends the content compressed with {0}, which was not asked for")]
    Coding(&'static str),
    /// The content is damaged gzip, or ends too early.
    #[error("its content is gzip that is damaged or breaks off")]
    Gzip,
    /// All of it took too long.
    #[error("the download took longer than {} ms", .0.as_millis())]
    Timeout(Duration),
    /// More than `fetch.max_bytes`.
    #[error("it is larger than {0} bytes")]
    FileTooLarge(u64),
    /// Audio that is too large to be sent upstream.
    #[error("its base64 would be longer than the {0} bytes that this model takes beside the prompt")]
    TextTooLarge(u64),
    /// The bytes are no audio.
    #[error("its content is no audio that can be used")]
    NoAudio(NoAudio),
    /// The store has no room, or fails.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What was downloaded cannot be read again.
    #[error("what was downloaded cannot be read: {0}")]
    Reading(std::io::Error),
    /// The intake panicked.
    #[error("the download could not be worked on")]
    Crashed,
}

impl FetchError {
    /// Returns true if the network or the server failed, so that another attempt may succeed.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unresolved | Self::Connect | Self::ConnectTimeout(_) | Self::Disconnected => true,
            Self::Status(status) => *status >= 500,
            Self::Refused(_)
            | Self::RedirectRefused
            | Self::Forbidden
            | Self::RedirectTarget
            | Self::Redirect
            | Self::Redirects(_)
            | Self::Tls
            | Self::Surplus
            | Self::BadHead(_)
            | Self::Flood
            | Self::Framing
            | Self::Head
            | Self::Fields
            | Self::Partial
            | Self::NotHttp
            | Self::Coding(_)
            | Self::Gzip
            | Self::Timeout(_)
            | Self::FileTooLarge(_)
            | Self::TextTooLarge(_)
            | Self::NoAudio(_)
            | Self::Store(_)
            | Self::Reading(_)
            | Self::Crashed => false,
        }
    }
}

impl From<FetchError> for Failure {
    fn from(err: FetchError) -> Self {
        match err {
            FetchError::Store(err) => err.into(),
            FetchError::Reading(_) | FetchError::Crashed => {
                tracing::error!(%err, "a download failed inside the service");
                Self::internal()
            }
            FetchError::NoAudio(no_audio) => no_audio.failure(Origin::Download).with_retryable(false),
            FetchError::FileTooLarge(_) | FetchError::TextTooLarge(_) => Self::new(
                ErrorCode::AudioTooLarge,
                format!("The audio behind audio_url is too large: {err}; use a shorter or more compressed recording"),
            )
            .with_param("audio_url")
            .with_retryable(false),
            err => {
                let later = matches!(err, FetchError::Timeout(_) | FetchError::Status(408 | 425 | 429));
                let retryable = err.is_passing() || later;
                let advice = if retryable { "try again, or send the audio inline" } else { "correct it, or send the audio inline" };
                Self::new(
                    ErrorCode::AudioFetchFailed,
                    format!("audio_url cannot be downloaded: {err}; {advice}"),
                )
                .with_param("audio_url")
                .with_retryable(retryable)
            }
        }
    }
}
