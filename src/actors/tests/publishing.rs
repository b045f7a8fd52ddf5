//! Tests of publishing an answer through a journal that acknowledges its entries with a delay.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{Service, failure, finished, service_with, text};
use crate::error::ErrorCode;
use crate::metrics::Now;
use crate::store::{Batch, MemoryJournals};
use crate::task::{LogReader, Mark, State, TaskId};
use crate::upstream::UpstreamEvent;
use crate::upstream::testing::{Scripted, channel_over};

/// A task whose upstream sends one text at once. It sends each of the others in its own batch once `goes_on` is
/// notified.
struct StreamedTask {
    service: Service,
    id: TaskId,
    log: LogReader,
    journals: MemoryJournals,
    batches: mpsc::Receiver<Batch>,
    goes_on: Arc<tokio::sync::Notify>,
    /// Held by the upstream's call.
    call: Arc<()>,
}

impl StreamedTask {
    async fn begin() -> Self {
        Self::begin_to(|| vec![finished()]).await
    }

    /// Begins a task whose upstream sends this batch last.
    async fn begin_to(last: fn() -> Vec<UpstreamEvent>) -> Self {
        let (asked, batches) = mpsc::channel(8);
        let (goes_on, call) = (Arc::new(tokio::sync::Notify::new()), Arc::new(()));
        let (gate, held) = (Arc::clone(&goes_on), Arc::clone(&call));
        let upstream = Scripted(move |_| {
            let (gate, held) = (Arc::clone(&gate), Arc::clone(&held));
            let rest = async move {
                gate.notified().await;
                stream::iter([vec![text("b")], vec![text("c")]])
            };
            let rest = stream::once(rest).flatten().chain(stream::once(async move { last() }));
            let rest = rest.chain(stream::pending());
            let said = stream::iter([vec![text("a")]]).chain(rest);
            said.map(move |batch| {
                let _held = &held;
                Ok(batch)
            })
            .boxed_local()
        });
        let journals = MemoryJournals::with_decisions(asked);
        let service = service_with([channel_over("c", &["*"], Arc::new(upstream))], 10, |store| {
            store.with_journals(Arc::new(journals.clone()))
        });
        let accepted = service.tasks.accept(service.task()).await.unwrap();
        Self { service, id: accepted.snapshot.id, log: accepted.log, journals, batches, goes_on, call }
    }

    /// Lets the upstream send the rest, and waits until the task has received it.
    async fn finish(&self) {
        self.goes_on.notify_one();
        // The call is dropped when it ends. The upstream itself and this struct hold one reference each.
        while Arc::strong_count(&self.call) > 2 {
            tokio::task::yield_now().await;
        }
    }

    async fn batch(&mut self) -> Batch {
        self.batches.recv().await.unwrap()
    }

    /// Returns the length of the log.
    fn shown(&self) -> usize {
        self.log.mark().len
    }
}

#[actix_rt::test]
async fn readers_see_an_entry_only_when_the_journal_has_it() {
    let mut streamed = StreamedTask::begin().await;
    let (entries, first) = streamed.batch().await;
    assert_eq!((entries, streamed.shown()), (2, 0));
    streamed.finish().await;
    assert!(streamed.batches.try_recv().is_err(), "one batch at a time");
    assert!(matches!(streamed.service.state(&streamed.id).await, State::Processing { .. }));
    assert_eq!(streamed.log.mark(), Mark::default());

    first.send(true).unwrap();
    assert_eq!(streamed.log.reached(0).await.len, 2);
    let (entries, second) = streamed.batch().await;
    assert_eq!((entries, streamed.shown()), (2, 2), "all texts that came before the reply are one batch");
    assert!(!streamed.log.mark().ended, "the end waits");

    second.send(true).unwrap();
    assert_eq!(streamed.log.ended().await.len, 6);
    assert!(matches!(streamed.service.outcome(&streamed.id).await, State::Completed(_)));
}

#[actix_rt::test]
async fn an_answer_whose_first_batch_the_journal_refuses_is_shown_at_the_end() {
    let mut streamed = StreamedTask::begin().await;
    let (_, first) = streamed.batch().await;
    first.send(false).unwrap();
    assert_eq!(streamed.log.reached_or_stalled(0).await, Mark { stalled: true, ..Mark::default() });
    streamed.finish().await;
    assert_eq!(streamed.log.ended().await, Mark { len: 6, ended: true, ..Mark::default() });
    assert!(streamed.batches.try_recv().is_err(), "the journal gets nothing more");
}

#[actix_rt::test]
async fn readers_go_on_when_the_journal_fails_in_mid_stream() {
    let mut streamed = StreamedTask::begin().await;
    let (_, first) = streamed.batch().await;
    first.send(true).unwrap();
    streamed.log.reached(0).await;
    streamed.finish().await;
    let (_, second) = streamed.batch().await;
    second.send(false).unwrap();
    assert_eq!(streamed.log.ended().await.len, 6);
    assert!(streamed.batches.try_recv().is_err());
}

#[actix_rt::test]
async fn a_cancel_waits_for_the_pending_journal_batch() {
    let mut streamed = StreamedTask::begin().await;
    let (_, first) = streamed.batch().await;
    let cancelled = streamed.service.tasks.cancel(&streamed.id, super::owner());
    let acknowledged = async {
        while Arc::strong_count(&streamed.call) > 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(streamed.shown(), 0);
        first.send(true).unwrap();
    };
    let (state, ()) = futures_util::future::join(cancelled, acknowledged).await;
    assert_eq!(failure(state.unwrap().value.state).code, ErrorCode::TaskCancelled);
    assert_eq!(streamed.log.ended().await.len, 3);
}

#[actix_rt::test]
async fn a_successor_does_not_journal_pending_entries_again() {
    let mut streamed = StreamedTask::begin_to(|| panic!("planted")).await;
    let (_, first) = streamed.batch().await;
    streamed.goes_on.notify_one();
    let mark = tokio::select! {
        again = streamed.batches.recv() => panic!("{:?} entries twice", again.map(|(entries, _)| entries)),
        mark = streamed.log.ended() => mark,
    };
    assert_eq!(mark.len, 5, "a role, three texts and an error");
    assert!(streamed.batches.try_recv().is_err());
    // The acknowledgement comes too late to change anything.
    let _ = first.send(true);
    assert_eq!(failure(streamed.service.outcome(&streamed.id).await).code, ErrorCode::InternalError);
    assert_eq!(streamed.shown(), 5);
}

#[actix_rt::test]
async fn an_end_waits_only_briefly_for_a_journal_that_does_not_answer() {
    for is_begun in [false, true] {
        let mut streamed = StreamedTask::begin().await;
        let (_, first) = streamed.batch().await;
        let (seen, _unanswered) = if is_begun {
            first.send(true).unwrap();
            assert_eq!(streamed.log.reached(0).await.len, 2);
            streamed.finish().await;
            (2, streamed.batch().await.1)
        } else {
            streamed.finish().await;
            (0, first)
        };
        let next = streamed.log.reached(seen).await;
        assert_eq!(next, Mark { len: 6, ended: true, ..Mark::default() }, "nothing is shown before the end");
        assert!(matches!(streamed.service.outcome(&streamed.id).await, State::Completed(_)));
        let said = streamed.service.metrics.text(&Now::new()).unwrap();
        assert!(said.contains("hearken_journal_failures_total 1\n"), "{said}");
    }
}

#[actix_rt::test]
async fn a_stream_is_not_read_from_an_incomplete_journal() {
    let mut streamed = StreamedTask::begin().await;
    let (_, first) = streamed.batch().await;
    streamed.finish().await;
    first.send(true).unwrap();
    let (_, second) = streamed.batch().await;
    streamed.journals.damage(&streamed.id);
    second.send(true).unwrap();
    streamed.log.ended().await;
    let replay = streamed.service.tasks.store.replay(streamed.id.clone(), super::owner()).await.unwrap();
    assert!(replay.is_none(), "the log has four entries, the journal three");
}
