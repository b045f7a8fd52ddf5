//! Native FLAC files. The marks show where one file ends and the next begins. The last frame of each file shows how
//! much sound it has, whatever the header states. The numbers of all frames show how much of it is missing.

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

/// How many bytes at the end of a file are searched for its last frame, unless a frame can be longer.
const TAIL: Range<u64> = 64 << 10..1 << 20;

/// Finds the file that begins at `start`, and the one behind it.
pub(super) fn find<S: Source>(
    layout: &mut Layout,
    scan: &mut Scan<'_, S>,
    start: u64,
) -> io::Result<Option<Beginning>> {
    let end = scan.range.end;
    let head = scan.read_apart(start..end.min(start + HEAD as u64))?;
    let mut frames = Frames::of(StreamInfo::read(&head));
    let sound = metadata_end(scan.source(), start)?.map_or(end, |sound| sound.min(end));
    let next =
        beginning::next_behind(scan, sound, Within::Flac, |bytes, count| frames.add_frames(bytes, count))?;
    let part = part(scan, start..next.map_or(end, |next| next.tags), &frames)?;
    let is_added = layout.push(part);
    Ok(next.filter(|_| is_added))
}

fn part<S: Source>(scan: &mut Scan<'_, S>, range: Range<u64>, frames: &Frames) -> io::Result<Part> {
    let mut part = Part::new(Container::Flac, range.clone());
    let Some(stream) = &frames.stream else { return Ok(part) };
    // Twice the longest frame, because other bytes may follow the last frame.
    let size = (2 * stream.most_bytes).clamp(TAIL.start, TAIL.end);
    let size = if stream.most_bytes == 0 { TAIL.end } else { size };
    let from = range.end.saturating_sub(size).max(range.start + HEAD as u64);
    let tail = scan.read_apart(from..range.end)?;
    let seen = frames.next.filter(|_| !scan.is_exhausted());
    let Some(last) = Last::find(&tail, stream, seen) else {
        // No frame is where the last one should be: only the frames that were seen are present.
        part.is_cut = stream.samples > 0;
        part.duration = frames.duration(frames.next.unwrap_or(0), 0);
        return Ok(part);
    };
    let end = match last.length {
        Some(length) => {
            part.range.end = from + (last.at + length) as u64;
            last.end
        }
        None => {
            part.is_cut = true;
            last.start
        }
    };
    part.duration = frames.duration(end, seen.map_or(0, |seen| last.start.saturating_sub(seen)));
    Ok(part)
}

/// The frames of a file, as far as they were seen. Their numbers show how many samples are missing.
struct Frames {
    stream: Option<StreamInfo>,
    /// The sample behind the last frame that was seen.
    next: Option<u64>,
    /// The number of samples that are missing before `next`.
    missing: u64,
    /// The samples of a possible frame behind a hole. It is a frame if another follows it: in a million places, four
    /// bytes of sound look like the header of a frame.
    doubtful: Range<u64>,
}

impl Frames {
    fn of(stream: Option<StreamInfo>) -> Self {
        Self { stream, next: None, missing: 0, doubtful: 0..0 }
    }

    /// Looks for frames that begin in the first `count` bytes of a block.
    fn add_frames(&mut self, block: &[u8], count: usize) {
        for at in memchr::memchr_iter(0xff, block.get(..count).unwrap_or(block)) {
            let stream = self.stream.as_ref();
            if let Some(frame) = stream.and_then(|stream| samples(block.get(at..)?, stream)) {
                self.add(frame);
            }
        }
    }

    fn add(&mut self, frame: Range<u64>) {
        let next = self.next.unwrap_or(0);
        if frame.start == next {
            self.next = Some(frame.end);
        } else if frame.start == self.doubtful.end && self.doubtful.start > next {
            self.missing = self.missing.saturating_add(self.doubtful.start - next);
            self.next = Some(frame.end);
        } else if frame.start > next {
            self.doubtful = frame;
        }
    }

    /// Returns how long the samples up to `end` last, without the missing ones and without `more` others that were not
    /// seen.
    fn duration(&self, end: u64, more: u64) -> Option<Duration> {
        let there = end.saturating_sub(self.missing).saturating_sub(more);
        let rate = self.stream.as_ref()?.rate;
        Some(time(there, rate)).filter(|duration| *duration > Duration::ZERO)
    }
}

/// Returns the samples of the frame whose header these bytes begin.
fn samples(bytes: &[u8], stream: &StreamInfo) -> Option<Range<u64>> {
    let FrameHeader { number, is_sample, block, rate } = FrameHeader::read(bytes)?;
    let most_block = u64::from(stream.most_block);
    if rate.is_some_and(|rate| rate != stream.rate) || block > most_block.max(1) {
        return None;
    }
    let start = if is_sample { number } else { number.checked_mul(most_block)? };
    Some(start..start.checked_add(block)?)
}

/// The last frame of a file.
struct Last {
    /// The offset of the frame in the tail.
    at: usize,
    /// The first sample of the frame, and the sample after its last.
    start: u64,
    end: u64,
    /// The length of the frame in bytes; `None` if it is not whole.
    length: Option<usize>,
}

impl Last {
    /// Finds the last frame at the end of a file. If all frames were seen, up to sample `seen`, the last frame is one
    /// of them or is whole: four bytes within a frame may look like the header of another.
    fn find(tail: &[u8], stream: &StreamInfo, seen: Option<u64>) -> Option<Self> {
        memchr::memrchr_iter(0xff, tail).find_map(|at| {
            let bytes = tail.get(at..)?;
            let Range { start, end } = samples(bytes, stream)?;
            let is_last = stream.samples > 0 && end >= stream.samples;
            let length = length(bytes, is_last);
            let is_frame = length.is_some() || seen.is_none_or(|seen| seen == end);
            is_frame.then_some(Self { at, start, end, length })
        })
    }
}

/// Returns the length of the frame that these bytes begin, by the checksum at its end. A tag follows the frame, or any
/// bytes if the frame is known to be the last.
fn length(bytes: &[u8], is_last: bool) -> Option<usize> {
    let is_end = |end: &usize| {
        let rest = bytes.get(*end..).unwrap_or_default();
        rest.is_empty() || is_last || tags::length(rest, rest.len() as u64).is_some()
    };
    frame_ends(bytes).filter(is_end).last()
}
