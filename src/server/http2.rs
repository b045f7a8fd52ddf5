//! HTTP/2: one connection, and the requests on it side by side.
//!
//! actix-http has a dispatcher for it, which is made for short answers: it goes on with the work for a client that has
//! reset its stream, waits for ever for one that takes nothing, bounds neither the streams nor what is buffered for them,
//! and leaves idle connections open at a stop. Here all requests of a connection are futures within the connection's
//! own: with it they end, at once.
//!
//! They end also when the client ends its side of the TCP connection, other than over HTTP/1. A client of HTTP/2 needs that
//! side for as long as it reads: to acknowledge settings and pings, and to make room for more than the first window of an
//! answer ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-6.9)). It ends single streams instead, and h2 knows
//! no connection of which only one side is open.

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
use crate::fanout::Patience;

/// Requests of one connection at once.
const MOST_STREAMS: u32 = 256;
/// A request's head, decoded, in bytes.
const MOST_HEADER_BYTES: u32 = 32 * 1024;
/// What a client may send of one request's body, and of all those on a connection, before somebody reads it, in bytes.
/// An upload passes at so much per round trip: 5 MB a second where that takes 50 ms. As many uploads as fit can stand still
/// for want of memory before they hold up the others of their connection. Nobody fills either without a key: the body of a
/// request that is refused is thrown away.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// What is taken from an answer before the connection has written it, in bytes. What is behind it stays where it is: of a
/// stream in the log, which its body is a position in.
const UNSENT_BYTES: usize = 16 * 1024;

/// How the connections of a worker are served.
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
    /// Serves a connection to its end. An answer of which the client takes nothing for as long as `patience` says is given
    /// up.
    ///
    /// # Errors
    /// What is wrong with the connection, or with what the client sends.
    pub(super) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: Option<SocketAddr>,
        patience: Patience,
    ) -> Result<(), h2::Error> {
        let handshake = Builder::new()
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(MOST_HEADER_BYTES)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(UNSENT_BYTES)
            .handshake::<_, UnsentPiece>(stream);
        // Who agreed on HTTP/2 and does not begin with it is gone without a word.
        let Ok(connection) = timeout(REQUEST_TIMEOUT, handshake).await else { return Ok(()) };
        self.run(connection?, peer, patience).await
    }

    async fn run(
        &self,
        mut connection: Connection<impl AsyncRead + AsyncWrite + Unpin, UnsentPiece>,
        peer: Option<SocketAddr>,
        patience: Patience,
    ) -> Result<(), h2::Error> {
        let mut exchanges = FuturesUnordered::new();
        let mut stop = pin!(self.draining.told());
        let mut idle = Deadline::after(IDLE_CONNECTION);
        // Has the client been told to send no further request here?
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
                        exchanges.push(answer(&*self.app, request, reply, peer, patience.clone()));
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
