//! How a call fails: facts, what could be done about them, and what the client is told.

use std::fmt;
use std::time::Duration;

use crate::error::{ErrorCode, Failure};

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
    /// The request's: no repeat helps, anywhere.
    Request,
    /// The channel's credentials', or what they allow.
    Credentials,
    /// The account behind the channel's key, or the place it is used from: a region that is not served, a bill that is
    /// not paid.
    Account,
    /// The channel's: what it was asked for is not served there (an unknown model, a wrong address).
    NotServed,
    /// A limit that will pass.
    RateLimit,
    /// A limit that will not pass while anybody waits: a day's quota, an empty account.
    Quota,
    /// The upstream's own.
    Upstream,
}

impl Fault {
    /// What a status says, where nothing else is known.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            400 | 413 | 415 | 422 => Self::Request,
            401 | 403 => Self::Credentials,
            402 => Self::Quota,
            429 => Self::RateLimit,
            // Conflicts, slow requests and early data may go better the next time; 499 is Google's for a call that
            // was given up.
            408 | 409 | 425 | 499 | 500 | 502..=504 | 506.. => Self::Upstream,
            // 501 and 505 say that the server does not do this at all.
            _ => Self::NotServed,
        }
    }
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
        /// The HTTP status, or the code that stands for it in mid-stream; `None` where neither was told.
        status: Option<u16>,
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
    /// The model ended without a word, and not because all was said; the text says how. The next time it may speak,
    /// and it may be due to the request.
    Speechless(String),
    /// The stored audio could not be read while it was sent.
    AudioLost,
    /// The embedded channel cannot read the audio; the text says why and what to do.
    Unreadable(String),
}

/// What could be done about a call that failed before anything of its answer was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Ask the same channel again, not before so much time has passed.
    Repeat(Option<Duration>),
    /// Ask another channel: this one would say the same again.
    Elsewhere,
    /// Nothing: every channel would say the same.
    Nothing,
}

/// What a failed call says about its channel as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does its work: the failure is the request's.
    Works,
    /// It does not.
    Fails,
    /// The failure may be due to the model or to the caller: no caller shall be able to bring a channel down for others.
    Unknown,
}

impl UpstreamError {
    /// What could be done about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Connect(_)
            | Self::Timeout(Stage::Connect | Stage::FirstChunk, _)
            | Self::Disconnected
            | Self::Invalid(_)
            | Self::Speechless(_) => Remedy::Repeat(None),
            // The channel may not take longer, and took as long.
            Self::Timeout(Stage::Idle | Stage::Total, _) => Remedy::Elsewhere,
            Self::Refused { fault, retry_after, .. } => match fault {
                Fault::RateLimit | Fault::Upstream => Remedy::Repeat(*retry_after),
                Fault::Credentials | Fault::Account | Fault::NotServed | Fault::Quota => Remedy::Elsewhere,
                Fault::Request => Remedy::Nothing,
            },
            Self::Blocked(_) | Self::AudioLost | Self::Unreadable(_) => Remedy::Nothing,
        }
    }

    /// The same error without a word on when to ask again.
    #[must_use]
    pub fn without_hint(mut self) -> Self {
        if let Self::Refused { retry_after, .. } = &mut self {
            *retry_after = None;
        }
        self
    }

    /// Returns true if the upstream says that it does not know the model. Another server at a wrong address may say the same.
    #[must_use]
    pub fn knows_no_model(&self) -> bool {
        // A redirection is the address' alone.
        matches!(self, Self::Refused { fault: Fault::NotServed, status: None | Some(400..=499), .. })
    }

    /// What it says about the channel as a whole.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            // Long audio, or a model that has much to say, may take its time.
            Self::Timeout(Stage::Total, _) => Verdict::Unknown,
            Self::Connect(_) | Self::Timeout(..) | Self::Disconnected | Self::Invalid(_) => Verdict::Fails,
            Self::Refused { fault, status, .. } => match fault {
                Fault::RateLimit | Fault::Upstream => Verdict::Fails,
                // Google counts quotas by model; a model may be refused to a region or to an account.
                Fault::Quota | Fault::Account => Verdict::Unknown,
                // Somebody else's model may be allowed.
                Fault::Credentials if *status == Some(403) => Verdict::Unknown,
                Fault::Credentials => Verdict::Fails,
                Fault::NotServed => Verdict::Unknown,
                Fault::Request => Verdict::Works,
            },
            Self::Blocked(_) => Verdict::Works,
            Self::Speechless(_) | Self::AudioLost | Self::Unreadable(_) => Verdict::Unknown,
        }
    }
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
                    "The upstream took longer than the {stage} timeout of {} ms allows; {}",
                    limit.as_millis(),
                    if stage == Stage::Connect {
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
            UpstreamError::Invalid(why) | UpstreamError::Speechless(why) => Self::new(
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

/// Says when to come back, where that is known: for HTTP, and in words for readers of the task or the stream.
fn come_back(after: Option<Duration>, failure: Failure) -> Failure {
    let Some(after) = after else { return failure };
    let mut failure = failure.with_retry_after(after);
    if let Some(seconds) = failure.retry_after_seconds {
        failure.message = format!("{}; {}", within(&failure.message), try_again_in(seconds)).into();
    }
    failure
}

/// When to come back, as the end of a sentence.
#[must_use]
pub fn try_again_in(seconds: u64) -> String {
    format!("try again in {seconds} {}", if seconds == 1 { "second" } else { "seconds" })
}

/// An upstream's words as a part of a sentence of ours, which goes on behind them.
fn within(message: &str) -> &str {
    message.trim_end_matches(['.', ' '])
}

fn refused(fault: Fault, message: &str, retry_after: Option<Duration>) -> Failure {
    match fault {
        Fault::Request => {
            Failure::new(ErrorCode::UpstreamRejected, format!("The upstream refuses this request: {message}"))
        }
        // Its words are for the operator, and may tell of accounts: they stay in the log.
        Fault::Credentials => Failure::new(
            ErrorCode::UpstreamAuthError,
            "The upstream refuses this service's credentials; use another model, or ask the operator",
        ),
        // As above.
        Fault::Account => Failure::new(
            ErrorCode::UpstreamAuthError,
            "The upstream refuses this service's account, or the region that it is asked from; use another model, or ask \
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
        Fault::RateLimit => come_back(
            retry_after,
            Failure::new(
                ErrorCode::UpstreamRateLimited,
                format!("The upstream limits how often it may be asked: {message}"),
            ),
        ),
        Fault::Upstream => come_back(
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
    fn what_may_pass_is_repeated_and_what_will_not_is_not() {
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
            UpstreamError::Timeout(Stage::Connect, Duration::ZERO),
            UpstreamError::Timeout(Stage::FirstChunk, Duration::ZERO),
            UpstreamError::Disconnected,
            UpstreamError::Invalid(String::new()),
            refused(Fault::Upstream, 503),
        ] {
            assert_eq!(err.remedy(), Remedy::Repeat(None), "{err:?}");
            assert_eq!(err.verdict(), Verdict::Fails, "{err:?}");
        }
        for fault in [Fault::Credentials, Fault::Account, Fault::NotServed, Fault::Quota] {
            assert_eq!(refused(fault, 400).remedy(), Remedy::Elsewhere, "{fault:?}");
        }
        for err in [refused(Fault::Request, 400), UpstreamError::Blocked(String::new())] {
            assert_eq!(err.remedy(), Remedy::Nothing, "{err:?}");
            assert_eq!(err.verdict(), Verdict::Works, "{err:?}");
        }
    }

    #[test]
    fn a_failure_that_passes_says_when_to_come_back() {
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
    fn what_one_caller_can_bring_about_does_not_speak_against_the_channel() {
        assert_eq!(refused(Fault::NotServed, 404).verdict(), Verdict::Unknown);
        assert_eq!(refused(Fault::Credentials, 403).verdict(), Verdict::Unknown);
        assert_eq!(refused(Fault::Credentials, 401).verdict(), Verdict::Fails);
    }

    #[test]
    fn an_unknown_model_is_no_wrong_address_and_no_failure() {
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
    fn each_status_has_somebody_at_fault() {
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
