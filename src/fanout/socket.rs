//! TCP connections whose stream can be handed over from the HTTP server to a pump. A connection with TLS is never
//! handed over: there a [`Socket`] only limits the wait for a client that takes nothing.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::StreamConfig;
use super::pump::{Arrival, PumpHandle};
use super::send_timeout::SendTimeout;
use crate::deadline::Deadline;

/// A TCP connection. Once its stream was handed over, the HTTP server sees it as broken.
#[derive(Debug)]
pub struct Socket {
    stream: Option<(TcpStream, OpenFile)>,
    hand_over: Option<Rc<HandOver>>,
    send_timeout: SendTimeout,
    /// The deadline of a client that takes nothing of what is written.
    stuck: Option<Deadline>,
}

/// The permits that a connection holds while it is open: one for an open file, and one for a connection of its client's
/// address. A pump that serves the connection holds them as well.
#[derive(Debug)]
pub struct OpenFile {
    /// The permit for an open file.
    pub file: OwnedSemaphorePermit,
    /// The permit for a connection of the address, if the address is known.
    pub of_address: Option<OwnedSemaphorePermit>,
}

/// A handle with which a response takes over the stream of its connection. Both live on one thread.
#[derive(Debug, Default)]
pub struct HandOver(RefCell<HandOverState>);

#[derive(Debug, Default)]
enum HandOverState {
    #[default]
    Idle,
    /// The stream is to be handed over as soon as everything is written.
    Requested(PumpHandle, Box<Arrival>),
    Declined(Box<Arrival>),
}

impl HandOver {
    /// Requests that the stream is handed to this pump as soon as everything that the HTTP server has to write is
    /// written.
    pub(super) fn request_hand_over(&self, pump: PumpHandle, arrival: Box<Arrival>) {
        *self.0.borrow_mut() = HandOverState::Requested(pump, arrival);
    }

    /// Returns the arrival that was to be handed over, if the pump has declined it.
    pub(super) fn take_back(&self) -> Option<Box<Arrival>> {
        let mut state = self.0.borrow_mut();
        match std::mem::take(&mut *state) {
            HandOverState::Declined(arrival) => Some(arrival),
            other => {
                *state = other;
                None
            }
        }
    }

    fn requested(&self) -> Option<(PumpHandle, Box<Arrival>)> {
        let mut state = self.0.borrow_mut();
        match std::mem::take(&mut *state) {
            HandOverState::Requested(pump, arrival) => Some((pump, arrival)),
            other => {
                *state = other;
                None
            }
        }
    }

    fn decline(&self, arrival: Box<Arrival>) {
        *self.0.borrow_mut() = HandOverState::Declined(arrival);
    }
}

impl Socket {
    /// Wraps a connection that was just accepted. Its stream can be handed over if the configuration allows it.
    #[must_use]
    pub fn new(stream: TcpStream, file: OpenFile, config: StreamConfig) -> Self {
        let hand_over = config.hand_over.then(Rc::default);
        Self { stream: Some((stream, file)), hand_over, send_timeout: SendTimeout::new(&config), stuck: None }
    }

    /// Returns the handle by which the handlers of the connection's requests can take over its stream.
    #[must_use]
    pub fn hand_over(&self) -> Option<Rc<HandOver>> {
        self.hand_over.clone()
    }

    /// Returns how long the connection waits for a client that takes nothing.
    #[must_use]
    pub fn send_timeout(&self) -> SendTimeout {
        self.send_timeout.clone()
    }

    /// Returns true if the client's system has refused what was written to it: the client has disconnected.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.stream.as_ref().is_none_or(|(stream, _)| !matches!(stream.take_error(), Ok(None)))
    }

    /// Returns true if the client has ended its side, even if earlier bytes from it are still unread.
    pub fn has_ended(&self, cx: &mut Context<'_>) -> bool {
        matches!(ActixStream::poll_read_ready(self, cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Hands the stream over if that was requested. Called when everything is written.
    fn hand_over_if_requested(&mut self, cx: &Context<'_>) {
        let Some(hand_over) = &self.hand_over else { return };
        let Some((pump, arrival)) = hand_over.requested() else { return };
        let Some(place) = pump.place() else {
            hand_over.decline(arrival);
            // Wakes the dispatcher to poll its body again, which continues.
            return cx.waker().wake_by_ref();
        };
        if let Some((stream, file)) = self.stream.take() {
            // The stream moves from this thread's event loop to the pump's.
            match stream.into_std() {
                Ok(stream) => place.take(stream, file, arrival),
                Err(err) => {
                    tracing::error!(%err, "a connection cannot be handed over to a pump, and is closed")
                }
            }
        }
    }

    /// Returns the connection, unless it was handed over.
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream
            .as_mut()
            .map(|(stream, _)| Pin::new(stream))
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    /// Writes to the stream. Fails once the client has taken nothing for too long.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = self.stream()?.poll_write(cx, buf) {
            self.stuck = None;
            return Poll::Ready(written);
        }
        let most = self.send_timeout.limit();
        ready!(self.stuck.get_or_insert_with(|| Deadline::after(most)).poll_passed(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Hands the stream over if that was requested: the dispatcher flushes only when its whole buffer is written. An
    /// error ends the dispatcher even if it holds further requests or half of a body.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream()?.poll_flush(cx))?;
        self.hand_over_if_requested(cx);
        Poll::Ready(self.stream().map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl ActixStream for Socket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.stream {
            Some((stream, _)) => ActixStream::poll_read_ready(stream, cx),
            None => Poll::Ready(Ok(Ready::READ_CLOSED)),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.stream {
            Some((stream, _)) => ActixStream::poll_write_ready(stream, cx),
            None => Poll::Ready(Ok(Ready::WRITE_CLOSED)),
        }
    }
}
