//! The errors of a call: the facts, the remedy, and the error that the client gets.

use std::fmt;
use std::time::Duration;

use crate::error::{ErrorCode, Failure};

/// A stage of a call that has its own time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStage {
    /// From the name look-up to the end of the TLS handshake.
    Connect,
    /// From the start of the call to the first event.
    FirstChunk,
    /// Between two pieces.
    Idle,
    /// The whole call.
    Total,
}

/// The cause of a refusal by an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request: it would fail on every channel.
    Request,
    /// The channel's credentials, or their permissions.
    Credentials,
    /// The account behind the channel's key, or the region that hearken calls from: a region that is not served, an
    /// unpaid bill.
    Account,
    /// The channel: it does not serve what was requested (an unknown model, a wrong address).
    NotServed,
    /// A limit that will pass soon.
    RateLimit,
    /// A limit that lasts longer than clients wait: a daily quota, an empty account.
    Quota,
    /// The upstream.
    Upstream,
}

impl Fault {
    /// Returns the fault for a status, if nothing else is known.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            400 | 413 | 415 | 422 => Self::Request,
            401 | 403 => Self::Credentials,
            402 => Self::Quota,
            429 => Self::RateLimit,
            // Conflicts, slow requests and early data may succeed the next time. Google sends 499 for a cancelled call.
            408 | 409 | 425 | 499 | 500 | 502..=504 | 506.. => Self::Upstream,
            // 501 and 505 mean that the server does not support this at all.
            _ => Self::NotServed,
        }
    }
}

/// The failure of a call: the facts, before they become an error for the client.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamError {
    /// No connection was made; the text gives the reason.
    Connect(String),
    /// A stage exceeded its time limit.
    Timeout(CallStage, Duration),
    /// The upstream answered with an error.
    Refused {
        /// The cause.
        fault: Fault,
        /// The HTTP status, or the code in its place in a stream; `None` if there was neither.
        status: Option<u16>,
        /// The upstream's message, redacted.
        message: String,
        /// The time to wait before the next call.
        retry_after: Option<Duration>,
    },
    /// The upstream refuses this content; the text is the upstream's message, redacted.
    Blocked(String),
    /// The connection broke, or the answer stopped before it was complete.
    Disconnected,
    /// The response is not an answer; the text gives the reason.
    Invalid(String),
    /// The model ended without text, although the answer was not complete; the text gives the reason. The next call may
    /// succeed, but the request may also be the cause.
    NoText(String),
    /// The stored audio could not be read while it was sent.
    AudioLost,
    /// The embedded channel cannot read the audio; the text gives the reason and the fix.
    Unreadable(String),
}

/// The remedy for a call that failed before any part of its answer was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Call the same channel again, after at least this time.
    Repeat(Option<Duration>),
    /// Call another channel: this one would fail in the same way.
    OtherChannel,
    /// None: every channel would fail in the same way.
    Nothing,
}

/// The conclusion from a failed call about its channel as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelHealth {
    /// The channel works: the request is at fault.
    Works,
    /// The channel does not work.
    Fails,
    /// Not known, because the model or the caller may be the cause. A caller must not be able to put a channel out of
    /// service for other callers.
    Unknown,
}

impl UpstreamError {
    /// Returns the remedy for this failure.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Connect(_)
            | Self::Timeout(CallStage::Connect | CallStage::FirstChunk, _)
            | Self::Disconnected
            | Self::Invalid(_)
            | Self::NoText(_) => Remedy::Repeat(None),
            // The channel has used the whole time of the limit.
            Self::Timeout(CallStage::Idle | CallStage::Total, _) => Remedy::OtherChannel,
            Self::Refused { fault, retry_after, .. } => match fault {
                Fault::RateLimit | Fault::Upstream => Remedy::Repeat(*retry_after),
                Fault::Credentials | Fault::Account | Fault::NotServed | Fault::Quota => Remedy::OtherChannel,
                Fault::Request => Remedy::Nothing,
            },
            Self::Blocked(_) | Self::AudioLost | Self::Unreadable(_) => Remedy::Nothing,
        }
    }

    /// Returns the same error without the time to wait.
    #[must_use]
    pub fn without_hint(mut self) -> Self {
        if let Self::Refused { retry_after, .. } = &mut self {
            *retry_after = None;
        }
        self
    }

    /// Returns true if the upstream reports that it does not know the model. A server at a wrong address may report the
    /// same.
    #[must_use]
    pub fn knows_no_model(&self) -> bool {
        // Only the address can cause a redirection.
        matches!(self, Self::Refused { fault: Fault::NotServed, status: None | Some(400..=499), .. })
    }

    /// Returns what the failure shows about the channel as a whole.
    #[must_use]
    pub fn channel_health(&self) -> ChannelHealth {
        match self {
            // Long audio, or a model with a long answer, may need more time.
            Self::Timeout(CallStage::Total, _) => ChannelHealth::Unknown,
            Self::Connect(_) | Self::Timeout(..) | Self::Disconnected | Self::Invalid(_) => {
                ChannelHealth::Fails
            }
            Self::Refused { fault, status, .. } => match fault {
                Fault::RateLimit | Fault::Upstream => ChannelHealth::Fails,
                // Google counts quotas per model; an upstream may refuse a model to a region or to an account.
                Fault::Quota | Fault::Account => ChannelHealth::Unknown,
                // The key may be allowed to use the models of other callers.
                Fault::Credentials if *status == Some(403) => ChannelHealth::Unknown,
                Fault::Credentials => ChannelHealth::Fails,
                Fault::NotServed => ChannelHealth::Unknown,
                Fault::Request => ChannelHealth::Works,
            },
            Self::Blocked(_) => ChannelHealth::Works,
            Self::NoText(_) | Self::AudioLost | Self::Unreadable(_) => ChannelHealth::Unknown,
        }
    }
}

impl fmt::Display for CallStage {
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
                    "The upstream took longer than the {stage} timeout of {} ms allows; {}",
                    limit.as_millis(),
                    if stage == CallStage::Connect {
                        "try again later"
                    } else {
                        "try again, or send shorter audio"
                    },
                ),
            ),
            UpstreamError::Refused { fault, status, message, retry_after } => {
                let failure = refused(fault, &message, retry_after);
                match status {
                    Some(status) => failure.with_upstream_status(status),
                    None => failure,
                }
            }
            UpstreamError::Blocked(why) => Self::new(
                ErrorCode::ContentPolicyViolation,
                format!("The upstream refuses this content ({why}); change the prompt or the audio"),
            ),
            UpstreamError::Disconnected => Self::new(
                ErrorCode::UpstreamDisconnected,
                "The upstream's answer stopped before it was finished; try again",
            ),
            UpstreamError::Invalid(why) | UpstreamError::NoText(why) => Self::new(
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

/// Adds the time to wait, if it is known: as a field for the HTTP header, and in words for the message.
fn with_retry_hint(after: Option<Duration>, failure: Failure) -> Failure {
    let Some(after) = after else { return failure };
    let mut failure = failure.with_retry_after(after);
    if let Some(seconds) = failure.retry_after_seconds {
        failure.message = format!("{}; {}", within(&failure.message), try_again_in(seconds)).into();
    }
    failure
}

/// Returns the time to wait as the end of a sentence.
#[must_use]
pub fn try_again_in(seconds: u64) -> String {
    format!("try again in {seconds} {}", if seconds == 1 { "second" } else { "seconds" })
}

/// Returns an upstream's message without its final punctuation, so that our sentence can continue after it.
fn within(message: &str) -> &str {
    message.trim_end_matches(['.', ' '])
}

fn refused(fault: Fault, message: &str, retry_after: Option<Duration>) -> Failure {
    match fault {
        Fault::Request => {
            Failure::new(ErrorCode::UpstreamRejected, format!("The upstream refuses this request: {message}"))
        }
        // The upstream's message is for the operator and may name accounts: it stays in the log.
        Fault::Credentials => Failure::new(
            ErrorCode::UpstreamAuthError,
            "The upstream refuses this service's credentials; use another model, or ask the operator",
        ),
        // This message stays in the log as well.
        Fault::Account => Failure::new(
            ErrorCode::UpstreamAuthError,
            "The upstream refuses this service's account, or the region that it calls from; use another model, or ask \
             the operator",
        ),
        Fault::NotServed => Failure::new(
            ErrorCode::UpstreamError,
            format!(
                "The upstream does not serve this: {}; use another model, or ask the operator",
                within(message)
            ),
        )
        .with_retryable(false),
        Fault::Quota => Failure::new(
            ErrorCode::UpstreamRateLimited,
            format!(
                "This service's quota at the upstream is used up: {}; use another model, or ask the operator",
                within(message)
            ),
        )
        .with_retryable(false),
        Fault::RateLimit => with_retry_hint(
            retry_after,
            Failure::new(
                ErrorCode::UpstreamRateLimited,
                format!("The upstream limits how often it may be asked: {message}"),
            ),
        ),
        Fault::Upstream => with_retry_hint(
            retry_after,
            Failure::new(ErrorCode::UpstreamError, format!("The upstream failed: {message}")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(fault: Fault, status: u16) -> UpstreamError {
        UpstreamError::Refused { fault, status: Some(status), message: String::new(), retry_after: None }
    }

    #[test]
    fn only_calls_that_may_succeed_are_repeated() {
        let after = Some(Duration::from_secs(3));
        let limited = UpstreamError::Refused {
            fault: Fault::RateLimit,
            status: Some(429),
            message: String::new(),
            retry_after: after,
        };
        assert_eq!(limited.remedy(), Remedy::Repeat(after));
        for err in [
            UpstreamError::Connect(String::new()),
            UpstreamError::Timeout(CallStage::Connect, Duration::ZERO),
            UpstreamError::Timeout(CallStage::FirstChunk, Duration::ZERO),
            UpstreamError::Disconnected,
            UpstreamError::Invalid(String::new()),
            refused(Fault::Upstream, 503),
        ] {
            assert_eq!(err.remedy(), Remedy::Repeat(None), "{err:?}");
            assert_eq!(err.channel_health(), ChannelHealth::Fails, "{err:?}");
        }
        for fault in [Fault::Credentials, Fault::Account, Fault::NotServed, Fault::Quota] {
            assert_eq!(refused(fault, 400).remedy(), Remedy::OtherChannel, "{fault:?}");
        }
        for err in [refused(Fault::Request, 400), UpstreamError::Blocked(String::new())] {
            assert_eq!(err.remedy(), Remedy::Nothing, "{err:?}");
            assert_eq!(err.channel_health(), ChannelHealth::Works, "{err:?}");
        }
    }

    #[test]
    fn a_temporary_failure_tells_when_to_try_again() {
        let refused = |fault, after| {
            Failure::from(UpstreamError::Refused {
                fault,
                status: Some(429),
                message: "slow down.".into(),
                retry_after: Some(Duration::from_millis(after)),
            })
        };
        let failure = refused(Fault::RateLimit, 39_500);
        assert_eq!(failure.retry_after_seconds, Some(40));
        assert_eq!(
            failure.message,
            "The upstream limits how often it may be asked: slow down; try again in 40 seconds"
        );
        assert!(refused(Fault::Upstream, 1000).message.ends_with("slow down; try again in 1 second"));
        assert!(!refused(Fault::Quota, 1000).message.contains("try again"));
    }

    #[test]
    fn failures_that_a_caller_can_cause_do_not_blame_the_channel() {
        assert_eq!(refused(Fault::NotServed, 404).channel_health(), ChannelHealth::Unknown);
        assert_eq!(refused(Fault::Credentials, 403).channel_health(), ChannelHealth::Unknown);
        assert_eq!(refused(Fault::Credentials, 401).channel_health(), ChannelHealth::Fails);
    }

    #[test]
    fn only_a_refused_model_counts_as_an_unknown_model() {
        for status in [400, 404, 410] {
            assert!(refused(Fault::NotServed, status).knows_no_model(), "{status}");
        }
        for err in
            [refused(Fault::NotServed, 302), refused(Fault::Upstream, 503), UpstreamError::Disconnected]
        {
            assert!(!err.knows_no_model(), "{err:?}");
        }
    }

    #[test]
    fn each_status_has_its_fault() {
        for (status, fault) in [
            (302, Fault::NotServed),
            (400, Fault::Request),
            (401, Fault::Credentials),
            (402, Fault::Quota),
            (404, Fault::NotServed),
            (408, Fault::Upstream),
            (413, Fault::Request),
            (429, Fault::RateLimit),
            (500, Fault::Upstream),
            (501, Fault::NotServed),
            (502, Fault::Upstream),
            (505, Fault::NotServed),
            (529, Fault::Upstream),
        ] {
            assert_eq!(Fault::of_status(status), fault, "{status}");
        }
    }
}
