//! A request body that is streamed from pieces. The audio is never held or copied as part of a larger text. It is sent
//! as its bytes, or as base64 text that is made while it is sent.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::task::{JoinHandle, spawn_blocking};
use actix_web::body::{BodySize, MessageBody};
use base64_simd::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;

use crate::audio::{AudioBytes, base64_len};

/// Largest piece that is handed to the connection at once, in bytes. The connection copies each piece, and stored audio
/// is read piece by piece, so this bounds the copies.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes of audio in one piece of base64 text. A multiple of three, so that the text has no padding before its end.
const ENCODED_BYTES: usize = PIECE_BYTES / 4 * 3;

/// A piece of a request body.
#[derive(Debug)]
pub(super) struct BodyPiece(PieceSource);

/// The source of a piece's bytes.
#[derive(Debug)]
enum PieceSource {
    Held(Bytes),
    Audio(AudioReading),
}

impl From<Bytes> for BodyPiece {
    fn from(bytes: Bytes) -> Self {
        Self(PieceSource::Held(bytes))
    }
}

impl BodyPiece {
    /// Returns a piece that sends the audio as it is.
    #[must_use]
    pub(super) fn plain(audio: AudioBytes) -> Self {
        Self(PieceSource::Audio(AudioReading::new(audio, AudioForm::Plain)))
    }

    /// Returns a piece that sends the audio as base64 text.
    #[must_use]
    pub(super) fn base64(audio: AudioBytes) -> Self {
        Self(PieceSource::Audio(AudioReading::new(audio, AudioForm::Base64)))
    }
}

/// A request body made of pieces. Each piece is released when it has been sent.
#[derive(Debug)]
pub(super) struct PiecedBody {
    pieces: VecDeque<PieceSource>,
}

impl PiecedBody {
    /// Returns a body of the given pieces, one after the other.
    pub(super) fn new<P: Into<BodyPiece>>(pieces: impl IntoIterator<Item = P>) -> Self {
        let pieces = pieces.into_iter().map(|piece| piece.into().0);
        Self { pieces: pieces.filter(|piece| piece.left() > 0).collect() }
    }
}

impl PieceSource {
    fn left(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Audio(reading) => reading.left(),
        }
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self {
            Self::Held(bytes) => Poll::Ready(Ok(bytes.split_to(bytes.len().min(PIECE_BYTES)))),
            Self::Audio(reading) => reading.poll_take(cx),
        }
    }
}

/// The form in which audio is sent.
#[derive(Debug, Clone, Copy)]
enum AudioForm {
    Plain,
    Base64,
}

/// Audio that is being sent.
struct AudioReading {
    audio: AudioBytes,
    form: AudioForm,
    /// The offset of the next byte of the audio.
    at: u64,
    next: Option<JoinHandle<io::Result<Bytes>>>,
}

impl std::fmt::Debug for AudioReading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AudioReading({:?} of {:?} from {})", self.form, self.audio, self.at)
    }
}

impl AudioReading {
    fn new(audio: AudioBytes, form: AudioForm) -> Self {
        Self { audio, form, at: 0, next: None }
    }

    fn left(&self) -> u64 {
        let bytes = self.audio.len() - self.at;
        match self.form {
            AudioForm::Plain => bytes,
            AudioForm::Base64 => base64_len(bytes),
        }
    }

    /// Takes the next piece. Stored audio is read on a thread that may block.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let most = match self.form {
            AudioForm::Plain => PIECE_BYTES,
            AudioForm::Base64 => ENCODED_BYTES,
        };
        let (at, form) = (self.at, self.form);
        let count = usize::try_from(self.audio.len() - at).unwrap_or(usize::MAX).min(most);
        let piece = if let AudioBytes::Held(_) = self.audio {
            piece(&self.audio, form, at, count)
        } else {
            let next = self.next.get_or_insert_with(|| {
                let audio = self.audio.clone();
                spawn_blocking(move || piece(&audio, form, at, count))
            });
            let read = ready!(next.poll_unpin(cx));
            self.next = None;
            read.map_err(io::Error::other)?
        };
        self.at += count as u64;
        Poll::Ready(piece)
    }
}

fn piece(audio: &AudioBytes, form: AudioForm, at: u64, count: usize) -> io::Result<Bytes> {
    let bytes = audio.piece(at, count)?;
    Ok(match form {
        AudioForm::Plain => bytes,
        AudioForm::Base64 => STANDARD.encode_type::<Vec<u8>>(bytes).into(),
    })
}

impl MessageBody for PiecedBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.pieces.iter().map(PieceSource::left).sum())
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
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::audio::{Disk, both};

    #[actix_rt::test]
    async fn a_body_sends_its_pieces_in_order() {
        let held = Bytes::from(vec![b'x'; 150_000]);
        let pieces = [Bytes::from_static(b"{\""), Bytes::new(), held.clone(), Bytes::from_static(b"\"}")];
        let body = PiecedBody::new(pieces);
        assert_eq!(body.size(), BodySize::Sized(150_004));
        let expected = [b"{\"".as_slice(), &held, b"\"}"].concat();
        assert_eq!(actix_web::body::to_bytes(body).await.unwrap(), expected);
    }

    #[actix_rt::test]
    async fn stored_audio_that_is_cut_off_is_an_error() {
        let audio = AudioBytes::Stored { source: Arc::new(Disk(vec![b'x'; 100].into())), len: 101 };
        for piece in [BodyPiece::plain(audio.clone()), BodyPiece::base64(audio)] {
            assert!(actix_web::body::to_bytes(PiecedBody::new([piece])).await.is_err());
        }
    }

    #[actix_rt::test]
    async fn audio_is_sent_plain_or_as_base64_with_a_known_length() {
        for length in [0, 1, 2, 3, 49_151, 49_152, 49_153, 65_536, 65_537, 200_000_usize] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            for audio in both(bytes.clone()) {
                let forms = [
                    (BodyPiece::plain(audio.clone()), bytes.clone()),
                    (BodyPiece::base64(audio), BASE64.encode(&bytes).into_bytes()),
                ];
                for (piece, expected) in forms {
                    let around = [Bytes::from_static(b"<").into(), piece, Bytes::from_static(b">").into()];
                    let body = PiecedBody::new(around);
                    assert_eq!(body.size(), BodySize::Sized(expected.len() as u64 + 2));
                    let sent = actix_web::body::to_bytes(body).await.unwrap();
                    assert!(sent == [b"<", expected.as_slice(), b">"].concat(), "{length} bytes");
                }
            }
        }
    }
}
