//! HTTP/2: one connection, and the concurrent requests on it.
//!
//! actix-http has a dispatcher for HTTP/2 that is made for short answers. It continues the work for a client that has
//! reset its stream, waits forever for a client that takes nothing, limits neither the streams nor what is buffered for
//! them, and leaves idle connections open at a stop. Here all requests of a connection are futures inside the
//! connection's own future: they end at once when it ends.
//!
//! Unlike over HTTP/1, they also end when the client ends its side of the TCP connection. A client of HTTP/2 needs that
//! side for as long as it reads: to acknowledge settings and pings, and to make room for more than the first window of
//! an answer ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-6.9)). Such a client ends single streams
//! instead, and h2 does not support a connection of which only one side is open.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{Request, Response};
use actix_service::Service;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, Connection};
use tokio::io::{AsyncRead, AsyncWrite};

use super::draining::Draining;
use super::entrance::{IDLE_CONNECTION, REQUEST_TIMEOUT};
use super::exchange::answer;
use super::listener::STOP_TIME;
use super::unsent::UnsentPiece;
use crate::deadline::{Deadline, timeout};
use crate::fanout::SendTimeout;

/// Most concurrent requests of one connection.
const MOST_STREAMS: u32 = 256;
/// Most bytes of a request's decoded head.
const MOST_HEADER_BYTES: u32 = 32 * 1024;
/// What a client may send of one request's body, and of all bodies on a connection, before a handler reads it, in
/// bytes. An upload transfers this much per round trip: 5 MB a second if a round trip takes 50 ms. As many uploads as
/// fit into the connection's window can pause for lack of memory before they block the other uploads of their
/// connection. A client without a key cannot fill either window: the body of a request that is refused is discarded.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// What is taken from an answer before the connection has written it, in bytes. The rest stays where it is: the rest of
/// a stream stays in the log, and its body is only a position in that log.
const UNSENT_BYTES: usize = 16 * 1024;

/// Serves the HTTP/2 connections of a worker.
#[derive(Debug)]
pub(super) struct Http2<A> {
    pub(super) app: Rc<A>,
    pub(super) draining: Draining,
}

impl<A, B> Http2<A>
where
    A: Service<Request, Response = Response<B>>,
    A::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    /// Serves a connection to its end. An answer is aborted if the client takes nothing of it for as long as `send_timeout`
    /// allows.
    ///
    /// # Errors
    /// When the connection breaks, or the client violates the protocol.
    pub(super) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: Option<SocketAddr>,
        send_timeout: SendTimeout,
    ) -> Result<(), h2::Error> {
        let handshake = Builder::new()
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(MOST_HEADER_BYTES)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(UNSENT_BYTES)
            .handshake::<_, UnsentPiece>(stream);
        // A client that agreed on HTTP/2 and does not begin with it is disconnected without an answer.
        let Ok(connection) = timeout(REQUEST_TIMEOUT, handshake).await else { return Ok(()) };
        self.run(connection?, peer, send_timeout).await
    }

    async fn run(
        &self,
        mut connection: Connection<impl AsyncRead + AsyncWrite + Unpin, UnsentPiece>,
        peer: Option<SocketAddr>,
        send_timeout: SendTimeout,
    ) -> Result<(), h2::Error> {
        let mut exchanges = FuturesUnordered::new();
        let mut stop = pin!(self.draining.told());
        let mut idle = Deadline::after(IDLE_CONNECTION);
        // True once the client was told to send no further request on this connection.
        let mut leaving = false;
        loop {
            tokio::select! {
                biased;
                Some(is_last) = exchanges.next() => {
                    // HTTP/2 has no `Connection: close`.
                    if is_last && !leaving {
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                    if exchanges.is_empty() {
                        let most = if leaving { STOP_TIME } else { IDLE_CONNECTION };
                        idle.restart(most);
                    }
                }
                request = connection.accept() => match request {
                    Some(request) => {
                        let (request, reply) = request?;
                        exchanges.push(answer(&*self.app, request, reply, peer, send_timeout.clone()));
                    }
                    None => return Ok(()),
                },
                () = &mut stop, if !leaving => {
                    leaving = true;
                    connection.graceful_shutdown();
                    idle.restart(STOP_TIME);
                }
                () = poll_fn(|cx| idle.poll_passed(cx)), if exchanges.is_empty() => {
                    if leaving {
                        return Ok(());
                    }
                    leaving = true;
                    connection.graceful_shutdown();
                    idle.restart(STOP_TIME);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
