//! What the HTTP/1 dispatcher of a connection is given to read, and until when.
//!
//! actix-http's dispatcher leaves some things open:
//!
//! - It times the first head of a connection, and no other. From the second one on, a client that sends a byte now and
//!   then keeps its connection for ever; so does one whose chunked body never ends, where no handler reads it. Here both
//!   have [`REQUEST_TIMEOUT`](super::entrance::REQUEST_TIMEOUT) from their first byte on.
//! - It sets its timer for idle connections again each time that it is woken. Over TLS it is woken by each byte of a
//!   record that never becomes whole. So that timer is off, and the one for heads stands in for it.
//! - It decodes what has arrived while it answers, until 16 requests wait. What it has read by then and not decoded it
//!   forgets: when it has answered the 16 without waiting for anything, it sleeps until another byte comes
//!   (`poll_request` is not called again behind `poll_response`). And with 128 KiB of that it does not sleep at all, as
//!   long as the answer takes. Here it is given nothing behind the head that it answers but a body that the handler
//!   reads, and is woken when the answer has ended. (Upstream has thought of the same: <https://github.com/actix/actix-web/pull/4180>.)
//! - It must still learn when the client leaves during an answer. So a little of what follows is read, and held.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::turn::Turn;

/// Most bytes that are held while a request is being answered. A client that sends more than this and leaves is
/// noticed when the answer has ended.
const HELD_BYTES: usize = 4 * 1024;

/// A connection as its dispatcher sees it.
#[derive(Debug)]
pub(super) struct Intake<S> {
    stream: S,
    turn: Rc<Turn>,
    /// What came while a request was being answered.
    held: BytesMut,
    /// Goes off when the connection is to be closed, or before: one that an earlier head has set is set again when it
    /// goes off. So a busy connection sets it every few seconds, and not for each request.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Intake<S> {
    /// A connection that was just accepted, and may be idle for so long.
    pub(super) fn new(stream: S, most_idle: Duration) -> Self {
        Self { stream, turn: Rc::new(Turn::new(most_idle)), held: BytesMut::new(), timer: None }
    }

    /// The connection below.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Where the connection stands.
    pub(super) fn turn(&self) -> Rc<Turn> {
        Rc::clone(&self.turn)
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    /// Reads what the dispatcher may have now.
    fn give(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let part = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held.split_to(part));
        Poll::Ready(Ok(()))
    }

    /// Reads a little ahead, only to learn whether the client is still there.
    fn hold(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Also where nothing comes: after the answer, the timer has to be set.
        self.turn.wake_later(cx.waker());
        while self.held.len() < HELD_BYTES {
            let mut room = buf.take(HELD_BYTES - self.held.len());
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(room.filled());
        }
        // More is read when the dispatcher is woken.
        Poll::Pending
    }

    /// True if the connection has been idle, or what is arriving has taken, for too long. Otherwise the task of this
    /// context is woken when that is so.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(end) = self.turn.end() else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return true;
            }
            timer.as_mut().reset(end);
        }
        false
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Intake<S> {
    /// Ends, as if the client had left, when the connection is to be closed.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.turn.is_answering() {
            return this.hold(cx, buf);
        }
        let before = buf.filled().len();
        let read = this.give(cx, buf)?;
        if read.is_ready() && buf.filled().len() > before {
            this.turn.bytes_came(cx.waker());
        }
        if this.is_late(cx) {
            buf.set_filled(before);
            return Poll::Ready(Ok(()));
        }
        read.map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Intake<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
