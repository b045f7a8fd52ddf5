//! The HTTP client towards upstreams: one awc client per thread and connect timeout, and a request body that
//! is streamed from pieces.
//!
//! awc's client cannot leave its thread, so each task arbiter has its own. Redirects are never followed: they
//! would carry the channel's key elsewhere. awc's one timeout is switched off; ours are in
//! [`deadlines`](super::deadlines).

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_tls::connect::{
    ConnectError as TcpConnectError, ConnectInfo, Connection, Connector as TcpConnector,
};
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Service, fn_service};
use actix_web::error::ParseError;
use awc::error::{ConnectError, SendRequestError};
use awc::http::Uri;
use awc::{Client, Connector};
use bytes::Bytes;

use super::honest_stream::HonestStream;
use super::{Stage, UpstreamError};

/// Largest piece of a request body that is handed to the connection at once, in bytes: what is handed over is
/// copied, so this bounds the copy.
const PIECE_BYTES: usize = 64 * 1024;

thread_local! {
    static CLIENTS: RefCell<HashMap<Duration, Client>> = RefCell::new(HashMap::new());
}

/// This thread's client with the given connect timeout.
#[must_use]
pub fn client(connect_timeout: Duration) -> Client {
    CLIENTS.with_borrow_mut(|clients| {
        clients
            .entry(connect_timeout)
            .or_insert_with(|| {
                // How many connections there are is bounded by the channels' slots, not here.
                let connector = Connector::new()
                    .connector(tcp())
                    .timeout(connect_timeout)
                    .handshake_timeout(connect_timeout)
                    .limit(0);
                Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
            })
            .clone()
    })
}

/// Resolves names and connects, over streams that tell how a response ends.
fn tcp() -> impl Service<ConnectInfo<Uri>, Response = Connection<Uri, HonestStream>, Error = TcpConnectError>
+ Clone
+ 'static {
    let tcp = TcpConnector::default().service();
    fn_service(move |target: ConnectInfo<Uri>| {
        let connecting = tcp.call(target);
        async move {
            let (tcp, uri) = connecting.await?.into_parts();
            // A request goes out at once; where the system refuses, it goes out a little later.
            let _ = tcp.set_nodelay(true);
            let plain = uri.scheme_str() == Some("http");
            Ok(Connection::new(uri, HonestStream::new(tcp, plain)))
        }
    })
}

/// What a failed send means. No text of awc's is passed on: some hold addresses.
#[must_use]
pub fn send_error(err: &SendRequestError, connect_timeout: Duration) -> UpstreamError {
    match err {
        SendRequestError::Connect(ConnectError::Timeout) => {
            UpstreamError::Timeout(Stage::Connect, connect_timeout)
        }
        SendRequestError::Connect(ConnectError::Io(err))
            if err.kind() == std::io::ErrorKind::ConnectionRefused =>
        {
            UpstreamError::Connect("connection refused".to_owned())
        }
        // So rustls calls a certificate that it does not trust, and everything else that it does not like.
        SendRequestError::Connect(ConnectError::Io(err)) if err.kind() == std::io::ErrorKind::InvalidData => {
            UpstreamError::Connect("the TLS handshake failed".to_owned())
        }
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            UpstreamError::Connect("its name does not resolve".to_owned())
        }
        // So awc calls a connection that came about and closed before the head of a response.
        SendRequestError::Connect(ConnectError::Disconnected) => UpstreamError::Disconnected,
        SendRequestError::Connect(_) => UpstreamError::Connect("no connection".to_owned()),
        SendRequestError::Response(ParseError::Io(_) | ParseError::Incomplete) => UpstreamError::Disconnected,
        SendRequestError::Response(_) => UpstreamError::Invalid("its response is not HTTP".to_owned()),
        _ => UpstreamError::Disconnected,
    }
}

/// A request body made of pieces, each let go of as it is sent.
#[derive(Debug)]
pub struct PiecedBody {
    pieces: VecDeque<Bytes>,
}

impl PiecedBody {
    /// A body of the given pieces, one after the other.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self { pieces: pieces.into_iter().filter(|piece| !piece.is_empty()).collect() }
    }
}

impl MessageBody for PiecedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.pieces.iter().map(|piece| piece.len() as u64).sum())
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let Some(front) = self.pieces.front_mut() else { return Poll::Ready(None) };
        let piece = front.split_to(front.len().min(PIECE_BYTES));
        if front.is_empty() {
            self.pieces.pop_front();
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_body_of_pieces_is_the_pieces_in_order() {
        let pieces = [
            Bytes::from_static(b"{\""),
            Bytes::new(),
            Bytes::from(vec![b'x'; 150_000]),
            Bytes::from_static(b"\"}"),
        ];
        let body = PiecedBody::new(pieces.clone());
        assert_eq!(body.size(), BodySize::Sized(150_004));
        assert_eq!(actix_web::body::to_bytes(body).await.unwrap(), pieces.concat());
    }
}
