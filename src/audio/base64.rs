//! Base64 as clients write it, decoded in place, in the buffer that received it.
//!
//! Nearly all clients write the standard form: its alphabet, padded, without white space. A SIMD library decodes that
//! directly. Other spellings are first rewritten in the same buffer. The library's own forgiving mode cannot replace
//! this: it does not know the URL-safe alphabet, and does not report what is wrong with a text and where.

use base64_simd::{STANDARD, forgiving_decode_inplace};
use bytes::{Bytes, BytesMut};

/// The reason why a text is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Base64Error {
    /// A `%`: a data URI with `;base64` is not percent-encoded.
    #[error("it is percent-encoded; send plain base64")]
    PercentEncoded,
    /// A character that is in neither alphabet.
    #[error("character {position} ({character:?}) is not in the base64 alphabet")]
    Character {
        /// The position of the character, counted from 0 in bytes.
        position: usize,
        /// The character.
        character: char,
    },
    /// A misplaced `=`, or a number of characters that no bytes encode to.
    #[error("its length or its padding is not that of base64; was it cut off?")]
    Length,
}

/// Returns the length of the base64 text of this many bytes, with padding.
#[must_use]
pub const fn base64_len(bytes: u64) -> u64 {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Decodes `text` in place. The bytes replace the text.
///
/// # Errors
/// [`Base64Error`] for a text that is valid in neither alphabet.
pub(super) fn decode(mut text: BytesMut) -> Result<Bytes, Base64Error> {
    // The check comes first: decoding destroys a text even if it fails halfway, so that it could not be rewritten or
    // explained.
    if STANDARD.check(&text).is_err() {
        let digits = rewrite(&mut text)?;
        text.truncate(digits);
    }
    // Some encoders leave arbitrary values in the last bits, which belong to no byte. They are ignored.
    let bytes = forgiving_decode_inplace(&mut text).map_err(|_| Base64Error::Length)?.len();
    text.truncate(bytes);
    Ok(text.freeze())
}

/// Moves the digits together, in the standard alphabet and without padding; returns how many there are.
fn rewrite(text: &mut [u8]) -> Result<usize, Base64Error> {
    let mut digits = 0;
    let mut padding = 0;
    for position in 0..text.len() {
        let Some(byte) = text.get(position).copied() else { break };
        let digit = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'=' => {
                padding += 1;
                continue;
            }
            b'-' => b'+',
            b'_' => b'/',
            b'+' | b'/' => byte,
            byte if byte.is_ascii_alphanumeric() => byte,
            b'%' => return Err(Base64Error::PercentEncoded),
            _ => {
                let rest = text.get(position..).unwrap_or_default();
                let character = String::from_utf8_lossy(rest.get(..rest.len().min(4)).unwrap_or_default())
                    .chars()
                    .next()
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
                return Err(Base64Error::Character { position, character });
            }
        };
        if padding > 0 {
            return Err(Base64Error::Length);
        }
        // The target is never beyond the position that was just read.
        if let Some(to) = text.get_mut(digits) {
            *to = digit;
        }
        digits += 1;
    }
    if padding > digits.next_multiple_of(4) - digits {
        return Err(Base64Error::Length);
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> Result<Bytes, Base64Error> {
        decode(BytesMut::from(text))
    }

    #[test]
    fn every_spelling_of_base64_is_decoded() {
        for (text, expected) in [
            ("TGVzcw==", &b"Less"[..]),
            ("-_-_", b"\xfb\xff\xbf"),
            ("+_-/", b"\xfb\xff\xbf"),
            ("TGVzcw", b"Less"),
            ("TGV zcw=\r\n", b"Less"),
            ("QR==", b"A"),
            ("QUJD\tREVG", b"ABCDEF"),
            ("", b""),
        ] {
            assert_eq!(decoded(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_text_is_decoded_in_place() {
        for (body, length) in [("\"-_-_\nQQ\"}", 7), ("\"QUJDRA==\"}", 8)] {
            let mut body = BytesMut::from(body);
            let mut text = body.split_off(1);
            text.truncate(length);
            let place = text.as_ptr();
            assert_eq!(decode(text).unwrap().as_ptr(), place);
        }
    }

    #[test]
    fn a_text_that_is_not_base64_is_refused_with_the_reason() {
        assert_eq!(decoded("QUJ%3D"), Err(Base64Error::PercentEncoded));
        assert_eq!(decoded("QU!J"), Err(Base64Error::Character { position: 2, character: '!' }));
        assert_eq!(decoded("QUé="), Err(Base64Error::Character { position: 2, character: 'é' }));
        assert_eq!(decoded("QU\x0cJ"), Err(Base64Error::Character { position: 2, character: '\x0c' }));
        for text in ["Q", "QQ===", "QQ=Q", "QUJD=", "="] {
            assert_eq!(decoded(text), Err(Base64Error::Length), "{text}");
        }
    }

    #[test]
    fn the_length_of_a_text_is_computed_from_its_bytes() {
        for bytes in 0..10 {
            assert_eq!(base64_len(bytes), BASE64.encode(vec![0; bytes as usize]).len() as u64);
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_the_same_bytes_decodes_to_them(bytes: Vec<u8>, gap in 1usize..9) {
            let standard = BASE64.encode(&bytes);
            let folded = standard.as_bytes().chunks(gap).map(|part| std::str::from_utf8(part).unwrap())
                .collect::<Vec<_>>().join("\n");
            for text in [standard, URL_SAFE_NO_PAD.encode(&bytes), folded] {
                prop_assert_eq!(decoded(&text).unwrap(), &bytes);
            }
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in "[A-Za-z0-9+/_= \n-]{0,24}") {
            let _ = decoded(&text);
        }
    }
}
