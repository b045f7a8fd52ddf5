//! One request to an upstream and the head of its response: what goes out with every call, and what an error
//! response says apart from its provider's words.

use std::time::Duration;

use actix_web::body::MessageBody;
use awc::http::Method;
use awc::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use futures_util::StreamExt;
use url::Url;

use super::charset::in_utf8;
use super::decoded::{decoded, unknown_coding};
use super::reading::Body;
use super::retry_after::retry_after;
use super::{Terms, UpstreamError, client};
use crate::deadline::{Clock, timeout_at};
use crate::secret::Secret;
use crate::wire::trace_context::{TRACEPARENT, TRACESTATE};

/// As much of an error's body as is looked at, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// As long is waited for it: its status says most.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// The channel's key, as the header in which its provider wants it.
#[derive(Debug)]
pub(super) struct KeyHeader {
    name: HeaderName,
    value: HeaderValue,
}

impl KeyHeader {
    /// A header whose value is the key, behind `scheme` (`"Bearer "`, or nothing).
    ///
    /// # Errors
    /// When the key cannot stand in a header, which the configuration has refused before.
    pub(super) fn new(name: HeaderName, scheme: &str, key: &Secret) -> Result<Self, UpstreamError> {
        let mut value = HeaderValue::from_str(&format!("{scheme}{}", key.expose()))
            .map_err(|_| UpstreamError::Invalid("the channel's key is no header value".to_owned()))?;
        // No library that logs headers shall print it.
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

/// What an upstream answered with success.
pub(super) struct Response {
    /// Its `Content-Type`, in lower case and without parameters; empty where it has none.
    pub content_type: String,
    /// Its body.
    pub body: Body,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// What an upstream answered with an error.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The HTTP status, which is none of success.
    pub status: u16,
    /// When it may be asked again, by the response's header.
    pub retry_after: Option<Duration>,
    /// The first bytes of its body; a body that breaks off is taken as far as it came.
    pub body: Vec<u8>,
}

/// Sends a request and waits for the head of the response. `refused` says what an error response means.
///
/// # Errors
/// That there was no response, or what `refused` makes of one that is none of success.
pub(super) async fn post<B>(
    url: Url,
    key: KeyHeader,
    content_type: &str,
    body: B,
    terms: Terms,
    refused: impl FnOnce(Refusal) -> UpstreamError,
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
        // A compressed stream would come in blocks, not chunk by chunk.
        .insert_header((header::ACCEPT_ENCODING, "identity"))
        .no_decompress()
        .send_body(body);
    let response = sent.await.map_err(|err| client::send_error(&err, connect_timeout))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = in_utf8(&headers, decoded(&headers, response.boxed_local()));
    if status.is_success() {
        if let Some(coding) = unknown_coding(&headers) {
            let why = format!("its response is compressed with {coding}, which was not asked for");
            return Err(UpstreamError::Invalid(why));
        }
        return Ok(Response { content_type: essence(&headers), body });
    }
    let retry_after = retry_after(&headers);
    let body = error_body(body).await;
    Err(refused(Refusal { status: status.as_u16(), retry_after, body }))
}

fn essence(headers: &HeaderMap) -> String {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}

async fn error_body(mut response: Body) -> Vec<u8> {
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
