//! Notices that an HTTP/1 client has disconnected while its request is answered and nothing is read from it.
//!
//! Nothing can be read from a client that has ended its side. It may wait for the answer, as `nc -N` and some proxies
//! do, or it may have disconnected. Both look the same until bytes are written: the system of a client that has
//! disconnected refuses them with a reset. So the first bytes of the answer are written before the answer exists. They
//! are the same in all answers, so a client that waits notices nothing. They are written one by one, because a relay in
//! between refuses a byte only after it has passed on an earlier byte.
//!
//! Nothing is read, either, from a client that has sent many bytes after its request. The system reports a reset, and
//! the end of the client's side, without a read. But it notices the end only if all bytes that the client has sent
//! before fit into the system's buffers. So bytes are also written ahead to such a client, if the request has arrived
//! completely. They are written later than to a client that has ended its side, because most of these clients are still
//! connected.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use crate::fanout::Socket;

/// The bytes that all answers begin with.
const BEGINNING: &[u8] = b"HTTP/1.";
/// The time from the first check of the connection to the second. Each later interval is twice as long as the one
/// before.
const FIRST_INTERVAL: Duration = Duration::from_millis(10);
/// The longest time from one check to the next, and the time until the first check of a client that has not ended its
/// side. Once the client's system has refused a byte, the disconnect is noticed within this time.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// A connection from a client, with or without TLS.
pub(super) trait Connection {
    /// Returns the TCP connection; `None` if there is none, as in tests.
    fn socket(&self) -> Option<&Socket>;
}

impl Connection for Socket {
    fn socket(&self) -> Option<&Socket> {
        Some(self)
    }
}

impl Connection for TlsStream<Socket> {
    fn socket(&self) -> Option<&Socket> {
        Some(self.get_ref().0)
    }
}

/// Checks whether a client from which nothing is read is still connected.
#[derive(Debug)]
pub(super) struct DisconnectWatch {
    /// True if the client has ended its side.
    has_ended: bool,
    /// The number of bytes of the next answer that are already written.
    ahead: usize,
    next_look: Pin<Box<Sleep>>,
    interval: Duration,
}

impl DisconnectWatch {
    /// Watches a client that has not ended its side.
    pub(super) fn new() -> Self {
        Self {
            has_ended: false,
            ahead: 0,
            next_look: Box::pin(sleep(LONGEST_INTERVAL)),
            interval: LONGEST_INTERVAL,
        }
    }

    /// Records that the client has ended its side. The next check is at once, and further checks are more frequent.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        self.interval = FIRST_INTERVAL;
        self.next_look.as_mut().reset(Instant::now());
    }

    /// Returns true if the client has ended its side.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns the error that ends the connection, once the client is known to have disconnected. `may_write` is true
    /// if no byte of the answer is written, and all bytes of earlier answers are. `is_whole` is true if the request has
    /// arrived completely.
    pub(super) fn poll_disconnected<S>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut S,
        may_write: bool,
        is_whole: bool,
    ) -> Poll<io::Error>
    where
        S: Connection + AsyncWrite + Unpin,
    {
        while self.next_look.as_mut().poll(cx).is_ready() {
            if let Some(socket) = connection.socket() {
                if socket.is_reset() {
                    return Poll::Ready(io::ErrorKind::ConnectionReset.into());
                }
                if !self.has_ended && socket.has_ended(cx) {
                    self.end();
                }
            }
            if may_write
                && (self.has_ended || is_whole)
                && let Err(err) = self.write_ahead(cx, connection)
            {
                return Poll::Ready(err);
            }
            self.next_look.as_mut().reset(Instant::now() + self.interval);
            self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
        }
        Poll::Pending
    }

    fn write_ahead<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut S,
    ) -> io::Result<()> {
        let Some(next) = BEGINNING.get(self.ahead..=self.ahead) else { return Ok(()) };
        if let Poll::Ready(written) = Pin::new(&mut *connection).poll_write(cx, next) {
            self.ahead += written?;
        }
        match Pin::new(connection).poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// Returns how many of these first bytes of an answer are already written.
    ///
    /// # Errors
    /// When the bytes do not begin as all answers do.
    pub(super) fn written_of(&self, answer: &[u8]) -> io::Result<usize> {
        let ahead = BEGINNING.get(..self.ahead).unwrap_or(BEGINNING);
        if answer.starts_with(ahead) { Ok(ahead.len()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Records that an answer begins with the bytes that were written ahead of it.
    pub(super) fn answer_begins(&mut self) {
        self.ahead = 0;
    }
}
