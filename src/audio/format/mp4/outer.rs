//! The outermost boxes, and the gaps between them: if the head of a box is damaged, the file continues with the next
//! box that can be identified.

use std::io::{self, Read, Seek};

use super::{HEAD, Head, LONG_HEAD};
use crate::audio::reading::{read_at, read_stretch};

/// The most outermost boxes that are read; a file in fragments has two for each fragment.
const MOST: usize = 100_000;
/// Boxes that may be cut off: they count even if they go on behind the end of the file.
const KNOWN: [&[u8; 4]; 15] = [
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"mfra", b"emsg",
    b"uuid", b"meta", b"udta", b"pnot",
];
/// The number of bytes that are read at a time in the search for the next box: the first read, and the largest.
const FIRST_BLOCK: u64 = 64;
const BLOCK: u64 = 64 << 10;
/// The number of bytes that identify a box: its head, and the head of the first box in it.
const IDENTIFIED: u64 = 2 * HEAD;
/// The longest fragment that is read to check whether it is damaged.
const LONGEST_FRAGMENT: u64 = 1 << 20;

/// An outermost box, or a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OuterBox {
    /// The type of the box; `None` for a gap, which is not a box, and for a fragment that cannot be read.
    pub(crate) kind: Option<[u8; 4]>,
    pub(crate) start: u64,
    /// The end of the box, according to its stated size.
    pub(crate) end: u64,
    /// Length of the box's head.
    pub(crate) head: u64,
}

impl OuterBox {
    /// Returns true if this is a box of the given type.
    pub(crate) fn is(&self, kind: &[u8; 4]) -> bool {
        self.kind.as_ref() == Some(kind)
    }

    /// Returns true if the box's size is written in 64 bits.
    pub(crate) fn is_long(&self) -> bool {
        self.head == LONG_HEAD
    }
}

/// Walks through the outermost boxes of a file.
#[derive(Debug)]
pub(crate) struct Outer {
    at: u64,
    end: u64,
    left: usize,
}

impl Outer {
    /// Prepares a walk through the boxes from `at` to `end`.
    pub(crate) fn new(at: u64, end: u64) -> Self {
        Self { at, end, left: MOST }
    }

    /// Returns the next box or gap; `None` if the boxes end and no further box belongs to the file.
    pub(crate) fn next(&mut self, source: &mut (impl Read + Seek)) -> io::Result<Option<OuterBox>> {
        if self.at >= self.end || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let start = self.at;
        let bytes = read_at::<{ LONG_HEAD as usize }>(source, start)?;
        let head = Head::read(bytes.bytes()).filter(Head::has_plain_kind).map(|head| {
            let end = head.size.map_or(self.end, |size| start.saturating_add(size));
            (head, end)
        });
        // Other bytes can look like a box, usually like one that is far too long.
        let Some((head, end)) = head.filter(|(head, end)| *end <= self.end || KNOWN.contains(&&head.kind))
        else {
            let next = next_identified(source, start + 1, self.end)?;
            return Ok(next.map(|next| self.found(None, HEAD, next)));
        };
        if &head.kind == b"moof" && end <= self.end {
            let bytes = read_stretch(source, start, (end - start).min(LONGEST_FRAGMENT))?;
            if !is_fragment(&bytes) {
                // The size of the fragment may be wrong, too.
                let next = next_identified(source, start + HEAD, end)?.unwrap_or(end);
                return Ok(Some(self.found(None, HEAD, next)));
            }
        }
        Ok(Some(self.found(Some(head.kind), head.length, end)))
    }

    fn found(&mut self, kind: Option<[u8; 4]>, head: u64, end: u64) -> OuterBox {
        OuterBox { kind, start: std::mem::replace(&mut self.at, end), end, head }
    }
}

/// Returns the place of the next box that can be identified: a fragment, or the index. Another file ends the search.
fn next_identified(source: &mut (impl Read + Seek), mut at: u64, end: u64) -> io::Result<Option<u64>> {
    // The read size grows with the gap: many short gaps must not cost a whole block each.
    let mut block = FIRST_BLOCK;
    while end.saturating_sub(at) >= IDENTIFIED {
        let bytes = read_stretch(source, at, block.min(end - at))?;
        block = (2 * block).min(BLOCK);
        for place in memchr::memchr2_iter(b'm', b'f', &bytes) {
            let Some(start) = place.checked_sub(4) else { continue };
            let found = bytes.get(start..).unwrap_or_default();
            if super::is_type(found) {
                return Ok(None);
            }
            if is_identified(found) {
                return Ok(Some(at + start as u64));
            }
        }
        if (bytes.len() as u64) < IDENTIFIED {
            break;
        }
        at += bytes.len() as u64 - IDENTIFIED + 1;
    }
    Ok(None)
}

/// Returns true if these bytes begin a fragment or an index, as far as the bytes show.
fn is_identified(bytes: &[u8]) -> bool {
    let (head, inside) = bytes.split_at_checked(HEAD as usize).unwrap_or_default();
    match head.get(4..) {
        Some(b"moof") => inside.starts_with(b"\0\0\0\x10mfhd"),
        Some(b"moov") => {
            inside.starts_with(&[0; 3]) && inside.get(4..).is_some_and(|rest| rest.starts_with(b"mvhd"))
        }
        _ => false,
    }
}

/// Returns true if the boxes of this fragment, and those of its tracks, follow each other without gaps. Of a long
/// fragment, only the beginning is checked.
fn is_fragment(bytes: &[u8]) -> bool {
    let mut tracks = Vec::new();
    let Some(content) = bytes.get(HEAD as usize..) else { return false };
    is_row(content, &mut |kind, content| {
        if kind == b"traf" {
            tracks.push(content);
        }
    }) && tracks.into_iter().all(|track| is_row(track, &mut |_, _| {}))
}

/// Returns true if these bytes are boxes without gaps; the last may be cut off.
fn is_row<'b>(mut bytes: &'b [u8], visit: &mut impl FnMut(&[u8; 4], &'b [u8])) -> bool {
    while !bytes.is_empty() {
        let Some(head) = Head::read(bytes).filter(Head::has_plain_kind) else { return false };
        let Some(size) = head.size.and_then(|size| usize::try_from(size).ok()) else { return false };
        let (whole, rest) = bytes.split_at_checked(size).unwrap_or((bytes, &[]));
        let content = usize::try_from(head.length).ok().and_then(|length| whole.get(length..));
        visit(&head.kind, content.unwrap_or_default());
        bytes = rest;
    }
    true
}
