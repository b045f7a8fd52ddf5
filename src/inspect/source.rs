//! The bytes on their way to the demuxer: counts how far they have been read and keeps the first failure of
//! their source, which the demuxer would otherwise blend with its own complaints. It knows no formats.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::io::MediaSource;

/// What the two ends share.
#[derive(Debug, Default)]
struct Shared {
    position: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

/// The end that watches.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Shared>);

impl Watch {
    /// Where the demuxer reads, in bytes from the start.
    pub(super) fn position(&self) -> u64 {
        self.0.position.load(Ordering::Relaxed)
    }

    /// The first failure of the source, if it failed since the last call.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The end that the demuxer reads.
pub(super) struct Watched {
    inner: Box<dyn MediaSource>,
    position: u64,
    watch: Watch,
}

impl Watched {
    /// Puts a watch on `inner`, which stands at its start.
    pub(super) fn new(inner: Box<dyn MediaSource>) -> (Self, Watch) {
        let watch = Watch::default();
        (Self { inner, position: 0, watch: watch.clone() }, watch)
    }

    fn moved(&mut self, position: u64) {
        self.position = position;
        self.watch.0.position.store(position, Ordering::Relaxed);
    }

    /// Keeps the failure for the watch and hands the demuxer one like it.
    fn failed(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        if kind != io::ErrorKind::Interrupted {
            let mut kept = self.watch.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get_or_insert(error);
        }
        kind.into()
    }
}

impl Read for Watched {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf).map_err(|error| self.failed(error))?;
        self.moved(self.position.saturating_add(count as u64));
        Ok(count)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // A demuxer that seeks out of the file follows a wrong header: that is no failure of the source.
        let position = self.inner.seek(to)?;
        self.moved(position);
        Ok(position)
    }
}

impl MediaSource for Watched {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.inner.byte_len()
    }
}
