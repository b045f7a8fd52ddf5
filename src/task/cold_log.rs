//! The chunks of a task that has ended, until their retention has passed.
//!
//! There are many of these, and most are never read. A [`ColdLog`] is what readers hold: it knows where each frame
//! begins, and copies what it is asked for out of memory or, where the frames were let go of, out of what keeps them on
//! a disk. An [`EndedStream`] is the owner of the frames in memory. A reader that does not read therefore
//! keeps no frames in memory.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;

/// Streams of more than this many bytes are not held in memory if they are kept elsewhere: one would take the place of
/// thousands.
const MOST_HELD: usize = 4 << 20;

/// What is kept elsewhere has a checksum for each piece of this many bytes: to send a few frames, no more than the pieces
/// around them is read and checked.
const PIECE: usize = 4096;

/// Logs that were made in this process, living ones too.
static LOGS: AtomicUsize = AtomicUsize::new(0);

/// A number that no other log of this process has.
pub(super) fn next_number() -> usize {
    LOGS.fetch_add(1, Ordering::Relaxed)
}

/// The first frames of a stream, as they are kept outside of memory.
pub trait Kept: fmt::Debug + Send + Sync {
    /// Returns how many they are, of a stream whose frames end at `ends`. `None` if a part of a frame is kept.
    fn frames(&self, ends: &[usize]) -> Option<usize>;

    /// Appends these bytes of the stream to `buffer`. Blocks, about as long as a copy takes: they were written or read a
    /// short time ago.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&self, ends: &[usize], range: Range<usize>, buffer: &mut BytesMut) -> io::Result<()>;
}

/// What is kept elsewhere, and the checksums that show whether it is as it was.
#[derive(Debug)]
struct Elsewhere {
    kept: Arc<dyn Kept>,
    bytes: usize,
    /// The CRC-32 of each [`PIECE`].
    sums: Box<[u32]>,
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
    elsewhere: Option<Elsewhere>,
    /// Could a part of what is kept elsewhere not be read as it was?
    is_lost: AtomicBool,
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
        let kept = kept.and_then(|kept| Some((kept.frames(&ends)?, kept)));
        let elsewhere = kept.filter(|(count, _)| *count > 0).map(|(count, kept)| {
            let bytes = ends.get(count - 1).copied().unwrap_or(bytes);
            (count, Elsewhere { kept, bytes, sums: sums(frames.clone().take(count), bytes) })
        });
        let (behind, elsewhere) = elsewhere.map_or((0, None), |(count, elsewhere)| (count, Some(elsewhere)));
        let bytes_elsewhere = elsewhere.as_ref().map_or(0, |elsewhere| elsewhere.bytes);
        let tail = together(frames.clone().skip(behind), bytes - bytes_elsewhere);
        let held = (bytes_elsewhere > 0 && bytes <= MOST_HELD).then(|| Arc::new(together(frames, bytes)));
        let log = ColdLog(Arc::new(Frames {
            ends: ends.into(),
            held: held.as_ref().map(Arc::downgrade).unwrap_or_default(),
            elsewhere,
            is_lost: AtomicBool::new(false),
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
        let Frames { ends, tail, elsewhere, .. } = &*self.log.0;
        let sums = elsewhere.as_ref().map_or(0, |elsewhere| size_of_val(&*elsewhere.sums));
        self.held.as_ref().map_or(0, |held| held.len()) + tail.len() + size_of_val(&**ends) + sums
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

/// The checksums of these frames, which have so many bytes together.
fn sums<'a>(frames: impl Iterator<Item = &'a Bytes>, bytes: usize) -> Box<[u32]> {
    let mut sums = Vec::with_capacity(bytes.div_ceil(PIECE));
    let (mut sum, mut room) = (Hasher::new(), PIECE);
    for frame in frames {
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(room));
            sum.update(now);
            (rest, room) = (later, room - now.len());
            if room == 0 {
                sums.push(std::mem::take(&mut sum).finalize());
                room = PIECE;
            }
        }
    }
    if room < PIECE {
        sums.push(sum.finalize());
    }
    sums.into()
}

impl Elsewhere {
    /// Appends these bytes to `buffer`, unless a piece in which some of them are is not as it was.
    fn read(&self, ends: &[usize], range: Range<usize>, buffer: &mut BytesMut) -> io::Result<()> {
        let pieces = range.start / PIECE..range.end.div_ceil(PIECE);
        let around = pieces.start * PIECE..self.bytes.min(pieces.end * PIECE);
        let mut read = BytesMut::with_capacity(around.len());
        self.kept.read(ends, around.clone(), &mut read)?;
        let sums = self.sums.get(pieces).unwrap_or_default();
        if !read.chunks(PIECE).map(crc32fast::hash).eq(sums.iter().copied()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not as it was written"));
        }
        let wanted = range.start - around.start..range.end - around.start;
        buffer.extend_from_slice(read.get(wanted).unwrap_or_default());
        Ok(())
    }
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

    /// Returns true if some of the frames could not be read as they were.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Relaxed)
    }

    fn write_bytes(&self, Range { start: begin, end }: Range<usize>, buffer: &mut BytesMut) -> bool {
        let Frames { ends, held, elsewhere, is_lost, tail, .. } = &*self.0;
        if let Some(held) = held.upgrade() {
            buffer.extend_from_slice(held.get(begin..end).unwrap_or_default());
            return true;
        }
        let bytes_elsewhere = elsewhere.as_ref().map_or(0, |elsewhere| elsewhere.bytes);
        if let Some(elsewhere) = elsewhere
            && begin < end.min(bytes_elsewhere)
            && let Err(err) = elsewhere.read(ends, begin..end.min(bytes_elsewhere), buffer)
        {
            if !is_lost.swap(true, Ordering::Relaxed) {
                tracing::error!(%err, kept = ?elsewhere.kept, "an ended stream can no longer be read");
            }
            return false;
        }
        let rest = begin.saturating_sub(bytes_elsewhere)..end.saturating_sub(bytes_elsewhere);
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
        fn frames(&self, ends: &[usize]) -> Option<usize> {
            match self.0.len() {
                0 => Some(0),
                bytes => ends.binary_search(&bytes).ok().map(|at| at + 1),
            }
        }

        fn read(&self, _: &[usize], range: Range<usize>, buffer: &mut BytesMut) -> io::Result<()> {
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
        assert!(stream.memory() < 100 + MOST_HELD / PIECE * size_of::<u32>());
        assert!(EndedStream::of(frames.iter(), None).memory() > MOST_HELD);
    }

    #[test]
    fn frames_that_are_not_as_they_were_are_not_sent() {
        let frames = [b'a', b'b', b'c'].map(|letter| Bytes::from(vec![letter; PIECE]));
        let mut elsewhere = frames.concat();
        elsewhere[PIECE + 7] ^= 1;
        let mut stream = EndedStream::of(frames.iter(), Some(Arc::new(InMemory(elsewhere.into()))));
        assert!(stream.let_go());
        assert_eq!(read(stream.log(), 0..1), frames[0]);
        assert_eq!(read(stream.log(), 2..3), frames[2]);
        assert!(!stream.log().is_lost());
        let mut buffer = BytesMut::new();
        assert!(!stream.log().write_to(1..2, &mut buffer) && buffer.is_empty());
        assert!(!stream.log().write_part(1, 100..200, &mut buffer) && buffer.is_empty());
        assert!(stream.log().is_lost());
    }
}
