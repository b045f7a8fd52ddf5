//! A request body that tells how much of it has been handed to the connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use awc::body::{BodySize, MessageBody};
use bytes::Bytes;

/// Largest piece that is handed over at once, in bytes: it is how finely progress is seen.
const PIECE_BYTES: usize = 32 * 1024;

/// How far an upload is; shared with those who show it.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    bytes: Rc<Cell<u64>>,
    may_be_taken: Rc<Cell<bool>>,
}

impl Sent {
    /// The bytes of the present try that have been handed to the connection.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Has a try been sent to its end, so that the server may have taken it for all that is known?
    #[must_use]
    pub fn may_be_taken(&self) -> bool {
        self.may_be_taken.get()
    }

    /// The server has said of every try that it did not take it.
    pub fn was_refused(&self) {
        self.may_be_taken.set(false);
    }
}

/// The body.
#[derive(Debug)]
pub struct Upload {
    rest: Bytes,
    sent: Sent,
}

impl Upload {
    /// A fresh try to send `body`.
    #[must_use]
    pub fn new(body: Bytes, sent: Sent) -> Self {
        sent.bytes.set(0);
        Self { rest: body, sent }
    }
}

impl MessageBody for Upload {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let most = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(most);
        self.sent.bytes.set(self.sent.bytes.get() + piece.len() as u64);
        if self.rest.is_empty() {
            self.sent.may_be_taken.set(true);
        }
        Poll::Ready(Some(Ok(piece)))
    }
}
