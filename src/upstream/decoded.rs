//! Decompresses response bodies. hearken does not request compression, but a proxy in front of the upstream may add it.
//!
//! gzip is recognised by its first bytes, because such proxies may add or omit the header. `deflate` is recognised by
//! the header alone. A compressed body is unpacked in small steps, so that a few bytes never take much memory at once,
//! and only up to a total limit.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use awc::error::PayloadError;
use awc::http::header::{self, HeaderMap};
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures_util::{Stream, StreamExt};

use super::reading::ResponseBody;

/// Compressed bytes that are unpacked at once. One byte of deflate becomes at most about 1,030 bytes.
const STEP_BYTES: usize = 256;
/// Most bytes that a compressed body may become. No answer is nearly as long.
const MAX_BYTES: u64 = 512 << 20;
/// The first two bytes of a gzip file (RFC 1952, section 2.3.1). No JSON, event stream or text begins with them.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The error of a compressed body that becomes longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a compressed response of more than {MAX_BYTES} bytes")]
pub(super) struct TooMuch;

/// Returns the name of a compression that hearken cannot undo. Unknown names are ignored, because servers send them for
/// bodies without compression.
#[must_use]
pub(super) fn unknown_coding(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(header::CONTENT_ENCODING)?.to_str().ok()?.trim();
    ["br", "zstd", "compress"].into_iter().find(|name| value.eq_ignore_ascii_case(name))
}

/// Returns the body without its compression.
#[must_use]
pub(super) fn decoded(headers: &HeaderMap, body: ResponseBody) -> ResponseBody {
    decoded_up_to(MAX_BYTES, headers, body)
}

fn decoded_up_to(most: u64, headers: &HeaderMap, body: ResponseBody) -> ResponseBody {
    let value = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    let is_deflate = value.is_some_and(|value| value.eq_ignore_ascii_case(b"deflate"));
    let state = State::Unknown { is_deflate, head: Vec::new() };
    Decoded { body, state, packed: Bytes::new(), left: most, has_ended: false }.boxed_local()
}

struct Decoded {
    body: ResponseBody,
    state: State,
    /// Bytes that have arrived and are not unpacked yet.
    packed: Bytes,
    /// Most bytes that may still be unpacked.
    left: u64,
    has_ended: bool,
}

enum State {
    /// Too few bytes have arrived to recognise the compression.
    Unknown {
        is_deflate: bool,
        head: Vec<u8>,
    },
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Deflate(Box<DeflateDecoder<Vec<u8>>>),
}

impl State {
    /// Recognises the compression by the first two bytes.
    fn of(is_deflate: bool, head: &[u8]) -> Self {
        match head {
            [first, second, ..] if [*first, *second] == GZIP => {
                Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
            }
            _ if !is_deflate => Self::Plain,
            // Servers send deflate both with and without the wrapping of RFC 1950.
            [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0 => {
                Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
            }
            _ => Self::Deflate(Box::new(DeflateDecoder::new(Vec::new()))),
        }
    }

    /// Unpacks one step. The decoder is flushed, so that data that the sender flushed can be read now.
    fn unpack(&mut self, packed: &[u8]) -> io::Result<Vec<u8>> {
        fn take(decoder: &mut (impl Write + ?Sized), packed: &[u8]) -> io::Result<()> {
            decoder.write_all(packed)?;
            decoder.flush()
        }
        match self {
            Self::Unknown { .. } | Self::Plain => Ok(packed.to_vec()),
            Self::Gzip(decoder) => take(decoder, packed).map(|()| std::mem::take(decoder.get_mut())),
            Self::Zlib(decoder) => take(decoder, packed).map(|()| std::mem::take(decoder.get_mut())),
            Self::Deflate(decoder) => take(decoder, packed).map(|()| std::mem::take(decoder.get_mut())),
        }
    }

    /// Unpacks the rest at the end of the body.
    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Unknown { head, .. } => Ok(std::mem::take(head)),
            Self::Plain => Ok(Vec::new()),
            Self::Gzip(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Self::Zlib(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Self::Deflate(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
        }
    }
}

impl Decoded {
    /// Takes the bytes of one read.
    fn take(&mut self, piece: Bytes) {
        self.packed = piece;
        if let State::Unknown { is_deflate, head } = &mut self.state {
            head.extend_from_slice(&self.packed);
            self.packed.clear();
            if head.len() >= GZIP.len() {
                self.packed = std::mem::take(head).into();
                self.state = State::of(*is_deflate, &self.packed);
            }
        }
    }

    /// Unpacks the next step, or the rest at the end of the body.
    fn step(&mut self) -> Result<Bytes, PayloadError> {
        if let State::Plain = self.state {
            return Ok(std::mem::take(&mut self.packed));
        }
        let unpacked = if self.packed.is_empty() {
            self.state.finish()
        } else {
            let step = self.packed.split_to(self.packed.len().min(STEP_BYTES));
            self.state.unpack(&step)
        };
        let unpacked = unpacked.map_err(PayloadError::Io)?;
        let left = self.left.checked_sub(unpacked.len() as u64);
        self.left = left.ok_or_else(|| PayloadError::Io(io::Error::other(TooMuch)))?;
        Ok(unpacked.into())
    }
}

impl Stream for Decoded {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.packed.is_empty() {
                if this.has_ended {
                    return Poll::Ready(None);
                }
                match ready!(this.body.poll_next_unpin(cx)) {
                    Some(Ok(piece)) => this.take(piece),
                    Some(Err(err)) => return Poll::Ready(Some(Err(err))),
                    None => this.has_ended = true,
                }
                if this.packed.is_empty() && !this.has_ended {
                    continue;
                }
            }
            match this.step() {
                Ok(unpacked) if unpacked.is_empty() => {}
                unpacked => return Poll::Ready(Some(unpacked)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use futures_util::stream;

    use super::*;

    fn headers(coding: &'static str) -> HeaderMap {
        [(header::CONTENT_ENCODING, header::HeaderValue::from_static(coding))].into_iter().collect()
    }

    /// Returns the outcome of a body that is read in pieces of the given size.
    fn read(coding: &'static str, body: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let pieces: Vec<_> = body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let whole = decoded(&headers(coding), stream::iter(pieces).boxed_local()).collect::<Vec<_>>();
        let pieces = futures_util::FutureExt::now_or_never(whole).unwrap();
        pieces
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map(|all| all.concat())
            .map_err(|err| err.to_string())
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn bodies_are_unpacked_whatever_the_header_says() {
        let text = "data: {\"a\":1}\n\n".repeat(50_000).into_bytes();
        let (mut zlib, mut deflate) = (
            ZlibEncoder::new(Vec::new(), Compression::fast()),
            DeflateEncoder::new(Vec::new(), Compression::best()),
        );
        zlib.write_all(&text).unwrap();
        deflate.write_all(&text).unwrap();
        for (coding, body) in [
            ("gzip", gzip(&text)),
            ("x-gzip", gzip(&text)),
            ("identity", gzip(&text)),
            ("gzip", text.clone()),
            ("none", text.clone()),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", deflate.finish().unwrap()),
            ("gzip", [gzip(&text[..100]), gzip(&text[100..])].concat()),
        ] {
            for piece in [1, 700, usize::MAX] {
                assert!(read(coding, &body, piece) == Ok(text.clone()), "{coding} in pieces of {piece}");
            }
        }
        assert_eq!(read("gzip", b"", 1), Ok(Vec::new()));
        assert_eq!(read("gzip", b"x", 1), Ok(b"x".to_vec()));
    }

    #[test]
    fn flushed_data_is_read_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: x\n\n").unwrap();
        encoder.flush().unwrap();
        let flushed = Bytes::from(encoder.get_ref().clone());
        let body = stream::iter([Ok(flushed)]).chain(stream::pending()).boxed_local();
        let mut decoded = decoded(&headers("gzip"), body);
        let first = futures_util::FutureExt::now_or_never(decoded.next()).unwrap();
        assert_eq!(first.unwrap().unwrap(), "data: x\n\n");
    }

    #[test]
    fn a_cut_or_damaged_body_is_an_error() {
        let whole = gzip(b"some words that are compressed");
        assert!(read("gzip", &whole[..whole.len() - 9], 7).is_err());
        let mut damaged = whole;
        damaged[14] ^= 0xff;
        assert!(read("gzip", &damaged, 7).is_err());
    }

    #[test]
    fn a_compression_bomb_is_unpacked_in_small_steps_up_to_a_bound() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let most = 3 << 20;
        encoder.write_all(&vec![0; 4 << 20]).unwrap();
        let bomb = Bytes::from(encoder.finish().unwrap());
        let mut decoded = decoded_up_to(most, &headers("gzip"), stream::iter([Ok(bomb)]).boxed_local());
        let (mut longest, mut total) = (0, 0);
        let end = loop {
            match futures_util::FutureExt::now_or_never(decoded.next()).unwrap() {
                Some(Ok(piece)) => {
                    longest = longest.max(piece.len());
                    total += piece.len() as u64;
                }
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(err)) if err.to_string().contains("more than")));
        assert!(longest <= STEP_BYTES * 1100 && total <= most, "{longest}, {total}");
    }
}
