//! Encodes frames again from the records of their entries. Reads hardly more records than the request needs.

use std::io;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{RecordSource, slice};
use crate::task::entry::Entry;
use crate::task::format::{Encoder, Format};
use crate::task::record::{Index, Place, Record, RecordKind, Records};

/// The entries of an ended log, for frames in one format.
pub(super) struct Rereading<'a> {
    source: &'a dyn RecordSource,
    index: &'a Index,
    tail: &'a [Entry],
    encoder: Encoder,
}

impl<'a> Rereading<'a> {
    pub(super) fn new(
        source: &'a dyn RecordSource,
        index: &'a Index,
        tail: &'a [Entry],
        format: Format,
    ) -> Self {
        let head = index.head.clone().or_else(|| tail.first().and_then(Entry::head));
        Self { source, index, tail, encoder: Encoder::new(format, head) }
    }

    /// Does the same as [`ColdLog::frames_within`](super::ColdLog::frames_within).
    pub(super) fn frames_within(&self, range: Range<usize>, most: usize) -> io::Result<(usize, usize)> {
        let (mut end, mut bytes, mut is_full) = (range.start, 0, false);
        self.walk(range.start, 0, |place, record| {
            let frame = self.frame_bytes(place, record);
            is_full = place.entry >= range.end || (end > range.start && bytes + frame > most);
            if is_full || (record.goes_on && frame <= most) {
                return !is_full;
            }
            (end, bytes) = (place.entry + 1, bytes + frame);
            // If the first frame is larger, its other records are not read here.
            is_full = record.goes_on;
            !is_full
        })?;
        if is_full {
            let is_large = end == range.start + 1 && bytes > most;
            return Ok((end, if is_large { self.bytes(range.start..end)? } else { bytes }));
        }
        for (number, frame) in self.tail_in(end..range.end) {
            if end > range.start && bytes + frame.len() > most {
                break;
            }
            (end, bytes) = (number + 1, bytes + frame.len());
        }
        Ok((end, bytes))
    }

    /// Returns the size of the existing frames in `range`, in bytes.
    pub(super) fn bytes(&self, range: Range<usize>) -> io::Result<usize> {
        let mut bytes = 0;
        // The last place within a large entry is near its end.
        let places = &self.index.places;
        let (before, _) = places.split_at(places.partition_point(|place| place.entry <= range.start));
        let inside = before.last().filter(|last| last.entry == range.start).map_or(0, |last| last.inside);
        self.walk(range.start, inside, |place, record| {
            if place.entry < range.end && !record.goes_on {
                bytes += self.frame_bytes(place, record);
            }
            place.after(record).entry < range.end
        })?;
        Ok(bytes + self.tail_in(range).map(|(_, frame)| frame.len()).sum::<usize>())
    }

    /// Appends the existing frames in `range` to `buffer`.
    pub(super) fn write_to(&self, range: Range<usize>, buffer: &mut BytesMut) -> io::Result<()> {
        self.walk(range.start, 0, |place, record| {
            match record.kind {
                RecordKind::Open => buffer.put_slice(&self.encoder.open(place.entry)),
                RecordKind::Text(kind) => {
                    if place.inside == 0 {
                        self.encoder.put_before_text(place.entry, kind, buffer);
                    }
                    buffer.put_slice(record.payload);
                    if !record.goes_on {
                        buffer.put_slice(self.encoder.after_text());
                    }
                }
            }
            place.after(record).entry < range.end
        })?;
        self.tail_in(range).for_each(|(_, frame)| buffer.put_slice(&frame));
        Ok(())
    }

    /// Appends the existing bytes in `part` of one frame to `buffer`.
    pub(super) fn write_part(
        &self,
        frame: usize,
        part: Range<usize>,
        buffer: &mut BytesMut,
    ) -> io::Result<()> {
        // Appends the requested part of bytes that begin at `at` in the frame.
        let mut put = |at: usize, bytes: &[u8]| {
            let wanted = part.start.saturating_sub(at)..part.end.saturating_sub(at);
            buffer.put_slice(slice(bytes, wanted));
        };
        let kind = match self.kind(frame)? {
            Some(RecordKind::Text(kind)) => kind,
            Some(RecordKind::Open) => {
                put(0, &self.encoder.open(frame));
                return Ok(());
            }
            None => {
                self.tail_in(frame..frame + 1).for_each(|(_, bytes)| put(0, &bytes));
                return Ok(());
            }
        };
        let (mut before, after) = (Vec::new(), self.encoder.after_text());
        self.encoder.put_before_text(frame, kind, &mut before);
        put(0, &before);
        // The walk starts a little early, so that it meets the text's end even if only bytes after the text are
        // requested.
        let inside = part.start.saturating_sub(before.len() + after.len());
        self.walk(frame, inside, |place, record| {
            if place.entry != frame {
                return false;
            }
            let at = before.len() + place.inside;
            let end = at + record.payload.len();
            put(at, record.payload);
            if !record.goes_on {
                put(end, after);
            }
            record.goes_on && end < part.end
        })
    }

    fn kind(&self, entry: usize) -> io::Result<Option<RecordKind>> {
        let mut kind = None;
        self.walk(entry, 0, |_, record| {
            kind = Some(record.kind);
            false
        })?;
        Ok(kind)
    }

    /// Returns the length of an entry's frame if this record is the entry's last one.
    fn frame_bytes(&self, place: Place, record: &Record<'_>) -> usize {
        match record.kind {
            RecordKind::Open => self.encoder.open(place.entry).len(),
            RecordKind::Text(kind) => {
                self.encoder.around_text(place.entry, kind) + place.inside + record.payload.len()
            }
        }
    }

    /// Returns the numbers and frames of the entries in `range` that come after the kept entries.
    fn tail_in(&self, range: Range<usize>) -> impl Iterator<Item = (usize, Bytes)> {
        let numbered = self.tail.iter().enumerate().map(|(at, entry)| (self.index.chunks.count + at, entry));
        let wanted = numbered.filter(move |(number, _)| range.contains(number));
        wanted.map(|(number, entry)| (number, self.encoder.encode(number, entry)))
    }

    /// Calls `visit` with each record, starting with the one that holds this byte of this entry's payload, until
    /// `visit` returns false.
    fn walk(
        &self,
        entry: usize,
        inside: usize,
        mut visit: impl FnMut(Place, &Record<'_>) -> bool,
    ) -> io::Result<()> {
        let (index, entries) = (self.index, self.index.chunks.count);
        let after = index.places.partition_point(|place| (place.entry, place.inside) <= (entry, inside));
        let mut pieces = index.places.iter().enumerate().skip(after.saturating_sub(1));
        let mut bytes = Vec::new();
        while entry < entries
            && let Some((at, place)) = pieces.next()
        {
            let end = index.places.get(at + 1).unwrap_or(&index.end).at;
            bytes.clear();
            self.source.read(place.at..end, &mut bytes)?;
            let (mut place, mut records) = (*place, Records::of(&bytes, place.at));
            for record in &mut records {
                let is_wanted = (place.entry, place.inside + record.payload.len()) > (entry, inside);
                // The beginning of an incomplete entry may follow the complete entries.
                if place.entry >= entries || (is_wanted && !visit(place, &record)) {
                    return Ok(());
                }
                place = place.after(&record);
            }
            if !records.is_at_end() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its bytes are damaged"));
            }
        }
        Ok(())
    }
}
