//! The queue of lines that are not written yet. Adding a line never waits: if the queue is full, the line is lost and
//! counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use tracing_subscriber::fmt::MakeWriter;

/// The most lines in the queue.
pub(super) const MAX_LINES: usize = 8192;
/// The most bytes of all lines in the queue.
const MAX_BYTES: usize = 4 << 20;

/// The sending end of the queue; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    lines: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

/// The state that both ends of the queue share.
#[derive(Debug, Default)]
pub(super) struct State {
    bytes: AtomicUsize,
    lost: AtomicU64,
    unreported: AtomicU64,
    closed: AtomicBool,
}

/// A counter of the log lines that were lost since the start.
#[derive(Debug, Clone)]
pub struct LostLines(Arc<State>);

impl LostLines {
    /// Returns the number of lines that were lost since the start.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Queue {
    pub(super) fn new(lines: SyncSender<Vec<u8>>) -> Self {
        Self { lines, state: Arc::default() }
    }

    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    pub(super) fn lost_lines(&self) -> LostLines {
        LostLines(self.state())
    }

    /// Adds a line with its line break. Never waits and never fails.
    pub(super) fn push(&self, line: Vec<u8>) {
        let bytes = line.len();
        let waiting = self.state.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > MAX_BYTES || self.lines.try_send(line).is_err() {
            self.state.taken(bytes);
            self.state.count_lost();
        }
    }

    /// Asks the writing thread to end when the queue is empty.
    pub(super) fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
        // An empty line wakes a thread that waits for one. If the queue is full, the thread does not wait.
        let _ = self.lines.try_send(Vec::new());
    }
}

impl State {
    /// Counts a line that was lost.
    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.unreported.fetch_add(1, Ordering::Relaxed);
    }

    /// Subtracts the bytes of a line that has left the queue.
    pub(super) fn taken(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the number of lost lines that the log has not reported yet.
    pub(super) fn unreported(&self) -> u64 {
        self.unreported.load(Ordering::Relaxed)
    }

    /// Records that the log has reported this number of lost lines.
    pub(super) fn reported(&self, lines: u64) {
        self.unreported.fetch_sub(lines, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// `tracing` writes each event with one call.
impl io::Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn lines_beyond_either_bound_are_lost_and_counted() {
        let (sender, lines) = sync_channel(3);
        let queue = Queue::new(sender);
        for _ in 0..5 {
            queue.push(b"line\n".to_vec());
        }
        assert_eq!((queue.lost_lines().count(), lines.try_iter().count()), (2, 3));
        queue.state.taken(15);
        queue.push(vec![b'x'; MAX_BYTES + 1]);
        queue.push(vec![b'x'; MAX_BYTES]);
        queue.push(b"x".to_vec());
        assert_eq!((queue.lost_lines().count(), lines.try_iter().count()), (4, 1));
    }
}
