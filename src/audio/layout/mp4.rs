//! MPEG-4 files: where one ends and another begins, and how much of the sound is there of a file that was cut off or
//! that is written in fragments, whose index says too much or nothing.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::{Layout, Part};
use crate::audio::container::Container;
use crate::audio::format::{mp4, tags};
use crate::audio::library::{ask_part, is_sound};
use crate::audio::reading::{Source, read_at};

/// Finds the files.
pub(super) fn find(
    layout: &mut Layout,
    source: &mut impl Source,
    range: Range<u64>,
    most: u64,
) -> io::Result<()> {
    let mut found = Vec::new();
    mp4::each_outer(source, range.start, range.end, |next| found.push(next))?;
    let mut start = range.start;
    let (mut has_content, mut is_fragmented, mut is_cut) = (false, false, false);
    for next in found {
        if &next.kind == b"ftyp" && has_content {
            if !add(layout, source, start..next.start, is_fragmented, is_cut, most)? {
                return Ok(());
            }
            (start, has_content, is_fragmented) = (next.start, false, false);
        }
        has_content |= matches!(&next.kind, b"moov" | b"mdat");
        is_fragmented |= &next.kind == b"moof";
        // A tag behind the last box looks like the beginning of a huge one.
        is_cut = next.end > range.end && {
            let head = read_at::<{ tags::HEAD }>(source, next.start)?;
            tags::length(head.bytes(), range.end - next.start).is_none()
        };
    }
    add(layout, source, start..range.end, is_fragmented, is_cut, most)?;
    Ok(())
}

fn add(
    layout: &mut Layout,
    source: &mut impl Source,
    range: Range<u64>,
    is_fragmented: bool,
    is_cut: bool,
    most: u64,
) -> io::Result<bool> {
    let duration = if is_fragmented || is_cut { count(source, range.clone(), most)? } else { None };
    Ok(layout.push(Part { range, duration, is_cut }))
}

/// Counts what the samples that are there last, those of the first track of sound.
fn count(source: &mut impl Source, range: Range<u64>, most: u64) -> io::Result<Option<Duration>> {
    ask_part(source, range, Container::M4a, most, |format| {
        let track = format.tracks().iter().find(|track| is_sound(track))?;
        let (id, base) = (track.id, track.time_base?);
        let mut length = 0_u64;
        while let Ok(Some(packet)) = format.next_packet() {
            if packet.track_id == id {
                length = length.saturating_add(packet.dur.get());
            }
        }
        let length = base.calc_duration(length.into())?;
        Duration::try_from_secs_f64(length.as_secs_f64()).ok()
    })
}
