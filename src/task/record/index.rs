//! The index of a log's records: where each entry is, and the facts about all entries together.

use std::sync::Arc;

use crc32fast::Hasher;

use super::Record;
use crate::wire::completion::CompletionHead;

/// The approximate number of bytes for which the index holds one place.
const PIECE: usize = 4096;

/// The place of a record: its entry, the number of bytes of the entry's payload before it, and its first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of the record's entry.
    pub entry: usize,
    /// Bytes of the entry's payload in earlier records.
    pub inside: usize,
    /// Bytes before the record.
    pub at: usize,
}

impl Place {
    /// Returns the place after a record at this place.
    #[must_use]
    pub fn after(self, record: &Record<'_>) -> Self {
        let (entry, inside) = match record.goes_on {
            true => (self.entry, self.inside + record.payload.len()),
            false => (self.entry + 1, 0),
        };
        Self { entry, inside, at: self.at + record.len() }
    }
}

/// The facts about a task's journalled entries that are stored with the task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chunks {
    /// The number of entries.
    pub count: usize,
    /// The checksum of the entries' records.
    pub sum: u32,
}

/// An index to the entries in some records. It does not hold the records.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Places in ascending order. The first one is the beginning.
    pub places: Vec<Place>,
    /// The place after the last record.
    pub end: Place,
    /// The facts about the complete entries.
    pub chunks: Chunks,
    /// The head of the answer, which identifies it; `None` before the answer has begun.
    pub head: Option<Arc<CompletionHead>>,
    /// The checksum of all records, including those of an incomplete entry.
    sum: u32,
}

impl Index {
    /// Adds a record that follows the last one.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        if self.places.last().is_none_or(|last| self.end.at - last.at >= PIECE) {
            self.places.push(self.end);
        }
        self.end = self.end.after(record);
        let mut sum = Hasher::new_with_initial(self.sum);
        sum.update(&record.sum.to_le_bytes());
        self.sum = sum.finalize();
        if !record.goes_on {
            self.chunks = Chunks { count: self.end.entry, sum: self.sum };
        }
    }
}
