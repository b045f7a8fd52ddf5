//! A request body that is streamed from pieces, so that the audio is never held or copied as part of a larger text:
//! as the base64 that it travels in, or as the bytes that it stands for.

use std::collections::VecDeque;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_rt::task::{JoinHandle, spawn_blocking};
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::audio::base64_reader::{BLOCK_BYTES, Base64Reader};
use crate::audio::text::{AudioText, TextAt};

/// Largest piece that is handed to the connection at once, in bytes: what is handed over is copied, and what is
/// stored is read, so this bounds the copies.
const PIECE_BYTES: usize = 64 * 1024;
/// The same for what is decoded: a whole number of the reader's blocks, so that none is decoded twice.
const DECODED_BYTES: usize = PIECE_BYTES / BLOCK_BYTES * BLOCK_BYTES;

/// A piece of a request body.
#[derive(Debug)]
pub struct BodyPiece(Piece);

#[derive(Debug)]
enum Piece {
    Held(Bytes),
    Read(Reading),
}

impl From<AudioText> for BodyPiece {
    fn from(text: AudioText) -> Self {
        Self(match text {
            AudioText::Held(bytes) => Piece::Held(bytes),
            AudioText::Stored { text, bytes } => Piece::Read(Reading::new(Source::Stored(text), bytes)),
        })
    }
}

impl From<Bytes> for BodyPiece {
    fn from(bytes: Bytes) -> Self {
        Self(Piece::Held(bytes))
    }
}

impl BodyPiece {
    /// The bytes that a base64 text stands for. Looks at the end of the text, where it blocks nobody, because the
    /// padding says how many they are; a text that is not base64 is found when it is sent.
    ///
    /// # Errors
    /// When the look did not come to an end.
    pub async fn decoded(text: AudioText) -> io::Result<Self> {
        let looked = text.clone();
        let bytes = spawn_blocking(move || Base64Reader::new(looked).decoded_len());
        let bytes = bytes.await.map_err(io::Error::other)?;
        Ok(Self(Piece::Read(Reading::new(Source::Encoded(text), bytes))))
    }
}

/// A request body made of pieces, each let go of as it is sent.
#[derive(Debug)]
pub struct PiecedBody {
    pieces: VecDeque<Piece>,
}

impl PiecedBody {
    /// A body of the given pieces, one after the other.
    pub fn new<P: Into<BodyPiece>>(pieces: impl IntoIterator<Item = P>) -> Self {
        let pieces = pieces.into_iter().map(|piece| piece.into().0);
        Self { pieces: pieces.filter(|piece| piece.left() > 0).collect() }
    }
}

impl Piece {
    fn left(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Read(reading) => reading.end - reading.at,
        }
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self {
            Self::Held(bytes) => Poll::Ready(Ok(bytes.split_to(bytes.len().min(PIECE_BYTES)))),
            Self::Read(reading) => reading.poll_take(cx),
        }
    }
}

/// Where a piece is read from while it is sent.
#[derive(Clone)]
enum Source {
    /// As it is stored.
    Stored(Arc<dyn TextAt>),
    /// Decoded on its way.
    Encoded(AudioText),
}

/// A piece on its way out.
struct Reading {
    source: Source,
    at: u64,
    end: u64,
    next: Option<JoinHandle<io::Result<Bytes>>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reading({}..{})", self.at, self.end)
    }
}

impl Reading {
    fn new(source: Source, bytes: u64) -> Self {
        Self { source, at: 0, end: bytes, next: None }
    }

    /// Reads where it blocks nobody.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let next = self.next.get_or_insert_with(|| {
            let (source, at, end) = (self.source.clone(), self.at, self.end);
            spawn_blocking(move || read(source, at, end))
        });
        let read = ready!(next.poll_unpin(cx));
        self.next = None;
        let bytes = read.map_err(io::Error::other)??;
        self.at += bytes.len() as u64;
        Poll::Ready(Ok(bytes))
    }
}

fn read(source: Source, at: u64, end: u64) -> io::Result<Bytes> {
    let most = match source {
        Source::Stored(_) => PIECE_BYTES,
        Source::Encoded(_) => DECODED_BYTES,
    };
    let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(most);
    let mut bytes = vec![0; wanted];
    match source {
        Source::Stored(text) => {
            if text.read_at(at, &mut bytes)? < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Source::Encoded(text) => {
            let mut reader = Base64Reader::new(text);
            reader.seek(SeekFrom::Start(at))?;
            reader.read_exact(&mut bytes)?;
        }
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
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

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

    #[actix_rt::test]
    async fn a_decoded_text_is_its_bytes_and_their_number_is_known_before() {
        for length in [0, 1, 2, 3, 3072, 64_511, 64_512, 64_513, 200_000_usize] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            let text = STANDARD.encode(&bytes);
            let stored =
                AudioText::Stored { bytes: text.len() as u64, text: Arc::new(Disk(text.clone().into())) };
            for text in [AudioText::Held(text.into()), stored] {
                let piece = BodyPiece::decoded(text).await.unwrap();
                let body = PiecedBody::new([
                    Bytes::from_static(b"<").into(),
                    piece,
                    Bytes::from_static(b">").into(),
                ]);
                assert_eq!(body.size(), BodySize::Sized(length as u64 + 2));
                let sent = actix_web::body::to_bytes(body).await.unwrap();
                assert!(sent == [b"<", bytes.as_slice(), b">"].concat(), "{length} bytes");
            }
        }
    }

    #[actix_rt::test]
    async fn a_text_that_cannot_be_decoded_is_an_error() {
        let cut = AudioText::Stored { text: Arc::new(Disk(b"QUJD".to_vec())), bytes: 8 };
        for text in [Bytes::from_static(b"QUJ").into(), Bytes::from_static(b"QU-_").into(), cut] {
            let body = PiecedBody::new([BodyPiece::decoded(text).await.unwrap()]);
            assert!(actix_web::body::to_bytes(body).await.is_err());
        }
    }
}
