//! A connection that tells awc the truth about how an HTTP/1.1 response ends, and lets it read one that came early.
//!
//! Two things that awc 3.11 over actix-http 3.20 hides, both of which make a failure look like a success:
//!
//! - When the connection closes in the middle of a chunked or counted body, awc ends the body as if it were
//!   whole. Here such a close is an error, because those bodies never need one to end.
//! - A body that is longer than its `Content-Length` is cut off there. Here a response with more behind it is an error,
//!   if that is there when its end is read: one of the two is wrong, and nothing says which.
//!
//! And two that it gives up on:
//!
//! - A server that refuses a large request may answer before all of it was sent, and close or take no more of it. awc takes
//!   the failing write for the outcome, or waits for ever, though the refusal lies there to be read. Here what cannot be
//!   written any more is swallowed, and the reading decides.
//! - A response may be announced by others of the class 1xx, which awc takes for the answer; the answer itself would then be
//!   read as that of the connection's next request. Here they are passed over.
//!
//! What awc cannot read of a head is [rewritten](super::response_head).
//!
//! It relies on one request being under way at a time, all of which is written before its response is read:
//! so awc does it. TLS lies below, so that all of this holds over TLS, too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::response_head::{End, Surplus, end_of_head, is_http, pass_over_interim, rewritten};
use super::wire::Wire;

/// Longest response head that is waited for, in bytes; a longer one is passed on as it came, for awc to judge.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// As much of a head as is read at once, in bytes.
const HEAD_PIECE: usize = 4096;

/// The connection.
#[derive(Debug)]
pub(super) struct HonestStream {
    wire: Wire,
    state: State,
    /// True once the other side takes nothing any more.
    is_deaf: bool,
}

#[derive(Debug)]
enum State {
    /// Since the request began, this much of the response's head has come.
    Head(Vec<u8>),
    /// The head, and what came with it, is being handed out.
    HandingOut { bytes: Vec<u8>, at: usize, end: End },
    /// The body.
    Body { end: End },
}

impl HonestStream {
    /// Wraps a connection on which nothing was said yet.
    #[must_use]
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, state: State::Head(Vec::new()), is_deaf: false }
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
                    pass_over_interim(head);
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
        // A request is on its way: what is read next is the head of its response.
        if matches!(this.state, State::Body { .. }) {
            if this.is_deaf {
                // The request before was not sent to its end: nobody would understand another one.
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            this.state = State::Head(Vec::new());
        }
        if this.is_deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        match Pin::new(&mut this.wire).poll_write(cx, buf) {
            Poll::Ready(Err(err)) if is_closed(&err) => {}
            Poll::Ready(written) => return Poll::Ready(written),
            Poll::Pending => {
                // Nothing more is taken at present: is there an answer already?
                let State::Head(head) = &mut this.state else { return Poll::Pending };
                match read_piece(&mut this.wire, head, cx) {
                    Poll::Pending => return Poll::Pending,
                    // What went wrong, if something did, is found again by who reads.
                    Poll::Ready(_) => pass_over_interim(head),
                }
                if head.is_empty() {
                    return Pin::new(&mut this.wire).poll_write(cx, buf);
                }
            }
        }
        this.is_deaf = true;
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

/// Reads what there is of a head; returns how much that is.
fn read_piece(wire: &mut Wire, head: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut piece = [0; HEAD_PIECE];
    let mut piece = ReadBuf::new(&mut piece);
    ready!(Pin::new(wire).poll_read(cx, &mut piece))?;
    head.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// Returns true if the other side has closed the connection for writing.
fn is_closed(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
