//! The store on a real disk: what is durable, whose it is, what is forgotten, and what a commit costs.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::value::RawValue;

use super::{Ending, Store, StoreError};
use crate::config::Retention;
use crate::error::{ErrorCode, Failure};
use crate::keys::KeyHash;
use crate::task::id::TaskId;
use crate::task::snapshot::State;
use crate::task::submission::Question;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};

fn open(data_dir: &Path, kept: Duration) -> Store {
    Store::open(data_dir, Retention { chunks: kept, tasks: kept }).unwrap()
}

const DAY: Duration = Duration::from_secs(86_400);

fn owner() -> KeyHash {
    KeyHash::of("sk-owner")
}

fn task() -> Task {
    let question = Question {
        model: "m".into(),
        prompt: "p".into(),
        system_prompt: None,
        max_tokens: Some(7),
        temperature: Some(0.5),
        reasoning: true,
    };
    let created = Timestamp::now();
    Task { id: TaskId::generate(created.seconds()), owner: owner(), created, stream: true, question }
}

fn completed(json: &str) -> Ending {
    Ending::Completed(RawValue::from_string(json.to_owned()).unwrap().into())
}

fn failed() -> Ending {
    Ending::Failed { failure: Failure::new(ErrorCode::UpstreamTimeout, "slow"), progress: 42 }
}

/// Opens the data directory anew, once the threads of the store before have let go of it.
fn reopen(data_dir: &Path) -> Store {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(data_dir, Retention { chunks: DAY, tasks: DAY }) {
            Ok(store) => return store,
            Err(StoreError::Taken(_)) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            Err(err) => panic!("{err}"),
        }
    }
}

#[actix_rt::test]
async fn a_task_is_found_by_its_owner_alone() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let task = task();
    store.accept(task.clone()).await.unwrap();
    let found = store.find(task.id.clone(), owner()).await.unwrap().unwrap();
    assert_eq!((found.model.as_str(), found.created), ("m", task.created.seconds()));
    assert!(found.stream && matches!(found.state, State::Pending));
    assert!(store.find(task.id, KeyHash::of("sk-other")).await.unwrap().is_none());
}

#[actix_rt::test]
async fn the_first_end_stays_and_keeps_its_bytes() {
    let data_dir = tempfile::tempdir().unwrap();
    let task = task();
    let timeline = Timeline::begun(task.created);
    {
        let store = open(data_dir.path(), DAY);
        store.accept(task.clone()).await.unwrap();
        store.end(task.id.clone(), completed(r#"{"b" : 1}"#), timeline.clone()).await.unwrap();
        store.end(task.id.clone(), failed(), timeline.clone()).await.unwrap();
    }
    let found = reopen(data_dir.path()).find(task.id, owner()).await.unwrap().unwrap();
    assert_eq!(found.timeline, timeline);
    let State::Completed { completion } = found.state else { panic!("{:?}", found.state) };
    assert_eq!(completion.get(), r#"{"b" : 1}"#);
}

#[actix_rt::test]
async fn what_an_earlier_run_did_not_end_is_interrupted() {
    let data_dir = tempfile::tempdir().unwrap();
    let task = task();
    open(data_dir.path(), DAY).accept(task.clone()).await.unwrap();
    let found = reopen(data_dir.path()).find(task.id, owner()).await.unwrap().unwrap();
    let State::Failed { failure, .. } = found.state else { panic!("{:?}", found.state) };
    assert_eq!((failure.code, failure.retryable), (ErrorCode::TaskInterrupted, true));
}

#[actix_rt::test]
async fn an_ended_task_is_hidden_and_then_deleted_when_its_time_is_over() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), Duration::ZERO);
    let (ended, waiting) = (task(), task());
    for task in [&ended, &waiting] {
        store.accept(task.clone()).await.unwrap();
    }
    store.end(ended.id.clone(), failed(), Timeline::begun(ended.created)).await.unwrap();
    // Kept for no time at all, it is over as soon as the clock has moved on by a millisecond.
    let moment = Timestamp::now();
    while Timestamp::now() == moment {
        std::hint::spin_loop();
    }
    assert!(store.find(ended.id.clone(), owner()).await.unwrap().is_none());
    assert_eq!(store.forget_expired().await.unwrap(), 1);
    assert!(store.find(waiting.id, owner()).await.unwrap().is_some());
}

#[actix_rt::test]
async fn a_write_that_fails_by_itself_fails_alone() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let (first, second) = (task(), task());
    let results =
        join_all([first.clone(), first.clone(), second.clone()].map(|task| store.accept(task))).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(store.find(second.id, owner()).await.unwrap().is_some());
}

#[actix_rt::test]
async fn submits_at_the_same_time_share_their_commits() {
    const TASKS: usize = 200;
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let before = commits(data_dir.path());
    let accepted = join_all((0..TASKS).map(|_| store.accept(task()))).await;
    assert!(accepted.iter().all(Result::is_ok));
    let commits = commits(data_dir.path()) - before;
    assert!((1..TASKS / 4).contains(&commits), "{commits} commits for {TASKS} tasks");
}

/// Commits in the write-ahead log: frames that tell the size of the database, as SQLite's file format has it
/// (section 4.1: 32 bytes of header, then frames of 24 bytes and a page).
fn commits(data_dir: &Path) -> usize {
    let wal = std::fs::read(data_dir.join("hearken.sqlite-wal")).unwrap();
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let page = word(&wal[8..12]) as usize;
    wal[32..].chunks_exact(24 + page).filter(|frame| word(&frame[4..8]) != 0).count()
}
