//! The fingerprint of a body. Two bodies have the same fingerprint exactly when they are equal as JSON values.
//!
//! serde_json checks the text. This module itself walks over arrays and objects, in one pass over the text, for three
//! reasons. Numbers are compared by their digits: serde would round them to 64 bits, and two different bodies could get
//! the same fingerprint. A body can be one string of many megabytes, which is hashed in place. And every JSON text has
//! a fingerprint, even if serde would not read it into a value, so a body is accepted with an `Idempotency-Key` exactly
//! when it is accepted without one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::wire::json_text::{Escape, escape};

/// The deepest nesting of arrays and objects that is walked through: the limit of serde_json for values. Deeper JSON is
/// compared as it is written.
const MAX_DEPTH: usize = 127;

/// The meaning of a body, as a hash of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of a JSON text. White space, the order of an object's members and the notation of a
    /// string or a number make no difference. Of members with the same name only the last one counts.
    ///
    /// # Errors
    /// Returns an error if the text is not JSON.
    pub fn of(body: &[u8]) -> Result<Self, Error> {
        let json: &RawValue = serde_json::from_slice(body)?;
        let mut hasher = Sha256::new();
        Walk { rest: json.get() }.value(&mut hasher, 0)?;
        Ok(Self(hasher.finalize().into()))
    }

    /// Reads a fingerprint from 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The unread rest of a text that is known to be JSON.
///
/// Each value is hashed as a tag and a content. The tag determines the form of the content: bytes of known length,
/// bytes after their length, or values up to a closing tag. So two different values never hash the same bytes.
struct Walk<'a> {
    rest: &'a str,
}

impl<'a> Walk<'a> {
    fn value(&mut self, hasher: &mut Sha256, depth: usize) -> Result<(), Error> {
        match self.peek() {
            Some('[' | '{') if depth == MAX_DEPTH => {
                let deep: &RawValue = self.take()?;
                put(hasher, b'd', deep.get().as_bytes());
                Ok(())
            }
            Some('[') => self.array(hasher, depth),
            Some('{') => self.object(hasher, depth),
            Some('"') => {
                let string: &RawValue = self.take()?;
                put_string(hasher, string.get());
                Ok(())
            }
            _ => {
                let word: &RawValue = self.take()?;
                match word.get() {
                    "null" | "true" | "false" => put(hasher, b'w', word.get().as_bytes()),
                    number => put_number(hasher, number),
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
            let name: &RawValue = self.take()?;
            let mut value = Sha256::new();
            self.value(&mut value, depth + 1)?;
            members.insert(text(name.get()), value.finalize());
        }
        self.step();
        hasher.update(b"{");
        for (name, value) in members {
            put(hasher, b'm', &name);
            hasher.update(value);
        }
        hasher.update(b"}");
        Ok(())
    }

    /// Returns the character at which the next value, name or end begins. Commas and colons are at their proper places,
    /// so they are skipped like white space.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', ',', ':']);
        self.rest.chars().next()
    }

    /// Skips a bracket.
    fn step(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Reads the next string, number or word.
    fn take<T: Deserialize<'a>>(&mut self) -> Result<T, Error> {
        self.peek();
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter();
        let value = values.next().unwrap_or_else(|| Err(Error::custom("the text ended too early")))?;
        self.rest = self.rest.get(values.byte_offset()..).unwrap_or_default();
        Ok(value)
    }
}

/// Returns the text between the quotation marks of a JSON string.
fn content(json: &str) -> &[u8] {
    json.as_bytes().get(1..json.len() - 1).unwrap_or_default()
}

/// Hashes a string. It is unescaped in pieces, so it is never copied as a whole.
fn put_string(hasher: &mut Sha256, json: &str) {
    let content = content(json);
    if memchr::memchr(b'\\', content).is_none() {
        return put(hasher, b's', content);
    }
    let mut length = 0;
    unescaped(content, |bytes| length += bytes.len() as u64);
    hasher.update([b's']);
    hasher.update(length.to_be_bytes());
    unescaped(content, |bytes| hasher.update(bytes));
}

/// Returns the unescaped bytes of a string.
fn text(json: &str) -> Cow<'_, [u8]> {
    let content = content(json);
    if memchr::memchr(b'\\', content).is_none() {
        return Cow::Borrowed(content);
    }
    let mut text = Vec::with_capacity(content.len());
    unescaped(content, |bytes| text.extend_from_slice(bytes));
    Cow::Owned(text)
}

/// Unescapes the content of a JSON string piece by piece. Half of a surrogate pair becomes three bytes that never occur
/// in UTF-8, so it equals only itself.
fn unescaped(mut content: &[u8], mut take: impl FnMut(&[u8])) {
    while let Some(at) = memchr::memchr(b'\\', content) {
        let (plain, rest) = content.split_at_checked(at).unwrap_or((content, &[]));
        take(plain);
        let (meaning, length) = escape(rest);
        match meaning {
            Escape::Character(character) => take(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Escape::Half(unit) => {
                let [high, low] = unit.to_be_bytes();
                take(&[0xff, high, low]);
            }
        }
        content = rest.get(length..).unwrap_or_default();
    }
    take(content);
}

fn put(hasher: &mut Sha256, tag: u8, bytes: &[u8]) {
    hasher.update([tag]);
    hasher.update((bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

/// Hashes a number as its sign, its digits without zeros at either end, and the power of ten of the last digit.
///
/// A number with an exponent of more than 38 digits is compared as it is written.
fn put_number(hasher: &mut Sha256, number: &str) {
    let magnitude = number.trim_start_matches('-');
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return put(hasher, b'+', b"");
    }
    let zeros = digits.len() - significant.len();
    let moved = zeros as i128 - fraction.len() as i128;
    let Some(power) = exponent.parse::<i128>().ok().and_then(|exponent| exponent.checked_add(moved)) else {
        return put(hasher, b'n', number.as_bytes());
    };
    put(hasher, if magnitude.len() < number.len() { b'-' } else { b'+' }, significant.as_bytes());
    hasher.update(power.to_be_bytes());
}

#[cfg(test)]
mod tests;
