//! The fingerprint of a body: the same for two bodies exactly when they are equal as JSON values.
//!
//! serde_json checks the text and reads strings; the walk over arrays and objects is made here, in one pass over
//! the text. Two things need that. Numbers are compared by their digits: serde would round them to 64 bits, and
//! one body's id could pass for another's. And a body can be one string of many megabytes, which is hashed where
//! it stands.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Most arrays and objects within each other: as many as serde_json follows. It does not count them when it only
/// checks a text, so the walk does.
const MAX_DEPTH: usize = 127;

/// As much of a string with escapes as is unescaped at once, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// What a body says, as 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a JSON text. White space, the order of an object's members and the ways to write a
    /// string or a number make no difference; of members with the same name only the last one counts.
    ///
    /// # Errors
    /// When the text is no JSON, or one that serde_json would not read into a value: nested too deeply, a string
    /// that is no Unicode.
    pub fn of(body: &[u8]) -> Result<Self, Error> {
        let json: &RawValue = serde_json::from_slice(body)?;
        let mut hasher = Sha256::new();
        Walk { rest: json.get() }.value(&mut hasher, 0)?;
        Ok(Self(hasher.finalize().into()))
    }

    /// Reads 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A text without escapes is a part of what it is read from.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is left of a text that is known to be JSON.
///
/// Each value is hashed as a tag, then what follows from the tag: something of known length, something with its
/// length before it, or values up to a closing tag. So no two different values hash the same bytes.
struct Walk<'a> {
    rest: &'a str,
}

impl<'a> Walk<'a> {
    fn value(&mut self, hasher: &mut Sha256, depth: usize) -> Result<(), Error> {
        match self.peek() {
            Some('[' | '{') if depth == MAX_DEPTH => Err(Error::custom("recursion limit exceeded")),
            Some('[') => self.array(hasher, depth),
            Some('{') => self.object(hasher, depth),
            Some('"') => {
                let string: &RawValue = self.take()?;
                put_string(hasher, string.get())
            }
            _ => {
                let word: &RawValue = self.take()?;
                match word.get() {
                    "null" | "true" | "false" => put(hasher, b'w', word.get().as_bytes()),
                    number => put_number(hasher, number)?,
                }
                Ok(())
            }
        }
    }

    fn array(&mut self, hasher: &mut Sha256, depth: usize) -> Result<(), Error> {
        self.step();
        hasher.update(b"[");
        while self.peek() != Some(']') {
            self.value(hasher, depth + 1)?;
        }
        self.step();
        hasher.update(b"]");
        Ok(())
    }

    fn object(&mut self, hasher: &mut Sha256, depth: usize) -> Result<(), Error> {
        self.step();
        let mut members = BTreeMap::new();
        while self.peek() != Some('}') {
            let Text(name) = self.take()?;
            let mut value = Sha256::new();
            self.value(&mut value, depth + 1)?;
            members.insert(name, value.finalize());
        }
        self.step();
        hasher.update(b"{");
        for (name, value) in members {
            put(hasher, b'm', name.as_bytes());
            hasher.update(value);
        }
        hasher.update(b"}");
        Ok(())
    }

    /// The character at which the next value, name or end begins. Commas and colons are where they have to be,
    /// so they say no more than white space does.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', ',', ':']);
        self.rest.chars().next()
    }

    /// Goes on behind a bracket.
    fn step(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Takes the string, number or word that comes next.
    fn take<T: Deserialize<'a>>(&mut self) -> Result<T, Error> {
        self.peek();
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter();
        let value = values.next().unwrap_or_else(|| Err(Error::custom("the text ended too early")))?;
        self.rest = self.rest.get(values.byte_offset()..).unwrap_or_default();
        Ok(value)
    }
}

/// A string, without all of it being copied to be unescaped.
fn put_string(hasher: &mut Sha256, json: &str) -> Result<(), Error> {
    let content = json.get(1..json.len() - 1).unwrap_or_default();
    if !content.contains('\\') {
        put(hasher, b's', content.as_bytes());
        return Ok(());
    }
    let mut length = 0;
    unescaped(content, |text| length += text.len() as u64)?;
    hasher.update([b's']);
    hasher.update(length.to_be_bytes());
    unescaped(content, |text| hasher.update(text))
}

/// Unescapes the content of a JSON string piece by piece.
fn unescaped(mut content: &str, mut take: impl FnMut(&str)) -> Result<(), Error> {
    while !content.is_empty() {
        let (piece, rest) = content.split_at_checked(whole_characters(content)).unwrap_or((content, ""));
        let json = format!("\"{piece}\"");
        let Text(text) = serde_json::from_str(&json)?;
        take(&text);
        content = rest;
    }
    Ok(())
}

/// The length of a piece from the start that holds whole characters only, however they are written.
fn whole_characters(content: &str) -> usize {
    let mut end = 0;
    while end < PIECE_BYTES {
        let rest = content.get(end..).unwrap_or_default();
        let Some(first) = rest.chars().next() else { break };
        end += match rest.as_bytes() {
            // The first half of a pair goes with what follows.
            [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _, b'\\', b'u', ..] => 12,
            [b'\\', b'u', ..] => 6,
            [b'\\', ..] => 2,
            _ => first.len_utf8(),
        };
    }
    end
}

fn put(hasher: &mut Sha256, tag: u8, bytes: &[u8]) {
    hasher.update([tag]);
    hasher.update((bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

/// A number is its sign, its digits without zeros at either end, and the power of ten of the last one.
fn put_number(hasher: &mut Sha256, number: &str) -> Result<(), Error> {
    let magnitude = number.trim_start_matches('-');
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        put(hasher, b'+', b"");
        return Ok(());
    }
    let exponent: i64 = exponent.parse().map_err(|_| Error::custom("number out of range"))?;
    let zeros = digits.len() - significant.len();
    let power = i128::from(exponent) - fraction.len() as i128 + zeros as i128;
    put(hasher, if magnitude.len() < number.len() { b'-' } else { b'+' }, significant.as_bytes());
    hasher.update(power.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
