//! Every promise of a store, run against every backend.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::health::Health;
use super::journal::Journals;
use super::memory::Memory;
use super::{Acceptance, Ending, NewRecord, Retention, Store, StoreConfig, StoreError, Weighed};
use crate::audio::{AudioFacts, BlobId, Container, KeptAudio, Sound};
use crate::error::{ErrorCode, Failure};
use crate::metrics::{Metrics, StoreMetrics};
use crate::secret::KeyHash;
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

/// What outlives the processes of a test, and opens a store on it.
pub(super) trait Ground {
    /// Makes one with nothing in it.
    fn new() -> Self;

    /// Opens a store that keeps what has ended for so long, once the one before has let go.
    fn open(&self, kept: Duration) -> Store;
}

impl Ground for TempDir {
    fn new() -> Self {
        tempfile::tempdir().unwrap()
    }

    fn open(&self, kept: Duration) -> Store {
        until_free(self.path(), kept)
    }
}

/// Memory, and a folder for the journals.
struct InMemory(Arc<Memory>, TempDir);

impl Ground for InMemory {
    fn new() -> Self {
        Self(Arc::new(Memory::new(CONFIG.max_spool_bytes)), TempDir::new().unwrap())
    }

    fn open(&self, kept: Duration) -> Store {
        let folder = self.1.path();
        let journals = Journals::open(folder, false, metrics(), Health::new(folder), |_| Ok(true));
        Store::over(Arc::clone(&self.0), journals.unwrap(), keep(kept))
    }
}

/// Makes a test of each promise for a backend.
macro_rules! store_suite {
    ($backend:ident, $ground:ty, [$($promise:ident),* $(,)?]) => {
        mod $backend {
            $(
                #[actix_rt::test]
                async fn $promise() {
                    super::$promise::<$ground>().await;
                }
            )*
        }
    };
    ($($backend:ident: $ground:ty),*) => {
        $(
            store_suite!($backend, $ground, [
                a_task_is_found_by_its_owner_alone,
                the_first_end_of_a_task_stays_and_is_told_to_the_next,
                segments_are_read_with_the_result_where_they_are_asked_for,
                a_task_that_has_not_ended_is_there_after_a_start,
                audio_is_kept_until_its_task_ends,
                audio_of_a_refused_task_is_not_kept,
                a_download_is_noted_for_the_audio_that_it_was,
                a_download_is_read_as_it_came,
                a_key_starts_one_task_and_is_free_again_after_its_time,
                a_list_goes_page_by_page_from_the_newest_to_the_oldest,
                a_result_is_not_read_where_it_is_too_heavy,
                an_ended_task_is_hidden_and_then_deleted,
                a_write_that_fails_by_itself_fails_alone,
            ]);
        )*
    };
}

store_suite!(on_a_disk: super::TempDir, in_memory: super::InMemory);

pub(super) const CONFIG: StoreConfig = StoreConfig { sync: true, max_spool_bytes: 1 << 20 };

pub(super) fn keep(kept: Duration) -> Retention {
    Retention { chunks: kept, tasks: kept, idempotency: kept }
}

pub(super) fn metrics() -> StoreMetrics {
    Metrics::new(std::iter::empty()).unwrap().store
}

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn owner() -> KeyHash {
    KeyHash::of("sk-owner")
}

pub(super) fn task() -> Arc<Task> {
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
pub(super) fn record(task: &Arc<Task>) -> NewRecord {
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
    pub(super) async fn accept_with(
        &self,
        record: NewRecord,
        audio: &[&[u8]],
    ) -> Result<Acceptance, StoreError> {
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

    pub(super) async fn takes(&self, record: NewRecord) {
        assert_eq!(self.accept_with(record, &[b"RIFFdata"]).await.unwrap(), Acceptance::Durable);
    }
}

/// More than a row holds.
pub(super) const LARGE: &[u8] = &[b'A'; 100_000];

pub(super) fn ending(task: &Task, outcome: Outcome) -> Ending {
    let chunks = Some(Chunks::of([].iter()));
    Ending { outcome, progress: 42, timeline: Timeline::begun(task.created), chunks }
}

pub(super) fn completed(task: &Task, json: &str) -> Ending {
    let completed = Completed {
        segments: None,
        json: RawValue::from_string(json.to_owned()).unwrap().into(),
        head: CompletionHead { id: String::new(), created: 0, model: String::new() },
        reason: FinishReason::Stop,
        usage: Usage::default(),
    };
    ending(task, Outcome::Completed(completed.into()))
}

pub(super) fn failed(task: &Task) -> Ending {
    ending(task, Outcome::Failed(Failure::new(ErrorCode::UpstreamTimeout, "slow")))
}

pub(super) fn until_free(data_dir: &Path, kept: Duration) -> Store {
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
pub(super) fn light<T>(read: Option<Weighed<T>>) -> Option<T> {
    read.map(|read| match read {
        Weighed::Light(read) => read,
        Weighed::Heavy(bytes) => panic!("{bytes} bytes were not read"),
    })
}

/// Kept for no time at all, something is over as soon as the clock has moved on by a millisecond.
pub(super) fn pass_a_millisecond() {
    let moment = Timestamp::now();
    while Timestamp::now() == moment {
        std::hint::spin_loop();
    }
}

async fn a_task_is_found_by_its_owner_alone<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.takes(record(&task)).await;
    let found = light(store.find(task.id.clone(), owner(), usize::MAX, false).await.unwrap()).unwrap();
    assert_eq!((found.model.as_str(), found.created), ("m", task.created.seconds()));
    assert!(found.stream && matches!(found.state, State::Pending));
    assert!(
        light(store.find(task.id.clone(), KeyHash::of("sk-other"), usize::MAX, false).await.unwrap())
            .is_none()
    );
}

async fn the_first_end_of_a_task_stays_and_is_told_to_the_next<G: Ground>() {
    let ground = G::new();
    let task = task();
    let first = {
        let store = ground.open(DAY);
        store.takes(record(&task)).await;
        let completed = completed(&task, r#"{"b" : 1}"#);
        assert!(store.end(task.id.clone(), completed.clone()).await.unwrap().is_none());
        let before = store.end(task.id.clone(), failed(&task)).await.unwrap().unwrap();
        assert!(matches!(before.state, State::Completed { .. }));
        completed
    };
    let found =
        light(ground.open(DAY).find(task.id.clone(), owner(), usize::MAX, false).await.unwrap()).unwrap();
    assert_eq!(found.timeline, first.timeline);
    let State::Completed { completion } = found.state else { panic!("{:?}", found.state) };
    assert_eq!(completion.get(), r#"{"b" : 1}"#);
}

async fn a_download_is_noted_for_the_audio_that_it_was<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    let facts = |bytes| AudioFacts::Inline { sound: Sound::new(Container::Wav, bytes, None) };
    store.accept(NewRecord { audio_facts: vec![facts(1), facts(2)], ..record(&task) }, vec![]).await.unwrap();
    store.mark_downloaded(task.id.clone(), 1, facts(3));
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    let request = store.request(task.id.clone(), owner()).await.unwrap().unwrap();
    assert_eq!(request.audio, [facts(1), facts(3)]);
}

async fn a_key_starts_one_task_and_is_free_again_after_its_time<G: Ground>() {
    let ground = G::new();
    let idempotency = Idempotency {
        key: IdempotencyKey::parse(b"k").unwrap(),
        fingerprint: Fingerprint::of(b"{}").unwrap(),
    };
    let keyed = |task: &Arc<Task>| NewRecord { idempotency: Some(idempotency.clone()), ..record(task) };
    let (first, second) = (task(), task());
    {
        let store = ground.open(DAY);
        let accepts = [&first, &second].map(|task| store.accept_with(keyed(task), &[LARGE]));
        let accepted: Vec<_> = join_all(accepts).await.into_iter().map(Result::unwrap).collect();
        assert!(accepted.contains(&Acceptance::Durable) && accepted.contains(&Acceptance::KeyTaken));
        assert_eq!(store.levels().spool.0, LARGE.len() as u64);
    }
    let store = ground.open(DAY);
    let (_, found) = store.submitted(owner(), idempotency.key.clone()).await.unwrap().unwrap();
    assert_eq!(found, idempotency);
    let other = KeyHash::of("sk-other");
    assert!(store.submitted(other, idempotency.key.clone()).await.unwrap().is_none());
    drop(store);
    let store = ground.open(Duration::ZERO);
    pass_a_millisecond();
    assert!(store.submitted(owner(), idempotency.key.clone()).await.unwrap().is_none());
    store.takes(keyed(&task())).await;
}

async fn a_list_goes_page_by_page_from_the_newest_to_the_oldest<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
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

async fn a_write_that_fails_by_itself_fails_alone<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let (first, second) = (task(), task());
    let accepts = [&first, &first, &second].map(|task| store.accept(record(task), vec![]));
    let results = join_all(accepts).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(light(store.find(second.id.clone(), owner(), usize::MAX, false).await.unwrap()).is_some());
}

async fn a_task_that_has_not_ended_is_there_after_a_start<G: Ground>() {
    let ground = G::new();
    let (waiting, running, seen, ended) = (task(), task(), task(), task());
    {
        let store = ground.open(DAY);
        store.takes(record(&waiting)).await;
        store.takes(NewRecord { runs: true, ..record(&running) }).await;
        store.mark_progress(running.id.clone(), 30);
        store.run(running.id.clone(), Timeline::begun(running.created)).await.unwrap();
        store.takes(NewRecord { irreplaceable_caller: true, ..record(&seen) }).await;
        store.mark_published(seen.id.clone(), Timeline::begun(seen.created));
        store.takes(record(&ended)).await;
        store.end(ended.id.clone(), failed(&ended)).await.unwrap();
    }
    let store = ground.open(DAY);
    let left = store.unfinished(None).await.unwrap();
    let by_id = |task: &Task| left.iter().find(|left| left.task == *task).unwrap();
    assert_eq!(left.len(), 3);
    assert_eq!(
        by_id(&waiting).facts,
        RecoveryFacts { runs: 0, published: false, irreplaceable_caller: false }
    );
    assert_eq!(
        by_id(&running).facts,
        RecoveryFacts { runs: 2, published: false, irreplaceable_caller: false }
    );
    assert_eq!(by_id(&seen).facts, RecoveryFacts { runs: 0, published: true, irreplaceable_caller: true });
    assert_eq!(by_id(&running).progress, 30);
    let last = left.last().map(|left| (left.task.created, left.task.id.clone()));
    assert!(store.unfinished(last).await.unwrap().is_empty());
}

async fn audio_is_kept_until_its_task_ends<G: Ground>() {
    let ground = G::new();
    let task = task();
    let all: [&[u8]; 2] = [b"RIFFdata", LARGE];
    let accepted = ground.open(DAY).accept_with(record(&task), &all).await;
    assert_eq!(accepted.unwrap(), Acceptance::Durable);
    let store = ground.open(DAY);
    assert_eq!(store.levels().spool.0, 100_008);
    let audio = store.unfinished(None).await.unwrap().remove(0).audio;
    assert_eq!(audio.len(), 2);
    let mut ids = Vec::new();
    for (audio, expected) in audio.into_iter().zip(all) {
        let KeptAudio::Blob { id, bytes, .. } = audio else { panic!("{audio:?}") };
        let audio = store.audio(id).await.unwrap();
        assert_eq!((audio.len(), audio.piece(0, expected.len()).unwrap()), (bytes, expected.into()));
        ids.push(id);
    }
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    assert_eq!(store.levels().spool.0, 0);
    for id in ids {
        assert!(matches!(store.audio(id).await, Err(StoreError::Damaged(_))));
    }
}

async fn audio_of_a_refused_task_is_not_kept<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_with(record(&task), &[]).await.unwrap();
    let taken = store.accept_with(record(&task), &[b"RIFFdata", LARGE]).await;
    assert!(taken.is_err() && store.levels().spool.0 == 0, "its id is taken");
    let many = [&LARGE[..65_536]; 17];
    for too_much in [&[LARGE; 11][..], &many] {
        let refused = store.accept_with(record(&self::task()), too_much).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        assert_eq!(store.levels().spool.0, 0);
    }
}

async fn a_download_is_read_as_it_came<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let mut download = store.download().await.unwrap();
    download.append(b"first, ").unwrap();
    download.append(b"then").unwrap();
    assert_eq!(download.finish().piece(0, 11).unwrap(), "first, then");
    let mut download = store.download().await.unwrap();
    assert!(matches!(download.append(&[0; (1 << 20) + 1]), Err(StoreError::Full(_))));
}

async fn a_result_is_not_read_where_it_is_too_heavy<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let heavy = |bytes: usize| move |read: Option<Weighed<_>>| matches!(read, Some(Weighed::Heavy(found)) if found == bytes);
    let task = task();
    store.takes(record(&task)).await;
    store.end(task.id.clone(), completed(&task, r#"{"b" : 1}"#)).await.unwrap();
    assert!(heavy(9)(store.find(task.id.clone(), owner(), 8, false).await.unwrap()));
    assert!(light(store.find(task.id.clone(), owner(), 9, false).await.unwrap()).is_some());
    let query = ListQuery { limit: 9, after: None, status: None };
    assert!(matches!(store.list(owner(), query.clone(), 8).await.unwrap(), Some(Weighed::Heavy(9))));
    assert_eq!(light(store.list(owner(), query, 9).await.unwrap()).unwrap().tasks.len(), 1);
}

async fn segments_are_read_with_the_result_where_they_are_asked_for<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.takes(record(&task)).await;
    let mut ending = completed(&task, r#"{"b" : 1}"#);
    if let Outcome::Completed(completed) = &mut ending.outcome {
        let segments = RawValue::from_string("[{}]".to_owned()).unwrap();
        *completed = Arc::new(Completed { segments: Some(segments.into()), ..Completed::clone(completed) });
    }
    store.end(task.id.clone(), ending).await.unwrap();
    let without = light(store.find(task.id.clone(), owner(), 9, false).await.unwrap()).unwrap();
    assert!(without.segments.is_none());
    let found = store.find(task.id.clone(), owner(), 12, true).await.unwrap();
    assert!(matches!(found, Some(Weighed::Heavy(13))), "they weigh as well");
    let found = light(store.find(task.id.clone(), owner(), 13, true).await.unwrap()).unwrap();
    assert_eq!(found.segments.unwrap().get(), "[{}]");
}

async fn an_ended_task_is_hidden_and_then_deleted<G: Ground>() {
    let ground = G::new();
    let store = ground.open(Duration::ZERO);
    let (ended, waiting) = (task(), task());
    store.takes(record(&ended)).await;
    store.takes(record(&waiting)).await;
    store.end(ended.id.clone(), failed(&ended)).await.unwrap();
    pass_a_millisecond();
    assert!(light(store.find(ended.id.clone(), owner(), usize::MAX, false).await.unwrap()).is_none());
    assert_eq!(store.forget_expired().await.unwrap(), 1);
    assert_eq!(store.forget_expired().await.unwrap(), 0);
    assert!(store.request(ended.id.clone(), owner()).await.unwrap().is_none());
    assert!(light(store.find(waiting.id.clone(), owner(), usize::MAX, false).await.unwrap()).is_some());
}
