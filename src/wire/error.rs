//! A [`Failure`] as JSON, for an HTTP error, a failed task and an `error` frame.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::schema::{described, words};
use crate::error::{ErrorCode, Failure};

/// The object `{"error": {...}}`. `error` is the first key, because some clients look for exactly this beginning.
#[derive(Debug, Serialize)]
pub struct ErrorBody<T> {
    /// The error itself.
    pub error: T,
}

/// The error of a failed task, as in `GET /v1/tasks/{id}` and in the `error` frame of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskError<'a> {
    /// The error code, for programs.
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// What happened and what to do about it, for people.
    message: &'a str,
    /// The family of the code.
    #[serde(rename = "type")]
    #[schema(schema_with = kinds)]
    kind: &'static str,
    /// The HTTP status that an upstream gave as the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 100, maximum = 999)]
    upstream_status: Option<u16>,
    /// True if the same submit may succeed when it is repeated.
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

/// The error of an HTTP response. `param` is `null` if no field caused the error. `retryable` is present only for the
/// failure of a task, because a client must correct a refused request and not repeat it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorDetails)]
pub struct HttpError<'a> {
    /// The error code, for programs.
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// What happened and what to do about it, for people.
    message: &'a str,
    /// The family of the code.
    #[serde(rename = "type")]
    #[schema(schema_with = kinds)]
    kind: &'static str,
    /// The field, query parameter or header that caused the error; null if there is none.
    #[schema(required)]
    param: Option<&'a str>,
    /// The HTTP status that an upstream gave as the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 100, maximum = 999)]
    upstream_status: Option<u16>,
    /// True if the same submit may succeed when it is repeated. Present only for the failure of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retryable: Option<bool>,
}

impl<'a> HttpError<'a> {
    /// Makes the error of a refused request.
    #[must_use]
    pub fn of_request(failure: &'a Failure) -> Self {
        Self { retryable: None, ..Self::of_task(failure) }
    }

    /// Makes the error of a failed task, as a synchronous call returns it.
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

/// Describes all error codes, with their meanings.
impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let meaning = |code: &ErrorCode| format!("- `{}`: {}", code.as_str(), code.meaning());
        let meanings: Vec<_> = Self::ALL.iter().map(meaning).collect();
        described(words(Self::ALL.iter().map(|code| code.as_str())), &meanings.join("\n")).into()
    }
}

impl ToSchema for ErrorCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ErrorCode")
    }
}

/// Returns the schema of all values of `type`, each once.
fn kinds() -> Object {
    let mut kinds: Vec<_> = ErrorCode::ALL.iter().map(|code| code.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    described(words(kinds), "The family of the code.")
}
