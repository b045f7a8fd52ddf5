//! TCP connections, which a response's body can take away from the HTTP server. Below TLS none is: there this only sees to
//! it that nobody waits for ever for a client who takes nothing.

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

/// A TCP connection. Once its stream was handed over it is broken, for the HTTP server.
#[derive(Debug)]
pub struct Socket {
    stream: Option<(TcpStream, OpenFile)>,
    hand_over: Option<Rc<HandOver>>,
    patience: Patience,
    /// The end of the wait for a client who takes nothing of what is written.
    stuck: Option<Deadline>,
}

/// What a connection holds as long as it is open, whatever serves it: its share of the open files, and of the
/// connections of its client's address.
#[derive(Debug)]
pub struct OpenFile {
    /// One of the open files.
    pub file: OwnedSemaphorePermit,
    /// One of the address's connections, where the address is known.
    pub of_address: Option<OwnedSemaphorePermit>,
}

/// Between a connection and the response that may take its stream away; both live on one thread.
#[derive(Debug, Default)]
pub struct HandOver(RefCell<Stage>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// To happen as soon as everything is written.
    Asked(PumpHandle, Box<Arrival>),
    Declined(Box<Arrival>),
}

impl HandOver {
    /// Asks for the stream to be handed to this pump, as soon as everything that the HTTP server has to write is written.
    pub(super) fn ask(&self, pump: PumpHandle, arrival: Box<Arrival>) {
        *self.0.borrow_mut() = Stage::Asked(pump, arrival);
    }

    /// What was to be handed over, if that has failed.
    pub(super) fn take_back(&self) -> Option<Box<Arrival>> {
        let mut stage = self.0.borrow_mut();
        match std::mem::take(&mut *stage) {
            Stage::Declined(arrival) => Some(arrival),
            other => {
                *stage = other;
                None
            }
        }
    }

    fn asked(&self) -> Option<(PumpHandle, Box<Arrival>)> {
        let mut stage = self.0.borrow_mut();
        match std::mem::take(&mut *stage) {
            Stage::Asked(pump, arrival) => Some((pump, arrival)),
            other => {
                *stage = other;
                None
            }
        }
    }

    fn decline(&self, arrival: Box<Arrival>) {
        *self.0.borrow_mut() = Stage::Declined(arrival);
    }
}

impl Socket {
    /// A connection that was just accepted. Its stream can be handed over if that is what the configuration says.
    #[must_use]
    pub fn new(stream: TcpStream, file: OpenFile, config: StreamConfig) -> Self {
        let hand_over = config.hand_over.then(Rc::default);
        Self { stream: Some((stream, file)), hand_over, patience: Patience::new(&config), stuck: None }
    }

    /// By what its requests' handlers can take its stream away.
    #[must_use]
    pub fn hand_over(&self) -> Option<Rc<HandOver>> {
        self.hand_over.clone()
    }

    /// How long the connection waits for a client that takes nothing.
    #[must_use]
    pub fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// Returns true if the client's system has refused what was written to it: the client has left.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.stream.as_ref().is_none_or(|(stream, _)| !matches!(stream.take_error(), Ok(None)))
    }

    /// Returns true if the client has ended its side, also where something that it has sent before is not read.
    pub fn has_ended(&self, cx: &mut Context<'_>) -> bool {
        matches!(ActixStream::poll_read_ready(self, cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Everything is written: hands over what was asked for.
    fn leave(&mut self, cx: &Context<'_>) {
        let Some(hand_over) = &self.hand_over else { return };
        let Some((pump, arrival)) = hand_over.asked() else { return };
        let Some(place) = pump.place() else {
            hand_over.decline(arrival);
            // The dispatcher is to find its body going on.
            return cx.waker().wake_by_ref();
        };
        if let Some((stream, file)) = self.stream.take() {
            // It leaves this thread's event loop for the pump's.
            match stream.into_std() {
                Ok(stream) => place.take(stream, file, arrival),
                Err(err) => tracing::error!(%err, "a connection cannot be handed over"),
            }
        }
    }

    /// The connection, as long as it is here.
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

    /// The dispatcher flushes when its buffer is written to the last byte, and not before. An error is what ends it
    /// whatever else it holds: requests behind this one, or half of a body.
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
