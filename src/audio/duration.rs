//! Computes how long a file lasts from its content: its frames, pages, samples or index, not from the duration that its
//! header states. Nothing is decoded.

use std::time::Duration;

use super::container::Container;
use super::layout::{LONGEST, Layout};
use super::reading::Source;

/// The most bytes of a file that are scanned: all that a request may carry, and the beginning of longer files, from
/// which the rest is estimated.
const MOST_SCANNED: u64 = 32 << 20;

/// Returns how long the file in `source` lasts, which is of this container, from a bounded number of bytes; `None` if
/// that cannot be known. Leaves `source` at its start.
///
/// Files that were joined are counted together.
pub fn stated_duration(source: &mut impl Source, container: Container) -> Option<Duration> {
    let length = Layout::find(source, container, MOST_SCANNED).ok()?.duration();
    length.filter(|length| (1..=LONGEST.as_nanos()).contains(&length.as_nanos()))
}

#[cfg(test)]
mod tests;
