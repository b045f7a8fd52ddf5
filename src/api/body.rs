//! Reads a request's JSON body, within its bounds.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Sleep, sleep, timeout};

use crate::error::{ErrorCode, Failure};

/// Longest silence in the middle of a body.
const IDLE: Duration = Duration::from_secs(30);
/// Most memory that is set aside for a body on the word of its `Content-Length` alone, in bytes.
const TRUSTED: usize = 1 << 20;
/// How long, and for how many bytes, the rest of a refused body is still taken in and thrown away.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 << 20;

/// Reads the whole body of a JSON request.
///
/// # Errors
/// The response to send: `unsupported_media_type`, `request_too_large` or, for a body that stops arriving,
/// `invalid_json`.
pub async fn read_json(
    request: &HttpRequest,
    payload: web::Payload,
    max_bytes: usize,
) -> Result<Bytes, HttpResponse> {
    if let Err(failure) = check_type(request) {
        return Err(refuse(&failure, payload));
    }
    let declared = content_length(request);
    if declared.is_some_and(|length| length > max_bytes as u64) {
        return Err(refuse(&too_large(max_bytes), payload));
    }
    let mut payload = payload;
    let expected = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = BytesMut::with_capacity(expected.min(TRUSTED));
    loop {
        match timeout(IDLE, payload.next()).await {
            Ok(Some(Ok(bytes))) if body.len() + bytes.len() > max_bytes => {
                return Err(refuse(&too_large(max_bytes), payload));
            }
            Ok(Some(Ok(bytes))) => {
                // The client has shown that it means it: from here on one allocation does.
                if body.len() + bytes.len() > body.capacity() && expected > body.len() + bytes.len() {
                    body.reserve(expected - body.len());
                }
                body.extend_from_slice(&bytes);
            }
            Ok(None) => return Ok(body.freeze()),
            Ok(Some(Err(_))) | Err(_) => return Err(refuse(&broken_off(), payload)),
        }
    }
}

fn check_type(request: &HttpRequest) -> Result<(), Failure> {
    let mime = request.mime_type().ok().flatten();
    let is_json = mime.is_some_and(|mime| {
        mime.type_() == "application"
            && (mime.subtype() == "json" || mime.suffix().is_some_and(|s| s == "json"))
    });
    let coded = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if is_json && !coded {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::UnsupportedMediaType,
        "Send the body as JSON, uncompressed, with Content-Type: application/json",
    ))
}

fn content_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(max_bytes: usize) -> Failure {
    Failure::new(
        ErrorCode::RequestTooLarge,
        format!("The body is larger than {max_bytes} bytes; send a shorter or more compressed recording"),
    )
}

fn broken_off() -> Failure {
    Failure::new(ErrorCode::InvalidJson, "The body broke off before its end")
}

/// Refuses a request whose body has not been read. The connection closes afterwards; until then the rest is
/// taken in for a moment and thrown away, because a client that is still sending when the connection closes
/// would see a reset instead of the answer.
#[must_use]
pub fn refuse(failure: &Failure, rest: web::Payload) -> HttpResponse {
    let mut response = failure.error_response();
    response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    let lingering = response.map_body(|_, body| {
        // An error's body is always whole bytes.
        let body = body.try_into_bytes().unwrap_or_default();
        Lingering { length: body.len() as u64, body: Some(body), rest: Rest::new(rest) }
    });
    lingering.map_into_boxed_body()
}

struct Rest {
    payload: web::Payload,
    left: usize,
    until: Pin<Box<Sleep>>,
}

impl Rest {
    fn new(payload: web::Payload) -> Self {
        Self { payload, left: LINGER_BYTES, until: Box::pin(sleep(LINGER)) }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.until.poll_unpin(cx).is_ready() {
                return Poll::Ready(());
            }
            match self.payload.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) if bytes.len() < self.left => self.left -= bytes.len(),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

/// A response body that is sent at once and ends only when the rest of the request is out of the way.
struct Lingering {
    length: u64,
    body: Option<Bytes>,
    rest: Rest,
}

impl MessageBody for Lingering {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.body.take() {
            Some(body) => Poll::Ready(Some(Ok(body))),
            None => self.rest.poll_discard(cx).map(|()| None),
        }
    }
}
