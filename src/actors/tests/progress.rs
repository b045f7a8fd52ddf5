//! Tests of progress: a step is shown only when it is durable, so that another process would show it, too.

use futures_util::{StreamExt, poll, stream};
use tokio::sync::mpsc;

use super::accepting::{hold_commits, silent, watched};
use super::{Service, owner, service, text};
use crate::channel::Channel;
use crate::task::{State, TaskId};
use crate::upstream::{Batch, UpstreamError};

/// Starts a running task without a stream. Its upstream sends the batches that are sent to the returned sender.
async fn dictated() -> (Service, TaskId, mpsc::Sender<Result<Batch, UpstreamError>>) {
    let (speak, spoken) = mpsc::channel(1);
    let spoken = std::sync::Mutex::new(Some(spoken));
    let answer = move || {
        let mut spoken = spoken.lock().unwrap().take().unwrap();
        stream::poll_fn(move |context| spoken.poll_recv(context)).boxed_local()
    };
    let (channel, mut asked) = watched(answer);
    let service = service(channel, 10);
    let mut new = service.task();
    new.task.stream = None;
    let id = service.tasks.accept(new).await.unwrap().snapshot.id;
    asked.recv().await.unwrap();
    (service, id, speak)
}

#[actix_rt::test]
async fn progress_is_shown_once_it_is_durable() {
    let (service, id, speak) = dictated().await;
    let held = hold_commits(service.data_dir.path());
    // The second batch can be sent only after the first one was received.
    for _ in 0..2 {
        speak.send(Ok(vec![text("a")])).await.unwrap();
    }
    drop(speak.reserve().await.unwrap());
    assert!(matches!(service.state(&id).await, State::Processing { progress: 5 }));
    drop(held);
    while !matches!(service.state(&id).await, State::Processing { progress: 20 }) {
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn an_end_does_not_take_back_progress_that_is_recorded_before_it() {
    let (service, id, speak) = dictated().await;
    let held = hold_commits(service.data_dir.path());
    speak.send(Ok(vec![text("a")])).await.unwrap();
    speak.send(Err(UpstreamError::Disconnected)).await.unwrap();
    // The commit of the end comes after that of the step.
    speak.closed().await;
    drop(held);
    let outcome = service.outcome(&id).await;
    assert!(matches!(outcome, State::Failed { progress: 20, .. }), "{outcome:?}");
}

#[actix_rt::test]
async fn a_task_is_shown_as_running_once_its_run_is_durable() {
    let (channel, _asked) = watched(silent);
    let service = service(Channel { max_running_tasks: 1, ..channel }, 10);
    let first = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    let second = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    let store = &service.tasks.store;
    let held = hold_commits(service.data_dir.path());
    // The writer works on this write, and takes no other.
    let write = store.progress(first.clone(), 10);
    tokio::pin!(write);
    assert!(poll!(&mut write).is_pending());
    while store.levels().writes_waiting > 0 {
        tokio::task::yield_now().await;
    }
    let cancel = service.tasks.cancel(&first, owner());
    tokio::pin!(cancel);
    // Waits for the end of the first task and the run of the second.
    while store.levels().writes_waiting < 2 {
        assert!(poll!(&mut cancel).is_pending());
        tokio::task::yield_now().await;
    }
    assert!(matches!(service.state(&second).await, State::Pending));
    drop(held);
    service.runs(&second).await;
}
