//! The reasons why a download fails, and the error that the submitter gets.

use std::time::Duration;

use crate::audio::{NoAudio, Origin, UrlRefusal};
use crate::error::{ErrorCode, Failure};
use crate::net::BadHead;
use crate::store::StoreError;

/// The reason why the audio behind a URL could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The gate refuses the URL.
    #[error("{0}")]
    Refused(UrlRefusal),
    /// The gate refuses the URL to which a server redirects.
    #[error("its server redirects to a URL from which downloads are not allowed")]
    RedirectRefused,
    /// The host has an address that the gate does not allow.
    #[error("its host, or one that it redirects to, is not on the public internet")]
    Forbidden,
    /// The target of a redirect is not a URL.
    #[error("its server redirects to a text that is not a URL")]
    RedirectTarget,
    /// A redirect has no target.
    #[error("its server redirects without a target")]
    Redirect,
    /// There are more redirects than hearken follows.
    #[error("it redirects more than {0} times")]
    Redirects(u32),
    /// The look-up found no address.
    #[error("the name of its host cannot be resolved")]
    Unresolved,
    /// No connection could be made.
    #[error("no connection to its host could be made")]
    Connect,
    /// No connection could be made in time.
    #[error("no connection to its host could be made within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// No encrypted connection could be made.
    #[error("the TLS handshake with its host failed (the certificate may be invalid)")]
    Tls,
    /// The connection closed too early.
    #[error("the connection closed before the download was complete")]
    Disconnected,
    /// The server sends more than it states.
    #[error("its server sends more than the Content-Length that it states")]
    Surplus,
    /// The head of the response contradicts itself, or states something that was not requested.
    #[error("its server's response states {0}")]
    BadHead(BadHead),
    /// The server sends far more than the largest file.
    #[error("its server sends far more than the largest file that is allowed")]
    Flood,
    /// The chunks of the body cannot be separated.
    #[error("its server sends chunks that break the rules of HTTP")]
    Framing,
    /// The head of the response is too long for the HTTP client.
    #[error("the head of its server's response is too long: more than 96 header fields, or 128 KiB")]
    Head,
    /// The head of the response has fields that the HTTP client refuses.
    #[error("its server's response has header fields that break the rules of HTTP")]
    Fields,
    /// The server sends only a part of the file.
    #[error("its server sends only a part of the file (status 206), although all of it was requested")]
    Partial,
    /// The server does not use HTTP.
    #[error("its host does not use HTTP")]
    NotHttp,
    /// The server answered with an error.
    #[error("its server answered with status {0}")]
    Status(u16),
    /// The content is compressed in a way that was not requested.
    #[error("its server sends the content compressed with {0}, which was not requested")]
    Coding(&'static str),
    /// The content is gzip that is damaged or incomplete.
    #[error("its content is gzip that is damaged or incomplete")]
    Gzip,
    /// The whole download took too long.
    #[error("the download took longer than {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The file is larger than `fetch.max_bytes`.
    #[error("it is larger than {0} bytes")]
    FileTooLarge(u64),
    /// The audio is too large for the upstream.
    #[error(
        "its base64 would be longer than the {0} bytes that this model accepts in addition to the prompt"
    )]
    TextTooLarge(u64),
    /// The bytes are not audio.
    #[error("its content is not audio that can be used")]
    NoAudio(NoAudio),
    /// The store is full, or has failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The downloaded file cannot be read again.
    #[error("the downloaded file cannot be read: {0}")]
    Reading(std::io::Error),
    /// The code that processes the download panicked.
    #[error("the download could not be processed")]
    Crashed,
}

impl FetchError {
    /// Returns true if the network or the server failed, so that another attempt may succeed.
    pub(super) fn may_succeed_later(&self) -> bool {
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

    /// Returns what the submitter can do about the cause. Sending the audio inline always helps.
    fn advice(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::RedirectRefused => "use another URL",
            Self::Forbidden => "use a URL on the public internet",
            Self::RedirectTarget | Self::Redirect | Self::Redirects(_) => "use the URL of the file itself",
            Self::Unresolved => "check the host's name, try again later",
            Self::Tls => "use a host with a valid certificate",
            Self::Surplus
            | Self::BadHead(_)
            | Self::Flood
            | Self::Framing
            | Self::Head
            | Self::Fields
            | Self::Partial
            | Self::Coding(_) => "correct its server, use another server",
            Self::Gzip => "upload the file to its server again",
            Self::Status(401 | 403) => "allow the download without a login, for example by a pre-signed URL",
            Self::Timeout(_) => "try again later, use a smaller file or a faster server",
            Self::Status(408 | 425 | 429 | 500..)
            | Self::Connect
            | Self::ConnectTimeout(_)
            | Self::Disconnected
            | Self::FileTooLarge(_)
            | Self::TextTooLarge(_)
            | Self::NoAudio(_)
            | Self::Store(_)
            | Self::Reading(_)
            | Self::Crashed => "try again later",
            Self::Status(_) | Self::NotHttp => "check the URL",
        }
    }
}

impl From<FetchError> for Failure {
    fn from(err: FetchError) -> Self {
        match err {
            FetchError::Store(err) => err.into(),
            FetchError::Reading(_) | FetchError::Crashed => {
                tracing::error!(%err, "a download failed because of an error inside hearken; report this error");
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
                let retryable = err.may_succeed_later() || later;
                let advice = err.advice();
                Self::new(
                    ErrorCode::AudioFetchFailed,
                    format!("audio_url cannot be downloaded: {err}; {advice}, or send the audio inline"),
                )
                .with_param("audio_url")
                .with_retryable(retryable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_fits_the_cause_of_a_failed_download() {
        let second = Duration::from_secs(1);
        for (err, advice, is_retryable) in [
            (FetchError::Status(404), "check the URL", false),
            (FetchError::Status(403), "without a login, for example by a pre-signed URL", false),
            (FetchError::Status(429), "try again later", true),
            (FetchError::Status(503), "status 503; try again later", true),
            (FetchError::Timeout(second), "a smaller file or a faster server", true),
            (FetchError::ConnectTimeout(second), "try again later", true),
            (FetchError::Unresolved, "check the host's name, try again later", true),
            (FetchError::Redirects(5), "use the URL of the file itself", false),
            (FetchError::Surplus, "correct its server, use another server", false),
            (FetchError::Gzip, "upload the file to its server again", false),
        ] {
            let failure = Failure::from(err);
            assert!(failure.message.contains(&format!("{advice}, or send the audio inline")), "{failure}");
            assert_eq!(failure.retryable, is_retryable, "{failure}");
        }
    }
}
