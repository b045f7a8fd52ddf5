//! Tests of submits behind the HTTP layer: which task a submit starts or finds, and what happens when it is dropped.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;

use super::accepting::{answering, hold_commits, silent, watched};
use super::*;
use crate::actors::Submitted;
use crate::audio::Audio;
use crate::keys::{KeyRecord, Keyring, KnownKey};
use crate::task::{Delivery, Message, Part, Role, Submission};

fn caller(models: &str) -> Arc<KnownKey> {
    let record = KeyRecord {
        name: "owner".into(),
        hash: owner(),
        models: vec![models.into()],
        limits: KeyLimits::default(),
    };
    Keyring::new([record]).by_hash(&owner()).unwrap()
}

fn short(delivery: Delivery) -> Submission {
    let question = Question::short("m".into(), "p".into(), None);
    Submission { question, audio: vec![inline("RIFF")], delivery, stream: Some(Format::Tasks) }
}

impl Service {
    /// Submits, with an `Idempotency-Key` if a body for its fingerprint is given.
    async fn submit(&self, submission: Submission, body: Option<&str>) -> Result<Submitted, Failure> {
        let idempotency = body.map(|body| Idempotency {
            key: IdempotencyKey::parse(b"k").unwrap(),
            fingerprint: Fingerprint::of(body.as_bytes()).unwrap(),
        });
        self.tasks.submit(&caller("m*"), submission, idempotency, None).await
    }
}

#[actix_rt::test]
async fn dropping_a_submit_cancels_its_task_only_if_it_is_blocking() {
    let service = over(|| stream::pending().boxed_local());
    let blocking = service.submit(short(Delivery::Blocking), None).await.unwrap();
    let id = blocking.id().clone();
    drop(blocking);
    assert_eq!(failure(service.outcome(&id).await).code, ErrorCode::TaskCancelled);
    let mut left = Vec::new();
    for delivery in [Delivery::Asynchronous, Delivery::Streaming(Format::Tasks)] {
        left.push(service.submit(short(delivery), None).await.unwrap().id().clone());
    }
    for id in left {
        service.runs(&id).await;
    }
}

#[actix_rt::test]
async fn a_task_goes_on_after_its_call_got_the_error_that_it_is_stalled() {
    let is_first = AtomicBool::new(true);
    let answer = move || if is_first.swap(false, Relaxed) { silent() } else { answering() };
    let (channel, _asked) = watched(answer);
    let service = service(Channel { max_running_tasks: 1, ..channel }, 10);
    let first = service.submit(short(Delivery::Asynchronous), None).await.unwrap().id().clone();
    let blocking = service.submit(short(Delivery::Blocking), None).await.unwrap();
    let id = blocking.id().clone();
    let held = hold_commits(service.data_dir.path());
    // The slot goes to the second task, whose run cannot be recorded.
    let (_, stalled) = tokio::join!(service.tasks.cancel(&first, owner()), blocking.outcome());
    assert_eq!(stalled.unwrap_err().code, ErrorCode::StorageUnavailable);
    drop(held);
    assert!(matches!(service.outcome(&id).await, State::Completed(_)));
}

#[actix_rt::test]
async fn a_repeat_finds_the_first_task_and_dropping_it_cancels_nothing() {
    let service = over(|| stream::pending().boxed_local());
    let first = service.submit(short(Delivery::Blocking), Some("{}")).await.unwrap();
    let repeat = service.submit(short(Delivery::Blocking), Some("{}")).await.unwrap();
    assert!(!first.is_replayed() && repeat.is_replayed());
    assert_eq!(first.id(), repeat.id());
    drop(repeat);
    service.runs(first.id()).await;
    let reused = service.submit(short(Delivery::Blocking), Some("[]")).await.unwrap_err();
    assert_eq!(reused.code, ErrorCode::IdempotencyKeyReused);
}

#[actix_rt::test]
async fn a_key_may_use_only_its_models_and_a_refused_submit_leaves_no_task() {
    let service = over(|| stream::pending().boxed_local());
    let other = caller("other");
    let submit = service.tasks.submit(&other, short(Delivery::Asynchronous), None, None);
    let refused = submit.await.unwrap_err();
    assert_eq!((refused.code, refused.param.as_deref()), (ErrorCode::ModelNotAllowed, Some("model")));
    assert!(service.tasks.store.unfinished(None).await.unwrap().is_empty());
}

#[actix_rt::test]
async fn each_audio_of_a_conversation_reaches_the_upstream_in_its_place() {
    let (asking, mut asked) = mpsc::channel(2);
    let upstream = Scripted(move |request: UpstreamRequest| {
        let whole = |audio: &Audio| audio.bytes.piece(0, audio.bytes.len() as usize).unwrap();
        asking.try_send(request.audio.iter().map(whole).collect::<Vec<_>>()).unwrap();
        batches(vec![Ok(vec![text("a"), finished()])])
    });
    let channel = channel_over("c", &["*"], Arc::new(upstream));
    let service = service(Channel { takes_one_audio: false, ..channel }, 10);
    let question = Question {
        messages: vec![
            Message { role: Role::User, content: vec![Part::Audio, Part::Text("and".into()), Part::Audio] },
            Message::text(Role::Assistant, "yes".into()),
            Message { role: Role::User, content: vec![Part::Audio] },
        ],
        ..short(Delivery::Blocking).question
    };
    // Small audio is in memory when the call begins, large audio is in the store.
    for large in ["", &"x".repeat(100_000)] {
        let files = ["RIFF1", "RIFF2", "RIFF3"].map(|file| format!("{file}{large}"));
        let audio = files.iter().map(|file| inline(file)).collect();
        let submission =
            Submission { question: question.clone(), audio, delivery: Delivery::Blocking, stream: None };
        let submitted = service.submit(submission, None).await.unwrap();
        assert!(matches!(submitted.outcome().await.unwrap().value.state, State::Completed(_)));
        assert_eq!(asked.recv().await.unwrap(), files);
    }
}
