//! A list of values that many threads read while one thread appends to it, without a lock.

use std::sync::OnceLock;

/// Slots in the first segment. Each further segment is twice as large, so a short answer takes little memory and a long
/// answer needs few allocations.
const FIRST_SEGMENT: usize = 16;
/// The largest number of segments. They have room for 16 · (2^26 - 1) entries, about a thousand million.
const SEGMENTS: usize = 26;

/// A list of values that grows at its end. Each value is set once.
#[derive(Debug)]
pub(super) struct Slots<T> {
    segments: [OnceLock<Box<[OnceLock<T>]>>; SEGMENTS],
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { segments: [const { OnceLock::new() }; SEGMENTS] }
    }
}

impl<T> Slots<T> {
    /// Returns the segment of slot `index`, and the slot's place within that segment.
    fn place(index: usize) -> (usize, usize) {
        let n = index / FIRST_SEGMENT + 1;
        let segment = n.ilog2() as usize;
        (segment, index - FIRST_SEGMENT * ((1 << segment) - 1))
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (segment, place) = Self::place(index);
        self.segments.get(segment)?.get()?.get(place)?.get()
    }

    /// Returns the slot, or `None` beyond the last segment.
    pub(super) fn slot(&self, index: usize) -> Option<&OnceLock<T>> {
        let (segment, place) = Self::place(index);
        let slots = || (0..FIRST_SEGMENT << segment).map(|_| OnceLock::new()).collect();
        self.segments.get(segment)?.get_or_init(slots).get(place)
    }
}
