//! Finds sound in frames without a container: follows the frames by their lengths, finds them again after other bytes,
//! and begins a new part where another file or another format begins.

use std::io;
use std::time::Duration;

use super::beginning::{self, Beginning, Within};
use super::scan::Scan;
use super::{Layout, Part, time};
use crate::audio::format::frame::{Format, Frame, Info, LONGEST_HEADER, is_begun};
use crate::audio::format::{mpeg, stream, tags};
use crate::audio::reading::Source;

/// The number of bytes of a frame that are inspected: its header, and in the first frame the description of the file.
const HEAD: usize = 192;

/// The part that is being followed.
struct Run {
    start: u64,
    end: u64,
    format: Format,
    info: Option<Info>,
    frames: u64,
    samples: u64,
    is_cut: bool,
}

/// Finds the parts of a file of frames from `start` on, of MPEG audio and ADTS alike, and the file of another kind that
/// follows.
pub(super) fn find<S: Source>(
    layout: &mut Layout,
    scan: &mut Scan<'_, S>,
    start: u64,
) -> io::Result<Option<Beginning>> {
    let end = scan.range.end;
    let mut at = start;
    let mut run: Option<Run> = None;
    while at < end {
        let head = scan.bytes(at, HEAD)?;
        if head.is_empty() {
            break;
        }
        if let Some(length) = tags::length(head, end - at) {
            if !close(layout, run.take()) {
                return Ok(None);
            }
            at = at.saturating_add(length);
            continue;
        }
        let ends_in_header = head.len() < LONGEST_HEADER && is_begun(head);
        let frame = stream::frame(head);
        let info = frame.filter(|frame| !frame.is_adts()).and_then(|frame| mpeg::info(head, &frame));
        let follows =
            |frame: &Frame| run.as_ref().is_some_and(|run| run.end == at && run.format == frame.format);
        match frame {
            Some(frame) if follows(&frame) || is_confirmed(scan, at, &frame)? => {
                let whole = at.saturating_add(frame.size) <= end;
                if !run.as_ref().is_some_and(|run| run.format == frame.format && info.is_none()) && whole {
                    if !close(layout, run.take()) {
                        return Ok(None);
                    }
                    run = Some(Run::begin(at, frame.format));
                }
                if let Some(run) = &mut run {
                    if run.end < at {
                        layout.add_other_bytes(run.end..at);
                    }
                    run.add(&frame, info, whole, at);
                }
                at = at.saturating_add(frame.size);
            }
            _ if ends_in_header && run.as_ref().is_some_and(|run| run.end == at) => {
                run.iter_mut().for_each(|run| run.is_cut = true);
                break;
            }
            _ => {
                let within = run.as_ref().map_or(Within::Nothing, |run| Within::Frames(run.format));
                let is_same = |found: &Beginning| found.at == at && found.is_of_frames();
                let next = match beginning::next(scan, at, within)? {
                    Some(found) if is_same(&found) => beginning::next(scan, at + 1, within)?,
                    next => next,
                };
                match next {
                    Some(next) if next.is_of_frames() => at = next.at,
                    Some(next) => {
                        close(layout, run);
                        return Ok(Some(next));
                    }
                    None => break,
                }
            }
        }
    }
    if scan.is_exhausted()
        && let Some(run) = &mut run
    {
        run.extend(end);
    }
    close(layout, run);
    Ok(None)
}

/// Returns true if another frame of the same format, the end or a tag follows this frame. A sync of a dozen bits alone
/// proves nothing.
fn is_confirmed<S: Source>(scan: &mut Scan<'_, S>, at: u64, frame: &Frame) -> io::Result<bool> {
    let behind = at.saturating_add(frame.size);
    let left = scan.range.end.saturating_sub(behind);
    if behind >= scan.range.end {
        return Ok(behind == scan.range.end);
    }
    let head = scan.bytes(behind, HEAD)?;
    let is_next = stream::frame(head).is_some_and(|next| next.format == frame.format);
    Ok(is_next || tags::length(head, left).is_some())
}

fn close(layout: &mut Layout, run: Option<Run>) -> bool {
    match run {
        Some(run) if run.samples > 0 => layout.push(run.part()),
        _ => true,
    }
}

impl Run {
    fn begin(at: u64, format: Format) -> Self {
        Self { start: at, end: at, format, info: None, frames: 0, samples: 0, is_cut: false }
    }

    fn add(&mut self, frame: &Frame, info: Option<Info>, whole: bool, at: u64) {
        if whole {
            self.end = at.saturating_add(frame.size);
        } else {
            self.is_cut = true;
        }
        if info.is_some() {
            self.info = info;
        } else if whole {
            self.frames += 1;
            self.samples += u64::from(frame.samples);
        }
    }

    /// Counts bytes that were not inspected as if they held frames of the same size.
    fn extend(&mut self, end: u64) {
        let known = self.end.saturating_sub(self.start).max(1);
        let all = end.saturating_sub(self.start);
        self.samples = (u128::from(self.samples) * u128::from(all) / u128::from(known)) as u64;
        self.end = end;
    }

    fn part(&self) -> Part {
        Part {
            duration: Some(self.duration()),
            is_cut: self.is_cut,
            ..Part::new(beginning::container(&self.format), self.start..self.end)
        }
    }

    fn duration(&self) -> Duration {
        let is_whole = |info: &Info| info.frames.is_none_or(|frames| frames <= self.frames);
        let dropped = self.info.map_or(0, |info| {
            // The samples to drop from the end are not present if the end is missing.
            info.delay + if is_whole(&info) { info.padding } else { 0 }
        });
        time(self.samples.saturating_sub(dropped), self.format.rate)
    }
}
