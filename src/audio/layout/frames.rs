//! Sound in frames that stand one behind the other with no container around: follows them by their lengths, finds
//! them again behind whatever stands between, and begins a new part where another file or another format begins.

use std::io;
use std::time::Duration;

use super::scan::Scan;
use super::{Layout, Part, time};
use crate::audio::format::frame::{Format, Frame, Info, Kind, LONGEST_HEADER, is_begun};
use crate::audio::format::tags;
use crate::audio::reading::Source;

/// How many bytes of a frame are looked at: its header, and in the first one what it says of the whole.
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

/// Finds the parts of a file of frames.
pub(super) fn find<S: Source>(layout: &mut Layout, scan: &mut Scan<'_, S>, kind: &Kind) -> io::Result<()> {
    let end = scan.range.end;
    let mut at = scan.range.start;
    let mut run: Option<Run> = None;
    while at < end {
        let head = scan.bytes(at, HEAD)?;
        if head.is_empty() {
            break;
        }
        if let Some(length) = tags::length(head, end - at) {
            if !close(layout, run.take()) {
                return Ok(());
            }
            at = at.saturating_add(length);
            continue;
        }
        let ends_in_header = head.len() < LONGEST_HEADER && is_begun(head);
        let frame = (kind.frame)(head);
        let info = frame.and_then(|frame| (kind.info)(head, &frame));
        let follows =
            |frame: &Frame| run.as_ref().is_some_and(|run| run.end == at && run.format == frame.format);
        match frame {
            Some(frame) if follows(&frame) || is_confirmed(scan, kind, at, &frame)? => {
                let whole = at.saturating_add(frame.size) <= end;
                if !run.as_ref().is_some_and(|run| run.format == frame.format && info.is_none()) && whole {
                    if !close(layout, run.take()) {
                        return Ok(());
                    }
                    run = Some(Run::begin(at, frame.format));
                }
                if let Some(run) = &mut run {
                    run.add(&frame, info, whole, at);
                }
                at = at.saturating_add(frame.size);
            }
            _ if ends_in_header && run.as_ref().is_some_and(|run| run.end == at) => {
                run.iter_mut().for_each(|run| run.is_cut = true);
                break;
            }
            _ => at = next_sync(scan, at + 1)?,
        }
    }
    if scan.is_exhausted()
        && let Some(run) = &mut run
    {
        run.extend(end);
    }
    close(layout, run);
    Ok(())
}

/// Is there another frame of the same format behind this one, or the end, or a tag? A sync of a dozen bits proves
/// nothing by itself.
fn is_confirmed<S: Source>(scan: &mut Scan<'_, S>, kind: &Kind, at: u64, frame: &Frame) -> io::Result<bool> {
    let behind = at.saturating_add(frame.size);
    let left = scan.range.end.saturating_sub(behind);
    if behind >= scan.range.end {
        return Ok(behind == scan.range.end);
    }
    let head = scan.bytes(behind, HEAD)?;
    let is_next = (kind.frame)(head).is_some_and(|next| next.format == frame.format);
    Ok(is_next || tags::length(head, left).is_some())
}

/// Returns where the next byte stands that may begin a frame or a tag, from `at` on.
fn next_sync<S: Source>(scan: &mut Scan<'_, S>, mut at: u64) -> io::Result<u64> {
    let end = scan.range.end;
    loop {
        let block = scan.block(at)?;
        if block.is_empty() {
            return Ok(end);
        }
        let tag = memchr::memmem::find(block, b"ID3");
        let sync = memchr::memchr(0xff, block);
        if let Some(found) = tag.into_iter().chain(sync).min() {
            return Ok(at + found as u64);
        }
        at += block.len() as u64;
    }
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

    /// Takes what was not looked at for more of the same.
    fn extend(&mut self, end: u64) {
        let known = self.end.saturating_sub(self.start).max(1);
        let all = end.saturating_sub(self.start);
        self.samples = (u128::from(self.samples) * u128::from(all) / u128::from(known)) as u64;
        self.end = end;
    }

    fn part(&self) -> Part {
        Part { range: self.start..self.end, duration: Some(self.duration()), is_cut: self.is_cut }
    }

    fn duration(&self) -> Duration {
        let is_whole = |info: &Info| info.frames.is_none_or(|frames| frames <= self.frames);
        let dropped = self.info.map_or(0, |info| {
            // What is dropped from the end is not there if the end is not.
            info.delay + if is_whole(&info) { info.padding } else { 0 }
        });
        time(self.samples.saturating_sub(dropped), self.format.rate)
    }
}
