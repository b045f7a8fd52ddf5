//! The application as an HTTP/1 dispatcher calls it: it tells the connection's [turn](super::turn) when a request
//! begins and when its answer has ended, and asks for a body only when a handler wants it.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::header::CONTENT_LENGTH;
use actix_http::{HttpMessage, Payload, Request, Response};
use actix_service::Service;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::{LocalBoxFuture, poll_fn};

use super::entrance::IDLE_CONNECTION;
use super::turn::{Busy, Turn};

/// Answers requests.
#[derive(Debug)]
pub(super) struct Serving<A>(pub(super) Rc<A>);

/// Decides whether a client that sends `Expect: 100-continue` is told to continue: when a handler asks for the body.
/// One that refuses the request for its key, its type or its size does not.
///
/// The dispatcher calls this before it calls [`Serving`], with the same request, and writes `100 Continue` in between.
/// So the request is answered here until the handler asks for the body; [`Serving`] goes on with that.
#[derive(Debug)]
pub(super) struct Expecting<A>(pub(super) Rc<A>);

type Answer = LocalBoxFuture<'static, Result<Response<Answered>, Response<BoxBody>>>;

/// An answer that [`Expecting`] has begun.
struct Begun(Answer);

/// The body of an answer. With it, the answer ends.
pub(super) struct Answered {
    body: BoxBody,
    _busy: Busy,
}

/// The body of a request.
struct Incoming {
    payload: Payload,
    turn: Rc<Turn>,
}

fn begin<A>(app: &A, mut request: Request) -> (Rc<Turn>, Answer)
where
    A: Service<Request, Response = Response<BoxBody>>,
    A::Error: Into<Response<BoxBody>>,
    A::Future: 'static,
{
    let known = request.conn_data::<Rc<Turn>>().map(Rc::clone);
    let turn = known.unwrap_or_else(|| Rc::new(Turn::new(IDLE_CONNECTION)));
    let payload = request.take_payload();
    let has_body = !matches!(payload, Payload::None);
    let busy = Rc::clone(&turn).begin(if has_body { length(&request) } else { Some(0) });
    if has_body {
        let incoming = Incoming { payload, turn: Rc::clone(&turn) };
        *request.payload() = Payload::Stream { payload: Box::pin(incoming) };
    }
    let call = app.call(request);
    let answer = Box::pin(async move {
        let response = call.await.unwrap_or_else(Into::into);
        Ok(response.map_body(|_, body| Answered { body, _busy: busy }))
    });
    (turn, answer)
}

/// How long a request's body says it is; nothing where it ends with its last chunk. Both at once are no HTTP request.
fn length(request: &Request) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

impl<A> Service<Request> for Serving<A>
where
    A: Service<Request, Response = Response<BoxBody>>,
    A::Error: Into<Response<BoxBody>>,
    A::Future: 'static,
{
    type Response = Response<Answered>;
    type Error = Response<BoxBody>;
    type Future = Answer;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&self, request: Request) -> Self::Future {
        let begun = request.extensions_mut().remove();
        match begun {
            Some(Begun(answer)) => answer,
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
    /// The answer of a handler that did not ask for the body.
    type Error = Response<BoxBody>;
    type Future = LocalBoxFuture<'static, Result<Request, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: Request) -> Self::Future {
        let (turn, mut answer) = begin(&*self.0, request);
        Box::pin(async move {
            let early = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending if turn.is_receiving() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(answered) = early.await {
                return Err(answered.map_or_else(|refusal| refusal, Response::map_into_boxed_body));
            }
            let request = Request::new();
            request.extensions_mut().insert(Begun(answer));
            Ok(request)
        })
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

impl MessageBody for Answered {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.turn.receive();
        let piece = ready!(Pin::new(&mut self.payload).poll_next(cx));
        if !matches!(piece, Some(Ok(_))) {
            self.turn.received();
        }
        Poll::Ready(piece)
    }
}
