//! Finds the end of an MPEG-4 file and the beginning of the next one. Counts the sound that is present in a file that
//! was cut off or written in fragments: its index states too much or nothing.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::beginning::{self, Beginning};
use super::scan::Scan;
use super::{Layout, Part};
use crate::audio::container::Container;
use crate::audio::format::mp4::Outer;
use crate::audio::format::mp4::times::SampleDurations;
use crate::audio::format::tags;
use crate::audio::library::{ask_part, is_sound};
use crate::audio::reading::{Source, Window, read_at};

/// Finds the files from `start` on, and the file of another kind that follows.
pub(super) fn find<S: Source>(
    layout: &mut Layout,
    scan: &mut Scan<'_, S>,
    mut start: u64,
    most: u64,
) -> io::Result<Option<Beginning>> {
    let end = scan.range.end;
    let mut outer = Outer::new(start, end);
    let mut boxes_end = start;
    let mut file = File::default();
    while let Some(next) = outer.next(scan.source())? {
        // A tag behind the last box looks like the beginning of a huge box.
        if next.end > end {
            let head = read_at::<{ tags::HEAD }>(scan.source(), next.start)?;
            if tags::length(head.bytes(), end - next.start).is_some() {
                break;
            }
            file.is_cut = true;
        }
        if next.is(b"ftyp") && file.has_content {
            if !std::mem::take(&mut file).add(layout, scan.source(), start..next.start, most)? {
                return Ok(None);
            }
            start = next.start;
        }
        if next.is(b"moov") {
            file.movie = next.start.saturating_add(next.head)..next.end.min(end);
        }
        file.has_content |= next.is(b"moov") || next.is(b"mdat");
        file.is_fragmented |= next.is(b"moof");
        file.is_cut |= next.kind.is_none();
        boxes_end = next.end.min(end);
    }
    let next = beginning::behind(scan, boxes_end)?;
    let left = read_at::<{ tags::HEAD }>(scan.source(), boxes_end)?;
    // Fragments fill a file up to its end.
    let is_filled = left.bytes().is_empty() || tags::length(left.bytes(), end - boxes_end).is_some();
    file.is_cut |= file.is_fragmented && next.is_none() && !is_filled;
    let part_end = next.map_or(end, |_| boxes_end);
    let is_added = file.add(layout, scan.source(), start..part_end, most)?;
    Ok(next.filter(|_| is_added))
}

/// A file, as far as its boxes were seen.
#[derive(Default)]
struct File {
    has_content: bool,
    is_fragmented: bool,
    is_cut: bool,
    /// The range of the content of the file's index.
    movie: Range<u64>,
}

impl File {
    fn add(
        self,
        layout: &mut Layout,
        source: &mut impl Source,
        range: Range<u64>,
        most: u64,
    ) -> io::Result<bool> {
        let is_counted = self.is_fragmented || self.is_cut;
        let duration = if is_counted { count(source, range.clone(), self.movie, most)? } else { None };
        Ok(layout.push(Part { duration, is_cut: self.is_cut, ..Part::new(Container::M4a, range) }))
    }
}

/// Returns how long the present samples of the first sound track last: as long as they state, unless their codec
/// contradicts.
fn count(
    source: &mut impl Source,
    range: Range<u64>,
    movie: Range<u64>,
    most: u64,
) -> io::Result<Option<Duration>> {
    let start = range.start;
    let mut file = Window::new(source, range.clone())?;
    let paces =
        SampleDurations::read(&mut file, movie.start.saturating_sub(start)..movie.end.saturating_sub(start))?;
    ask_part(source, range, Container::M4a, most, |format| {
        let track = format.tracks().iter().find(|track| is_sound(track))?;
        let (id, base) = (track.id, track.time_base?);
        let (mut length, mut samples) = (0_u64, 0);
        while let Ok(Some(packet)) = format.next_packet() {
            if packet.track_id == id {
                length = length.saturating_add(packet.dur.get());
                samples += 1;
            }
        }
        let stated = base.calc_duration(length.into()).map_or(0.0, |length| length.as_secs_f64());
        let seconds = paces.contradict(id, samples, stated).unwrap_or(stated);
        Duration::try_from_secs_f64(seconds).ok()
    })
}
