//! The body of a submit, which counts its bytes as the connection takes them.

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
pub struct UploadProgress {
    bytes: Rc<Cell<u64>>,
    may_be_accepted: Rc<Cell<bool>>,
}

impl UploadProgress {
    /// Returns the number of bytes of the current attempt that the connection has taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Returns true once an attempt was sent to its end, so that the server may have accepted it.
    #[must_use]
    pub fn may_be_accepted(&self) -> bool {
        self.may_be_accepted.get()
    }

    /// Records that the server has refused every attempt.
    pub fn record_refusal(&self) {
        self.may_be_accepted.set(false);
    }
}

/// The request body.
#[derive(Debug)]
pub(super) struct Upload {
    rest: Pieces,
    sent: UploadProgress,
}

impl Upload {
    /// Starts a new attempt to send `body`.
    #[must_use]
    pub(super) fn new(body: Bytes, sent: UploadProgress) -> Self {
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
                self.sent.may_be_accepted.set(true);
            }
        }
        piece
    }
}
