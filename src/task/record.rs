//! Records: the form in which the entries of a log are kept as bytes, in memory or outside of it.
//!
//! An entry is one record, or several records if its text is long. So a small part of a long text can be read without
//! the rest. A record consists of a CRC-32 of its content and its place, the length of its payload, its kind, and the
//! payload. The payload of a text is a JSON string, as in a frame. The end of a log has no record, because it follows
//! from the task's outcome.

mod entries;
mod index;

use crc32fast::Hasher;

use super::entry::TextKind;

pub use entries::{RecordWriter, read_entries, scan_records};
pub use index::Chunks;
pub(super) use index::{Index, Place};

/// Bytes before a record's payload: the checksum, the length of the payload, and the kind.
const HEADER: usize = 4 + 2 + 1;
/// The most bytes in the payload of one record.
const MOST_PAYLOAD: usize = 4096;
/// The bit of a kind that is set if the entry continues in the next record.
const GOES_ON: u8 = 0x80;

/// The kind of a record's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// The head of the answer.
    Open,
    /// A piece of text.
    Text(TextKind),
}

impl RecordKind {
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

/// A record: the kind of its content, and its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The kind of the record's content.
    pub kind: RecordKind,
    /// True if the entry continues in the next record.
    pub goes_on: bool,
    /// The entry as JSON, or a part of that JSON.
    pub payload: &'a [u8],
    sum: u32,
}

impl<'a> Record<'a> {
    fn new(at: usize, kind: RecordKind, goes_on: bool, payload: &'a [u8]) -> Self {
        let mut record = Self { kind, goes_on, payload, sum: 0 };
        let mut sum = Hasher::new();
        // The place is part of the checksum, so that a record in a wrong place is not valid.
        sum.update(&(at as u64).to_le_bytes());
        sum.update(&record.description());
        sum.update(payload);
        record.sum = sum.finalize();
        record
    }

    /// Returns the record at the start of `bytes`, which begin at `at`, if the record is intact.
    fn leading(bytes: &'a [u8], at: usize) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (code, rest) = rest.split_first()?;
        let kind = RecordKind::ALL.into_iter().find(|kind| kind.code() == code & !GOES_ON)?;
        let payload = rest.get(..usize::from(u16::from_le_bytes(*length)))?;
        let record = Self::new(at, kind, code & GOES_ON != 0, payload);
        (record.sum == u32::from_le_bytes(*sum)).then_some(record)
    }

    /// Returns the length and the kind as they are written.
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

/// An iterator over the records in some bytes, up to the first damaged record.
#[derive(Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// Makes an iterator over bytes that begin at `at`.
    #[must_use]
    pub(super) fn of(bytes: &'a [u8], at: usize) -> Self {
        Self { rest: bytes, at }
    }

    /// Returns true if all bytes have been read as records.
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
