//! Finds the end of a WAVE or AIFF file, with the chunks after its samples, and the beginning of the next file.

use std::io;

use super::beginning::{self, Beginning};
use super::scan::Scan;
use super::{Layout, Part};
use crate::audio::container::Container;
use crate::audio::format::{aiff, wave};
use crate::audio::reading::{Source, Window};

/// Finds the file that begins at `start`, and the one behind it.
pub(super) fn find<S: Source>(
    layout: &mut Layout,
    scan: &mut Scan<'_, S>,
    start: u64,
    container: Container,
) -> io::Result<Option<Beginning>> {
    let range = start..scan.range.end;
    // Only a head is left, with nothing in it.
    if range.end.saturating_sub(start) <= 12 {
        return Ok(None);
    }
    let mut file = Window::new(scan.source(), range.clone())?;
    let found =
        if container == Container::Wav { wave::first_shape(&mut file) } else { aiff::shape(&mut file) }?;
    let end = start.saturating_add(found.end).min(range.end);
    let part = Part { is_cut: found.is_cut, ..Part::new(container, start..end) };
    if end <= start || !layout.push(part) {
        return Ok(None);
    }
    beginning::behind(scan, end)
}
