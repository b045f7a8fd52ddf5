//! How long a file lasts by what is there of it: by its frames, its pages, its samples or its index, and not by what
//! its header promises. Nothing is decoded.

use std::time::Duration;

use super::container::Container;
use super::layout::{LONGEST, Layout};
use super::reading::Source;

/// As much of a file is looked through: all of what a request may carry, and the beginning of longer ones, from which
/// the rest is estimated.
const MOST_SCANNED: u64 = 32 << 20;

/// Returns how long the file in `source`, which is of this container, lasts, from a bounded number of bytes; `None` if
/// that cannot be known. Leaves `source` at its start.
///
/// Files that were joined count together.
pub fn stated_duration(source: &mut impl Source, container: Container) -> Option<Duration> {
    let length = Layout::find(source, container, MOST_SCANNED).ok()?.duration();
    length.filter(|length| (1..=LONGEST.as_nanos()).contains(&length.as_nanos()))
}

#[cfg(test)]
mod tests;
