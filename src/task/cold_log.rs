//! The chunks of a task that has ended, until their retention has passed.
//!
//! There are many of these, and most are never read. A [`ColdLog`] is what readers hold: it knows where each frame
//! begins, and copies what it is asked for out of memory or, where the frames were let go of, out of what keeps them on
//! a disk. An [`EndedStream`] is the owner of the frames in memory. A reader that does not read therefore
//! keeps no frames in memory.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};

/// Streams of more than this many bytes are not held in memory if they are kept elsewhere: one would take the place of
/// thousands.
const MOST_HELD: usize = 4 << 20;

/// Logs that were made in this process, living ones too.
static LOGS: AtomicUsize = AtomicUsize::new(0);

/// A number that no other log of this process has.
pub(super) fn next_number() -> usize {
    LOGS.fetch_add(1, Ordering::Relaxed)
}

/// The first frames of a stream, as they are kept outside of memory.
pub trait Kept: fmt::Debug + Send + Sync {
    /// How many bytes they are.
    fn len(&self) -> usize;

    /// Returns true if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends these bytes of them to `buffer`. Blocks, about as long as a copy takes: they were written or read a short
    /// time ago.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&self, range: Range<usize>, buffer: &mut BytesMut) -> io::Result<()>;
}

/// The frames of an ended task, the terminal one included, as a reader knows them; cheap to clone.
#[derive(Debug, Clone)]
pub struct ColdLog(Arc<Frames>);

/// An ended stream, with those of its frames that are in memory.
#[derive(Debug, Clone)]
pub struct EndedStream {
    log: ColdLog,
    held: Option<Arc<Bytes>>,
}

#[derive(Debug)]
struct Frames {
    /// Where each frame ends.
    ends: Box<[usize]>,
    /// All frames, as long as the owner of the stream holds them.
    held: Weak<Bytes>,
    /// The first of them, where they are kept elsewhere.
    kept: Option<Arc<dyn Kept>>,
    /// Those that are not: the end of the stream.
    tail: Bytes,
    number: usize,
    subscriptions: AtomicUsize,
}

impl EndedStream {
    /// Makes an ended stream of its frames, of which the first may be kept elsewhere.
    #[must_use]
    pub fn of<'a>(frames: impl Iterator<Item = &'a Bytes> + Clone, kept: Option<Arc<dyn Kept>>) -> Self {
        // Measured first: what is reserved in vain would stay.
        let (mut bytes, mut ends) = (0, Vec::with_capacity(frames.clone().count()));
        for frame in frames.clone() {
            bytes += frame.len();
            ends.push(bytes);
        }
        // What is torn is no beginning of the stream.
        let whole = |kept: &Arc<dyn Kept>| kept.is_empty() || ends.binary_search(&kept.len()).is_ok();
        let kept = kept.filter(whole);
        let elsewhere = kept.as_ref().map_or(0, |kept| kept.len());
        let behind = ends.partition_point(|end| *end <= elsewhere);
        let tail = together(frames.clone().skip(behind), bytes - elsewhere);
        let held = (elsewhere > 0 && bytes <= MOST_HELD).then(|| Arc::new(together(frames, bytes)));
        let log = ColdLog(Arc::new(Frames {
            ends: ends.into(),
            held: held.as_ref().map(Arc::downgrade).unwrap_or_default(),
            kept: kept.filter(|kept| !kept.is_empty()),
            tail,
            number: next_number(),
            subscriptions: AtomicUsize::new(0),
        }));
        Self { log, held }
    }

    /// What readers are given.
    #[must_use]
    pub fn log(&self) -> &ColdLog {
        &self.log
    }

    /// Returns the bytes that it takes in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let Frames { ends, tail, .. } = &*self.log.0;
        self.held.as_ref().map_or(0, |held| held.len()) + tail.len() + size_of_val(&**ends)
    }

    /// Lets go of the frames that are kept elsewhere as well. False if there are none in memory.
    pub fn let_go(&mut self) -> bool {
        self.held.take().is_some()
    }
}

fn together<'a>(frames: impl Iterator<Item = &'a Bytes>, bytes: usize) -> Bytes {
    let mut together = Vec::with_capacity(bytes);
    frames.for_each(|frame| together.extend_from_slice(frame));
    together.into()
}

impl ColdLog {
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

    /// Returns the bytes of these frames, as far as they exist.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> usize {
        self.begin(range.end).saturating_sub(self.begin(range.start))
    }

    /// Appends these frames, as far as they exist, to `buffer`. False where they can no longer be read; then `buffer`
    /// may hold some of them.
    #[must_use]
    pub fn write_to(&self, range: Range<usize>, buffer: &mut BytesMut) -> bool {
        self.write_bytes(self.begin(range.start)..self.begin(range.end), buffer)
    }

    /// Appends these bytes of one frame, as far as they exist, to `buffer`. Returns false if they can no longer be read.
    #[must_use]
    pub fn write_part(&self, frame: usize, part: Range<usize>, buffer: &mut BytesMut) -> bool {
        let (begin, end) = (self.begin(frame), self.begin(frame + 1));
        self.write_bytes(end.min(begin + part.start)..end.min(begin + part.end), buffer)
    }

    fn write_bytes(&self, Range { start: begin, end }: Range<usize>, buffer: &mut BytesMut) -> bool {
        let Frames { held, kept, tail, .. } = &*self.0;
        if let Some(held) = held.upgrade() {
            buffer.extend_from_slice(held.get(begin..end).unwrap_or_default());
            return true;
        }
        let elsewhere = kept.as_ref().map_or(0, |kept| kept.len());
        if let Some(kept) = kept
            && begin < elsewhere
            && let Err(err) = kept.read(begin..end.min(elsewhere), buffer)
        {
            tracing::warn!(%err, ?kept, "an ended stream can no longer be read");
            return false;
        }
        let rest = begin.saturating_sub(elsewhere)..end.saturating_sub(elsewhere);
        buffer.extend_from_slice(tail.get(rest).unwrap_or_default());
        true
    }

    /// Where this frame begins.
    fn begin(&self, frame: usize) -> usize {
        let Some(before) = frame.checked_sub(1) else { return 0 };
        self.0.ends.get(before).or(self.0.ends.last()).copied().unwrap_or(0)
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

/// Frames that are kept in memory, in the place of a disk.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    #[derive(Debug)]
    pub(crate) struct InMemory(pub(crate) Bytes);

    impl Kept for InMemory {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn read(&self, range: Range<usize>, buffer: &mut BytesMut) -> io::Result<()> {
            buffer.extend_from_slice(self.0.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::InMemory;
    use super::*;

    fn read(log: &ColdLog, range: Range<usize>) -> BytesMut {
        let mut buffer = BytesMut::new();
        assert!(log.write_to(range, &mut buffer));
        buffer
    }

    #[test]
    fn a_stream_reads_the_same_after_its_frames_were_let_go_of() {
        let frames =
            ["one ", "two ", "three ", "end"].map(|frame: &str| Bytes::copy_from_slice(frame.as_bytes()));
        // None, some or all but the end are kept elsewhere; what is torn counts as none.
        for kept in ["", "one ", "one two three ", "one t"] {
            let elsewhere: Arc<dyn Kept> = Arc::new(InMemory(Bytes::from_static(kept.as_bytes())));
            let mut stream = EndedStream::of(frames.iter(), Some(elsewhere));
            let log = stream.log().clone();
            for _ in 0..2 {
                for (range, expected) in
                    [(0..4, "one two three end"), (1..2, "two "), (1..4, "two three end"), (3..9, "end")]
                {
                    assert_eq!(log.bytes(range.clone()), expected.len());
                    assert_eq!(read(&log, range), expected, "{kept:?}");
                }
                for (part, expected) in [(0..2, "th"), (2..6, "ree "), (5..9, " "), (7..9, "")] {
                    let mut buffer = BytesMut::new();
                    assert!(log.write_part(2, part, &mut buffer));
                    assert_eq!(buffer, expected, "{kept:?}");
                }
                stream.let_go();
            }
        }
    }

    #[test]
    fn a_large_stream_that_is_kept_elsewhere_takes_no_memory() {
        let frame = Bytes::from(vec![b'x'; MOST_HELD]);
        let frames = [frame.clone(), Bytes::from_static(b"end")];
        let stream = EndedStream::of(frames.iter(), Some(Arc::new(InMemory(frame))));
        assert!(stream.memory() < 100);
        assert!(EndedStream::of(frames.iter(), None).memory() > MOST_HELD);
    }
}
