//! Wraps the application for an HTTP/1 dispatcher. The wrapper updates the [state](super::http1_state) of the
//! connection when a request begins and when its answer has ended, and requests a body only when a handler reads it.
//!
//! A body that no handler reads is discarded before the answer, if it is small and arrives soon. The connection can
//! then be used again. Otherwise the connection is closed after the answer.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::header::CONTENT_LENGTH;
use actix_http::{ConnectionType, HttpMessage, Payload, Request, Response};
use actix_service::Service;
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, poll_fn};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::body_end::BodyEnd;
use super::entrance::IDLE_CONNECTION;
use super::http1_state::{Busy, Http1State};
use crate::fanout::{HandOver, SendTimeout};

/// Most bytes of a body that no handler reads and for which the connection is kept.
const DISCARDED_BYTES: usize = 64 * 1024;
/// The longest wait for a body that no handler reads. The wait also delays the answer.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Answers requests.
#[derive(Debug)]
pub(super) struct Serving<A>(pub(super) Rc<A>);

/// Decides whether a client that sends `Expect: 100-continue` gets `100 Continue`: only when a handler reads the body.
/// A handler that refuses the request because of its key, its type or its size does not read the body.
///
/// The dispatcher calls this service before it calls [`Serving`], with the same request, and writes `100 Continue` in
/// between. So this service starts to answer the request, until the handler reads the body. [`Serving`] continues with
/// that answer.
#[derive(Debug)]
pub(super) struct Expecting<A>(pub(super) Rc<A>);

type Answer = LocalBoxFuture<'static, Result<Response<AnswerBody>, Response<BoxBody>>>;

/// An answer that [`Expecting`] has begun.
struct StartedAnswer(Answer);

/// The body of an answer. When it is dropped, the answer has ended.
pub(super) struct AnswerBody {
    body: BoxBody,
    /// The unread rest of the request's body. As long as it exists, the dispatcher closes the connection after the
    /// answer.
    _unread: Option<Payload>,
    _busy: Busy,
}

/// The body of a request. If it is dropped before its end, it puts the rest into `unread`.
struct RequestBody {
    payload: Payload,
    http1_state: Rc<Http1State>,
    unread: UnreadRest,
}

/// The rest of a request's body that a handler has not read.
type UnreadRest = Rc<RefCell<Option<Payload>>>;

fn begin<A>(app: &A, mut request: Request) -> (Rc<Http1State>, Answer)
where
    A: Service<Request, Response = Response<BoxBody>>,
    A::Error: Into<Response<BoxBody>>,
    A::Future: 'static,
{
    let known = request.conn_data::<Rc<Http1State>>().map(Rc::clone);
    let http1_state = known.unwrap_or_else(|| Rc::new(Http1State::new(IDLE_CONNECTION)));
    let payload = request.take_payload();
    let has_body = !matches!(payload, Payload::None);
    let body = if has_body { body_end(&request) } else { BodyEnd::After(0) };
    let busy = Rc::clone(&http1_state).begin(body);
    let unread = UnreadRest::default();
    if has_body {
        let incoming =
            RequestBody { payload, http1_state: Rc::clone(&http1_state), unread: Rc::clone(&unread) };
        *request.payload() = Payload::Stream { payload: Box::pin(incoming) };
    }
    let is_discarded = match body {
        // A client that waits for `100 Continue` has not sent the body.
        _ if request.head().expect() => false,
        BodyEnd::After(bytes) => bytes <= DISCARDED_BYTES as u64,
        BodyEnd::Chunked(_) => true,
        BodyEnd::WithConnection => false,
    };
    if let Some(send_timeout) = request.conn_data::<SendTimeout>().cloned() {
        request.extensions_mut().insert(send_timeout);
    }
    let stays = request.conn_data::<Rc<HandOver>>().is_none();
    let known = Rc::clone(&http1_state);
    let call = app.call(request);
    let answer = Box::pin(async move {
        let mut response = call.await.unwrap_or_else(Into::into);
        let mut unread = unread.take();
        if is_discarded
            && let Some(payload) = &mut unread
            && discard(payload, &known).await
        {
            unread = None;
        }
        if unread.is_some() {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        if stays && response.body().size() == BodySize::Stream {
            known.stream();
        }
        Ok(response.map_body(|_, body| AnswerBody { body, _unread: unread, _busy: busy }))
    });
    (http1_state, answer)
}

/// Reads a body and discards it. Returns true if the body is small and has arrived completely.
async fn discard(payload: &mut Payload, http1_state: &Http1State) -> bool {
    http1_state.receive();
    let mut left = DISCARDED_BYTES;
    let all = async {
        while let Some(piece) = payload.next().await {
            match piece {
                Ok(bytes) if bytes.len() <= left => left -= bytes.len(),
                _ => return false,
            }
        }
        true
    };
    let is_whole = timeout(DISCARD_TIME, all).await.unwrap_or(false);
    http1_state.received();
    is_whole
}

/// Returns where the body ends according to the request's head.
fn body_end(request: &Request) -> BodyEnd {
    if request.chunked().unwrap_or(false) {
        return BodyEnd::chunked();
    }
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
    length.map_or(BodyEnd::WithConnection, BodyEnd::After)
}

impl<A> Service<Request> for Serving<A>
where
    A: Service<Request, Response = Response<BoxBody>>,
    A::Error: Into<Response<BoxBody>>,
    A::Future: 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Response<BoxBody>;
    type Future = Answer;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&self, request: Request) -> Self::Future {
        let begun = request.extensions_mut().remove();
        match begun {
            Some(StartedAnswer(answer)) => answer,
            None => begin(&*self.0, request).1,
        }
    }
}

impl<A> Service<Request> for Expecting<A>
where
    A: Service<Request, Response = Response<BoxBody>>,
    A::Error: Into<Response<BoxBody>>,
    A::Future: 'static,
{
    type Response = Request;
    /// The answer of a handler that did not read the body.
    type Error = Response<BoxBody>;
    type Future = LocalBoxFuture<'static, Result<Request, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: Request) -> Self::Future {
        let (http1_state, mut answer) = begin(&*self.0, request);
        Box::pin(async move {
            let early = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending if http1_state.is_receiving() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(answered) = early.await {
                return Err(answered.map_or_else(|refusal| refusal, Response::map_into_boxed_body));
            }
            let request = Request::new();
            request.extensions_mut().insert(StartedAnswer(answer));
            Ok(request)
        })
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

impl MessageBody for AnswerBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.http1_state.receive();
        let piece = ready!(Pin::new(&mut self.payload).poll_next(cx));
        if !matches!(piece, Some(Ok(_))) {
            self.http1_state.received();
            self.payload = Payload::None;
        }
        Poll::Ready(piece)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = std::mem::replace(&mut self.payload, Payload::None);
        if !matches!(rest, Payload::None) {
            self.unread.replace(Some(rest));
        }
    }
}
