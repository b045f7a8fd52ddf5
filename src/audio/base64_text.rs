//! Base64 as clients write it, normalised to what upstreams take: the standard alphabet, padded, no white space.
//!
//! Nearly all clients write exactly that already; then the text is checked and passed on as the slice of the
//! request body that it is. Only other spellings are written anew. Nothing is decoded here.

use bytes::Bytes;

/// Why a text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    /// A `%`: a data URI with `;base64` is not percent-encoded.
    #[error("it is percent-encoded; send plain base64")]
    PercentEncoded,
    /// A character outside both alphabets.
    #[error("character {position} ({character:?}) is not of the base64 alphabet")]
    Character {
        /// Where it stands, counted from 0 in bytes.
        position: usize,
        /// What stands there.
        character: char,
    },
    /// `=` where it cannot stand, or a number of characters that no bytes encode to.
    #[error("its length or its padding is not that of base64; was it cut?")]
    Length,
}

/// Six bits for each byte of either alphabet; the rest is marked.
const SEXTETS: [u8; 256] = sextets();
const OTHER: u8 = 0xff;
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const fn sextets() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut value = 0;
    while value < 64 {
        table[STANDARD[value] as usize] = value as u8;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
}

fn sextet(byte: u8) -> u8 {
    SEXTETS[usize::from(byte)]
}

/// Normalises `text`, without a copy where it is in the standard form already.
///
/// # Errors
/// [`Base64Error`] for a text that neither alphabet explains.
pub fn normalise(text: Bytes) -> Result<Bytes, Base64Error> {
    if is_canonical(&text) {
        return Ok(text);
    }
    rewrite(&text).map(Bytes::from)
}

/// Is it the standard alphabet, padded to a multiple of four, with no bits to spare?
fn is_canonical(text: &[u8]) -> bool {
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding).unwrap_or_default();
    text.len().is_multiple_of(4)
        && digits.iter().all(|byte| sextet(*byte) != OTHER && *byte != b'-' && *byte != b'_')
        && spare_bits(digits) == Some(0)
}

/// The unused bits of the last digit; `None` where no bytes encode to this number of digits.
fn spare_bits(digits: &[u8]) -> Option<u8> {
    let mask = match digits.len() % 4 {
        0 => 0,
        2 => 0b1111,
        3 => 0b11,
        _ => return None,
    };
    Some(digits.last().map_or(0, |last| sextet(*last) & mask))
}

fn rewrite(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    let mut digits = Vec::with_capacity(text.len().next_multiple_of(4));
    let mut padding = 0;
    for (position, byte) in text.iter().enumerate() {
        match *byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'=' => padding += 1,
            b'%' => return Err(Base64Error::PercentEncoded),
            byte if sextet(byte) == OTHER => {
                let rest = text.get(position..).unwrap_or_default();
                let character = String::from_utf8_lossy(rest.get(..rest.len().min(4)).unwrap_or_default())
                    .chars()
                    .next()
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
                return Err(Base64Error::Character { position, character });
            }
            _ if padding > 0 => return Err(Base64Error::Length),
            byte => digits.push(STANDARD[usize::from(sextet(byte))]),
        }
    }
    let spare = spare_bits(&digits).ok_or(Base64Error::Length)?;
    let wanted = digits.len().next_multiple_of(4) - digits.len();
    if padding > wanted {
        return Err(Base64Error::Length);
    }
    // Some encoders leave rubbish in the bits that no byte uses; strict decoders upstream refuse that.
    if let Some(last) = digits.last_mut() {
        *last = STANDARD[usize::from(sextet(*last) & !spare)];
    }
    digits.resize(digits.len() + wanted, b'=');
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn normalised(text: &str) -> Result<String, Base64Error> {
        normalise(Bytes::copy_from_slice(text.as_bytes()))
            .map(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn the_standard_form_is_passed_on_without_a_copy() {
        let text = Bytes::from_static(b"TGVzcw==");
        assert_eq!(normalise(text.clone()).unwrap().as_ptr(), text.as_ptr());
    }

    #[test]
    fn other_spellings_are_rewritten() {
        for (text, expected) in [
            ("-_-_", "+/+/"),
            ("TGVzcw", "TGVzcw=="),
            ("TGV zcw=\r\n", "TGVzcw=="),
            ("QR==", "QQ=="),
            ("", ""),
        ] {
            assert_eq!(normalised(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_base64_is_refused_with_the_reason() {
        assert_eq!(normalised("QUJ%3D"), Err(Base64Error::PercentEncoded));
        assert_eq!(normalised("QU!J"), Err(Base64Error::Character { position: 2, character: '!' }));
        assert_eq!(normalised("QUé="), Err(Base64Error::Character { position: 2, character: 'é' }));
        for text in ["Q", "QQ===", "QQ=Q", "QUJD=", "="] {
            assert_eq!(normalised(text), Err(Base64Error::Length), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_the_same_bytes_becomes_the_same_text(bytes: Vec<u8>, gap in 1usize..9) {
            let expected = BASE64.encode(&bytes);
            let folded = expected.as_bytes().chunks(gap).map(|part| std::str::from_utf8(part).unwrap())
                .collect::<Vec<_>>().join("\n");
            for text in [expected.clone(), URL_SAFE_NO_PAD.encode(&bytes), folded] {
                prop_assert_eq!(normalised(&text).unwrap(), expected.as_str());
            }
        }

        #[test]
        fn whatever_is_accepted_decodes(text in "[A-Za-z0-9+/_= \n-]{0,24}") {
            if let Ok(text) = normalised(&text) {
                prop_assert!(BASE64.decode(text).is_ok());
            }
        }
    }
}
