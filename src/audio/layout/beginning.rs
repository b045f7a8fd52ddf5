//! Finds where another file begins: files of different kinds may have been joined, and other bytes may be between them.

use std::io;
use std::ops::Range;

use super::scan::Scan;
use crate::audio::container::Container;
use crate::audio::format::aiff::is_aiff;
use crate::audio::format::frame::{Format, Frame};
use crate::audio::format::wave::is_wave;
use crate::audio::format::{flac, mp4, ogg, stream, tags};
use crate::audio::reading::Source;

/// The most tags in front of a file that one search skips: each costs a look behind it.
const MOST_TAGS: u32 = 256;
/// The most tags that may follow each other.
const TAGS_IN_ROW: u32 = 8;
/// The number of bytes that are inspected where a file may begin.
const HEAD: usize = 64;

/// A file that begins among other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) container: Container,
    /// The offset of the file, after the tags in front of it.
    pub(super) at: u64,
    /// The offset of the tags in front of the file.
    pub(super) tags: u64,
}

impl Beginning {
    /// Returns true if the file has no header except that of each frame.
    pub(super) fn is_of_frames(&self) -> bool {
        matches!(self.container, Container::Mp3 | Container::Aac)
    }
}

/// The file whose end is searched: a continuation of it counts as found, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// A file that has ended.
    Nothing,
    /// A FLAC file, whose frames look like those of ADTS.
    Flac,
    /// An Ogg file, which continues with any page.
    Ogg,
    /// Frames of this format: two frames in a row continue them.
    Frames(Format),
}

/// Finds the file that begins behind the end of another, at once or behind other bytes.
pub(super) fn behind<S: Source>(scan: &mut Scan<'_, S>, end: u64) -> io::Result<Option<Beginning>> {
    match at(scan, end)? {
        Some(found) => Ok(Some(found)),
        None => next(scan, end, Within::Nothing),
    }
}

/// Returns the file that begins here or behind the tags that begin here, if there is one.
fn at<S: Source>(scan: &mut Scan<'_, S>, start: u64) -> io::Result<Option<Beginning>> {
    let mut at = start;
    for _ in 0..TAGS_IN_ROW {
        let head = scan.read_apart(at..at.saturating_add(HEAD as u64).min(scan.range.end))?;
        let Some(length) = tags::length(&head, scan.range.end.saturating_sub(at)) else {
            let container = match signature(&head, false) {
                None => frames(scan, at, &head)?,
                known => known,
            };
            return Ok(container.map(|container| Beginning { container, at, tags: start }));
        };
        at = at.saturating_add(length).min(scan.range.end);
    }
    Ok(None)
}

/// Returns the container of the frames that begin here, if at least two follow each other, or one ends the file.
fn frames<S: Source>(scan: &mut Scan<'_, S>, at: u64, head: &[u8]) -> io::Result<Option<Container>> {
    let Some(first) = stream::frame(head) else { return Ok(None) };
    let end = scan.range.end;
    let behind = at.saturating_add(first.size);
    let next = scan.read_apart(behind.min(end)..behind.saturating_add(HEAD as u64).min(end))?;
    let follows = stream::frame(&next).is_some_and(|next| next.constant == first.constant);
    let is_last = behind == end || tags::length(&next, end.saturating_sub(behind)).is_some();
    Ok((follows || is_last).then(|| container(&first.format)))
}

/// Returns the container of a file of such frames.
pub(super) fn container(format: &Format) -> Container {
    if format.is_adts() { Container::Aac } else { Container::Mp3 }
}

/// Returns the container whose signature these bytes begin with.
fn signature(bytes: &[u8], any_page: bool) -> Option<Container> {
    let is_page = || ogg::PageHeader::read(bytes).is_some_and(|page| any_page || page.begins);
    match bytes {
        [b'R' | b'B', ..] if is_wave(bytes) => Some(Container::Wav),
        [b'F', b'O', ..] if is_aiff(bytes) => Some(Container::Aiff),
        [b'f', b'L', ..] if flac::is_head(bytes) => Some(Container::Flac),
        [b'O', b'g', ..] if is_page() => Some(Container::Ogg),
        [0, ..] if mp4::is_type(bytes) => Some(Container::M4a),
        _ => None,
    }
}

/// Searches from `from` on for the next file, or for the place where the searched file continues. The time that this
/// takes grows only with the number of bytes.
pub(super) fn next<S: Source>(
    scan: &mut Scan<'_, S>,
    from: u64,
    within: Within,
) -> io::Result<Option<Beginning>> {
    next_behind(scan, from, within, |_, _| {})
}

/// Searches like [`next`], and calls `passed` for each skipped piece, with the bytes and how many of them are skipped.
pub(super) fn next_behind<S: Source>(
    scan: &mut Scan<'_, S>,
    from: u64,
    within: Within,
    mut passed: impl FnMut(&[u8], usize),
) -> io::Result<Option<Beginning>> {
    let end = scan.range.end;
    let mut left = MOST_TAGS;
    let mut start = from;
    while start < end {
        let (bytes, is_end) = scan.ahead(start, stream::AHEAD + 1)?;
        let places = if is_end { bytes.len() } else { bytes.len().saturating_sub(stream::AHEAD) };
        // No place is left only at the end, or if the file is shorter than before.
        if places == 0 {
            break;
        }
        let mut tags_at = Vec::new();
        let found = Window { bytes, within, is_end }.search(0..places, &mut tags_at);
        passed(bytes, found.map_or(places, |(place, _)| place));
        // The tag is in front of the file that was found, or of a file whose beginning is further away.
        for place in tags_at.into_iter().filter(|place| found.is_none_or(|(found, _)| *place < found)) {
            if left == 0 {
                break;
            }
            left -= 1;
            if let Some(found) = at(scan, start + place as u64)? {
                return Ok(Some(found));
            }
        }
        if let Some((place, container)) = found {
            let at = start + place as u64;
            return Ok(Some(Beginning { container, at, tags: at }));
        }
        start += places as u64;
    }
    Ok(None)
}

/// A block of bytes that is searched.
struct Window<'b> {
    bytes: &'b [u8],
    within: Within,
    /// True if nothing follows the bytes.
    is_end: bool,
}

impl Window<'_> {
    /// Returns the first of these places at which a file begins. Records the places of tags in front of it.
    fn search(&self, places: Range<usize>, tags: &mut Vec<usize>) -> Option<(usize, Container)> {
        let mut search = stream::FrameSearch::default();
        let mut place = places.start;
        while let Some(found) = self.bytes.get(place..places.end)?.iter().position(|byte| begins(*byte)) {
            place += found;
            let bytes = self.bytes.get(place..)?;
            match bytes {
                [0xff, ..] => {
                    if let Some(frame) = self.frame(&mut search, bytes) {
                        return Some((place, container(&frame.format)));
                    }
                }
                [b'I', b'D', b'3', ..] => {
                    if tags.len() < MOST_TAGS as usize {
                        tags.push(place);
                    }
                }
                _ => {
                    if let Some(container) = signature(bytes, self.within == Within::Ogg) {
                        return Some((place, container));
                    }
                }
            }
            place += 1;
        }
        None
    }

    fn frame(&self, search: &mut stream::FrameSearch, bytes: &[u8]) -> Option<Frame> {
        match self.within {
            Within::Flac if flac::FrameHeader::read(bytes).is_some() => return None,
            Within::Frames(format) => {
                let first = stream::frame(bytes).filter(|first| first.format == format);
                let goes_on = |first: &Frame| {
                    let behind = usize::try_from(first.size).unwrap_or(usize::MAX);
                    match bytes.get(behind..) {
                        Some([]) => self.is_end,
                        Some(next) => stream::frame(next).is_some_and(|next| next.format == format),
                        None => false,
                    }
                };
                if let Some(first) = first.filter(goes_on) {
                    return Some(first);
                }
            }
            _ => {}
        }
        search.first_agreeing(bytes)
    }
}

/// Returns true if a file, a frame or a tag in front of one may begin with this byte.
fn begins(byte: u8) -> bool {
    matches!(byte, 0xff | 0 | b'I' | b'R' | b'B' | b'F' | b'f' | b'O')
}
