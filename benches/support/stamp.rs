//! Texts that contain the time when they were made and their number in the task: `@NANOSECONDS/INDEX@`, and words up to
//! a fixed length.

use std::io::Write as _;

use memchr::memchr;

/// The mark around a stamp. Servers here send it nowhere else.
const MARK: u8 = b'@';
/// The bytes of a text: a frame of hearken with one has about 280.
pub(crate) const TEXT_BYTES: usize = 70;
/// The words that fill a text.
const WORDS: &[u8] = b" and then she said that the meeting would begin as soon as the guests had come";

/// When a text was made, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Nanoseconds of the [clock](super::clock).
    pub(crate) made: u64,
    /// The number within its task, from 0, without gaps.
    pub(crate) index: u64,
}

impl Stamp {
    /// Writes a text with the stamp; the text needs no escaping in JSON.
    pub(crate) fn write_text(self, to: &mut Vec<u8>) {
        let begin = to.len();
        // Writing to a Vec cannot fail.
        let _ = write!(to, "@{}/{}@", self.made, self.index);
        let room = (begin + TEXT_BYTES).saturating_sub(to.len());
        to.extend_from_slice(&WORDS[..room.min(WORDS.len())]);
    }

    /// Finds the stamp in a frame, if there is one.
    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let stamp = &frame[memchr(MARK, frame)? + 1..];
        let (made, rest) = number(stamp, b'/')?;
        let (index, _) = number(rest, MARK)?;
        Some(Self { made, index })
    }
}

/// Returns the number up to the byte `end`, and what follows it.
fn number(bytes: &[u8], end: u8) -> Option<(u64, &[u8])> {
    let mut number: u64 = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            _ if *byte == end && at > 0 => return Some((number, &bytes[at + 1..])),
            _ => return None,
        }
    }
    None
}
