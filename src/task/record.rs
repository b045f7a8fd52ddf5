//! Records: how the entries of a log are kept as bytes, outside of memory or in it.
//!
//! An entry is one record, or several where its text is long, so that no more than a small part of it is read to show a
//! small part of it. A record is the CRC-32 of itself and of its place, the length of its payload, its kind, and the
//! payload. A text's payload is a JSON string, as it stands in a frame. The end of a log has no record: it follows from
//! the task's outcome.

mod entries;
mod index;

use crc32fast::Hasher;

use super::entry::TextKind;

pub use entries::{RecordWriter, read_entries, scan_records};
pub use index::Chunks;
pub(super) use index::{Index, Place};

/// Bytes before a record's payload: its sum, the length of the payload, its kind.
const HEADER: usize = 4 + 2 + 1;
/// Most bytes in the payload of one record.
const MOST_PAYLOAD: usize = 4096;
/// The bit of a kind that says that the entry goes on in the next record.
const GOES_ON: u8 = 0x80;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The head of the answer.
    Open,
    /// A piece of text.
    Text(TextKind),
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Open,
        Self::Text(TextKind::Content),
        Self::Text(TextKind::Reasoning),
        Self::Text(TextKind::Refusal),
    ];

    fn code(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Text(TextKind::Content) => 1,
            Self::Text(TextKind::Reasoning) => 2,
            Self::Text(TextKind::Refusal) => 3,
        }
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it holds.
    pub kind: Kind,
    /// True if the entry goes on in the next record.
    pub goes_on: bool,
    /// The entry as JSON, or a part of that.
    pub payload: &'a [u8],
    sum: u32,
}

impl<'a> Record<'a> {
    fn new(at: usize, kind: Kind, goes_on: bool, payload: &'a [u8]) -> Self {
        let mut record = Self { kind, goes_on, payload, sum: 0 };
        let mut sum = Hasher::new();
        // A record that is not where it was written to is none.
        sum.update(&(at as u64).to_le_bytes());
        sum.update(&record.description());
        sum.update(payload);
        record.sum = sum.finalize();
        record
    }

    /// Returns the record that `bytes` begin with, which stand at `at`, if it is as it was written.
    fn leading(bytes: &'a [u8], at: usize) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (code, rest) = rest.split_first()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.code() == code & !GOES_ON)?;
        let payload = rest.get(..usize::from(u16::from_le_bytes(*length)))?;
        let record = Self::new(at, kind, code & GOES_ON != 0, payload);
        (record.sum == u32::from_le_bytes(*sum)).then_some(record)
    }

    /// Returns its length and its kind as they are written.
    fn description(&self) -> [u8; 3] {
        let [low, high] = (self.payload.len() as u16).to_le_bytes();
        [low, high, self.kind.code() | if self.goes_on { GOES_ON } else { 0 }]
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.sum.to_le_bytes());
        bytes.extend_from_slice(&self.description());
        bytes.extend_from_slice(self.payload);
    }

    fn len(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// The records that some bytes hold, up to the first that is not as it was written.
#[derive(Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// Reads bytes that stand at `at`.
    #[must_use]
    pub(super) fn of(bytes: &'a [u8], at: usize) -> Self {
        Self { rest: bytes, at }
    }

    /// Returns true if every byte belongs to a record that was read.
    #[must_use]
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let record = Record::leading(self.rest, self.at)?;
        self.rest = self.rest.get(record.len()..).unwrap_or_default();
        self.at += record.len();
        Some(record)
    }
}
