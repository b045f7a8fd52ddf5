//! Tests of a submit while its task is being written to the store: no upstream is called before the write is durable.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, poll, stream};
use tokio::sync::{mpsc, oneshot};

use super::{Service, failure, finished, owner, service, text};
use crate::actors::registry::NewTask;
use crate::audio::AudioSource;
use crate::channel::Channel;
use crate::error::ErrorCode;
use crate::task::{Fingerprint, Idempotency, IdempotencyKey, State};
use crate::upstream::UpstreamStream;
use crate::upstream::testing::{Scripted, batches, channel_over};

/// Returns a channel whose upstream answers like this, and a receiver that is notified of each call.
pub(super) fn watched(
    answer: impl Fn() -> UpstreamStream + Send + Sync + 'static,
) -> (Channel, mpsc::Receiver<()>) {
    let (asking, asked) = mpsc::channel(10);
    let upstream = Scripted(move |_| {
        asking.try_send(()).unwrap();
        answer()
    });
    (channel_over("c", &["*"], Arc::new(upstream)), asked)
}

pub(super) fn silent() -> UpstreamStream {
    stream::pending().boxed_local()
}

pub(super) fn answering() -> UpstreamStream {
    batches(vec![Ok(vec![text("a")]), Ok(vec![text("b"), finished()])])
}

/// Blocks all commits to the store of this data directory until the returned connection is dropped.
pub(super) fn hold_commits(data_dir: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(data_dir.join("hearken.sqlite")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

fn keyed(service: &Service) -> NewTask {
    let idempotency = Idempotency {
        key: IdempotencyKey::parse(b"k").unwrap(),
        fingerprint: Fingerprint::of(b"{}").unwrap(),
    };
    NewTask { idempotency: Some(idempotency), ..service.task() }
}

/// Polls a submit until it cannot make further progress.
async fn waits<F: Future<Output: std::fmt::Debug>>(submit: &mut Pin<Box<F>>) {
    for _ in 0..100 {
        assert!(poll!(&mut *submit).is_pending(), "the reply waits for the commit");
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn the_upstream_is_called_only_when_the_task_is_durable() {
    let (channel, mut asked) = watched(answering);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let new = service.task();
    let id = new.task.id.clone();
    let mut submit = Box::pin(service.tasks.accept(new));
    waits(&mut submit).await;
    let mut look = Box::pin(service.tasks.describe(&id, owner()));
    assert!(poll!(&mut look).is_pending(), "the task is visible after the commit");
    assert!(asked.try_recv().is_err());
    drop(held);
    let mut log = submit.await.unwrap().log;
    assert_eq!(look.await.unwrap().value.id, id);
    log.ended().await;
    assert!(matches!(service.state(&id).await, State::Completed(_)));
    assert_eq!(log.mark().len, 5, "role, both texts, the finish, the end");
    asked.recv().await.unwrap();
    assert!(asked.try_recv().is_err(), "the upstream was called once");
}

#[actix_rt::test]
async fn a_task_that_the_store_refuses_leaves_no_call_and_a_free_slot() {
    let (channel, mut asked) = watched(silent);
    let service = service(Channel { max_running_tasks: 2, ..channel }, 0);
    let first = service.task();
    let task = first.task.clone();
    let id = service.tasks.accept(first).await.unwrap().snapshot.id;
    asked.recv().await.unwrap();
    // The store already has a task with this id.
    for _ in 0..2 {
        let again = NewTask { task: task.clone(), ..service.task() };
        assert_eq!(service.tasks.accept(again).await.unwrap_err().code, ErrorCode::StorageUnavailable);
    }
    assert!(asked.try_recv().is_err());
    let next = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    service.runs(&next).await;
    asked.recv().await.unwrap();
    assert!(matches!(service.state(&id).await, State::Processing { .. }));
}

#[actix_rt::test]
async fn the_upstream_is_not_called_if_the_audio_cannot_be_stored() {
    let (channel, mut asked) = watched(silent);
    let service = service(Channel { max_running_tasks: 100, ..channel }, 0);
    let refused = loop {
        let mut new = service.task();
        if let [AudioSource::Inline(audio)] = new.audio.as_mut_slice() {
            audio.bytes = vec![b'A'; 60_000].into();
        }
        match service.tasks.accept(new).await {
            Ok(_) => asked.recv().await.unwrap(),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code, ErrorCode::StorageFull);
    assert!(asked.try_recv().is_err());
}

#[actix_rt::test]
async fn two_submits_with_one_key_make_one_call() {
    let (channel, mut asked) = watched(silent);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let mut submits = [keyed(&service), keyed(&service)].map(|new| Box::pin(service.tasks.accept(new)));
    for submit in &mut submits {
        waits(submit).await;
    }
    assert!(asked.try_recv().is_err());
    drop(held);
    let [first, second] = submits;
    let (first, second) = (first.await, second.await);
    assert!(first.is_ok() != second.is_ok());
    let refused = first.err().or(second.err()).unwrap();
    assert_eq!(refused.code, ErrorCode::IdempotencyConflict);
    asked.recv().await.unwrap();
    assert!(asked.try_recv().is_err());
}

#[actix_rt::test]
async fn a_caller_that_disconnects_before_the_commit_causes_no_call() {
    let (channel, mut asked) = watched(silent);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let mut new = service.task();
    let (cancel_on_drop, caller_gone) = oneshot::channel();
    new.caller_gone = Some(caller_gone);
    let id = new.task.id.clone();
    let mut submit = Box::pin(service.tasks.accept(new));
    waits(&mut submit).await;
    drop((cancel_on_drop, submit, held));
    assert_eq!(failure(service.outcome(&id).await).code, ErrorCode::TaskCancelled);
    assert!(asked.try_recv().is_err());
}

#[actix_rt::test]
async fn a_task_that_becomes_durable_during_a_stop_is_left_to_the_next_start() {
    let (channel, mut asked) = watched(silent);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let mut submit = Box::pin(service.tasks.accept(service.task()));
    waits(&mut submit).await;
    service.tasks.drain(Duration::from_millis(1)).await;
    assert!(poll!(&mut submit).is_pending());
    drop(held);
    assert!(submit.await.unwrap().log.ended().await.parked);
    assert!(asked.try_recv().is_err());
    let left = service.tasks.store.unfinished(None).await.unwrap();
    assert_eq!((left.len(), left[0].facts.runs, left[0].facts.published), (1, 1, false));
}
