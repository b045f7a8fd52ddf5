//! Base64 as clients write it, normalised to what upstreams take: the standard alphabet, padded, no white space.
//!
//! Nearly all clients write exactly that already; then the text is checked and passed on as the slice of the
//! request body that it is. Other spellings are rewritten in that very place, since none is shorter than what it
//! becomes, but for padding. Nothing is decoded here.

use bytes::{Bytes, BytesMut};

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
/// Digits that are looked at together before it is known whether the rest is worth it.
const BLOCK_BYTES: usize = 1024;
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

/// Normalises `text` where it stands. Text in the standard form stays as it is.
///
/// # Errors
/// [`Base64Error`] for a text that neither alphabet explains.
pub fn normalise(mut text: BytesMut) -> Result<Bytes, Base64Error> {
    if !is_canonical(&text) {
        let digits = rewrite(&mut text)?;
        text.truncate(digits);
        // Padding that was missing finds room where the text came from: a JSON string has something behind it.
        text.resize(digits.next_multiple_of(4), b'=');
    }
    Ok(text.freeze())
}

/// Is it the standard alphabet, padded to a multiple of four, with no bits to spare?
fn is_canonical(text: &[u8]) -> bool {
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding).unwrap_or_default();
    text.len().is_multiple_of(4)
        && digits.chunks(BLOCK_BYTES).all(is_standard)
        && spare_bits(digits) == Some(0)
}

/// Are these all digits of the standard alphabet? Looks at every one of them, without a table, so that the compiler can
/// look at many at once.
fn is_standard(digits: &[u8]) -> bool {
    digits.iter().fold(true, |standard, byte| {
        standard & (byte.is_ascii_alphanumeric() | (*byte == b'+') | (*byte == b'/'))
    })
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

/// Moves the digits together, in the standard alphabet; returns how many they are.
fn rewrite(text: &mut [u8]) -> Result<usize, Base64Error> {
    let mut digits = 0;
    let mut padding = 0;
    for position in 0..text.len() {
        let Some(byte) = text.get(position).copied() else { break };
        match byte {
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
            byte => {
                // Never beyond the position that was just read.
                if let Some(to) = text.get_mut(digits) {
                    *to = STANDARD[usize::from(sextet(byte))];
                }
                digits += 1;
            }
        }
    }
    let text = text.get_mut(..digits).unwrap_or_default();
    let spare = spare_bits(text).ok_or(Base64Error::Length)?;
    if padding > digits.next_multiple_of(4) - digits {
        return Err(Base64Error::Length);
    }
    // Some encoders leave rubbish in the bits that no byte uses; strict decoders upstream refuse that.
    if let Some(last) = text.last_mut() {
        *last = STANDARD[usize::from(sextet(*last) & !spare)];
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn normalised(text: &str) -> Result<String, Base64Error> {
        normalise(BytesMut::from(text)).map(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn the_standard_form_is_passed_on_without_a_copy() {
        let text = BytesMut::from("TGVzcw==");
        let place = text.as_ptr();
        assert_eq!(normalise(text).unwrap().as_ptr(), place);
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
    fn a_text_is_rewritten_in_its_place() {
        let mut body = BytesMut::from("\"-_-_\nQQ\"}");
        let mut text = body.split_off(1);
        text.truncate(7);
        let place = text.as_ptr();
        let normalised = normalise(text).unwrap();
        assert_eq!((&normalised[..], normalised.as_ptr()), (&b"+/+/QQ=="[..], place));
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
