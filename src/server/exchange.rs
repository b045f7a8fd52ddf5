//! Answers one request on an HTTP/2 connection.

use std::cell::Cell;
use std::cmp::min;
use std::future::poll_fn;
use std::mem;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::header::EXPECT;
use actix_http::{HttpMessage, Method, Payload, Request, Response};
use actix_service::Service;
use bytes::Bytes;
use futures_util::Stream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use super::heads::{copy_request_head, response_head};
use super::unsent::{Unsent, UnsentPiece};

use crate::api::CloseConnection;
use crate::deadline::timeout;
use crate::fanout::SendTimeout;

/// Why the sending of an answer stopped before its end.
enum Abort {
    /// The client has cancelled the answer, or has disconnected.
    Disconnected,
    /// The client has received nothing for too long.
    Stalled,
    /// The body reported an error, or had another length than announced.
    BodyFailed,
}

impl From<h2::Error> for Abort {
    fn from(_: h2::Error) -> Self {
        Self::Disconnected
    }
}

/// Answers a request until the client cancels it. Returns true if the connection is to be closed after the answer.
pub(super) async fn answer<A, B>(
    app: &A,
    request: http::Request<RecvStream>,
    mut reply: SendResponse<UnsentPiece>,
    peer: Option<SocketAddr>,
    send_timeout: SendTimeout,
) -> bool
where
    A: Service<Request, Response = Response<B>>,
    A::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let is_body_wanted = Rc::<Cell<bool>>::default();
    let Some(request) = received(request, peer, &is_body_wanted) else {
        reply.send_reset(Reason::PROTOCOL_ERROR);
        return false;
    };
    request.extensions_mut().insert(send_timeout.clone());
    let is_head = request.method() == Method::HEAD;
    let mut waits_for_continue = request
        .headers()
        .get(EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let mut call = pin!(app.call(request));
    let response = poll_fn(|cx| {
        if reply.poll_reset(cx).is_ready() {
            // The call is dropped, which cancels it.
            return Poll::Ready(None);
        }
        let response = call.as_mut().poll(cx);
        if response.is_pending() && is_body_wanted.get() && mem::take(&mut waits_for_continue) {
            // This fails only if the client has disconnected, which the next poll reports.
            let _ = reply.send_informational(continue_head());
        }
        response.map(Some)
    });
    let Some(response) = response.await else { return false };
    let response = response.map_or_else(Into::into, Response::map_into_boxed_body);
    let (head, body) = response.into_parts();
    let is_last = head.extensions().contains::<CloseConnection>();
    let is_whole = is_head || body.size().is_eof();
    let Ok(mut stream) = reply.send_response(response_head(head.head(), body.size()), is_whole) else {
        return is_last;
    };
    if is_whole {
        return is_last;
    }
    match send(&mut stream, body, send_timeout.limit()).await {
        Ok(()) | Err(Abort::Disconnected) => {}
        Err(Abort::Stalled) => stream.send_reset(Reason::CANCEL),
        // The reset tells the client that this is not the regular end.
        Err(Abort::BodyFailed) => stream.send_reset(Reason::INTERNAL_ERROR),
    }
    is_last
}

/// Returns the head of `100 Continue`, after which a client sends the body of its request.
fn continue_head() -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = http::StatusCode::CONTINUE;
    head
}

fn received(
    request: http::Request<RecvStream>,
    peer: Option<SocketAddr>,
    is_body_wanted: &Rc<Cell<bool>>,
) -> Option<Request> {
    let (parts, body) = request.into_parts();
    let incoming = RequestBody { body, is_wanted: Rc::clone(is_body_wanted) };
    let payload: Payload = Payload::Stream { payload: Box::pin(incoming) };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    copy_request_head(&parts, head)?;
    head.peer_addr = peer;
    Some(request)
}

async fn send(stream: &mut SendStream<UnsentPiece>, mut body: BoxBody, most: Duration) -> Result<(), Abort> {
    let unsent = Unsent::default();
    let mut left = match body.size() {
        BodySize::Sized(bytes) => Some(bytes),
        BodySize::None | BodySize::Stream => None,
    };
    let last = loop {
        let piece = tokio::select! {
            piece = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)) => piece,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Err(Abort::Disconnected),
        };
        match (piece, &mut left) {
            (Some(Ok(piece)), None) => write(stream, &unsent, piece, false, most).await?,
            (Some(Ok(piece)), Some(left)) if piece.len() as u64 == *left => break piece,
            (Some(Ok(piece)), Some(left)) if (piece.len() as u64) < *left => {
                *left -= piece.len() as u64;
                write(stream, &unsent, piece, false, most).await?;
            }
            (None, None) => break Bytes::new(),
            // The unsent pieces are written first, because a reset would discard them.
            (Some(_), _) | (None, Some(_)) => {
                unsent.written(most).await.map_err(|_| Abort::Stalled)?;
                return Err(Abort::BodyFailed);
            }
        }
    };
    // The body is dropped without a wait for its end. It may wait for more, such as the rest of a request that was
    // refused, but the stream is over when the answer is complete. And a client that receives nothing must not keep the
    // memory of the body.
    drop(body);
    write(stream, &unsent, last, true, most).await?;
    unsent.written(most).await.map_err(|_| Abort::Stalled)
}

/// Passes a piece to the connection, as fast as the client receives it. `is_last` is true if the answer ends with it.
async fn write(
    stream: &mut SendStream<UnsentPiece>,
    unsent: &Unsent,
    mut piece: Bytes,
    is_last: bool,
    most: Duration,
) -> Result<(), Abort> {
    while !piece.is_empty() {
        let room = timeout(most, room(stream, piece.len())).await.map_err(|_| Abort::Stalled)??;
        let part = piece.split_to(min(room, piece.len()));
        stream.send_data(unsent.piece(part), is_last && piece.is_empty())?;
        if piece.is_empty() {
            return Ok(());
        }
    }
    if is_last {
        stream.send_data(unsent.piece(piece), true)?;
    }
    Ok(())
}

/// Waits until client and connection accept at least one byte. Returns how many of the wanted bytes they accept.
async fn room(stream: &mut SendStream<UnsentPiece>, wanted: usize) -> Result<usize, Abort> {
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(Abort::Disconnected)??;
    }
    Ok(stream.capacity())
}

/// The body of a request. Each read allows the client to send more.
struct RequestBody {
    body: RecvStream,
    /// Set when the handler reads the body.
    is_wanted: Rc<Cell<bool>>,
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.is_wanted.set(true);
        let Some(piece) = ready!(self.body.poll_data(cx)) else { return Poll::Ready(None) };
        let broken = |_| PayloadError::Incomplete(None);
        let piece = piece.map_err(broken).and_then(|piece| {
            self.body.flow_control().release_capacity(piece.len()).map_err(broken)?;
            Ok(piece)
        });
        Poll::Ready(Some(piece))
    }
}
