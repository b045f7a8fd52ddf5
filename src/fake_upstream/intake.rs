//! Receives requests: bodies up to a limit, audio that is only counted, large bodies checked on another thread.

use actix_web::web;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

/// Largest body, in bytes.
pub(super) const MOST_BODY_BYTES: usize = 64 << 20;
/// Bodies of this size and above are checked on a thread of their own, so that the worker's streams go on.
const LARGE_BYTES: usize = 256 * 1024;
/// Number of base64 digits that are decoded together.
const PIECE: usize = 4096;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// The body is larger than [`MOST_BODY_BYTES`].
    TooLarge,
    /// The body was cut off: no client waits for an answer.
    BrokenOff,
}

/// Reads a whole body.
pub(super) async fn read(payload: web::Payload) -> Result<Bytes, BodyError> {
    match payload.to_bytes_limited(MOST_BODY_BYTES).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(BodyError::BrokenOff),
        Err(_) => Err(BodyError::TooLarge),
    }
}

/// Checks a body. Returns `None` if the process is about to end.
pub(super) async fn examine<T: Send + 'static>(body: Bytes, look: fn(&[u8]) -> T) -> Option<T> {
    if body.len() < LARGE_BYTES { Some(look(&body)) } else { web::block(move || look(&body)).await.ok() }
}

/// The allowed forms of base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// The standard alphabet with its padding.
    Standard,
    /// Either alphabet, with padding or without, as Google accepts it.
    Any,
}

/// Returns how many bytes a base64 text encodes; `None` if it is not base64. Nothing is stored.
pub(super) fn decoded_bytes(text: &str, spelling: Spelling) -> Option<u64> {
    const fn engine(alphabet: &base64::alphabet::Alphabet, padding: DecodePaddingMode) -> GeneralPurpose {
        GeneralPurpose::new(alphabet, GeneralPurposeConfig::new().with_decode_padding_mode(padding))
    }
    let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = match spelling {
        Spelling::Standard => engine(&STANDARD, DecodePaddingMode::RequireCanonical),
        Spelling::Any if url_safe => engine(&URL_SAFE, DecodePaddingMode::Indifferent),
        Spelling::Any => engine(&STANDARD, DecodePaddingMode::Indifferent),
    };
    let mut scratch = [0; PIECE];
    let mut pieces = text.as_bytes().chunks(PIECE).peekable();
    let mut bytes = 0;
    while let Some(piece) = pieces.next() {
        // Padding may only end the text, but the decoder sees one piece at a time.
        if pieces.peek().is_some() && piece.ends_with(b"=") {
            return None;
        }
        bytes += engine.decode_slice(piece, &mut scratch).ok()? as u64;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;

    #[test]
    fn audio_of_any_length_is_counted() {
        for length in [0, 1, 2, 3, 3071, 3072, 3073, 10_000] {
            let text = BASE64.encode(vec![0xfb; length]);
            assert_eq!(decoded_bytes(&text, Spelling::Standard), Some(length as u64));
            let other = text.replace('+', "-").replace('/', "_");
            assert_eq!(decoded_bytes(other.trim_end_matches('='), Spelling::Any), Some(length as u64));
        }
    }

    #[test]
    fn text_that_is_not_base64_has_no_length() {
        let interrupted = format!("{}=={}", "A".repeat(PIECE - 2), "AAAA");
        for text in ["A", "AA", "AA=A", "A!AA", "AA-_", "data:audio/wav;base64,AAAA", &interrupted] {
            assert_eq!(decoded_bytes(text, Spelling::Standard), None, "{text}");
        }
        assert_eq!(decoded_bytes("A+-_", Spelling::Any), None);
    }
}
