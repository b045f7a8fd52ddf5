//! What is shown of an answer over a journal that says later whether it has what it was given.

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

/// A task whose upstream says a text at once, and each of the others in a batch of its own once `goes_on` is notified.
struct Course {
    service: Service,
    id: TaskId,
    log: LogReader,
    journals: MemoryJournals,
    batches: mpsc::Receiver<Batch>,
    goes_on: Arc<tokio::sync::Notify>,
    /// Held by the upstream's call.
    call: Arc<()>,
}

impl Course {
    async fn begin() -> Self {
        Self::begin_to(|| vec![finished()]).await
    }

    /// The last of the upstream's batches is this.
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
        let journals = MemoryJournals::asking(asked);
        let service = service_with([channel_over("c", &["*"], Arc::new(upstream))], 10, |store| {
            store.with_journals(Arc::new(journals.clone()))
        });
        let accepted = service.tasks.accept(service.task()).await.unwrap();
        Self { service, id: accepted.snapshot.id, log: accepted.log, journals, batches, goes_on, call }
    }

    /// The upstream says the rest, and the task has taken it.
    async fn finish(&self) {
        self.goes_on.notify_one();
        // The call is dropped at its end; the upstream itself holds one, and this another.
        while Arc::strong_count(&self.call) > 2 {
            tokio::task::yield_now().await;
        }
    }

    async fn batch(&mut self) -> Batch {
        self.batches.recv().await.unwrap()
    }

    /// The length of the log.
    fn shown(&self) -> usize {
        self.log.mark().len
    }
}

#[actix_rt::test]
async fn nothing_is_shown_before_the_journal_has_it() {
    let mut course = Course::begin().await;
    let (entries, first) = course.batch().await;
    assert_eq!((entries, course.shown()), (2, 0));
    course.finish().await;
    assert!(course.batches.try_recv().is_err(), "one batch at a time");
    assert!(matches!(course.service.state(&course.id).await, State::Processing { .. }));
    assert_eq!(course.log.mark(), Mark::default());

    first.send(true).unwrap();
    assert_eq!(course.log.reached(0).await.len, 2);
    let (entries, second) = course.batch().await;
    assert_eq!((entries, course.shown()), (2, 2), "what has come meanwhile is one batch");
    assert!(!course.log.mark().ended, "the end waits");

    second.send(true).unwrap();
    assert_eq!(course.log.ended().await.len, 6);
    assert!(matches!(course.service.outcome(&course.id).await, State::Completed(_)));
}

#[actix_rt::test]
async fn an_answer_of_which_the_journal_refuses_the_beginning_is_shown_with_its_end() {
    let mut course = Course::begin().await;
    let (_, first) = course.batch().await;
    first.send(false).unwrap();
    assert_eq!(course.log.reached_or_stalled(0).await, Mark { stalled: true, ..Mark::default() });
    course.finish().await;
    assert_eq!(course.log.ended().await, Mark { len: 6, ended: true, ..Mark::default() });
    assert!(course.batches.try_recv().is_err(), "nothing more is asked of the journal");
}

#[actix_rt::test]
async fn a_journal_that_ends_in_mid_stream_keeps_no_reader_from_going_on() {
    let mut course = Course::begin().await;
    let (_, first) = course.batch().await;
    first.send(true).unwrap();
    course.log.reached(0).await;
    course.finish().await;
    let (_, second) = course.batch().await;
    second.send(false).unwrap();
    assert_eq!(course.log.ended().await.len, 6);
    assert!(course.batches.try_recv().is_err());
}

#[actix_rt::test]
async fn a_cancel_waits_for_what_the_journal_was_given() {
    let mut course = Course::begin().await;
    let (_, first) = course.batch().await;
    let cancelled = course.service.tasks.cancel(&course.id, super::owner());
    let acknowledged = async {
        while Arc::strong_count(&course.call) > 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(course.shown(), 0);
        first.send(true).unwrap();
    };
    let (state, ()) = futures_util::future::join(cancelled, acknowledged).await;
    assert_eq!(failure(state.unwrap().value.state).code, ErrorCode::TaskCancelled);
    assert_eq!(course.log.ended().await.len, 3);
}

#[actix_rt::test]
async fn a_successor_gives_the_journal_nothing_that_is_still_on_its_way_there() {
    let mut course = Course::begin_to(|| panic!("planted")).await;
    let (_, first) = course.batch().await;
    course.goes_on.notify_one();
    let mark = tokio::select! {
        again = course.batches.recv() => panic!("{:?} entries twice", again.map(|(entries, _)| entries)),
        mark = course.log.ended() => mark,
    };
    assert_eq!(mark.len, 5, "a role, three texts and an error");
    assert!(course.batches.try_recv().is_err());
    // The acknowledgement comes too late to change anything.
    let _ = first.send(true);
    assert_eq!(failure(course.service.outcome(&course.id).await).code, ErrorCode::InternalError);
    assert_eq!(course.shown(), 5);
}

#[actix_rt::test]
async fn an_end_does_not_wait_for_ever_for_a_journal_that_does_not_answer() {
    for is_begun in [false, true] {
        let mut course = Course::begin().await;
        let (_, first) = course.batch().await;
        let (seen, _unanswered) = if is_begun {
            first.send(true).unwrap();
            assert_eq!(course.log.reached(0).await.len, 2);
            course.finish().await;
            (2, course.batch().await.1)
        } else {
            course.finish().await;
            (0, first)
        };
        let next = course.log.reached(seen).await;
        assert_eq!(next, Mark { len: 6, ended: true, ..Mark::default() }, "nothing is shown before the end");
        assert!(matches!(course.service.outcome(&course.id).await, State::Completed(_)));
        let said = course.service.metrics.text(&Now::new()).unwrap();
        assert!(said.contains("hearken_journal_failures_total 1\n"), "{said}");
    }
}

#[actix_rt::test]
async fn a_stream_is_not_read_from_a_journal_that_lacks_a_part_of_it() {
    let mut course = Course::begin().await;
    let (_, first) = course.batch().await;
    course.finish().await;
    first.send(true).unwrap();
    let (_, second) = course.batch().await;
    course.journals.damage(&course.id);
    second.send(true).unwrap();
    course.log.ended().await;
    let replay = course.service.tasks.store.replay(course.id.clone(), super::owner()).await.unwrap();
    assert!(replay.is_none(), "the log has four entries, the journal three");
}
