//! TCP connections that a response's body can take away from the HTTP server. A connection below TLS is never taken
//! away: there a [`Socket`] only limits the wait for a client that takes nothing.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::StreamConfig;
use super::patience::Patience;
use super::pump::{Arrival, PumpHandle};
use crate::deadline::Deadline;

/// A TCP connection. Once its stream was handed over, the HTTP server sees it as broken.
#[derive(Debug)]
pub struct Socket {
    stream: Option<(TcpStream, OpenFile)>,
    hand_over: Option<Rc<HandOver>>,
    patience: Patience,
    /// The deadline of a client that takes nothing of what is written.
    stuck: Option<Deadline>,
}

/// What a connection holds while it is open, whichever part serves it: its share of the open files, and of the
/// connections of its client's address.
#[derive(Debug)]
pub struct OpenFile {
    /// One of the open files.
    pub file: OwnedSemaphorePermit,
    /// One of the address's connections, where the address is known.
    pub of_address: Option<OwnedSemaphorePermit>,
}

/// Connects a connection with the response that may take its stream away; both live on one thread.
#[derive(Debug, Default)]
pub struct HandOver(RefCell<HandOverState>);

#[derive(Debug, Default)]
enum HandOverState {
    #[default]
    Idle,
    /// The stream is to be handed over as soon as everything is written.
    Asked(PumpHandle, Box<Arrival>),
    Declined(Box<Arrival>),
}

impl HandOver {
    /// Requests that the stream is handed to this pump as soon as everything that the HTTP server has to write is
    /// written.
    pub(super) fn ask(&self, pump: PumpHandle, arrival: Box<Arrival>) {
        *self.0.borrow_mut() = HandOverState::Asked(pump, arrival);
    }

    /// Returns what was to be handed over, if the pump has declined it.
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

    fn asked(&self) -> Option<(PumpHandle, Box<Arrival>)> {
        let mut state = self.0.borrow_mut();
        match std::mem::take(&mut *state) {
            HandOverState::Asked(pump, arrival) => Some((pump, arrival)),
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
        Self { stream: Some((stream, file)), hand_over, patience: Patience::new(&config), stuck: None }
    }

    /// Returns the means by which the handlers of its requests can take its stream away.
    #[must_use]
    pub fn hand_over(&self) -> Option<Rc<HandOver>> {
        self.hand_over.clone()
    }

    /// Returns how long the connection waits for a client that takes nothing.
    #[must_use]
    pub fn patience(&self) -> Patience {
        self.patience.clone()
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
    fn leave(&mut self, cx: &Context<'_>) {
        let Some(hand_over) = &self.hand_over else { return };
        let Some((pump, arrival)) = hand_over.asked() else { return };
        let Some(place) = pump.place() else {
            hand_over.decline(arrival);
            // Has the dispatcher poll its body again, which continues.
            return cx.waker().wake_by_ref();
        };
        if let Some((stream, file)) = self.stream.take() {
            // The stream moves from this thread's event loop to the pump's.
            match stream.into_std() {
                Ok(stream) => place.take(stream, file, arrival),
                Err(err) => tracing::error!(%err, "a connection cannot be handed over"),
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
    /// Fails once the client has taken nothing for too long.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = self.stream()?.poll_write(cx, buf) {
            self.stuck = None;
            return Poll::Ready(written);
        }
        let most = self.patience.most();
        ready!(self.stuck.get_or_insert_with(|| Deadline::after(most)).poll_passed(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The dispatcher flushes only when its buffer is written to the last byte. An error ends the dispatcher even if it
    /// holds further requests, or half of a body.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream()?.poll_flush(cx))?;
        self.leave(cx);
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
