//! Native FLAC (RFC 9639): the marks where one file ends and the next begins, and the last frame of each, which tells
//! how much sound there is whatever the header says.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::scan::Scan;
use super::{Layout, Part, tags, time};
use crate::audio::flac::FrameHeader;
use crate::audio::library::Source;

/// A mark, and the head of the block that follows it: the description of the stream.
const MARK: usize = 8;
/// Length of that block.
const STREAM_INFO: usize = 34;
/// The longest header of a frame, and its checksum at its end.
const FRAME_HEADER: usize = 16;
/// How much of the end of a file is searched for its last frame, where no frame can be longer.
const TAIL: Range<u64> = 64 << 10..1 << 20;

/// Finds the files.
pub(super) fn find<S: Source>(layout: &mut Layout, scan: &mut Scan<'_, S>) -> io::Result<()> {
    let mut start = scan.range.start;
    loop {
        let next = next_mark(scan, start + 1)?;
        let part = part(scan, start..next.unwrap_or(scan.range.end))?;
        match next {
            Some(next) if layout.push(part.clone()) => start = next,
            Some(_) => return Ok(()),
            None => {
                layout.push(part);
                return Ok(());
            }
        }
    }
}

/// Finds the next mark from `at` on.
fn next_mark<S: Source>(scan: &mut Scan<'_, S>, mut at: u64) -> io::Result<Option<u64>> {
    loop {
        let block = scan.block(at)?;
        if block.len() < MARK {
            // The end of what was read, or the end.
            if scan.bytes(at, MARK)?.len() < MARK {
                return Ok(None);
            }
            continue;
        }
        let mut found = memchr::memmem::find_iter(block, b"fLaC");
        let is_mark = |place: &usize| matches!(block.get(place + 4..place + MARK), Some([0 | 0x80, 0, 0, size]) if usize::from(*size) == STREAM_INFO);
        if let Some(place) = found.find(is_mark) {
            return Ok(Some(at + place as u64));
        }
        at += (block.len() - MARK + 1) as u64;
    }
}

/// What the header says.
struct Stream {
    most_block: u64,
    most_bytes: u64,
    rate: u32,
    /// 0 where it is not known.
    samples: u64,
}

impl Stream {
    fn read(block: &[u8]) -> Option<Self> {
        let block: &[u8; STREAM_INFO] = block.first_chunk()?;
        let [_, _, most_a, most_b, _, _, _, bytes_a, bytes_b, bytes_c, rest @ ..] = block;
        let rest = u64::from_be_bytes(*rest.first_chunk()?);
        Some(Self {
            most_block: u64::from(u16::from_be_bytes([*most_a, *most_b])),
            most_bytes: u64::from(u32::from_be_bytes([0, *bytes_a, *bytes_b, *bytes_c])),
            rate: (rest >> 44) as u32,
            samples: rest & ((1 << 36) - 1),
        })
    }
}

fn part<S: Source>(scan: &mut Scan<'_, S>, range: Range<u64>) -> io::Result<Part> {
    let mut part = Part { range: range.clone(), duration: None, is_cut: false };
    let head = scan.read_apart(range.start..range.end.min(range.start + (MARK + STREAM_INFO) as u64))?;
    let Some(stream) = head.get(MARK..).and_then(Stream::read) else { return Ok(part) };
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
    fn find(tail: &[u8], stream: &Stream) -> Option<Self> {
        memchr::memrchr_iter(0xff, tail).find_map(|at| {
            let bytes = tail.get(at..)?;
            let FrameHeader { number, is_sample, block, rate } = FrameHeader::read(bytes)?;
            if rate.is_some_and(|rate| rate != stream.rate) || block > stream.most_block.max(1) {
                return None;
            }
            let start = if is_sample { number } else { number.checked_mul(stream.most_block)? };
            let end = start.checked_add(block)?;
            let is_last = stream.samples > 0 && end >= stream.samples;
            Some(Self { at, start, end, length: length(bytes, is_last) })
        })
    }
}

/// Returns the length of the frame that these bytes begin, by the checksum at its end. What stands behind it is a tag,
/// or anything if the frame is known to be the last.
fn length(bytes: &[u8], is_last: bool) -> Option<usize> {
    let mut sum = 0_u16;
    let mut length = None;
    for (at, byte) in bytes.iter().enumerate() {
        sum = (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            if sum >> 15 == 1 { sum << 1 ^ 0x8005 } else { sum << 1 }
        });
        let behind = at + 1;
        // With its own checksum at the end, what was summed comes to nothing.
        if sum == 0 && behind > FRAME_HEADER / 2 {
            let rest = bytes.get(behind..).unwrap_or_default();
            if rest.is_empty() || is_last || tags::length(rest, rest.len() as u64).is_some() {
                length = Some(behind);
            }
        }
    }
    length
}
