//! What the HTTP/1 dispatcher of a connection is given to read, and until when.
//!
//! actix-http's dispatcher leaves some things open:
//!
//! - It times the first head of a connection, and no other. From the second one on, a client that sends a byte now and
//!   then keeps its connection for ever; so does one whose chunked body never ends, where no handler reads it. And what
//!   arrives whole while this process is frozen is too late for its timer. So that timer is off, and all heads, and all
//!   bodies that no handler reads, have [`REQUEST_TIMEOUT`](super::entrance::REQUEST_TIMEOUT) here: from their first byte
//!   on, the first head of a connection from the connection on.
//! - It sets its timer for idle connections again each time that it is woken. Over TLS it is woken by each byte of a
//!   record that never becomes whole. So that timer is off, too.
//! - It decodes all heads that have arrived, before it has answered the first. It writes each answer as the last of them
//!   asks for it: without a body if that is a `HEAD`. They wait in memory, also where an answer takes long. And when 16
//!   wait, it forgets what it has read and not decoded: having answered the 16 without waiting for anything, it sleeps
//!   until another byte comes. With 128 KiB of that it does not sleep at all, as long as an answer takes. So here it is
//!   given one request at a time: a head, a body if the handler reads that, and the next head when the answer has ended.
//!   (Upstream has thought of the same: <https://github.com/actix/actix-web/pull/4180>.)
//! - It must still learn when the client leaves during an answer. So a little of what follows is read, and held. A client
//!   that sends more than that is [watched](super::leave_watch).
//! - It takes the end of what a client sends for the client's leaving, or waits for the answer without a look at the
//!   client, as it is configured. Here a client that has ended its side gets its answers, and the dispatcher learns of
//!   the end behind the last of them, or when the client [has left](super::leave_watch).
//! - It takes a request for another protocol for an agreement on that. Here it is [not shown](super::head_end) what asks
//!   for one.
//! - It takes further requests while the client takes no answers, and holds these. Here it is given none until all that
//!   it has to write is written.

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

/// What a client is told that waits before it sends a body. It is no answer yet.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Most bytes that are held while a request is being answered.
const HELD_BYTES: usize = 4 * 1024;

/// Most bytes that are thrown away when a connection is closed. A client that sends more has its connection reset.
const DISCARDED_BYTES: usize = 64 * 1024;

/// What a client is told if its first head does not arrive in time. A later one ends its connection without a word: a
/// proxy could take this for the answer to a request that it sends just then.
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A connection as its dispatcher sees it.
#[derive(Debug)]
pub(super) struct Intake<S> {
    stream: S,
    turn: Rc<Turn>,
    /// What came behind the request that is being answered: at most what one read brings, or [`HELD_BYTES`]. Within a
    /// head, the beginning of a line: at most [`LONGEST_HELD`] bytes.
    held: BytesMut,
    /// Where the head that is arriving ends.
    head: HeadEnd,
    /// True if the dispatcher has been given the end of a head and has not had its turn since.
    is_head_given: bool,
    /// True if the client does not take what is written.
    is_clogged: bool,
    /// Set when nothing more was read while a request was being answered: the client had ended its side, or sent much.
    watch: Option<LeaveWatch>,
    /// When the connection is to be closed.
    end: Option<Deadline>,
}

impl<S> Intake<S> {
    /// A connection that was just accepted, and may be idle for so long.
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
    /// How many of these bytes the dispatcher is given: what belongs to the body that is read, or up to the end of a head.
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
        // The beginning of a line may have been held back. The dispatcher has room for more than that, and takes it for
        // the end if it is given nothing.
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

    /// Reads a little ahead, only to learn whether the client is still there. Ends, as if the client had left, when the
    /// client is known to have left, or has ended its side while it is sent a stream.
    fn hold(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Connection,
    {
        // Also where nothing comes: after the answer, the timer has to be set.
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
            // More is read when the dispatcher is woken. What is left to write tells whether the client is there.
            return Poll::Pending;
        }
        let watch = self.watch.get_or_insert_with(LeaveWatch::new);
        let may_write = !self.is_clogged && !self.turn.has_begun();
        if let Poll::Ready(err) = watch.poll_left(cx, &mut self.stream, may_write, self.turn.has_arrived()) {
            return Poll::Ready(Err(err));
        }
        if watch.has_ended() && self.turn.is_streaming() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// True if the client was seen to end its side while a request was being answered.
    fn has_ended(&self) -> bool {
        self.watch.as_ref().is_some_and(LeaveWatch::has_ended)
    }

    /// Throws away what has come and was not read. A connection that is closed with something unread in it is reset, and
    /// what is on its way to the client is lost.
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

    /// True if the connection has been idle, or what is arriving has taken, for too long. Otherwise the task of this
    /// context is woken when that is so.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(end) = self.turn.end() else { return false };
        let deadline = self.end.get_or_insert_with(|| Deadline::at(end));
        deadline.reset(end);
        deadline.poll_passed(cx).is_ready()
    }
}

impl<S: AsyncRead + AsyncWrite + Connection + Unpin> AsyncRead for Intake<S> {
    /// Ends, as if the client had left, when the connection is to be closed.
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
            // Here the dispatcher decodes it. It comes back for the rest, if there is any.
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
                // Nothing was written before, so that this fits. A client that has left does not miss it.
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
