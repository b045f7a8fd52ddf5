//! Tests that concern only a store on a disk: its files, their damage, and the cost of a commit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::claim::Claim;
use super::suite::kit::{
    CONFIG, DAY, LARGE, failed, keep, light, metrics, owner, pass_a_millisecond, record, task, until_free,
};
use super::{Acceptance, Ending, Retained, Store, StoreError};
use crate::audio::{BlobId, KeptAudio};
use crate::task::testing::delta;
use crate::task::{
    Chunks, Format, IdempotencyKey, ListQuery, Question, RecoveryFacts, Status, Task, TaskId, Timestamp,
};

fn files(data_dir: &Path, kind: &str) -> usize {
    std::fs::read_dir(data_dir.join(kind)).unwrap().count()
}

/// Returns how many blobs have a row, and how many files there are.
fn audios(data_dir: &Path) -> (usize, usize) {
    let database = rusqlite::Connection::open(data_dir.join("hearken.sqlite")).unwrap();
    let rows = database.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
    (rows, files(data_dir, "spool"))
}

fn open(data_dir: &Path, kept: Duration) -> Store {
    Store::open(data_dir, keep(kept), CONFIG, metrics()).unwrap()
}

/// Opens the data directory again, once the threads of the store before have released it.
fn reopen(data_dir: &Path) -> Store {
    until_free(data_dir, DAY)
}

#[actix_rt::test]
async fn a_store_of_version_1_is_used_without_changes() {
    let data_dir = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(data_dir.path().join("hearken.sqlite")).unwrap();
    old.execute_batch(include_str!("../../tests/fixtures/store/1.sql")).unwrap();
    drop(old);
    let store = open(data_dir.path(), DAY * 365_000);
    let query = ListQuery { limit: 9, after: None, status: None };
    let listed = light(store.list(owner(), query, usize::MAX).await.unwrap()).unwrap().tasks;
    let states: Vec<_> = listed.iter().map(|task| task.state.status()).collect();
    assert_eq!(states, [Status::Processing, Status::Pending, Status::Failed, Status::Completed]);
    let completed = listed[3].id.clone();
    assert!(store.request(completed.clone(), owner()).await.unwrap().is_some());
    let key = IdempotencyKey::parse(b"k").unwrap();
    assert_eq!(store.submitted(owner(), key).await.unwrap().unwrap().0, completed);
    assert_eq!(store.keys().list().await.unwrap().1.len(), 1);
    let left = store.unfinished(None).await.unwrap();
    let facts: Vec<_> = left.iter().map(|left| left.facts).collect();
    let waiting = RecoveryFacts { runs: 0, published: false, irreplaceable_caller: false };
    assert_eq!(facts, [waiting, RecoveryFacts { runs: 2, published: true, irreplaceable_caller: true }]);
    let streams: Vec<_> = left.iter().map(|left| left.task.stream).collect();
    assert_eq!(streams, [Some(Format::Tasks), None]);
    let [KeptAudio::Blob { id, .. }] = left[0].audio[..] else { panic!("{:?}", left[0].audio) };
    assert_eq!(store.audio(id).await.unwrap().piece(0, 8).unwrap(), "RIFFdata");
    for left in left {
        assert!(store.end(left.task.id.clone(), failed(&left.task)).await.unwrap().is_none());
    }
    assert_eq!(audios(data_dir.path()), (0, 0));
}

#[actix_rt::test]
async fn audio_is_deleted_with_the_end_and_a_refused_task_keeps_none() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let task = task();
    let all: [&[u8]; 3] = [b"RIFFdata", LARGE, LARGE];
    assert_eq!(store.accept_with(record(&task), &all).await.unwrap(), Acceptance::Durable);
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((3, 2), 200_008));
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((0, 0), 0));
    assert!(store.accept_with(record(&task), &all).await.is_err(), "its id exists already");
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((0, 0), 0));
    let many = [&LARGE[..65_536]; 17];
    for too_much in [&[LARGE; 11][..], &many] {
        let refused = store.accept_with(record(&self::task()), too_much).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((0, 0), 0));
    }
}

#[actix_rt::test]
async fn damaged_audio_is_not_read() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let task = task();
    store.accept_with(record(&task), &[b"RIFFdata", LARGE]).await.unwrap();
    let database = rusqlite::Connection::open(data_dir.path().join("hearken.sqlite")).unwrap();
    database.execute("UPDATE blobs SET data = zeroblob(8) WHERE data IS NOT NULL", []).unwrap();
    let file = std::fs::read_dir(data_dir.path().join("spool")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, [&LARGE[1..], b"B"].concat()).unwrap();
    let left = store.unfinished(None).await.unwrap().remove(0);
    let unknown = BlobId(7);
    let small = "in the database is not as it was written".to_owned();
    let large = format!("{} is not as it was written", file.display());
    for (audio, reason) in left.audio.iter().zip([small, large]) {
        let KeptAudio::Blob { id, .. } = audio else { panic!("{audio:?}") };
        let Err(StoreError::Damaged(said)) = store.audio(*id).await else { panic!("{audio:?}") };
        assert!(said.ends_with(&reason), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    let KeptAudio::Blob { id, .. } = left.audio[1] else { panic!("{left:?}") };
    for id in [id, unknown] {
        assert!(matches!(store.audio(id).await, Err(StoreError::Damaged(_))));
    }
    assert!(store.end(task.id.clone(), failed(&task)).await.unwrap().is_none(), "the task can still end");
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((0, 0), 0));
}

#[actix_rt::test]
async fn an_ended_task_is_hidden_and_then_deleted_after_its_retention() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), Duration::ZERO);
    let (ended, waiting) = (task(), task());
    for task in [&ended, &waiting] {
        store.accept_task(record(task)).await;
        store.journal(&task.id).append(&mut [delta("a")].iter());
    }
    store
        .end(ended.id.clone(), Ending { chunks: Some(Chunks::of([delta("a")].iter())), ..failed(&ended) })
        .await
        .unwrap();
    pass_a_millisecond();
    assert!(light(store.find(ended.id.clone(), owner(), usize::MAX, false).await.unwrap()).is_none());
    assert!(store.replay(ended.id.clone(), owner()).await.unwrap().is_none());
    assert_eq!(store.forget_expired().await.unwrap(), 1);
    assert!(light(store.find(waiting.id.clone(), owner(), usize::MAX, false).await.unwrap()).is_some());
    assert_eq!((audios(data_dir.path()), files(data_dir.path(), "frames")), ((1, 0), 1));
}

#[actix_rt::test]
async fn a_start_removes_the_files_that_a_crash_left_behind() {
    let data_dir = tempfile::tempdir().unwrap();
    drop(open(data_dir.path(), DAY));
    std::fs::write(data_dir.path().join("spool/1863235808000000001"), "x").unwrap();
    std::fs::write(data_dir.path().join("frames").join(task().id.as_str()), "x").unwrap();
    for folder in ["spool", "frames"] {
        std::fs::write(data_dir.path().join(folder).join(".tmpb0Ar5E"), "x").unwrap();
    }
    let _store = reopen(data_dir.path());
    assert_eq!((files(data_dir.path(), "spool"), files(data_dir.path(), "frames")), (0, 0));
}

#[actix_rt::test]
async fn a_start_removes_audio_to_which_no_task_refers() {
    let data_dir = tempfile::tempdir().unwrap();
    let all: [&[u8]; 2] = [b"RIFFdata", LARGE];
    let (ended, waiting) = (task(), task());
    let change = |sql: &str, id: &TaskId| {
        let database = rusqlite::Connection::open(data_dir.path().join("hearken.sqlite")).unwrap();
        assert_eq!(database.execute(sql, [id.as_str()]).unwrap(), 1);
    };
    let store = open(data_dir.path(), DAY);
    for task in [&ended, &waiting] {
        store.accept_with(record(task), &all).await.unwrap();
    }
    // The end does not find the task's audio, but is committed anyway.
    change("UPDATE tasks SET audio = '[' WHERE id = ?1", &ended.id);
    store.end(ended.id.clone(), failed(&ended)).await.unwrap();
    assert_eq!(audios(data_dir.path()), (4, 2));
    drop(store);
    let store = reopen(data_dir.path());
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((2, 1), 100_008));
    let left = store.unfinished(None).await.unwrap().remove(0);
    for audio in &left.audio {
        let KeptAudio::Blob { id, .. } = audio else { panic!("{audio:?}") };
        store.audio(*id).await.unwrap();
    }
    drop(store);
    let whole = serde_json::to_string(&left.audio).unwrap();
    let texts = ["[", "{}", &whole.replace("blob", "blub"), &whole.replace("\"id", "\"ib")];
    for damaged in texts.map(|text| format!("'{text}'")).into_iter().chain(["NULL".to_owned()]) {
        change(&format!("UPDATE tasks SET audio = {damaged} WHERE id = ?1"), &waiting.id);
        drop(reopen(data_dir.path()));
        let kept = audios(data_dir.path());
        assert_eq!(kept, (2, 1), "the task with the damaged record may use it: {damaged}");
    }
}

#[actix_rt::test]
async fn a_start_on_an_older_copy_of_the_database_removes_no_files() {
    let (data_dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (database, older) = (data_dir.path().join("hearken.sqlite"), other.path().join("older"));
    let files = || (files(data_dir.path(), "spool"), files(data_dir.path(), "frames"));
    drop(open(data_dir.path(), DAY));
    until_closed(data_dir.path());
    std::fs::copy(&database, &older).unwrap();
    let store = open(data_dir.path(), DAY);
    let task = task();
    store.accept_with(record(&task), &[LARGE]).await.unwrap();
    store.journal(&task.id).append(&mut [delta("a")].iter());
    drop(store);
    until_closed(data_dir.path());
    let newer = std::fs::read(&database).unwrap();
    std::fs::copy(&older, &database).unwrap();
    drop(open(data_dir.path(), DAY));
    until_closed(data_dir.path());
    assert_eq!(files(), (1, 1));
    // In the first case, the operator puts the newer copy back.
    std::fs::write(&database, newer).unwrap();
    let store = open(data_dir.path(), DAY);
    let left = store.unfinished(None).await.unwrap().remove(0);
    let KeptAudio::Blob { id, .. } = left.audio[0] else { panic!("{left:?}") };
    store.audio(id).await.unwrap();
    drop(store);
    until_closed(data_dir.path());
    // In the second case, the server goes on with the older copy.
    std::fs::copy(&older, &database).unwrap();
    for left in [(1, 1), (0, 0)] {
        drop(open(data_dir.path(), DAY));
        until_closed(data_dir.path());
        assert_eq!(files(), left);
    }
}

/// Waits until the threads of a store have released its data directory, and writes everything into the database's file.
/// If several connections close at the same time, SQLite may consider none of them the last.
fn until_closed(data_dir: &Path) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while let Err(err) = Claim::take(data_dir) {
        assert!(std::time::Instant::now() < deadline, "{err}");
        std::thread::yield_now();
    }
    let database = rusqlite::Connection::open(data_dir.join("hearken.sqlite")).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

#[actix_rt::test]
async fn submits_at_the_same_time_share_their_commits() {
    const TASKS: usize = 200;
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let before = commits(data_dir.path());
    let accepted = join_all((0..TASKS).map(|_| store.accept(record(&task()), vec![]))).await;
    assert!(accepted.iter().all(Result::is_ok));
    let commits = commits(data_dir.path()) - before;
    assert!((1..TASKS / 4).contains(&commits), "{commits} commits for {TASKS} tasks");
}

/// Records tasks whose questions have this many bytes, and ends them.
async fn end_tasks(store: &Store, tasks: usize, bytes: usize) {
    for _ in 0..tasks {
        let task = asking(bytes);
        store.accept(record(&task), vec![]).await.unwrap();
        store.end(task.id.clone(), failed(&task)).await.unwrap();
    }
    pass_a_millisecond();
}

/// Makes a task whose question has this many bytes.
fn asking(bytes: usize) -> Arc<Task> {
    let question = Question::short("m".into(), "p".repeat(bytes), None);
    let task = task();
    Arc::new(Task { question, id: task.id.clone(), trace: None, ..*task })
}

fn pages(data_dir: &Path) -> i64 {
    let other = rusqlite::Connection::open(data_dir.join("hearken.sqlite")).unwrap();
    other.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
}

#[actix_rt::test]
async fn sweeps_return_the_space_of_deleted_tasks_step_by_step() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), Duration::ZERO);
    let pages = || pages(data_dir.path());
    end_tasks(&store, 100, 100_000).await;
    let before = pages();
    assert_eq!(store.forget_expired().await.unwrap(), 100);
    let step = before - pages();
    assert!((512..520).contains(&step), "{step} of {before} pages");
    for _ in 0..6 {
        assert_eq!(store.forget_expired().await.unwrap(), 0);
    }
    assert!(before > 2400 && pages() < 300, "{before} pages, then {}", pages());
    let other = rusqlite::Connection::open(data_dir.path().join("hearken.sqlite")).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert!(data_dir.path().join("hearken.sqlite").metadata().unwrap().len() < 300 * 4096);
}

#[actix_rt::test]
async fn a_database_keeps_the_free_pages_that_it_will_need_again() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), Duration::ZERO);
    for _ in 0..60 {
        store.accept(record(&asking(100_000)), vec![]).await.unwrap();
    }
    let mut sizes = Vec::new();
    for _ in 0..3 {
        end_tasks(&store, 17, 100_000).await;
        assert_eq!(store.forget_expired().await.unwrap(), 17);
        sizes.push(pages(data_dir.path()));
    }
    // Random ids fill the pages of the tables to different degrees.
    let stays = |pages: &i64| *pages > 1900 && pages.abs_diff(sizes[0]) < 16;
    assert!(sizes.iter().all(stays), "{sizes:?}");
}

#[actix_rt::test]
async fn one_write_deletes_a_few_megabytes_at_most() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), Duration::ZERO);
    end_tasks(&store, 7, 1 << 20).await;
    end_tasks(&store, 400, 10).await;
    let before = Timestamp::now();
    let kept = Retained { tasks: before, chunks: Timestamp(0), keys: before };
    let mut deleted = Vec::new();
    while deleted.last() != Some(&0) {
        deleted.push(store.tasks.forget(kept).await.unwrap().tasks);
    }
    assert_eq!(deleted, [4, 200, 200, 3, 0]);
}

/// Counts the commits in the write-ahead log: the frames that hold the size of the database, by SQLite's file format
/// (section 4.1: 32 bytes of header, then frames of 24 bytes and a page).
fn commits(data_dir: &Path) -> usize {
    let wal = std::fs::read(data_dir.join("hearken.sqlite-wal")).unwrap();
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let page = word(&wal[8..12]) as usize;
    wal[32..].chunks_exact(24 + page).filter(|frame| word(&frame[4..8]) != 0).count()
}
