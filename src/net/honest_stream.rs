//! A connection that reports to awc how an HTTP/1.1 response really ends, and with which awc can read an early
//! response.
//!
//! awc 3.11 over actix-http 3.20 hides two errors, so that a failure looks like a success (actix-web
//! [#2287](https://github.com/actix/actix-web/issues/2287), [#2109](https://github.com/actix/actix-web/issues/2109)):
//!
//! - When the connection closes in the middle of a body with chunks or with a `Content-Length`, awc ends the body as if
//!   it were complete. This stream reports an error, because such bodies never end with the connection.
//! - awc truncates a body that is longer than its `Content-Length`. This stream reports an error if more bytes have
//!   arrived when the end of the body is read, because either the length or the body is wrong.
//!
//! And awc fails in two cases in which a response can be read:
//!
//! - A server that refuses a large request may answer before it has received the whole request, and then close the
//!   connection or read no more. awc reports the failed write, or waits forever. This stream discards bytes that can no
//!   longer be written, and reads the response.
//! - Interim responses of class 1xx may precede a response. awc would treat the first of them as the answer, and the
//!   real answer as that to the next request of the connection. This stream skips interim responses.
//!
//! Parts of a head that awc cannot read are [rewritten](super::response_head).
//!
//! This relies on awc's order of work: one request at a time, written completely before its response is read. TLS is
//! below this stream, so all of this is also true over TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::response_head::{End, Surplus, end_of_head, is_http, rewritten, skip_interim};
use super::wire::Wire;

/// Longest head of a response that is rewritten, in bytes. A longer head is passed on unchanged, and awc decides.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most bytes of a head that are read at once.
const HEAD_PIECE: usize = 4096;

/// A connection with corrected response endings.
#[derive(Debug)]
pub(super) struct HonestStream {
    wire: Wire,
    state: State,
    /// True once the server accepts no more bytes.
    is_write_closed: bool,
}

#[derive(Debug)]
enum State {
    /// The bytes of the response's head that have arrived since the request began.
    Head(Vec<u8>),
    /// The head, and the bytes that arrived with it, are being passed on.
    HandingOut { bytes: Vec<u8>, at: usize, end: End },
    /// The body is being passed on.
    Body { end: End },
}

impl HonestStream {
    /// Wraps a connection on which nothing was sent yet.
    #[must_use]
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, state: State::Head(Vec::new()), is_write_closed: false }
    }
}

impl AsyncRead for HonestStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Head(head) => {
                    skip_interim(head);
                    if end_of_head(head).is_some() || head.len() > MAX_HEAD_BYTES || !is_http(head) {
                        let (bytes, end) = rewritten(std::mem::take(head))?;
                        this.state = State::HandingOut { bytes, at: 0, end };
                        continue;
                    }
                    if ready!(read_piece(&mut this.wire, head, cx))? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                State::HandingOut { bytes, at, end } => {
                    let rest = bytes.get(*at..).unwrap_or_default();
                    let some = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
                    buf.put_slice(some);
                    *at += some.len();
                    if *at >= bytes.len() {
                        this.state = State::Body { end: *end };
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Body { end } => {
                    let before = buf.filled().len();
                    ready!(Pin::new(&mut this.wire).poll_read(cx, buf))?;
                    let count = buf.filled().len() - before;
                    if let End::Length(left) = end {
                        *left = left.checked_sub(count as u64).ok_or(Surplus)?;
                    }
                    let closed = count == 0 && buf.remaining() > 0;
                    return Poll::Ready(if closed && *end != End::Close {
                        Err(io::ErrorKind::UnexpectedEof.into())
                    } else {
                        Ok(())
                    });
                }
            }
        }
    }
}

impl AsyncWrite for HonestStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // A request begins: the next bytes that are read are the head of its response.
        if matches!(this.state, State::Body { .. }) {
            if this.is_write_closed {
                // The earlier request was not sent to its end, so the server could not read another request.
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            this.state = State::Head(Vec::new());
        }
        if this.is_write_closed {
            return Poll::Ready(Ok(buf.len()));
        }
        match Pin::new(&mut this.wire).poll_write(cx, buf) {
            Poll::Ready(Err(err)) if is_closed(&err) => {}
            Poll::Ready(written) => return Poll::Ready(written),
            Poll::Pending => {
                // The server accepts no bytes at present, so this checks whether it has already answered.
                let State::Head(head) = &mut this.state else { return Poll::Pending };
                match read_piece(&mut this.wire, head, cx) {
                    Poll::Pending => return Poll::Pending,
                    // An error is ignored, because the next read has the same error and reports it.
                    Poll::Ready(_) => skip_interim(head),
                }
                if head.is_empty() {
                    return Pin::new(&mut this.wire).poll_write(cx, buf);
                }
            }
        }
        this.is_write_closed = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.wire).poll_flush(cx)) {
            Err(err) if is_closed(&err) => Poll::Ready(Ok(())),
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

impl ActixStream for HonestStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.wire, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.wire, cx)
    }
}

/// Reads the bytes of a head that have arrived. Returns their number.
fn read_piece(wire: &mut Wire, head: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut piece = [0; HEAD_PIECE];
    let mut piece = ReadBuf::new(&mut piece);
    ready!(Pin::new(wire).poll_read(cx, &mut piece))?;
    head.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// Returns true if the server has closed the connection for writing.
fn is_closed(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
