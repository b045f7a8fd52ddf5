//! The one table of error codes, and [`Failure`], the value that carries a code everywhere.
//!
//! The same `Failure` is stored with a failed task, published as a stream's `error` frame and sent as an
//! HTTP error, so a caller reads the same words in all three places. Parts of the program keep small
//! enums of facts of their own and convert them to a `Failure` where someone knows what the caller
//! should do. This file knows no HTTP library: a status is a number here.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident => ($status:literal, $kind:literal, $code:literal, $retryable:literal),)*) => {
        /// What went wrong, as the contract names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[doc = $meaning])+ #[serde(rename = $code)] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The HTTP status that goes with the code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)* }
            }

            /// The `type` that goes with the code.
            #[must_use]
            pub const fn kind(self) -> &'static str {
                match self { $(ErrorCode::$variant => $kind,)* }
            }

            /// The code as clients read it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $code,)* }
            }

            /// What the code says, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(ErrorCode::$variant => concat!($($meaning),+).trim_ascii(),)* }
            }

            /// Returns true if the same submit may succeed, unless the failure itself says otherwise.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(ErrorCode::$variant => $retryable,)* }
            }
        }
    };
}

error_codes! {
    /// The body is not JSON.
    InvalidJson => (400, "invalid_request_error", "invalid_json", false),
    /// No key, or one that is not known here.
    InvalidApiKey => (401, "authentication_error", "invalid_api_key", false),
    /// The key may not use the model.
    ModelNotAllowed => (403, "permission_error", "model_not_allowed", false),
    /// No such task for this key.
    TaskNotFound => (404, "not_found_error", "task_not_found", false),
    /// No such path.
    NotFound => (404, "not_found_error", "not_found", false),
    /// The path exists, the method does not.
    MethodNotAllowed => (405, "invalid_request_error", "method_not_allowed", false),
    /// The task was submitted without `stream`.
    StreamNotEnabled => (409, "invalid_request_error", "stream_not_enabled", false),
    /// The first submit with this `Idempotency-Key` is still being accepted.
    IdempotencyConflict => (409, "invalid_request_error", "idempotency_conflict", true),
    /// Somebody ended the task.
    TaskCancelled => (409, "cancelled_error", "task_cancelled", false),
    /// The chunks are no longer kept.
    StreamExpired => (410, "not_found_error", "stream_expired", false),
    /// The body is larger than the service takes.
    RequestTooLarge => (413, "invalid_request_error", "request_too_large", false),
    /// The body is not `application/json`.
    UnsupportedMediaType => (415, "invalid_request_error", "unsupported_media_type", false),
    /// A field or query parameter breaks its rule.
    InvalidParam => (422, "invalid_request_error", "invalid_param", false),
    /// No channel serves the model.
    NoAvailableModel => (422, "invalid_request_error", "no_available_model", false),
    /// The model does not take audio.
    ModelNotSupportCapability => (422, "invalid_request_error", "model_not_support_capability", false),
    /// A field has a value that the model's rules exclude.
    ModelRuleViolation => (422, "invalid_request_error", "model_rule_violation", false),
    /// The content is no audio that is known here.
    UnsupportedAudioFormat => (422, "invalid_request_error", "unsupported_audio_format", false),
    /// The request would exceed what the channel sends upstream.
    AudioTooLarge => (422, "invalid_request_error", "audio_too_large", false),
    /// `audio_url` is neither a public http(s) URL nor a base64 data URI.
    InvalidAudioUrl => (422, "invalid_request_error", "invalid_audio_url", false),
    /// The audio could not be downloaded.
    AudioFetchFailed => (422, "invalid_request_error", "audio_fetch_failed", false),
    /// The `Idempotency-Key` came with another body before.
    IdempotencyKeyReused => (422, "invalid_request_error", "idempotency_key_reused", false),
    /// The upstream refused the content.
    ContentPolicyViolation => (422, "content_policy_error", "content_policy_violation", false),
    /// The upstream says that the request is at fault.
    UpstreamRejected => (422, "invalid_request_error", "upstream_rejected", false),
    /// The key submits more often than it may.
    RateLimitExceeded => (429, "rate_limit_error", "rate_limit_exceeded", true),
    /// Too many tasks wait already, or too many large bodies are under way.
    QueueFull => (429, "rate_limit_error", "queue_full", true),
    /// A fault of hearken's own.
    InternalError => (500, "internal_error", "internal_error", true),
    /// The service stopped while the task ran.
    TaskInterrupted => (500, "internal_error", "task_interrupted", true),
    /// The upstream failed.
    UpstreamError => (502, "upstream_error", "upstream_error", true),
    /// The upstream refused the channel's credentials.
    UpstreamAuthError => (502, "upstream_error", "upstream_auth_error", false),
    /// The upstream answered with nothing, or with something that is no answer.
    UpstreamInvalidResponse => (502, "upstream_error", "upstream_invalid_response", true),
    /// The upstream's answer stopped before it was finished.
    UpstreamDisconnected => (502, "upstream_error", "upstream_disconnected", true),
    /// The upstream limits how often it may be asked.
    UpstreamRateLimited => (503, "upstream_error", "upstream_rate_limited", true),
    /// The service has no room on its disk for more audio.
    StorageFull => (503, "service_unavailable", "storage_full", true),
    /// The service cannot use its disk at the moment.
    StorageUnavailable => (503, "service_unavailable", "storage_unavailable", true),
    /// Every channel that serves the model has failed.
    AllChannelsExhausted => (503, "service_unavailable", "all_channels_exhausted", true),
    /// The service is about to stop and takes no new work.
    ShuttingDown => (503, "service_unavailable", "shutting_down", true),
    /// The upstream took longer than a timeout allows.
    UpstreamTimeout => (504, "upstream_error", "upstream_timeout", true),
}

/// A failure as the caller will see it: a code, and a message that says what to do about it.
///
/// Texts must hold no secret: they go to clients, logs and disk as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub code: ErrorCode,
    /// What went wrong and what to do about it, for a person.
    pub message: Cow<'static, str>,
    /// The field or query parameter at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<Cow<'static, str>>,
    /// The HTTP status that an upstream gave as the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// True if the same submit may succeed when it is repeated.
    pub retryable: bool,
    /// When a repeat makes sense, in seconds from now; sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl Failure {
    /// Makes a failure with the code's own `retryable`.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            param: None,
            upstream_status: None,
            retryable: code.retryable(),
            retry_after_seconds: None,
        }
    }

    /// A field or query parameter that breaks its rule.
    pub fn invalid_param(param: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParam, message).with_param(param)
    }

    /// A fault of hearken's own; the cause belongs into the log, not into the message.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            ErrorCode::InternalError,
            "Something went wrong inside the service; try again, and report the request id if it persists",
        )
    }

    /// The service is draining.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self::new(
            ErrorCode::ShuttingDown,
            "The service is restarting and takes no new tasks; try again shortly",
        )
        .with_retry_after(Duration::from_secs(5))
    }

    /// No such task, or not one of this key's.
    #[must_use]
    pub fn task_not_found() -> Self {
        Self::new(
            ErrorCode::TaskNotFound,
            "No such task for this API key; ended tasks are forgotten after their retention",
        )
    }

    /// Names the field at fault.
    #[must_use]
    pub fn with_param(mut self, param: &'static str) -> Self {
        self.param = Some(Cow::Borrowed(param));
        self
    }

    /// Names the upstream's HTTP status.
    #[must_use]
    pub fn with_upstream_status(mut self, status: u16) -> Self {
        self.upstream_status = Some(status);
        self
    }

    /// Says when to come back; rounded up to whole seconds, at least one, at most a day.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after_seconds = Some(after.as_secs_f64().ceil().clamp(1.0, 86_400.0) as u64);
        self
    }

    /// Overrides whether the same submit would have a chance.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Returns true if upstream work may have been paid for before the failure, so that a repeat may pay again.
    ///
    /// False where the upstream surely did nothing: it was not asked, or it turned the call away.
    #[must_use]
    pub fn may_have_cost(&self) -> bool {
        match self.code {
            ErrorCode::UpstreamRateLimited
            | ErrorCode::UpstreamAuthError
            | ErrorCode::ShuttingDown
            | ErrorCode::StorageFull
            | ErrorCode::StorageUnavailable
            | ErrorCode::RateLimitExceeded
            | ErrorCode::QueueFull => false,
            _ => self.code.status() >= 500 || self.code == ErrorCode::TaskCancelled,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_named_once() {
        let mut names: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn a_failure_survives_the_store() {
        let failure = Failure::new(ErrorCode::UpstreamRateLimited, "slow down")
            .with_upstream_status(429)
            .with_retry_after(Duration::from_millis(34_400));
        let json = serde_json::to_string(&failure).unwrap();
        assert!(json.contains(r#""code":"upstream_rate_limited""#), "{json}");
        assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), failure);
        assert_eq!(failure.retry_after_seconds, Some(35));
    }
}
