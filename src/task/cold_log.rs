//! The chunks of a task that has ended, as one piece of memory: what stays of its log until the retention has passed.
//!
//! There are many of these, and most are never read: a frame costs its bytes and the place of its end, and a task one
//! allocation for the bytes and one for the places. Whoever reads gets slices of the bytes; nothing is copied.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Logs that were made in this process, living ones too.
static LOGS: AtomicUsize = AtomicUsize::new(0);

/// A number that no other log of this process has.
pub(super) fn next_number() -> usize {
    LOGS.fetch_add(1, Ordering::Relaxed)
}

/// The frames of an ended task, the terminal one included; cheap to clone.
#[derive(Debug, Clone)]
pub struct ColdLog(Arc<Frames>);

#[derive(Debug)]
struct Frames {
    bytes: Bytes,
    /// Where each frame ends.
    ends: Box<[usize]>,
    number: usize,
    subscriptions: AtomicUsize,
}

impl ColdLog {
    /// Copies frames together.
    #[must_use]
    pub fn of<'a>(frames: impl Iterator<Item = &'a Bytes> + Clone) -> Self {
        // Measured first: what is reserved in vain would stay.
        let (mut bytes, mut ends) = (0, Vec::with_capacity(frames.clone().count()));
        for frame in frames.clone() {
            bytes += frame.len();
            ends.push(bytes);
        }
        let mut together = Vec::with_capacity(bytes);
        frames.for_each(|frame| together.extend_from_slice(frame));
        Self(Arc::new(Frames {
            bytes: together.into(),
            ends: ends.into(),
            number: next_number(),
            subscriptions: AtomicUsize::new(0),
        }))
    }

    /// How many frames there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ends.len()
    }

    /// Is there no frame?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// Up to where the frames from the beginning of `range` on weigh at most `most_bytes`; at least one is taken.
    #[must_use]
    pub fn reach(&self, range: Range<usize>, most_bytes: usize) -> usize {
        let begin = self.begin(range.start);
        let ahead = self.0.ends.get(range.clone()).unwrap_or_default();
        range.start + ahead.partition_point(|end| end - begin <= most_bytes).max(1)
    }

    /// These frames, as far as they exist, in one piece.
    #[must_use]
    pub fn piece(&self, range: Range<usize>) -> Bytes {
        self.0.bytes.slice(self.begin(range.start)..self.begin(range.end))
    }

    /// Where this frame begins.
    fn begin(&self, frame: usize) -> usize {
        let Some(before) = frame.checked_sub(1) else { return 0 };
        self.0.ends.get(before).copied().unwrap_or(self.0.bytes.len())
    }

    /// The log's number.
    #[must_use]
    pub fn number(&self) -> usize {
        self.0.number
    }

    /// How many subscriptions there have been.
    #[must_use]
    pub fn subscriptions(&self) -> &AtomicUsize {
        &self.0.subscriptions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shared() {
        let frames = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let log = ColdLog::of(frames.iter());
        assert_eq!(log.piece(0..2).slice(1..).as_ptr(), log.piece(1..2).as_ptr());
        assert_eq!((log.piece(0..2), log.len()), (Bytes::from_static(b"ab"), 2));
    }
}
