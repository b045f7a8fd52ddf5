//! The bytes that belong to no part of a file: bytes between its parts and behind them that are neither tags nor
//! padding.

use std::io;
use std::ops::Range;

use super::Layout;
use crate::audio::format::stream::LONGEST_FRAME;
use crate::audio::format::tags;
use crate::audio::reading::{Source, read_at, read_stretch};

/// The fewest bytes that are reported; fewer are a line from a server, or from the program that wrote the file.
const LEAST: u64 = 1024;
/// The number of bytes that are read at a time.
const BLOCK: u64 = 64 << 10;
/// The most tags that may follow each other.
const TAGS_IN_ROW: u32 = 64;

/// Bytes that belong to no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The number of bytes, without padding.
    pub(crate) bytes: u64,
    /// The range of some of these bytes.
    pub(crate) first: Range<u64>,
}

impl Layout {
    /// Finds the bytes that belong to no part of the file in `source`, from the end of its tags on. Returns `None` if
    /// they are too few to be reported.
    pub(crate) fn unknown(&self, source: &mut impl Source, end: u64) -> io::Result<Option<Unknown>> {
        let mut found: Option<Unknown> = None;
        let mut add = |range: Range<u64>, source: &mut _| {
            let bytes = count(source, range.clone())?;
            if bytes >= LEAST {
                found.get_or_insert(Unknown { bytes: 0, first: range }).bytes += bytes;
            }
            io::Result::Ok(())
        };
        for range in &self.between {
            add(range.clone(), source)?;
        }
        let mut at = tags::in_front(source)?.end;
        let mut is_cut = false;
        let next = self.parts.iter().map(|part| (part.range.clone(), part.is_cut));
        for (part, next_is_cut) in next.chain([(end..end, false)]) {
            let from = behind_tags(source, at..part.start)?;
            // The rest of a frame that is cut off belongs to its part.
            let from = if is_cut { from.saturating_add(LONGEST_FRAME as u64) } else { from };
            add(from.min(part.start)..part.start, source)?;
            (at, is_cut) = (part.end, next_is_cut);
        }
        Ok(found)
    }
}

/// Returns where the tags at the start of this range end.
fn behind_tags(source: &mut impl Source, mut range: Range<u64>) -> io::Result<u64> {
    for _ in 0..TAGS_IN_ROW {
        if range.start >= range.end {
            break;
        }
        let head = read_at::<{ tags::HEAD }>(source, range.start)?;
        let Some(length) = tags::length(head.bytes(), range.end - range.start) else { break };
        range.start = range.start.saturating_add(length);
    }
    Ok(range.start)
}

/// Counts the bytes in this range that are not padding.
fn count(source: &mut impl Source, mut range: Range<u64>) -> io::Result<u64> {
    let mut count = 0;
    while range.start < range.end {
        let bytes = read_stretch(source, range.start, BLOCK.min(range.end - range.start))?;
        if bytes.is_empty() {
            break;
        }
        count += bytes.iter().filter(|byte| !matches!(byte, 0 | 0xff)).count() as u64;
        range.start += bytes.len() as u64;
    }
    Ok(count)
}
