//! Records: how the entries of a log are kept as bytes, outside of memory or in it.
//!
//! An entry is one record, or several where its text is long, so that no more than a small part of it is read to show a
//! small part of it. A record is the CRC-32 of itself and of its place, the length of its payload, its kind, and the
//! payload. A text's payload is a JSON string, as it stands in a frame. The end of a log has no record: it follows from
//! the task's outcome.

use std::sync::Arc;

use crc32fast::Hasher;

use super::entry::{Entry, TextKind};
use crate::wire::completion::CompletionHead;

/// Bytes before a record's payload: its sum, the length of the payload, its kind.
const HEADER: usize = 4 + 2 + 1;
/// Most bytes in the payload of one record.
const MOST_PAYLOAD: usize = 4096;
/// The bit of a kind that says that the entry goes on in the next record.
const GOES_ON: u8 = 0x80;
/// The index knows a place about every so many bytes.
const PIECE: usize = 4096;

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
    /// Does the entry go on in the next record?
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

impl Chunks {
    /// Returns what is to be said of these entries.
    #[must_use]
    pub fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut writer = RecordWriter::default();
        for entry in entries {
            writer.encode(std::iter::once(entry));
        }
        writer.index.chunks
    }
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
    fn note(&mut self, record: &Record<'_>) {
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

/// Encodes entries as records, and notes where they are.
#[derive(Debug, Default)]
pub struct RecordWriter {
    index: Index,
    /// The last payload: its room serves the next one.
    payload: Vec<u8>,
}

impl RecordWriter {
    /// Encodes these entries, which follow those that were encoded before. An end has no record.
    pub fn encode<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Vec<u8> {
        let mut records = Vec::new();
        for entry in entries {
            self.payload.clear();
            // Strings and numbers always serialise, and memory takes whatever is written.
            let (kind, _) = match entry {
                Entry::Open(head) => {
                    self.index.head = Some(Arc::clone(head));
                    (Kind::Open, serde_json::to_writer(&mut self.payload, &**head))
                }
                Entry::Delta { kind, text } => {
                    (Kind::Text(*kind), serde_json::to_writer(&mut self.payload, &**text))
                }
                Entry::Finish { .. } | Entry::Done | Entry::Error(_) => continue,
            };
            let mut parts = self.payload.chunks(MOST_PAYLOAD).peekable();
            while let Some(part) = parts.next() {
                let record = Record::new(self.index.end.at, kind, parts.peek().is_some(), part);
                record.put(&mut records);
                self.index.note(&record);
            }
        }
        self.payload.clear();
        self.payload.shrink_to(MOST_PAYLOAD);
        records
    }

    /// Returns where the entries are.
    #[must_use]
    pub fn into_index(self) -> Index {
        self.index
    }
}

/// Finds the entries in records, up to the first record that is not as it was written. Gives each whole entry to `take`,
/// which may refuse it: then it is not as it was written, either. Returns true if there is nothing behind them.
pub fn scan_records(bytes: &[u8], mut take: impl FnMut(Kind, &[u8]) -> Option<()>) -> (Index, bool) {
    let (mut index, mut payload) = (Index::default(), Vec::new());
    let mut records = Records::of(bytes, 0);
    for record in records.by_ref() {
        payload.extend_from_slice(record.payload);
        if !record.goes_on {
            if take(record.kind, &payload).is_none() {
                return (index, false);
            }
            if record.kind == Kind::Open {
                index.head = serde_json::from_slice(&payload).ok().map(Arc::new);
            }
            payload.clear();
        }
        index.note(&record);
    }
    let is_all = records.is_at_end() && payload.is_empty();
    (index, is_all)
}

/// Reads the entries in records, up to the first that is not as it was written. Returns with them whether there is nothing
/// behind them.
#[must_use]
pub fn read_entries(bytes: &[u8]) -> (Vec<Entry>, bool) {
    let mut entries = Vec::new();
    let (_, is_all) = scan_records(bytes, |kind, payload| {
        entries.push(match kind {
            Kind::Open => Entry::Open(Arc::new(serde_json::from_slice(payload).ok()?)),
            Kind::Text(kind) => Entry::Delta { kind, text: serde_json::from_slice(payload).ok()? },
        });
        Some(())
    });
    (entries, is_all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let text = prop_oneof![9 => any::<String>(), 1 => "[a\"é]{3000,9000}"];
        prop_oneof![
            1 => any::<String>().prop_map(|id| {
                Entry::Open(Arc::new(CompletionHead { id, created: 7, model: "m".into() }))
            }),
            9 => (0usize..3, text).prop_map(|(kind, text)| {
                Entry::Delta { kind: TextKind::ALL[kind], text: text.into() }
            }),
        ]
    }

    fn written(entries: &[Entry]) -> (Vec<u8>, Index) {
        let mut writer = RecordWriter::default();
        let records = writer.encode(entries.iter());
        (records, writer.into_index())
    }

    /// Where each entry's records end.
    fn ends(entries: &[Entry]) -> Vec<usize> {
        (1..=entries.len()).map(|count| written(&entries[..count]).0.len()).collect()
    }

    #[test]
    fn an_entry_out_of_its_place_ends_what_is_whole() {
        let delta = |text: &str| Entry::Delta { kind: TextKind::Content, text: text.into() };
        let said = [delta("a"), delta("b"), delta("c")];
        let (records, _) = written(&said);
        let each = records.len() / 3;
        let skipped = [&records[..each], &records[2 * each..]].concat();
        assert_eq!(read_entries(&skipped), (said[..1].to_vec(), false));
    }

    #[test]
    fn the_end_of_a_log_has_no_record() {
        assert!(written(&[Entry::Done]).0.is_empty());
    }

    proptest! {
        #[test]
        fn of_torn_records_the_whole_entries_are_found(
            said in prop::collection::vec(entry(), 0..8), cut: prop::sample::Index,
        ) {
            let (records, index) = written(&said);
            let cut = cut.index(records.len() + 1);
            let whole = ends(&said).into_iter().take_while(|end| *end <= cut).count();
            let is_all = cut == ends(&said[..whole]).last().copied().unwrap_or(0);
            prop_assert_eq!(read_entries(&records[..cut]), (said[..whole].to_vec(), is_all));
            let (found, found_all) = scan_records(&records[..cut], |_, _| Some(()));
            prop_assert_eq!((found.chunks, found_all), (Chunks::of(said[..whole].iter()), is_all));
            let (found, _) = scan_records(&records, |_, _| Some(()));
            prop_assert_eq!((found.places, found.end, found.chunks), (index.places, index.end, index.chunks));
        }

        #[test]
        fn a_flipped_bit_ends_what_is_whole(
            said in prop::collection::vec(entry(), 1..8), byte: prop::sample::Index, bit in 0_u8..8,
        ) {
            let (mut records, _) = written(&said);
            let byte = byte.index(records.len());
            records[byte] ^= 1 << bit;
            let (found, is_all) = read_entries(&records);
            prop_assert!(!is_all && said.starts_with(&found) && found.len() < said.len());
        }

        #[test]
        fn what_is_written_in_parts_is_what_is_written_at_once(
            said in prop::collection::vec(entry(), 0..8), cut: prop::sample::Index,
        ) {
            let cut = cut.index(said.len() + 1);
            let mut writer = RecordWriter::default();
            let parts = [writer.encode(said[..cut].iter()), writer.encode(said[cut..].iter())].concat();
            prop_assert_eq!(parts, written(&said).0);
        }
    }
}
