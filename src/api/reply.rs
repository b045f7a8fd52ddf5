//! Turns a [`Failure`] into an HTTP response; only this module does that. It also sends JSON that may be large and
//! holds its share of memory.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use bytes::Bytes;
use serde::Serialize;

use crate::error::{ErrorCode, Failure};
use crate::memory::{ResponseMemory, Share};
use crate::net::Pieces;
use crate::secret::KeyHash;
use crate::wire::error::{ErrorBody, HttpError};

/// The header that tells OpenAI's client libraries whether they may repeat a call automatically.
const SHOULD_RETRY: &str = "x-should-retry";
/// Bytes that are reserved for an answer, in addition to those of its results.
const OTHER_BYTES: usize = 1024;

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = respond(self, HttpError::of_request(self));
        // The metrics count this response as a refused request. The reply about a failed task has no such mark.
        response.extensions_mut().insert(self.code);
        response
    }
}

/// Answers a synchronous call whose task has failed.
#[must_use]
pub(super) fn task_failed(failure: &Failure) -> HttpResponse {
    let mut response = respond(failure, HttpError::of_task(failure));
    // OpenAI's client libraries repeat a call after every server error, even one that would occur again.
    let will_be_the_same = !failure.retryable && failure.code.status() >= 500;
    if failure.may_have_cost() || will_be_the_same {
        forbid_repeat(&mut response);
    }
    response
}

/// Tells OpenAI's client libraries not to repeat the call.
pub(super) fn forbid_repeat(response: &mut HttpResponse) {
    let never = header::HeaderValue::from_static("false");
    response.headers_mut().insert(header::HeaderName::from_static(SHOULD_RETRY), never);
}

/// Answers with `value` as JSON, of which `results` bytes are results. Until the answer is sent, it holds its share of
/// the memory for responses: the share that is passed, or a new one.
///
/// # Errors
/// `queue_full` if there is no memory for the answer.
pub(super) async fn json(
    mut response: HttpResponseBuilder,
    value: &impl Serialize,
    results: usize,
    share: Option<Share>,
    memory: &ResponseMemory,
    key: KeyHash,
) -> Result<HttpResponse, Failure> {
    let mut json = Vec::with_capacity(results + OTHER_BYTES);
    serde_json::to_writer(&mut json, value).map_err(|err| {
        tracing::error!(%err, "an answer could not be written as JSON; report this error");
        Failure::internal()
    })?;
    json.shrink_to_fit();
    let bytes = with_share(json.into(), share, memory, key).await?;
    Ok(response.content_type(header::ContentType::json()).body(Pieces::of(bytes)))
}

/// Returns the same bytes, which hold their share of the memory for responses until their last slice is dropped.
///
/// # Errors
/// `queue_full` if they have no share and there is no memory for them.
pub(super) async fn with_share(
    bytes: Bytes,
    share: Option<Share>,
    memory: &ResponseMemory,
    key: KeyHash,
) -> Result<Bytes, Failure> {
    let share = match share {
        Some(mut share) => {
            share.shrink(bytes.len());
            Some(share)
        }
        None => memory.share(key, bytes.len()).await?,
    };
    Ok(match share {
        Some(share) => share.hold(bytes),
        None => bytes,
    })
}

fn respond(failure: &Failure, error: HttpError<'_>) -> HttpResponse {
    let mut response = HttpResponse::build(failure.status_code());
    if let Some(seconds) = failure.retry_after_seconds {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    if failure.code == ErrorCode::InvalidApiKey {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    response.json(ErrorBody { error })
}

/// Answers any path that is not in the table.
#[must_use]
pub(super) fn not_found(request: &HttpRequest) -> HttpResponse {
    Failure::new(
        ErrorCode::NotFound,
        format!("The path {} does not exist; GET /docs lists the paths", request.path()),
    )
    .error_response()
}

/// Answers any unknown path at a listener for metrics alone.
pub(super) async fn only_metrics(request: HttpRequest) -> HttpResponse {
    Failure::new(
        ErrorCode::NotFound,
        format!(
            "The path {} does not exist: this port serves only /metrics and /healthz; use the address that hearken \
             printed when it started",
            request.path()
        ),
    )
    .error_response()
}

/// Answers any method that a path does not support.
pub(super) async fn method_not_allowed(allow: &'static str) -> HttpResponse {
    let mut response = Failure::new(
        ErrorCode::MethodNotAllowed,
        format!("This path supports only {allow}; send one of these methods"),
    )
    .error_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}
