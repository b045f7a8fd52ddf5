//! A body that is compressed with gzip piece by piece, as by a proxy that compresses everything.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::body::{Closed, Playback};

/// The compressed body of one answer.
#[derive(Debug)]
pub(super) struct Zipped {
    body: Playback,
    /// `None` after the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Zipped {
    pub(super) fn new(body: Playback) -> Self {
        Self { body, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }

    /// Compresses a piece so that the client can decode all of it at once. The end of the body ends the gzip file.
    fn pack(&mut self, piece: Option<&Bytes>) -> io::Result<Bytes> {
        match (&mut self.encoder, piece) {
            (Some(encoder), Some(piece)) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()).into())
            }
            (encoder, _) => encoder.take().map_or(Ok(Vec::new()), GzEncoder::finish).map(Bytes::from),
        }
    }
}

impl MessageBody for Zipped {
    type Error = Closed;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Closed>>> {
        if self.encoder.is_none() {
            return Poll::Ready(None);
        }
        let piece = match ready!(Pin::new(&mut self.body).poll_next(cx)) {
            Some(Ok(piece)) => Some(piece),
            Some(Err(closed)) => return Poll::Ready(Some(Err(closed))),
            None => None,
        };
        // Writing to memory does not fail.
        Poll::Ready(Some(self.pack(piece.as_ref()).map_err(|_| Closed)))
    }
}
