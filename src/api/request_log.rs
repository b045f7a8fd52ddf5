//! Handles what all requests have in common: an id, a log line, metrics, and an answer even if a handler panics.

use std::fmt;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use tracing::field::display;

use super::page;
use super::request_trace::RequestTrace;
use super::unknown_callers::UnknownCallers;
use super::wrong_keys::CloseConnection;
use crate::error::{ErrorCode, Failure};
use crate::metrics::HttpMetrics;
use crate::random::random_text;
use crate::task::TaskId;

/// The header with a request's id, of the request and of the response.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Most characters of a path or a method that a log line shows.
const MAX_LOGGED_CHARS: usize = 256;

/// A request's id. It is in the request's extensions before any other code runs.
#[derive(Debug, Clone)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// Returns the id of a request as text.
    #[must_use]
    pub(super) fn of(request: &HttpRequest) -> String {
        let extensions = request.extensions();
        let id = extensions.get::<Self>().and_then(|id| id.0.to_str().ok());
        id.unwrap_or_default().to_owned()
    }
}

/// The name of a request's key, for its log line. The code that recognises the key puts it into the extensions.
#[derive(Debug, Clone)]
pub(super) struct KeyName(pub String);

/// Runs the request and logs it. The log never has the key, the audio or the prompt.
///
/// # Errors
/// Only when the handler panicked.
pub async fn log<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let id = request.headers().get(&REQUEST_ID).cloned().filter(is_request_id).unwrap_or_else(new_request_id);
    let method = request.method().clone();
    let path = shortened(request.path());
    request.extensions_mut().insert(RequestId(id.clone()));
    let RequestTrace { id: trace_id, span } = RequestTrace::begin(&request);
    let metrics = request.app_data::<web::Data<HttpMetrics>>().cloned();
    let unknown_callers = request.app_data::<web::Data<UnknownCallers>>().cloned();
    let result = next.call(request).await;
    let took = started.elapsed();
    let ms = took.as_micros() as f64 / 1000.0;
    let shown = id.to_str().unwrap_or_default().to_owned();
    match result {
        Ok(mut response) => {
            let extensions = response.request().extensions();
            let key = extensions.get::<KeyName>().map(|name| name.0.clone());
            let task_id = extensions.get::<TaskId>().map(ToString::to_string);
            let is_closing = extensions.contains::<CloseConnection>();
            drop(extensions);
            let status = response.status().as_u16();
            let route = response.request().match_pattern();
            if let Some(span) = span {
                span.answered(status);
            }
            if let Some(metrics) = metrics {
                measure(&metrics, &response, route.as_deref(), took);
            }
            // Another task writes the log line, after the connection's task has written the response. So the client
            // does not wait for the log.
            actix_web::rt::spawn(async move {
                let method = shortened(method.as_str());
                if path.starts_with(page::FILES_AT) {
                    // A load of the page writes one line at the level of info, and not one for each of its twenty
                    // files.
                    tracing::debug!(request_id = shown, %method, path, status, ms, "request");
                    return;
                }
                if key.is_none() && unknown_callers.is_some_and(|unknown| !unknown.may_log()) {
                    return;
                }
                let trace_id = trace_id.map(display);
                tracing::info!(request_id = shown, %method, path, status, ms, key, task_id, trace_id, "request");
            });
            response.headers_mut().insert(REQUEST_ID, id);
            if is_closing {
                // HTTP/2 has no header for this, so an extension tells the connection.
                response.response_mut().extensions_mut().insert(CloseConnection);
                response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
            }
            Ok(response)
        }
        Err(err) => {
            if let Some(span) = span {
                span.answered(500);
            }
            tracing::error!(request_id = shown, %method, path, status = 500, ms, %err, "request");
            if let Some(metrics) = metrics {
                metrics.answered(None, method.as_str(), 500, took, Some(ErrorCode::InternalError.as_str()));
            }
            Err(Crashed(id).into())
        }
    }
}

/// Returns the beginning of a text that a client has chosen. Such a text may be as long as a hundred log lines.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_LOGGED_CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn measure<B>(metrics: &HttpMetrics, response: &ServiceResponse<B>, route: Option<&str>, took: Duration) {
    let method = response.request().method().as_str();
    let refused = response.response().extensions().get::<ErrorCode>().map(|code| code.as_str());
    metrics.answered(route, method, response.status().as_u16(), took, refused);
}

/// Returns true if the client's own id can be used.
fn is_request_id(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn new_request_id() -> HeaderValue {
    HeaderValue::from_str(&format!("req-{}", random_text(20)))
        .unwrap_or_else(|_| HeaderValue::from_static("req"))
}

/// The error for a request whose handler panicked. Only the request's id is left.
#[derive(Debug)]
struct Crashed(HeaderValue);

impl fmt::Display for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler panicked")
    }
}

impl ResponseError for Crashed {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = Failure::internal().error_response();
        response.headers_mut().insert(REQUEST_ID, self.0.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_request_ids_are_accepted() {
        let ok = |text: &str| is_request_id(&HeaderValue::from_str(text).unwrap());
        assert!(ok("a") && ok("A-9._z") && ok(&"x".repeat(128)));
        assert!(!ok("") && !ok(&"x".repeat(129)) && !ok("a b") && !ok("a/b"));
        assert!(is_request_id(&new_request_id()));
    }
}
