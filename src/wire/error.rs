//! A [`Failure`] as JSON: for an HTTP error, and for a failed task and its `error` frame.

use serde::Serialize;

use crate::error::Failure;

/// `{"error": {...}}`, with `error` as the first key: some clients look for exactly that start.
#[derive(Debug, Serialize)]
pub struct ErrorBody<T> {
    /// The error itself.
    pub error: T,
}

/// The error of a failed task, as in `GET /v1/tasks/{id}` and in the `error` frame of a stream.
#[derive(Debug, Serialize)]
pub struct TaskError<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    retryable: bool,
}

impl<'a> From<&'a Failure> for TaskError<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            code: failure.code.as_str(),
            message: &failure.message,
            kind: failure.code.kind(),
            upstream_status: failure.upstream_status,
            retryable: failure.retryable,
        }
    }
}

/// The error of an HTTP response, with `param`, which is `null` where no field is at fault. `retryable` is told
/// of a task's failure only: a refused request is to be mended, not repeated.
#[derive(Debug, Serialize)]
pub struct HttpError<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
}

impl<'a> HttpError<'a> {
    /// The error of a refused request.
    #[must_use]
    pub fn of_request(failure: &'a Failure) -> Self {
        Self { retryable: None, ..Self::of_task(failure) }
    }

    /// The error of a failed task, as a synchronous call tells it.
    #[must_use]
    pub fn of_task(failure: &'a Failure) -> Self {
        Self {
            code: failure.code.as_str(),
            message: &failure.message,
            kind: failure.code.kind(),
            param: failure.param.as_deref(),
            upstream_status: failure.upstream_status,
            retryable: Some(failure.retryable),
        }
    }
}
