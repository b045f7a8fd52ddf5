//! Reads a request's JSON body, within limits of size and time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::task::yield_now;

use super::payload_memory::{PayloadMemory, Share};
use crate::deadline::{Deadline, timeout};
use crate::error::{ErrorCode, Failure};

/// Longest silence in the middle of a body.
const IDLE: Duration = Duration::from_secs(30);
/// A body takes its share of the memory for payloads when this many bytes of it have arrived. Before that, no more
/// memory is reserved, whatever its `Content-Length` is.
const SMALL_BYTES: usize = 64 * 1024;
/// After this many bytes of a body that arrives faster than it is read, the worker's other requests get a turn.
const TURN_BYTES: usize = 128 * 1024;
/// The size from which on a body gets an allocation of its own, of at least [`MAPPED_BYTES`]. jemalloc serves an
/// allocation of more than 8 MiB from an arena that has no small ones (its `oversize_threshold`), so nothing keeps the
/// memory from going back to the system after the body is dropped. Pages that are not written to need no memory.
const LARGE_BYTES: usize = 1 << 20;
const MAPPED_BYTES: usize = (32 << 20) + 1;
/// Longest time in which a body must arrive: `GRACE`, plus the time that it needs at the slowest allowed rate, in bytes
/// per second. It has a limit because the body holds its share of the memory all the time.
const GRACE: Duration = Duration::from_secs(60);
const SLOWEST_RATE: u64 = 16 * 1024;
/// Longest wait for a small body without a length before its request is refused.
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// How long, and for how many bytes, the rest of a refused body is received and thrown away. The time is longer for
/// `queue_full`, so that the client can read when it may try again.
const LINGER: Duration = Duration::from_secs(2);
const LONG_LINGER: Duration = Duration::from_secs(30);
const LINGER_BYTES: usize = 256 << 20;

/// A request body.
#[derive(Debug)]
pub(super) struct Body {
    /// The whole body.
    pub bytes: BytesMut,
    /// The body's share of the memory for payloads, unless the body is small.
    pub share: Option<Share>,
}

/// Reads the whole body of a JSON request.
///
/// # Errors The response to send: `unsupported_media_type`, `request_too_large`, `queue_full` if there is no memory for
/// the body, or `invalid_json` if the body does not arrive completely.
pub(super) async fn read_json(
    request: &HttpRequest,
    mut payload: web::Payload,
    max_bytes: usize,
    memory: &PayloadMemory,
) -> Result<Body, HttpResponse> {
    let length = content_length(request);
    let refused = match (check_type(request), length) {
        (Err(failure), _) => failure,
        (Ok(()), Some(length)) if length > max_bytes as u64 => too_large(max_bytes),
        (Ok(()), length) => {
            // A body without a length may be as long as the limit.
            let expected = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(max_bytes);
            let most = GRACE + Duration::from_secs(expected as u64 / SLOWEST_RATE);
            match timeout(most, read(&mut payload, expected, max_bytes, memory)).await {
                Ok(Ok(mut body)) => match encoding(&mut body.bytes) {
                    Ok(()) => return Ok(body),
                    Err(failure) => return Err(failure.error_response()),
                },
                Ok(Err(failure)) => return Err(linger(&failure, payload)),
                Err(_) => return Err(linger(&incomplete(), payload)),
            }
        }
    };
    Err(refuse(request, &refused, payload).await)
}

async fn read(
    payload: &mut web::Payload,
    expected: usize,
    max_bytes: usize,
    memory: &PayloadMemory,
) -> Result<Body, Failure> {
    let mut bytes = BytesMut::with_capacity(expected.min(SMALL_BYTES));
    let mut share = None;
    let mut turn = 0;
    while let Some(piece) = timeout(IDLE, payload.next()).await.map_err(|_| incomplete())? {
        let piece = piece.map_err(|_| incomplete())?;
        let length = bytes.len() + piece.len();
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        if length > SMALL_BYTES && share.is_none() {
            share = Some(memory.share(expected.max(length)).await?);
            // The client really sends a large body, so memory for the whole body is allocated at once.
            let room = if expected < LARGE_BYTES { expected } else { expected.max(MAPPED_BYTES) };
            bytes.reserve(room.saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(&piece);
        turn += piece.len();
        if turn > TURN_BYTES {
            turn = 0;
            yield_now().await;
        }
    }
    if let Some(share) = &mut share {
        share.shrink(bytes.len());
    }
    Ok(Body { bytes, share })
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

/// Removes the byte order mark before a JSON text. Refuses a text in another encoding than UTF-8, and names the
/// encoding: JSON begins with an ASCII character, so the zero bytes around that character show the encoding.
fn encoding(bytes: &mut BytesMut) -> Result<(), Failure> {
    let name = match bytes.as_ref() {
        [0xef, 0xbb, 0xbf, ..] => {
            bytes.advance(3);
            return Ok(());
        }
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [_, 0, 0, 0, ..] | [0, 0, 0, _, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, ..] | [0, _, ..] => "UTF-16",
        _ => return Ok(()),
    };
    Err(Failure::new(ErrorCode::InvalidJson, format!("The body is {name}; send the JSON as UTF-8")))
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

fn incomplete() -> Failure {
    Failure::new(ErrorCode::InvalidJson, "The body did not arrive completely; send the request again")
}

/// Refuses a request whose body has not been read. The connection is kept if the body is small.
pub(super) async fn refuse(request: &HttpRequest, failure: &Failure, mut rest: web::Payload) -> HttpResponse {
    let is_small = match content_length(request) {
        // The HTTP server reads the rest of such a body and throws it away.
        Some(length) => length <= SMALL_BYTES as u64,
        // This client waits for `100 Continue`, and gets the refusal instead.
        None if request.headers().contains_key(header::EXPECT) => false,
        None => request.chunked().unwrap_or(false) && discard(&mut rest).await,
    };
    if is_small { failure.error_response() } else { linger(failure, rest) }
}

/// Reads a body without a length and throws it away. Returns true if the body is small and has arrived completely. Only
/// then can the connection be kept: otherwise the rest of the body would look like the next request.
async fn discard(rest: &mut web::Payload) -> bool {
    let mut left = SMALL_BYTES;
    let all = async {
        while let Some(piece) = rest.next().await {
            match piece {
                Ok(bytes) if bytes.len() <= left => left -= bytes.len(),
                _ => return false,
            }
        }
        true
    };
    timeout(DISCARD_TIME, all).await.unwrap_or(false)
}

/// Refuses a request whose body has not been read to its end, and then closes the connection. Before that, the rest of
/// the body is received for a moment and thrown away. If the connection closed while the client still sends, the client
/// would get a reset instead of the answer.
fn linger(failure: &Failure, rest: web::Payload) -> HttpResponse {
    let mut response = failure.error_response();
    response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    let lingering = response.map_body(|_, body| {
        // The body of an error is always complete in memory.
        let body = body.try_into_bytes().unwrap_or_default();
        let linger = if failure.code == ErrorCode::QueueFull { LONG_LINGER } else { LINGER };
        Lingering { length: body.len() as u64, body: Some(body), rest: Rest::new(rest, linger) }
    });
    lingering.map_into_boxed_body()
}

struct Rest {
    payload: web::Payload,
    left: usize,
    until: Deadline,
}

impl Rest {
    fn new(payload: web::Payload, linger: Duration) -> Self {
        Self { payload, left: LINGER_BYTES, until: Deadline::after(linger) }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.payload.poll_next_unpin(cx) {
                Poll::Pending => return self.until.poll_passed(cx),
                Poll::Ready(Some(Ok(bytes))) if bytes.len() < self.left => self.left -= bytes.len(),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

/// A response body that is sent at once. It ends only when the rest of the request was received, or the time for it is
/// over.
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
