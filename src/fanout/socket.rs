//! The connections of the plain TCP listener, which a response's body can take away from the HTTP server.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pump::{Arrival, PumpHandle};
use crate::config::StreamConfig;

/// A plain TCP connection. Once its stream was handed over it reads as closed.
#[derive(Debug)]
pub struct Socket {
    stream: Option<TcpStream>,
    hand_over: Option<Rc<HandOver>>,
    send_timeout: Duration,
    /// Since when the client takes nothing of what is written.
    full_since: Option<Instant>,
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

    fn take_asked(&self) -> Option<(PumpHandle, Box<Arrival>)> {
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
    pub fn new(stream: TcpStream, config: StreamConfig) -> Self {
        let hand_over = config.hand_over.then(Rc::default);
        Self { stream: Some(stream), hand_over, send_timeout: config.send_timeout, full_since: None }
    }

    /// By what its requests' handlers can take its stream away.
    #[must_use]
    pub fn hand_over(&self) -> Option<Rc<HandOver>> {
        self.hand_over.clone()
    }

    /// Everything is written: hands over what was asked for.
    fn leave(&mut self, cx: &Context<'_>) {
        let Some(hand_over) = &self.hand_over else { return };
        let Some((pump, arrival)) = hand_over.take_asked() else { return };
        match pump.place() {
            Some(place) => {
                if let Some(stream) = self.stream.take() {
                    // It leaves this thread's event loop for the pump's.
                    match stream.into_std() {
                        Ok(stream) => place.take(stream, arrival),
                        Err(err) => tracing::error!(%err, "a connection cannot be handed over"),
                    }
                }
            }
            None => hand_over.decline(arrival),
        }
        // The dispatcher is to find the connection closed, or its body to go on.
        cx.waker().wake_by_ref();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Socket {
    /// Fails once the client has taken nothing for too long. Whoever waits for it is woken by each event and each
    /// keep-alive comment of a stream.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let written = Pin::new(stream).poll_write(cx, buf);
        if written.is_ready() {
            this.full_since = None;
        } else if this.full_since.get_or_insert_with(Instant::now).elapsed() >= this.send_timeout {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    /// The dispatcher flushes when its buffer is written to the last byte, and not before.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stream) = &mut self.stream {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.leave(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl ActixStream for Socket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.stream {
            Some(stream) => ActixStream::poll_read_ready(stream, cx),
            None => Poll::Ready(Ok(Ready::READ_CLOSED)),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.stream {
            Some(stream) => ActixStream::poll_write_ready(stream, cx),
            None => Poll::Ready(Ok(Ready::WRITE_CLOSED)),
        }
    }
}
