//! Controls what the HTTP/1 dispatcher of a connection reads, and how long it waits.
//!
//! actix-http's dispatcher has some gaps, which the intake closes:
//!
//! - The dispatcher times the first head of a connection, and no other. From the second head on, a client can keep its
//!   connection forever with a byte now and then, or with a chunked body that never ends and that no handler reads. A
//!   request that arrives completely while this process is frozen is too late for the dispatcher's timer. So that timer
//!   is off. The intake limits all heads, and all bodies that no handler reads, to
//!   [`REQUEST_TIMEOUT`](super::entrance::REQUEST_TIMEOUT) from their first byte on, and the first head from the
//!   beginning of the connection on.
//! - The dispatcher restarts its timer for idle connections each time that it is woken. Over TLS each byte of an
//!   incomplete record wakes it. So that timer is off, too.
//! - The dispatcher decodes all heads that have arrived before it has answered the first. It writes each answer as the
//!   last of these heads requires: without a body if that is a `HEAD`. The heads wait in memory, also during a long
//!   answer. When 16 heads wait, the dispatcher forgets the bytes that it has read and not decoded: if it then answers
//!   the 16 without waiting, it sleeps until another byte arrives. With 128 KiB of such bytes it does not sleep at all
//!   during an answer. So the intake passes on one request at a time: a head, a body if the handler reads it, and the
//!   next head when the answer has ended. (The authors of actix-web discuss the same change:
//!   <https://github.com/actix/actix-web/pull/4180>.)
//! - The dispatcher must still notice when the client disconnects during an answer. So the intake reads and holds a few
//!   of the bytes that follow the request. A client that sends more is [watched](super::disconnect_watch).
//! - Depending on its configuration, the dispatcher treats the end of the client's side as a disconnect, or waits for
//!   the answer without checking the client. With the intake, a client that has ended its side gets its answers. The
//!   intake reports the end after the last answer, or when the client [has disconnected](super::disconnect_watch).
//! - The dispatcher treats a request for another protocol as if the protocol were agreed on. The intake
//!   [overwrites](super::head_end) such a request.
//! - The dispatcher accepts further requests while the client does not read its answers, and holds them. The intake
//!   passes on no request until everything is written that the dispatcher has to write.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::disconnect_watch::{Connection, DisconnectWatch};
use super::head_end::{HeadEnd, LONGEST_HELD};
use super::http1_state::Http1State;
use crate::deadline::Deadline;

/// The line for a client that waits before it sends a body. It is not the beginning of an answer.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Most bytes that are held while a request is being answered.
const HELD_BYTES: usize = 4 * 1024;

/// Most bytes that are discarded when a connection is closed. The connection of a client that sends more is reset.
const DISCARDED_BYTES: usize = 64 * 1024;

/// The answer to a client whose first head does not arrive in time. If a later head is late, the connection ends
/// without an answer, because a proxy might treat such an answer as that to a request that it sends at the same time.
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A connection from which the dispatcher gets only the bytes that it should process now.
#[derive(Debug)]
pub(super) struct Intake<S> {
    stream: S,
    http1_state: Rc<Http1State>,
    /// The bytes that arrived after the request that is being answered: at most the bytes of one read, or
    /// [`HELD_BYTES`]. Within a head, the beginning of a line: at most [`LONGEST_HELD`] bytes.
    held: BytesMut,
    /// Finds the end of the head that is arriving.
    head: HeadEnd,
    /// True if the dispatcher got the end of a head, and has not read again since.
    is_head_given: bool,
    /// True if the client does not receive what is written.
    is_write_blocked: bool,
    /// The watch of a client from which nothing is read while its request is answered, because the client has ended its
    /// side or has sent much.
    watch: Option<DisconnectWatch>,
    /// The time at which the connection is closed.
    end: Option<Deadline>,
}

impl<S> Intake<S> {
    /// Creates the intake of a connection that was just accepted and may be idle for `most_idle`.
    pub(super) fn new(stream: S, most_idle: Duration) -> Self {
        Self {
            stream,
            http1_state: Rc::new(Http1State::new(most_idle)),
            held: BytesMut::new(),
            head: HeadEnd::new(),
            is_head_given: false,
            is_write_blocked: false,
            watch: None,
            end: None,
        }
    }

    /// Returns the underlying connection.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Returns the connection's state.
    pub(super) fn http1_state(&self) -> Rc<Http1State> {
        Rc::clone(&self.http1_state)
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    /// Returns how many of these bytes the dispatcher gets now: those of the body that the handler reads, or those up
    /// to the end of a head.
    fn part(&mut self, bytes: &mut [u8]) -> usize {
        if self.http1_state.is_receiving() {
            return self.http1_state.take_body(bytes);
        }
        let (part, is_end) = self.head.take(bytes);
        self.is_head_given |= is_end;
        part
    }

    /// Reads the bytes that the dispatcher should get now.
    fn read_part(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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
            self.read_held(buf);
        }
        // The beginning of a line may be held back, and the dispatcher's buffer is larger than that. The dispatcher
        // must get at least one byte, because it treats a read of nothing as the end of the connection.
        while buf.filled().len() == before {
            let mut more = [0; LONGEST_HELD];
            let mut more = ReadBuf::new(&mut more);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut more))?;
            if more.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(more.filled());
            self.read_held(buf);
        }
        self.http1_state.passed_on(cx.waker());
        Poll::Ready(Ok(()))
    }

    fn read_held(&mut self, buf: &mut ReadBuf<'_>) {
        let room = self.held.len().min(buf.remaining());
        let mut held = self.held.split();
        let part = self.part(&mut held[..room]);
        buf.put_slice(&held[..part]);
        held.advance(part);
        self.held = held;
    }

    /// Reads a few bytes ahead, only to notice a disconnect. Reports the end of the connection to the dispatcher if the
    /// client has disconnected, or if it has ended its side during a stream.
    fn read_ahead(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Connection,
    {
        // The dispatcher is woken after the answer, even if no bytes arrive, because the timer has to be set then.
        self.http1_state.wake_later(cx.waker());
        while !self.has_ended() && self.held.len() < HELD_BYTES {
            let mut room = buf.take(HELD_BYTES - self.held.len());
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                self.watch.get_or_insert_with(DisconnectWatch::new).end();
            }
            self.held.extend_from_slice(room.filled());
        }
        if !self.http1_state.is_answering() {
            // The intake reads more when the dispatcher is woken. The writing of the rest shows whether the client is
            // still connected.
            return Poll::Pending;
        }
        let watch = self.watch.get_or_insert_with(DisconnectWatch::new);
        let may_write = !self.is_write_blocked && !self.http1_state.has_begun();
        if let Poll::Ready(err) =
            watch.poll_disconnected(cx, &mut self.stream, may_write, self.http1_state.has_arrived())
        {
            return Poll::Ready(Err(err));
        }
        if watch.has_ended() && self.http1_state.is_streaming() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Returns true if the client has ended its side while a request was being answered.
    fn has_ended(&self) -> bool {
        self.watch.as_ref().is_some_and(DisconnectWatch::has_ended)
    }

    /// Discards bytes that have arrived and were not read. If a connection is closed while it has unread bytes, the
    /// system resets it, and the last bytes of the answer are lost.
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

    /// Returns true if the connection has been idle for too long, or a request has been arriving for too long.
    /// Otherwise wakes the task of this context at the time when that becomes true.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(end) = self.http1_state.end() else { return false };
        let deadline = self.end.get_or_insert_with(|| Deadline::at(end));
        deadline.reset(end);
        deadline.poll_passed(cx).is_ready()
    }
}

impl<S: AsyncRead + AsyncWrite + Connection + Unpin> AsyncRead for Intake<S> {
    /// Reads for the dispatcher. Reports the end of the connection when the connection has to be closed.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let is_head_given = std::mem::take(&mut this.is_head_given);
        if this.http1_state.is_answering() || (this.is_write_blocked && !this.http1_state.is_receiving()) {
            return this.read_ahead(cx, buf);
        }
        if is_head_given && !this.http1_state.is_receiving() {
            // The dispatcher decodes the head now, and then reads again.
            let held = this.read_ahead(cx, buf);
            if !this.held.is_empty() || this.has_ended() {
                cx.waker().wake_by_ref();
            }
            return held;
        }
        let before = buf.filled().len();
        let read = this.read_part(cx, buf)?;
        if this.is_late(cx) {
            buf.set_filled(before);
            if this.http1_state.is_new() {
                // Nothing was written before, so the system can buffer this. An error means that the client has
                // disconnected.
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
        this.is_write_blocked |= written.is_pending();
        if written.is_ready() {
            if let Some(watch) = &mut this.watch {
                watch.answer_begins();
            }
            if buf != CONTINUE {
                this.http1_state.answer_begins();
            }
        }
        written.map(|written| Ok(written + ahead))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The dispatcher flushes when its buffer is written completely.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if std::mem::replace(&mut self.is_write_blocked, flushed.is_pending()) && !self.is_write_blocked {
            self.http1_state.written();
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
