//! A request body that is streamed from pieces, so that the audio is never held or copied as part of a larger text.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_rt::task::{JoinHandle, spawn_blocking};
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::audio::text::{AudioText, TextAt};

/// Largest piece that is handed to the connection at once, in bytes: what is handed over is copied, and what is
/// stored is read, so this bounds the copies.
const PIECE_BYTES: usize = 64 * 1024;

/// A request body made of pieces, each let go of as it is sent.
#[derive(Debug)]
pub struct PiecedBody {
    pieces: VecDeque<Piece>,
}

#[derive(Debug)]
enum Piece {
    Held(Bytes),
    Stored(Reading),
}

/// A stored text on its way out.
struct Reading {
    text: Arc<dyn TextAt>,
    at: u64,
    end: u64,
    next: Option<JoinHandle<io::Result<Bytes>>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reading({}..{})", self.at, self.end)
    }
}

impl PiecedBody {
    /// A body of the given pieces, one after the other.
    pub fn new(pieces: impl IntoIterator<Item = AudioText>) -> Self {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).map(|piece| match piece {
            AudioText::Held(bytes) => Piece::Held(bytes),
            AudioText::Stored { text, bytes } => {
                Piece::Stored(Reading { text, at: 0, end: bytes, next: None })
            }
        });
        Self { pieces: pieces.collect() }
    }
}

impl Piece {
    fn left(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Stored(reading) => reading.end - reading.at,
        }
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self {
            Self::Held(bytes) => Poll::Ready(Ok(bytes.split_to(bytes.len().min(PIECE_BYTES)))),
            Self::Stored(reading) => reading.poll_take(cx),
        }
    }
}

impl Reading {
    /// Reads where it blocks nobody.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let next = self.next.get_or_insert_with(|| {
            let (text, at, end) = (Arc::clone(&self.text), self.at, self.end);
            spawn_blocking(move || read(&*text, at, end))
        });
        let read = ready!(next.poll_unpin(cx));
        self.next = None;
        let bytes = read.map_err(io::Error::other)??;
        self.at += bytes.len() as u64;
        Poll::Ready(Ok(bytes))
    }
}

fn read(text: &dyn TextAt, at: u64, end: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
    let mut bytes = vec![0; wanted];
    if text.read_at(at, &mut bytes)? < wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.into())
}

impl MessageBody for PiecedBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.pieces.iter().map(Piece::left).sum())
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Some(front) = self.pieces.front_mut() else { return Poll::Ready(None) };
        let bytes = ready!(front.poll_take(cx))?;
        if front.left() == 0 {
            self.pieces.pop_front();
        }
        Poll::Ready(Some(Ok(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Disk(Vec<u8>);

    impl TextAt for Disk {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            AudioText::Held(self.0.clone().into()).read_at(offset, buf)
        }
    }

    #[actix_rt::test]
    async fn a_body_of_pieces_is_the_pieces_in_order() {
        let held = Bytes::from(vec![b'x'; 150_000]);
        let stored: Vec<u8> = (0..150_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
        let pieces = [
            Bytes::from_static(b"{\"").into(),
            Bytes::new().into(),
            held.clone().into(),
            AudioText::Stored { text: Arc::new(Disk(stored.clone())), bytes: 150_000 },
            Bytes::from_static(b"\"}").into(),
        ];
        let body = PiecedBody::new(pieces);
        assert_eq!(body.size(), BodySize::Sized(300_004));
        let expected = [b"{\"".as_slice(), &held, &stored, b"\"}"].concat();
        assert_eq!(actix_web::body::to_bytes(body).await.unwrap(), expected);
    }

    #[actix_rt::test]
    async fn a_stored_text_that_is_cut_off_is_an_error() {
        let text = AudioText::Stored { text: Arc::new(Disk(vec![b'x'; 100])), bytes: 101 };
        assert!(actix_web::body::to_bytes(PiecedBody::new([text])).await.is_err());
    }
}
