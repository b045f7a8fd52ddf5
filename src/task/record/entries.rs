//! Turns entries into records, and records back into entries.

use std::sync::Arc;

use super::{Chunks, Index, MOST_PAYLOAD, Record, RecordKind, Records};
use crate::task::entry::Entry;

/// A writer that encodes entries as records and indexes where they are.
#[derive(Debug, Default)]
pub struct RecordWriter {
    index: Index,
    /// A buffer for the payload, reused for each entry.
    payload: Vec<u8>,
}

impl RecordWriter {
    /// Encodes these entries, which follow the entries encoded before. The end of a log has no record.
    pub fn encode<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Vec<u8> {
        let mut records = Vec::new();
        for entry in entries {
            self.payload.clear();
            // Strings and numbers always serialise, and a write to memory never fails.
            let (kind, _) = match entry {
                Entry::Open(head) => {
                    self.index.head = Some(Arc::clone(head));
                    (RecordKind::Open, serde_json::to_writer(&mut self.payload, &**head))
                }
                Entry::Delta { kind, text } => {
                    (RecordKind::Text(*kind), serde_json::to_writer(&mut self.payload, &**text))
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

    /// Returns the index of the entries.
    #[must_use]
    pub fn into_index(self) -> Index {
        self.index
    }
}

impl Chunks {
    /// Returns the facts about these entries.
    #[must_use]
    pub fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut writer = RecordWriter::default();
        for entry in entries {
            writer.encode(std::iter::once(entry));
        }
        writer.index.chunks
    }
}

/// Finds the entries in records, up to the first damaged record. Passes each complete entry to `take`, which may refuse
/// it; a refused entry counts as damaged. Returns true if no bytes follow the complete entries.
pub fn scan_records(bytes: &[u8], mut take: impl FnMut(RecordKind, &[u8]) -> Option<()>) -> (Index, bool) {
    let (mut index, mut payload) = (Index::default(), Vec::new());
    let mut records = Records::of(bytes, 0);
    for record in records.by_ref() {
        payload.extend_from_slice(record.payload);
        if !record.goes_on {
            if take(record.kind, &payload).is_none() {
                return (index, false);
            }
            if record.kind == RecordKind::Open {
                index.head = serde_json::from_slice(&payload).ok().map(Arc::new);
            }
            payload.clear();
        }
        index.note(&record);
    }
    let is_all = records.is_at_end() && payload.is_empty();
    (index, is_all)
}

/// Reads the entries in records, up to the first damaged record. Also returns true if no bytes follow these entries.
#[must_use]
pub fn read_entries(bytes: &[u8]) -> (Vec<Entry>, bool) {
    let mut entries = Vec::new();
    let (_, is_all) = scan_records(bytes, |kind, payload| {
        entries.push(match kind {
            RecordKind::Open => Entry::Open(Arc::new(serde_json::from_slice(payload).ok()?)),
            RecordKind::Text(kind) => Entry::Delta { kind, text: serde_json::from_slice(payload).ok()? },
        });
        Some(())
    });
    (entries, is_all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::entry::TextKind;
    use crate::wire::completion::CompletionHead;

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

    /// Returns where each entry's records end.
    fn ends(entries: &[Entry]) -> Vec<usize> {
        (1..=entries.len()).map(|count| written(&entries[..count]).0.len()).collect()
    }

    #[test]
    fn reading_stops_at_a_record_in_a_wrong_place() {
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
        fn the_complete_entries_of_truncated_records_are_found(
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
        fn reading_stops_at_a_record_with_a_flipped_bit(
            said in prop::collection::vec(entry(), 1..8), byte: prop::sample::Index, bit in 0_u8..8,
        ) {
            let (mut records, _) = written(&said);
            let byte = byte.index(records.len());
            records[byte] ^= 1 << bit;
            let (found, is_all) = read_entries(&records);
            prop_assert!(!is_all && said.starts_with(&found) && found.len() < said.len());
        }

        #[test]
        fn records_written_in_parts_equal_records_written_at_once(
            said in prop::collection::vec(entry(), 0..8), cut: prop::sample::Index,
        ) {
            let cut = cut.index(said.len() + 1);
            let mut writer = RecordWriter::default();
            let parts = [writer.encode(said[..cut].iter()), writer.encode(said[cut..].iter())].concat();
            prop_assert_eq!(parts, written(&said).0);
        }
    }
}
