//! Parts of the tests of a store: tasks, their audio, their ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::audio::{BlobId, Container, KeptAudio};
use crate::error::{ErrorCode, Failure};
use crate::metrics::{Metrics, StoreMetrics};
use crate::secret::KeyHash;
use crate::store::{Acceptance, Ending, NewRecord, Retention, Store, StoreConfig, StoreError, Weighed};
use crate::task::{
    Chunks, Completed, Completion, Format, Outcome, Question, Snapshot, Task, TaskId, Timeline, Timestamp,
};
use crate::wire::completion::{CompletionHead, FinishReason, Usage};

pub(in crate::store) const CONFIG: StoreConfig = StoreConfig { sync: true, max_spool_bytes: 1 << 20 };

pub(in crate::store) fn keep(kept: Duration) -> Retention {
    Retention { chunks: kept, tasks: kept, idempotency: kept }
}

pub(in crate::store) fn metrics() -> StoreMetrics {
    Metrics::new(std::iter::empty()).unwrap().store
}

pub(in crate::store) const DAY: Duration = Duration::from_secs(86_400);

pub(in crate::store) fn owner() -> KeyHash {
    KeyHash::of("sk-owner")
}

pub(in crate::store) fn task() -> Arc<Task> {
    let question = Question {
        max_tokens: Some(7),
        temperature: Some(0.5),
        reasoning: true,
        ..Question::short("m".into(), "p".into(), None)
    };
    let created = Timestamp::now();
    let id = TaskId::generate(created.seconds());
    Arc::new(Task {
        id,
        owner: owner(),
        created,
        stream: Some(Format::Chat { usage: true }),
        question,
        trace: None,
    })
}

/// Makes the record of a task that waits and has no audio.
pub(in crate::store) fn record(task: &Arc<Task>) -> NewRecord {
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
    pub(in crate::store) async fn accept_with(
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

    /// Finds a task of the [owner].
    pub(in crate::store) async fn found(&self, task: &Task) -> Option<Snapshot> {
        light(self.find(task.id.clone(), owner(), usize::MAX, false).await.unwrap())
    }

    /// Accepts a task with a little audio.
    pub(in crate::store) async fn accept_task(&self, record: NewRecord) {
        assert_eq!(self.accept_with(record, &[b"RIFFdata"]).await.unwrap(), Acceptance::Durable);
    }
}

/// More audio than a row holds.
pub(in crate::store) const LARGE: &[u8] = &[b'A'; 100_000];

pub(in crate::store) fn ending(task: &Task, outcome: Outcome) -> Ending {
    let chunks = Some(Chunks::of([].iter()));
    Ending { outcome, progress: 42, timeline: Timeline::begun(task.created), chunks }
}

pub(in crate::store) fn completed(task: &Task, json: &str) -> Ending {
    let completed = Completed {
        completion: Completion::stored(json.to_owned(), None).unwrap(),
        head: CompletionHead { id: String::new(), created: 0, model: String::new() },
        reason: FinishReason::Stop,
        usage: Usage::default(),
    };
    ending(task, Outcome::Completed(completed.into()))
}

pub(in crate::store) fn failed(task: &Task) -> Ending {
    ending(task, Outcome::Failed(Failure::new(ErrorCode::UpstreamTimeout, "slow")))
}

pub(in crate::store) fn until_free(data_dir: &Path, kept: Duration) -> Store {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(data_dir, keep(kept), CONFIG, metrics()) {
            Ok(store) => return store,
            Err(StoreError::Taken(_)) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            Err(err) => panic!("{err}"),
        }
    }
}

/// Returns the value that was read, however large it is.
pub(in crate::store) fn light<T>(read: Option<Weighed<T>>) -> Option<T> {
    read.map(|read| match read {
        Weighed::Light(read) => read,
        Weighed::Heavy(bytes) => panic!("{bytes} bytes were not read"),
    })
}

/// Waits a millisecond. After that, the retention of an object that is kept for no time has ended.
pub(in crate::store) fn pass_a_millisecond() {
    let moment = Timestamp::now();
    while Timestamp::now() == moment {
        std::hint::spin_loop();
    }
}
