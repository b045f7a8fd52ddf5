//! A request body that counts the bytes handed to the connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use awc::body::{BodySize, MessageBody};
use bytes::Bytes;

use crate::net::Pieces;

/// The progress of an upload, shared with the display.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    bytes: Rc<Cell<u64>>,
    may_be_taken: Rc<Cell<bool>>,
}

impl Sent {
    /// Returns the bytes of the current attempt that were handed to the connection.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Returns true once an attempt was sent to its end, so that the server may have accepted it.
    #[must_use]
    pub fn may_be_taken(&self) -> bool {
        self.may_be_taken.get()
    }

    /// Records that the server has refused every attempt.
    pub fn was_refused(&self) {
        self.may_be_taken.set(false);
    }
}

/// The request body.
#[derive(Debug)]
pub(super) struct Upload {
    rest: Pieces,
    sent: Sent,
}

impl Upload {
    /// Starts a new attempt to send `body`.
    #[must_use]
    pub(super) fn new(body: Bytes, sent: Sent) -> Self {
        sent.bytes.set(0);
        Self { rest: Pieces::of(body), sent }
    }
}

impl MessageBody for Upload {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.rest.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = Pin::new(&mut self.rest).poll_next(context);
        if let Poll::Ready(Some(Ok(piece))) = &piece {
            self.sent.bytes.set(self.sent.bytes.get() + piece.len() as u64);
            if self.rest.size().is_eof() {
                self.sent.may_be_taken.set(true);
            }
        }
        piece
    }
}
