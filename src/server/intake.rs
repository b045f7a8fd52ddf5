//! Controls what the HTTP/1 dispatcher of a connection reads, and how long it waits.
//!
//! actix-http's dispatcher has some gaps, which are closed here:
//!
//! - It times the first head of a connection, and no other. From the second head on, a client that sends a byte now and
//!   then keeps its connection forever; so does a client whose chunked body never ends, if no handler reads it. And
//!   what arrives whole while this process is frozen is too late for its timer. So that timer is off. All heads, and
//!   all bodies that no handler reads, have [`REQUEST_TIMEOUT`](super::entrance::REQUEST_TIMEOUT) here, from their
//!   first byte on; the first head has it from the beginning of the connection on.
//! - It restarts its timer for idle connections each time that it is woken. Over TLS each byte of a record that never
//!   becomes whole wakes it. So that timer is off, too.
//! - It decodes all heads that have arrived before it has answered the first. It writes each answer as the last of
//!   these heads requires: without a body if that is a `HEAD`. The heads wait in memory, also while an answer takes
//!   long. And when 16 wait, it forgets what it has read and not decoded: after it has answered the 16 without waiting
//!   for anything, it sleeps until another byte arrives. With 128 KiB of such bytes it does not sleep at all for as
//!   long as an answer takes. So here it gets one request at a time: a head, a body if the handler reads it, and the
//!   next head when the answer has ended. (Upstream discusses the same change:
//!   <https://github.com/actix/actix-web/pull/4180>.)
//! - It must still notice when the client disconnects during an answer. So a little of what follows the request is read
//!   and held. A client that sends more than that is [watched](super::leave_watch).
//! - Depending on its configuration, it treats the end of the client's side as a disconnect, or waits for the answer
//!   without checking the client. Here a client that has ended its side gets its answers. The dispatcher sees the end
//!   after the last answer, or when the client [has disconnected](super::leave_watch).
//! - It treats a request for another protocol as if the protocol were agreed on. Here the words that ask for one are
//!   [hidden from it](super::head_end).
//! - It accepts further requests while the client takes no answers, and holds them. Here it gets none until everything
//!   that it has to write is written.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head_end::{HeadEnd, LONGEST_HELD};
use super::leave_watch::{Connection, LeaveWatch};
use super::turn::Turn;
use crate::deadline::Deadline;

/// The line for a client that waits before it sends a body. It is not an answer yet.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Most bytes that are held while a request is being answered.
const HELD_BYTES: usize = 4 * 1024;

/// Most bytes that are discarded when a connection is closed. The connection of a client that sends more is reset.
const DISCARDED_BYTES: usize = 64 * 1024;

/// The answer to a client whose first head does not arrive in time. If a later head is late, the connection ends
/// without an answer: a proxy could take this answer for that to a request that it sends at the same time.
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A connection as its dispatcher sees it.
#[derive(Debug)]
pub(super) struct Intake<S> {
    stream: S,
    turn: Rc<Turn>,
    /// The bytes that arrived after the request that is being answered: at most what one read returns, or
    /// [`HELD_BYTES`]. Within a head, this is the beginning of a line: at most [`LONGEST_HELD`] bytes.
    held: BytesMut,
    /// Finds the end of the head that is arriving.
    head: HeadEnd,
    /// True if the dispatcher has been given the end of a head and has not read again since.
    is_head_given: bool,
    /// True if the client does not take what is written.
    is_clogged: bool,
    /// Set when nothing more was read while a request was being answered, because the client had ended its side or had
    /// sent much.
    watch: Option<LeaveWatch>,
    /// When the connection is to be closed.
    end: Option<Deadline>,
}

impl<S> Intake<S> {
    /// Creates the intake of a connection that was just accepted and may be idle for `most_idle`.
    pub(super) fn new(stream: S, most_idle: Duration) -> Self {
        Self {
            stream,
            turn: Rc::new(Turn::new(most_idle)),
            held: BytesMut::new(),
            head: HeadEnd::new(),
            is_head_given: false,
            is_clogged: false,
            watch: None,
            end: None,
        }
    }

    /// Returns the underlying connection.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Returns the connection's state.
    pub(super) fn turn(&self) -> Rc<Turn> {
        Rc::clone(&self.turn)
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    /// Returns how many of these bytes the dispatcher is given: those of the body that is read, or those up to the end
    /// of a head.
    fn part(&mut self, bytes: &mut [u8]) -> usize {
        if self.turn.is_receiving() {
            return self.turn.take_body(bytes);
        }
        let (part, is_end) = self.head.take(bytes);
        self.is_head_given |= is_end;
        part
    }

    /// Reads what the dispatcher may have now.
    fn give(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.held.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let part = self.part(&mut buf.filled_mut()[before..]);
            self.held.extend_from_slice(&buf.filled()[before + part..]);
            buf.set_filled(before + part);
        } else {
            self.give_held(buf);
        }
        // The beginning of a line may have been held back. The dispatcher has room for more than that. If it were given
        // nothing, it would treat this as the end of the connection.
        while buf.filled().len() == before {
            let mut more = [0; LONGEST_HELD];
            let mut more = ReadBuf::new(&mut more);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut more))?;
            if more.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(more.filled());
            self.give_held(buf);
        }
        self.turn.gave(cx.waker());
        Poll::Ready(Ok(()))
    }

    fn give_held(&mut self, buf: &mut ReadBuf<'_>) {
        let room = self.held.len().min(buf.remaining());
        let mut held = self.held.split();
        let part = self.part(&mut held[..room]);
        buf.put_slice(&held[..part]);
        held.advance(part);
        self.held = held;
    }

    /// Reads a little ahead, only to notice a disconnect. Ends the connection for the dispatcher if the client has
    /// disconnected, or if it has ended its side while it is sent a stream.
    fn hold(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Connection,
    {
        // Also if nothing arrives: after the answer, the timer has to be set.
        self.turn.wake_later(cx.waker());
        while !self.has_ended() && self.held.len() < HELD_BYTES {
            let mut room = buf.take(HELD_BYTES - self.held.len());
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                self.watch.get_or_insert_with(LeaveWatch::new).end();
            }
            self.held.extend_from_slice(room.filled());
        }
        if !self.turn.is_answering() {
            // More is read when the dispatcher is woken. Writing the rest shows whether the client is still connected.
            return Poll::Pending;
        }
        let watch = self.watch.get_or_insert_with(LeaveWatch::new);
        let may_write = !self.is_clogged && !self.turn.has_begun();
        if let Poll::Ready(err) = watch.poll_left(cx, &mut self.stream, may_write, self.turn.has_arrived()) {
            return Poll::Ready(Err(err));
        }
        if watch.has_ended() && self.turn.is_streaming() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Returns true if the client has ended its side while a request was being answered.
    fn has_ended(&self) -> bool {
        self.watch.as_ref().is_some_and(LeaveWatch::has_ended)
    }

    /// Discards bytes that have arrived and were not read. If a connection is closed with unread bytes in it, the
    /// system resets it, and what is on its way to the client is lost.
    fn discard(&mut self, cx: &mut Context<'_>) {
        let mut waste = [0; 4 * 1024];
        let mut left = DISCARDED_BYTES;
        while left > 0 {
            let mut waste = ReadBuf::new(&mut waste);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut waste);
            if !matches!(read, Poll::Ready(Ok(()))) || waste.filled().is_empty() {
                return;
            }
            left = left.saturating_sub(waste.filled().len());
        }
    }

    /// Returns true if the connection has been idle for too long, or what is arriving has taken too long. Otherwise the
    /// task of this context is woken when that is so.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(end) = self.turn.end() else { return false };
        let deadline = self.end.get_or_insert_with(|| Deadline::at(end));
        deadline.reset(end);
        deadline.poll_passed(cx).is_ready()
    }
}

impl<S: AsyncRead + AsyncWrite + Connection + Unpin> AsyncRead for Intake<S> {
    /// Ends, as if the client had disconnected, when the connection is to be closed.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let is_head_given = std::mem::take(&mut this.is_head_given);
        if this.turn.is_answering() || (this.is_clogged && !this.turn.is_receiving()) {
            return this.hold(cx, buf);
        }
        if is_head_given && !this.turn.is_receiving() {
            // The dispatcher decodes the head now. It reads again if there is more.
            let held = this.hold(cx, buf);
            if !this.held.is_empty() || this.has_ended() {
                cx.waker().wake_by_ref();
            }
            return held;
        }
        let before = buf.filled().len();
        let read = this.give(cx, buf)?;
        if this.is_late(cx) {
            buf.set_filled(before);
            if this.turn.is_new() {
                // Nothing was written before, so this fits. A failure means that the client has disconnected.
                let _ = Pin::new(&mut this.stream).poll_write(cx, TOO_LATE);
                let _ = Pin::new(&mut this.stream).poll_flush(cx);
            }
            return Poll::Ready(Ok(()));
        }
        read.map(Ok)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Intake<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let ahead = this.watch.as_ref().map_or(Ok(0), |watch| watch.written_of(buf))?;
        let rest = buf.get(ahead..).unwrap_or_default();
        let written = Pin::new(&mut this.stream).poll_write(cx, rest)?;
        this.is_clogged |= written.is_pending();
        if written.is_ready() {
            if let Some(watch) = &mut this.watch {
                watch.answer_begins();
            }
            if buf != CONTINUE {
                this.turn.answer_begins();
            }
        }
        written.map(|written| Ok(written + ahead))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The dispatcher flushes when its buffer is written to the last byte.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if std::mem::replace(&mut self.is_clogged, flushed.is_pending()) && !self.is_clogged {
            self.turn.written();
            cx.waker().wake_by_ref();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.discard(cx);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
