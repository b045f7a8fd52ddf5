//! Native FLAC files: the marks where one ends and the next begins, and the last frame of each, which tells
//! how much sound there is whatever the header says.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::beginning::{self, Beginning, Within};
use super::scan::Scan;
use super::{Layout, Part, time};
use crate::audio::container::Container;
use crate::audio::format::flac::{FrameHeader, HEAD, StreamInfo, frame_ends, metadata_end};
use crate::audio::format::tags;
use crate::audio::reading::Source;

/// How much of the end of a file is searched for its last frame, where no frame can be longer.
const TAIL: Range<u64> = 64 << 10..1 << 20;

/// Finds the file that begins at `start`, and the one behind it.
pub(super) fn find<S: Source>(
    layout: &mut Layout,
    scan: &mut Scan<'_, S>,
    start: u64,
) -> io::Result<Option<Beginning>> {
    let end = scan.range.end;
    let frames = metadata_end(scan.source(), start)?.map_or(end, |frames| frames.min(end));
    let next = beginning::next(scan, frames, Within::Flac)?;
    let part = part(scan, start..next.map_or(end, |next| next.tags))?;
    let is_added = layout.push(part);
    Ok(next.filter(|_| is_added))
}

fn part<S: Source>(scan: &mut Scan<'_, S>, range: Range<u64>) -> io::Result<Part> {
    let mut part = Part { container: Container::Flac, range: range.clone(), duration: None, is_cut: false };
    let head = scan.read_apart(range.start..range.end.min(range.start + HEAD as u64))?;
    let Some(stream) = StreamInfo::read(&head) else { return Ok(part) };
    // Twice, because something else may stand behind the last frame.
    let size = (2 * stream.most_bytes).clamp(TAIL.start, TAIL.end);
    let size = if stream.most_bytes == 0 { TAIL.end } else { size };
    let from = range.end.saturating_sub(size).max(range.start + head.len() as u64);
    let tail = scan.read_apart(from..range.end)?;
    let Some(last) = Last::find(&tail, &stream) else {
        part.is_cut = stream.samples > 0;
        return Ok(part);
    };
    let samples = match last.length {
        Some(length) => {
            part.range.end = from + (last.at + length) as u64;
            last.end
        }
        None => {
            part.is_cut = true;
            last.start
        }
    };
    part.duration = Some(time(samples, stream.rate)).filter(|duration| *duration > Duration::ZERO);
    Ok(part)
}

/// The last frame of a file.
struct Last {
    /// Where it is in the tail.
    at: usize,
    /// Its first sample, and the one behind its last.
    start: u64,
    end: u64,
    /// Its length in bytes; `None` if it is not whole.
    length: Option<usize>,
}

impl Last {
    fn find(tail: &[u8], stream: &StreamInfo) -> Option<Self> {
        memchr::memrchr_iter(0xff, tail).find_map(|at| {
            let bytes = tail.get(at..)?;
            let FrameHeader { number, is_sample, block, rate } = FrameHeader::read(bytes)?;
            let most_block = u64::from(stream.most_block);
            if rate.is_some_and(|rate| rate != stream.rate) || block > most_block.max(1) {
                return None;
            }
            let start = if is_sample { number } else { number.checked_mul(most_block)? };
            let end = start.checked_add(block)?;
            let is_last = stream.samples > 0 && end >= stream.samples;
            Some(Self { at, start, end, length: length(bytes, is_last) })
        })
    }
}

/// Returns the length of the frame that these bytes begin, by the checksum at its end. What stands behind it is a tag,
/// or anything if the frame is known to be the last.
fn length(bytes: &[u8], is_last: bool) -> Option<usize> {
    let is_end = |end: &usize| {
        let rest = bytes.get(*end..).unwrap_or_default();
        rest.is_empty() || is_last || tags::length(rest, rest.len() as u64).is_some()
    };
    frame_ends(bytes).filter(is_end).last()
}
