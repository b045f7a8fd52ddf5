//! The reading end of a chunk log: where its frames are at each moment, in memory or kept elsewhere.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::{Entries, Mark, Shared};
use crate::task::cold_log::ColdLog;
use crate::task::format::Format;

/// A reading end of a log: it tells how far the log has come.
#[derive(Debug, Clone)]
pub struct LogReader(Source);

/// A reading end of a log that reads frames, in one format; its owner keeps the position.
#[derive(Debug, Clone)]
pub struct FrameReader {
    log: LogReader,
    format: Format,
}

#[derive(Debug, Clone)]
enum Source {
    Living { shared: Arc<Shared>, mark: watch::Receiver<Mark> },
    Cold(ColdLog),
}

/// Where a reader finds frames.
enum Frames<'a> {
    Memory(Arc<Entries>),
    Cold(&'a ColdLog),
    /// The task crashed, and nothing is left of it in this process.
    Gone,
}

impl From<ColdLog> for LogReader {
    fn from(log: ColdLog) -> Self {
        Self(Source::Cold(log))
    }
}

impl LogReader {
    /// Makes a reader of a log that has a writer, or had one.
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Source::Living { shared: Arc::clone(shared), mark: shared.mark.subscribe() })
    }

    /// Reads frames in this format.
    #[must_use]
    pub fn in_format(self, format: Format) -> FrameReader {
        FrameReader { log: self, format }
    }

    /// How far the log has come.
    #[must_use]
    pub fn mark(&self) -> Mark {
        match &self.0 {
            Source::Living { mark, .. } => *mark.borrow(),
            Source::Cold(log) => Mark { len: log.len(), ended: true, ..Mark::default() },
        }
    }

    /// Waits until there is an entry at `position`, or nothing will be added.
    pub async fn reached(&mut self, position: usize) -> Mark {
        self.wait_for(|mark| mark.len > position || mark.is_final()).await
    }

    /// Waits until nothing will be added: the task has ended, or the server stops.
    pub async fn ended(&mut self) -> Mark {
        self.reached(usize::MAX).await
    }

    /// Waits until there is an entry at `position`, nothing will be added, or the task waits for a store that does not
    /// work.
    pub async fn reached_or_stalled(&mut self, position: usize) -> Mark {
        self.wait_for(|mark| mark.len > position || mark.is_final() || mark.stalled).await
    }

    /// Waits until the task has ended, however often the server says that it stops, or waits for a store that does not
    /// work.
    pub async fn concluded_or_stalled(&mut self) -> Mark {
        self.wait_for(|mark| mark.ended || mark.stalled).await
    }

    async fn wait_for(&mut self, wanted: impl FnMut(&Mark) -> bool) -> Mark {
        match &mut self.0 {
            Source::Living { mark, .. } => {
                // The watch cannot close: this reader holds its sender.
                let wanted = mark.wait_for(wanted).await;
                wanted.map_or(Mark { parked: true, ..Mark::default() }, |mark| *mark)
            }
            Source::Cold(_) => self.mark(),
        }
    }

    /// How far the log has come; [`stirred`](Self::stirred) waits for what comes after that.
    pub fn look(&mut self) -> Mark {
        match &mut self.0 {
            Source::Living { mark, .. } => *mark.borrow_and_update(),
            Source::Cold(_) => self.mark(),
        }
    }

    /// Waits until the log has come further than when it was last looked at or waited for. Never ends where
    /// nothing will be added.
    pub async fn stirred(&mut self) {
        if let Source::Living { mark, .. } = &mut self.0
            && mark.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Counts one more subscription of this log; returns how many there were before.
    pub fn count_subscription(&self) -> usize {
        let subscriptions = match &self.0 {
            Source::Living { shared, .. } => &shared.subscriptions,
            Source::Cold(log) => log.subscriptions(),
        };
        subscriptions.fetch_add(1, Ordering::Relaxed)
    }

    /// The log's number: logs are counted from 0 as they are made, so no two of a process have the same.
    #[must_use]
    pub fn number(&self) -> usize {
        match &self.0 {
            Source::Living { shared, .. } => shared.number,
            Source::Cold(log) => log.number(),
        }
    }

    /// Which of the task arbiters, counted from 0, writes the log; any, where none does any more.
    #[must_use]
    pub fn home(&self) -> usize {
        match &self.0 {
            Source::Living { shared, .. } => shared.home.load(Ordering::Relaxed),
            Source::Cold(log) => log.number(),
        }
    }
}

impl FrameReader {
    /// Returns the reading end that tells how far the log has come.
    #[must_use]
    pub fn log(&self) -> &LogReader {
        &self.log
    }

    /// Returns the reading end that waits for more.
    #[must_use]
    pub fn log_mut(&mut self) -> &mut LogReader {
        &mut self.log
    }

    /// How far the log has come.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// Returns the format in which it reads.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where its frames are at this moment.
    fn frames(&self) -> Frames<'_> {
        match &self.log.0 {
            Source::Living { shared, .. } => match (shared.entries.upgrade(), shared.cold.get()) {
                (Some(entries), _) => Frames::Memory(entries),
                (None, Some(log)) => Frames::Cold(log),
                (None, None) => Frames::Gone,
            },
            Source::Cold(log) => Frames::Cold(log),
        }
    }

    /// Returns where the frames from the beginning of `range` on that weigh at most `most_bytes` end, and what they weigh.
    /// At least one frame is taken: it may weigh more.
    #[must_use]
    pub fn reach(&self, range: Range<usize>, most_bytes: usize) -> (usize, usize) {
        match self.frames() {
            Frames::Memory(entries) => {
                let (mut end, mut bytes) = (range.start, 0);
                for frame in entries.frames(self.format, range.clone()) {
                    if end > range.start && bytes + frame.len() > most_bytes {
                        break;
                    }
                    (end, bytes) = (end + 1, bytes + frame.len());
                }
                (end, bytes)
            }
            Frames::Cold(log) => log.reach(self.format, range, most_bytes),
            Frames::Gone => (range.start + 1, 0),
        }
    }

    /// What these frames weigh, as far as they exist, in bytes.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> usize {
        match self.frames() {
            Frames::Memory(entries) => entries.frames(self.format, range).map(Bytes::len).sum(),
            Frames::Cold(log) => log.bytes(self.format, range),
            Frames::Gone => 0,
        }
    }

    /// Appends these frames, as far as they exist, to `buffer`. False where they can no longer be read: then the reader
    /// is to break off.
    #[must_use]
    pub fn write_to(&self, range: Range<usize>, buffer: &mut BytesMut) -> bool {
        match self.frames() {
            Frames::Memory(entries) => {
                entries.frames(self.format, range).for_each(|frame| buffer.extend_from_slice(frame));
                true
            }
            Frames::Cold(log) => log.write_to(self.format, range, buffer),
            Frames::Gone => false,
        }
    }

    /// Appends these bytes of one frame, as far as they exist, to `buffer`. Returns false if they can no longer be read.
    #[must_use]
    pub fn write_part(&self, frame: usize, part: Range<usize>, buffer: &mut BytesMut) -> bool {
        match self.frames() {
            Frames::Memory(entries) => {
                let bytes = entries.frame(self.format, frame).map(Bytes::as_ref).unwrap_or_default();
                let part = bytes.len().min(part.start)..bytes.len().min(part.end);
                buffer.extend_from_slice(bytes.get(part).unwrap_or_default());
                true
            }
            Frames::Cold(log) => log.write_part(self.format, frame, part, buffer),
            Frames::Gone => false,
        }
    }

    /// These frames, as far as they exist, in one piece; `None` where they can no longer be read. A single frame of a
    /// task that runs is shared, not copied.
    #[must_use]
    pub fn piece(&self, range: Range<usize>) -> Option<Bytes> {
        if let Frames::Memory(entries) = self.frames()
            && range.len() == 1
        {
            return Some(entries.frame(self.format, range.start).cloned().unwrap_or_default());
        }
        let mut piece = BytesMut::with_capacity(self.bytes(range.clone()));
        self.write_to(range, &mut piece).then(|| piece.freeze())
    }

    /// All that can be read.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn all(&self) -> Bytes {
        self.piece(0..self.mark().len).unwrap()
    }
}
