//! WAVE and AIFF files: where one ends, with the chunks behind its samples, and another begins.

use std::io;
use std::ops::Range;

use super::{Layout, Part};
use crate::audio::container::Container;
use crate::audio::format::aiff::{self, is_aiff};
use crate::audio::format::wave::{self, is_wave};
use crate::audio::reading::{Source, Window, read_at};

/// Finds the files.
pub(super) fn find(
    layout: &mut Layout,
    source: &mut impl Source,
    mut range: Range<u64>,
    container: Container,
) -> io::Result<()> {
    // A head, and something in it.
    while range.end - range.start > 12 {
        let mut file = Window::new(source, range.clone())?;
        let found =
            if container == Container::Wav { wave::shape(&mut file) } else { aiff::shape(&mut file) }?;
        let end = range.start.saturating_add(found.end).min(range.end);
        let part = Part { range: range.start..end, duration: None, is_cut: found.is_cut };
        // Behind the first, only what begins like it is another.
        if end <= range.start || !layout.push(part) {
            break;
        }
        let head = read_at::<12>(source, end)?;
        if !is_wave(head.bytes()) && !is_aiff(head.bytes()) {
            break;
        }
        range.start = end;
    }
    Ok(())
}
