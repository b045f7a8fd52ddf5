//! A [`Failure`] as JSON: for an HTTP error, and for a failed task and its `error` frame.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::schema::{described, words};
use crate::error::{ErrorCode, Failure};

/// `{"error": {...}}`, with `error` as the first key: some clients look for exactly that start.
#[derive(Debug, Serialize)]
pub struct ErrorBody<T> {
    /// The error itself.
    pub error: T,
}

/// The error of a failed task, as in `GET /v1/tasks/{id}` and in the `error` frame of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskError<'a> {
    /// What went wrong, for programs.
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// What went wrong and what to do about it, for people.
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

/// The error of an HTTP response, with `param`, which is `null` where no field is at fault. `retryable` is told
/// of a task's failure only: a refused request is to be corrected, not repeated.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorDetails)]
pub struct HttpError<'a> {
    /// What went wrong, for programs.
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// What went wrong and what to do about it, for people.
    message: &'a str,
    /// The family of the code.
    #[serde(rename = "type")]
    #[schema(schema_with = kinds)]
    kind: &'static str,
    /// The field, query parameter or header at fault; null where there is none.
    #[schema(required)]
    param: Option<&'a str>,
    /// The HTTP status that an upstream gave as the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 100, maximum = 999)]
    upstream_status: Option<u16>,
    /// True if the same submit may succeed when it is repeated. Told of a task's failure only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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

/// The codes of the one table, with what they say.
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

/// The words of `type`, each once.
fn kinds() -> Object {
    let mut kinds: Vec<_> = ErrorCode::ALL.iter().map(|code| code.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    described(words(kinds), "The family of the code.")
}
