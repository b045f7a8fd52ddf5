//! The fingerprint of a body: the same for two bodies exactly when they are equal as JSON values.
//!
//! serde_json checks the text; the walk over arrays and objects is made here, in one pass over the text. Three things
//! need that. Numbers are compared by their digits: serde would round them to 64 bits, and one body's id could pass for
//! another's. A body can be one string of many megabytes, which is hashed where it stands. And every JSON text has a
//! fingerprint, also where serde would not read it into a value, so that a body is accepted with an `Idempotency-Key`
//! exactly when it is accepted without one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::wire::json_text::{Meaning, escape};

/// Most arrays and objects within each other that are walked through: as many as serde_json follows when it reads a
/// value. What lies deeper counts as it is written.
const MAX_DEPTH: usize = 127;

/// What a body says, as 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a JSON text. White space, the order of an object's members and the ways to write a
    /// string or a number make no difference; of members with the same name only the last one counts.
    ///
    /// # Errors
    /// When the text is no JSON.
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

/// What stands between the quotation marks of a JSON string.
fn content(json: &str) -> &[u8] {
    json.as_bytes().get(1..json.len() - 1).unwrap_or_default()
}

/// A string, without all of it being copied to be unescaped.
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

/// The bytes of a string.
fn text(json: &str) -> Cow<'_, [u8]> {
    let content = content(json);
    if memchr::memchr(b'\\', content).is_none() {
        return Cow::Borrowed(content);
    }
    let mut text = Vec::with_capacity(content.len());
    unescaped(content, |bytes| text.extend_from_slice(bytes));
    Cow::Owned(text)
}

/// Unescapes the content of a JSON string piece by piece. Half of a surrogate pair becomes three bytes that stand in no
/// UTF-8 text, so it equals itself and nothing else.
fn unescaped(mut content: &[u8], mut take: impl FnMut(&[u8])) {
    while let Some(at) = memchr::memchr(b'\\', content) {
        let (plain, rest) = content.split_at_checked(at).unwrap_or((content, &[]));
        take(plain);
        let (meaning, length) = escape(rest);
        match meaning {
            Meaning::Character(character) => take(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Meaning::Half(unit) => {
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

/// A number is its sign, its digits without zeros at either end, and the power of ten of the last one.
///
/// An exponent of more than 38 digits counts as it is written.
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
