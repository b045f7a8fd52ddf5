//! The source of the demuxer's bytes: one range of a file, which looks like a whole file. It tracks the position, ends
//! when the inspection is stopped, and keeps the first error of the underlying source, which the demuxer would
//! otherwise mix with its own errors.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::io::MediaSource;

use super::{InspectError, StopFlag};

/// The state that the source and its watch share.
#[derive(Debug, Default)]
struct Shared {
    position: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

/// A handle that observes a source while the demuxer owns it.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    stop: StopFlag,
}

impl Watch {
    /// Returns the demuxer's position, in bytes from the start.
    pub(super) fn position(&self) -> u64 {
        self.shared.position.load(Ordering::Relaxed)
    }

    /// Returns an error if the inspection was stopped, or if the source has failed since the last call. In both cases
    /// the demuxer's own result says nothing about the audio.
    pub(super) fn check(&self) -> Result<(), InspectError> {
        if self.stop.is_stopped() {
            return Err(InspectError::Stopped);
        }
        let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), |failure| Err(InspectError::Source(failure)))
    }
}

/// The source that the demuxer reads.
pub(super) struct Watched<'s> {
    inner: &'s mut dyn MediaSource,
    range: Range<u64>,
    /// The position in the whole file.
    position: u64,
    watch: Watch,
}

impl<'s> Watched<'s> {
    /// Returns a source for this range of `inner`, and its watch.
    pub(super) fn new(inner: &'s mut dyn MediaSource, range: Range<u64>, stop: &StopFlag) -> (Self, Watch) {
        let watch = Watch { shared: Arc::default(), stop: stop.clone() };
        (Self { inner, position: range.start, range, watch: watch.clone() }, watch)
    }

    fn moved(&mut self, position: u64) {
        self.position = position;
        let within = position.saturating_sub(self.range.start);
        self.watch.shared.position.store(within, Ordering::Relaxed);
    }

    /// Keeps the error for the watch, and returns a similar one for the demuxer.
    fn failed(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        if kind != io::ErrorKind::Interrupted {
            let mut kept = self.watch.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get_or_insert(error);
        }
        kind.into()
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // The position is set again, because another part may have been read in between.
        self.inner.seek(SeekFrom::Start(self.position))?;
        let left = self.range.end.saturating_sub(self.position);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        self.inner.read(buf.get_mut(..most).unwrap_or_default())
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.watch.stop.is_stopped() {
            return Err(io::Error::other("the inspection was stopped"));
        }
        let count = self.try_read(buf).map_err(|error| self.failed(error))?;
        self.moved(self.position.saturating_add(count as u64));
        Ok(count)
    }
}

impl Seek for Watched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // A seek outside the file is not a failure of the source: the demuxer follows a wrong header.
        let position = match to {
            SeekFrom::Start(position) => self.range.start.checked_add(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.range.end.checked_add_signed(by),
        };
        let position = position.filter(|position| *position >= self.range.start);
        self.moved(position.ok_or(io::ErrorKind::InvalidInput)?);
        Ok(self.position - self.range.start)
    }
}

impl MediaSource for Watched<'_> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.range.end - self.range.start)
    }
}
