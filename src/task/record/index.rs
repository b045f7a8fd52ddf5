//! Where the entries of a log are among its records, and what is known of all of them together.

use std::sync::Arc;

use crc32fast::Hasher;

use super::Record;
use crate::wire::completion::CompletionHead;

/// The index knows a place about every so many bytes.
const PIECE: usize = 4096;

/// Where a record stands: its entry, how many bytes of the entry's payload stand before it, and its first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of its entry.
    pub entry: usize,
    /// Bytes of the entry's payload in the records before.
    pub inside: usize,
    /// Bytes before the record.
    pub at: usize,
}

impl Place {
    /// Returns the place behind a record that stands here.
    #[must_use]
    pub fn behind(self, record: &Record<'_>) -> Self {
        let (entry, inside) = match record.goes_on {
            true => (self.entry, self.inside + record.payload.len()),
            false => (self.entry + 1, 0),
        };
        Self { entry, inside, at: self.at + record.len() }
    }
}

/// What the record of a task says about the entries in its journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chunks {
    /// How many there are.
    pub count: usize,
    /// A checksum of their records.
    pub sum: u32,
}

/// Where to find the entries in some records, without the records.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// In their order; the first is the beginning.
    pub places: Vec<Place>,
    /// Behind the last record.
    pub end: Place,
    /// The entries that are whole.
    pub chunks: Chunks,
    /// What identifies the answer, if it has begun.
    pub head: Option<Arc<CompletionHead>>,
    /// The checksum of all records, also of those of an entry that is not whole.
    sum: u32,
}

impl Index {
    /// Takes in a record that stands behind the last one.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        if self.places.last().is_none_or(|last| self.end.at - last.at >= PIECE) {
            self.places.push(self.end);
        }
        self.end = self.end.behind(record);
        let mut sum = Hasher::new_with_initial(self.sum);
        sum.update(&record.sum.to_le_bytes());
        self.sum = sum.finalize();
        if !record.goes_on {
            self.chunks = Chunks { count: self.end.entry, sum: self.sum };
        }
    }
}
