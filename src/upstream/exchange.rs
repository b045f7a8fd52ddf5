//! Sends one request to an upstream and reads the head of its response, or its error response. Nothing here depends on
//! the provider.

use std::time::Duration;

use actix_web::body::MessageBody;
use awc::http::Method;
use awc::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use futures_util::StreamExt;
use url::Url;

use super::charset::in_utf8;
use super::decoded::{decoded, unknown_coding};
use super::reading::ResponseBody;
use super::retry_after::retry_after;
use super::{Terms, UpstreamError, client};
use crate::deadline::{Clock, timeout_at};
use crate::secret::Secret;
use crate::wire::trace_context::{TRACEPARENT, TRACESTATE};

/// Most bytes of an error's body that are read.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The longest wait for an error's body. It is short, because the status is more important.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// The channel's key, as the header that its provider expects.
#[derive(Debug)]
pub(super) struct KeyHeader {
    name: HeaderName,
    value: HeaderValue,
}

impl KeyHeader {
    /// Returns a header with the key as its value, after `scheme` (`"Bearer "`, or nothing).
    ///
    /// # Errors
    /// If the key cannot be a header value. The configuration refuses such keys earlier.
    pub(super) fn new(name: HeaderName, scheme: &str, key: &Secret) -> Result<Self, UpstreamError> {
        let mut value = HeaderValue::from_str(&format!("{scheme}{}", key.expose()))
            .map_err(|_| UpstreamError::Invalid("the channel's key cannot be sent in a header".to_owned()))?;
        // Libraries that log headers must not print the key.
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

/// A success response of an upstream.
pub(super) struct Response {
    /// The `Content-Type` in lower case, without parameters; empty if there is none.
    pub content_type: String,
    /// The body.
    pub body: ResponseBody,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// An error response of an upstream.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    /// The HTTP status, never one of success.
    pub status: u16,
    /// The time to wait before the next call, from the response's header.
    pub retry_after: Option<Duration>,
    /// The first bytes of the body. If the body breaks off, the bytes that arrived.
    pub body: Vec<u8>,
}

/// Sends a request and waits for the head of the response. `refused` decides what an error response means.
///
/// # Errors
/// If there was no usable response, or the error that `refused` returns for an error response.
pub(super) async fn post<B>(
    url: Url,
    key: KeyHeader,
    content_type: &str,
    body: B,
    terms: Terms,
    refused: impl FnOnce(ErrorResponse) -> UpstreamError,
) -> Result<Response, UpstreamError>
where
    B: MessageBody + 'static,
{
    let Terms { connect_timeout, trace, .. } = terms;
    let mut request = client::client(connect_timeout).request(Method::POST, url.as_str());
    if let Some(trace) = trace {
        request = request.insert_header((TRACEPARENT, trace.traceparent()));
        if let Some(state) = trace.tracestate() {
            request = request.insert_header((TRACESTATE, state));
        }
    }
    let sent = request
        .insert_header((key.name, key.value))
        .insert_header((header::CONTENT_TYPE, content_type))
        // A compressed stream would arrive in blocks, and not chunk by chunk.
        .insert_header((header::ACCEPT_ENCODING, "identity"))
        .no_decompress()
        .send_body(body);
    let response = sent.await.map_err(|err| client::send_error(&err, connect_timeout))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = in_utf8(&headers, decoded(&headers, response.boxed_local()));
    if status.is_success() {
        if let Some(coding) = unknown_coding(&headers) {
            let why = format!("its response is compressed with {coding}, which was not requested");
            return Err(UpstreamError::Invalid(why));
        }
        return Ok(Response { content_type: essence(&headers), body });
    }
    let retry_after = retry_after(&headers);
    let body = error_body(body).await;
    Err(refused(ErrorResponse { status: status.as_u16(), retry_after, body }))
}

fn essence(headers: &HeaderMap) -> String {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}

async fn error_body(mut response: ResponseBody) -> Vec<u8> {
    let mut body = Vec::new();
    let clock = Clock::of_this_thread();
    let end = clock.now() + ERROR_BODY_TIME;
    while let Ok(Some(Ok(bytes))) = timeout_at(end, response.next()).await {
        body.extend_from_slice(&bytes);
        if body.len() >= MAX_ERROR_BYTES {
            break;
        }
    }
    body.truncate(MAX_ERROR_BYTES);
    body
}
