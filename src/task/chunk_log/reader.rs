//! The readers of a chunk log. A reader finds the frames wherever they are at the moment: in memory, or kept elsewhere.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::{LogEntries, Mark, SharedLog};
use crate::task::cold_log::ColdLog;
use crate::task::format::Format;

/// A reader of a log that reports the log's length and state.
#[derive(Debug, Clone)]
pub struct LogReader(LogSource);

/// A reader of a log that reads frames in one format. The owner of the reader keeps the position.
#[derive(Debug, Clone)]
pub struct FrameReader {
    log: LogReader,
    format: Format,
}

#[derive(Debug, Clone)]
enum LogSource {
    Living { shared: Arc<SharedLog>, mark: watch::Receiver<Mark> },
    Cold(ColdLog),
}

/// The place where a reader finds frames.
enum FrameSource<'a> {
    Memory(Arc<LogEntries>),
    Cold(&'a ColdLog),
    /// The task crashed, and its frames are no longer in this process.
    Gone,
}

impl From<ColdLog> for LogReader {
    fn from(log: ColdLog) -> Self {
        Self(LogSource::Cold(log))
    }
}

impl LogReader {
    /// Makes a reader of a log that has a writer, or had one.
    pub(super) fn of(shared: &Arc<SharedLog>) -> Self {
        Self(LogSource::Living { shared: Arc::clone(shared), mark: shared.mark.subscribe() })
    }

    /// Turns this reader into one that reads frames in this format.
    #[must_use]
    pub fn in_format(self, format: Format) -> FrameReader {
        FrameReader { log: self, format }
    }

    /// Returns the log's present length and state.
    #[must_use]
    pub fn mark(&self) -> Mark {
        match &self.0 {
            LogSource::Living { mark, .. } => *mark.borrow(),
            LogSource::Cold(log) => Mark { len: log.len(), ended: true, ..Mark::default() },
        }
    }

    /// Waits until there is an entry at `position`, or no entry will be added.
    pub async fn reached(&mut self, position: usize) -> Mark {
        self.wait_for(|mark| mark.len > position || mark.is_final()).await
    }

    /// Waits until no entry will be added: the task has ended, or the server stops.
    pub async fn ended(&mut self) -> Mark {
        self.reached(usize::MAX).await
    }

    /// Waits until there is an entry at `position`, no entry will be added, or the task waits for a store that does not
    /// work.
    pub async fn reached_or_stalled(&mut self, position: usize) -> Mark {
        self.wait_for(|mark| mark.len > position || mark.is_final() || mark.stalled).await
    }

    /// Waits until the task has ended, or waits for a store that does not work. A server that stops does not end this
    /// wait.
    pub async fn concluded_or_stalled(&mut self) -> Mark {
        self.wait_for(|mark| mark.ended || mark.stalled).await
    }

    async fn wait_for(&mut self, wanted: impl FnMut(&Mark) -> bool) -> Mark {
        match &mut self.0 {
            LogSource::Living { mark, .. } => {
                // The watch cannot close: this reader holds its sender.
                let wanted = mark.wait_for(wanted).await;
                wanted.map_or(Mark { parked: true, ..Mark::default() }, |mark| *mark)
            }
            LogSource::Cold(_) => self.mark(),
        }
    }

    /// Returns the log's present length and state, and marks them as seen. [`changed`](Self::changed) waits for a later
    /// change.
    pub fn mark_seen(&mut self) -> Mark {
        match &mut self.0 {
            LogSource::Living { mark, .. } => *mark.borrow_and_update(),
            LogSource::Cold(_) => self.mark(),
        }
    }

    /// Waits until the log has changed since the last wait or call of [`mark_seen`](Self::mark_seen). Never returns if
    /// no entry will be added.
    pub async fn changed(&mut self) {
        if let LogSource::Living { mark, .. } = &mut self.0
            && mark.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Counts a new subscription of this log. Returns the number of earlier subscriptions.
    pub fn count_subscription(&self) -> usize {
        let subscriptions = match &self.0 {
            LogSource::Living { shared, .. } => &shared.subscriptions,
            LogSource::Cold(log) => log.subscriptions(),
        };
        subscriptions.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the log's number. Logs are counted from 0 as they are made, so each log of a process has its own number.
    #[must_use]
    pub fn number(&self) -> usize {
        match &self.0 {
            LogSource::Living { shared, .. } => shared.number,
            LogSource::Cold(log) => log.number(),
        }
    }

    /// Returns the number of the task arbiter that writes the log, counted from 0. It may be any number if no arbiter
    /// writes the log any more.
    #[must_use]
    pub fn arbiter(&self) -> usize {
        match &self.0 {
            LogSource::Living { shared, .. } => shared.arbiter.load(Ordering::Relaxed),
            LogSource::Cold(log) => log.number(),
        }
    }
}

impl FrameReader {
    /// Returns the reader that reports the log's length and state.
    #[must_use]
    pub fn log(&self) -> &LogReader {
        &self.log
    }

    /// Returns the reader that waits for more entries.
    #[must_use]
    pub fn log_mut(&mut self) -> &mut LogReader {
        &mut self.log
    }

    /// Returns the log's present length and state.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// Returns the format of the frames that this reader reads.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the place where the frames are at this moment.
    fn frames(&self) -> FrameSource<'_> {
        match &self.log.0 {
            LogSource::Living { shared, .. } => match (shared.entries.upgrade(), shared.cold.get()) {
                (Some(entries), _) => FrameSource::Memory(entries),
                (None, Some(log)) => FrameSource::Cold(log),
                (None, None) => FrameSource::Gone,
            },
            LogSource::Cold(log) => FrameSource::Cold(log),
        }
    }

    /// Returns the end and the size of the frames that start at the beginning of `range` and take at most `most_bytes`
    /// together. The first frame is always included, even if it is larger.
    #[must_use]
    pub fn frames_within(&self, range: Range<usize>, most_bytes: usize) -> (usize, usize) {
        match self.frames() {
            FrameSource::Memory(entries) => {
                let (mut end, mut bytes) = (range.start, 0);
                for frame in entries.frames(self.format, range.clone()) {
                    if end > range.start && bytes + frame.len() > most_bytes {
                        break;
                    }
                    (end, bytes) = (end + 1, bytes + frame.len());
                }
                (end, bytes)
            }
            FrameSource::Cold(log) => log.frames_within(self.format, range, most_bytes),
            FrameSource::Gone => (range.start + 1, 0),
        }
    }

    /// Returns the size of the existing frames in `range`, in bytes.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> usize {
        match self.frames() {
            FrameSource::Memory(entries) => entries.frames(self.format, range).map(Bytes::len).sum(),
            FrameSource::Cold(log) => log.bytes(self.format, range),
            FrameSource::Gone => 0,
        }
    }

    /// Appends the existing frames in `range` to `buffer`. Returns false if they can no longer be read; then the reader
    /// must close its connection before the end of the stream.
    #[must_use]
    pub fn write_to(&self, range: Range<usize>, buffer: &mut BytesMut) -> bool {
        match self.frames() {
            FrameSource::Memory(entries) => {
                entries.frames(self.format, range).for_each(|frame| buffer.extend_from_slice(frame));
                true
            }
            FrameSource::Cold(log) => log.write_to(self.format, range, buffer),
            FrameSource::Gone => false,
        }
    }

    /// Appends the existing bytes in `part` of one frame to `buffer`. Returns false if they can no longer be read.
    #[must_use]
    pub fn write_part(&self, frame: usize, part: Range<usize>, buffer: &mut BytesMut) -> bool {
        match self.frames() {
            FrameSource::Memory(entries) => {
                let bytes = entries.frame(self.format, frame).map(Bytes::as_ref).unwrap_or_default();
                let part = bytes.len().min(part.start)..bytes.len().min(part.end);
                buffer.extend_from_slice(bytes.get(part).unwrap_or_default());
                true
            }
            FrameSource::Cold(log) => log.write_part(self.format, frame, part, buffer),
            FrameSource::Gone => false,
        }
    }

    /// Returns the existing frames in `range`, in one piece; `None` if they can no longer be read. A single frame of a
    /// task that runs is shared, not copied.
    #[must_use]
    pub fn piece(&self, range: Range<usize>) -> Option<Bytes> {
        if let FrameSource::Memory(entries) = self.frames()
            && range.len() == 1
        {
            return Some(entries.frame(self.format, range.start).cloned().unwrap_or_default());
        }
        let mut piece = BytesMut::with_capacity(self.bytes(range.clone()));
        self.write_to(range, &mut piece).then(|| piece.freeze())
    }

    /// Returns all frames that can be read.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn all(&self) -> Bytes {
        self.piece(0..self.mark().len).unwrap()
    }
}
