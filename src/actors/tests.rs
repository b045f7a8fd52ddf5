//! Tests of the actors with an upstream in memory and a store on a real disk.

mod accepting;
mod kind;
mod progress;
mod publishing;
mod submitting;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Arbiter};
use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;

use super::Tasks;
use super::dispatcher::Dispatcher;
use super::registry::{Located, NewTask, Registry};
use super::submit::{AcceptedTask, Answered};
use super::task::TaskSettings;
use crate::audio::{AudioSource, Container, InlineAudio};
use crate::channel::RetryBudget;
use crate::channel::{Channel, Channels};
use crate::error::{ErrorCode, Failure};
use crate::fetch::Fetcher;
use crate::keys::{Allowance, KeyLimits};
use crate::metrics::{Metrics, Now};
use crate::secret::KeyHash;
use crate::store::{Ending, Retention, Store, StoreConfig};
use crate::task::{
    Chunks, Completed, Completion, Fingerprint, Format, Idempotency, IdempotencyKey, LogReader, Outcome,
    Question, State, Task, TaskId, TextKind, Timeline, Timestamp,
};
use crate::trace::Traces;
use crate::upstream::testing::{Scripted, batches, channel_over, silent_channel};
use crate::upstream::{Upstream, UpstreamEvent, UpstreamRequest, UpstreamStream};
use crate::wire::completion::{FinishReason, Usage};

struct Service {
    tasks: Tasks,
    channels: Vec<Arc<Channel>>,
    metrics: Metrics,
    data_dir: tempfile::TempDir,
}

fn service(channel: Channel, max_pending_tasks: usize) -> Service {
    service_over([channel], max_pending_tasks)
}

fn service_over(channels: impl IntoIterator<Item = Channel>, max_pending_tasks: usize) -> Service {
    service_with(channels, max_pending_tasks, |store| store)
}

fn service_with(
    channels: impl IntoIterator<Item = Channel>,
    max_pending_tasks: usize,
    adapt: impl FnOnce(Store) -> Store,
) -> Service {
    let data_dir = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let retention = Retention { chunks: day, tasks: day, idempotency: day };
    let config = StoreConfig { sync: true, max_spool_bytes: 1 << 20 };
    let metrics = Metrics::new(std::iter::empty()).unwrap();
    let store = adapt(Store::open(data_dir.path(), retention, config, metrics.store.clone()).unwrap());
    let channels = Channels::new(channels);
    let settings = TaskSettings {
        store: store.clone(),
        fetcher: Fetcher::new(crate::fetch::testing::config()),
        dispatcher: Dispatcher::new(&channels, max_pending_tasks).start(),
        retry_budget: RetryBudget { calls: 12, time: day },
        chunk_retention: day,
        traces: Traces::default(),
        max_answer_bytes: 1 << 20,
        max_stream_memory_bytes: 1 << 20,
        metrics: metrics.tasks.clone(),
    };
    let registry = Registry::new(settings, vec![Arbiter::new().handle()]);
    Service {
        tasks: Tasks::new(
            registry.start(),
            store,
            channels.clone(),
            crate::memory::ResponseMemory::new(1 << 20),
        ),
        channels: channels.iter().cloned().collect(),
        metrics,
        data_dir,
    }
}

fn over(upstream: impl Fn() -> UpstreamStream + Send + Sync + 'static) -> Service {
    let upstream: Arc<dyn Upstream> = Arc::new(Scripted(move |_| upstream()));
    service(channel_over("c", &["*"], upstream), 10)
}

fn owner() -> KeyHash {
    KeyHash::of("sk-owner")
}

fn inline(bytes: &str) -> AudioSource {
    AudioSource::Inline(InlineAudio {
        container: Container::Wav,
        bytes: bytes.to_owned().into(),
        duration: None,
        declared: "audio/wav".into(),
    })
}

impl Service {
    fn task(&self) -> NewTask {
        let created = Timestamp::now();
        let question = Question::short("m".into(), "p".into(), None);
        let id = TaskId::generate(created.seconds());
        NewTask {
            task: Task { id, owner: owner(), created, stream: Some(Format::Tasks), question, trace: None },
            audio: vec![inline("RIFF")],
            candidates: self.channels.clone(),
            caller_gone: None,
            key_name: "owner".into(),
            allowance: Arc::new(Allowance::new(KeyLimits::default())),
            idempotency: None,
        }
    }

    async fn state(&self, id: &TaskId) -> State {
        self.tasks.describe(id, owner()).await.unwrap().value.state
    }

    async fn runs(&self, id: &TaskId) {
        while !matches!(self.state(id).await, State::Processing { .. }) {
            tokio::task::yield_now().await;
        }
    }

    async fn outcome(&self, id: &TaskId) -> State {
        self.tasks.wait(id, owner(), Duration::from_secs(20)).await.unwrap();
        self.state(id).await
    }
}

fn failure(state: State) -> Failure {
    match state {
        State::Failed { failure, .. } => failure,
        other => panic!("not failed: {other:?}"),
    }
}

fn text(text: &str) -> UpstreamEvent {
    UpstreamEvent::Text(TextKind::Content, text.into())
}

fn finished() -> UpstreamEvent {
    UpstreamEvent::Finished { reason: FinishReason::Stop, usage: Usage::default() }
}

#[actix_rt::test]
async fn a_panic_in_one_task_fails_that_task_and_nothing_else() {
    let service = over(|| {
        let half = stream::iter([Ok(vec![text("half")])]);
        half.chain(stream::poll_fn(|_| panic!("planted"))).boxed_local()
    });
    let doomed = service.tasks.accept(service.task()).await.unwrap();
    let mut log = doomed.log;
    let mark = log.ended().await;
    let frames = log.in_format(Format::Tasks).all();
    let frames = String::from_utf8(frames.to_vec()).unwrap();
    assert_eq!(mark.len, 3, "{frames}");
    assert!(frames.contains("half") && frames.contains("event: error\nid: 2\n"), "{frames}");
    assert_eq!(failure(service.outcome(&doomed.snapshot.id).await).code, ErrorCode::InternalError);

    // The successor reports what had happened before the crash.
    let said = service.metrics.text(&Now::new()).unwrap();
    for line in [
        "hearken_tasks_ended_total{channel=\"c\",outcome=\"internal_error\"} 1\n",
        "hearken_upstream_attempts_total{channel=\"c\",class=\"abandoned\"} 1\n",
        "hearken_tasks_crashed_total 1\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }

    let next = service.tasks.accept(service.task()).await.unwrap();
    assert_eq!(failure(service.outcome(&next.snapshot.id).await).code, ErrorCode::InternalError);
}

#[actix_rt::test]
async fn an_answer_is_completed_and_its_frames_stay_readable() {
    let service = over(|| batches(vec![Ok(vec![text("a")]), Ok(vec![]), Ok(vec![text("b"), finished()])]));
    let accepted = service.tasks.accept(service.task()).await.unwrap();
    let id = accepted.snapshot.id;
    let State::Completed(completion) = service.outcome(&id).await else { panic!("not completed") };
    assert!(completion.chat().get().contains(r#""content":"ab""#), "{completion:?}");
    let log = service.tasks.subscribe(&id, owner()).await.unwrap();
    assert_eq!(log.mark().len, 5);
    assert_eq!(
        service.tasks.subscribe(&id, KeyHash::of("sk-other")).await.unwrap_err().code,
        ErrorCode::TaskNotFound
    );
}

#[actix_rt::test]
async fn an_ended_task_has_no_actor_and_its_frames_stay_the_same() {
    let service = over(|| batches(vec![Ok(vec![text("a")]), Ok(vec![text("b"), finished()])]));
    let AcceptedTask { snapshot, mut log } = service.tasks.accept(service.task()).await.unwrap();
    log.ended().await;
    let cold = loop {
        match service.tasks.locate(&snapshot.id, owner()).await.unwrap().unwrap() {
            Located { actor: Some(_), .. } => tokio::task::yield_now().await,
            Located { actor: None, log, stream } => break (log, stream),
        }
    };
    assert!(cold.1);
    assert_eq!(cold.0.mark(), log.mark());
    let frames = |log: LogReader| log.in_format(Format::Tasks).all();
    assert_eq!(frames(cold.0), frames(log));
    assert!(matches!(service.state(&snapshot.id).await, State::Completed(_)));
    assert!(service.tasks.locate(&snapshot.id, KeyHash::of("sk-other")).await.unwrap().is_none());
}

#[actix_rt::test]
async fn an_upstream_stream_without_a_final_event_is_a_failure() {
    let service = over(|| batches(vec![Ok(vec![text("a")])]));
    let accepted = service.tasks.accept(service.task()).await.unwrap();
    assert_eq!(failure(service.outcome(&accepted.snapshot.id).await).code, ErrorCode::UpstreamDisconnected);
}

#[actix_rt::test]
async fn an_endless_answer_fails_at_the_size_limit() {
    let service = over(|| stream::repeat_with(|| Ok(vec![text(&"x".repeat(10_000))])).boxed_local());
    let accepted = service.tasks.accept(service.task()).await.unwrap();
    assert_eq!(
        failure(service.outcome(&accepted.snapshot.id).await).code,
        ErrorCode::UpstreamInvalidResponse
    );
}

#[actix_rt::test]
async fn a_blocking_caller_cancels_its_task_by_disconnecting() {
    let service = service(silent_channel("c", &["*"]), 10);
    let mut new = service.task();
    let (cancel_on_drop, caller_gone) = oneshot::channel();
    new.caller_gone = Some(caller_gone);
    let accepted = service.tasks.accept(new).await.unwrap();
    drop(cancel_on_drop);
    assert_eq!(failure(service.outcome(&accepted.snapshot.id).await).code, ErrorCode::TaskCancelled);
}

#[actix_rt::test]
async fn an_answer_that_cannot_be_journalled_is_shown_with_its_end() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let end = Arc::clone(&gate);
    let answers = move || {
        let end = Arc::clone(&end);
        let last = async move {
            end.notified().await;
            Ok(vec![finished()])
        };
        stream::iter([Ok(vec![text("a")])]).chain(stream::once(last)).boxed_local()
    };
    let service = service(channel_over("c", &["*"], Arc::new(Scripted(move |_| answers()))), 10);
    let new = service.task();
    // A directory blocks the place where the journal would be created.
    std::fs::create_dir(service.data_dir.path().join("frames").join(new.task.id.as_str())).unwrap();
    let mut accepted = service.tasks.accept(new).await.unwrap();
    let mark = accepted.log.reached_or_stalled(0).await;
    assert_eq!((mark.len, mark.stalled), (0, true));
    gate.notify_one();
    let mark = accepted.log.ended().await;
    assert!(mark.len > 2 && !mark.stalled, "{mark:?}");
    assert!(matches!(service.outcome(&accepted.snapshot.id).await, State::Completed(_)));
}

#[actix_rt::test]
async fn a_task_left_to_the_next_start_can_still_be_cancelled() {
    let service = service(silent_channel("c", &["*"]), 10);
    let id = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    service.runs(&id).await;
    service.tasks.drain(Duration::from_millis(1)).await;
    let state = service.tasks.cancel(&id, owner()).await.unwrap().value.state;
    assert_eq!(failure(state).code, ErrorCode::TaskCancelled);
    assert!(service.tasks.store.unfinished(None).await.unwrap().is_empty());
}

#[actix_rt::test]
async fn a_running_task_with_an_irreplaceable_caller_ends_with_the_server() {
    let service = service(silent_channel("c", &["*"]), 10);
    let mut new = service.task();
    let (_cancel_on_drop, caller_gone) = oneshot::channel();
    new.caller_gone = Some(caller_gone);
    let accepted = service.tasks.accept(new).await.unwrap();
    service.runs(&accepted.snapshot.id).await;
    service.tasks.drain(Duration::from_millis(1)).await;
    let failure = failure(service.outcome(&accepted.snapshot.id).await);
    assert_eq!((failure.code, failure.may_have_cost()), (ErrorCode::TaskInterrupted, true));
    assert!(service.tasks.store.unfinished(None).await.unwrap().is_empty());
}

#[actix_rt::test]
async fn a_stalled_task_ends_with_the_server_as_it_would_at_the_next_start() {
    let service = service(silent_channel("c", &["*"]), 10);
    let mut new = service.task();
    let (cancel_on_drop, caller_gone) = oneshot::channel();
    new.caller_gone = Some(caller_gone);
    let id = service.tasks.accept(new).await.unwrap().snapshot.id;
    service.runs(&id).await;
    let unfinished = service.tasks.store.unfinished(None).await.unwrap();
    let at_next_start = unfinished[0].facts.may_run().unwrap_err();
    cancel_on_drop.send(Answered).unwrap();
    // The actor answers this only after it has handled the signal of the caller.
    service.state(&id).await;
    service.tasks.drain(Duration::from_millis(1)).await;
    assert_eq!(failure(service.outcome(&id).await), at_next_start);
}

#[actix_rt::test]
async fn a_caller_of_a_task_left_to_the_next_start_cancels_nothing() {
    let service = service(silent_channel("c", &["*"]), 10);
    let mut new = service.task();
    let (cancel_on_drop, caller_gone) = oneshot::channel();
    new.caller_gone = Some(caller_gone);
    // A repeat of the submit can receive the answer instead of this caller.
    new.idempotency = Some(Idempotency {
        key: IdempotencyKey::parse(b"k").unwrap(),
        fingerprint: Fingerprint::of(b"{}").unwrap(),
    });
    let mut accepted = service.tasks.accept(new).await.unwrap();
    service.runs(&accepted.snapshot.id).await;
    service.tasks.drain(Duration::from_millis(1)).await;
    assert!(accepted.log.ended().await.parked);
    drop(cancel_on_drop);
    tokio::task::yield_now().await;
    assert!(matches!(service.state(&accepted.snapshot.id).await, State::Processing { .. }));
    assert_eq!(service.tasks.store.unfinished(None).await.unwrap().len(), 1);
}

#[actix_rt::test]
async fn a_task_in_acceptance_is_left_to_the_next_start_by_a_stop() {
    let service = service(silent_channel("c", &["*"]), 20);
    let mut submits: Vec<_> = (0..20).map(|_| Box::pin(service.tasks.accept(service.task()))).collect();
    for submit in &mut submits {
        // The registry has received the task and waits for the disk, or soon will.
        let _ = futures_util::poll!(submit);
    }
    tokio::task::yield_now().await;
    service.tasks.drain(Duration::from_millis(1)).await;
    for submit in submits {
        match submit.await {
            Ok(mut accepted) => assert!(accepted.log.ended().await.parked),
            Err(failure) => assert_eq!(failure.code, ErrorCode::ShuttingDown),
        }
    }
}

#[actix_rt::test]
async fn an_end_that_is_already_durable_is_announced() {
    let service = service(silent_channel("c", &["*"]), 10);
    let accepted = service.tasks.accept(service.task()).await.unwrap();
    let id = accepted.snapshot.id;
    service.runs(&id).await;
    // Leaves the store as an actor does that crashed between recording its task's end and announcing it.
    let completion = r#"{"id":"chatcmpl-1","created":1,"model":"m","choices":[{"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;
    let completion = Completion::stored(completion.to_owned(), None).unwrap();
    let ending = Ending {
        outcome: Outcome::Completed(Completed::of(completion).unwrap().into()),
        progress: 0,
        timeline: Timeline::begun(Timestamp::now()),
        chunks: Some(Chunks::of(std::iter::empty())),
    };
    service.tasks.store.end(id.clone(), ending).await.unwrap();
    let state = service.tasks.cancel(&id, owner()).await.unwrap().value.state;
    assert!(matches!(state, State::Completed(_)), "{state:?}");
    let mut log = accepted.log;
    log.ended().await;
    let frames = log.in_format(Format::Tasks).all();
    let frames = String::from_utf8(frames.to_vec()).unwrap();
    assert!(
        frames.contains(r#""finish_reason":"length""#) && frames.ends_with("data: [DONE]\n\n"),
        "{frames}"
    );
}

#[actix_rt::test]
async fn a_submit_waits_for_a_slot_and_is_refused_if_the_queue_is_full() {
    let service = service(Channel { max_running_tasks: 1, ..silent_channel("c", &["*"]) }, 1);
    let running = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    let waiting = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    let refused = service.tasks.accept(service.task()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    assert!(refused.retry_after_seconds.is_some());
    service.runs(&running).await;
    assert!(matches!(service.state(&waiting).await, State::Pending));
    // The slot goes to the next task in the queue, and that task's place to the next submit.
    service.tasks.cancel(&running, owner()).await.unwrap();
    service.runs(&waiting).await;
    service.tasks.accept(service.task()).await.unwrap();
}

#[actix_rt::test]
async fn a_waiting_task_that_is_cancelled_gives_its_place_to_the_next() {
    let service = service(Channel { max_running_tasks: 1, ..silent_channel("c", &["*"]) }, 1);
    let running = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    for _ in 0..3 {
        let waiting = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
        let state = service.tasks.cancel(&waiting, owner()).await.unwrap().value.state;
        assert_eq!(failure(state).code, ErrorCode::TaskCancelled);
    }
    assert!(matches!(service.state(&running).await, State::Processing { .. }));
}

#[actix_rt::test]
async fn a_drain_leaves_unseen_tasks_to_the_next_start() {
    let service = service(Channel { max_running_tasks: 1, ..silent_channel("c", &["*"]) }, 1);
    let running = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    let waiting = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    service.runs(&running).await;
    service.tasks.drain(Duration::from_millis(1)).await;
    assert!(matches!(service.outcome(&running).await, State::Processing { .. }));
    assert!(matches!(service.outcome(&waiting).await, State::Pending));
    assert_eq!(service.tasks.accept(service.task()).await.unwrap_err().code, ErrorCode::ShuttingDown);
    assert!(service.tasks.readiness().await.is_err());
}

#[actix_rt::test]
async fn a_slot_stays_taken_while_work_holds_it() {
    let (calls, mut slots) = tokio::sync::mpsc::channel(4);
    let upstream = Scripted(move |request: UpstreamRequest| {
        let _ = calls.try_send(request.slot);
        stream::pending().boxed_local()
    });
    let channel = Channel { max_running_tasks: 1, ..channel_over("c", &["*"], Arc::new(upstream)) };
    let service = service(channel, 10);
    let first = service.tasks.accept(service.task()).await.unwrap().snapshot.id;
    let held = slots.recv().await.unwrap();
    service.tasks.cancel(&first, owner()).await.unwrap();
    let second = service.tasks.accept(service.task()).await.unwrap().snapshot;
    assert!(matches!(second.state, State::Pending), "{:?}", second.state);
    drop(held);
    service.runs(&second.id).await;
}
