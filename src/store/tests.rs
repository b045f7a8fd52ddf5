//! The store on a real disk: what is durable, whose it is, what is forgotten, and what a commit costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::value::RawValue;

use super::{
    Acceptance, ChunkJournal, Ending, NewRecord, Retention, Store, StoreConfig, StoreError, Weighed,
};
use crate::audio::blob_id::BlobId;
use crate::audio::container::Container;
use crate::audio::facts::{AudioFacts, Sound};
use crate::audio::source::KeptAudio;
use crate::error::{ErrorCode, Failure};
use crate::metrics::{Metrics, StoreMetrics};
use crate::secret::KeyHash;
use crate::task::chunk_log::LogReader;
use crate::task::chunk_log::testing::{delta, log_of};
use crate::task::id::TaskId;
use crate::task::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use crate::task::list::ListQuery;
use crate::task::outcome::{Completed, Outcome};
use crate::task::record::Chunks;
use crate::task::recovery::RecoveryFacts;
use crate::task::snapshot::{State, Status};
use crate::task::submission::Question;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};
use crate::wire::completion::{CompletionHead, FinishReason, Usage};

const CONFIG: StoreConfig = StoreConfig { sync: true, max_spool_bytes: 1 << 20 };

fn keep(kept: Duration) -> Retention {
    Retention { chunks: kept, tasks: kept, idempotency: kept }
}

fn metrics() -> StoreMetrics {
    Metrics::new(std::iter::empty()).unwrap().store
}

fn open(data_dir: &Path, kept: Duration) -> Store {
    Store::open(data_dir, keep(kept), CONFIG, metrics()).unwrap()
}

const DAY: Duration = Duration::from_secs(86_400);

fn owner() -> KeyHash {
    KeyHash::of("sk-owner")
}

fn task() -> Arc<Task> {
    let question = Question {
        max_tokens: Some(7),
        temperature: Some(0.5),
        reasoning: true,
        ..Question::short("m".into(), "p".into(), None)
    };
    let created = Timestamp::now();
    let id = TaskId::generate(created.seconds());
    Arc::new(Task { id, owner: owner(), created, stream: true, question, trace: None })
}

/// A task that waits, without any audio.
fn record(task: &Arc<Task>) -> NewRecord {
    NewRecord {
        task: Arc::clone(task),
        audio: Vec::new(),
        audio_facts: Vec::new(),
        runs: false,
        irreplaceable_caller: false,
        timeline: Timeline::begun(task.created),
        idempotency: None,
    }
}

impl Store {
    /// Accepts a task with this audio.
    async fn accept_with(&self, record: NewRecord, audio: &[&[u8]]) -> Result<Acceptance, StoreError> {
        let blobs: Vec<_> =
            audio.iter().map(|bytes| (self.blob_id(), Bytes::copy_from_slice(bytes))).collect();
        let kept = |(id, bytes): &(BlobId, Bytes)| KeptAudio::Blob {
            id: *id,
            container: Container::Wav,
            bytes: bytes.len() as u64,
            duration: None,
        };
        self.accept(NewRecord { audio: blobs.iter().map(kept).collect(), ..record }, blobs).await
    }

    async fn takes(&self, record: NewRecord) {
        assert_eq!(self.accept_with(record, &[b"RIFFdata"]).await.unwrap(), Acceptance::Durable);
    }
}

/// More than a row holds.
const LARGE: &[u8] = &[b'A'; 100_000];

fn files(data_dir: &Path, kind: &str) -> usize {
    std::fs::read_dir(data_dir.join(kind)).unwrap().count()
}

/// How many blobs have a row, and how many files there are.
fn audios(data_dir: &Path) -> (usize, usize) {
    let database = rusqlite::Connection::open(data_dir.join("hearken.sqlite")).unwrap();
    let rows = database.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
    (rows, files(data_dir, "spool"))
}

fn ending(task: &Task, outcome: Outcome) -> Ending {
    let chunks = Some(Chunks::of([].iter()));
    Ending { outcome, progress: 42, timeline: Timeline::begun(task.created), chunks }
}

fn completed(task: &Task, json: &str) -> Ending {
    let completed = Completed {
        json: RawValue::from_string(json.to_owned()).unwrap().into(),
        head: CompletionHead { id: String::new(), created: 0, model: String::new() },
        reason: FinishReason::Stop,
        usage: Usage::default(),
    };
    ending(task, Outcome::Completed(completed.into()))
}

fn failed(task: &Task) -> Ending {
    ending(task, Outcome::Failed(Failure::new(ErrorCode::UpstreamTimeout, "slow")))
}

/// Opens the data directory anew, once the threads of the store before have let go of it.
fn reopen(data_dir: &Path) -> Store {
    until_free(data_dir, DAY)
}

fn until_free(data_dir: &Path, kept: Duration) -> Store {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(data_dir, keep(kept), CONFIG, metrics()) {
            Ok(store) => return store,
            Err(StoreError::Taken(_)) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            Err(err) => panic!("{err}"),
        }
    }
}

/// What was read, where its weight does not matter.
fn light<T>(read: Option<Weighed<T>>) -> Option<T> {
    read.map(|read| match read {
        Weighed::Light(read) => read,
        Weighed::Heavy(bytes) => panic!("{bytes} bytes were not read"),
    })
}

#[actix_rt::test]
async fn a_task_is_found_by_its_owner_alone() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let task = task();
    store.takes(record(&task)).await;
    let found = light(store.find(task.id.clone(), owner(), usize::MAX).await.unwrap()).unwrap();
    assert_eq!((found.model.as_str(), found.created), ("m", task.created.seconds()));
    assert!(found.stream && matches!(found.state, State::Pending));
    assert!(light(store.find(task.id.clone(), KeyHash::of("sk-other"), usize::MAX).await.unwrap()).is_none());
}

#[actix_rt::test]
async fn the_first_end_stays_keeps_its_bytes_and_is_told_to_whoever_ends_the_task_again() {
    let data_dir = tempfile::tempdir().unwrap();
    let task = task();
    let first = {
        let store = open(data_dir.path(), DAY);
        store.takes(record(&task)).await;
        let completed = completed(&task, r#"{"b" : 1}"#);
        assert!(store.end(task.id.clone(), completed.clone()).await.unwrap().is_none());
        let before = store.end(task.id.clone(), failed(&task)).await.unwrap().unwrap();
        assert!(matches!(before.state, State::Completed { .. }));
        completed
    };
    let found =
        light(reopen(data_dir.path()).find(task.id.clone(), owner(), usize::MAX).await.unwrap()).unwrap();
    assert_eq!(found.timeline, first.timeline);
    let State::Completed { completion } = found.state else { panic!("{:?}", found.state) };
    assert_eq!(completion.get(), r#"{"b" : 1}"#);
}

#[actix_rt::test]
async fn what_an_earlier_run_did_not_end_is_there_with_its_audio() {
    let data_dir = tempfile::tempdir().unwrap();
    let (waiting, running, seen, ended) = (task(), task(), task(), task());
    {
        let store = open(data_dir.path(), DAY);
        store.accept_with(record(&waiting), &[b"RIFFdata", LARGE]).await.unwrap();
        store.takes(NewRecord { runs: true, ..record(&running) }).await;
        store.run(running.id.clone(), Timeline::begun(running.created)).await.unwrap();
        store.mark_progress(running.id.clone(), 30);
        store.takes(NewRecord { irreplaceable_caller: true, ..record(&seen) }).await;
        store.journal(&seen.id).append(&mut [delta("a")].iter());
        store.accept_with(record(&ended), &[LARGE, b"RIFFdata"]).await.unwrap();
        store.end(ended.id.clone(), failed(&ended)).await.unwrap();
    }
    let store = reopen(data_dir.path());
    let left = store.unfinished(None).await.unwrap();
    let by_id = |task: &Task| left.iter().find(|left| left.task == *task);
    let facts = |task: &Task| by_id(task).unwrap().facts;
    assert_eq!(facts(&waiting), RecoveryFacts { runs: 0, published: false, irreplaceable_caller: false });
    assert_eq!(facts(&running), RecoveryFacts { runs: 2, published: false, irreplaceable_caller: false });
    assert_eq!(facts(&seen), RecoveryFacts { runs: 0, published: true, irreplaceable_caller: true });
    assert_eq!(by_id(&running).unwrap().progress, 30);
    assert!(by_id(&ended).is_none());
    let audio = by_id(&waiting).unwrap().audio.clone();
    assert_eq!(audio.len(), 2);
    for (audio, expected) in audio.into_iter().zip([b"RIFFdata", LARGE]) {
        let KeptAudio::Blob { id, bytes, .. } = audio else { panic!("{audio:?}") };
        let audio = store.audio(id).await.unwrap();
        assert_eq!((audio.len(), audio.piece(0, expected.len()).unwrap()), (bytes, expected.into()));
    }
    let last = left.last().map(|left| (left.task.created, left.task.id.clone()));
    assert!(store.unfinished(last).await.unwrap().is_empty());
    assert_eq!(audios(data_dir.path()), (4, 1));
}

#[actix_rt::test]
async fn a_store_of_version_1_is_used_as_it_is() {
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
    assert_eq!(store.keys().await.unwrap().1.len(), 1);
    let left = store.unfinished(None).await.unwrap();
    let facts: Vec<_> = left.iter().map(|left| left.facts).collect();
    let waiting = RecoveryFacts { runs: 0, published: false, irreplaceable_caller: false };
    assert_eq!(facts, [waiting, RecoveryFacts { runs: 2, published: true, irreplaceable_caller: true }]);
    let [KeptAudio::Blob { id, .. }] = left[0].audio[..] else { panic!("{:?}", left[0].audio) };
    assert_eq!(store.audio(id).await.unwrap().piece(0, 8).unwrap(), "RIFFdata");
    for left in left {
        assert!(store.end(left.task.id.clone(), failed(&left.task)).await.unwrap().is_none());
    }
    assert_eq!(audios(data_dir.path()), (0, 0));
}

#[actix_rt::test]
async fn audio_goes_with_the_end_and_a_refused_task_leaves_none() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let task = task();
    let all: [&[u8]; 3] = [b"RIFFdata", LARGE, LARGE];
    assert_eq!(store.accept_with(record(&task), &all).await.unwrap(), Acceptance::Durable);
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((3, 2), 200_008));
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((0, 0), 0));
    assert!(store.accept_with(record(&task), &all).await.is_err(), "its id is taken");
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
    assert!(store.end(task.id.clone(), failed(&task)).await.unwrap().is_none(), "it can end all the same");
    assert_eq!((audios(data_dir.path()), store.levels().spool.0), ((0, 0), 0));
}

#[actix_rt::test]
async fn a_download_is_told_of_the_audio_that_it_was() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let task = task();
    let facts = |bytes| AudioFacts::Inline { sound: Sound::new(Container::Wav, bytes, None) };
    store.accept(NewRecord { audio_facts: vec![facts(1), facts(2)], ..record(&task) }, vec![]).await.unwrap();
    store.mark_downloaded(task.id.clone(), 1, facts(3));
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    let request = store.request(task.id.clone(), owner()).await.unwrap().unwrap();
    assert_eq!(request.audio, [facts(1), facts(3)]);
}

#[actix_rt::test]
async fn a_key_starts_one_task_and_is_free_again_after_its_time() {
    let data_dir = tempfile::tempdir().unwrap();
    let idempotency = Idempotency {
        key: IdempotencyKey::parse(b"k").unwrap(),
        fingerprint: Fingerprint::of(b"{}").unwrap(),
    };
    let keyed = |task: &Arc<Task>| NewRecord { idempotency: Some(idempotency.clone()), ..record(task) };
    let (first, second) = (task(), task());
    {
        let store = open(data_dir.path(), DAY);
        let accepts = [&first, &second].map(|task| store.accept_with(keyed(task), &[LARGE]));
        let accepted: Vec<_> = join_all(accepts).await.into_iter().map(Result::unwrap).collect();
        assert!(accepted.contains(&Acceptance::Durable) && accepted.contains(&Acceptance::KeyTaken));
        assert_eq!(audios(data_dir.path()), (1, 1));
    }
    let store = reopen(data_dir.path());
    let (_, found) = store.submitted(owner(), idempotency.key.clone()).await.unwrap().unwrap();
    assert_eq!(found, idempotency);
    let other = KeyHash::of("sk-other");
    assert!(store.submitted(other, idempotency.key.clone()).await.unwrap().is_none());
    drop(store);
    let store = until_free(data_dir.path(), Duration::ZERO);
    pass_a_millisecond();
    assert!(store.submitted(owner(), idempotency.key.clone()).await.unwrap().is_none());
    store.takes(keyed(&task())).await;
}

#[actix_rt::test]
async fn a_list_goes_page_by_page_from_the_newest_to_the_oldest() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let tasks: Vec<_> = (0..5).map(|_| task()).collect();
    for task in &tasks {
        store.takes(record(task)).await;
    }
    store.end(tasks[1].id.clone(), failed(&tasks[1])).await.unwrap();
    store.end(tasks[2].id.clone(), completed(&tasks[2], "{}")).await.unwrap();
    store.run(tasks[3].id.clone(), Timeline::begun(tasks[3].created)).await.unwrap();
    let mut expected: Vec<_> = tasks.iter().map(|task| (task.created, task.id.clone())).collect();
    expected.sort();
    expected.reverse();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let query = ListQuery { limit: 2, after, status: None };
        let page = light(store.list(owner(), query, usize::MAX).await.unwrap()).unwrap();
        listed.extend(page.tasks.iter().map(|task| task.id.clone()));
        after = listed.last().cloned();
        if !page.has_more {
            break;
        }
    }
    assert_eq!(listed, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    for (status, count) in
        [(Status::Pending, 2), (Status::Processing, 1), (Status::Completed, 1), (Status::Failed, 1)]
    {
        let query = ListQuery { limit: 9, after: None, status: Some(status) };
        let page = light(store.list(owner(), query, usize::MAX).await.unwrap()).unwrap();
        assert_eq!((page.tasks.len(), page.has_more), (count, false), "{status:?}");
    }
    let unknown = ListQuery { limit: 9, after: Some(TaskId::generate(7)), status: None };
    assert!(light(store.list(owner(), unknown, usize::MAX).await.unwrap()).is_none());
    let others = ListQuery { limit: 9, after: None, status: None };
    assert!(
        light(store.list(KeyHash::of("sk-other"), others, usize::MAX).await.unwrap())
            .unwrap()
            .tasks
            .is_empty()
    );
}

#[actix_rt::test]
async fn the_stream_of_an_ended_task_is_replayed_as_long_as_it_is_whole() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let chunks = [delta("a"), delta("b")];
    let (whole, torn) = (task(), task());
    for (task, journalled) in [(&whole, &chunks[..]), (&torn, &chunks[..1])] {
        store.takes(record(task)).await;
        store.journal(&task.id).append(&mut journalled.iter());
        store
            .end(task.id.clone(), Ending { chunks: Some(Chunks::of(chunks.iter())), ..failed(task) })
            .await
            .unwrap();
    }
    let replay = store.replay(whole.id.clone(), owner()).await.unwrap().unwrap();
    let log = LogReader::from(replay.stream.log().clone());
    assert_eq!(log.mark().len, 3);
    assert!(replay.left <= DAY && replay.left > DAY / 2);
    assert!(log.all().starts_with(&log_of(["a", "b"]).reader().all()));
    assert!(store.replay(torn.id.clone(), owner()).await.unwrap().is_none());
    assert!(store.replay(whole.id.clone(), KeyHash::of("sk-other")).await.unwrap().is_none());
}

#[actix_rt::test]
async fn an_ended_task_is_hidden_and_then_deleted_when_its_time_is_over() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), Duration::ZERO);
    let (ended, waiting) = (task(), task());
    for task in [&ended, &waiting] {
        store.takes(record(task)).await;
        store.journal(&task.id).append(&mut [delta("a")].iter());
    }
    store
        .end(ended.id.clone(), Ending { chunks: Some(Chunks::of([delta("a")].iter())), ..failed(&ended) })
        .await
        .unwrap();
    pass_a_millisecond();
    assert!(light(store.find(ended.id.clone(), owner(), usize::MAX).await.unwrap()).is_none());
    assert!(store.replay(ended.id.clone(), owner()).await.unwrap().is_none());
    assert_eq!(store.forget_expired().await.unwrap(), 1);
    assert!(light(store.find(waiting.id.clone(), owner(), usize::MAX).await.unwrap()).is_some());
    assert_eq!((audios(data_dir.path()), files(data_dir.path(), "frames")), ((1, 0), 1));
}

#[actix_rt::test]
async fn a_start_removes_what_a_crash_left_behind() {
    let data_dir = tempfile::tempdir().unwrap();
    drop(open(data_dir.path(), DAY));
    std::fs::write(data_dir.path().join("spool/1863235808000000001"), "x").unwrap();
    std::fs::write(data_dir.path().join("frames").join(task().id.as_str()), "x").unwrap();
    let _store = reopen(data_dir.path());
    assert_eq!((files(data_dir.path(), "spool"), files(data_dir.path(), "frames")), (0, 0));
}

#[actix_rt::test]
async fn a_write_that_fails_by_itself_fails_alone() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), DAY);
    let (first, second) = (task(), task());
    let accepts = [&first, &first, &second].map(|task| store.accept(record(task), vec![]));
    let results = join_all(accepts).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(light(store.find(second.id.clone(), owner(), usize::MAX).await.unwrap()).is_some());
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

#[actix_rt::test]
async fn a_sweep_gives_the_space_of_deleted_tasks_back() {
    let data_dir = tempfile::tempdir().unwrap();
    let store = open(data_dir.path(), Duration::ZERO);
    let text = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..100 {
        let task = task();
        store.accept(record(&task), vec![]).await.unwrap();
        store.end(task.id.clone(), completed(&task, &text)).await.unwrap();
    }
    let other = rusqlite::Connection::open(data_dir.path().join("hearken.sqlite")).unwrap();
    let pages = || other.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0)).unwrap();
    let before = pages();
    pass_a_millisecond();
    assert_eq!(store.forget_expired().await.unwrap(), 100);
    assert!(before > 2400 && pages() < 300, "{before} pages, then {}", pages());
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert!(data_dir.path().join("hearken.sqlite").metadata().unwrap().len() < 300 * 4096);
}

/// Kept for no time at all, something is over as soon as the clock has moved on by a millisecond.
fn pass_a_millisecond() {
    let moment = Timestamp::now();
    while Timestamp::now() == moment {
        std::hint::spin_loop();
    }
}

/// Commits in the write-ahead log: frames that tell the size of the database, as SQLite's file format has it
/// (section 4.1: 32 bytes of header, then frames of 24 bytes and a page).
fn commits(data_dir: &Path) -> usize {
    let wal = std::fs::read(data_dir.join("hearken.sqlite-wal")).unwrap();
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let page = word(&wal[8..12]) as usize;
    wal[32..].chunks_exact(24 + page).filter(|frame| word(&frame[4..8]) != 0).count()
}
