//! Bodies that are completely in memory, and are passed to the connection piece by piece.
//!
//! The HTTP/1 server copies each piece into the connection's buffer, and polls for the next piece when the buffer is
//! nearly written. So a client that does not read causes a copy of only one piece; all clients share the rest. The
//! pieces of an upload also show its progress.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_http::body::{BodySize, MessageBody};
use bytes::Bytes;

/// Most bytes of a piece.
pub const PIECE: usize = 16 * 1024;

/// A body of known length. It offers its bytes only in pieces, because the HTTP server would copy a whole body at once.
#[derive(Debug)]
pub struct Pieces {
    rest: Bytes,
}

impl Pieces {
    /// Makes a body of these bytes, which are not copied.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        Self { rest: bytes.into() }
    }
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}
