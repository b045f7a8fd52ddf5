//! A first call that is under way before its task is accepted: what is heard of it, and when.

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{StreamExt, poll, stream};
use tokio::sync::{mpsc, oneshot};

use super::{Service, failure, finished, owner, service, text};
use crate::actors::NewTask;
use crate::audio::source::AudioSource;
use crate::channel::Channel;
use crate::error::ErrorCode;
use crate::task::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use crate::task::snapshot::State;
use crate::upstream::UpstreamStream;
use crate::upstream::testing::{Scripted, batches, channel_over};

/// What an upstream sees of its calls.
struct Calls {
    asked: mpsc::Receiver<()>,
    closed: mpsc::Receiver<()>,
}

struct Open(mpsc::Sender<()>);

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// A channel whose upstream answers like this, and says when it is asked and when a call is closed.
fn watched(answer: impl Fn() -> UpstreamStream + Send + Sync + 'static) -> (Channel, Calls) {
    let (asking, asked) = mpsc::channel(10);
    let (closing, closed) = mpsc::channel(10);
    let upstream = Scripted(move |_| {
        let (mut answer, open, mut asking) = (answer(), Open(closing.clone()), Some(asking.clone()));
        let events = stream::poll_fn(move |cx| {
            let _ = &open;
            if let Some(asking) = asking.take() {
                asking.try_send(()).unwrap();
            }
            answer.poll_next_unpin(cx)
        });
        events.boxed_local()
    });
    (channel_over("c", &["*"], Arc::new(upstream)), Calls { asked, closed })
}

fn silent() -> UpstreamStream {
    stream::pending().boxed_local()
}

fn answering() -> UpstreamStream {
    batches(vec![Ok(vec![text("a")]), Ok(vec![text("b"), finished()])])
}

/// Nothing is committed to the store of this data directory as long as this is held.
fn hold_commits(data_dir: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(data_dir.join("hearken.sqlite")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

fn files(service: &Service, folder: &str) -> usize {
    std::fs::read_dir(service.data_dir.path().join(folder)).unwrap().count()
}

fn keyed(service: &Service) -> NewTask {
    let idempotency = Idempotency {
        key: IdempotencyKey::parse(b"k").unwrap(),
        fingerprint: Fingerprint::of(b"{}").unwrap(),
    };
    NewTask { idempotency: Some(idempotency), ..service.task() }
}

#[actix_rt::test]
async fn the_upstream_is_asked_before_the_commit_and_heard_after_it() {
    let (channel, mut calls) = watched(answering);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let new = service.task();
    let id = new.task.id.clone();
    let mut submit = Box::pin(service.tasks.submit(new));
    assert!(poll!(&mut submit).is_pending());
    calls.asked.recv().await.unwrap();
    let mut look = Box::pin(service.tasks.describe(&id, owner()));
    for _ in 0..100 {
        assert!(poll!(&mut submit).is_pending(), "the reply waits for the commit");
        assert!(poll!(&mut look).is_pending(), "nobody hears of the task before");
        tokio::task::yield_now().await;
    }
    assert_eq!(files(&service, "frames"), 0, "nothing was published");
    drop(held);
    let mut log = submit.await.unwrap().log;
    assert_eq!(look.await.unwrap().value.id, id);
    log.ended().await;
    assert!(matches!(service.state(&id).await, State::Completed { .. }));
    assert_eq!(log.mark().len, 5, "role, both texts, the finish, the end");
    assert!(calls.asked.try_recv().is_err(), "it was asked once");
}

#[actix_rt::test]
async fn a_task_that_the_store_refuses_closes_its_call_and_leaves_nothing() {
    let (channel, mut calls) = watched(silent);
    let service = service(Channel { max_running_tasks: 2, ..channel }, 0);
    let first = service.task();
    let task = first.task.clone();
    let id = service.tasks.submit(first).await.unwrap().snapshot.id;
    calls.asked.recv().await.unwrap();
    // The store has a task with this id.
    let again = || NewTask { task: task.clone(), ..service.task() };
    let held = hold_commits(service.data_dir.path());
    let mut submit = Box::pin(service.tasks.submit(again()));
    assert!(poll!(&mut submit).is_pending());
    calls.asked.recv().await.unwrap();
    drop(held);
    assert_eq!(submit.await.unwrap_err().code, ErrorCode::StorageUnavailable);
    calls.closed.recv().await.unwrap();
    service.tasks.submit(again()).await.unwrap_err();
    assert!(calls.asked.try_recv().is_err(), "where the store refuses, nobody is asked ahead");
    let next = service.tasks.submit(service.task()).await.unwrap().snapshot.id;
    service.runs(&next).await;
    calls.asked.recv().await.unwrap();
    assert!(matches!(service.state(&id).await, State::Processing { .. }));
    assert!(calls.closed.try_recv().is_err());
}

#[actix_rt::test]
async fn where_there_is_no_room_for_the_audio_the_upstream_is_not_asked() {
    let (channel, mut calls) = watched(silent);
    let service = service(Channel { max_running_tasks: 100, ..channel }, 0);
    let refused = loop {
        let mut new = service.task();
        if let AudioSource::Inline(audio) = &mut new.audio {
            audio.base64 = vec![b'A'; 60_000].into();
        }
        match service.tasks.submit(new).await {
            Ok(_) => calls.asked.recv().await.unwrap(),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code, ErrorCode::StorageFull);
    assert!(calls.asked.try_recv().is_err());
}

#[actix_rt::test]
async fn of_two_submits_with_one_key_one_asks_once_the_store_has_said_which() {
    let (channel, mut calls) = watched(silent);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let mut submits = [keyed(&service), keyed(&service)].map(|new| Box::pin(service.tasks.submit(new)));
    for _ in 0..100 {
        for submit in &mut submits {
            assert!(poll!(submit).is_pending());
        }
        tokio::task::yield_now().await;
    }
    assert!(calls.asked.try_recv().is_err());
    drop(held);
    let [first, second] = submits;
    let (first, second) = (first.await, second.await);
    assert!(first.is_ok() != second.is_ok());
    let refused = first.err().or(second.err()).unwrap();
    assert_eq!(refused.code, ErrorCode::IdempotencyConflict);
    calls.asked.recv().await.unwrap();
    assert!(calls.asked.try_recv().is_err());
}

#[actix_rt::test]
async fn who_leaves_before_the_task_is_accepted_has_cancelled_it_when_it_is() {
    let (channel, mut calls) = watched(silent);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let mut new = service.task();
    let (leash, presence) = oneshot::channel();
    new.presence = Some(presence);
    let id = new.task.id.clone();
    let mut submit = Box::pin(service.tasks.submit(new));
    assert!(poll!(&mut submit).is_pending());
    calls.asked.recv().await.unwrap();
    drop((leash, submit));
    drop(held);
    assert_eq!(failure(service.outcome(&id).await).code, ErrorCode::TaskCancelled);
    calls.closed.recv().await.unwrap();
}

#[actix_rt::test]
async fn a_panic_before_the_task_is_accepted_fails_it_when_it_is() {
    let (channel, mut calls) =
        watched(|| stream::poll_fn(|_| -> Poll<_> { panic!("planted") }).boxed_local());
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let mut submit = Box::pin(service.tasks.submit(service.task()));
    assert!(poll!(&mut submit).is_pending());
    calls.closed.recv().await.unwrap();
    drop(held);
    let id = submit.await.unwrap().snapshot.id;
    assert_eq!(failure(service.outcome(&id).await).code, ErrorCode::InternalError);
}

#[actix_rt::test]
async fn a_server_that_stops_before_the_task_is_accepted_closes_its_call_and_leaves_it_to_the_next_start() {
    let (channel, mut calls) = watched(silent);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let mut submit = Box::pin(service.tasks.submit(service.task()));
    assert!(poll!(&mut submit).is_pending());
    calls.asked.recv().await.unwrap();
    service.tasks.drain(Duration::from_millis(1)).await;
    assert!(poll!(&mut submit).is_pending());
    drop(held);
    assert!(submit.await.unwrap().log.ended().await.parked);
    calls.closed.recv().await.unwrap();
    let left = service.tasks.store.unfinished(None).await.unwrap();
    assert_eq!((left.len(), left[0].remains.runs, left[0].remains.published), (1, 1, false));
}

#[actix_rt::test]
async fn a_caller_whose_call_is_under_way_when_the_server_stops_is_told_what_it_may_cost() {
    let (channel, mut calls) = watched(silent);
    let service = service(channel, 10);
    let held = hold_commits(service.data_dir.path());
    let (_leash, presence) = oneshot::channel();
    let mut submit = Box::pin(service.tasks.submit(NewTask { presence: Some(presence), ..service.task() }));
    assert!(poll!(&mut submit).is_pending());
    calls.asked.recv().await.unwrap();
    service.tasks.drain(Duration::from_millis(1)).await;
    drop(held);
    let failure = failure(service.outcome(&submit.await.unwrap().snapshot.id).await);
    assert_eq!((failure.code, failure.may_have_cost()), (ErrorCode::TaskInterrupted, true));
    assert!(service.tasks.store.unfinished(None).await.unwrap().is_empty());
}
