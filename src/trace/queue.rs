//! The queue of spans for the exporter. The number of its entries and of its bytes is limited. If it is full, further
//! spans are counted and dropped.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

/// Most entries that may wait. An entry holds the spans of one task or request.
const QUEUE: usize = 2048;
/// Most bytes of the waiting spans, as encoded for the collector. In memory, spans take a few times as much.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// The number of spans of one message, approximately, because spans of one task stay together.
const BATCH: usize = 512;
/// The number of bytes of one message, approximately. Collectors accept 4 MiB and more.
const BATCH_BYTES: usize = 1024 * 1024;
/// The time to wait for more spans after the first span of a message.
const GATHER: Duration = Duration::from_secs(1);

/// The sending side of the queue.
#[derive(Debug)]
pub(super) struct Queue {
    entries: mpsc::Sender<QueueEntry>,
    room: Arc<Semaphore>,
    overflowed: Arc<AtomicU64>,
}

/// The receiving side of the queue.
pub(super) struct Waiting {
    entries: mpsc::Receiver<QueueEntry>,
    overflowed: Arc<AtomicU64>,
}

/// Spans that belong together.
#[derive(Debug)]
struct QueueEntry {
    spans: Vec<Span>,
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

pub(super) fn queue() -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (room, overflowed) = (Arc::new(Semaphore::new(QUEUE_BYTES)), Arc::<AtomicU64>::default());
    let waiting = Waiting { entries: receiver, overflowed: Arc::clone(&overflowed) };
    (Queue { entries: sender, room, overflowed }, waiting)
}

impl Queue {
    /// Adds spans that belong together. If the queue is full, all of them are dropped.
    pub(super) fn push(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if count > 0 && self.try_push(spans).is_none() {
            self.overflowed.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn try_push(&self, spans: Vec<Span>) -> Option<()> {
        let bytes = spans.iter().map(Message::encoded_len).sum();
        let room = Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        self.entries.try_send(QueueEntry { spans, bytes, _room: room }).ok()
    }
}

impl Waiting {
    /// Waits for spans, and returns those of one message. Returns `None` when the server stops and no spans wait.
    pub(super) async fn gather(&mut self, stop: impl Future<Output = ()> + Clone) -> Option<Vec<Span>> {
        let QueueEntry { spans: mut batch, mut bytes, .. } = tokio::select! {
            biased;
            entry = self.entries.recv() => entry?,
            () = stop.clone() => return None,
        };
        let end = Instant::now() + GATHER;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let more = tokio::select! {
                biased;
                more = timeout_at(end, self.entries.recv()) => more.ok().flatten(),
                () = stop.clone() => None,
            };
            let Some(more) = more else { break };
            batch.extend(more.spans);
            bytes += more.bytes;
        }
        Some(batch)
    }

    /// Returns the counter of spans that were dropped because the queue was full.
    pub(super) fn overflowed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    /// Returns a span of about this many bytes.
    fn span(bytes: usize) -> Span {
        Span { name: "x".repeat(bytes), ..Span::default() }
    }

    fn lost(queue: &Queue) -> u64 {
        queue.overflowed.load(Ordering::Relaxed)
    }

    /// Returns how many spans the next message has when the server stops.
    async fn gathered(waiting: &mut Waiting) -> Option<usize> {
        waiting.gather(ready(())).await.map(|batch| batch.len())
    }

    #[tokio::test]
    async fn spans_without_room_are_counted_and_do_not_block() {
        let (queue, mut waiting) = queue();
        for _ in 0..QUEUE + 2 {
            queue.push(vec![span(1); 3]);
        }
        assert_eq!(lost(&queue), 6);
        assert!(gathered(&mut waiting).await.is_some());
        queue.push(vec![span(1)]);
        assert_eq!(lost(&queue), 6);
    }

    #[tokio::test]
    async fn large_spans_fill_the_queue_by_bytes_and_return_their_room() {
        let (queue, mut waiting) = queue();
        for _ in 0..QUEUE {
            queue.push(vec![span(64 * 1024)]);
        }
        let taken = QUEUE_BYTES / (64 * 1024) - 1;
        assert_eq!(lost(&queue), (QUEUE - taken) as u64);
        while gathered(&mut waiting).await.is_some() {}
        assert_eq!(queue.room.available_permits(), QUEUE_BYTES);
        queue.push(vec![span(QUEUE_BYTES)]);
        assert_eq!(lost(&queue), (QUEUE - taken) as u64 + 1, "a span larger than the whole queue");
    }

    #[tokio::test]
    async fn a_message_is_limited_by_bytes_and_by_spans() {
        let (queue, mut waiting) = queue();
        for _ in 0..5 {
            queue.push(vec![span(BATCH_BYTES / 2)]);
        }
        for spans in [2, 2, 1] {
            assert_eq!(gathered(&mut waiting).await, Some(spans));
        }
        for _ in 0..3 {
            queue.push(vec![span(1); BATCH / 2]);
        }
        assert_eq!(gathered(&mut waiting).await, Some(BATCH));
    }

    #[tokio::test]
    async fn a_push_without_spans_adds_no_entry_and_does_not_end_the_queue() {
        let (queue, mut waiting) = queue();
        queue.push(Vec::new());
        assert!(waiting.gather(pending()).now_or_never().is_none(), "still waits");
        queue.push(vec![span(1)]);
        assert_eq!(gathered(&mut waiting).await, Some(1));
        assert!(gathered(&mut waiting).await.is_none(), "the server stops and nothing waits");
    }
}
