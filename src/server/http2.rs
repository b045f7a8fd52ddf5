//! HTTP/2: one connection, and the concurrent requests on it.
//!
//! actix-http has a dispatcher for HTTP/2 that is made for short answers. It continues the work for a client that has
//! reset its stream, waits forever for a client that receives nothing, limits neither the streams nor the bytes that
//! are buffered for them, and keeps idle connections open at a stop. Here all requests of a connection are futures
//! inside the connection's own future, so they end at once when the connection ends.
//!
//! Unlike over HTTP/1, the requests also end when the client ends its side of the TCP connection. A client of HTTP/2
//! needs its side as long as it reads: to acknowledge settings and pings, and to allow more bytes than the first window
//! of an answer ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-6.9)). To end single requests, a client ends
//! their streams. And h2 does not support a connection of which only one side is open.

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
/// Most bytes of one body, and of all bodies on a connection, that a client may send before a handler reads them. An
/// upload transfers one stream window per round trip: 5 MB a second if a round trip takes 50 ms. 64 uploads of a
/// connection can pause for lack of memory before they block its other uploads, because 64 stream windows fit into the
/// connection's window. A client without a key cannot fill a window, because the bodies of refused requests are
/// discarded.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// Most bytes of an answer that the connection holds and has not written. The rest stays in its source: the rest of a
/// stream stays in the log, and the body is only a position in the log.
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
    /// Serves a connection to its end. An answer is aborted if the client receives nothing of it for longer than
    /// `send_timeout` allows.
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
        // A client that agreed on HTTP/2 and does not use it is disconnected without an answer.
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
        let mut stop = pin!(self.draining.started());
        let mut idle = Deadline::after(IDLE_CONNECTION);
        // True once the client has been asked to send no further request on this connection.
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
