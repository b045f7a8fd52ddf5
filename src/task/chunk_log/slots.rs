//! A row of values that many threads read while one adds to it, without a lock.

use std::sync::OnceLock;

/// Entries of the first segment; each further one is twice as large, so that a short answer costs little
/// and a long one few allocations.
const FIRST_SEGMENT: usize = 16;
/// Segments there can be: 16 · (2^26 - 1), about a thousand million entries.
const SEGMENTS: usize = 26;

/// A row of values that grows at its end, and of which each is set once.
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
    /// Segment and place within it of slot `index`.
    fn place(index: usize) -> (usize, usize) {
        let n = index / FIRST_SEGMENT + 1;
        let segment = n.ilog2() as usize;
        (segment, index - FIRST_SEGMENT * ((1 << segment) - 1))
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (segment, place) = Self::place(index);
        self.segments.get(segment)?.get()?.get(place)?.get()
    }

    /// Returns the slot, unless there are too many.
    pub(super) fn slot(&self, index: usize) -> Option<&OnceLock<T>> {
        let (segment, place) = Self::place(index);
        let slots = || (0..FIRST_SEGMENT << segment).map(|_| OnceLock::new()).collect();
        self.segments.get(segment)?.get_or_init(slots).get(place)
    }
}
