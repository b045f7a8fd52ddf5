//! The one table of error codes, and [`Failure`], the value that carries a code everywhere.
//!
//! The same `Failure` is stored with a failed task, published as a stream's `error` frame and sent as an HTTP error, so
//! a client gets the same text in all three places. Other parts of the program have small error enums of their own.
//! They convert these to a `Failure` at the place that knows what the caller should do. This file uses no HTTP library:
//! a status is a number here.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident => ($status:literal, $kind:literal, $code:literal, $retryable:literal),)*) => {
        /// The code of an error, as clients see it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[doc = $meaning])+ #[serde(rename = $code)] $variant,)*
        }

        impl ErrorCode {
            /// All codes, in the order of the table.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// Returns the HTTP status of the code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)* }
            }

            /// Returns the `type` of the code: the group that it belongs to.
            #[must_use]
            pub const fn kind(self) -> &'static str {
                match self { $(ErrorCode::$variant => $kind,)* }
            }

            /// Returns the code as clients read it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $code,)* }
            }

            /// Returns the meaning of the code, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(ErrorCode::$variant => concat!($($meaning),+).trim_ascii(),)* }
            }

            /// Returns true if the same submit may succeed later. A failure may override this.
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
    /// The request has no API key, or an unknown one.
    InvalidApiKey => (401, "authentication_error", "invalid_api_key", false),
    /// The key is not allowed to use the model.
    ModelNotAllowed => (403, "permission_error", "model_not_allowed", false),
    /// No task of the key has this id.
    TaskNotFound => (404, "not_found_error", "task_not_found", false),
    /// The path does not exist.
    NotFound => (404, "not_found_error", "not_found", false),
    /// The path does not support the method.
    MethodNotAllowed => (405, "invalid_request_error", "method_not_allowed", false),
    /// The task was submitted without `stream`.
    StreamNotEnabled => (409, "invalid_request_error", "stream_not_enabled", false),
    /// The first submit with this `Idempotency-Key` is still being accepted.
    IdempotencyConflict => (409, "invalid_request_error", "idempotency_conflict", true),
    /// The task was cancelled.
    TaskCancelled => (409, "cancelled_error", "task_cancelled", false),
    /// The chunks are no longer kept.
    StreamExpired => (410, "not_found_error", "stream_expired", false),
    /// The body is larger than the service accepts.
    RequestTooLarge => (413, "invalid_request_error", "request_too_large", false),
    /// The body is not `application/json`.
    UnsupportedMediaType => (415, "invalid_request_error", "unsupported_media_type", false),
    /// A field or query parameter breaks its rule.
    InvalidParam => (422, "invalid_request_error", "invalid_param", false),
    /// No channel serves the model.
    NoAvailableModel => (422, "invalid_request_error", "no_available_model", false),
    /// The model does not accept audio.
    ModelNotSupportCapability => (422, "invalid_request_error", "model_not_support_capability", false),
    /// A field has a value that the model's rules exclude.
    ModelRuleViolation => (422, "invalid_request_error", "model_rule_violation", false),
    /// The content is not audio in a supported format.
    UnsupportedAudioFormat => (422, "invalid_request_error", "unsupported_audio_format", false),
    /// The request would exceed the size that the channel sends upstream.
    AudioTooLarge => (422, "invalid_request_error", "audio_too_large", false),
    /// `audio_url` is neither a public http(s) URL nor a base64 data URI.
    InvalidAudioUrl => (422, "invalid_request_error", "invalid_audio_url", false),
    /// The audio could not be downloaded.
    AudioFetchFailed => (422, "invalid_request_error", "audio_fetch_failed", false),
    /// The `Idempotency-Key` was used with another body before.
    IdempotencyKeyReused => (422, "invalid_request_error", "idempotency_key_reused", false),
    /// The upstream refused the content.
    ContentPolicyViolation => (422, "content_policy_error", "content_policy_violation", false),
    /// The upstream reported an error in the request.
    UpstreamRejected => (422, "invalid_request_error", "upstream_rejected", false),
    /// The key submits more often than it is allowed to.
    RateLimitExceeded => (429, "rate_limit_error", "rate_limit_exceeded", true),
    /// Too many tasks are waiting, or too many large bodies are being received.
    QueueFull => (429, "rate_limit_error", "queue_full", true),
    /// The service itself failed.
    InternalError => (500, "internal_error", "internal_error", true),
    /// The service stopped while the task ran.
    TaskInterrupted => (500, "internal_error", "task_interrupted", true),
    /// The upstream failed.
    UpstreamError => (502, "upstream_error", "upstream_error", true),
    /// The upstream refused the channel's credentials.
    UpstreamAuthError => (502, "upstream_error", "upstream_auth_error", false),
    /// The upstream sent an empty or an invalid response.
    UpstreamInvalidResponse => (502, "upstream_error", "upstream_invalid_response", true),
    /// The upstream's response ended before it was complete.
    UpstreamDisconnected => (502, "upstream_error", "upstream_disconnected", true),
    /// The upstream limits the rate of calls.
    UpstreamRateLimited => (503, "upstream_error", "upstream_rate_limited", true),
    /// The service has no room on its disk for more audio.
    StorageFull => (503, "service_unavailable", "storage_full", true),
    /// The service currently cannot use its disk.
    StorageUnavailable => (503, "service_unavailable", "storage_unavailable", true),
    /// Every channel that serves the model has failed.
    AllChannelsExhausted => (503, "service_unavailable", "all_channels_exhausted", true),
    /// The service is about to stop and accepts no new work.
    ShuttingDown => (503, "service_unavailable", "shutting_down", true),
    /// The upstream took longer than a timeout allows.
    UpstreamTimeout => (504, "upstream_error", "upstream_timeout", true),
}

/// A failure as the client sees it: a code, and a message that says what to do about it.
///
/// Texts must not contain secrets: they are sent to clients, logged and stored unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The code of the error.
    pub code: ErrorCode,
    /// What happened and what to do about it, for people.
    pub message: Cow<'static, str>,
    /// The field or query parameter that caused the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<Cow<'static, str>>,
    /// The HTTP status that an upstream gave as the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// True if the same submit may succeed when it is repeated.
    pub retryable: bool,
    /// The seconds after which a repeat may succeed; sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl Failure {
    /// Makes a failure that is as retryable as its code.
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

    /// Makes the failure for a field or query parameter that breaks its rule.
    pub fn invalid_param(param: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParam, message).with_param(param)
    }

    /// Makes the failure for an error inside hearken. The cause belongs in the log, not in the message.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            ErrorCode::InternalError,
            "The service failed with an internal error; try again, and report the request id if the error persists",
        )
    }

    /// Makes the failure for a submit while the service drains.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self::new(
            ErrorCode::ShuttingDown,
            "The service is restarting and accepts no new tasks; try again in a few seconds",
        )
        .with_retry_after(Duration::from_secs(5))
    }

    /// Makes the failure for a task that does not exist or that belongs to another key.
    #[must_use]
    pub fn task_not_found() -> Self {
        Self::new(
            ErrorCode::TaskNotFound,
            "This API key has no such task; check the id (ended tasks are deleted when their retention ends)",
        )
    }

    /// Sets the field or query parameter that caused the failure.
    #[must_use]
    pub fn with_param(mut self, param: &'static str) -> Self {
        self.param = Some(Cow::Borrowed(param));
        self
    }

    /// Sets the upstream's HTTP status.
    #[must_use]
    pub fn with_upstream_status(mut self, status: u16) -> Self {
        self.upstream_status = Some(status);
        self
    }

    /// Sets the time after which a repeat may succeed. It is rounded up to whole seconds, at least one and at most a
    /// day.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after_seconds = Some(after.as_secs_f64().ceil().clamp(1.0, 86_400.0) as u64);
        self
    }

    /// Overrides whether the same submit may succeed when it is repeated.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Returns true if the failed task may have caused costs at an upstream, so that a repeated submit may cause them
    /// again.
    ///
    /// Returns false if the upstream certainly did no work: it was not called, or it refused the call.
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
