//! Serves HTTP on accepted connections: plain HTTP/1, or HTTP/1 or HTTP/2 over TLS.
//!
//! Plain connections have hearken's own type ([`Socket`]), so that a response's body can take over a connection (see
//! [`fanout`](crate::fanout)). Over TLS there is no hand-over; the [`Socket`] below TLS still disconnects a client that
//! receives nothing. An [intake](super::intake) controls what the HTTP/1 dispatcher reads.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, KeepAlive, Request, Response};
use actix_rt::net::TcpStream;
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};

use super::disconnect_watch::Connection;
use super::draining::Draining;
use super::http2::Http2;
use super::intake::Intake;
use super::open_files::OpenFiles;
use super::serving::{Expecting, Serving};
use super::tls::{Protocol, Tls};
use crate::fanout::{OpenFile, Socket, StreamConfig};

/// How long an idle connection is kept. It is longer than the minute of common proxies, because the proxy must close
/// the connection first.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(75);
/// How long a client may take to send a request's head, or the rest of a body that no handler reads.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to close a connection that the server has ended with unread bytes in it.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes that the kernel buffers for a client and has not sent: about this many, plus the rest of the last
/// segment. The kernel's own limit is some megabytes, which would be acceptable if only a slow client's bytes took
/// memory. But Linux puts what one thread writes to many sockets into the same pages of 32 KiB. So a few hundred
/// clients that do not read keep a page in memory for each event that is still to be sent to them, with the bytes of
/// all other clients in it. Measured without this limit: with 200 such clients among 15,000, memory grew by 60 MB a
/// second, until the kernel killed the server.
const UNSENT_BYTES: u32 = 16 * 1024;

/// Accepts the connections of one worker at one address.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    pub(super) address: SocketAddr,
    pub(super) open_files: OpenFiles,
    pub(super) draining: Draining,
    pub(super) stream: StreamConfig,
    /// How long a connection may be idle. With `None`, each connection has one request.
    pub(super) keep_alive: Option<Duration>,
}

impl Entrance {
    /// Serves plain HTTP/1.
    pub(super) fn plain<S>(self, app: S) -> impl ServiceFactory<TcpStream, Config = ()>
    where
        S: ServiceFactory<Request, Config = (), Response = Response<BoxBody>, Error = Response<BoxBody>>
            + 'static,
        S::InitError: fmt::Debug,
    {
        let app = Rc::new(app);
        fn_factory(move || {
            let (entrance, app) = (self.clone(), Rc::clone(&app));
            async move {
                let app = Rc::new(app.new_service(()).await.map_err(drop)?);
                let http1 = Rc::new(entrance.clone().http1(app).await?);
                Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                    let (entrance, http1) = (entrance.clone(), Rc::clone(&http1));
                    async move {
                        let (file, peer) = entrance.admit(&stream)?;
                        let socket = Socket::new(stream, file, entrance.stream);
                        http1.call((entrance.intake(socket), peer)).await
                    }
                }))
            }
        })
    }

    /// Serves HTTP/1 or HTTP/2 over TLS, as client and server agree.
    pub(super) fn secure<S>(self, tls: Tls, app: S) -> impl ServiceFactory<TcpStream, Config = ()>
    where
        S: ServiceFactory<Request, Config = (), Response = Response<BoxBody>, Error = Response<BoxBody>>
            + 'static,
        S::InitError: fmt::Debug,
    {
        let app = Rc::new(app);
        fn_factory(move || {
            let (entrance, tls, app) = (self.clone(), tls.clone(), Rc::clone(&app));
            async move {
                // Both protocols use one application, so that all subscribers of a stream share its wake-ups.
                let app = Rc::new(app.new_service(()).await.map_err(drop)?);
                let http1 = Rc::new(entrance.clone().http1(Rc::clone(&app)).await?);
                let http2 = Rc::new(Http2 { app, draining: entrance.draining.clone() });
                Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                    let (entrance, tls) = (entrance.clone(), tls.clone());
                    let (http1, http2) = (Rc::clone(&http1), Rc::clone(&http2));
                    async move {
                        let (file, peer) = entrance.admit(&stream)?;
                        let config = StreamConfig { hand_over: false, ..entrance.stream };
                        let (stream, spoken) =
                            tls.accept(stream, |stream| Socket::new(stream, file, config)).await.inspect_err(
                                |err| tracing::debug!(%err, ?peer, "a connection failed before its first HTTP request"),
                            )?;
                        match spoken {
                            Protocol::Http1 => http1.call((entrance.intake(stream), peer)).await,
                            Protocol::Http2 => {
                                let send_timeout = stream.get_ref().0.send_timeout();
                                let served = http2.serve(stream, peer, send_timeout).await;
                                served.map_err(|err| io::Error::other(err).into())
                            }
                        }
                    }
                }))
            }
        })
    }

    /// Returns the HTTP/1 service for connections of type `T`.
    pub(super) async fn http1<T, A>(
        self,
        app: Rc<A>,
    ) -> Result<impl Service<(Intake<T>, Option<SocketAddr>), Response = (), Error = DispatchError>, ()>
    where
        T: AsyncRead + AsyncWrite + Connection + Unpin + 'static,
        A: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>> + 'static,
        A::Future: 'static,
    {
        let draining = self.draining;
        let (serving, expecting) = (Rc::clone(&app), app);
        HttpService::build()
            // The intake limits how long a connection is idle, and how long a head takes.
            .keep_alive(if self.keep_alive.is_some() { KeepAlive::Os } else { KeepAlive::Disabled })
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            // The intake reports the end of the client's side only when no request is being answered, or when the
            // client has disconnected.
            .h1_allow_half_closed(false)
            .local_addr(self.address)
            .graceful_shutdown_signal(move || draining.started())
            .expect(fn_factory(move || ready(Ok::<_, Response<BoxBody>>(Expecting(Rc::clone(&expecting))))))
            .on_connect_ext(move |intake: &Intake<T>, data: &mut Extensions| {
                data.insert(intake.http1_state());
                let Some(socket) = intake.stream().socket() else { return };
                data.insert(socket.send_timeout());
                if let Some(hand_over) = socket.hand_over() {
                    data.insert(hand_over);
                }
            })
            .h1(fn_factory(move || ready(Ok::<_, ()>(Serving(Rc::clone(&serving))))))
            .new_service(())
            .await
    }

    fn intake<T>(&self, stream: T) -> Intake<T> {
        Intake::new(stream, self.keep_alive.unwrap_or(REQUEST_TIMEOUT))
    }

    /// Accepts a connection, if an open file is left for it.
    fn admit(&self, stream: &TcpStream) -> io::Result<(OpenFile, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        let file = self.open_files.take(peer.map(|peer| peer.ip())).ok_or(io::ErrorKind::QuotaExceeded)?;
        // With the first option, a frame does not wait for the acknowledgement of the frame before it. If the system
        // refuses one of the options, the connection is slower or costs more, but works.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
        Ok((file, peer))
    }
}
